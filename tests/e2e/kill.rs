//! kill -9 of tollwayd at random moments: no credit lost, nothing served unpaid.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tollway_core::entropy::Entropy;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, Http, config, eventually};

const REQUESTS: u64 = 2_000;
const CLIENTS: u64 = 8;
const KILLS_MIN: u32 = 5;
const PRICE_MSAT: u64 = 1_000;

/// Keeps asking until the whole crowd has had its answers; returns how many were its own.
async fn spend(http: Http, credential: String, served: Arc<AtomicU64>) -> u64 {
    let mut answers = 0;
    while served.load(Ordering::SeqCst) < REQUESTS {
        let answer = http.get("/echo", Some(&credential)).await;
        match answer.status.as_u16() {
            200 => {
                served.fetch_add(1, Ordering::SeqCst);
                answers += 1;
            }
            // As Retry-After asks, though sooner.
            503 => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => panic!("neither served nor 503: {answer:?}"),
        }
    }
    answers
}

#[tokio::test]
async fn killing_tollwayd_costs_nobody_a_credit() {
    let mut config = config();
    config["services"][0]["purchase"]["default_sats"] = json!(REQUESTS + CLIENTS);
    let options = StackOptions { filter: Some(config), ..StackOptions::default() };
    let mut gateway = Gateway::with(options).await;
    let served = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    let mut credentials = Vec::new();
    for _ in 0..CLIENTS {
        let credential = gateway.http.buy("/echo").await;
        let task = spend(gateway.http.clone(), credential.clone(), Arc::clone(&served));
        clients.push(tokio::spawn(task));
        credentials.push(credential);
    }

    let seed = RandomState::new().hash_one("kills");
    let mut random = Entropy::from_seed(&seed.to_be_bytes());
    let mut kills = 0;
    while kills < KILLS_MIN || served.load(Ordering::SeqCst) < REQUESTS {
        // Wait for some more answers, so that each life of tollwayd has its share of the load.
        let target = served.load(Ordering::SeqCst) + u64::from(random.draw()[0]);
        eventually("some requests are served", async || {
            let now = served.load(Ordering::SeqCst);
            (now >= target.min(REQUESTS)).then_some(())
        })
        .await;
        if served.load(Ordering::SeqCst) >= REQUESTS {
            break;
        }
        gateway.stack.kill_tollwayd();
        kills += 1;
        gateway.stack.start_tollwayd().await.unwrap();
    }
    let mut answers = Vec::new();
    for client in clients {
        answers.push(client.await.unwrap());
    }
    println!("{kills} kills, answers per client: {answers:?}");
    assert!(kills >= KILLS_MIN, "only {kills} kills in {REQUESTS} requests");

    // Every charge is exactly an answer: a 503 cost nothing, and no answer was free.
    let total: u64 = answers.iter().sum();
    eventually("every answer is charged", async || {
        let stats = gateway.http.stats().await;
        (stats["charged_msat"] == total * PRICE_MSAT && stats["holds_open"] == 0).then_some(())
    })
    .await;
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), total, "served = answered");
    for (credential, answers) in credentials.iter().zip(answers) {
        let answer = gateway.http.get("/echo", Some(credential)).await;
        let bought = (REQUESTS + CLIENTS) * 1_000;
        let spent = (answers + 1) * PRICE_MSAT;
        assert_eq!(answer.number("x-toll-balance-msat"), bought - spent, "bought once, spent so");
    }
    gateway.ledger_at_rest().await;
    gateway.audit();
}
