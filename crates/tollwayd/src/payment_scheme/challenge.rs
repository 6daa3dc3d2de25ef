//! Challenges: what a client has to pay, and the id that binds it.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::rfc3339;

use super::text::{decode, encode, encode_json};
use super::{CURRENCY, INTENT, METHOD, OTHER_HEADER};
use crate::config::Network;
use crate::ledger::KeyBytes;

/// What ids are made with, on one route of one service.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    /// Derived from a key of the gate, so that every tollwayd on the same ledger knows it and it
    /// ends with that key.
    pub(crate) fn of(key: &KeyBytes, service: &str, route: &str) -> Self {
        let parts = [b"payment challenge", service.as_bytes(), route.as_bytes()];
        let with_lengths = parts.iter().flat_map(|part| {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes();
            length.into_iter().chain(part.iter().copied())
        });
        Self(hmac(&key.0, &with_lengths.collect::<Vec<_>>()))
    }

    /// The id of a challenge that says this.
    pub(super) fn id(&self, binding: &Binding<'_>) -> String {
        let Binding { realm, method, intent, request, expires, digest, opaque, header } = binding;
        let mut text =
            [realm, method, intent, request, expires, digest, opaque].map(|it| *it).join("|");
        if let Some(header) = header {
            text.push('|');
            text.push_str(header);
        }
        encode(&hmac(&self.0, text.as_bytes()))
    }

    /// Whether a challenge that says this has this id.
    pub(super) fn made(&self, id: &str, binding: &Binding<'_>) -> bool {
        self.id(binding).as_bytes().ct_eq(id.as_bytes()).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

fn hmac(key: &[u8], text: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.chain_update(text).finalize().into_bytes().into()
}

/// What an id is made of. What is absent is empty, but for the header, which is a later addition
/// to the scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding<'a> {
    pub(crate) realm: &'a str,
    pub(crate) method: &'a str,
    pub(crate) intent: &'a str,
    pub(crate) request: &'a str,
    pub(crate) expires: &'a str,
    pub(crate) digest: &'a str,
    pub(crate) opaque: &'a str,
    pub(crate) header: Option<&'a str>,
}

/// One payment for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) amount: Msat,
    pub(crate) invoice: String,
    pub(crate) payment_hash: PaymentHash,
    network: &'static str,
}

/// The `request` of a challenge, its members in canonical order.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    /// Sats, in decimal digits.
    amount: String,
    currency: String,
    method_details: MethodDetails,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MethodDetails {
    invoice: String,
    network: String,
    payment_hash: String,
}

impl Charge {
    /// A payment of this invoice; `None` on a network that the scheme has no word for.
    pub(crate) fn new(
        amount: Msat,
        invoice: String,
        payment_hash: PaymentHash,
        network: Network,
    ) -> Option<Self> {
        let network = match network {
            Network::Bitcoin => "mainnet",
            Network::Signet => "signet",
            Network::Regtest => "regtest",
            Network::Testnet | Network::Simnet => return None,
        };
        Some(Self { amount, invoice, payment_hash, network })
    }

    /// The value of `WWW-Authenticate`. The realm is a service's name, and all other values are
    /// of our own alphabets, so that none needs an escape.
    pub(crate) fn challenge(
        &self,
        secret: &Secret,
        realm: &str,
        expires_at_s: u64,
        other_header: bool,
    ) -> String {
        let request = encode_json(&Request {
            amount: self.amount.to_sats_rounded_up().to_string(),
            currency: CURRENCY.to_owned(),
            method_details: MethodDetails {
                invoice: self.invoice.clone(),
                network: self.network.to_owned(),
                payment_hash: self.payment_hash.to_hex(),
            },
        });
        Line { realm, intent: INTENT, request, expires_at_s, other_header }.write(secret)
    }
}

/// What a challenge says, whatever its intent.
pub(super) struct Line<'a> {
    pub(super) realm: &'a str,
    pub(super) intent: &'a str,
    pub(super) request: String,
    pub(super) expires_at_s: u64,
    pub(super) other_header: bool,
}

impl Line<'_> {
    pub(super) fn write(&self, secret: &Secret) -> String {
        let Self { realm, intent, request, .. } = self;
        let expires = rfc3339::format_s(self.expires_at_s);
        let header = self.other_header.then_some(OTHER_HEADER);
        let (method, digest, opaque) = (METHOD, "", "");
        let id = secret.id(&Binding {
            realm,
            method,
            intent,
            request,
            expires: &expires,
            digest,
            opaque,
            header,
        });
        let mut line = format!(
            "Payment id=\"{id}\", realm=\"{realm}\", method=\"{method}\", intent=\"{intent}\", \
             request=\"{request}\", expires=\"{expires}\""
        );
        if let Some(header) = header {
            line.push_str(&format!(", header=\"{header}\""));
        }
        line
    }
}

/// What a request of our own making asks: the payment, and its amount.
pub(super) fn asked(request: &str) -> Option<(PaymentHash, Msat)> {
    let request: Request = serde_json::from_slice(&decode(request)?).ok()?;
    let hash = PaymentHash::from_hex(request.method_details.payment_hash.as_bytes()).ok()?;
    Some((hash, Msat::from_sats(request.amount.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding<'a>(request: &'a str, expires: &'a str) -> Binding<'a> {
        Binding {
            realm: "api.example.com",
            method: "lightning",
            intent: "charge",
            request,
            expires,
            digest: "",
            opaque: "",
            header: None,
        }
    }

    fn secret(text: &str) -> [u8; 32] {
        // As the published libraries use a text; HMAC pads it in the same way.
        let mut key = [0; 32];
        key[..text.len()].copy_from_slice(text.as_bytes());
        key
    }

    #[test]
    fn ids_are_those_of_other_implementations() {
        let theirs = Secret(secret("mpp-test-vector-secret"));
        let plain = binding("eyJhbW91bnQiOiIxMDAifQ", "");
        assert_eq!(theirs.id(&plain), "_9D0WlPoPRltxAd6AdpQd6auVOOeQGJ_J8BkGeBE_bU");
        let full = Binding {
            intent: "session",
            digest: "sha-256=:X48E9q:",
            opaque: "eyJvcmRlcklkIjoiMTIzIn0",
            ..binding("eyJhbW91bnQiOiIzIn0", "2026-03-15T12:05:00Z")
        };
        assert_eq!(theirs.id(&full), "Wb8N5-PD4XjMfYGzuuY2bdpsrCQZzkQUX-A_ByIetHw");
        let mppx = Secret(secret("secret"));
        let request = "eyJhbW91bnQiOiIxMDAiLCJjdXJyZW5jeSI6InNhdCJ9";
        let id = mppx.id(&binding(request, "2026-03-15T12:05:00Z"));
        assert_eq!(id, "zY8EA_9m9wEZyfnjElNe5KWgYZV3_qLoEwGxvQMJ3jM");
        assert!(mppx.made(&id, &binding(request, "2026-03-15T12:05:00Z")));
        assert!(!mppx.made(&id, &binding(request, "2026-03-15T12:05:01Z")));
        assert!(!theirs.made(&id, &binding(request, "2026-03-15T12:05:00Z")));
    }

    #[test]
    fn a_challenge_is_written_in_order_and_its_request_is_canonical() {
        let hash = PaymentHash::from_bytes([1; 32]);
        let amount = Msat::new(20_001).unwrap();
        let charge = Charge::new(amount, "lnbcrt1".into(), hash, Network::Regtest).unwrap();
        let secret = Secret([3; 32]);
        let line = charge.challenge(&secret, "demo", 951_782_400, false);
        let json = format!(
            r#"{{"amount":"21","currency":"sat","methodDetails":{{"invoice":"lnbcrt1","network":"regtest","paymentHash":"{}"}}}}"#,
            "01".repeat(32)
        );
        let request = encode(json.as_bytes());
        let id = secret.id(&Binding { realm: "demo", ..binding(&request, "2000-02-29T00:00:00Z") });
        let expected = format!(
            "Payment id=\"{id}\", realm=\"demo\", method=\"lightning\", intent=\"charge\", \
             request=\"{request}\", expires=\"2000-02-29T00:00:00Z\""
        );
        assert_eq!(line, expected);
        assert_eq!(asked(&request), Some((hash, Msat::from_sats(21).unwrap())));
        let other = charge.challenge(&secret, "demo", 951_782_400, true);
        assert!(other.ends_with(", header=\"Payment-Authorization\""), "{other}");
        assert!(!other.contains(&id), "the header is bound");
    }

    #[test]
    fn each_route_has_its_own_secret() {
        let key = KeyBytes([9; 32]);
        let one = Secret::of(&key, "demo", "joke");
        for (service, route) in [("demo", "dear"), ("demoj", "oke"), ("other", "joke")] {
            assert_ne!(Secret::of(&key, service, route).0, one.0, "{service} {route}");
        }
        assert_ne!(Secret::of(&KeyBytes([8; 32]), "demo", "joke").0, one.0);
    }
}
