//! A layer-2 header in 17 octets. Owns: the compact form in a session. Not: the header itself
//! (`sekisho-wire`), nor when one is taken (the worker).

use sekisho_wire::{IpKind, L2Header};

/// Set once a header is held.
const HELD: u8 = 0x80;
/// Low bits: how many VLAN tags.
const COUNT: u8 = 0x03;
/// Tag `i` is 802.1ad rather than 802.1Q: `SERVICE << i`.
const SERVICE: u8 = 0x10;

const TPID_CUSTOMER: [u8; 2] = [0x81, 0x00];
const TPID_SERVICE: [u8; 2] = [0x88, 0xa8];

/// Addresses, at most two VLAN tags; the EtherType follows from the flow's IP version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompactL2 {
    addresses: [u8; 12],
    tci: [[u8; 2]; 2],
    meta: u8,
}

impl CompactL2 {
    pub(crate) const NONE: Self = Self { addresses: [0; 12], tci: [[0; 2]; 2], meta: 0 };

    /// Takes a header; one with a tag of another kind (none is parsed) leaves nothing held.
    pub(crate) fn from_header(header: &L2Header) -> Self {
        Self::from_bytes(header.as_bytes())
    }

    /// Takes the octets of a header, EtherType last; anything else leaves nothing held.
    #[inline]
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        // In place, in the widths that it will be read in. Tags left behind are not counted.
        match bytes.first_chunk::<12>() {
            Some(addresses) if bytes.len() == 14 => {
                self.addresses = *addresses;
                self.meta = HELD;
            }
            _ => *self = Self::from_bytes(bytes),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        if !matches!(bytes.len(), 14 | 18 | 22) {
            return Self::NONE;
        }
        let mut held = Self { meta: HELD, ..Self::NONE };
        held.addresses.copy_from_slice(&bytes[..12]);
        for (i, tag) in bytes[12..bytes.len() - 2].chunks_exact(4).enumerate() {
            match [tag[0], tag[1]] {
                TPID_CUSTOMER => {}
                TPID_SERVICE => held.meta |= SERVICE << i,
                _ => return Self::NONE,
            }
            held.tci[i] = [tag[2], tag[3]];
            held.meta += 1;
        }
        held
    }

    /// The header again, for a packet of that IP version.
    pub(crate) fn to_header(self, ip: IpKind) -> Option<L2Header> {
        if self.meta & HELD == 0 {
            return None;
        }
        let tags = usize::from(self.meta & COUNT);
        let mut bytes = [0; 22];
        bytes[..12].copy_from_slice(&self.addresses);
        for (i, tci) in self.tci.iter().enumerate().take(tags) {
            let tpid = if self.meta & (SERVICE << i) == 0 { TPID_CUSTOMER } else { TPID_SERVICE };
            bytes[12 + 4 * i..14 + 4 * i].copy_from_slice(&tpid);
            bytes[14 + 4 * i..16 + 4 * i].copy_from_slice(tci);
        }
        L2Header::from_bytes(&bytes[..14 + 4 * tags]).map(|header| header.with_ip(ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let tags: [&[u8]; 4] = [
            &[],
            &[0x81, 0, 0x20, 7],
            &[0x88, 0xa8, 0, 9, 0x81, 0, 0xef, 0xff],
            &[0x81, 0, 0, 9, 0x88, 0xa8, 0, 1],
        ];
        for tag in tags {
            let mut bytes: Vec<u8> = (1..=12).collect();
            bytes.extend_from_slice(tag);
            bytes.extend_from_slice(&[0x86, 0xdd]);
            let header = L2Header::from_bytes(&bytes).unwrap();
            let compact = CompactL2::from_header(&header);
            assert_eq!(compact.to_header(IpKind::V6).unwrap().as_bytes(), bytes);
        }
        assert_eq!(size_of::<CompactL2>(), 17);
    }

    #[test]
    fn nothing_held_gives_nothing() {
        assert!(CompactL2::NONE.to_header(IpKind::V4).is_none());
        let foreign =
            L2Header::from_bytes(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 0x91, 0, 0, 1, 8, 0]);
        assert!(CompactL2::from_header(&foreign.unwrap()).to_header(IpKind::V4).is_none());
    }
}
