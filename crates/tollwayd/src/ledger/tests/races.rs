//! Many at once. The outcome is exact, whoever comes first.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::*;

pub(super) async fn sixty_four_first_uses_credit_once(bench: Bench) {
    bench.ledger.open_invoice(invoice(1, 6_400, None)).await.unwrap();
    let mut uses = JoinSet::new();
    for id in 0..64_u128 {
        let ledger = bench.ledger.clone();
        // Half of them come with a proof, half as events of the node.
        uses.spawn(async move {
            if id % 2 == 0 {
                let outcome = ledger.hold(order(id, hash(1), 100)).await.unwrap();
                assert!(matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. })));
                false
            } else {
                let outcome = ledger.settle(Settlement::of(hash(1))).await.unwrap();
                outcome == SettleOutcome::Credited
            }
        });
    }
    let credits = uses.join_all().await;
    assert!(credits.into_iter().filter(|credited| *credited).count() <= 1);
    assert_eq!(bench.sums(hash(1)).await, (6_400, 3_200));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_balance_for_k_admits_exactly_k_of_200(bench: Bench) {
    const K: u64 = 37;
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
    bench.assert_audit_clean().await;
}

pub(super) async fn one_hold_id_asked_for_by_many_is_one_hold(bench: Bench) {
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

pub(super) async fn one_posting_reported_by_many_counts_once(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(7, hash, 10)).await.unwrap();
    let mut reports = JoinSet::new();
    for amount in 1..=64 {
        let ledger = bench.ledger.clone();
        reports.spawn(async move {
            let results = ledger.post(vec![posting(7, 0, amount % 4 + 1, true)]).await.unwrap();
            (amount, results[0].outcome)
        });
    }
    let posted: BTreeSet<u64> = reports
        .join_all()
        .await
        .into_iter()
        .filter(|(_, outcome)| *outcome == PostingOutcome::Posted)
        .map(|(amount, _)| amount % 4 + 1)
        .collect();
    // One amount won; its repeats hear the same, all others a conflict.
    assert_eq!(posted.len(), 1);
    assert_eq!(bench.sums(hash).await, (100 - posted.first().unwrap(), 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn sixty_four_purchases_with_one_certificate_sell_one_invoice(bench: Bench) {
    use tollway_core::digest::Digest;
    let expires_at_ms = START_MS + 60_000;
    let certificate = Some(Certificate { id: Digest::of(&[b"one"]), expires_at_ms });
    let mut buyers = tokio::task::JoinSet::new();
    for tag in 1..=64 {
        let ledger = bench.ledger.clone();
        let order = NewInvoice { certificate, ..invoice(tag, 1_000, None) };
        buyers.spawn(async move { ledger.open_invoice(order).await.unwrap() });
    }
    let outcomes = buyers.join_all().await;
    let sold = outcomes.iter().filter(|it| **it == InvoiceOutcome::Stored).count();
    let used = outcomes.iter().filter(|it| **it == InvoiceOutcome::CertificateUsed).count();
    assert_eq!((sold, used), (1, 63));
    let bench = bench.reopen().await;
    let again = NewInvoice { certificate, ..invoice(100, 1_000, None) };
    bench.ledger.prune().await.unwrap();
    let refused = bench.ledger.open_invoice(again.clone()).await;
    assert_eq!(refused, Ok(InvoiceOutcome::CertificateUsed));
    // Once nobody takes it any more it is forgotten.
    bench.clock.set_ms(expires_at_ms);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.ledger.open_invoice(again).await, Ok(InvoiceOutcome::Stored));
}
