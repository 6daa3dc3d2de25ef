//! Prices from a service of the operator's: one that answers, one that lies, one that is silent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tollwayd::clock::ManualClock;
use tollwayd::config::PriceWebhookConfig;

use crate::support::{PRICE_SECRET, START_MS, Server, config_with, expect, problem};

/// What it was asked, in order, and what it says to the next question.
#[derive(Clone)]
struct Service {
    asked: Arc<Mutex<Vec<Value>>>,
    says: Arc<Mutex<(u16, String)>>,
}

async fn answer(
    State(service): State<Service>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let signed = headers["tollway-signature"].to_str().unwrap();
    let (time, signature) = signed.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(PRICE_SECRET.as_bytes()).unwrap();
    mac.update(format!("{time}.").as_bytes());
    mac.update(&body);
    mac.verify_slice(&hex::decode(signature).unwrap()).unwrap();
    service.asked.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
    let (status, text) = service.says.lock().unwrap().clone();
    if text.is_empty() {
        std::future::pending::<()>().await;
    }
    (StatusCode::from_u16(status).unwrap(), text)
}

impl Service {
    async fn start() -> (Self, String) {
        let service = Self { asked: Arc::default(), says: Arc::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/price", listener.local_addr().unwrap());
        let router = Router::new().route("/price", post(answer)).with_state(service.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (service, url)
    }

    fn says(&self, status: u16, text: &str) {
        *self.says.lock().unwrap() = (status, text.to_owned());
    }

    fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A server that asks this service.
async fn server(change: impl FnOnce(&mut PriceWebhookConfig)) -> (Server, Service) {
    let (service, url) = Service::start().await;
    let directory = tempfile::tempdir().unwrap();
    let lines = format!(
        "[price_webhook]\nurl = \"{url}\"\nsecret = \"env:TOLLWAY_PRICE_SECRET\"\n\
         min_msat = 10\nmax_msat = 50000\ntimeout_ms = 20000\ncache_entries = 2\n"
    );
    let mut config = config_with(directory.path(), &lines);
    change(config.price_webhook.as_mut().unwrap());
    let clock = Arc::new(ManualClock::new(START_MS));
    (Server::start_with(directory, clock, config).await, service)
}

fn question(size: &str) -> Value {
    json!({"route": "quote", "service": "demo", "method": "GET", "path": "/v1/quote",
           "fields": [["query.size", size], ["header.x-model", null]]})
}

async fn ask(server: &Server, question: &Value) -> reqwest::Response {
    server.call(Method::POST, "/v1/prices").json(question).send().await.unwrap()
}

async fn price(server: &Server, question: &Value) -> Option<u64> {
    expect(ask(server, question).await, StatusCode::OK).await
}

#[tokio::test]
async fn what_the_service_says_is_the_price() {
    let (server, service) = server(|_| {}).await;
    for (said, price_msat) in [
        (r#"{"price_msat": 1500}"#, Some(1_500)),
        (r#"{"price_sats": 50}"#, Some(50_000)),
        (r#"{"price_msat": 10, "deny": false}"#, Some(10)),
        (r#"{"deny": true}"#, None),
    ] {
        service.says(200, said);
        assert_eq!(price(&server, &question("large")).await, price_msat, "{said}");
    }
    let asked = service.asked();
    assert_eq!(asked.len(), 4, "nothing is kept where cache_s is 0");
    assert_eq!(
        asked[0],
        json!({"route": "quote", "service": "demo", "method": "GET", "path": "/v1/quote",
               "fields": {"query.size": "large", "header.x-model": null}})
    );
    server.shutdown().await;
}

#[tokio::test]
async fn no_price_is_never_a_price() {
    let (server, service) = server(|_| {}).await;
    let long = format!(r#"{{"price_msat": 1500{}}}"#, " ".repeat(5_000));
    for (status, said) in [
        (200, r#"{"price_msat": 0}"#),
        (200, r#"{"price_msat": 9}"#),
        (200, r#"{"price_msat": 50001}"#),
        (200, r#"{"price_sats": 51}"#),
        (200, r#"{"price_sats": 18446744073709551615}"#),
        (200, r#"{"price_msat": -1}"#),
        (200, r#"{"price_msat": 1.5}"#),
        (200, r#"{"price_msat": 1500, "price_sats": 1}"#),
        (200, r#"{"price_msat": 1500, "deny": true}"#),
        (200, r#"{"price_msat": 1500, "free": true}"#),
        (200, "{}"),
        (200, "1500"),
        (200, &long),
        (204, r#"{"price_msat": 1500}"#),
        (500, r#"{"price_msat": 1500}"#),
    ] {
        service.says(status, said);
        let fault = problem(ask(&server, &question("large")).await).await;
        assert_eq!((fault.status, fault.code.as_str()), (503, "price_unknown"), "{status} {said}");
    }
    server.shutdown().await;

    // Without the block nobody is asked.
    let server = Server::start().await;
    let fault = problem(ask(&server, &question("large")).await).await;
    assert_eq!((fault.status, fault.code.as_str()), (503, "price_unknown"));
    server.shutdown().await;
}

#[tokio::test]
async fn a_service_that_is_silent_holds_nobody_for_longer_than_its_time() {
    let (server, service) = server(|it| it.timeout = Duration::from_millis(30)).await;
    service.says(200, "");
    // More than are asked at once: those that wait for their turn are answered as well.
    let asking = (0..200).map(|at| {
        let call = server.call(Method::POST, "/v1/prices").json(&question(&at.to_string()));
        tokio::spawn(call.send())
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(problem(answer.await.unwrap().unwrap()).await.code, "price_unknown");
    }
    // And none of them stands in the way of the next one.
    service.says(200, r#"{"price_msat": 1500}"#);
    let mut found = None;
    for _ in 0..100 {
        let reply = ask(&server, &question("large")).await;
        if reply.status() == StatusCode::OK {
            found = expect(reply, StatusCode::OK).await;
            break;
        }
    }
    assert_eq!(found, Some(1_500));
    server.shutdown().await;
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_and_within_the_bound() {
    let (server, service) = server(|it| it.cache = Duration::from_secs(60)).await;
    service.says(200, r#"{"price_msat": 1500}"#);
    for _ in 0..3 {
        assert_eq!(price(&server, &question("a")).await, Some(1_500));
    }
    assert_eq!(service.asked().len(), 1);
    // What is not sold is kept as well; what failed is not.
    service.says(200, r#"{"deny": true}"#);
    assert_eq!(price(&server, &question("b")).await, None);
    service.says(500, "{}");
    assert_eq!(price(&server, &question("b")).await, None);
    assert_eq!(problem(ask(&server, &question("c")).await).await.code, "price_unknown");
    assert_eq!(service.asked().len(), 2);
    // Its time is over.
    server.clock.advance_ms(60_000);
    service.says(200, r#"{"price_msat": 1600}"#);
    assert_eq!(price(&server, &question("a")).await, Some(1_600));
    // A third one does not fit beside the two that hold, and is answered all the same.
    for size in ["b", "c", "d", "a"] {
        assert_eq!(price(&server, &question(size)).await, Some(1_600), "{size}");
    }
    assert_eq!(service.asked().len(), 5, "c found no place, so a was forgotten");
    server.shutdown().await;
}

#[tokio::test]
async fn the_service_learns_who_pays_where_the_operator_says_so() {
    let (server, service) = server(|it| {
        it.tell_account = true;
        it.cache_entries = 10;
        it.cache = Duration::from_secs(60);
    })
    .await;
    service.says(200, r#"{"price_msat": 1500}"#);
    let [paid, other] = [server.paid(5_000).await, server.paid(5_000).await];
    let act = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8001", "actor": "ann",
                     "reason": "a test", "tier": "gold"});
    let path = format!("/admin/v1/accounts/{}/tier", paid.hash);
    assert_eq!(server.admin(Method::POST, &path).json(&act).send().await.unwrap().status(), 200);
    for hash in [None, Some(paid.hash), Some(other.hash), Some(paid.hash)] {
        let mut question = question("large");
        if let Some(hash) = hash {
            question["paid"] = json!(hash);
        }
        assert_eq!(price(&server, &question).await, Some(1_500));
    }
    let asked = service.asked();
    assert_eq!(asked.len(), 3, "the last one is known");
    let told = |at: usize| (asked[at].get("account"), asked[at].get("tier"));
    assert_eq!(told(0), (None, None));
    assert_eq!(told(1), (Some(&json!(paid.hash)), Some(&json!("gold"))));
    assert_eq!(told(2), (Some(&json!(other.hash)), None));
    server.shutdown().await;
}
