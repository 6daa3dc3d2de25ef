//! Credentials of every kind: ours, and the JWT of Envoy's own filter.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::keyring::Keyring;
use tollway_core::payment::PaymentHash;

use crate::Result;
use crate::filter::SERVICE;

/// The end of every token's life: 2100.
const VALID_UNTIL: u64 = 4_102_444_800;
const JWT_KEY: &[u8] = b"a-key-of-the-benchmark-32-bytes!";
/// Who signs the JWT.
pub(crate) const ISSUER: &str = "bench";

/// A macaroon as the filter mints it, with so many caveats more, in base64.
pub(crate) fn macaroon(
    keyring: &Keyring,
    payment_hash: PaymentHash,
    invoice: &str,
    more_caveats: u64,
) -> Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| error.to_string())?;
    let terms = ChallengeTerms {
        location: "tollway",
        payment_hash,
        service: SERVICE,
        tier: TIER_CREDITS,
        valid_until: VALID_UNTIL,
        random,
    };
    let challenge = Challenge::mint(keyring, terms, invoice).map_err(|error| error.to_string())?;
    let mut macaroon = challenge.macaroon().clone();
    for n in 1..=more_caveats {
        macaroon = macaroon.attenuate(format!("expires_at={}", VALID_UNTIL - n).as_bytes());
    }
    Ok(macaroon.to_base64())
}

/// An `Authorization` value with a JWT signed by HS256.
pub(crate) fn jwt() -> Result<String> {
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "HS256", "typ": "JWT", "kid": "bench"}));
    let claims = json!({"iss": ISSUER, "sub": "account-0001", "exp": VALID_UNTIL});
    let signed = format!("{head}.{}", part(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(JWT_KEY).map_err(|error| error.to_string())?;
    mac.update(signed.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes());
    Ok(format!("Bearer {signed}.{signature}"))
}

/// The key set that verifies [`jwt`].
pub(crate) fn jwks() -> String {
    let key = BASE64_URL_SAFE_NO_PAD.encode(JWT_KEY);
    json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "bench", "k": key}]}).to_string()
}
