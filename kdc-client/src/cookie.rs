//! The cookie of INVITE: all that a gateway needs to know again when IDENTIFY echoes it.
//!
//! Owns sealing and opening (spec §4.5). It, not `R`, binds a delivery to its
//! SYN. Does not own the decision when to give one.

use std::net::{IpAddr, SocketAddr};

use rand_core::CryptoRng;

use crate::delivery::{SECOND, SessionRef};
use crate::keys::WrapKey;
use crate::message::Reason;
use crate::message::codec::{MessageError, Reader, put_field};

/// A cookie is accepted in its time slot and in the next one, so it lives 5 to 10 s: longer than
/// a client's hold deadline, and short since ended deliveries are remembered as long.
const SLOT: u64 = 5 * SECOND;

/// The key of cookies: random, per start of the gateway.
pub(crate) struct CookieKey(WrapKey);

/// What a cookie says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    /// UDP source of the trigger; only it may use the cookie (M4.14).
    pub(crate) source: SocketAddr,
    /// 4-tuple and client ISN of the SYN.
    pub(crate) session: SessionRef,
    pub(crate) request_id: u64,
    pub(crate) reason: Reason,
    /// Request option as it arrived in the SYN.
    pub(crate) option: [u8; 13],
}

/// When a cookie that is given at `now` is dead.
pub(crate) fn dead_at(now: u64) -> u64 {
    (now / SLOT + 2).saturating_mul(SLOT)
}

impl CookieKey {
    pub(crate) fn generate(rng: &mut dyn CryptoRng) -> CookieKey {
        let mut key = WrapKey([0; 32]);
        rng.fill_bytes(&mut key.0);
        CookieKey(key)
    }

    /// Slot ‖ box. Equal content in one slot gives equal octets, so a repeated INVITE is
    /// byte-identical without being stored; GCM-SIV allows the repeated nonce.
    pub(crate) fn seal(&self, cookie: &Cookie, now: u64) -> Vec<u8> {
        let slot = slot(now).to_be_bytes();
        let mut out = slot.to_vec();
        out.extend(self.0.seal_with_nonce(&nonce(cookie.request_id, slot), &cookie.encode(), &[]));
        out
    }

    /// What the cookie says, if it is ours, alive and used by who it was given to, under its `R` (M4.15).
    pub(crate) fn open(
        &self,
        bytes: &[u8],
        source: SocketAddr,
        request_id: u64,
        now: u64,
    ) -> Option<Cookie> {
        let (slot_bytes, sealed) = bytes.split_first_chunk::<4>()?;
        let age = slot(now).wrapping_sub(u32::from_be_bytes(*slot_bytes));
        if age > 1 {
            return None;
        }
        let plain = self.0.open_with_nonce(&nonce(request_id, *slot_bytes), sealed, &[]).ok()?;
        let cookie = Cookie::decode(&plain).ok()?;
        (cookie.source == source && cookie.request_id == request_id).then_some(cookie)
    }
}

impl Cookie {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        put_address(&mut out, &self.source);
        put_address(&mut out, &self.session.client);
        put_address(&mut out, &self.session.server);
        out.extend_from_slice(&self.session.client_isn.to_be_bytes());
        out.extend_from_slice(&self.request_id.to_be_bytes());
        out.push(self.reason as u8);
        out.extend_from_slice(&self.option);
        out
    }

    fn decode(bytes: &[u8]) -> Result<Cookie, MessageError> {
        let mut r = Reader::new(bytes);
        let source = address(&mut r)?;
        let client = address(&mut r)?;
        let server = address(&mut r)?;
        let client_isn = u32::from_be_bytes(r.array()?);
        let request_id = u64::from_be_bytes(r.array()?);
        let [reason] = r.array()?;
        let cookie = Cookie {
            source,
            session: SessionRef { client, server, client_isn },
            request_id,
            reason: Reason::from_wire(reason)?,
            option: r.array()?,
        };
        r.finish()?;
        Ok(cookie)
    }
}

fn slot(now: u64) -> u32 {
    // Wraps after 680 years of uptime.
    (now / SLOT) as u32
}

fn nonce(request_id: u64, slot: [u8; 4]) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&request_id.to_be_bytes());
    nonce[8..].copy_from_slice(&slot);
    nonce
}

fn put_address(out: &mut Vec<u8>, address: &SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => put_field(out, &ip.octets()),
        IpAddr::V6(ip) => put_field(out, &ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

fn address(r: &mut Reader<'_>) -> Result<SocketAddr, MessageError> {
    let bytes = r.field()?;
    let ip = if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        IpAddr::from(v4)
    } else {
        IpAddr::from(<[u8; 16]>::try_from(bytes).map_err(|_| MessageError::Field("address"))?)
    };
    Ok(SocketAddr::new(ip, u16::from_be_bytes(r.array()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn cookie() -> Cookie {
        Cookie {
            source: "192.0.2.1:1088".parse().unwrap(),
            session: SessionRef {
                client: "192.0.2.1:40000".parse().unwrap(),
                server: "[fd00::1]:443".parse().unwrap(),
                client_isn: 0x0102_0304,
            },
            request_id: 7,
            reason: Reason::New,
            option: [9; 13],
        }
    }

    #[test]
    /// M4.15.
    fn opens_for_at_most_10_seconds_and_at_least_5() {
        let key = CookieKey::generate(&mut StdRng::seed_from_u64(1));
        let content = cookie();
        for given in [0, 1, SLOT - 1, SLOT, 123 * SLOT + 5] {
            let bytes = key.seal(&content, given);
            assert_eq!(bytes, key.seal(&content, given), "byte-identical in one slot");
            for age in [0, SLOT - 1, SLOT] {
                assert_eq!(key.open(&bytes, content.source, 7, given + age), Some(content));
            }
            assert_eq!(key.open(&bytes, content.source, 7, given + 10 * SECOND), None);
            assert_eq!(key.open(&bytes, content.source, 7, dead_at(given)), None);
            assert!(key.open(&bytes, content.source, 7, dead_at(given) - 1).is_some());
        }
        // A cookie of the future is not ours.
        assert_eq!(key.open(&key.seal(&content, SLOT), content.source, 7, 0), None);
    }

    #[test]
    /// M4.14, M4.15.
    fn opens_only_for_its_source_request_and_key_and_unchanged() {
        let key = CookieKey::generate(&mut StdRng::seed_from_u64(1));
        let other = CookieKey::generate(&mut StdRng::seed_from_u64(2));
        let content = cookie();
        let bytes = key.seal(&content, 0);
        assert_eq!(key.open(&bytes, "192.0.2.1:1089".parse().unwrap(), 7, 0), None);
        assert_eq!(key.open(&bytes, "192.0.2.2:1088".parse().unwrap(), 7, 0), None);
        assert_eq!(key.open(&bytes, content.source, 8, 0), None);
        assert_eq!(other.open(&bytes, content.source, 7, 0), None);
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&bad, content.source, 7, 0), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(key.open(&bytes[..len], content.source, 7, 0), None, "length {len}");
        }
    }
}
