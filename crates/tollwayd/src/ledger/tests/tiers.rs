//! Laws of tiers: only an operator gives one, and no amount for another is ever held.

use super::gifts::action;
use super::*;

fn tier(name: &str) -> Tier {
    Tier::parse(name).unwrap()
}

/// A hold whose amount was reckoned for this tier.
fn priced(id: u128, hash: PaymentHash, amount: u64, name: &str) -> HoldOrder {
    HoldOrder { tier: Some(tier(name)), ..order(id, hash, amount) }
}

fn told(outcome: Result<HoldOutcome, LedgerError>) -> (Option<HoldRefusal>, Option<Tier>) {
    match outcome.unwrap() {
        HoldOutcome::Answered(HoldReply::Granted { tier, .. }) => (None, Some(tier)),
        HoldOutcome::Answered(HoldReply::Refused { refusal, tier, .. }) => (Some(refusal), tier),
        other => panic!("an answer, but found {other:?}"),
    }
}

pub(super) async fn an_operator_gives_a_tier_and_it_travels_with_every_grant(bench: Bench) {
    let (hash, other) = (bench.paid(1, 1_000).await, bench.paid(2, 1_000).await);
    bench.ledger.open_invoice(invoice(3, 5, Some(hash))).await.unwrap();
    assert_eq!(told(bench.ledger.hold(order(1, hash, 10)).await), (None, Some(Tier::NONE)));
    let gold = action(1, AdminAct::Tier(hash, tier("gold")));
    assert_eq!(bench.ledger.administer(gold).await, Ok(AdminOutcome::Done));
    // Also by a token that only tops the account up, and for time alone.
    for (id, payment) in [(2, hash), (3, super::hash(3))] {
        assert_eq!(told(bench.ledger.hold(order(id, payment, 10)).await).1, Some(tier("gold")));
    }
    let more =
        ExtendOrder { id: hold_id(1), seq: 0, add: Msat::ZERO, min: Msat::ZERO, ttl_ms: TTL_MS };
    let ExtendOutcome::Answered(HoldReply::Granted { tier: found, .. }) =
        bench.ledger.extend(more).await.unwrap()
    else {
        panic!("time is always there")
    };
    assert_eq!(found, tier("gold"));
    assert_eq!(told(bench.ledger.hold(order(4, other, 10)).await).1, Some(Tier::NONE));
    let none = action(2, AdminAct::Tier(hash, Tier::NONE));
    assert_eq!(bench.ledger.administer(none).await, Ok(AdminOutcome::Done));
    assert_eq!(told(bench.ledger.hold(order(5, hash, 10)).await).1, Some(Tier::NONE));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_amount_for_another_tier_is_refused_and_told_which(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let gold = action(1, AdminAct::Tier(hash, tier("gold")));
    bench.ledger.administer(gold).await.unwrap();
    let differs = (Some(HoldRefusal::TierDiffers), Some(tier("gold")));
    // Before the credit is asked: the account's own price may well be in it.
    for (amount, name) in [(10, ""), (10, "silver"), (5_000, "silver")] {
        assert_eq!(told(bench.ledger.hold(priced(1, hash, amount, name)).await), differs);
    }
    assert_eq!(bench.sums(hash).await, (100, 0));
    let granted = (None, Some(tier("gold")));
    assert_eq!(told(bench.ledger.hold(priced(1, hash, 10, "gold")).await), granted);
    // What was granted stays so when the tier changes.
    let none = action(2, AdminAct::Tier(hash, Tier::NONE));
    bench.ledger.administer(none).await.unwrap();
    let now = (None, Some(Tier::NONE));
    assert_eq!(told(bench.ledger.hold(priced(1, hash, 10, "gold")).await), now);
    let differs = (Some(HoldRefusal::TierDiffers), Some(Tier::NONE));
    assert_eq!(told(bench.ledger.hold(priced(2, hash, 10, "gold")).await), differs);
    assert_eq!(told(bench.ledger.hold(priced(2, hash, 10, "")).await), now);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_tier_survives_a_restart_and_leaves_a_line(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let unknown = action(9, AdminAct::Tier(super::hash(9), tier("gold")));
    assert_eq!(bench.ledger.administer(unknown).await, Ok(AdminOutcome::Unknown));
    let gold = action(1, AdminAct::Tier(hash, tier("gold")));
    for _ in 0..2 {
        assert_eq!(bench.ledger.administer(gold.clone()).await, Ok(AdminOutcome::Done));
    }
    let silver = action(1, AdminAct::Tier(hash, tier("silver")));
    assert_eq!(bench.ledger.administer(silver).await, Ok(AdminOutcome::Conflict));
    let bench = bench.reopen().await;
    let view = bench.ledger.account(hash).await.unwrap().unwrap();
    assert_eq!(view.tier, tier("gold"));
    let lines = bench.ledger.actions().await.unwrap();
    let [line] = &lines[..] else { panic!("one line, but found {lines:?}") };
    assert_eq!((line.kind, line.tier, line.account), ("tier", Some(tier("gold")), Some(hash)));
}
