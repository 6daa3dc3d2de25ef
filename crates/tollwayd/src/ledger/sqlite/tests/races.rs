//! Many at once. The outcome is exact, whoever comes first.

use std::collections::BTreeSet;

use tokio::task::JoinSet;
use tollway_core::wire::PostingOutcome;

use super::*;

#[test]
fn sixty_four_threads_of_first_use_credit_once() {
    let bench = Bench::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(bench.ledger.open_invoice(invoice(1, 6_400, None))).unwrap();
    let threads: Vec<_> = (0..64_u128)
        .map(|id| {
            let ledger = bench.ledger.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                // Half of them come with a proof, half as events of the node.
                if id % 2 == 0 {
                    let outcome = runtime.block_on(ledger.hold(order(id, hash(1), 100))).unwrap();
                    assert!(matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. })));
                    false
                } else {
                    runtime.block_on(ledger.settle(hash(1))).unwrap() == SettleOutcome::Credited
                }
            })
        })
        .collect();
    let credits = threads.into_iter().map(|thread| thread.join().unwrap());
    assert!(credits.filter(|credited| *credited).count() <= 1);
    assert_eq!(runtime.block_on(bench.sums(hash(1))), (6_400, 3_200));
    bench.assert_audit_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_balance_for_k_admits_exactly_k_of_200() {
    const K: u64 = 37;
    let bench = Bench::new();
    let hash = bench.paid(1, K * 10 + 9).await;
    let mut holds = JoinSet::new();
    for id in 0..200 {
        let ledger = bench.ledger.clone();
        holds.spawn(async move { ledger.hold(order(id, hash, 10)).await.unwrap() });
    }
    let outcomes = holds.join_all().await;
    let granted = |outcome: &&HoldOutcome| {
        matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. }))
    };
    assert_eq!(outcomes.iter().filter(granted).count() as u64, K);
    assert_eq!(bench.sums(hash).await, (K * 10 + 9, K * 10));
    bench.assert_audit_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_hold_id_asked_for_by_many_is_one_hold() {
    let bench = Bench::new();
    let hash = bench.paid(1, 100).await;
    let mut holds = JoinSet::new();
    for _ in 0..64 {
        let ledger = bench.ledger.clone();
        holds.spawn(async move { ledger.hold(order(7, hash, 10)).await.unwrap() });
    }
    for outcome in holds.join_all().await {
        assert_eq!(outcome, granted(hash, 10, 90));
    }
    assert_eq!(bench.sums(hash).await, (100, 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_posting_reported_by_many_counts_once() {
    let bench = Bench::new();
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(7, hash, 10)).await.unwrap();
    let mut reports = JoinSet::new();
    for amount in 1..=64 {
        let ledger = bench.ledger.clone();
        reports.spawn(async move {
            (amount, ledger.post(vec![posting(7, 0, amount % 4 + 1, true)]).await.unwrap())
        });
    }
    let posted: BTreeSet<u64> = reports
        .join_all()
        .await
        .into_iter()
        .filter(|(_, outcomes)| outcomes == &[PostingOutcome::Posted])
        .map(|(amount, _)| amount % 4 + 1)
        .collect();
    // One amount won; its repeats hear the same, all others a conflict.
    assert_eq!(posted.len(), 1);
    assert_eq!(bench.sums(hash).await, (100 - posted.first().unwrap(), 0));
    bench.assert_audit_clean();
}
