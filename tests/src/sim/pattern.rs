//! What streams consist of: blocks of a canary, the stream's number and the block's, so that any
//! octet can be checked where it arrives and any 16 in clear give themselves away.

/// Octets of one block.
pub(super) const BLOCK: usize = 16;
/// Begins each block.
pub(super) const CANARY: [u8; 8] = *b"\xC5ANARY\xA7\x5E";
/// Set in a block's number where a host sends an offset again with other octets.
const OTHER: u32 = 0x8000_0000;

/// The octet of stream `id` at `offset`, in its first form or the `other`.
pub(super) fn octet(id: u32, offset: u64, other: bool) -> u8 {
    let block = block(id, offset / BLOCK as u64, other);
    block[(offset % BLOCK as u64) as usize]
}

/// Fills `out` with the octets of stream `id` from `offset` on.
pub(super) fn fill(id: u32, offset: u64, other: bool, out: &mut [u8]) {
    for (octet_at, place) in (offset..).zip(out) {
        *place = octet(id, octet_at, other);
    }
}

/// Reads the number of a stream from its first block.
pub(super) fn stream_of(first: &[u8; BLOCK]) -> Option<u32> {
    let id = u32::from_be_bytes([first[8], first[9], first[10], first[11]]);
    let right = [false, true].iter().any(|other| block(id, 0, *other) == *first);
    right.then_some(id)
}

/// Whether the canary stands anywhere in `bytes`.
pub(super) fn has_canary(bytes: &[u8]) -> bool {
    let Some(last) = bytes.len().checked_sub(CANARY.len()) else { return false };
    (0..=last).any(|at| bytes[at] == CANARY[0] && bytes[at..at + CANARY.len()] == CANARY)
}

fn block(id: u32, number: u64, other: bool) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&CANARY);
    block[8..12].copy_from_slice(&id.to_be_bytes());
    // No stream of the simulation has 2^31 blocks.
    let number = number as u32 | if other { OTHER } else { 0 };
    block[12..].copy_from_slice(&number.to_be_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_told_apart_and_canaries_found() {
        let mut bytes = [0; 3 * BLOCK];
        fill(7, 0, false, &mut bytes);
        let mut first = [0; BLOCK];
        first.copy_from_slice(&bytes[..BLOCK]);
        assert_eq!(stream_of(&first), Some(7));
        first[0] ^= 1;
        assert_eq!(stream_of(&first), None);
        assert!((0..BLOCK).all(|from| has_canary(&bytes[from..from + 2 * BLOCK])));
        assert!(!has_canary(&bytes[1..BLOCK]));
        assert!(!has_canary(&bytes[..7]));
        let mut other = [0; 3 * BLOCK];
        fill(7, 0, true, &mut other);
        assert_ne!(bytes, other);
    }
}
