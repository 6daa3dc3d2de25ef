//! A customer hands agents narrower tokens; the ledger keeps each within its budget.

use serde_json::{Value, json};
use tollway_core::macaroon::Macaroon;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config};

const PRICE_MSAT: u64 = 1_000;

/// The same credential, narrowed by these caveats.
fn narrowed(credential: &str, caveats: &[&str]) -> String {
    let (macaroon, preimage) = credential.strip_prefix("L402 ").unwrap().split_once(':').unwrap();
    let token = Macaroon::from_base64(macaroon.as_bytes()).unwrap();
    let token = caveats.iter().fold(token, |token, caveat| token.attenuate(caveat.as_bytes()));
    format!("L402 {}:{preimage}", token.to_base64())
}

fn with_credit(spend: Option<&str>) -> Value {
    let mut config = config();
    config["services"][0] = json!({"name": "demo", "purchase": {"default_sats": 100}});
    if let Some(spend) = spend {
        config["services"][0]["spend"] = json!(spend);
        config["services"][0]["lease_max_sats"] = json!(40);
    }
    config
}

async fn gateway(spend: Option<&str>) -> Gateway {
    let filter = Some(with_credit(spend));
    Gateway::with(StackOptions { filter, ..StackOptions::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_spend_what_they_may_and_no_more() {
    let gateway = gateway(None).await;
    let whole = gateway.http.buy("/echo").await;
    let team = ["budget=12000/month/team"];
    let agent = |name: &str| narrowed(&whole, &[team[0], &format!("budget=8000/total/{name}")]);
    let (first, second) = (agent("one"), agent("two"));

    // A refunded request gives the budget back.
    for _ in 0..12 {
        let answer = gateway.http.get("/status/500", Some(&first)).await;
        assert_eq!((answer.status.as_u16(), answer.number("x-toll-cost-msat")), (500, 0));
        gateway.ledger_at_rest().await;
    }
    // Requests at once, on both workers: exactly eight of twenty are served.
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (http, first) = (gateway.http.fresh(), first.clone());
            tokio::spawn(async move { http.get("/echo", Some(&first)).await })
        })
        .collect();
    let mut served = 0;
    for task in tasks {
        let answer = task.await.unwrap();
        match answer.status.as_u16() {
            200 => served += 1,
            403 => {
                assert_eq!(answer.code(), "budget_exhausted");
                assert_eq!(answer.header("www-authenticate"), "", "nothing is for sale");
            }
            status => panic!("{status}: {answer:?}"),
        }
    }
    assert_eq!(served, 8);
    // The other one has eight of its own, but the team has four left, until the next month.
    for _ in 0..4 {
        assert_eq!(gateway.http.get("/echo", Some(&second)).await.status, 200);
    }
    let over = gateway.http.get("/echo", Some(&second)).await;
    assert_eq!((over.status.as_u16(), over.code()), (429, "budget_exhausted".into()));
    assert!((1..=31 * 86_400).contains(&over.number("retry-after")));
    // Whoever narrows it further gains nothing, nor does one who tries to widen it.
    for caveats in [&["budget=90000/day"][..], &["budget=90000/total/one", "method=GET"]] {
        let answer = gateway.http.get("/echo", Some(&narrowed(&second, caveats))).await;
        assert_eq!(answer.status, 429);
    }
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 12 * PRICE_MSAT);
    // The customer's own token is as it was.
    let answer = gateway.http.get("/echo", Some(&whole)).await;
    assert_eq!(answer.number("x-toll-balance-msat"), (100 - 13) * PRICE_MSAT);
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_leased_routes_too_and_beside_a_token_without_a_budget() {
    let gateway = gateway(Some("leased")).await;
    let whole = gateway.http.buy("/echo").await;
    let agent = narrowed(&whole, &["budget=5000/day/agent"]);
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let credential = if n % 2 == 0 { whole.clone() } else { agent.clone() };
            let http = gateway.http.fresh();
            tokio::spawn(async move { (n, http.get("/echo", Some(&credential)).await) })
        })
        .collect();
    let mut served = [0, 0];
    for task in tasks {
        let (n, answer) = task.await.unwrap();
        match (n % 2, answer.status.as_u16()) {
            (which, 200) => served[which] += 1,
            (1, 429) => assert_eq!(answer.code(), "budget_exhausted"),
            (which, status) => panic!("{which}: {status}: {answer:?}"),
        }
    }
    assert_eq!(served, [20, 5]);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 25 * PRICE_MSAT);
    gateway.audit();
}
