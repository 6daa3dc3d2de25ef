//! How receivers know that a call is from here.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Says when and by whom a body was signed.
pub(crate) const HEADER: &str = "tollway-signature";

/// `t` is the time of the call, so that a receiver can refuse what is old; `v1` signs it together
/// with the body.
pub(crate) fn sign(secret: &str, now_s: u64, body: &[u8]) -> String {
    // HMAC takes a key of any length, so the error arm is never reached.
    let signed = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        Ok(mut mac) => {
            mac.update(now_s.to_string().as_bytes());
            mac.update(b".");
            mac.update(body);
            hex::encode(mac.finalize().into_bytes())
        }
        Err(_) => String::new(),
    };
    format!("t={now_s},v1={signed}")
}

/// Whether `shown` is what BTCPay's webhooks sign a body with: `sha256=` and a HMAC.
pub(crate) fn is_of_btcpay(secret: &str, shown: &[u8], body: &[u8]) -> bool {
    let hex = shown.strip_prefix(b"sha256=");
    let Some(mac) = hex.and_then(|hex| hex::decode(hex).ok()) else { return false };
    // HMAC takes a key of any length, so the error arm is never reached.
    let Ok(expected) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    expected.chain_update(body).verify_slice(&mac).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_makes() {
        // printf '1700000000.{"id":"1"}' | openssl dgst -sha256 -hmac whsec-0123456789
        let expected = "ba9b16f0fab15733db79a842aa7f791b2dd5ed01092e27ecf2eb7f960d73f1d3";
        let signature = sign("whsec-0123456789", 1_700_000_000, br#"{"id":"1"}"#);
        assert_eq!(signature, format!("t=1700000000,v1={expected}"));
    }

    #[test]
    fn btcpay_signs_the_body_alone() {
        // printf '{"id":"1"}' | openssl dgst -sha256 -hmac whsec-0123456789
        let mac = "58afef18a2c0c9fbe5ca48ffada01c9e64d5983b467b0c2ec2164185b5df0100";
        let (secret, body) = ("whsec-0123456789", br#"{"id":"1"}"#);
        let shown = format!("sha256={mac}");
        assert!(is_of_btcpay(secret, shown.as_bytes(), body));
        assert!(is_of_btcpay(secret, format!("sha256={}", mac.to_uppercase()).as_bytes(), body));
        assert!(!is_of_btcpay("whsec-0123456780", shown.as_bytes(), body));
        assert!(!is_of_btcpay(secret, shown.as_bytes(), b"{}"));
        for other in ["", mac, "sha256=", "sha256=00", "sha1=00", &shown[..69]] {
            assert!(!is_of_btcpay(secret, other.as_bytes(), body), "{other}");
        }
    }
}
