//! Purchases that an authority approves, as docs/pricing.md has them.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};
use tollwayd::clock::{Clock, SystemClock};

use crate::harness::{Answer, Gateway};
use crate::snippets;

/// What stands before a key of Ed25519 in its PEM (RFC 8410).
const PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The key in the documentation, whose other half nobody here has.
const DOCUMENTED: &str = "MCowBQYDK2VwAyEAA6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

fn pem(key: &Ed25519KeyPair) -> String {
    STANDARD.encode([&PREFIX, key.public_key().as_ref()].concat())
}

fn signed(key: &Ed25519KeyPair, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "JWT"})), part(claims));
    let signature = key.sign(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

async fn ask(gateway: &Gateway, certificate: Option<&str>) -> Answer {
    let mut request = gateway.http.request(Method::GET, "/v1/items");
    if let Some(certificate) = certificate {
        request = request.header("x-toll-certificate", certificate);
    }
    gateway.http.send(request).await
}

#[tokio::test]
async fn nothing_is_sold_without_a_certificate_for_it() {
    let [key, stranger] = [7, 8].map(|byte| Ed25519KeyPair::from_seed_unchecked(&[byte; 32]));
    let (key, stranger) = (key.unwrap(), stranger.unwrap());
    let lines = snippets::tollwayd("authority");
    assert!(lines.contains(DOCUMENTED));
    let lines = lines.replace(DOCUMENTED, &pem(&key));
    let (gateway, _dir) = snippets::with_tollwayd("classes", &lines).await;
    let now_s = SystemClock.now_s();
    let claims = |net_sats: u64, jti: &str| {
        json!({"operator_id": "op-1", "amount_sats": net_sats + 20, "tax_paid_sats": 20,
               "net_sats": net_sats, "jti": jti, "exp": now_s + 600})
    };
    let good = signed(&key, &claims(1_000, "one"));
    for refused in [
        None,
        Some(signed(&stranger, &claims(1_000, "one"))),
        Some(signed(&key, &claims(999, "one"))),
        Some(good.replace('.', "_")),
    ] {
        let answer = ask(&gateway, refused.as_deref()).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "certificate_refused".into()));
    }
    let offer = ask(&gateway, Some(&good)).await;
    assert_eq!((offer.status.as_u16(), &offer.json()["amountSats"]), (402, &json!(1_000)));
    let credential = gateway.http.pay(&offer).await;
    // What was bought is spent without one; the certificate buys nothing more.
    let paid = gateway.http.get("/v1/items", Some(&credential)).await;
    assert_eq!((paid.status.as_u16(), paid.number("x-toll-balance-msat")), (200, 999_000));
    assert_eq!(paid.json()["headers"]["x-toll-certificate"], Value::Null);
    assert_eq!(ask(&gateway, Some(&good)).await.status, 403);
    assert_eq!(ask(&gateway, Some(&signed(&key, &claims(1_000, "two")))).await.status, 402);
    assert_eq!(gateway.ledger_at_rest().await["credited_msat"], 1_000_000);
    gateway.audit();
}
