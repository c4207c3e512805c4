//! What a KDC makes of a KEY-REQUEST: of any octets, and of any request that its gateway signed.

use sekisho_kdc::audit::Outcome;
use sekisho_kdc::issuer::Decision;
use sekisho_kdc_client::message::{KdcAnswer, KeyRequest, sha256, verify_answer};
use sekisho_kdc_client::wrap::{gateway_associated, open_client, open_gateway};
use sekisho_kdc_client::{MAX_MESSAGE, Role};

use super::parties::{Kdc, SECOND, role_keys};

/// First octet: bit 0, the gateway signs what follows; bit 1, the client does too. Then the request.
///
/// # Panics
/// Where a key is issued for what does not verify, an answer does not verify or does not say what was
/// asked, or an answer without proof of the asker is longer than the question.
pub fn kdc_request(data: &[u8]) {
    let _ = run(data);
}

pub(super) fn run(data: &[u8]) -> Option<Outcome> {
    let (how, octets) = data.split_first()?;
    let request = signed(*how, octets);
    let mut kdc = Kdc::new();
    let decision = kdc.decide(&request, SECOND);
    check(&request, &decision);
    let again = kdc.decide(&request, 2 * SECOND);
    if decision.audit.outcome == Outcome::Issued {
        assert_eq!((again.audit.outcome, &again.reply), (Outcome::Repeated, &decision.reply));
    }
    Some(decision.audit.outcome)
}

/// The request with the proofs that `how` asks for in place of its own.
fn signed(how: u8, octets: &[u8]) -> Vec<u8> {
    let Ok(mut request) = KeyRequest::decode(octets) else { return octets.to_vec() };
    let gateway = role_keys(Role::Gateway, &request.sender, request.sender_key_version);
    // One request has one form.
    let length = octets.len() - 32;
    assert_eq!(request.encode(&gateway.auth)[..length], octets[..length], "not canonical");
    if how & 2 != 0 {
        let claim = &request.claim;
        let client = role_keys(Role::Client, &claim.client, claim.key_version);
        request.authenticator = claim.authenticator(&client.auth);
    }
    if how & 1 == 0 { octets.to_vec() } else { request.encode(&gateway.auth) }
}

fn check(request: &[u8], decision: &Decision) {
    let reply = decision.reply.as_deref().unwrap_or_default();
    assert!(reply.len() <= MAX_MESSAGE);
    let audit = &decision.audit;
    if !audit.verified {
        assert!(reply.len() <= request.len(), "an amplifier");
    }
    if audit.outcome == Outcome::Issued {
        return issued(request, reply);
    }
    if !reply.is_empty() {
        let refused = matches!(KdcAnswer::decode(reply), Ok(KdcAnswer::Refusal { authentic, .. })
            if authentic == audit.verified);
        assert!(refused, "{:?}", audit.outcome);
    }
}

fn issued(octets: &[u8], reply: &[u8]) {
    let decoded = KeyRequest::decode(octets);
    assert!(decoded.is_ok(), "a key for what is no request");
    let Ok(request) = decoded else { return };
    let claim = &request.claim;
    let gateway = role_keys(Role::Gateway, &request.sender, request.sender_key_version);
    let client = role_keys(Role::Client, &claim.client, claim.key_version);
    assert!(KeyRequest::verify(octets, &gateway.auth), "no gateway asked for it");
    assert!(claim.verify(&client.auth, &request.authenticator), "no client asked for it");
    let hash = sha256(&[octets]);
    let Ok(KdcAnswer::Reply(answer)) = verify_answer(reply, &hash, &gateway) else {
        return assert!(reply.is_empty(), "the gateway would not take its reply");
    };
    let associated = gateway_associated(&hash, &answer.for_client);
    let for_client = open_client(&answer.for_client, &client.wrap);
    let for_gateway = open_gateway(&answer.for_gateway, &associated, &gateway.wrap);
    let (Ok(for_client), Ok(for_gateway)) = (for_client, for_gateway) else {
        return assert!(reply.is_empty(), "a box does not open");
    };
    assert!(for_client.key.ct_eq(&for_gateway.key));
    let named = request.sender.clone();
    for grant in [&for_client.grant, &for_gateway.grant] {
        assert!(grant.matches(claim, &named, &request.gateway_nonce), "granted what nobody asked");
    }
}
