//! An attacker on the path who sees all traffic forges what ends connections: RST and FIN, addresses and
//! sequence numbers exactly right, towards both boxes. No session is lost, no key erased, each is counted
//! under its reason (hazards 17 and 35).
//!
//! ```text
//!  client1 ─ office ─ agent ─ router ─ gateway ─ lan ─ server1
//!                             forger: into both boxes' cipher ports
//! ```

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use sekisho_tests::expect_that;
use sekisho_tests::lab::chain::{Chain, Node, on_chain};
use sekisho_tests::lab::config::{ECHO, Setup};
use sekisho_tests::lab::flood::forged_tag;
use sekisho_tests::lab::forge::{Flow, Segment, flag};
use sekisho_tests::lab::harness::no_leak;
use sekisho_tests::lab::inject::Injector;
use sekisho_tests::lab::peers::{Server, dial, exchange};
use sekisho_tests::lab::process::wait_until;
use sekisho_tests::lab::programs::canary_text;
use sekisho_tests::lab::seen::parse;
use sekisho_tests::lab::topology::{Family, Host, TO_AGENT, TO_GATEWAY};
use sekisho_tests::lab::{LabError, LabResult};
use sekisho_wire::SekishoOption;

const SOON: Duration = Duration::from_secs(20);
/// Forgeries of each flag and family, over both boxes.
const EACH: u64 = 100_000;
/// What is sent before it is looked whether all of it was counted: less than a ring holds.
const BATCH: u64 = 1_000;
/// Connections of each family that the forger aims at.
const CONNECTIONS: usize = 4;

/// A live connection as the forger sees it.
struct Target {
    stream: TcpStream,
    client: SocketAddr,
    server: SocketAddr,
    /// The next octet of either end.
    next: [u32; 2],
    /// The latest tag option of either end: to be played again.
    tags: [[u8; 16]; 2],
}

/// What the forger leaves of the tag, and the reason that it is dropped for.
const WAYS: [(Tag, &str); 4] = [
    (Tag::None, "tag_missing"),
    (Tag::Random, "bad_tag"),
    (Tag::Replayed, "bad_tag"),
    (Tag::OtherPhase, "no_key_for_phase"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    None,
    Random,
    Replayed,
    OtherPhase,
}

impl Target {
    fn connect(chain: &Chain, family: Family) -> LabResult<Self> {
        let server = SocketAddr::new(Host::Server1.address(family), ECHO);
        let mut stream = dial(chain.host(Host::Client1), server.ip(), ECHO)?;
        let client = stream.local_addr().map_err(LabError::io("local address"))?;
        exchange(&mut stream, b"seen by the forger")?;
        Ok(Self { stream, client, server, next: [0; 2], tags: [[0; 16]; 2] })
    }

    /// Reads the connection off the wire.
    fn look(&mut self, chain: &Chain) -> LabResult {
        let frames = chain.watch.recent_at_gateway()?;
        for seen in parse(&frames) {
            let (Some(ends), Some(tcp)) = (seen.ends(), seen.view.tcp()) else { continue };
            let way = match ends {
                ends if ends == (self.client, self.server) => 0,
                ends if ends == (self.server, self.client) => 1,
                _ => continue,
            };
            if let Some(SekishoOption::Tag(tag)) = seen.option() {
                self.next[way] = tcp.seq.get().wrapping_add(u32::from(tcp.payload.len));
                self.tags[way] = tag.encode(&Default::default());
            }
        }
        expect_that!(!self.tags.contains(&[0; 16]), "the capture shows both directions");
        Ok(())
    }

    /// A forgery in the direction `way` (0: from the client), sequence number exactly right.
    fn forge(
        &self,
        macs: ([u8; 6], [u8; 6]),
        way: usize,
        flags: u8,
        (tag, n): (Tag, u64),
    ) -> Vec<u8> {
        let flow = Flow { macs, src: self.client, dst: self.server };
        let flow = if way == 0 { flow } else { flow.reversed() };
        let option = match tag {
            Tag::None => Vec::new(),
            Tag::Random => forged_tag(n).to_vec(),
            Tag::Replayed => self.tags[way].to_vec(),
            Tag::OtherPhase => {
                let mut option = self.tags[way];
                option[3] ^= 1;
                option.to_vec()
            }
        };
        let (seq, ack) = (self.next[way], self.next[1 - way]);
        flow.segment(&Segment { seq, ack, flags, options: &option, payload: &[] })
    }
}

/// One of the two boxes, and the way into it.
struct Door {
    node: Node,
    injector: Injector,
    way: usize,
}

fn doors(chain: &Chain) -> LabResult<[Door; 2]> {
    let door = |node, interface, way| -> LabResult<Door> {
        Ok(Door { node, injector: Injector::open(&chain.topology.router, interface)?, way })
    };
    Ok([door(Node::Gateway, TO_GATEWAY, 0)?, door(Node::Agent, TO_AGENT, 1)?])
}

/// Sends `count` forgeries through a door in batches; after each, all are counted and nothing else is.
fn attack(chain: &Chain, door: &Door, targets: &[Target], (flags, count): (u8, u64)) -> LabResult {
    // Whoever is behind the door: the frame never gets there.
    let macs = (door.injector.mac(), [2, 0, 0, 0, 0, 9]);
    let reasons = ["tag_missing", "bad_tag", "no_key_for_phase"];
    let counts = |chain: &Chain| -> LabResult<Vec<u64>> {
        let drops = &chain.status(door.node)?["drops"];
        Ok(reasons.iter().map(|reason| drops[reason].as_u64().unwrap_or(0)).collect())
    };
    let before = counts(chain)?;
    for sent in (0..count).step_by(BATCH as usize) {
        for n in sent..sent + BATCH {
            let (tag, _) = WAYS[n as usize % WAYS.len()];
            let target = &targets[n as usize / WAYS.len() % targets.len()];
            door.injector.send(&target.forge(macs, door.way, flags, (tag, n)))?;
        }
        let due = sent + BATCH;
        wait_until(&format!("{:?} has counted {due} forgeries", door.node), SOON, || {
            let sum = |counts: &[u64]| counts.iter().sum::<u64>();
            Ok(sum(&counts(chain)?) - sum(&before) == due)
        })?;
    }
    for (reason, (after, before)) in reasons.iter().zip(counts(chain)?.iter().zip(&before)) {
        let ways = WAYS.iter().filter(|(_, counted)| counted == reason).count() as u64;
        let expected = count * ways / WAYS.len() as u64;
        expect_that!(after - before == expected, "{reason}: {} of {expected}", after - before);
    }
    Ok(())
}

/// Sessions that hold keys, and those that ever ended by cause.
type Standing = (u64, Vec<(String, u64)>);

/// How gateway and agent stand.
fn standing(chain: &Chain) -> LabResult<Vec<Standing>> {
    [Node::Gateway, Node::Agent]
        .into_iter()
        .map(|node| Ok((chain.keys_held(node)?, chain.counted(node, "closed")?)))
        .collect()
}

#[test]
fn forged_resets_and_fins_end_nothing() -> LabResult {
    on_chain("forged-ends", Setup::default(), |chain| {
        let _server = Server::echo(chain.host(Host::Server1), ECHO)?;
        let doors = doors(chain)?;
        // All at once: none ends while the others are attacked.
        let mut all = Vec::new();
        for family in Family::BOTH {
            let connect = |_| Target::connect(chain, family);
            let mut targets = (0..CONNECTIONS).map(connect).collect::<LabResult<Vec<_>>>()?;
            for target in &mut targets {
                target.look(chain)?;
            }
            all.push((family, targets));
        }
        for (family, targets) in &mut all {
            let before = standing(chain)?;
            // The forger's own frames would fill the captures, and show nothing.
            no_leak(&chain.watch.stop()?)?;
            for flags in [flag::RST, flag::RST | flag::ACK, flag::FIN | flag::ACK] {
                // Resets come with and without acknowledgement.
                let share = if flags & flag::FIN == 0 { EACH / 4 } else { EACH / 2 };
                for door in &doors {
                    attack(chain, door, targets, (flags, share))?;
                }
            }
            chain.watch.restart(&chain.topology)?;
            let after = standing(chain)?;
            expect_that!(after == before, "{}: {before:?} became {after:?}", family.label());
            for target in targets {
                exchange(&mut target.stream, canary_text(20_000).as_bytes())?;
            }
        }
        Ok(())
    })
}
