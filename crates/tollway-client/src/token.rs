//! What a paid credential is made of, in each scheme.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use reqwest::header::{AUTHORIZATION, HeaderName};
use serde::{Deserialize, Serialize};
use tollway_core::header::PAYMENT_AUTHORIZATION;
use tollway_core::identifier::Identifier;
use tollway_core::macaroon::Macaroon;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::rfc3339;

/// A token is a part of a header, so it is no longer than servers take headers.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Base64 of either alphabet's URL-safe form, with or without padding.
pub(crate) const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a server wants to be paid, and how it wants to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// L402: a macaroon that is spent until its credit or time is over.
    L402,
    /// L402 under its old name.
    Lsat,
    /// The Payment scheme with the method `lightning` and the intent `charge`: one request.
    Payment,
}

impl Scheme {
    /// Its name in headers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L402 => "L402",
            Self::Lsat => "LSAT",
            Self::Payment => "Payment",
        }
    }
}

/// What stands beside the proof of payment: a macaroon, or the echo of a Payment challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Token {
    /// As the server wrote it: some servers take back no other spelling.
    Macaroon(String),
    /// The parameters of a Payment challenge.
    Echo(BTreeMap<String, String>),
}

#[derive(Serialize)]
struct PaymentCredential<'a> {
    challenge: &'a BTreeMap<String, String>,
    payload: Payload,
}

#[derive(Serialize)]
struct Payload {
    preimage: String,
}

impl Token {
    /// Takes a macaroon of any server that can stand in a header.
    pub(crate) fn macaroon(text: &str) -> Option<Self> {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_.~-".contains(&byte);
        let fits = !text.is_empty() && text.len() <= TOKEN_BYTES_MAX;
        (fits && text.bytes().all(safe)).then(|| Self::Macaroon(text.to_owned()))
    }

    /// The value of the `Authorization` header.
    pub(crate) fn authorization(&self, scheme: Scheme, preimage: &Preimage) -> String {
        let preimage = preimage.reveal_hex();
        match self {
            Self::Macaroon(text) => format!("{} {text}:{preimage}", scheme.name()),
            Self::Echo(challenge) => {
                let credential = PaymentCredential { challenge, payload: Payload { preimage } };
                // Strings under string keys always are JSON.
                let json = serde_json::to_vec(&credential).unwrap_or_default();
                format!("{} {}", scheme.name(), URL_SAFE_NO_PAD.encode(json))
            }
        }
    }

    /// The header that carries the credential: a server that keeps `Authorization` for itself names
    /// the other one in its Payment challenge.
    pub(crate) fn header(&self) -> HeaderName {
        match self {
            Self::Echo(challenge)
                if challenge
                    .get("header")
                    .is_some_and(|name| name.eq_ignore_ascii_case(PAYMENT_AUTHORIZATION)) =>
            {
                HeaderName::from_static(PAYMENT_AUTHORIZATION)
            }
            Self::Echo(_) | Self::Macaroon(_) => AUTHORIZATION,
        }
    }

    /// The payment that the token names, where it can be read.
    pub(crate) fn payment_hash(&self) -> Option<PaymentHash> {
        let Self::Macaroon(text) = self else { return None };
        match Macaroon::from_base64(text.as_bytes()) {
            Ok(macaroon) => named(macaroon.identifier()),
            Err(_) => {
                json_token(text).and_then(|token| PaymentHash::from_hex(token.id.as_bytes()).ok())
            }
        }
    }

    /// What the token opens, as far as it says: its services and its path. A token that says
    /// neither is taken to be for `path`, where it was sold, unless it is a readable macaroon,
    /// which then is for everything.
    pub(crate) fn scope(&self, path: &str) -> String {
        let caveats = match self {
            Self::Echo(_) => return format!("path={path}"),
            Self::Macaroon(text) => match caveats(text) {
                Some(caveats) => caveats,
                None => return format!("path={path}"),
            },
        };
        let first = |key: &str| {
            caveats.iter().find_map(|caveat| {
                let (name, value) = caveat.split_once('=')?;
                (name.trim() == key).then(|| format!("{key}={}", value.trim()))
            })
        };
        let parts = ["services", "endpoint"].into_iter().filter_map(first);
        parts.collect::<Vec<_>>().join("; ")
    }

    /// Whether its own terms say that it is over.
    pub(crate) fn is_over(&self, now_s: u64) -> bool {
        match self {
            Self::Macaroon(text) => caveats(text).unwrap_or_default().iter().any(|caveat| {
                caveat.split_once('=').is_some_and(|(name, value)| {
                    let name = name.trim();
                    let ends = name == "expires_at" || name.ends_with("_valid_until");
                    ends && value.trim().parse().is_ok_and(|at: u64| at <= now_s)
                })
            }),
            Self::Echo(challenge) => challenge
                .get("expires")
                .and_then(|text| rfc3339::parse_ms(text))
                .is_some_and(|at_ms| at_ms <= now_s.saturating_mul(1_000)),
        }
    }
}

/// An identifier of L402, or the bare hash that some servers use.
fn named(identifier: &[u8]) -> Option<PaymentHash> {
    match Identifier::decode(identifier) {
        Ok(identifier) => Some(identifier.payment_hash),
        Err(_) => identifier.try_into().ok().map(PaymentHash::from_bytes),
    }
}

/// The token of lightning-toll.
#[derive(Deserialize)]
struct JsonToken {
    id: String,
    #[serde(default)]
    caveats: Vec<String>,
}

fn json_token(text: &str) -> Option<JsonToken> {
    serde_json::from_slice(&LENIENT.decode(text).ok()?).ok()
}

fn caveats(text: &str) -> Option<Vec<String>> {
    match Macaroon::from_base64(text.as_bytes()) {
        Ok(macaroon) => {
            let text = |caveat| String::from_utf8_lossy(caveat).into_owned();
            Some(macaroon.caveats().map(text).collect())
        }
        Err(_) => Some(json_token(text)?.caveats),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fixed-input vector of the L402 notes.
    const MACAROON: &str = "AgEEbHNhdAJCAABCXtTko2sw6iG5DiHHEsZJ6CFMKbfq9oCJ0QOcblU4TICBgoOEhYaHiImKi4yNjo+QkZKTlJWWl5iZmpucnZ6fAAITc2VydmljZXM9c2VydmljZTE6MAACInNlcnZpY2UxX2NhcGFiaWxpdGllcz1hZGQsc3VidHJhY3QAAh9zZXJ2aWNlMV92YWxpZF91bnRpbD0xNzAwMDAwMDAwAAAGIBSztuc/TekCiUlv5jcFCxaEAFv2Yu+o+qff8UJBWnGY";

    fn hash() -> PaymentHash {
        Preimage::from_bytes([0x42; 32]).payment_hash()
    }

    #[test]
    fn a_macaroon_names_its_payment_its_scope_and_its_end() {
        let token = Token::macaroon(MACAROON).unwrap();
        assert_eq!(token.payment_hash(), Some(hash()));
        assert_eq!(token.scope("/a"), "services=service1:0");
        assert!(!token.is_over(1_699_999_999) && token.is_over(1_700_000_000));
        let preimage = Preimage::from_bytes([0x42; 32]);
        let sent = token.authorization(Scheme::Lsat, &preimage);
        assert_eq!(sent, format!("LSAT {MACAROON}:{}", "42".repeat(32)));
    }

    #[test]
    fn the_json_token_of_lightning_toll_names_its_payment_and_its_path() {
        let json = format!(
            r#"{{"id":"{}","caveats":["expires_at = 10","endpoint = /api/joke"],"signature":"00"}}"#,
            hash()
        );
        let token = Token::macaroon(&URL_SAFE_NO_PAD.encode(json)).unwrap();
        assert_eq!(token.payment_hash(), Some(hash()));
        assert_eq!(token.scope("/a"), "endpoint=/api/joke");
        assert!(token.is_over(10) && !token.is_over(9));
    }

    #[test]
    fn a_token_that_cannot_be_read_is_for_the_path_where_it_was_sold() {
        let token = Token::macaroon("eyJhIjoxfQ.00ff").unwrap();
        assert_eq!((token.payment_hash(), token.scope("/a")), (None, "path=/a".to_owned()));
        assert!(!token.is_over(u64::MAX));
    }

    #[test]
    fn err_token_that_no_header_carries() {
        for text in ["", "%%%", "a b", "a\"", "a:b", "a\r\n", "ä", &"a".repeat(TOKEN_BYTES_MAX + 1)]
        {
            assert_eq!(Token::macaroon(text), None, "{text:.20}");
        }
    }
}
