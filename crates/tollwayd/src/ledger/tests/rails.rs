//! One payment, several ways to spend it.

use tokio::task::JoinSet;

use super::*;

/// The same order with a proof that came by the scheme `Payment`.
fn charge(order: HoldOrder) -> HoldOrder {
    HoldOrder { rail: Some(OnRail::Charge), ..order }
}

fn other_rail() -> HoldOutcome {
    refused(HoldRefusal::OtherRail, 0)
}

pub(super) async fn the_first_grant_says_how_a_payment_is_spent(bench: Bench) {
    let (one, two) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    let hold = |order| bench.ledger.hold(order);
    // A refusal claims nothing.
    let too_much = refused(HoldRefusal::InsufficientCredit, 100);
    assert_eq!(hold(charge(order(1, one, 101))).await.unwrap(), too_much);
    assert_eq!(hold(order(2, one, 40)).await.unwrap(), granted(one, 40, 60));
    assert_eq!(hold(charge(order(3, one, 60))).await.unwrap(), other_rail());
    bench.post(vec![posting(2, 0, 0, true)]).await.unwrap();
    // A token's account may have been topped up by then, so it stays the token's.
    assert_eq!(hold(charge(order(3, one, 100))).await.unwrap(), other_rail());
    assert_eq!(hold(order(4, one, 100)).await.unwrap(), granted(one, 100, 0));

    assert_eq!(hold(charge(order(5, two, 100))).await.unwrap(), granted(two, 100, 0));
    assert_eq!(hold(order(6, two, 1)).await.unwrap(), other_rail());
    assert_eq!(hold(charge(order(5, two, 100))).await.unwrap(), granted(two, 100, 0), "a repeat");
    bench.post(vec![posting(5, 0, 100, true)]).await.unwrap();
    assert_eq!(hold(order(6, two, 1)).await.unwrap(), other_rail());
    bench.assert_audit_clean().await;
}

pub(super) async fn a_charge_is_made_once_whatever_else_the_account_has(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.open_invoice(invoice(2, 500, Some(hash))).await.unwrap();
    bench.ledger.settle(Settlement::of(super::hash(2))).await.unwrap();
    let spent = |left| refused(HoldRefusal::InsufficientCredit, left);
    let hold = |order| bench.ledger.hold(order);
    assert_eq!(hold(charge(order(1, hash, 100))).await.unwrap(), granted(hash, 100, 500));
    assert_eq!(hold(charge(order(2, hash, 100))).await.unwrap(), spent(500));
    bench.post(vec![posting(1, 0, 100, true)]).await.unwrap();
    assert_eq!(hold(charge(order(3, hash, 100))).await.unwrap(), spent(500));
    // The payment that came on top is nobody's charge.
    assert_eq!(hold(order(4, super::hash(2), 500)).await.unwrap(), granted(hash, 500, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_charge_that_was_not_made_leaves_credit(bench: Bench) {
    let (one, two) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    let hold = |order| bench.ledger.hold(order);
    for (id, hash) in [(1, one), (2, two)] {
        assert_eq!(hold(charge(order(id, hash, 100))).await.unwrap(), granted(hash, 100, 0));
        assert_eq!(hold(order(9, hash, 1)).await.unwrap(), other_rail(), "it is under way");
        bench.post(vec![posting(id, 0, 0, true)]).await.unwrap();
    }
    assert_eq!(hold(charge(order(3, one, 100))).await.unwrap(), granted(one, 100, 0), "again");
    assert_eq!(hold(order(4, two, 30)).await.unwrap(), granted(two, 30, 70));
    assert_eq!(hold(charge(order(5, two, 70))).await.unwrap(), other_rail(), "a token's now");
    bench.assert_audit_clean().await;
}

pub(super) async fn a_claim_survives_a_restart(bench: Bench) {
    let (one, two) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    bench.ledger.hold(charge(order(1, one, 100))).await.unwrap();
    bench.ledger.hold(order(2, two, 10)).await.unwrap();
    let bench = bench.reopen().await;
    assert_eq!(bench.ledger.hold(order(3, one, 1)).await.unwrap(), other_rail());
    assert_eq!(bench.ledger.hold(charge(order(4, two, 90))).await.unwrap(), other_rail());
}

pub(super) async fn a_thousand_payments_shown_on_two_rails_at_once_are_spent_once(bench: Bench) {
    let mut granted = 0;
    for round in 0..20_u64 {
        let mut shown = JoinSet::new();
        for race in round * 50..round * 50 + 50 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&race.to_be_bytes());
            let payment_hash = PaymentHash::from_bytes(bytes);
            let made = NewInvoice { payment_hash, ..invoice(0, 100, None) };
            bench.ledger.open_invoice(made).await.unwrap();
            for way in 0..4 {
                let order = order(u128::from(race * 4 + way), payment_hash, 100);
                // Two on each rail; who is asked first is another way each time.
                let order = if (race + way) % 2 == 0 { charge(order) } else { order };
                let ledger = bench.ledger.clone();
                shown.spawn(async move { (race, ledger.hold(order).await.unwrap()) });
            }
        }
        let mut grants = std::collections::BTreeMap::new();
        for (race, outcome) in shown.join_all().await {
            let grant = matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. }));
            *grants.entry(race).or_insert(0) += u32::from(grant);
        }
        assert!(grants.values().all(|grants| *grants == 1), "{grants:?}");
        granted += grants.len();
    }
    assert_eq!(granted, 1_000);
    bench.assert_audit_clean().await;
}
