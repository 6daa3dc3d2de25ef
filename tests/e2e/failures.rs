//! tollwayd down, slow, or not itself: 503, nothing served, and all is well afterwards.

use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::any;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config, eventually};

/// Asks with and without a credential; both must get 503 and neither may pass.
async fn fails_closed(gateway: &Gateway, credential: &str, name: &str) {
    let hits = gateway.stack.upstream().hits().of("/api/joke");
    let errors = gateway.decided("error").await;
    for credential in [Some(credential), None] {
        let answer = gateway.http.get("/api/joke", credential).await;
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
        assert_eq!(answer.header("retry-after"), "1", "{name}");
        assert_eq!(answer.code(), "payments_unavailable", "{name}");
        assert_eq!(answer.header("www-authenticate"), "", "{name}: never a new invoice");
    }
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), hits, "{name}");
    assert_eq!(gateway.decided("error").await, errors + 2, "{name}");
    assert_eq!(gateway.http.get("/", None).await.status, 200, "{name}: free pages stay up");
}

/// A short time limit, so that a slow tollwayd shows soon.
fn impatient() -> StackOptions {
    let mut config = config();
    config["tollwayd"]["timeout_ms"] = json!(300);
    StackOptions { filter: Some(config), ..StackOptions::default() }
}

#[tokio::test]
async fn whatever_tollwayd_does_the_gate_stays_closed_and_recovers() {
    let mut gateway = Gateway::with(impatient()).await;
    let credential = gateway.http.buy("/api/joke").await;

    gateway.stack.kill_tollwayd();
    fails_closed(&gateway, &credential, "down").await;

    let answer = |status: StatusCode, body: &'static str| {
        Router::new().fallback(any(async move || (status, body).into_response()))
    };
    let granted = r#"{"outcome":"granted","account":"00","granted_msat":5000,"balance_msat":1}"#;
    for (name, stub) in [
        ("a server error", answer(StatusCode::INTERNAL_SERVER_ERROR, "{}")),
        ("garbage", answer(StatusCode::OK, "<html>hello</html>")),
        ("half an answer", answer(StatusCode::OK, r#"{"outcome":"granted","acc"#)),
        ("a grant that is none", answer(StatusCode::OK, granted)),
        ("not found", answer(StatusCode::NOT_FOUND, "{}")),
        ("a redirect", answer(StatusCode::FOUND, "")),
        ("no content", answer(StatusCode::NO_CONTENT, "")),
    ] {
        gateway.stack.replace_tollwayd(stub).await.unwrap();
        fails_closed(&gateway, &credential, name).await;
    }
    let slow = Router::new().fallback(any(async || {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }));
    gateway.stack.replace_tollwayd(slow).await.unwrap();
    fails_closed(&gateway, &credential, "slow").await;

    gateway.stack.start_tollwayd().await.unwrap();
    eventually("the gateway serves again", async || {
        let answer = gateway.http.get("/api/joke", Some(&credential)).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let stats = gateway.ledger_at_rest().await;
    let served = gateway.stack.upstream().hits().of("/api/joke");
    assert_eq!(stats["charged_msat"], served * 5_000, "only what was served is charged: {stats}");
    gateway.audit();
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http_is_a_503() {
    let mut gateway = Gateway::with(impatient()).await;
    let credential = gateway.http.buy("/api/joke").await;
    let listener = gateway.stack.take_gate_port().await.unwrap();
    let babble = tokio::spawn(async move {
        while let Ok((mut peer, _)) = listener.accept().await {
            let _ = peer.write_all(b"\x00\xffnot http at all\r\n\r\n").await;
        }
    });
    fails_closed(&gateway, &credential, "babble").await;
    babble.abort();
}

#[tokio::test]
async fn a_gateway_that_starts_alone_serves_free_pages_and_503_until_tollwayd_comes() {
    let mut gateway = Gateway::start().await;
    let credential = gateway.http.buy("/api/joke").await;
    gateway.stack.kill_tollwayd();
    gateway.stack.kill_envoy();
    // Without tollwayd no worker can get its keys, so readiness must not ask for them.
    let mut alone = Gateway::with(StackOptions { ready_path: None, ..impatient() }).await;
    alone.stack.kill_tollwayd();
    alone.stack.kill_envoy();
    alone.stack.start_envoy().await.unwrap();
    fails_closed(&alone, &credential, "no keyring").await;
    alone.stack.start_tollwayd().await.unwrap();
    eventually("the first challenge", async || {
        (alone.http.get("/api/joke", None).await.status == 402).then_some(())
    })
    .await;
}

#[tokio::test]
async fn failure_mode_allow_is_a_choice_that_is_counted() {
    let mut config = config();
    config["failure_mode_allow"] = json!(true);
    let options = StackOptions { filter: Some(config), ..StackOptions::default() };
    let mut gateway = Gateway::with(options).await;
    assert_eq!(gateway.http.get("/api/joke", None).await.status, 402);
    // While Envoy started, requests may have passed already.
    let before = gateway.decided("failure_mode_allowed").await;
    gateway.stack.kill_tollwayd();
    assert_eq!(gateway.http.get("/api/joke", None).await.status, 200);
    assert_eq!(gateway.decided("failure_mode_allowed").await, before + 1);
}

#[tokio::test]
async fn a_client_that_leaves_while_the_gate_decides_loses_nothing() {
    let mut gateway = Gateway::start().await;
    let credential = gateway.http.buy("/api/joke").await;
    let arrived = std::sync::Arc::new(tokio::sync::Notify::new());
    let seen = std::sync::Arc::clone(&arrived);
    let silent = Router::new().fallback(any(async move || {
        seen.notify_one();
        std::future::pending::<()>().await;
    }));
    gateway.stack.replace_tollwayd(silent).await.unwrap();
    let http = gateway.http.clone();
    let request = {
        let credential = credential.clone();
        tokio::spawn(async move { http.get("/api/joke", Some(&credential)).await })
    };
    // Keyring calls come by too; the second call at the latest is the hold.
    arrived.notified().await;
    arrived.notified().await;
    request.abort();
    eventually("the request counts as abandoned", async || {
        (gateway.decided("abandoned").await == 1).then_some(())
    })
    .await;
    gateway.stack.start_tollwayd().await.unwrap();
    let balance = eventually("the gateway serves again", async || {
        let answer = gateway.http.get("/api/joke", Some(&credential)).await;
        (answer.status == 200).then(|| answer.number("x-toll-balance-msat"))
    })
    .await;
    assert_eq!(balance, 15_000);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 5_000);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 1);
}

#[tokio::test]
async fn no_credit_stays_set_aside_for_clients_that_left_while_tollwayd_was_slow() {
    const CLIENTS: u64 = 60;
    let mut leased = config();
    leased["services"][0]["spend"] = json!("leased");
    leased["services"][0]["lease_max_sats"] = json!(10);
    for mut config in [config(), leased] {
        // What is to be reported waits for the report before, of which nobody hears.
        config["tollwayd"]["timeout_ms"] = json!(1_000);
        let options = StackOptions { filter: Some(config), ..StackOptions::default() };
        let gateway = Gateway::with(options).await;
        let mut credentials = Vec::new();
        for _ in 0..CLIENTS {
            credentials.push(gateway.http.buy("/echo").await);
        }
        for _ in 0..5 {
            gateway.stack.pause_tollwayd();
            leave_while_holds_are_asked_for(&gateway, &credentials).await;
            gateway.stack.resume_tollwayd();
            eventually("every call is answered", async || {
                (calls_under_way(&gateway).await == 0).then_some(())
            })
            .await;
        }
        // Long before the holds end by themselves, after five minutes.
        let stats = gateway.ledger_at_rest().await;
        assert_eq!((&stats["held_msat"], &stats["charged_msat"]), (&json!(0), &json!(0)));
        assert!(gateway.decided("abandoned").await > CLIENTS);
        gateway.audit();
    }
}

/// What Envoy waits for from tollwayd.
async fn calls_under_way(gateway: &Gateway) -> u64 {
    gateway.stack.envoy_stat("cluster.tollwayd.upstream_rq_active").await.unwrap()
}

/// One request with each credential, none of which waits for its answer. Returns when what ends
/// their holds is on its way.
async fn leave_while_holds_are_asked_for(gateway: &Gateway, credentials: &[String]) {
    let clients: Vec<_> = credentials
        .iter()
        .map(|credential| {
            let (http, credential) = (gateway.http.clone(), credential.clone());
            tokio::spawn(async move { http.get("/echo", Some(&credential)).await })
        })
        .collect();
    // On a busy machine some calls may be over before the last client has come.
    let waiting =
        async || gateway.stack.envoy_stat("http.gateway.downstream_rq_active").await.unwrap();
    eventually("most of them wait for their holds", async || {
        // Holds of one turn share a call, so that there are fewer calls than holds.
        let most = waiting().await >= credentials.len() as u64 / 2;
        (most && calls_under_way(gateway).await > 0).then_some(())
    })
    .await;
    clients.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("all of them have left", async || (waiting().await == 0).then_some(())).await;
    let sent =
        async || gateway.stack.envoy_stat("cluster.tollwayd.upstream_rq_total").await.unwrap();
    let before = sent().await;
    // It waits beside the holds, and tollwayd may look at either first.
    eventually("their holds are to be released", async || (sent().await > before).then_some(()))
        .await;
}
