//! `Ccl` and `Cgw`: the session key wrapped for the client and for the gateway (spec §5.2).
//!
//! Owns layout, sealing and opening. The KDC seals, each end opens and compares
//! every field with what it asked for; comparing is [`Grant::matches`].

use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::identity::{DeviceId, Service};
use crate::keys::{WrapError, WrapKey};
use crate::message::codec::{MessageError, Reader, put_field};
use crate::message::{Claim, Reason, sha256};

/// A session key `Ks`, fresh from the KDC.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SessionKey([u8; 32]);

impl SessionKey {
    /// A fresh random key.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> SessionKey {
        let mut key = SessionKey([0; 32]);
        rng.fill_bytes(&mut key.0);
        key
    }

    /// Wraps 32 key octets; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> SessionKey {
        SessionKey(bytes)
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn ct_eq(&self, other: &SessionKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The ticket key `Kst` of a service: a place kept, wrapped only once tickets are in use.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct TicketKey([u8; 32]);

impl TicketKey {
    /// Wraps 32 key octets; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> TicketKey {
        TicketKey(bytes)
    }
}

/// What the client is told to do where a server does not accept the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Policy {
    /// No connection without protection; a client that learnt this keeps to it.
    Require = 1,
    /// Protection where it can be had.
    Prefer = 2,
}

/// What both boxes say about a session, besides the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `R`.
    pub request_id: u64,
    /// Epoch.
    pub epoch: u32,
    /// Reason.
    pub reason: Reason,
    /// `IDcl`.
    pub client: DeviceId,
    /// `IDgw`, taken by the KDC from the key that verified.
    pub gateway: DeviceId,
    /// The service.
    pub service: Service,
    /// `Nc`.
    pub nonce: [u8; 32],
    /// `Ng`.
    pub gateway_nonce: [u8; 32],
    /// For how long keys of this epoch may be used, in seconds; never 0.
    pub lifetime_seconds: u32,
}

/// What the client finds in `Ccl`.
pub struct ClientGrant {
    /// The session key.
    pub key: SessionKey,
    /// The fields to compare.
    pub grant: Grant,
    /// The service's policy.
    pub policy: Policy,
}

/// What the gateway finds in `Cgw`.
pub struct GatewayGrant {
    /// The session key.
    pub key: SessionKey,
    /// The fields to compare.
    pub grant: Grant,
    /// The service's ticket key, once tickets are in use.
    pub ticket_key: Option<TicketKey>,
}

impl Grant {
    /// The grant that answers a claim; `gateway` is whose key verified.
    #[must_use]
    pub fn for_claim(
        claim: &Claim,
        gateway: DeviceId,
        gateway_nonce: [u8; 32],
        lifetime_seconds: u32,
    ) -> Grant {
        Grant {
            request_id: claim.request_id,
            epoch: claim.epoch,
            reason: claim.reason,
            client: claim.client.clone(),
            gateway,
            service: claim.service.clone(),
            nonce: claim.nonce,
            gateway_nonce,
            lifetime_seconds,
        }
    }

    /// Whether every field answers this claim, `gateway` and `Ng`, and the lifetime is not 0
    /// (M5.6).
    #[must_use]
    pub fn matches(&self, claim: &Claim, gateway: &DeviceId, gateway_nonce: &[u8; 32]) -> bool {
        let expected =
            Grant::for_claim(claim, gateway.clone(), *gateway_nonce, self.lifetime_seconds);
        *self == expected && self.lifetime_seconds != 0
    }
}

/// Seals `Ccl` under `Kcl.wrap`: random nonce ‖ box, no associated data.
#[must_use]
pub fn seal_client(
    key: &SessionKey,
    grant: &Grant,
    policy: Policy,
    wrap: &WrapKey,
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let mut plain = plain(key, grant);
    put_field(&mut plain, &[policy as u8]);
    wrap.seal(&plain, &[], rng)
}

/// Opens `Ccl`.
///
/// # Errors
/// [`WrapError`] if it does not open or is not a `Ccl`.
pub fn open_client(sealed: &[u8], wrap: &WrapKey) -> Result<ClientGrant, WrapError> {
    let plain = wrap.open(sealed, &[])?;
    let mut r = Reader::new(&plain);
    read_client(&mut r).and_then(|grant| r.finish().map(|()| grant)).map_err(|_| WrapError)
}

/// Seals `Cgw` under `Kgw.wrap`; `associated` from [`gateway_associated`].
#[must_use]
pub fn seal_gateway(
    content: (&SessionKey, &Grant, Option<&TicketKey>),
    associated: &[u8; 64],
    wrap: &WrapKey,
    rng: &mut dyn CryptoRng,
) -> Vec<u8> {
    let (key, grant, ticket_key) = content;
    let mut plain = plain(key, grant);
    put_field(&mut plain, ticket_key.map_or(&[][..], |kst| &kst.0));
    wrap.seal(&plain, associated, rng)
}

/// Opens `Cgw`; `associated` from [`gateway_associated`].
///
/// # Errors
/// [`WrapError`] if it does not open or is not a `Cgw`.
pub fn open_gateway(
    sealed: &[u8],
    associated: &[u8; 64],
    wrap: &WrapKey,
) -> Result<GatewayGrant, WrapError> {
    let plain = wrap.open(sealed, associated)?;
    let mut r = Reader::new(&plain);
    read_gateway(&mut r).and_then(|grant| r.finish().map(|()| grant)).map_err(|_| WrapError)
}

/// Associated data of `Cgw`: SHA-256(KEY-REQUEST) ‖ SHA-256(`Ccl`).
#[must_use]
pub fn gateway_associated(request: &[u8; 32], for_client: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out[..32].copy_from_slice(request);
    out[32..].copy_from_slice(&sha256(&[for_client]));
    out
}

/// Room for the longest plaintext, so that no copy of the key stays behind in a grown buffer.
const PLAIN_CAPACITY: usize = 512;

fn plain(key: &SessionKey, grant: &Grant) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(PLAIN_CAPACITY));
    put_field(&mut out, &key.0);
    put_field(&mut out, &grant.request_id.to_be_bytes());
    put_field(&mut out, &grant.epoch.to_be_bytes());
    put_field(&mut out, &[grant.reason as u8]);
    put_field(&mut out, &grant.client.to_wire());
    put_field(&mut out, &grant.gateway.to_wire());
    put_field(&mut out, &grant.service.to_wire());
    put_field(&mut out, &grant.nonce);
    put_field(&mut out, &grant.gateway_nonce);
    put_field(&mut out, &grant.lifetime_seconds.to_be_bytes());
    out
}

fn read_common(r: &mut Reader<'_>) -> Result<(SessionKey, Grant), MessageError> {
    let key = SessionKey(r.field_array("Ks")?);
    let request_id = u64::from_be_bytes(r.field_array("R")?);
    let epoch = u32::from_be_bytes(r.field_array("epoch")?);
    let [reason] = r.field_array("reason")?;
    let grant = Grant {
        request_id,
        epoch,
        reason: Reason::from_wire(reason)?,
        client: DeviceId::from_wire(r.field()?)?,
        gateway: DeviceId::from_wire(r.field()?)?,
        service: Service::from_wire(r.field()?)?,
        nonce: r.field_array("Nc")?,
        gateway_nonce: r.field_array("Ng")?,
        lifetime_seconds: u32::from_be_bytes(r.field_array("lifetime")?),
    };
    Ok((key, grant))
}

fn read_client(r: &mut Reader<'_>) -> Result<ClientGrant, MessageError> {
    let (key, grant) = read_common(r)?;
    let policy = match r.field()? {
        [1] => Policy::Require,
        [2] => Policy::Prefer,
        _ => return Err(MessageError::Field("policy")),
    };
    Ok(ClientGrant { key, grant, policy })
}

fn read_gateway(r: &mut Reader<'_>) -> Result<GatewayGrant, MessageError> {
    let (key, grant) = read_common(r)?;
    let ticket_key = match r.field()? {
        [] => None,
        bytes => Some(TicketKey(bytes.try_into().map_err(|_| MessageError::Field("Kst"))?)),
    };
    Ok(GatewayGrant { key, grant, ticket_key })
}

#[cfg(test)]
mod tests;
