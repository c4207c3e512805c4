//! What must hold whatever a script does. Owns no state of the pipeline: it looks from outside.

use sekisho_dataplane::{Policy, SessionRow, Worker};
use sekisho_port::{MemoryIo, PacketIo, PortSide};
use sekisho_session::State;
use sekisho_wire::{OptionCodes, TcpOptionsSummary, TcpView, checksum, parse_frame};

use super::segments::{CANARIES, TELLTALE, truth};

/// Looks at every frame that leaves.
pub(super) struct Watch {
    policy: Policy,
    /// Whether a canary on a cipher side must have come from a host's payload.
    secret: bool,
    /// Whether the hosts send nothing but true octets.
    truthful: bool,
}

impl Watch {
    /// `input` is the script: where it spells the canary itself, finding it proves nothing.
    pub(super) fn new(policy: Policy, input: &[u8]) -> Self {
        let spelt = CANARIES.iter().any(|canary| contains(input, &canary[..TELLTALE]));
        Self {
            policy,
            secret: policy == Policy::Require && !spelt,
            truthful: policy == Policy::Require,
        }
    }

    /// From now on connections may run in clear.
    pub(super) fn policy_changes(&mut self) {
        self.policy = Policy::Off;
        self.secret = false;
        self.truthful = false;
    }

    pub(super) fn hosts_say_anything(&mut self) {
        self.truthful = false;
    }

    /// A frame leaves `end` (0: agent, 1: gateway) by `side`.
    pub(super) fn leaves(&self, end: usize, side: PortSide, frame: &[u8]) {
        if side == PortSide::Cipher && self.secret {
            for canary in CANARIES {
                assert!(!contains(frame, &canary[..TELLTALE]), "in clear: {}", hex(frame));
            }
        }
        let view = parse_frame(frame);
        assert!(view.is_ok(), "sent what does not parse: {}", hex(frame));
        let Ok(view) = view else { return };
        let Some(tcp) = view.tcp() else { return };
        if self.policy != Policy::Off {
            assert!(checksum::verify_transport(frame, &view), "checksum: {}", hex(frame));
        }
        if side == PortSide::Plain {
            self.reaches_a_host(end, frame, tcp);
        }
    }

    fn reaches_a_host(&self, end: usize, frame: &[u8], tcp: &TcpView) {
        let options = TcpOptionsSummary::walk(tcp.options(frame), &OptionCodes::default());
        if self.policy != Policy::Off {
            assert!(options.ours_span.is_none(), "our option on a plain side: {}", hex(frame));
        }
        let payload = tcp.payload.slice(frame);
        if self.truthful && !payload.is_empty() {
            let first = tcp.seq.get().wrapping_add(u32::from(tcp.flags.syn()));
            // What the agent hands over the server sent, and the other way round.
            assert_eq!(payload, truth(1 - end, first, payload.len()), "no host said this");
        }
    }
}

/// No frame lost, none counted twice.
pub(super) fn frames_are_conserved(worker: &Worker, io: &MemoryIo) {
    let counts = worker.counters().snapshot();
    assert_eq!(counts.balance(), 0, "frames uncounted");
    assert_eq!(io.accounting().in_hand(), counts.tallies.held as isize, "frames lost or doubled");
}

/// Nothing is held any more, nothing waits: all frames are in the pool and the fill rings.
pub(super) fn all_frames_are_back(worker: &Worker, io: &MemoryIo) {
    frames_are_conserved(worker, io);
    let frames = io.accounting();
    assert_eq!(frames.pool + frames.rx_fill, frames.total, "leaked: {frames:?}");
}

/// Sessions as they are listed contradict neither themselves nor each other.
pub(super) fn rows_are_possible(rows: &[SessionRow]) {
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row.keyed, !row.state.is_unkeyed(), "{row:?}");
        let on_tuple = |candidate| {
            rows.iter()
                .filter(|other| other.flow == row.flow && other.candidate == candidate)
                .count()
        };
        assert!(on_tuple(true) <= 1 && on_tuple(false) == 1, "{rows:?}");
        assert!(!(row.candidate && row.state == State::Synced), "{row:?}");
        let same =
            |other: &SessionRow| other.flow == row.flow && other.client_isn == row.client_isn;
        assert!(!rows[at + 1..].iter().any(same), "{rows:?}");
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

fn hex(frame: &[u8]) -> String {
    frame.iter().map(|byte| format!("{byte:02x}")).collect()
}
