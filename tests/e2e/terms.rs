//! Prices by the account's tier and in other money, as docs/pricing.md has them.

use std::process::Command;

use reqwest::Method;
use serde_json::json;
use tollway_testkit::stack::Parts;

use crate::harness::{Gateway, eventually};
use crate::snippets;

/// Waits until the filter has its keys.
async fn ready(gateway: &Gateway, path: &str) {
    eventually("the filter has its keys", async || {
        (gateway.http.get(path, None).await.status == 402).then_some(())
    })
    .await;
}

/// Has the operator's command say what kind of customer an account is.
fn give(gateway: &Gateway, account: &str, tier: &str) {
    let output = Command::new(&Parts::locate().unwrap().tollwayd)
        .args(["admin", "--config"])
        .arg(gateway.stack.tollwayd_config().unwrap())
        .args(["--url", &gateway.stack.admin_url(), "tier", account, tier, "--reason", "a test"])
        .envs(gateway.stack.store_env())
        .env("TOLLWAY_GATE_TOKEN", gateway.stack.gate_token())
        .env("TOLLWAY_ADMIN_TOKEN", gateway.stack.admin_token())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_pays_the_price_of_its_tier_from_the_next_request_on() {
    let gateway = snippets::gateway("tier").await;
    ready(&gateway, "/v1/joke").await;
    let credential = gateway.http.buy("/v1/joke").await;
    let mut charged = 0;
    for (tier, cost, seen) in [
        (None, 5_000, ""),
        (Some("gold"), 1_000, "gold"),
        (Some("new"), 5_000, "new"),
        (Some("partner"), 500, "partner"),
        (Some(""), 5_000, ""),
    ] {
        if let Some(tier) = tier {
            let account = gateway.http.get("/v1/joke", Some(&credential)).await;
            charged += account.number("x-toll-cost-msat");
            let account = account.json()["headers"]["x-toll-account"].as_str().unwrap().to_owned();
            give(&gateway, &account, tier);
        }
        // Both workers, one of which learned another tier before.
        for _ in 0..6 {
            let http = gateway.http.fresh();
            let request = http.request(Method::GET, "/v1/joke");
            let request = request.header("authorization", &credential);
            let answer = http.send(request.header("x-toll-tier", "gold")).await;
            assert_eq!((answer.status.as_u16(), answer.number("x-toll-cost-msat")), (200, cost));
            let headers = &answer.json()["headers"];
            assert_eq!(headers["x-toll-tier"].as_str().unwrap_or_default(), seen);
            charged += cost;
        }
        let unpaid = gateway.http.get("/v1/joke", None).await;
        assert_eq!(unpaid.json()["priceMsat"], 5_000);
    }
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], charged);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_in_dollars_follows_the_rate_and_closes_without_one() {
    let rates = snippets::tollwayd("rates");
    let (gateway, _dir) = snippets::with_tollwayd("fiat", &rates).await;
    ready(&gateway, "/v1/report").await;
    let credential = gateway.http.buy("/v1/report").await;
    for (path, cost) in
        [("/v1/report", 3_125), ("/v1/search", 1_000), ("/v1/search?depth=deep", 15_625)]
    {
        let unpaid = gateway.http.get(path, None).await;
        assert_eq!(unpaid.json()["priceMsat"], cost, "{path}");
        let answer = gateway.http.get(path, Some(&credential)).await;
        assert_eq!((answer.status.as_u16(), answer.number("x-toll-cost-msat")), (200, cost));
    }
    gateway.ledger_at_rest().await;
    gateway.audit();

    let closed = snippets::gateway("fiat").await;
    ready(&closed, "/v1/search").await;
    for credential in [None, Some(credential.as_str())] {
        let answer = closed.http.get("/v1/report", credential).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "payments_unavailable".into()));
    }
    assert_eq!(closed.stack.upstream().hits().total(), 0);
    assert_eq!(closed.http.stats().await["totalRequests"], json!(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_of_a_tier_gets_more_credit_for_its_money() {
    let lines = snippets::tollwayd("tier-credit");
    let (gateway, _dir) = snippets::with_tollwayd("tier", &lines).await;
    ready(&gateway, "/v1/joke").await;
    let credential = gateway.http.buy("/v1/joke").await;
    let paid = gateway.http.get("/v1/joke", Some(&credential)).await;
    let account = paid.json()["headers"]["x-toll-account"].as_str().unwrap().to_owned();
    let mut balance = paid.number("x-toll-balance-msat");
    // What a million msat bring.
    for (tier, credit) in [("silver", 1_000_000), ("gold", 1_200_000)] {
        give(&gateway, &account, tier);
        let request = gateway.http.request(Method::GET, "/v1/joke");
        let request = request.header("authorization", &credential).header("x-toll-top-up", "1");
        let offer = gateway.http.send(request).await;
        let body = offer.json();
        assert_eq!((offer.status.as_u16(), &body["amountSats"]), (402, &json!(1_000)));
        assert_eq!(body["creditMsat"], credit, "{tier}");
        gateway.http.pay(&offer).await;
        let paid = gateway.http.get("/v1/joke", Some(&credential)).await;
        balance += credit - paid.number("x-toll-cost-msat");
        assert_eq!(paid.number("x-toll-balance-msat"), balance, "{tier}");
    }
    gateway.ledger_at_rest().await;
    gateway.audit();
}
