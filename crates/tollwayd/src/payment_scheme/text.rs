//! base64url and canonical JSON, and the receipt.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::Serialize;
use tollway_core::payment::PaymentHash;
use tollway_core::rfc3339;

use super::METHOD;

/// Never writes padding; reads with and without. Its alphabet and the last bits are strict.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// JSON in base64url. It is canonical (RFC 8785) if the members stand in the order of their
/// names and no number is among them.
pub(super) fn encode_json(value: &impl Serialize) -> String {
    // Structs of text always serialise.
    encode(&serde_json::to_vec(value).unwrap_or_default())
}

/// What a client keeps of a payment: never the preimage.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Receipt<'a> {
    challenge_id: &'a str,
    method: &'a str,
    reference: String,
    status: &'a str,
    timestamp: String,
}

/// The value of `Payment-Receipt`.
pub(crate) fn receipt(challenge_id: &str, payment: &PaymentHash, now_s: u64) -> String {
    encode_json(&Receipt {
        challenge_id,
        method: METHOD,
        reference: payment.to_hex(),
        status: "success",
        timestamp: rfc3339::format_s(now_s),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_strict_but_for_padding() {
        for text in ["aGVsbG8", "aGVsbG8="] {
            assert_eq!(decode(text).as_deref(), Some(&b"hello"[..]), "{text}");
        }
        for text in ["AB", "aGVs\nbG8", "a+b/", "aGV=bG8", "aGVsbG8===", "aGVsb", " aGVsbG8"] {
            assert_eq!(decode(text), None, "{text}");
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_receipt_names_the_payment_and_is_canonical() {
        let json = decode(&receipt("abc", &PaymentHash::from_bytes([7; 32]), 951_782_400)).unwrap();
        let expected = format!(
            r#"{{"challengeId":"abc","method":"lightning","reference":"{}","status":"success","timestamp":"2000-02-29T00:00:00Z"}}"#,
            "07".repeat(32)
        );
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }
}
