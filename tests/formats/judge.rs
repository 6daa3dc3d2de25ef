//! Our own verdict on a credential, by the way that a request takes through the core.

use serde_json::json;
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::credential::{Credential, Rejection, RequestFacts, VerifiedCredential};
use tollway_core::header::{Malformed, read_credential};
use tollway_core::keyring::Keyring;
use tollway_core::money::Msat;
use tollway_core::wire::Proof;

use crate::decisions::{Label, chosen};

pub(crate) const SERVICE: &str = "api";

/// Why a credential does not open the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is none.
    Absent,
    Malformed(Malformed),
    Rejected(Rejection),
    /// The path of the request itself is refused.
    PathNotNormal,
}

/// A ring with our own key, and this one of another paywall.
pub(crate) fn keyring(format: &str, secret: &str) -> Keyring {
    let reply = json!({
        "current": 1,
        "keys": [{"id": 1, "secret": "11".repeat(32)}],
        "seed": "22".repeat(32),
        "legacy": [{"format": format, "secret": secret, "services": ["other", SERVICE]}],
    });
    Keyring::from_reply(&serde_json::from_value(reply).unwrap()).unwrap()
}

/// What a request has to do with caveats.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) path: &'a str,
    pub(crate) method: &'a str,
    pub(crate) ip: Option<&'a str>,
    pub(crate) now_ms: u64,
}

impl<'a> Request<'a> {
    pub(crate) const fn facts(&self) -> RequestFacts<'a> {
        RequestFacts {
            service: SERVICE,
            tier: TIER_CREDITS,
            path: self.path.as_bytes(),
            method: self.method.as_bytes(),
            client_ip: self.ip,
            now_ms: self.now_ms,
            cost: Msat::ZERO,
            proof: Proof::Preimage,
        }
    }
}

/// Reads the credential of an `Authorization` header.
pub(crate) fn read(authorization: &str) -> Result<Credential, Refusal> {
    let presented = read_credential(&[("authorization", authorization)].into());
    presented.credential.map_err(Refusal::Malformed)?.ok_or(Refusal::Absent)
}

/// Whether the credential admits the request.
pub(crate) fn judge(
    authorization: &str,
    keyring: &Keyring,
    request: &Request<'_>,
) -> Result<VerifiedCredential, Refusal> {
    let verified = read(authorization)?.verify(keyring).map_err(Refusal::Rejected)?;
    verified.authorize(&request.facts()).map_err(Refusal::Rejected)?;
    Ok(verified)
}

/// Compares a verdict with its label; `name` tells the case. Whether a label bound it.
pub(crate) fn compare(name: (&str, usize), label: &str, accepted: bool) -> bool {
    let (id, check) = name;
    let expected = match Label::parse(label) {
        Label::Accept => Some(true),
        Label::Reject => Some(false),
        Label::Either => chosen(id, check),
    };
    if let Some(expected) = expected {
        assert_eq!(accepted, expected, "{id}, check {check}, labelled {label}");
    }
    expected.is_some()
}
