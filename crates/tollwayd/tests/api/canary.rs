//! Secrets never reach the log, at any level.

use std::io::Write;
use std::sync::{Arc, Mutex};

use reqwest::{Method, StatusCode};
use serde_json::json;
use tollway_core::wire::KeyringReply;
use tollwayd::config::{LogConfig, LogFormat, LogLevel};
use tollwayd::telemetry;

use crate::support::*;

/// What was logged, by all tests of this process.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_logged_even_at_trace() {
    let sink = Sink::default();
    let writer = sink.clone();
    let config = LogConfig { format: LogFormat::Json, level: LogLevel::Trace };
    let subscriber = telemetry::subscriber(config, move || writer.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let server = Server::start().await;
    let invoice = server.invoice(10_000, None).await;
    let paid = server.paid_invoice(&invoice).await;
    let id = new_id();
    server.hold(id, &paid, 1_000).await;
    server.put_hold(id, &hold_request(&paid, 2_000)).await;
    server.post(vec![posting(id, 0, 1_000, true)]).await;
    let keys = server.call(Method::GET, "/v1/keyring").send().await.unwrap();
    let keys: KeyringReply = expect(keys, StatusCode::OK).await;
    server.admin(Method::POST, "/admin/v1/keys/rotate").send().await.unwrap();
    // Secrets in the wrong place: a bad token, a path, a field's name, value and type.
    let bad_token = server.client.get(server.gate.clone() + "/v1/keyring");
    bad_token.bearer_auth("canary-bad-token").send().await.unwrap();
    server.call(Method::PUT, "/v1/holds/canary-path?q=canary-query").send().await.unwrap();
    for body in [
        json!({"canary-field": 1}),
        json!({"route": 1, "preimage": "canary-value"}),
        json!({"amount_msat": "canary-amount"}),
    ] {
        server.challenge(body).await;
    }
    server.pay("lnbcrt1canary-invoice").await;
    server.restart().await.shutdown().await;

    let log = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("tollwayd serves") && log.contains("hold_conflict"), "{log}");
    let mut secrets = vec![
        "canary".to_owned(),
        paid.preimage.reveal_hex(),
        invoice.invoice.clone(),
        value(&keys.seed).as_str().unwrap().to_owned(),
    ];
    secrets.extend(keys.keys.iter().map(|key| value(&key.secret).as_str().unwrap().to_owned()));
    for secret in secrets {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "a secret was logged");
    }
}
