//! The seven messages between client and gateway (spec §4.3).
//!
//! Owns their layout. Places for address tokens, shares, tickets, rekey and
//! resync exist as fields of length 0 and are refused when filled.

use super::codec::{MessageError, Reader, put_field};
use super::kdc::Claim;
use super::sha256;
use crate::identity::{DeviceId, Service};
use crate::keys::{AuthKey, WrapKey};
use crate::refuse::RefuseCode;
use crate::{MAX_MESSAGE, keys};

/// Octets of the header in front of every body.
pub const DELIVERY_HEADER: usize = 16;
/// Smallest EARLY: its zero padding lets INVITE stay within three times its trigger (M4.8).
pub const EARLY_MIN: usize = 128;
/// Type number of EARLY, as it enters the authenticator.
pub const TYPE_EARLY: u8 = 0;
/// Type number of IDENTIFY, as it enters the authenticator.
pub const TYPE_IDENTIFY: u8 = 2;

const VERSION: u8 = 1;
const PART_0_OF_1: u8 = 0x01;
/// Fields of IDENTIFY, and so of EARLY, which is the same with fields absent.
const IDENTIFY_FIELDS: usize = 14;
/// Longest cookie that a client echoes: far above what a gateway needs, and IDENTIFY still fits.
const MAX_COOKIE: usize = 256;
const MAX_WRAPPED: usize = 600;

/// Why a key delivery takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A new session.
    New = 0,
    /// The next epoch of a live session (place kept).
    Rekey = 1,
    /// A gateway that lost the session takes it over (place kept).
    Resync = 2,
}

impl Reason {
    pub(crate) fn from_wire(value: u8) -> Result<Reason, MessageError> {
        match value {
            0 => Ok(Reason::New),
            1 => Ok(Reason::Rekey),
            2 => Ok(Reason::Resync),
            _ => Err(MessageError::Reason),
        }
    }
}

/// A message of key delivery: what the header says, and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request id `R`; 0 where unknown.
    pub request_id: u64,
    /// Epoch; 0 for a new session.
    pub epoch: u32,
    /// Reason.
    pub reason: Reason,
    /// Body, one per type.
    pub body: Body,
}

/// The bodies, one per type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// 0, client: opens the path; bare.
    Early,
    /// 1, gateway.
    Invite(Invite),
    /// 2, client.
    Identify(Identify),
    /// 3, gateway.
    Deliver(Deliver),
    /// 4, client.
    Sync(Sync),
    /// 5, gateway.
    Synced(Synced),
    /// 6, either.
    Refuse(Refuse),
}

/// INVITE: who asks, and a cookie to echo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// `IDgw`.
    pub gateway: DeviceId,
    /// Opaque to the client.
    pub cookie: Vec<u8>,
}

/// IDENTIFY: who the client is, what it dialled, and the proof of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify {
    /// `IDcl`.
    pub client: DeviceId,
    /// Version of the client's long-term key.
    pub key_version: u32,
    /// The dialled address and port, or a configured name.
    pub service: Service,
    /// `IDgw` from the INVITE answered.
    pub gateway: DeviceId,
    /// `Nc`.
    pub nonce: [u8; 32],
    /// Request option as sent in the SYN.
    pub option: [u8; 13],
    /// Cookie from the INVITE answered.
    pub cookie: Vec<u8>,
    /// HMAC under `Kcl.auth`.
    pub authenticator: [u8; 32],
}

/// DELIVER: the wrapped key, and the gateway's proof that it holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// SHA-256 of the message answered.
    pub answered: [u8; 32],
    /// `Ng`.
    pub gateway_nonce: [u8; 32],
    /// `Ccl`.
    pub wrapped: Vec<u8>,
    /// `confirm_g`.
    pub confirm: [u8; 32],
}

/// SYNC: the client's proof that it holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// `confirm_c`.
    pub confirm: [u8; 32],
}

/// SYNCED: a box under `synced`; see [`Synced::open`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// Ciphertext and tag.
    pub sealed: Vec<u8>,
}

/// What a SYNCED carries. Token and ticket are places kept: absent today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedContent;

/// REFUSE: a hint, or with a MAC the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// Why.
    pub code: RefuseCode,
    /// HMAC under `control`, once keyed.
    pub mac: Option<[u8; 32]>,
}

impl Message {
    /// A message of a new session (epoch 0).
    #[must_use]
    pub fn new_session(request_id: u64, body: Body) -> Message {
        Message { request_id, epoch: 0, reason: Reason::New, body }
    }

    /// The octets of the datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.header();
        match &self.body {
            Body::Early => out.resize(EARLY_MIN, 0),
            Body::Invite(m) => {
                put_field(&mut out, &m.gateway.to_wire());
                put_field(&mut out, &m.cookie);
                put_field(&mut out, &[]); // MAC of a rekey
                put_field(&mut out, &[]); // quoted trigger of a resync
            }
            Body::Identify(m) => {
                m.put_claimed(&mut out);
                m.put_rest(&mut out);
                put_field(&mut out, &m.authenticator);
            }
            Body::Deliver(m) => {
                m.put_unconfirmed(&mut out);
                put_field(&mut out, &m.confirm);
            }
            Body::Sync(m) => put_field(&mut out, &m.confirm),
            Body::Synced(m) => put_field(&mut out, &m.sealed),
            Body::Refuse(m) => {
                put_field(&mut out, &m.code.to_wire().to_be_bytes());
                put_field(&mut out, m.mac.as_ref().map_or(&[][..], |mac| mac));
            }
        }
        out
    }

    /// Reads a datagram: exactly one message, canonical (M4.2, M4.3, M4.4, M4.5).
    ///
    /// # Errors
    /// [`MessageError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Message, MessageError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong);
        }
        let mut r = Reader::new(bytes);
        let [version, kind, reason, parts] = r.array()?;
        if version != VERSION {
            return Err(MessageError::Version);
        }
        let reason = Reason::from_wire(reason)?;
        if parts != PART_0_OF_1 {
            return Err(MessageError::Parts);
        }
        let epoch = u32::from_be_bytes(r.array()?);
        let request_id = u64::from_be_bytes(r.array()?);
        let body = match kind {
            TYPE_EARLY => {
                return Message::early(
                    bytes,
                    r,
                    Message { request_id, epoch, reason, body: Body::Early },
                );
            }
            1 => Body::Invite(Invite::read(&mut r)?),
            TYPE_IDENTIFY => Body::Identify(Identify::read(&mut r)?),
            3 => Body::Deliver(Deliver::read(&mut r)?),
            4 => Body::Sync(Sync { confirm: r.field_array("confirm_c")? }),
            5 => Body::Synced(Synced { sealed: r.field()?.to_vec() }),
            6 => Body::Refuse(Refuse::read(&mut r)?),
            _ => return Err(MessageError::Type),
        };
        r.finish()?;
        Ok(Message { request_id, epoch, reason, body })
    }

    /// The type number.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self.body {
            Body::Early => TYPE_EARLY,
            Body::Invite(_) => 1,
            Body::Identify(_) => TYPE_IDENTIFY,
            Body::Deliver(_) => 3,
            Body::Sync(_) => 4,
            Body::Synced(_) => 5,
            Body::Refuse(_) => 6,
        }
    }

    /// The 16 octets of the header.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&[VERSION, self.kind(), self.reason as u8, PART_0_OF_1]);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(&self.request_id.to_be_bytes());
        out
    }

    fn early(bytes: &[u8], mut r: Reader<'_>, early: Message) -> Result<Message, MessageError> {
        if bytes.len() < EARLY_MIN {
            return Err(MessageError::Truncated);
        }
        for _ in 0..IDENTIFY_FIELDS {
            r.reserved("address token")?;
        }
        if r.rest().iter().any(|b| *b != 0) {
            return Err(MessageError::Trailing);
        }
        Ok(early)
    }
}

impl Invite {
    fn read(r: &mut Reader<'_>) -> Result<Invite, MessageError> {
        let gateway = DeviceId::from_wire(r.field()?)?;
        let cookie = r.field()?.to_vec();
        if cookie.is_empty() || cookie.len() > MAX_COOKIE {
            return Err(MessageError::Field("cookie"));
        }
        r.reserved("mac")?;
        r.reserved("trigger")?;
        Ok(Invite { gateway, cookie })
    }
}

impl Identify {
    /// The inputs of the authenticator, for a message with this header.
    #[must_use]
    pub fn claim(&self, request_id: u64, epoch: u32, reason: Reason) -> Claim {
        let mut rest = Vec::with_capacity(200);
        self.put_rest(&mut rest);
        Claim {
            message_type: TYPE_IDENTIFY,
            request_id,
            epoch,
            reason,
            client: self.client.clone(),
            key_version: self.key_version,
            gateway: Some(self.gateway.clone()),
            service: self.service.clone(),
            nonce: self.nonce,
            rest: sha256(&[&rest]),
        }
    }

    fn put_claimed(&self, out: &mut Vec<u8>) {
        put_field(out, &self.client.to_wire());
        put_field(out, &self.key_version.to_be_bytes());
        put_field(out, &self.service.to_wire());
        put_field(out, &self.gateway.to_wire());
        put_field(out, &self.nonce);
    }

    /// The fields that enter the authenticator as one hash: all between `Nc` and the authenticator.
    fn put_rest(&self, out: &mut Vec<u8>) {
        put_field(out, &self.option);
        put_field(out, &self.cookie);
        for _ in ["share", "ticket", "server ISN", "offset c2s", "offset s2c", "FINs"] {
            put_field(out, &[]);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Identify, MessageError> {
        let client = DeviceId::from_wire(r.field()?)?;
        let key_version = u32::from_be_bytes(r.field_array("key version")?);
        let service = Service::from_wire(r.field()?)?;
        let gateway = DeviceId::from_wire(r.field()?)?;
        let nonce = r.field_array("Nc")?;
        let option = r.field_array("option")?;
        let cookie = r.field()?.to_vec();
        if cookie.is_empty() || cookie.len() > MAX_COOKIE {
            return Err(MessageError::Field("cookie"));
        }
        for name in ["share", "ticket", "server ISN", "offset c2s", "offset s2c", "FINs"] {
            r.reserved(name)?;
        }
        let authenticator = r.field_array("authenticator")?;
        Ok(Identify { client, key_version, service, gateway, nonce, option, cookie, authenticator })
    }
}

impl Deliver {
    fn put_unconfirmed(&self, out: &mut Vec<u8>) {
        put_field(out, &self.answered);
        put_field(out, &self.gateway_nonce);
        put_field(out, &self.wrapped);
        put_field(out, &[]); // share
    }

    /// The octets of an encoded DELIVER in front of its `confirm_g` field: what enters `th`.
    /// `None` if it is too short to be one.
    #[must_use]
    pub fn without_confirm(encoded: &[u8]) -> Option<&[u8]> {
        // confirm_g is the last field: two octets of length and 32 of value.
        encoded.len().checked_sub(2 + 32).map(|end| &encoded[..end])
    }

    fn read(r: &mut Reader<'_>) -> Result<Deliver, MessageError> {
        let answered = r.field_array("answered")?;
        let gateway_nonce = r.field_array("Ng")?;
        let wrapped = r.field()?.to_vec();
        if wrapped.is_empty() || wrapped.len() > MAX_WRAPPED {
            return Err(MessageError::Field("Ccl"));
        }
        r.reserved("share")?;
        Ok(Deliver { answered, gateway_nonce, wrapped, confirm: r.field_array("confirm_g")? })
    }
}

impl Synced {
    /// Seals the content under the epoch's `synced` key; nonce 0, since each key seals one message (M4.9).
    #[must_use]
    pub fn seal(key: &WrapKey, header: &[u8], _content: SyncedContent) -> Synced {
        let mut plain = Vec::new();
        put_field(&mut plain, &[]); // address token
        put_field(&mut plain, &[]); // ticket
        Synced { sealed: key.seal_with_nonce(&[0; keys::NONCE], &plain, header) }
    }

    /// Opens and reads the content. `header` is the message's own.
    ///
    /// # Errors
    /// [`MessageError::Field`] if the box does not open or its content is not understood.
    pub fn open(&self, key: &WrapKey, header: &[u8]) -> Result<SyncedContent, MessageError> {
        let plain = key
            .open_with_nonce(&[0; keys::NONCE], &self.sealed, header)
            .map_err(|_| MessageError::Field("synced"))?;
        let mut r = Reader::new(&plain);
        r.reserved("address token")?;
        r.reserved("ticket")?;
        r.finish()?;
        Ok(SyncedContent)
    }
}

impl Refuse {
    /// The MAC of a gateway's REFUSE: over the header and the code (M4.10). The label keeps a client's
    /// refusal from being reflected as a gateway's.
    #[must_use]
    pub fn gateway_mac(control: &AuthKey, header: &[u8], code: RefuseCode) -> [u8; 32] {
        control.mac(&[b"gateway refuse", header, &code.to_wire().to_be_bytes()])
    }

    fn read(r: &mut Reader<'_>) -> Result<Refuse, MessageError> {
        let code = RefuseCode::from_wire(u16::from_be_bytes(r.field_array("code")?));
        let mac = match r.field()? {
            [] => None,
            mac => Some(mac.try_into().map_err(|_| MessageError::Field("mac"))?),
        };
        Ok(Refuse { code, mac })
    }
}
