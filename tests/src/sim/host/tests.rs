//! When a host gives a connection up for its own stack's sake, and that it does not where the path
//! is to blame: two hosts on a link that a test holds in its hands.

use sekisho_wire::TcpFlags;

use super::stall::{STALL, Stall};
use super::*;
use crate::sim::frame::Segment;
use crate::sim::plan::Ending;
use crate::sim::schedule::{MILLISECOND, SECOND};

const CLIENT: &str = "10.0.1.1:40000";
const SERVER: &str = "10.0.2.10:80";

/// What becomes of a frame: towards the server if `upwards`, and at what time; the frames that
/// arrive.
type Path<'a> = &'a mut dyn FnMut(bool, u64, Vec<u8>) -> Vec<(bool, Vec<u8>)>;

struct Pair {
    client: Host,
    server: Host,
    streams: Streams,
    now: u64,
}

impl Pair {
    fn new(up: u64) -> Self {
        let mut plan = Plan::of(0);
        for feature in Feature::ALL {
            plan = Plan::with(0, plan.features.without(feature));
        }
        plan.down = 1;
        let address = |end: &str| end.parse::<SocketAddr>().unwrap();
        let host = |name, end| Host::new(&plan, (name, address(end).ip()), 0);
        let (mut client, mut server) = (host("client", CLIENT), host("server", SERVER));
        // Nobody but the stack's own mistake ends a connection, nor makes the client speak.
        (client.give_up, server.give_up) = (None, None);
        (client.keeps_alive, server.keeps_alive) = (false, true);
        let mut streams = Streams::default();
        server.listen(80);
        let connection = Connection { at: 0, port: 40_000, up, ending: Ending::ClientCloses };
        client.connect((&connection, 0), address(SERVER), &mut streams);
        Self { client, server, streams, now: SECOND }
    }

    /// Lets `seconds` pass. The connections that the client has reset for its stack's sake.
    fn run(&mut self, seconds: u64, path: Path<'_>) -> Vec<SocketAddr> {
        let end = self.now + seconds * SECOND;
        while self.now < end {
            self.now += MILLISECOND;
            let (now, streams) = (self.now, &mut self.streams);
            let (up, _) = self.client.poll(now, streams).unwrap();
            let (down, _) = self.server.poll(now, streams).unwrap();
            let sent = up.into_iter().map(|frame| (true, frame));
            for (upwards, frame) in sent.chain(down.into_iter().map(|frame| (false, frame))) {
                for (upwards, frame) in path(upwards, now, frame) {
                    let to = if upwards { &mut self.server } else { &mut self.client };
                    to.push(frame);
                }
            }
            if now.is_multiple_of(SECOND) {
                let freed = self.client.free_stalled(now);
                if !freed.is_empty() {
                    return freed;
                }
            }
        }
        Vec::new()
    }

    fn client_state(&self) -> State {
        self.client.sockets.get::<Socket<'_>>(self.client.apps[0].0).state()
    }
}

fn is_fin(frame: &[u8]) -> bool {
    frame::tcp(frame).is_some_and(|(_, tcp)| tcp.flags.fin())
}

/// The server's acknowledgement of `octets` of a client's segment, with a window.
fn answer(segment: &[u8], octets: u32, window: u16) -> (bool, Vec<u8>) {
    let (view, tcp) = frame::tcp(segment).unwrap();
    let (src, dst) = (view.destination().unwrap(), view.source().unwrap());
    let (seq, ack) = (tcp.ack.get(), tcp.seq.get().wrapping_add(octets));
    let (flags, urgent, options, payload) = (TcpFlags::ACK, 0, &[][..], &[][..]);
    let mut frame = Segment { src, dst, seq, ack, flags, urgent, options, payload }.build();
    let at = usize::from(tcp.l4) + 14;
    frame[at..at + 2].copy_from_slice(&window.to_be_bytes());
    frame::mend(&mut frame);
    (false, frame)
}

#[test]
fn a_fin_forgotten_by_a_fast_retransmission_is_the_stacks_own_fault() {
    let mut pair = Pair::new(20);
    let mut fins = Vec::new();
    let freed = pair.run(100, &mut |upwards, now, frame| {
        if upwards && is_fin(&frame) {
            fins.push(now);
            // The octets come, the FIN does not; the acknowledgement comes four times.
            return vec![answer(&frame, 20, 1000); 4];
        }
        vec![(upwards, frame)]
    });
    assert_eq!(freed, [CLIENT.parse().unwrap()], "if smoltcp repeats it by now, this can go");
    assert!(pair.now >= fins.last().unwrap() + STALL);
    pair.client.poll(pair.now, &mut pair.streams).unwrap();
    assert_eq!(pair.client.reap(), [(0, Fate::Aborted)]);
}

#[test]
fn a_window_of_zero_that_no_probe_follows_is_the_stacks_own_fault() {
    let mut pair = Pair::new(20);
    let mut sent = Vec::new();
    let freed = pair.run(100, &mut |upwards, now, frame| {
        if upwards && is_fin(&frame) {
            sent.push(now);
            // All is out and lost; then comes an older window, which was shut.
            return vec![answer(&frame, 0, 0)];
        }
        vec![(upwards, frame)]
    });
    assert_eq!(freed, [CLIENT.parse().unwrap()], "if smoltcp probes by now, this can go");
    assert!(pair.now >= sent.last().unwrap() + STALL);
}

#[test]
fn a_path_that_takes_no_fin_is_no_excuse() {
    let mut pair = Pair::new(20);
    let mut fins = 0;
    let freed = pair.run(300, &mut |upwards, _, frame| {
        let lost = upwards && is_fin(&frame);
        fins += u32::from(lost);
        if lost { Vec::new() } else { vec![(upwards, frame)] }
    });
    assert!(freed.is_empty(), "the stack repeats its FIN");
    assert_eq!(pair.client_state(), State::FinWait1);
    assert!(fins > 5, "{fins}");
}

#[test]
fn a_path_that_takes_no_octet_is_no_excuse() {
    let mut pair = Pair::new(5000);
    let freed = pair.run(300, &mut |upwards, _, frame| {
        let octets = frame::tcp(&frame).is_some_and(|(_, tcp)| tcp.payload.len > 0);
        if upwards && octets { Vec::new() } else { vec![(upwards, frame)] }
    });
    assert!(freed.is_empty(), "the stack repeats its octets");
    assert_eq!(pair.client_state(), State::FinWait1);
}

#[test]
fn bare_acknowledgements_and_keep_alives_say_nothing() {
    let [src, dst] = [CLIENT, SERVER].map(|end| end.parse::<SocketAddr>().unwrap());
    let view = |seq, ack, flags, payload: &[u8]| {
        let (urgent, options) = (0, &[][..]);
        let frame = Segment { src, dst, seq, ack, flags, urgent, options, payload }.build();
        frame::tcp(&frame).unwrap().1
    };
    // 100 octets and a FIN are out, the octets acknowledged.
    let stuck = |flags, seq, payload: &[u8]| {
        let mut stall = Stall::default();
        stall.say(&view(1000, 7, TcpFlags::FIN | TcpFlags::ACK, &[1; 100]));
        stall.hear(&view(7, 1100, TcpFlags::ACK, &[]));
        stall.hear(&view(7, 5000, TcpFlags::ACK, &[]));
        assert!(!stall.look(0, true));
        stall.say(&view(seq, 7, flags, payload));
        stall.look(STALL, true)
    };
    assert!(stuck(TcpFlags::ACK, 1101, &[]), "a bare acknowledgement");
    assert!(stuck(TcpFlags::ACK, 1099, &[0]), "a keep-alive");
    assert!(!stuck(TcpFlags::FIN | TcpFlags::ACK, 1100, &[]), "the FIN again");
    assert!(!stuck(TcpFlags::RST, 1101, &[]), "a reset");
    assert!(!stuck(TcpFlags::ACK, 1100, &[1]), "a probe");
}
