//! Leases over two workers: as exact as holds of their own while nobody dies, and within the
//! documented bound when somebody does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, Http, config, eventually};

const PRICE_MSAT: u64 = 1_000;
const LEASE_MAX_SATS: u64 = 40;
/// The price of an exact request that needs all that is left.
const WHOLE_SATS: u64 = 200;

/// The scenarios' routes, paid from leases up to the price of a joke's.
fn leased(credit_sats: u64) -> Value {
    let mut config = config();
    config["services"][0] = json!({
        "name": "demo",
        "purchase": {"default_sats": credit_sats},
        "spend": "leased",
        "lease_max_sats": LEASE_MAX_SATS,
        "exact_above_sats": 4
    });
    config["lease_idle_s"] = json!(1);
    config
}

async fn gateway(credit_sats: u64) -> Gateway {
    let filter = Some(leased(credit_sats));
    Gateway::with(StackOptions { filter, ..StackOptions::default() }).await
}

async fn lease_events(gateway: &Gateway, event: &str) -> u64 {
    let name = format!("wasmcustom.tollway_leases.event={event}");
    gateway.stack.envoy_stat(&name).await.unwrap()
}

/// Sends `n` requests one after the other and returns the statuses.
async fn in_turn(http: Http, credential: String, n: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..n {
        statuses.push(http.get("/echo", Some(&credential)).await.status.as_u16());
    }
    statuses
}

/// So many clients at once, each on a connection of its own.
async fn crowd(http: &Http, credential: &str, clients: usize, n: usize) -> Vec<u16> {
    let tasks: Vec<_> = (0..clients)
        .map(|_| tokio::spawn(in_turn(http.fresh(), credential.to_owned(), n)))
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.extend(task.await.unwrap());
    }
    statuses
}

fn served(statuses: &[u16]) -> u64 {
    statuses.iter().filter(|status| **status == 200).count() as u64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_need_few_holds_and_are_charged_exactly() {
    let gateway = gateway(5_000).await;
    let credential = gateway.http.buy("/echo").await;
    let statuses = crowd(&gateway.http, &credential, 16, 100).await;
    assert_eq!(served(&statuses), 1_600, "{statuses:?}");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 1_600 * PRICE_MSAT);
    assert_eq!((&stats["totalPaid"], &stats["refunds"]["uncharged"]), (&json!(1_600), &json!(0)));
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 1_600);
    assert!(lease_events(&gateway, "refilled").await > 0);
    assert!(lease_events(&gateway, "returned").await > 0, "it was idle in the end");
    let alone = lease_events(&gateway, "bypassed").await;
    println!("{alone} of 1600 requests placed a hold of their own");

    let answer = gateway.http.get("/echo", Some(&credential)).await;
    assert_eq!(answer.number("x-toll-balance-msat"), (5_000 - 1_601) * PRICE_MSAT);
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_for_k_requests_admits_exactly_k_from_leases_too() {
    let gateway = gateway(50).await;
    let credential = gateway.http.buy("/echo").await;
    let statuses = crowd(&gateway.http, &credential, 20, 10).await;
    assert_eq!(served(&statuses), 50, "{statuses:?}");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 50 * PRICE_MSAT);
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 50);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_delivered_is_not_charged_to_a_lease() {
    let gateway = gateway(30).await;
    let credential = gateway.http.buy("/echo").await;
    for _ in 0..40 {
        // Forty would not do if they were charged, and each waits for its credit to return.
        eventually("the refunded credit is back", async || {
            let answer = gateway.http.get("/status/500", Some(&credential)).await;
            (answer.status == 500 && answer.number("x-toll-cost-msat") == 0).then_some(())
        })
        .await;
    }
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 0);
    let answer = gateway.http.get("/echo", Some(&credential)).await;
    assert_eq!(answer.number("x-toll-balance-msat"), 29 * PRICE_MSAT);
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_on_lease_pays_for_exact_requests_to_the_last_sat() {
    let mut filter = leased(300);
    // Nothing is idle before the last request, and all of it is soon after.
    filter["lease_idle_s"] = json!(5);
    filter["routes"][0]["price_sats"] = json!(WHOLE_SATS);
    let options = StackOptions { filter: Some(filter), ..StackOptions::default() };
    let gateway = Gateway::with(options).await;
    let credential = gateway.http.buy("/echo").await;
    let spend = async |path: &str| gateway.http.get(path, Some(&credential)).await;
    for left in (WHOLE_SATS + 1..=300).rev() {
        let answer = spend("/echo").await;
        assert_eq!(answer.status, 200, "{left} left: {answer:?}");
    }
    let spent_msat = (300 - WHOLE_SATS) * PRICE_MSAT;
    eventually("all is charged, and a part of the rest is on lease", async || {
        let stats = gateway.http.stats().await;
        (stats["charged_msat"] == spent_msat && stats["held_msat"] != 0).then_some(())
    })
    .await;
    // The rest to the last sat, which nobody could pay who does not get back what is on lease.
    let answer = spend("/api/joke").await;
    assert_eq!(answer.status, 200, "a part of the credit is on lease: {answer:?}");
    assert_eq!(lease_events(&gateway, "taken_back").await, 1);
    assert_eq!(spend("/echo").await.status, 402);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 300 * PRICE_MSAT);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_out_within_the_tick_though_its_lease_has_credit() {
    let gateway = gateway(1_000).await;
    let challenge = gateway.http.get("/echo", None).await;
    let account = challenge.json()["paymentHash"].as_str().unwrap().to_owned();
    let credential = gateway.http.pay(&challenge).await;
    let statuses = crowd(&gateway.http, &credential, 4, 20).await;
    assert_eq!(served(&statuses), 80);
    gateway.http.act(1, &account, "revoke").await;
    // The next reports, or the next keyring, say so.
    eventually("the token is refused", async || {
        let answer = gateway.http.get("/echo", Some(&credential)).await;
        (answer.status == 402).then_some(())
    })
    .await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_revoked_and_another_of_its_account_goes_on() {
    let gateway = gateway(1_000).await;
    let first = gateway.http.buy("/echo").await;
    let top_up = |credential: &str| {
        let request = gateway.http.request(reqwest::Method::GET, "/echo");
        gateway.http.send(request.header("authorization", credential).header("x-toll-top-up", "1"))
    };
    let challenge = top_up(&first).await;
    let token = challenge.json()["paymentHash"].as_str().unwrap().to_owned();
    let second = gateway.http.pay(&challenge).await;
    for credential in [&first, &second] {
        assert_eq!(served(&crowd(&gateway.http, credential, 4, 20).await), 80);
    }
    gateway.http.act_on(1, &format!("tokens/{token}/revoke")).await;
    let refused = eventually("the token is refused", async || {
        let answer = gateway.http.get("/echo", Some(&second)).await;
        (answer.status == 402).then_some(answer)
    })
    .await;
    assert_eq!(refused.code(), "account_revoked");
    let no_top_up = top_up(&second).await;
    assert_eq!((no_top_up.status.as_u16(), no_top_up.code()), (402, "no_top_up".into()));
    assert_eq!(served(&crowd(&gateway.http, &first, 4, 20).await), 80);
    // What the revoked token's lease had left is the account's again.
    gateway.ledger_at_rest().await;
    gateway.audit();
}

/// Sends requests until it is told to stop; returns how many were answered in full.
async fn until(http: Http, credential: String, stop: Arc<AtomicBool>) -> u64 {
    let mut answers = 0;
    while !stop.load(Ordering::SeqCst) {
        match http.try_get("/echo", &credential).await {
            Some(200) => answers += 1,
            Some(503) | None => tokio::time::sleep(Duration::from_millis(5)).await,
            Some(status) => panic!("neither served nor 503: {status}"),
        }
    }
    answers
}

/// A crowd on one account each while `trouble` runs; how many each had served, and by whom.
async fn through(gateway: &mut Gateway, kills: u32, kill: Kill) -> (Vec<String>, Vec<u64>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (mut credentials, mut tasks) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let credential = gateway.http.buy("/echo").await;
        let task = until(gateway.http.fresh(), credential.clone(), Arc::clone(&stop));
        tasks.push(tokio::spawn(task));
        credentials.push(credential);
    }
    for _ in 0..kills {
        let target = gateway.stack.upstream().hits().of("/echo") + 200;
        eventually("some requests are served", async || {
            (gateway.stack.upstream().hits().of("/echo") >= target).then_some(())
        })
        .await;
        match kill {
            Kill::Tollwayd => {
                gateway.stack.kill_tollwayd();
                gateway.stack.start_tollwayd().await.unwrap();
            }
            Kill::Envoy => {
                gateway.stack.kill_envoy();
                gateway.stack.start_envoy().await.unwrap();
            }
        }
    }
    stop.store(true, Ordering::SeqCst);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    (credentials, answers)
}

#[derive(Clone, Copy)]
enum Kill {
    Tollwayd,
    Envoy,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_tollwayd_under_leases_costs_nobody_a_credit() {
    let mut gateway = gateway(20_000).await;
    let (_, answers) = through(&mut gateway, 5, Kill::Tollwayd).await;
    let total: u64 = answers.iter().sum();
    println!("answers per client: {answers:?}");
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), total, "served = answered");
    eventually("every answer is charged", async || {
        let stats = gateway.http.stats().await;
        (stats["charged_msat"] == total * PRICE_MSAT).then_some(())
    })
    .await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_envoy_costs_the_operator_at_most_a_lease_for_each_account() {
    const KILLS: u32 = 3;
    let mut gateway = gateway(20_000).await;
    let (credentials, answers) = through(&mut gateway, KILLS, Kill::Envoy).await;
    let delivered = gateway.stack.upstream().hits().of("/echo") * PRICE_MSAT;
    assert!(delivered >= answers.iter().sum::<u64>() * PRICE_MSAT);
    // Reports come every 20 ms; what was lost with Envoy comes never.
    let charged = eventually("the charges stand still", async || {
        let before = gateway.http.stats().await["charged_msat"].as_u64().unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = gateway.http.stats().await["charged_msat"].as_u64().unwrap();
        (before == after).then_some(after)
    })
    .await;
    let lost = delivered.checked_sub(charged).expect("nobody pays for what was not delivered");
    let bound = u64::from(KILLS) * credentials.len() as u64 * LEASE_MAX_SATS * PRICE_MSAT;
    println!("delivered {delivered} msat, charged {charged}; lost {lost} of at most {bound}");
    assert!(lost <= bound, "{lost} above {bound}");
    gateway.audit();
}
