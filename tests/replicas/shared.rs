//! Two replicas, one ledger: it does not matter which of them is asked.

use serde_json::json;
use tollway_core::wire::{HoldReply, PostingOutcome};
use tollway_testkit::stack::Replica;

use crate::doors::{Doors, charge, new_id};
use crate::harness::{Gateway, Http, config};
use crate::{postgres, two_on};

/// Sends `n` requests at the same time; returns how many were served and how many have to pay.
async fn at_once(http: &Http, path: &'static str, credential: &str, n: usize) -> (usize, usize) {
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let (http, credential) = (http.clone(), credential.to_owned());
            tokio::spawn(async move { http.get(path, Some(&credential)).await.status.as_u16() })
        })
        .collect();
    let (mut served, mut unpaid) = (0, 0);
    for task in tasks {
        match task.await.unwrap() {
            200 => served += 1,
            402 | 429 => unpaid += 1,
            other => panic!("neither served nor refused: {other}"),
        }
    }
    (served, unpaid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crowds_find_one_credit_and_one_balance() {
    let Some(server) = postgres().await else { return };
    let gateway = Gateway::with(two_on(server.url(), config())).await;

    // 20 sats buy four jokes of five, whoever of fifty first uses comes first.
    let first = gateway.http.buy("/api/joke").await;
    assert_eq!(at_once(&gateway.http, "/api/joke", &first, 50).await, (4, 46));
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 4);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(20_000), &json!(20_000)));

    // Credit for twenty admits twenty of two hundred.
    let second = gateway.http.buy("/echo").await;
    assert_eq!(at_once(&gateway.http, "/echo", &second, 200).await, (20, 180));
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 20);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(40_000), &json!(40_000)));
    gateway.audit();

    let balanced = gateway.stack.envoy_stats().await.unwrap();
    assert_eq!(balanced["cluster.tollwayd.membership_total"], 2, "both stand behind one cluster");
    assert_eq!(balanced["cluster.tollwayd.membership_healthy"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_replica_holds_and_the_other_posts_and_releases() {
    let Some(server) = postgres().await else { return };
    let gateway = Gateway::with(two_on(server.url(), config())).await;
    let one = Doors::of(&gateway.stack, Replica::First);
    let two = Doors::of(&gateway.stack, Replica::Second);
    let paid = two.buy(&gateway.http, 20_000).await;

    let id = new_id();
    let granted = one.hold(id, &paid, 5_000).await;
    assert!(matches!(granted, HoldReply::Granted { .. }), "{granted:?}");
    assert_eq!(two.hold(id, &paid, 5_000).await, granted, "a repeat gets the first answer");
    let posted = two.post(charge(id, 0, 3_000, false)).await;
    assert_eq!((posted.outcome, posted.charged_msat.get()), (PostingOutcome::Posted, 3_000));
    assert_eq!(one.post(charge(id, 0, 3_000, false)).await, posted, "and so does this one");
    let released = two.post(charge(id, 1, 0, true)).await;
    assert_eq!((released.outcome, released.charged_msat.get()), (PostingOutcome::Posted, 0));
    let late = one.post(charge(id, 2, 1_000, true)).await;
    assert_eq!(late.outcome, PostingOutcome::HoldReleased);

    // What the hold did not use is there again, for either of them.
    let rest = two.hold(new_id(), &paid, 17_000).await;
    assert!(matches!(rest, HoldReply::Granted { .. }), "{rest:?}");
    let more = one.hold(new_id(), &paid, 1_000).await;
    assert!(matches!(more, HoldReply::Refused { .. }), "{more:?}");
    let stats = gateway.http.stats().await;
    assert_eq!((&stats["charged_msat"], &stats["held_msat"]), (&json!(3_000), &json!(17_000)));
    gateway.audit();
}
