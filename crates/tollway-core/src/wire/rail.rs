//! Rails: other ways to pay than L402. The filter only recognises and carries what belongs to
//! them; `tollwayd` writes their challenges, judges their credentials and settles.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::IdempotencyKey;
use crate::json_tree::Tree;
use crate::money::Msat;

/// A way to pay beside L402.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rail {
    /// The HTTP authentication scheme `Payment`, method `lightning`, intent `charge`: one payment
    /// for one request.
    Payment,
    /// x402, scheme `exact` on an EVM chain: one transfer for one request.
    X402,
}

/// What a challenge has to say to clients that pay on other rails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RailTerms {
    /// [`Rail::Payment`] is one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub payment: bool,
    /// [`Rail::X402`] is one of them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub x402: bool,
    /// What the request costs. A payment on another rail buys that and no more.
    pub price_msat: Msat,
    /// The client's `Accept-Payment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept: Option<String>,
    /// The request has an `Authorization` of the upstream's, so that a credential needs another
    /// header.
    #[serde(default, skip_serializing_if = "is_false")]
    pub authorization_taken: bool,
}

/// Asks to set credit aside for a request that presents a credential of another rail. The id of
/// the hold stands in the path.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RailHoldRequest {
    /// The rail.
    pub rail: Rail,
    /// The credential as the client sent it, without its scheme, at most
    /// [`CREDENTIAL_BYTES_MAX`](crate::header::CREDENTIAL_BYTES_MAX).
    pub credential: String,
    /// The service that the route belongs to.
    pub service: String,
    /// The route that is to be paid for.
    pub route: String,
    /// What the request costs.
    pub amount_msat: Msat,
    /// How long the hold lives unless it is released before, at most
    /// [`HOLD_TTL_MS_MAX`](super::HOLD_TTL_MS_MAX).
    pub ttl_ms: u64,
    /// The client's word that this request may be a repeat of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyKey>,
}

impl core::fmt::Debug for RailHoldRequest {
    /// Without the credential, which is secret.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RailHoldRequest")
            .field("rail", &self.rail)
            .field("route", &self.route)
            .field("amount_msat", &self.amount_msat)
            .finish_non_exhaustive()
    }
}

/// What `tollwayd` says for other rails, beside the fields of a
/// [`ChallengeReply`](super::ChallengeReply) or a [`HoldReply`](super::HoldReply) and in the same
/// object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RailNotes {
    /// Headers that the filter adds, each a name in lower case and a value: to the 402, or to the
    /// answer of a request that was paid for, if that is a success.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The client asks for these challenges, so they stand before ours.
    #[serde(skip_serializing_if = "is_false")]
    pub preferred: bool,
    /// Why a credential is not accepted: the last part of the problem's `type`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The same for a person, with the remedy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Members of a JSON object that the body of a 402 has besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<String>,
    /// What was granted is only reserved: it has to be settled before an answer of the upstream
    /// leaves, and how long that may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settle_within_ms: Option<u64>,
}

impl RailNotes {
    /// Reads the notes of a reply, whose other fields were read before. What is missing or of
    /// another type is not noted. In the filter this costs a quarter of a derived reader.
    #[must_use]
    pub fn read(reply: &[u8]) -> Self {
        let reply = Tree::parse(reply).unwrap_or(Tree::Null);
        let text = |value: &Tree| value.text().map(String::from);
        let header = |pair: &Tree| match pair.items()? {
            [name, value, ..] => Some((text(name)?, text(value)?)),
            _ => None,
        };
        let field = |name| reply.get(name);
        Self {
            headers: field("headers")
                .and_then(Tree::items)
                .map(|pairs| pairs.iter().filter_map(header).collect())
                .unwrap_or_default(),
            preferred: field("preferred") == Some(&Tree::Bool(true)),
            problem: field("problem").and_then(text),
            detail: field("detail").and_then(text),
            members: field("members").and_then(text),
            settle_within_ms: match field("settle_within_ms") {
                Some(Tree::Number(number)) => number.parse().ok(),
                _ => None,
            },
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        for notes in [
            RailNotes::default(),
            RailNotes {
                headers: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
                preferred: true,
                problem: Some("payment-expired".into()),
                detail: Some("Too late.".into()),
                members: Some("\"a\":1".into()),
                settle_within_ms: Some(30_000),
            },
        ] {
            assert_eq!(RailNotes::read(&serde_json::to_vec(&notes).unwrap()), notes);
        }
        for other in ["", "[]", r#"{"headers":[["a"],[1,"b"],7],"preferred":1,"problem":{}}"#] {
            assert_eq!(RailNotes::read(other.as_bytes()), RailNotes::default(), "{other}");
        }
    }
}
