//! Property: whatever the hosts cut, repeat, overlap and close, and whatever the network loses,
//! doubles and reorders, the far host is handed only true octets of the near host's stream, and
//! gets all of it once everything has been sent again.

use proptest::collection::vec;
use proptest::prelude::*;

use super::harness::*;
use super::segments::*;

/// One transmission: where it starts, how long it is, what the network does with it.
#[derive(Clone, Debug)]
struct Sent {
    start: usize,
    len: usize,
    fate: u8,
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..STREAM, 1..600_usize, any::<u8>()).prop_map(|(start, len, fate)| Sent { start, len, fate })
}

const STREAM: usize = 4000;

fn stream(salt: u8) -> Vec<u8> {
    CANARY.iter().cycle().zip(0..STREAM).map(|(c, n)| c ^ (n / 19) as u8 ^ salt).collect()
}

/// Sends `plan` and, in the end, everything once more in order; gives what the far host got.
fn carry(pair: &mut Pair, up: bool, plan: &[Sent], bytes: &[u8]) -> Vec<Option<u8>> {
    let mut network: Vec<Vec<u8>> = Vec::new();
    let mut got = vec![None; STREAM];
    let last = (0..STREAM).step_by(500).map(|start| Sent { start, len: 500, fate: 1 });
    for sent in plan.iter().cloned().chain(last) {
        let end = (sent.start + sent.len).min(STREAM);
        let piece = &bytes[sent.start..end];
        let mut seg = if up {
            pair.client_data(sent.start as u64, 0, piece)
        } else {
            pair.server_data(sent.start as u64, 0, piece)
        };
        if end == STREAM {
            seg.flags = FIN | ACK;
        }
        let sealed = if up { pair.seal_up(&seg) } else { pair.seal_down(&seg) };
        for frame in sealed {
            match sent.fate % 4 {
                // Lost; straight through; doubled; overtaken by the next ones.
                0 => {}
                1 => network.insert(0, frame.bytes),
                2 => network.extend([frame.bytes.clone(), frame.bytes]),
                _ => network.push(frame.bytes),
            }
        }
        let deliver = if sent.fate & 0x40 == 0 { network.len() } else { network.len() / 2 };
        for frame in network.drain(..deliver).collect::<Vec<_>>() {
            let opened = if up { pair.open_up(&frame) } else { pair.open_down(&frame) };
            let isn = if up { CLIENT_ISN } else { SERVER_ISN };
            for seg in opened {
                let at = seg.seq().get().wrapping_sub(isn.wrapping_add(1)) as usize;
                for (place, byte) in got[at..].iter_mut().zip(seg.payload()) {
                    *place = Some(*byte);
                }
                assert_eq!(seg.payload(), &bytes[at..at + seg.payload().len()]);
                assert_eq!(seg.tcp.flags.fin(), at + seg.payload().len() == STREAM);
            }
        }
    }
    for frame in network {
        let opened = if up { pair.open_up(&frame) } else { pair.open_down(&frame) };
        assert_eq!(opened.len(), 1);
    }
    got
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_segmentation_loss_and_order(
        up in vec(sent(), 0..30),
        down in vec(sent(), 0..30),
        over_v6: bool,
    ) {
        let mut pair = Pair::synced_over(if over_v6 { v6() } else { v4() });
        for (upwards, plan) in [(true, &up), (false, &down)] {
            let bytes = stream(u8::from(upwards));
            let got = carry(&mut pair, upwards, plan, &bytes);
            let whole: Vec<u8> = got.into_iter().map(|byte| byte.unwrap()).collect();
            prop_assert_eq!(whole, bytes);
        }
        let rows = pair.gateway.sessions();
        prop_assert_eq!(rows[0].offsets, [STREAM as u64 + 1; 2]);
        prop_assert_eq!(rows[0].bad_tags, 0);
        pair.finish();
    }
}
