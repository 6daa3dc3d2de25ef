//! What is not delivered is not charged.

use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config};

#[tokio::test]
async fn failures_of_the_upstream_are_refunded() {
    let options = StackOptions {
        filter: Some(config()),
        envoy_env: vec![("TOLLWAY_UPSTREAM_TIMEOUT".into(), "1s".into())],
        ..StackOptions::default()
    };
    let gateway = Gateway::with(options).await;
    let credential = gateway.http.buy("/echo").await;
    let ask = async |path: &str| {
        // The balance counts live holds as spent; let the last one be returned first.
        gateway.ledger_at_rest().await;
        let answer = gateway.http.get(path, Some(&credential)).await;
        let cost = answer.number("x-toll-cost-msat");
        (answer.status.as_u16(), cost, answer.number("x-toll-balance-msat"))
    };
    assert_eq!(ask("/status/500").await, (500, 0, 20_000));
    assert_eq!(ask("/status/503").await, (503, 0, 20_000));
    // The upstream's own word on the request is worth its price.
    assert_eq!(ask("/status/404").await, (404, 1_000, 19_000));
    assert_eq!(ask("/status/201").await, (201, 1_000, 18_000));
    assert_eq!(ask("/reset").await, (503, 0, 18_000));
    assert_eq!(ask("/slow?ms=600000").await, (504, 0, 18_000));
    assert_eq!(ask("/slow?ms=1").await, (200, 1_000, 17_000));

    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 3_000);
    assert_eq!(ask("/echo").await, (200, 1_000, 16_000));
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test]
async fn a_route_says_which_statuses_cost_nothing() {
    let gateway = crate::snippets::gateway("refunds").await;
    let credential = gateway.http.buy("/status/200").await;
    for (status, cost) in [(200, 1_000), (404, 0), (403, 1_000), (500, 0), (503, 0)] {
        let answer = gateway.http.get(&format!("/status/{status}"), Some(&credential)).await;
        assert_eq!((answer.status.as_u16(), answer.number("x-toll-cost-msat")), (status, cost));
    }
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 2_000);
    gateway.audit();
}

#[tokio::test]
async fn a_client_that_hangs_up_before_the_answer_is_not_charged() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/slow").await;
    let http = gateway.http.clone();
    let waiting = {
        let credential = credential.clone();
        tokio::spawn(async move { http.get("/slow?ms=600000", Some(&credential)).await })
    };
    crate::harness::eventually("the request has reached the upstream", async || {
        (gateway.stack.upstream().hits().of("/slow") == 1).then_some(())
    })
    .await;
    waiting.abort();
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 0);
}
