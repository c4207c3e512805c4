//! What a path can do to a frame on the cipher side: damage it, forge it, cut it in two, take
//! options off. Owns the changes; whether one happens is the network's or the attacker's to say.

use sekisho_wire::{SekishoOption, TcpFlags, TcpOptionsSummary, TcpView, parse_frame};

use super::dice::Dice;
use super::frame::{self, mend};

/// NOP.
const NOP: u8 = 1;

/// Flips one bit anywhere behind the Ethernet header. Checksums then are wrong.
pub(super) fn corrupt(bytes: &mut [u8], dice: &mut Dice) {
    let body = bytes.len().saturating_sub(frame::ETHERNET) as u64;
    let at = frame::ETHERNET + dice.below(body) as usize;
    if let Some(octet) = bytes.get_mut(at) {
        *octet ^= 1 << dice.below(8);
    }
}

/// Forges: changes what a tag covers, or octets of a key-delivery message, and mends checksums.
/// False if the frame has nothing of it.
pub(super) fn forge(bytes: &mut [u8], dice: &mut Dice) -> bool {
    let Ok(view) = parse_frame(bytes) else { return false };
    if let Some(udp) = view.udp() {
        let at = udp.payload.start as usize + dice.below(u64::from(udp.payload.len)) as usize;
        bytes[at] ^= 1 << dice.below(8);
        mend(bytes);
        return true;
    }
    let Some((tcp, tag)) = tagged(bytes) else { return false };
    let l4 = usize::from(tcp.l4);
    match dice.below(5) {
        0 if tcp.payload.len > 0 => {
            let at = tcp.payload.start as usize + dice.below(u64::from(tcp.payload.len)) as usize;
            bytes[at] ^= 1 << dice.below(8);
        }
        1 => frame::shift(bytes, dice.within(1, 3000) as u32, 0),
        2 => bytes[l4 + 13] ^= TcpFlags::FIN.0 as u8,
        // The phase: the last bit of the ExID.
        3 => bytes[tag - 1] ^= 1,
        _ => bytes[tag + dice.below(12) as usize] ^= 1 << dice.below(8),
    }
    mend(bytes);
    true
}

/// Cuts a tagged segment in two, as a path that re-segments does; both keep the options.
pub(super) fn cut(bytes: &[u8], dice: &mut Dice) -> Option<[Vec<u8>; 2]> {
    let (tcp, _) = tagged(bytes).filter(|(tcp, _)| tcp.payload.len > 1)?;
    let kept = dice.within(1, u64::from(tcp.payload.len) - 1) as usize;
    let start = usize::from(tcp.payload.start);
    let mut first = bytes[..start + kept].to_vec();
    first[usize::from(tcp.l4) + 13] &= !(TcpFlags::FIN.0 as u8);
    let mut second = bytes[..start].to_vec();
    second.extend_from_slice(&bytes[start + kept..tcp.payload.end()]);
    for half in [&mut first, &mut second] {
        set_length(half);
        mend(half);
    }
    frame::shift(&mut second, kept as u32, 0);
    Some([first, second])
}

/// Takes an option of ours off: the tag, or the request or accept. False if there is none.
pub(super) fn strip(bytes: &mut [u8], of_handshake: bool) -> bool {
    let Some((_, tcp)) = frame::tcp(bytes) else { return false };
    let summary = TcpOptionsSummary::walk(tcp.options(bytes), &Default::default());
    let Some((start, length)) = summary.ours_span else { return false };
    if tcp.flags.syn() != of_handshake {
        return false;
    }
    let at = usize::from(tcp.l4) + 20 + usize::from(start);
    bytes[at..at + usize::from(length)].fill(NOP);
    mend(bytes);
    true
}

/// A TCP segment with a tag: its header, and where the tag stands.
pub(super) fn tagged(bytes: &[u8]) -> Option<(TcpView, usize)> {
    let (_, tcp) = frame::tcp(bytes)?;
    let summary = TcpOptionsSummary::walk(tcp.options(bytes), &Default::default());
    let (start, _) = summary.ours_span?;
    let is_tag = matches!(summary.sekisho(), Ok(Some(SekishoOption::Tag(_))));
    is_tag.then(|| (tcp, usize::from(tcp.l4) + 20 + usize::from(start) + 4))
}

/// Makes the IP header say what there is.
fn set_length(bytes: &mut [u8]) {
    // Nothing here is longer than an MTU.
    let packet = (bytes.len() - frame::ETHERNET) as u16;
    let is_v6 = bytes[frame::ETHERNET] >> 4 == 6;
    let (at, value) = if is_v6 { (4, packet - 40) } else { (2, packet) };
    let at = frame::ETHERNET + at;
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}
