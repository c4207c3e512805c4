//! The sum of RFC 1071 over a payload, portable.
//!
//! Owns: the definition that the kernels' folded sums are held to. Not: pseudo-header, inversion.

/// 16-bit big-endian words of `payload` added with end-around carry, zero behind an odd octet.
pub(crate) fn sum(payload: &[u8]) -> u16 {
    let (words, rest) = payload.as_chunks::<2>();
    // At most 32 768 words: the total stays below 2^32.
    let total: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    fold(total + rest.first().map_or(0, |octet| u32::from(*octet) << 8))
}

/// Adds the carries back in; only 0 gives 0.
fn fold(total: u32) -> u16 {
    let once = (total & 0xffff) + (total >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_known_payloads() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0; 9]), 0);
        assert_eq!(sum(&[0xab]), 0xab00);
        // The example of RFC 1071, section 3.
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
        // A multiple of 65535 that is not zero, and the longest payload.
        assert_eq!(sum(&[0xff; 4]), 0xffff);
        assert_eq!(sum(&vec![0xff; 65535]), 0xff00);
    }
}
