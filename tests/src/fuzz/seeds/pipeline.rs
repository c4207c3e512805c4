//! Seeds of [`burst`](crate::fuzz::burst) and [`session`](crate::fuzz::session): scripts, written with
//! words for their steps.

use super::Seed;

const AGENT: u8 = 0;
const GATEWAY: u8 = 1;
const CIPHER: u8 = 0;
const PLAIN: u8 = 1;

// Choices of header flags.
const ACK: u8 = 0;
const PSH_ACK: u8 = 1;
const SYN: u8 = 2;
const SYN_ACK: u8 = 3;
const FIN_ACK: u8 = 4;
const RST_ACK: u8 = 6;
const URG_ACK: u8 = 7;

/// Connections: family, client port, ISN of the client, ISN of the server.
const V4: [u8; 2] = [0b10_01_00, 0b01_10_00];
const V6: [u8; 2] = [0b01_00_01, 0b00_01_01];
/// The first with another ISN of the client.
const V4_ANEW: [u8; 2] = [0b10_11_00, 0b11_10_00];

/// A script of the pipeline.
struct Steps(Vec<u8>);

impl Steps {
    fn under(policy: u8) -> Self {
        Self(vec![policy])
    }

    fn then(mut self, step: &[u8]) -> Self {
        self.0.extend_from_slice(step);
        self
    }

    /// A host sends: flags, distance from its stream's start, acknowledged, octets.
    fn host(self, connection: [u8; 2], end: u8, (flags, at, acked, len): (u8, u8, u8, u8)) -> Self {
        self.then(&[0, end, connection[usize::from(end)], flags, at, acked, 0, len])
    }

    /// The oldest frame under way arrives.
    fn arrives(self) -> Self {
        self.then(&[3, 0])
    }

    fn install(self, end: u8, key: u8, synced: u8) -> Self {
        self.then(&[8, end, 0, 0, key << 4 | synced])
    }

    fn synchronise(self, end: u8) -> Self {
        self.then(&[8, end, 0, 5])
    }

    fn wait(self, choice: u8) -> Self {
        self.then(&[10, choice])
    }

    /// As far as keys at both ends; the gateway is not synchronised.
    fn keyed(self, connection: [u8; 2], key: u8) -> Self {
        self.host(connection, 0, (SYN, 0, 0, 0))
            .arrives()
            .install(GATEWAY, key, 0)
            .host(connection, 1, (SYN_ACK, 0, 0, 0))
            .arrives()
            .install(AGENT, key, 1)
    }

    fn connected(self, connection: [u8; 2], key: u8) -> Self {
        self.keyed(connection, key)
            .host(connection, 0, (ACK, 0, 0, 0))
            .arrives()
            .synchronise(GATEWAY)
    }

    /// Data all the way in both directions.
    fn talk(self, connection: [u8; 2], at: u8, len: u8) -> Self {
        self.host(connection, 0, (PSH_ACK, at, at, len))
            .arrives()
            .host(connection, 1, (PSH_ACK, at, at, len))
            .arrives()
    }
}

/// Scripts of the pipeline; policies: 0 require, 2 prefer, 3 off.
pub(in crate::fuzz) fn burst() -> Vec<Seed> {
    let mut seeds = connections();
    seeds.extend(beginnings());
    seeds.extend(troubles());
    seeds.into_iter().map(|(name, steps)| (name, steps.0)).collect()
}

fn connections() -> Vec<(&'static str, Steps)> {
    let connected = || Steps::under(0).connected(V4, 1);
    vec![
        ("connect-and-talk-v4", connected().talk(V4, 0, 100).talk(V4, 100, 200)),
        ("connect-and-talk-v6", Steps::under(0).connected(V6, 2).talk(V6, 0, 60)),
        (
            "resend-overlap-reorder",
            connected()
                .host(V4, 0, (PSH_ACK, 0, 0, 100))
                .host(V4, 0, (PSH_ACK, 100, 0, 100))
                .then(&[6, 1])
                .then(&[3, 1])
                .arrives()
                .host(V4, 0, (ACK, 50, 0, 120))
                .arrives()
                .host(V4, 0, (ACK, 199, 0, 1))
                .arrives(),
        ),
        (
            "both-fins-and-linger",
            connected()
                .talk(V4, 0, 20)
                .host(V4, 0, (FIN_ACK, 20, 20, 0))
                .arrives()
                .host(V4, 1, (FIN_ACK, 20, 21, 0))
                .arrives()
                .host(V4, 0, (ACK, 21, 21, 0))
                .arrives()
                .wait(4)
                .wait(4),
        ),
        (
            "reset-in-mid-stream",
            connected().talk(V4, 0, 20).host(V4, 1, (RST_ACK, 20, 20, 0)).arrives().wait(4),
        ),
    ]
}

fn beginnings() -> Vec<(&'static str, Steps)> {
    let connected = || Steps::under(0).connected(V4, 1);
    vec![
        (
            "first-tag-synchronises",
            Steps::under(0).keyed(V4, 1).host(V4, 0, (PSH_ACK, 0, 0, 40)).arrives(),
        ),
        (
            "server-refuses",
            Steps::under(0)
                .host(V4, 0, (SYN, 0, 0, 0))
                .arrives()
                .install(GATEWAY, 1, 0)
                .host(V4, 1, (RST_ACK, 0, 0, 0))
                .arrives()
                .install(AGENT, 1, 1)
                .wait(4),
        ),
        (
            "candidate-takes-over",
            connected().talk(V4, 0, 20).connected(V4_ANEW, 2).talk(V4_ANEW, 0, 20),
        ),
        (
            "urgent-and-keep-alive",
            connected()
                .talk(V4, 0, 20)
                .host(V4, 0, (URG_ACK, 20, 20, 30))
                .arrives()
                .host(V4, 0, (ACK, 240, 20, 1))
                .arrives(),
        ),
        ("full-options", connected().then(&[0, 0, V4[0], PSH_ACK, 0, 0, 3, 80]).arrives()),
        (
            "clear-under-prefer",
            Steps::under(2)
                .then(&[11, GATEWAY, CIPHER, 0, 0])
                .host(V4, 1, (SYN_ACK, 0, 0, 0))
                .host(V4, 0, (SYN, 0, 0, 0))
                .arrives()
                .host(V4, 1, (SYN_ACK, 0, 0, 0)),
        ),
        ("off-passes", Steps::under(3).host(V4, 0, (SYN, 0, 0, 0)).arrives().talk(V4, 0, 50)),
    ]
}

fn troubles() -> Vec<(&'static str, Steps)> {
    let connected = || Steps::under(0).connected(V4, 1);
    vec![
        (
            "sealed-and-mangled",
            connected()
                .host(V4, 0, (PSH_ACK, 0, 0, 90))
                .then(&[7, 0, 0, 0, 70, 1, 0])
                .then(&[7, 0, 0, 0, 90, 0x80, 0])
                .then(&[7, 0, 0, 0, 20, 1, 2])
                .arrives(),
        ),
        (
            "strangers-with-options",
            connected()
                .then(&[12, GATEWAY, V4[0], PSH_ACK, 0, 0, 0, 1, 4, 0, 0, 30])
                .then(&[12, GATEWAY, V4[0], RST_ACK, 0, 0, 0, 1, 4, 0, 0, 0])
                .then(&[12, AGENT, V4[1], FIN_ACK, 0, 0, 0, 1, 0, 0, 0])
                .then(&[12, GATEWAY, V6[0], SYN, 0, 0, 0, 9, 1, 0, 0])
                .talk(V4, 0, 20),
        ),
        (
            "true-tags-on-odd-segments",
            connected()
                .then(&[13, GATEWAY, V4[0], FIN_ACK, 50, 0, 0b1001, 0, 0])
                .then(&[13, GATEWAY, V4[0], PSH_ACK, 60, 0, 0b1001, 20, 0])
                .then(&[13, AGENT, V4[1], RST_ACK, 0, 0, 0b0001, 0, 0])
                .then(&[13, GATEWAY, V4[0], PSH_ACK, 0, 0, 0b1_1001, 20, 0]),
        ),
        (
            "a-blocked-port",
            connected()
                .then(&[14, AGENT, CIPHER, 1])
                .then(&[15, AGENT, 7, 0, V4[0], 1, 0, 0, 0, 90])
                .host(V4, 0, (PSH_ACK, 0, 0, 90))
                .then(&[14, AGENT, CIPHER, 0])
                .talk(V4, 0, 20),
        ),
        (
            "deadline-of-a-held-syn",
            Steps::under(0).host(V4, 0, (SYN, 0, 0, 0)).arrives().wait(5).wait(5),
        ),
        (
            "abort-and-close",
            connected()
                .connected(V6, 2)
                .then(&[8, GATEWAY, 0, 8])
                .then(&[8, GATEWAY, 1, 7, 8])
                .then(&[8, AGENT, 1, 7, 7])
                .wait(4),
        ),
        ("service-retired", connected().then(&[8, GATEWAY, 0, 10, 0, 1]).talk(V4, 0, 20)),
        ("idle-for-four-hours", connected().talk(V4, 0, 20).wait(7).wait(4).talk(V4, 20, 20)),
        (
            "delivery-datagram",
            connected().then(&[8, AGENT, 0, 9, V4[0], 5, 1, 2, 3, 4, 5, CIPHER]).arrives(),
        ),
        ("raw-octets", Steps::under(0).then(&[11, AGENT, PLAIN, 0, 4, 1, 2, 3, 4])),
        ("offloaded-checksums", Steps::under(8).connected(V4, 1).talk(V4, 0, 33)),
    ]
}

/// Scripts of table and model.
pub(in crate::fuzz) fn session() -> Vec<Seed> {
    // Insert flow 0; keys; synchronised.
    let synced = [0, 0, 1, 2, 0, 9, 1, 0, 3];
    let with = |more: &[u8]| [&synced[..], more].concat();
    vec![
        ("opened-and-synced", synced.to_vec()),
        ("candidate-displaces", with(&[0, 0, 2, 2, 1, 8, 1, 1, 3])),
        ("live-goes-candidate-stays", with(&[0, 0, 2, 3, 0])),
        ("table-full", vec![0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 1, 0, 1, 1, 0, 0, 2]),
        ("idle-then-linger", with(&[4, 6, 5, 4, 4, 5, 5])),
        ("setup-expires", vec![0, 0, 0, 4, 4, 4, 4, 5, 5]),
        (
            "stream-beyond-four-gigabytes",
            // Leaps of 2^29 octets, each verified.
            with(&[7, 0, 0, 4, 96, 192, 1].repeat(24)),
        ),
        (
            "seal-acknowledge-keep-alive",
            with(&[7, 0, 0, 6, 64, 0, 2, 100, 7, 0, 0, 1, 114, 0, 7, 0, 0, 6, 63, 0, 1]),
        ),
        ("fin-and-data-behind", with(&[7, 0, 0, 4, 64, 0, 0x12, 10, 7, 0, 0, 4, 80, 0, 2, 10])),
        ("second-origin", with(&[7, 0, 1, 0, 1, 7, 0, 1, 0, 2])),
    ]
}
