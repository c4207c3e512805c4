//! The messages between gateway and KDC (spec §5.1), and the check of an answer.
//!
//! Owns KEY-REQUEST, KEY-REPLY, KEY-REFUSAL and the authenticator's inputs.
//! Does not own issuing (the KDC's) or retries (`requester`).

use super::codec::{MessageError, Reader, put_field};
use super::delivery::{Reason, TYPE_EARLY, TYPE_IDENTIFY};
use crate::MAX_MESSAGE;
use crate::identity::{DeviceId, Service};
use crate::keys::{AuthKey, RoleKeys};
use crate::refuse::RefuseCode;

const VERSION: u8 = 1;
const KEY_REQUEST: u8 = 1;
const KEY_REPLY: u8 = 2;
const KEY_REFUSAL: u8 = 3;

/// What the client's authenticator covers (spec §4.4, M4.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Type of the message that carries the authenticator: EARLY or IDENTIFY.
    pub message_type: u8,
    /// `R`.
    pub request_id: u64,
    /// Epoch.
    pub epoch: u32,
    /// Reason.
    pub reason: Reason,
    /// `IDcl`.
    pub client: DeviceId,
    /// Version of the client's long-term key.
    pub key_version: u32,
    /// `IDgw` as the client named it; `None` only in EARLY.
    pub gateway: Option<DeviceId>,
    /// The dialled service.
    pub service: Service,
    /// `Nc`.
    pub nonce: [u8; 32],
    /// SHA-256 of the remaining fields.
    pub rest: [u8; 32],
}

impl Claim {
    /// The authenticator of this claim under `Kcl.auth`.
    #[must_use]
    pub fn authenticator(&self, key: &AuthKey) -> [u8; 32] {
        key.mac(&[&self.to_wire()])
    }

    /// Checks an authenticator in constant time.
    #[must_use]
    pub fn verify(&self, key: &AuthKey, authenticator: &[u8; 32]) -> bool {
        key.verify(&[&self.to_wire()], authenticator)
    }

    /// The inputs as octets: ten fields.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(300);
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_field(out, &[self.message_type]);
        put_field(out, &self.request_id.to_be_bytes());
        put_field(out, &self.epoch.to_be_bytes());
        put_field(out, &[self.reason as u8]);
        put_field(out, &self.client.to_wire());
        put_field(out, &self.key_version.to_be_bytes());
        put_field(out, &self.gateway.as_ref().map(DeviceId::to_wire).unwrap_or_default());
        put_field(out, &self.service.to_wire());
        put_field(out, &self.nonce);
        put_field(out, &self.rest);
    }

    fn read(r: &mut Reader<'_>) -> Result<Claim, MessageError> {
        let [message_type] = r.field_array("type")?;
        let request_id = u64::from_be_bytes(r.field_array("R")?);
        let epoch = u32::from_be_bytes(r.field_array("epoch")?);
        let [reason] = r.field_array("reason")?;
        let reason = Reason::from_wire(reason)?;
        let client = DeviceId::from_wire(r.field()?)?;
        let key_version = u32::from_be_bytes(r.field_array("key version")?);
        let gateway = match (r.field()?, message_type) {
            // M5.2.
            ([], TYPE_EARLY) => None,
            (bytes, TYPE_IDENTIFY) => Some(DeviceId::from_wire(bytes)?),
            _ => return Err(MessageError::Field("type")),
        };
        let service = Service::from_wire(r.field()?)?;
        let nonce = r.field_array("Nc")?;
        let rest = r.field_array("rest")?;
        Ok(Claim {
            message_type,
            request_id,
            epoch,
            reason,
            client,
            key_version,
            gateway,
            service,
            nonce,
            rest,
        })
    }
}

/// KEY-REQUEST: a gateway asks for a session key on behalf of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRequest {
    /// The asking gateway: a hint which key to try; the key that verifies decides.
    pub sender: DeviceId,
    /// Version of the gateway's long-term key.
    pub sender_key_version: u32,
    /// All inputs of the authenticator.
    pub claim: Claim,
    /// The client's authenticator.
    pub authenticator: [u8; 32],
    /// `Ng`.
    pub gateway_nonce: [u8; 32],
}

impl KeyRequest {
    /// The octets, with the HMAC under `Kgw.auth` at the end (M5.1).
    #[must_use]
    pub fn encode(&self, auth: &AuthKey) -> Vec<u8> {
        let mut out = header(KEY_REQUEST);
        put_field(&mut out, &self.sender.to_wire());
        put_field(&mut out, &self.sender_key_version.to_be_bytes());
        self.claim.put(&mut out);
        put_field(&mut out, &self.authenticator);
        put_field(&mut out, &self.gateway_nonce);
        let mac = auth.mac(&[&out]);
        put_field(&mut out, &mac);
        out
    }

    /// Reads a request without checking its HMAC; see [`KeyRequest::verify`].
    ///
    /// # Errors
    /// [`MessageError`] if it is not exactly one request.
    pub fn decode(bytes: &[u8]) -> Result<KeyRequest, MessageError> {
        let mut r = start(bytes, KEY_REQUEST)?;
        let request = KeyRequest {
            sender: DeviceId::from_wire(r.field()?)?,
            sender_key_version: u32::from_be_bytes(r.field_array("key version")?),
            claim: Claim::read(&mut r)?,
            authenticator: r.field_array("authenticator")?,
            gateway_nonce: r.field_array("Ng")?,
        };
        let _mac: [u8; 32] = r.field_array("mac")?;
        r.finish()?;
        Ok(request)
    }

    /// Checks the HMAC of an encoded request that [`KeyRequest::decode`] accepted, in constant time.
    #[must_use]
    pub fn verify(bytes: &[u8], auth: &AuthKey) -> bool {
        verify_mac(bytes, auth)
    }
}

/// KEY-REPLY: the session key, wrapped twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyReply {
    /// SHA-256 of the KEY-REQUEST answered.
    pub request: [u8; 32],
    /// `Ccl`.
    pub for_client: Vec<u8>,
    /// `Cgw`.
    pub for_gateway: Vec<u8>,
}

impl KeyReply {
    /// The octets.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = header(KEY_REPLY);
        put_field(&mut out, &self.request);
        put_field(&mut out, &self.for_client);
        put_field(&mut out, &self.for_gateway);
        out
    }
}

/// KEY-REFUSAL: a coded no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRefusal {
    /// SHA-256 of the KEY-REQUEST answered.
    pub request: [u8; 32],
    /// Why.
    pub code: RefuseCode,
}

impl KeyRefusal {
    /// The octets; without a key (unknown gateway) the MAC is absent and the refusal only a hint.
    #[must_use]
    pub fn encode(&self, auth: Option<&AuthKey>) -> Vec<u8> {
        let mut out = header(KEY_REFUSAL);
        put_field(&mut out, &self.request);
        put_field(&mut out, &self.code.to_wire().to_be_bytes());
        let mac = auth.map(|key| key.mac(&[&out]));
        put_field(&mut out, mac.as_ref().map_or(&[][..], |mac| mac));
        out
    }
}

/// An answer of a KDC, read but not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KdcAnswer {
    /// A KEY-REPLY.
    Reply(KeyReply),
    /// A KEY-REFUSAL; `authentic` tells whether it carries a MAC (checked only by [`verify_answer`]).
    Refusal {
        /// The refusal.
        refusal: KeyRefusal,
        /// It carried a MAC.
        authentic: bool,
    },
}

impl KdcAnswer {
    /// Reads an answer without checking it.
    ///
    /// # Errors
    /// [`MessageError`] if it is not exactly one reply or refusal.
    pub fn decode(bytes: &[u8]) -> Result<KdcAnswer, MessageError> {
        if bytes.get(1) == Some(&KEY_REFUSAL) {
            let mut r = start(bytes, KEY_REFUSAL)?;
            let request = r.field_array("request")?;
            let code = RefuseCode::from_wire(u16::from_be_bytes(r.field_array("code")?));
            let authentic = match r.field()?.len() {
                0 => false,
                32 => true,
                _ => return Err(MessageError::Field("mac")),
            };
            r.finish()?;
            return Ok(KdcAnswer::Refusal { refusal: KeyRefusal { request, code }, authentic });
        }
        let mut r = start(bytes, KEY_REPLY)?;
        let request = r.field_array("request")?;
        let for_client = r.field()?.to_vec();
        let for_gateway = r.field()?.to_vec();
        r.finish()?;
        Ok(KdcAnswer::Reply(KeyReply { request, for_client, for_gateway }))
    }

    /// SHA-256 of the KEY-REQUEST answered: what an answer is matched by.
    #[must_use]
    pub fn request(&self) -> &[u8; 32] {
        match self {
            KdcAnswer::Reply(reply) => &reply.request,
            KdcAnswer::Refusal { refusal, .. } => &refusal.request,
        }
    }
}

/// Reads an answer and verifies that a KDC made it for this request (M5.5): a reply's `Cgw` opens,
/// a refusal's MAC matches. A refusal without MAC comes back with `authentic: false`: a hint.
///
/// # Errors
/// [`MessageError`] if it is malformed, for another request, or does not verify.
pub fn verify_answer(
    bytes: &[u8],
    request: &[u8; 32],
    keys: &RoleKeys,
) -> Result<KdcAnswer, MessageError> {
    let answer = KdcAnswer::decode(bytes)?;
    if answer.request() != request {
        return Err(MessageError::Field("request"));
    }
    match &answer {
        KdcAnswer::Reply(reply) => {
            let associated = crate::wrap::gateway_associated(request, &reply.for_client);
            keys.wrap
                .open(&reply.for_gateway, &associated)
                .map_err(|_| MessageError::Field("Cgw"))?;
        }
        KdcAnswer::Refusal { authentic: true, .. } if !verify_mac(bytes, &keys.auth) => {
            return Err(MessageError::Field("mac"));
        }
        KdcAnswer::Refusal { .. } => {}
    }
    Ok(answer)
}

/// A message as it travels over TCP: u16 length, then the message.
#[must_use]
pub fn frame_tcp(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 2);
    put_field(&mut out, message);
    out
}

fn header(kind: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(&[VERSION, kind, 0, 0]);
    out
}

fn start(bytes: &[u8], kind: u8) -> Result<Reader<'_>, MessageError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(MessageError::TooLong);
    }
    let mut r = Reader::new(bytes);
    let [version, actual, reserved @ ..] = r.array::<4>()?;
    if version != VERSION {
        return Err(MessageError::Version);
    }
    if actual != kind {
        return Err(MessageError::Type);
    }
    if reserved != [0, 0] {
        return Err(MessageError::Field("reserved"));
    }
    Ok(r)
}

/// Checks a MAC that is the last field: 32 octets after their length, over all octets before that.
fn verify_mac(bytes: &[u8], auth: &AuthKey) -> bool {
    let Some((covered, mac)) = bytes.split_last_chunk::<32>() else { return false };
    let Some((covered, length)) = covered.split_last_chunk::<2>() else { return false };
    *length == 32u16.to_be_bytes() && auth.verify(&[covered], mac)
}
