//! Rates of exchange, from a source that answers and one that does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tollway_core::rates::Currency;
use tollwayd::App;
use tollwayd::clock::ManualClock;
use tollwayd::config::{PriceSource, RateSource};

use crate::support::{Doors, START_MS, config, until};

/// What a document says the first time, the second time and ever after.
const ANSWERS: [(u16, &str); 4] = [
    (200, r#"{"data": {"USD": 64123.4500000000000000001}}"#),
    (200, r#"{"data": {"USD": "50000"}}"#),
    (500, r#"{"data": {"USD": "1"}}"#),
    (200, r#"{"data": {"USD": "-1"}}"#),
];

/// A source of rates, and how often it was asked.
async fn source() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let answer = async move || {
        let at = counter.fetch_add(1, Ordering::SeqCst).min(ANSWERS.len() - 1);
        let (status, body) = ANSWERS[at];
        (StatusCode::from_u16(status).unwrap(), body)
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/price", get(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}/price"), asked)
}

async fn rates(doors: &Doors) -> Value {
    let reply = doors.call(Method::GET, "/v1/keyring").send().await.unwrap();
    let keyring: Value = reply.json().await.unwrap();
    keyring.get("rates").cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn the_last_rate_holds_while_its_source_is_silent_and_then_there_is_none() {
    let (url, asked) = source().await;
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let mut config = config(directory.path());
    config.rates.refresh = Duration::from_millis(20);
    let price = PriceSource::Json { url: url.parse().unwrap(), pointer: "/data/USD".to_owned() };
    let currency = Currency::parse("USD").unwrap();
    config.rates.sources = vec![RateSource { currency, price }];
    let running = App::start(config, clock.clone()).await.unwrap();
    let (gate, admin) = (running.gate_addr().to_string(), running.admin_addr().to_string());
    let doors = Doors::new(&gate, &admin, Client::new());

    // Two bad answers later the second good one still stands, and its end has not moved.
    let rate = |per_bitcoin: &str| {
        let expires_at = START_MS / 1_000 + 900;
        json!([{"currency": "USD", "per_bitcoin": per_bitcoin, "expires_at": expires_at}])
    };
    until("the source was asked", async || (asked.load(Ordering::SeqCst) > 6).then_some(())).await;
    assert_eq!(rates(&doors).await, rate("50000"));
    clock.advance_ms(899_999);
    assert_eq!(rates(&doors).await, rate("50000"));
    clock.advance_ms(1);
    assert_eq!(rates(&doors).await, Value::Null);
    running.shutdown().await.unwrap();
}
