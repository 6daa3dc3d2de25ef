//! Many requests at once, over two workers: exactly what was paid for is served.

use std::cell::Cell;

use crate::harness::{Gateway, Http, eventually};

/// Sends `n` requests at the same time and returns their statuses.
async fn at_once(http: &Http, path: &'static str, credential: &str, n: usize) -> Vec<u16> {
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let (http, credential) = (http.clone(), credential.to_owned());
            tokio::spawn(async move { http.get(path, Some(&credential)).await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses
}

fn served(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| **status == 200).count()
}

/// Challenged, or told to come back later: so many at once are a flood.
fn refused(statuses: &[u16]) -> usize {
    statuses.iter().filter(|status| matches!(status, 402 | 429)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_first_uses_credit_the_payment_once() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/api/joke").await;
    // 20 sats buy four jokes of five, whoever comes first.
    let statuses = at_once(&gateway.http, "/api/joke", &credential, 50).await;
    assert_eq!(served(&statuses), 4, "{statuses:?}");
    assert_eq!(refused(&statuses), 46, "{statuses:?}");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 20_000);
    assert_eq!(stats["charged_msat"], 20_000);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 4);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_for_k_requests_admits_exactly_k_of_200() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let statuses = at_once(&gateway.http, "/echo", &credential, 200).await;
    assert_eq!(served(&statuses), 20, "{statuses:?}");
    assert_eq!(refused(&statuses), 180, "{statuses:?}");
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 20);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 20_000);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_share_one_balance() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let mut balances = Vec::new();
    while balances.len() < 20 {
        // A connection of its own each, so that both workers get some.
        let fresh = gateway.http.fresh();
        let answer = fresh.get("/echo", Some(&credential)).await;
        assert_eq!(answer.status, 200);
        balances.push(answer.number("x-toll-balance-msat"));
        // A charge may still be on its way; the hold of it counts as spent all the same.
        let spent = 1_000 * balances.len() as u64;
        assert_eq!(balances.last(), Some(&(20_000 - spent)));
    }
    let fresh = gateway.http.fresh();
    assert_eq!(fresh.get("/echo", Some(&credential)).await.status, 402);
    let stats = gateway.stack.envoy_stats().await.unwrap();
    for worker in ["worker_0", "worker_1"] {
        let connections: u64 = stats
            .iter()
            .filter(|(name, _)| name.contains(worker) && name.ends_with("downstream_cx_total"))
            .map(|(_, count)| count)
            .sum();
        assert!(connections > 0, "{worker} had no part in it");
    }
}

/// Which requests meet in one turn of Envoy's event loop is chance, what each costs is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_that_share_a_call_are_granted_and_charged_one_by_one() {
    let gateway = Gateway::start().await;
    let rich = gateway.http.buy("/api/joke").await;
    let poor = gateway.http.buy("/api/joke").await;
    // Each buys four jokes. Over one connection requests come many at a time.
    let http = gateway.http.http2();
    let (first, second) =
        tokio::join!(at_once(&http, "/api/joke", &rich, 3), at_once(&http, "/api/joke", &poor, 9));
    assert_eq!((served(&first), served(&second)), (3, 4), "{first:?} {second:?}");
    let later = Cell::new(0);
    eventually("a call asks for several holds", async || {
        let credential = gateway.http.fresh().buy("/api/joke").await;
        later.set(later.get() + served(&at_once(&http, "/api/joke", &credential, 4).await) as u64);
        let metrics = gateway.http.metrics().await;
        metrics.contains("door=\"/v1/holds\"").then_some(())
    })
    .await;
    let all = 7 + later.get();
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 5_000 * all);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), all);
    gateway.audit();
}
