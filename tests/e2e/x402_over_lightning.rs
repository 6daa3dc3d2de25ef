//! x402 over Lightning through the real Envoy: the preimage of an invoice pays for one request.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Answer, Gateway, Http, config, repository};
use crate::x402::{receipt, show};

const REGTEST: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328";
const MAINNET: &str = "bip122:000000000019d6689c085ae165831e93";
/// What turns it on in tollwayd's configuration.
pub(crate) const ON: &str = "\n[x402_over_lightning]\npublic_url = \"https://api.example.com\"\n";

async fn shop() -> (Gateway, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file: PathBuf = folder.path().join("tollwayd.toml");
    let shipped = std::fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    std::fs::write(&file, shipped + ON).unwrap();
    let mut filter = config();
    filter["services"][0]["x402"] = json!(true);
    let options = StackOptions {
        filter: Some(filter),
        tollwayd_config: Some(file),
        ..StackOptions::default()
    };
    (Gateway::with(options).await, folder)
}

/// The one requirement that a challenge names.
pub(crate) fn requirement(challenge: &Answer) -> Value {
    assert_eq!(challenge.status, 402, "{challenge:?}");
    let offer = STANDARD.decode(challenge.header("payment-required")).unwrap();
    let offer: Value = serde_json::from_slice(&offer).unwrap();
    assert_eq!(offer["accepts"].as_array().unwrap().len(), 1, "{offer}");
    offer["accepts"][0].clone()
}

/// What a client sends of this requirement and its payload.
pub(crate) fn written(accepted: &Value, payload: &Value) -> String {
    let payment = json!({"x402Version": 2, "accepted": accepted, "payload": payload});
    STANDARD.encode(payment.to_string())
}

async fn preimage(http: &Http, accepted: &Value) -> String {
    http.preimage(accepted["extra"]["invoice"].as_str().unwrap()).await
}

#[tokio::test]
async fn a_payment_is_accepted_once_on_its_own_route_and_network_for_its_amount() {
    let (gateway, _folder) = shop().await;
    let http = &gateway.http;
    let challenge = http.get("/echo", None).await;
    assert!(challenge.header("www-authenticate").starts_with("L402 "));
    let accepted = requirement(&challenge);
    assert_eq!((&accepted["network"], &accepted["amount"]), (&json!(REGTEST), &json!("1000")));
    let preimage = preimage(http, &accepted).await;
    let proof = json!({"preimage": preimage});
    let changed = |field: &str, value: &str| {
        let mut other = accepted.clone();
        other[field] = json!(value);
        written(&other, &proof)
    };
    let invoice = &accepted["extra"]["invoice"];
    let plain = json!({"x402Version": 2, "accepted": accepted, "payload": proof}).to_string();
    for (payment, why) in [
        (changed("network", MAINNET), "of another chain"),
        (changed("amount", "999"), "for less than was asked"),
        (changed("amount", "2000"), "for more than was asked"),
        (changed("asset", "USD"), "of another asset"),
        (changed("scheme", "upto"), "of another scheme"),
        (written(&accepted, &json!({"invoice": invoice})), "the invoice, which everybody saw"),
        (written(&accepted, &json!({"preimage": "00".repeat(32)})), "of no payment"),
        (plain, "not in base64"),
    ] {
        let refused = show(http, "/echo", &payment).await;
        assert_eq!(refused.status, 402, "{why}: {refused:?}");
        assert_eq!(refused.header("payment-response"), "", "{why}");
        assert_ne!(requirement(&refused)["extra"]["invoice"], Value::Null, "{why}: a fresh one");
    }
    // Another route: one that costs the same, and one that costs more.
    let good = written(&accepted, &proof);
    for path in ["/status/200", "/api/joke"] {
        assert_eq!(show(http, path, &good).await.status, 402, "{path}");
    }
    assert_eq!(gateway.stack.upstream().hits().total(), 0);
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 0);

    let served = show(http, "/echo", &good).await;
    assert_eq!(served.status, 200, "nothing was spent: {served:?}");
    assert_eq!(served.number("x-toll-cost-msat"), 1_000);
    let receipt = receipt(&served);
    assert_eq!((&receipt["success"], &receipt["network"]), (&json!(true), &json!(REGTEST)));
    assert!(!receipt.to_string().contains(&preimage));
    assert!(served.json()["headers"].get("payment-signature").is_none(), "{served:?}");

    let again = show(http, "/echo", &good).await;
    assert_eq!(again.status, 402, "{again:?}");
    assert_ne!(requirement(&again)["extra"]["invoice"], *invoice);
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 1);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(1_000), &json!(1_000)));
    gateway.audit();
}

#[tokio::test]
async fn a_request_that_failed_costs_nothing_and_can_be_made_again() {
    let (gateway, _folder) = shop().await;
    let http = &gateway.http;
    let accepted = requirement(&http.get("/status/503", None).await);
    let proof = json!({"preimage": preimage(http, &accepted).await});
    let payment = written(&accepted, &proof);
    for _ in 0..2 {
        assert_eq!(show(http, "/status/503", &payment).await.status, 503);
        assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 0);
    }
    let served = http.request(Method::GET, "/status/200").header("payment-signature", &payment);
    assert_eq!(http.send(served).await.status, 200, "the same route, which works again");
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 1_000);
    assert_eq!(show(http, "/status/200", &payment).await.status, 402);
    gateway.audit();
}
