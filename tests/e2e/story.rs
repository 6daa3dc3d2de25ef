//! The main job, as the demo plays it.

use reqwest::Method;
use tollway_testkit::stack::StackOptions;
use tollway_testkit::story::{Stage, play};

use crate::harness::{Gateway, config, eventually};

#[tokio::test]
async fn the_demo_s_story_plays_on_the_demo_s_own_files() {
    let gateway = Gateway::with(StackOptions::default()).await;
    let stage = Stage { gateway: gateway.stack.gateway_url(), wallet: gateway.stack.admin_url() };
    let mut told = Vec::new();
    play(&stage, &mut told).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(String::from_utf8(told).unwrap().contains("steps passed"));
    gateway.ledger_at_rest().await;
    gateway.audit();
    gateway.stack.stop().await.unwrap();
}

#[tokio::test]
async fn head_asks_the_price_and_a_preflight_needs_no_payment() {
    let gateway = Gateway::start().await;
    let head = gateway.http.send(gateway.http.request(Method::HEAD, "/api/joke")).await;
    assert_eq!(head.status, 402);
    assert_eq!(head.number("x-toll-price-msat"), 5_000);
    assert_eq!(head.header("www-authenticate"), "");

    let preflight = gateway
        .http
        .request(Method::OPTIONS, "/api/joke")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET");
    assert_eq!(gateway.http.send(preflight).await.status, 200);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 1, "only the preflight");

    let challenge = gateway.http.get("/api/joke", None).await;
    assert_eq!(challenge.header("access-control-allow-origin"), "*");
    assert!(challenge.header("access-control-expose-headers").contains("WWW-Authenticate"));
    assert_eq!(challenge.header("cache-control"), "no-store");
}

#[tokio::test]
async fn the_upstream_sees_who_paid_and_no_credential() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let request = gateway
        .http
        .request(Method::GET, "/echo?q=1")
        .header("authorization", format!("{credential}, Bearer app-token"))
        .header("macaroon", "")
        .header("x-toll-account", "forged")
        .header("x-toll-anything", "forged");
    let answer = gateway.http.send(request).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.number("x-toll-cost-msat"), 1_000);
    assert_eq!(answer.number("x-toll-balance-msat"), 19_000);
    assert_eq!(answer.header("cache-control"), "private");
    let seen = answer.json();
    let headers = &seen["headers"];
    assert_eq!(seen["uri"], "/echo?q=1");
    assert_eq!(headers["authorization"], "Bearer app-token");
    assert_eq!(headers["x-toll-cost-msat"], "1000");
    assert_eq!(headers["x-toll-balance-msat"], "19000");
    assert_eq!(headers["x-toll-account"].as_str().unwrap().len(), 64);
    for absent in ["macaroon", "x-toll-anything", "x-toll-free"] {
        assert!(headers.get(absent).is_none(), "{absent}: {headers}");
    }
}

#[tokio::test]
async fn keys_rotate_under_load_and_old_tokens_keep_working() {
    let mut config = config();
    config["services"][0]["purchase"]["default_sats"] = serde_json::json!(100_000);
    let options = StackOptions { filter: Some(config), ..StackOptions::default() };
    let gateway = Gateway::with(options).await;
    let old = gateway.http.buy("/echo").await;
    assert_eq!(gateway.http.get("/echo", Some(&old)).await.status, 200);
    gateway.http.rotate_key().await;
    // Until every worker has fetched the new key, a new token may be refused by one of them, but
    // an old one never is.
    eventually("tokens of the new key are accepted", async || {
        assert_eq!(gateway.http.get("/echo", Some(&old)).await.status, 200);
        let new = gateway.http.buy("/echo").await;
        let answer = gateway.http.get("/echo", Some(&new)).await;
        (key_of(&new) != key_of(&old) && answer.status == 200).then_some(())
    })
    .await;
}

/// The key id in a credential: bytes 34 to 38 of the identifier.
fn key_of(credential: &str) -> Vec<u8> {
    let token = credential.strip_prefix("L402 ").unwrap().split(':').next().unwrap();
    let macaroon = tollway_core::macaroon::Macaroon::from_base64(token.as_bytes()).unwrap();
    macaroon.identifier()[34..38].to_vec()
}
