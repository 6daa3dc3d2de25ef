//! Laws of other paywalls' tokens on random inputs: what a stranger sends never panics a reader,
//! and nobody but the holder of the secret widens a token.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::compat::lightning_toll::{Bindings, Token};
use tollway_core::compat::toll_booth;
use tollway_core::credential::{Rejection, RequestFacts, VerifiedCredential};
use tollway_core::header::read_credential;
use tollway_core::keyring::Keyring;
use tollway_core::macaroon::Macaroon;
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use tollway_core::rfc3339;
use tollway_core::secret::{RootKey, SecretText};

const SECRET: &str = "secret of the old system";
const ROOT_KEY: [u8; 32] = [9; 32];
const FACTS: RequestFacts<'_> = RequestFacts {
    service: "api",
    tier: TIER_CREDITS,
    path: b"/joke",
    method: b"GET",
    client_ip: Some("192.0.2.1"),
    now_ms: 1_000_000,
    cost: Msat::ZERO,
    proof: tollway_core::wire::Proof::Preimage,
};

fn preimage() -> Preimage {
    Preimage::from_bytes([0x42; 32])
}

fn keyring() -> Keyring {
    let json = serde_json::json!({
        "current": 1,
        "keys": [{"id": 1, "secret": "11".repeat(32)}],
        "seed": "22".repeat(32),
        "legacy": [
            {"format": "lightning-toll", "secret": SECRET, "services": ["api"]},
            {"format": "toll-booth", "secret": hex::encode(ROOT_KEY), "services": ["api"]},
        ],
    });
    Keyring::from_reply(&serde_json::from_value(json).unwrap()).unwrap()
}

fn verify(token: &str) -> Option<Result<VerifiedCredential, Rejection>> {
    let value = format!("L402 {token}:{}", preimage().reveal_hex());
    let credential = read_credential(&[("authorization", value)].into()).credential;
    Some(credential.ok()??.verify(&keyring()))
}

fn json_token(path: &str) -> Token {
    let bindings = Bindings { endpoint: path, ..Bindings::default() };
    let secret = SecretText::new(SECRET.into());
    Token::mint(&secret, &preimage().payment_hash().to_hex(), &bindings)
}

fn macaroon() -> Macaroon {
    toll_booth::mint(&RootKey::from_bytes(ROOT_KEY), preimage().payment_hash(), [3; 32], 21)
}

#[test]
fn genuine_tokens_are_admitted() {
    let admitted = verify(&json_token("/joke").to_base64()).unwrap().unwrap();
    assert!(admitted.authorize(&FACTS).is_ok());
    let admitted = verify(&toll_booth::to_base64(&macaroon())).unwrap().unwrap();
    assert!(admitted.authorize(&FACTS).is_ok());
    assert_eq!(admitted.legacy_credit(), Msat::from_sats(21));
    let time = RequestFacts { tier: tollway_core::caveat::TIER_SESSION, ..FACTS };
    assert_eq!(admitted.authorize(&time), Err(Rejection::WrongTier));
    let other = RequestFacts { service: "other", ..FACTS };
    assert_eq!(admitted.authorize(&other), Err(Rejection::WrongService));
}

proptest! {
    #[test]
    fn what_is_minted_reads_back(path in "/\\PC{0,40}", ip in "\\PC{0,20}", end in any::<u64>()) {
        let bindings = Bindings { expires_at: end, endpoint: &path, method: "GET", ip: &ip };
        let token = Token::mint(&SecretText::new(SECRET.into()), "id", &bindings);
        let read = Token::from_base64(token.to_base64().as_bytes()).unwrap();
        prop_assert!(read.verify(&SecretText::new(SECRET.into())));
        prop_assert_eq!(read, token);
    }

    #[test]
    fn no_bytes_panic_a_reader(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = Token::from_base64(&bytes);
        let _ = rfc3339::parse_ms(&String::from_utf8_lossy(&bytes));
        let mut text = b"L402 eyJ".to_vec();
        text.extend_from_slice(&bytes);
        let _ = read_credential(&[("authorization", text)].into());
    }

    #[test]
    fn no_json_panics_a_reader(json in "\\{\"(id|caveats|signature)\":[\\[\\]\"{}a-f0-9:,]{0,80}") {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let _ = Token::from_base64(text.as_bytes());
    }

    #[test]
    fn a_changed_byte_admits_nothing(at in any::<prop::sample::Index>(), flip in 1_u8..=255) {
        for text in [json_token("/joke").to_base64(), toll_booth::to_base64(&macaroon())] {
            let mut bytes = text.clone().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            // A letter of the signature in the other case spells the same token.
            let same = Token::from_base64(changed.as_bytes())
                .is_ok_and(|token| token == json_token("/joke"));
            prop_assert!(same || !matches!(verify(&changed), Some(Ok(_))), "{}", changed);
        }
    }

    #[test]
    fn a_holder_only_narrows(caveats in prop::collection::vec("(expires_at|endpoint|method|ip|route|expires|credit_balance|x) = (0|/joke|/\\*|GET|1[0-9]{3})", 1..5)) {
        let (mut json, mut mac) = (json_token("/other"), macaroon().attenuate(b"route = /other"));
        for caveat in &caveats {
            json = json.attenuate(caveat);
            mac = mac.attenuate(caveat.as_bytes());
        }
        for text in [json.to_base64(), toll_booth::to_base64(&mac)] {
            if let Some(Ok(verified)) = verify(&text) {
                prop_assert!(verified.authorize(&FACTS).is_err());
                let credit = verified.legacy_credit();
                prop_assert!(credit.is_none() || credit == Msat::from_sats(21));
            }
        }
    }
}
