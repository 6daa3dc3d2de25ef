//! kill -9 of one replica after the other, at random moments, under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::json;
use tollway_testkit::stack::Replica;

use crate::doors::random;
use crate::harness::{Gateway, Http, config, eventually};
use crate::{postgres, two_on};

const REQUESTS: u64 = 1_000;
const CLIENTS: u64 = 8;
const KILLS_MIN: u32 = 4;
const PRICE_MSAT: u64 = 1_000;

/// Keeps asking until the whole crowd has had its answers; returns answers and 503s of its own.
async fn spend(http: Http, credential: String, served: Arc<AtomicU64>) -> (u64, u64) {
    let (mut answers, mut failures) = (0, 0);
    while served.load(Ordering::SeqCst) < REQUESTS {
        let answer = http.get("/echo", Some(&credential)).await;
        match answer.status.as_u16() {
            200 => {
                served.fetch_add(1, Ordering::SeqCst);
                answers += 1;
            }
            503 => {
                failures += 1;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            _ => panic!("neither served nor 503: {answer:?}"),
        }
    }
    (answers, failures)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_replicas_costs_nobody_a_credit() {
    let Some(server) = postgres().await else { return };
    let mut config = config();
    config["services"][0]["purchase"]["default_sats"] = json!(REQUESTS + CLIENTS);
    let mut gateway = Gateway::with(two_on(server.url(), config)).await;
    let served = Arc::new(AtomicU64::new(0));
    let (mut clients, mut credentials) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let credential = gateway.http.buy("/echo").await;
        let task = spend(gateway.http.clone(), credential.clone(), Arc::clone(&served));
        clients.push(tokio::spawn(task));
        credentials.push(credential);
    }

    let mut kills = 0;
    while served.load(Ordering::SeqCst) < REQUESTS {
        let chance: [u8; 2] = random();
        let target = served.load(Ordering::SeqCst) + 1 + u64::from(chance[0] / 2);
        eventually("some requests are served", async || {
            let now = served.load(Ordering::SeqCst);
            (now >= target.min(REQUESTS)).then_some(())
        })
        .await;
        if served.load(Ordering::SeqCst) >= REQUESTS {
            break;
        }
        let replica = if chance[1].is_multiple_of(2) { Replica::First } else { Replica::Second };
        gateway.stack.kill_replica(replica);
        kills += 1;
        gateway.stack.start_replica(replica).await.unwrap();
    }
    let (mut answers, mut failures) = (Vec::new(), 0);
    for client in clients {
        let (answered, failed) = client.await.unwrap();
        answers.push(answered);
        failures += failed;
    }
    println!("{kills} kills, {failures} x 503, answers per client: {answers:?}");
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
        let answer = eventually("the gate answers", async || {
            let answer = gateway.http.get("/echo", Some(credential)).await;
            (answer.status != 503).then_some(answer)
        })
        .await;
        let bought = (REQUESTS + CLIENTS) * 1_000;
        let spent = (answers + 1) * PRICE_MSAT;
        assert_eq!(answer.number("x-toll-balance-msat"), bought - spent, "bought once, spent so");
    }
    gateway.ledger_at_rest().await;
    gateway.audit();
}
