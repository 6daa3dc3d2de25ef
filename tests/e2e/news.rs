//! News of payments, as docs/pricing.md has it; what is in them, docs/payouts.md.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;

use crate::harness::eventually;
use crate::snippets;

type Seen = Arc<Mutex<Vec<Value>>>;

async fn receive(
    State(seen): State<Seen>,
    headers: HeaderMap,
    axum::Json(news): axum::Json<Value>,
) -> StatusCode {
    assert!(headers["tollway-signature"].to_str().unwrap().starts_with("t="));
    seen.lock().unwrap().push(news);
    StatusCode::NO_CONTENT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_payment_and_top_up_is_told_to_the_operator() {
    let seen = Seen::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/hooks/tollway", post(receive)).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("webhook-secret");
    std::fs::write(&secret, "canary-webhook-secret-33bd").unwrap();
    let lines = snippets::tollwayd("webhooks")
        .replace("https://books.example", &format!("http://{address}"))
        .replace("/run/secrets/webhook", &secret.display().to_string());
    // The receiver of a test is no public one.
    let lines = lines + "allow_private = true\n";
    let (gateway, _dir) = snippets::with_tollwayd("classes", &lines).await;
    let credential = gateway.http.buy("/v1/items").await;
    assert_eq!(gateway.http.get("/v1/items", Some(&credential)).await.status, 200);
    let request = gateway.http.request(reqwest::Method::GET, "/v1/items");
    let request = request.header("authorization", &credential).header("x-toll-top-up", "1");
    let top_up = gateway.http.send(request).await;
    assert_eq!(top_up.status, 402);
    gateway.http.pay(&top_up).await;
    let told = eventually("both are told", async || {
        let seen = seen.lock().unwrap();
        (seen.len() >= 2).then(|| seen.clone())
    })
    .await;
    let mut kinds: Vec<_> = told.iter().map(|news| news["type"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["payment", "top_up"]);
    for news in &told {
        assert_eq!(news["amount_msat"], 1_000_000);
        assert_eq!(news["account"], told[0]["account"], "one account has both");
    }
}
