//! Prices from a service of the operator's, as docs/pricing.md has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};
use crate::snippets;

/// What it costs by size; what else is asked for gets no price.
async fn price(
    State(asked): State<Arc<AtomicUsize>>,
    headers: HeaderMap,
    axum::Json(question): axum::Json<Value>,
) -> (StatusCode, axum::Json<Value>) {
    asked.fetch_add(1, Ordering::SeqCst);
    assert!(headers["tollway-signature"].to_str().unwrap().starts_with("t="));
    assert_eq!((&question["route"], &question["path"]), (&json!("quote"), &json!("/v1/quote")));
    let answer = match (&question["fields"]["query.size"], &question["fields"]["header.x-model"]) {
        (Value::String(size), Value::Null) if size == "small" => json!({"price_msat": 1_500}),
        (Value::String(size), Value::String(_)) if size == "small" => json!({"price_sats": 9}),
        (Value::String(size), _) if size == "secret" => json!({"deny": true}),
        (Value::String(size), _) if size == "dear" => json!({"price_msat": 100_001}),
        _ => return (StatusCode::INTERNAL_SERVER_ERROR, axum::Json(json!({"price_msat": 1}))),
    };
    (StatusCode::OK, axum::Json(answer))
}

async fn get(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = gateway.http.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    gateway.http.send(request).await
}

#[tokio::test]
async fn a_service_of_the_operator_s_says_what_a_request_costs() {
    let asked = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/price", post(price)).with_state(Arc::clone(&asked));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let secrets = tempfile::tempdir().unwrap();
    let secret = secrets.path().join("price-secret");
    std::fs::write(&secret, "canary-price-secret-77aa").unwrap();
    let lines = snippets::tollwayd("price-webhook")
        .replace("127.0.0.1:9000", &address.to_string())
        .replace("/run/secrets/price", &secret.display().to_string());
    let (gateway, _dir) = snippets::with_tollwayd("ask", &lines).await;

    let unpaid = get(&gateway, "/v1/quote?size=small", &[]).await;
    assert_eq!((unpaid.status.as_u16(), &unpaid.json()["priceMsat"]), (402, &json!(1_500)));
    let credential = gateway.http.pay(&unpaid).await;
    let paid = [("authorization", credential.as_str())];
    for (more, msat) in [(None, 1_500), (Some(("x-model", "large")), 9_000)] {
        let headers: Vec<_> = paid.into_iter().chain(more).collect();
        for _ in 0..3 {
            let answer = get(&gateway, "/v1/quote?size=small", &headers).await;
            let found = (answer.status.as_u16(), answer.number("x-toll-cost-msat"));
            assert_eq!(found, (200, msat));
            assert_eq!(answer.json()["headers"]["x-toll-cost-msat"], msat.to_string());
        }
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "equal questions are asked once");
    let hits = gateway.stack.upstream().hits().total();
    for (path, status, code) in [
        ("/v1/quote?size=secret", 403, "not_sold"),
        ("/v1/quote?size=dear", 503, "payments_unavailable"),
        ("/v1/quote", 503, "payments_unavailable"),
        ("/v1/quote?size=small&size=large", 400, "price_field_repeated"),
    ] {
        for headers in [&paid[..], &[]] {
            let answer = get(&gateway, path, headers).await;
            assert_eq!(
                (answer.status.as_u16(), answer.code()),
                (status, code.to_owned()),
                "{path}"
            );
        }
    }
    assert_eq!(gateway.stack.upstream().hits().total(), hits, "nothing reached the upstream");
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 3 * 1_500 + 3 * 9_000);
    gateway.audit();
}
