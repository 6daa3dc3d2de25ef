//! News of payments at a real receiver: signed, at least once, and only where they may go.

use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tollwayd::clock::ManualClock;
use tollwayd::config::{Config, RawConfig};

use crate::process::{Process, tollwayd};
use crate::support::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../envoy/tollwayd.toml");
const SECRET: &str = "canary-webhook-secret-5c2e";
/// Twice what a try may take: as long as nobody else sends the same.
const LEASE_MS: u64 = 40_000;

/// A receiver, and all that it was sent.
#[derive(Clone)]
pub(crate) struct Receiver {
    url: String,
    seen: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    /// What it answers from now on.
    answers: Arc<Mutex<Answer>>,
}

#[derive(Clone, Copy)]
enum Answer {
    Status(u16),
    /// To its own other door.
    Redirect,
    Never,
}

impl Receiver {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let receiver =
            Self { url, seen: Arc::default(), answers: Arc::new(Mutex::new(Answer::Status(204))) };
        let router = Router::new()
            .route("/hook", post(receive))
            .route("/other", post(receive).get(receive))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    fn answer(&self, answer: Answer) {
        *self.answers.lock().unwrap() = answer;
    }

    fn bodies(&self) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect()
    }

    async fn seen(&self, number: usize) -> Vec<Value> {
        until("delivered", async || (self.bodies().len() >= number).then(|| self.bodies())).await
    }
}

async fn receive(
    State(receiver): State<Receiver>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let body = String::from_utf8(body.to_vec()).unwrap();
    receiver.seen.lock().unwrap().push((headers, body));
    let answer = *receiver.answers.lock().unwrap();
    let location = [(header::LOCATION, "/other")];
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Redirect => (StatusCode::TEMPORARY_REDIRECT, location).into_response(),
        Answer::Never => std::future::pending().await,
    }
}

fn text(url: &str, more: &str) -> String {
    let example = include_str!("../../../../envoy/tollwayd.toml");
    format!(
        "{example}\n[[webhooks]]\nname = \"books\"\nurl = \"{url}\"\n\
         secret = \"env:WEBHOOK_SECRET\"\n{more}\n"
    )
}

fn config(directory: &Path, url: &str, more: &str) -> Result<Config, String> {
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        "WEBHOOK_SECRET" => Some(SECRET.to_owned()),
        _ => None,
    };
    let raw = RawConfig::parse(&text(url, more)).map_err(|error| error.to_string())?;
    raw.resolve(&env).map_err(|error| error.to_string())
}

async fn server(receiver: &Receiver) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("{}/hook", receiver.url);
    let config = config(directory.path(), &url, "allow_private = true").unwrap();
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

#[tokio::test]
async fn a_payment_is_told_with_a_signature_and_without_its_proof() {
    let receiver = Receiver::start().await;
    let server = server(&receiver).await;
    let paid = server.paid(21_000).await;
    let body = receiver.seen(1).await.pop().unwrap();
    assert_eq!(body["type"], "payment");
    assert_eq!(body["payment_hash"], json!(paid.hash));
    assert_eq!(body["account"], json!(paid.hash));
    assert_eq!(body["amount_msat"], 21_000);
    assert_eq!((&body["route"], &body["settled_at"]), (&json!("joke"), &json!(START_MS / 1_000)));
    let (headers, text) = receiver.seen.lock().unwrap()[0].clone();
    let preimage = serde_json::to_value(hold_request(&paid, 1)).unwrap()["preimage"].clone();
    assert!(!text.contains(preimage.as_str().unwrap()), "{text}");
    assert!(!format!("{headers:?}{text}").contains("canary"), "no secret travels");
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{}.{text}", START_MS / 1_000).as_bytes());
    let signed = hex::encode(mac.finalize().into_bytes());
    let expected = format!("t={},v1={signed}", START_MS / 1_000);
    assert_eq!(headers["tollway-signature"], expected);
    assert_eq!(headers["content-type"], "application/json");

    // A top-up pays into the same account, and a refund names it.
    let top_up = server.invoice(1_000, Some(paid.hash)).await;
    server.paid_invoice(&top_up).await;
    let bodies = receiver.seen(2).await;
    assert_eq!(bodies[1]["type"], "top_up");
    assert_eq!(bodies[1]["account"], json!(paid.hash));
    assert_ne!(bodies[0]["id"], bodies[1]["id"]);
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_not_taken_comes_again_until_it_is_given_up_and_then_by_the_command_line() {
    let nowhere = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(500));
    let server = server(&receiver).await;
    server.paid(21_000).await;
    receiver.seen(1).await;
    let failed = async |number: u32| {
        let line = format!("tollwayd_deliveries_total{{outcome=\"delayed\"}} {number}\n");
        until(&line, async || server.metrics().await.contains(&line).then_some(())).await;
    };
    failed(1).await;
    // A redirect is no answer, and nobody goes where it points.
    receiver.answer(Answer::Redirect);
    server.clock.advance_ms(5_000);
    receiver.seen(2).await;
    failed(2).await;
    assert_eq!(receiver.bodies().len(), 2, "no third call, to the other door");
    receiver.answer(Answer::Status(500));
    for tries in 3..32 {
        server.clock.advance_ms(3_600_000);
        failed(tries).await;
    }
    server.clock.advance_ms(3_600_000);
    let given_up = "tollwayd_deliveries_total{outcome=\"given_up\"} 1\n";
    until(given_up, async || server.metrics().await.contains(given_up).then_some(())).await;
    let bodies = receiver.seen(32).await;
    assert_eq!(bodies.len(), 32);
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "the same in every try");
    let call = server.admin(reqwest::Method::GET, "/admin/v1/actions");
    let audit: Value = expect(call.send().await.unwrap(), reqwest::StatusCode::OK).await;
    assert!(audit.to_string().contains("the receiver answered 500"), "{audit}");

    // Its operator asks for it once it is back. The server answers from this thread, so that the
    // command waits on another.
    receiver.answer(Answer::Status(200));
    let command = async |arguments: &[&str]| {
        let head = ["admin", "--config", EXAMPLE, "--url", &server.admin];
        let mut command = tollwayd(nowhere.path(), &[&head, arguments].concat());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = command(&["deliveries"]).await;
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, err.as_str(), shown.as_array().unwrap().len()), (0, "", 1), "{out}");
    assert_eq!((shown[0]["target"].as_str(), &shown[0]["attempts"]), (Some("books"), &json!(32)));
    let id = shown[0]["id"].as_str().unwrap();
    let retry = ["retry", id, "--reason", "it is back"];
    let done = (0, "{\"outcome\":\"done\"}\n".to_owned(), String::new());
    assert_eq!(command(&retry).await, done);
    assert_eq!(receiver.seen(33).await[32], bodies[0]);
    let sent = "tollwayd_deliveries_total{outcome=\"sent\"} 1\n";
    until(sent, async || server.metrics().await.contains(sent).then_some(())).await;
    assert_eq!(command(&["deliveries"]).await.1, "[]\n");
    let (_, out, _) = command(&["actions"]).await;
    assert!(out.contains("it is back"), "{out}");
    // It is delivered, and another never was.
    let (code, _, err) = command(&retry).await;
    assert!(code == 70 && err.contains("409 Conflict"), "{err}");

    let admin = async |path: String, body: Value| {
        let path = format!("/admin/v1/deliveries{path}");
        let call = server.admin(reqwest::Method::POST, &path).json(&body);
        problem(call.send().await.unwrap()).await
    };
    let order = json!({"id": new_id(), "actor": "ann", "reason": "once more"});
    let refused = admin(format!("/{id}/retry"), order.clone()).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "not_given_up"));
    let refused = admin(format!("/{}/retry", new_id()), order.clone()).await;
    assert_eq!((refused.status, refused.code.as_str()), (404, "delivery_unknown"));
    assert_eq!(admin("/x/retry".to_owned(), order).await.code, "invalid_path");
    server.shutdown().await;
}

#[tokio::test]
async fn what_was_under_way_when_the_server_stopped_comes_again() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Never);
    let server = server(&receiver).await;
    server.paid(21_000).await;
    receiver.seen(1).await;
    let Stopped { directory, clock } = server.stop().await;
    receiver.answer(Answer::Status(200));
    let url = format!("{}/hook", receiver.url);
    let config = config(directory.path(), &url, "allow_private = true").unwrap();
    clock.advance_ms(LEASE_MS);
    let server = Server::start_with(directory, clock, config).await;
    let bodies = receiver.seen(2).await;
    assert_eq!(bodies[0], bodies[1], "under the same id");
    server.shutdown().await;
}

#[tokio::test]
async fn a_kill_between_the_credit_and_the_news_loses_none() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hooks.toml");
    let url = format!("{}/hook", receiver.url);
    std::fs::write(&file, text(&url, "allow_private = true")).unwrap();
    let start = || {
        let secret = ("WEBHOOK_SECRET", SECRET);
        Process::start_with(directory.path(), file.to_str().unwrap(), &[secret])
    };
    let mut paid = Vec::new();
    for _ in 0..4 {
        let process = start();
        paid.push(json!(process.doors.paid(21_000).await.hash));
        process.kill_9();
    }
    let process = start();
    for hash in paid {
        let arrived = async || {
            let bodies = receiver.bodies();
            bodies.iter().any(|body| body["payment_hash"] == hash).then_some(())
        };
        until("arrived", arrived).await;
    }
    process.kill_9();
}

#[test]
fn addresses_inside_are_refused_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    for (url, more, said) in [
        ("https://127.0.0.1/x", "", "webhooks.url: \"books\": expected a public address"),
        ("https://[::ffff:10.0.0.1]/x", "", "expected a public address"),
        ("http://hooks.example/canary", "", "expected https"),
        ("hooks.example", "", "expected an address like"),
        ("https://hooks.example/", "events = []", "webhooks.events"),
        ("https://hooks.example/", "events = [\"joke\"]", "unknown variant `joke`"),
    ] {
        let error = config(directory.path(), url, more).unwrap_err();
        assert!(error.contains(said) && !error.contains("canary"), "{url}: {error}");
    }
    let twice = "[[webhooks]]\nname = \"books\"\nurl = \"https://a.example/\"\n\
                 secret = \"env:WEBHOOK_SECRET\"";
    let error = config(directory.path(), "https://hooks.example/", twice).unwrap_err();
    assert!(error.contains("each name once"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_inside_gets_nothing() {
    let receiver = Receiver::start().await;
    let directory = tempfile::tempdir().unwrap();
    let url = format!("{}/hook", receiver.url).replace("http", "https");
    let url = url.replace("127.0.0.1", "localhost");
    let config = config(directory.path(), &url, "").unwrap();
    let server = Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await;
    server.paid(21_000).await;
    let delayed = "tollwayd_deliveries_total{outcome=\"delayed\"} 1\n";
    until(delayed, async || server.metrics().await.contains(delayed).then_some(())).await;
    assert_eq!(receiver.bodies().len(), 0);
    server.shutdown().await;
}
