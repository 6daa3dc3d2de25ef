//! The ways to pay: for one request, and for time.

use serde_json::{Value, json};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config};

async fn with(change: impl FnOnce(&mut Value)) -> Gateway {
    let mut filter = config();
    change(&mut filter);
    Gateway::with(StackOptions { filter: Some(filter), ..StackOptions::default() }).await
}

/// A route of [`config`] by its name.
fn route<'a>(filter: &'a mut Value, name: &str) -> &'a mut Value {
    let routes = filter["routes"].as_array_mut().unwrap();
    routes.iter_mut().find(|route| route["name"] == name).unwrap()
}

#[tokio::test]
async fn a_token_for_one_request_serves_one() {
    let gateway = with(|filter| route(filter, "joke")["mode"] = json!("single_use")).await;
    let challenge = gateway.http.get("/api/joke", None).await;
    assert_eq!(challenge.json()["amountSats"], 5);
    let credential = gateway.http.pay(&challenge).await;
    assert_eq!(gateway.http.get("/api/joke", Some(&credential)).await.status, 200);
    let again = gateway.http.get("/api/joke", Some(&credential)).await;
    assert_eq!((again.status.as_u16(), again.code()), (402, "credential_used".into()));
    let next = gateway.http.pay(&again).await;
    assert_eq!(gateway.http.get("/api/joke", Some(&next)).await.status, 200);
    assert_eq!(gateway.http.get("/api/joke", Some(&credential)).await.status, 402);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 2);
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test]
async fn a_session_is_unlimited_until_it_ends_and_needs_no_tollwayd() {
    let mut gateway =
        with(|filter| route(filter, "joke")["mode"] = json!({"session": {"duration_s": 4}})).await;
    let credit = gateway.http.buy("/echo").await;
    let session = gateway.http.buy("/api/joke").await;
    for (path, credential) in [("/api/joke", &credit), ("/echo", &session)] {
        let answer = gateway.http.get(path, Some(credential)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (402, "wrong_tier".into()), "{path}");
    }
    gateway.stack.kill_tollwayd();
    for _ in 0..20 {
        let answer = gateway.http.get("/api/joke", Some(&session)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-toll-tier"), "session");
        assert_eq!(answer.number("x-toll-cost-msat"), 0);
    }
    crate::harness::eventually("the session has ended", async || {
        // Its time is over; the answer to that would be a challenge, for which tollwayd is gone.
        (gateway.http.get("/api/joke", Some(&session)).await.status == 503).then_some(())
    })
    .await;
}
