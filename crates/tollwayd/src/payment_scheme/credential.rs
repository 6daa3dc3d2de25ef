//! Credentials: the echo of a challenge, and the proof of its payment.

use serde::Deserialize;
use tollway_core::header::CREDENTIAL_BYTES_MAX;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::rfc3339;

use super::challenge::{Binding, Secret, asked};
use super::session::{self, SessionProof};
use super::text::decode;
use super::{INTENT, METHOD, OTHER_HEADER, SESSION_INTENT};

/// Why a credential is not accepted, in the order in which it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("The credential cannot be read. Send Authorization: Payment <base64url of its JSON>.")]
    Malformed,
    #[error("Only the method lightning with the intent charge is known here. Pay this challenge.")]
    MethodUnsupported,
    #[error("The challenge was not made for this route, or was changed. Pay this challenge.")]
    ForeignChallenge,
    #[error("The challenge has expired. Pay this one, and send its credential in time.")]
    Expired,
    #[error("The preimage does not belong to the challenge's invoice. Send the one it revealed.")]
    NotProven,
    #[error("The challenge asks less than this request costs. Pay this challenge.")]
    Insufficient,
    #[error("The payment was spent before; it is good for one request. Pay this challenge.")]
    Spent,
    #[error("The ledger does not know the payment. Pay this challenge.")]
    Unknown,
    #[error("The operator revoked this payment. Pay this challenge.")]
    Revoked,
    #[error("No session with this name is known here. Open one with this challenge.")]
    NoSession,
    #[error("The session has ended. Open another one with this challenge.")]
    SessionClosed,
    #[error("The session has too little left. Pay this challenge, and send it as a topUp.")]
    SessionEmpty,
    #[error("A request of the session is under way. Close it when that one has ended.")]
    SessionBusy,
    #[error("The return invoice is of no use: it has to ask no amount, on this network, in time.")]
    ReturnInvoice,
}

impl Problem {
    /// The last part of the problem's `type`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed-credential",
            Self::MethodUnsupported => "method-unsupported",
            Self::ForeignChallenge | Self::Spent | Self::Unknown => "invalid-challenge",
            Self::Expired => "payment-expired",
            Self::NotProven | Self::Revoked => "verification-failed",
            Self::Insufficient => "payment-insufficient",
            Self::NoSession => "lightning/session-not-found",
            Self::SessionClosed => "lightning/session-closed",
            Self::SessionEmpty => "lightning/insufficient-balance",
            Self::SessionBusy => "lightning/session-busy",
            Self::ReturnInvoice => "lightning/invalid-return-invoice",
        }
    }
}

/// A payment that is proven, for a challenge of ours that is still good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) challenge_id: String,
    pub(crate) payment_hash: PaymentHash,
    pub(crate) amount: Msat,
}

#[derive(Deserialize)]
struct Credential {
    challenge: Echo,
    payload: Payload,
}

/// What clients do not know, they may leave out; what we do not know, we do not read.
#[derive(Deserialize)]
struct Echo {
    id: String,
    realm: String,
    method: String,
    intent: String,
    request: String,
    expires: Option<String>,
    digest: Option<String>,
    opaque: Option<String>,
    header: Option<String>,
}

/// What proves the payment, and for a session what is wanted of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Payload {
    pub(super) action: Option<String>,
    pub(super) preimage: Option<String>,
    pub(super) session_id: Option<String>,
    pub(super) top_up_preimage: Option<String>,
    pub(super) return_invoice: Option<String>,
}

/// What a credential proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    Charge(Proof),
    Session(SessionProof),
}

/// Reads a credential for a request of this price on the route that the secrets belong to.
///
/// # Errors
/// [`Problem`] for the first fault, in their order.
pub(crate) fn read(
    text: &str,
    secrets: &[Secret],
    realm: &str,
    price: Msat,
    now_s: u64,
) -> Result<Presented, Problem> {
    let Credential { challenge, payload } = parse(text).ok_or(Problem::Malformed)?;
    let is_session = challenge.intent == SESSION_INTENT;
    if challenge.method != METHOD || !(is_session || challenge.intent == INTENT) {
        return Err(Problem::MethodUnsupported);
    }
    if challenge.realm != realm || !challenge.is_ours(secrets) {
        return Err(Problem::ForeignChallenge);
    }
    let expires_ms = challenge.expires.as_deref().and_then(rfc3339::parse_ms);
    let expired = expires_ms.is_none_or(|expires_ms| expires_ms <= now_s.saturating_mul(1_000));
    if is_session {
        let Echo { id, request, .. } = challenge;
        return session::read(id, &request, payload, expired, price).map(Presented::Session);
    }
    let preimage = payload.preimage.ok_or(Problem::Malformed)?;
    if expired {
        return Err(Problem::Expired);
    }
    let (payment_hash, amount) = asked(&challenge.request).ok_or(Problem::ForeignChallenge)?;
    let preimage = Preimage::from_hex(preimage.as_bytes());
    if !preimage.is_ok_and(|preimage| preimage.proves(&payment_hash)) {
        return Err(Problem::NotProven);
    }
    if amount < price {
        return Err(Problem::Insufficient);
    }
    Ok(Presented::Charge(Proof { challenge_id: challenge.id, payment_hash, amount }))
}

fn parse(text: &str) -> Option<Credential> {
    let fits = text.len() <= CREDENTIAL_BYTES_MAX;
    serde_json::from_slice(&decode(text).filter(|_| fits)?).ok()
}

impl Echo {
    /// Clients that do not know the parameter `header` do not echo it. They have paid all the
    /// same, and where their credential came from does not change what it proves.
    fn is_ours(&self, secrets: &[Secret]) -> bool {
        let binding = Binding {
            realm: &self.realm,
            method: &self.method,
            intent: &self.intent,
            request: &self.request,
            expires: self.expires.as_deref().unwrap_or_default(),
            digest: self.digest.as_deref().unwrap_or_default(),
            opaque: self.opaque.as_deref().unwrap_or_default(),
            header: self.header.as_deref(),
        };
        let unsaid = Binding { header: Some(OTHER_HEADER), ..binding };
        let bindings = if self.header.is_some() { vec![binding] } else { vec![binding, unsaid] };
        secrets.iter().any(|secret| bindings.iter().any(|it| secret.made(&self.id, it)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::challenge::Charge;
    use super::super::text::encode;
    use super::*;
    use crate::config::Network;
    use crate::ledger::KeyBytes;

    const NOW_S: u64 = 1_800_000_000;

    fn preimage() -> Preimage {
        Preimage::from_bytes([0x42; 32])
    }

    fn price() -> Msat {
        Msat::from_sats(5).unwrap()
    }

    fn secret(route: &str) -> Secret {
        Secret::of(&KeyBytes([9; 32]), "demo", route)
    }

    /// The credential of a client that pays, with its challenge as a client reads it.
    fn credential(other_header: bool) -> Value {
        let hash = preimage().payment_hash();
        let charge = Charge::new(price(), "lnbcrt1".into(), hash, Network::Regtest).unwrap();
        let line = charge.challenge(&secret("joke"), "demo", NOW_S + 600, other_header);
        let params = line.strip_prefix("Payment ").unwrap().split(", ");
        let echo: serde_json::Map<_, _> = params
            .map(|param| param.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"'))))
            .collect();
        json!({"challenge": echo, "payload": {"preimage": preimage().reveal_hex()}})
    }

    fn judge(credential: &Value) -> Result<Proof, Problem> {
        judge_text(&encode(credential.to_string().as_bytes()))
    }

    fn judge_text(text: &str) -> Result<Proof, Problem> {
        let secrets = [Secret::of(&KeyBytes([8; 32]), "demo", "joke"), secret("joke")];
        only_charge(read(text, &secrets, "demo", price(), NOW_S))
    }

    fn only_charge(read: Result<Presented, Problem>) -> Result<Proof, Problem> {
        match read? {
            Presented::Charge(proof) => Ok(proof),
            Presented::Session(proof) => panic!("{proof:?}"),
        }
    }

    #[test]
    fn ok_the_echo_of_a_challenge_with_its_preimage() {
        let mut credential = credential(false);
        let proof = judge(&credential).unwrap();
        assert_eq!(proof.payment_hash, preimage().payment_hash());
        assert_eq!(proof.amount, price());
        assert_eq!(credential["challenge"]["id"], json!(proof.challenge_id));
        credential["source"] = json!("did:key:z6Mk");
        credential["challenge"]["description"] = json!("a joke");
        credential["payload"]["more"] = json!([1]);
        assert_eq!(judge(&credential), Ok(proof.clone()));
        let text = encode(credential.to_string().as_bytes());
        let padding = "=".repeat((4 - text.len() % 4) % 4);
        let padded = text + &padding;
        assert_eq!(judge_text(&padded), Ok(proof));
    }

    #[test]
    fn ok_with_the_other_header_said_or_unsaid() {
        let mut said = credential(true);
        assert!(judge(&said).is_ok());
        said["challenge"].as_object_mut().unwrap().remove("header");
        assert!(judge(&said).is_ok());
        said["challenge"]["header"] = json!("X-Other");
        assert_eq!(judge(&said), Err(Problem::ForeignChallenge));
    }

    #[test]
    fn err_each_fault_by_its_name() {
        let with = |path: &str, value: Value| {
            let mut changed = credential(false);
            *changed.pointer_mut(path).unwrap() = value;
            judge(&changed).unwrap_err()
        };
        let request = |amount: &str| {
            let (method, hash) = ("regtest", preimage().payment_hash());
            let json = json!({"amount": amount, "currency": "sat", "methodDetails":
                {"invoice": "lnbcrt1", "network": method, "paymentHash": hash}});
            json!(encode(json.to_string().as_bytes()))
        };
        use Problem as P;
        for (path, value, problem) in [
            ("/challenge/id", json!("AAAA"), P::ForeignChallenge),
            ("/challenge/realm", json!("other"), P::ForeignChallenge),
            ("/challenge/request", request("1"), P::ForeignChallenge),
            ("/challenge/expires", json!("2030-01-01T00:00:00Z"), P::ForeignChallenge),
            ("/challenge/expires", json!(null), P::ForeignChallenge),
            ("/challenge/method", json!("tempo"), P::MethodUnsupported),
            ("/challenge/intent", json!("authorize"), P::MethodUnsupported),
            ("/challenge/intent", json!("session"), P::ForeignChallenge),
            ("/payload/preimage", json!("43".repeat(32)), P::NotProven),
            ("/payload/preimage", json!("42"), P::NotProven),
            ("/payload/preimage", json!(42), P::Malformed),
            ("/payload", json!({}), P::Malformed),
            ("/challenge", json!({}), P::Malformed),
        ] {
            assert_eq!(with(path, value.clone()), problem, "{path} {value}");
        }
        for text in ["", "e30", "not base64!", "eyJ4IjoxfQ", &"A".repeat(CREDENTIAL_BYTES_MAX + 4)]
        {
            assert_eq!(judge_text(text), Err(P::Malformed), "{text}");
        }
    }

    #[test]
    fn err_late_too_little_and_from_another_route() {
        let text = encode(credential(false).to_string().as_bytes());
        let here = [secret("joke")];
        let judge = |secrets: &[Secret], price, now_s| {
            only_charge(read(&text, secrets, "demo", price, now_s))
        };
        assert!(judge(&here, price(), NOW_S + 599).is_ok());
        assert_eq!(judge(&here, price(), NOW_S + 600), Err(Problem::Expired));
        let dearer = Msat::new(5_001).unwrap();
        assert_eq!(judge(&here, dearer, NOW_S), Err(Problem::Insufficient));
        let foreign = Err(Problem::ForeignChallenge);
        assert_eq!(judge(&[secret("dear")], price(), NOW_S), foreign);
        assert_eq!(judge(&[], price(), NOW_S), foreign);
    }
}
