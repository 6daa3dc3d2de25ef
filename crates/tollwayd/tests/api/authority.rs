//! Purchases that need a certificate of an authority. The certificates were made by PyJWT.

use std::path::Path;
use std::sync::Arc;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tollwayd::clock::ManualClock;
use tollwayd::config::{Config, RawConfig};

use crate::support::*;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../certificates.json")).unwrap()
}

fn token(name: &str) -> String {
    let vectors = vectors();
    let found = vectors["certificates"].as_array().unwrap().iter().find(|it| it["name"] == name);
    found.unwrap()["token"].as_str().unwrap().to_owned()
}

fn config(directory: &Path, more: &str) -> Result<Config, String> {
    let example = include_str!("../../../../envoy/tollwayd.toml");
    let key = vectors()["public_key"].as_str().unwrap().to_owned();
    let text = format!(
        "{example}\n[authority]\npublic_keys = [\"\"\"\n{key}\"\"\"]\noperator_id = \"op-1\"\n{more}\n"
    );
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        _ => None,
    };
    let raw = RawConfig::parse(&text).map_err(|error| error.to_string())?;
    raw.resolve(&env).map_err(|error| error.to_string())
}

async fn buy(server: &Server, amount: u64, certificate: Option<&str>, more: Value) -> Response {
    let mut body = challenge(amount, "jokes");
    if let Some(certificate) = certificate {
        body["certificate"] = json!(certificate);
    }
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    server.challenge(body).await
}

async fn refusal(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    problem(response).await.code.to_string()
}

#[tokio::test]
async fn a_certificate_buys_once_for_its_amount_and_a_restart_remembers_it() {
    let directory = tempfile::tempdir().unwrap();
    let start = async |directory: tempfile::TempDir, clock: Arc<ManualClock>| {
        let config = config(directory.path(), "").unwrap();
        Server::start_with(directory, clock, config).await
    };
    let server = start(directory, Arc::new(ManualClock::new(START_MS))).await;
    let (good, other) = (token("good"), token("with a key id"));
    let none = json!({});
    for (amount, certificate, code) in [
        (980_000, None, "certificate_required"),
        (979_000, Some(good.as_str()), "certificate_amount"),
        (980_000, Some("joke"), "certificate_malformed"),
        (980_000, Some(token("another operator").as_str()), "certificate_stranger"),
        (980_000, Some(token("alg none").as_str()), "certificate_algorithm"),
        (
            980_000,
            Some(token("hs256 with the pem as its secret").as_str()),
            "certificate_algorithm",
        ),
    ] {
        let refused = buy(&server, amount, certificate, none.clone()).await;
        assert_eq!(refusal(refused).await, code);
    }
    let sold = invoice(buy(&server, 980_000, Some(&good), none.clone()).await).await;
    let paid = server.paid_invoice(&sold).await;
    let again = buy(&server, 980_000, Some(&good), none.clone()).await;
    assert_eq!(refusal(again).await, "certificate_used");
    // A top-up is a purchase too.
    let top_up = json!({ "top_up": paid.hash });
    let refused = buy(&server, 980_000, None, top_up.clone()).await;
    assert_eq!(refusal(refused).await, "certificate_required");
    invoice(buy(&server, 980_000, Some(&other), top_up).await).await;

    let Stopped { directory, clock } = server.stop().await;
    let server = start(directory, clock).await;
    let again = buy(&server, 980_000, Some(&good), none.clone()).await;
    assert_eq!(refusal(again).await, "certificate_used");
    // What was bought is spent without one.
    assert!(matches!(
        server.hold(new_id(), &paid, 1_000).await,
        tollway_core::wire::HoldReply::Granted { .. }
    ));
    server.clock.advance_ms(600_000 + 30_000);
    let late = buy(&server, 980_000, Some(&token("with an audience")), none).await;
    assert_eq!(refusal(late).await, "certificate_expired");
    server.shutdown().await;
}

#[tokio::test]
async fn who_asks_again_at_once_gets_the_same_invoice_and_two_clients_do_not_share_one() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), "").unwrap();
    let server = Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await;
    let client = json!({ "client": { "address": "192.0.2.1", "fingerprint": "curl" } });
    let other = json!({ "client": { "address": "192.0.2.2", "fingerprint": "curl" } });
    let (good, second) = (token("good"), token("with a key id"));
    let one = invoice(buy(&server, 980_000, Some(&good), client.clone()).await).await;
    let same = invoice(buy(&server, 980_000, Some(&good), client.clone()).await).await;
    assert_eq!(one.payment_hash, same.payment_hash, "its answer may have been lost");
    assert_eq!(refusal(buy(&server, 980_000, Some(&good), other).await).await, "certificate_used");
    let two = invoice(buy(&server, 980_000, Some(&second), client).await).await;
    assert_ne!(one.payment_hash, two.payment_hash);
    server.shutdown().await;
}

#[test]
fn an_authority_is_checked_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    assert!(config(directory.path(), "leeway_s = 301").unwrap_err().contains("authority.leeway_s"));
    let example = include_str!("../../../../envoy/tollwayd.toml");
    for key in ["", "-----BEGIN PUBLIC KEY-----\\nMCow\\n-----END PUBLIC KEY-----"] {
        let text =
            format!("{example}\n[authority]\npublic_keys = [\"{key}\"]\noperator_id = \"op-1\"\n");
        let env = |name: &str| name.contains("TOKEN").then(|| format!("{name}-0123456789abcdef"));
        let error = RawConfig::parse(&text).unwrap().resolve(&env).unwrap_err().to_string();
        assert!(error.contains("authority.public_keys"), "{error}");
    }
}
