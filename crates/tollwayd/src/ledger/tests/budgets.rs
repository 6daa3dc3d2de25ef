//! Laws of budgets: no window spends more than its limit, and what was not spent comes back.

use tokio::task::JoinSet;
use tollway_core::budget::{BudgetWindow, TokenBudget};
use tollway_core::digest::Digest;
use tollway_core::wire::TakeBack;

use super::*;

const HOUR_MS: u64 = 3_600_000;
/// The next full hour after the tests begin: [`START_MS`] is 13 min 20 s past one.
const HOUR_ENDS_S: u64 = 1_700_002_800;

fn budget(tag: u8, limit: u64, window: BudgetWindow) -> TokenBudget {
    TokenBudget { id: Digest::from_bytes([tag; 32]), limit_msat: msat(limit), window }
}

fn hourly(tag: u8, limit: u64) -> TokenBudget {
    budget(tag, limit, BudgetWindow::Hour)
}

fn under(budgets: &[TokenBudget], order: HoldOrder) -> HoldOrder {
    HoldOrder { budgets: budgets.to_vec(), ..order }
}

fn exhausted(balance: u64, resets_at: Option<u64>) -> HoldOutcome {
    let (refusal, balance_msat) = (HoldRefusal::BudgetExhausted, msat(balance));
    HoldOutcome::Answered(HoldReply::Refused { refusal, balance_msat, resets_at, tier: None })
}

fn extension(id: u128, seq: u32, min: u64, add: u64) -> ExtendOrder {
    ExtendOrder { id: hold_id(id), seq, add: msat(add), min: msat(min), ttl_ms: TTL_MS }
}

fn answered(outcome: HoldOutcome) -> Result<ExtendOutcome, LedgerError> {
    match outcome {
        HoldOutcome::Answered(reply) => Ok(ExtendOutcome::Answered(reply)),
        _ => panic!("an answer"),
    }
}

pub(super) async fn a_budget_counts_what_is_held_and_what_was_posted(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let small = [hourly(1, 100)];
    let hold = async |id, amount| bench.ledger.hold(under(&small, order(id, hash, amount))).await;
    assert_eq!(hold(1, 60).await, Ok(granted(hash, 60, 940)));
    assert_eq!(hold(2, 41).await, Ok(exhausted(940, Some(HOUR_ENDS_S))));
    assert_eq!(hold(2, 40).await, Ok(granted(hash, 40, 900)));
    bench.post(vec![posting(1, 0, 60, true), posting(2, 0, 15, true)]).await.unwrap();
    // 75 are spent. Other tokens of the account spend as they like.
    assert_eq!(hold(3, 26).await, Ok(exhausted(925, Some(HOUR_ENDS_S))));
    assert_eq!(bench.ledger.hold(order(4, hash, 900)).await, Ok(granted(hash, 900, 25)));
    assert_eq!(hold(3, 25).await, Ok(granted(hash, 25, 0)));
    // Where both are short, the budget is named: a top-up would not lift it.
    assert_eq!(hold(5, 1).await, Ok(exhausted(0, Some(HOUR_ENDS_S))));
    let fresh = [hourly(2, 1)];
    let refusal = refused(HoldRefusal::InsufficientCredit, 0);
    assert_eq!(bench.ledger.hold(under(&fresh, order(5, hash, 1))).await, Ok(refusal));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_released_or_expired_hold_gives_its_budget_back(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let small = [budget(1, 100, BudgetWindow::Total)];
    let hold = async |id, amount| bench.ledger.hold(under(&small, order(id, hash, amount))).await;
    hold(1, 100).await.unwrap();
    assert_eq!(hold(2, 1).await, Ok(exhausted(900, None)));
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(hold(2, 100).await, Ok(granted(hash, 100, 900)));
    bench.post(vec![posting(2, 0, 30, false)]).await.unwrap();
    bench.clock.advance_ms(TTL_MS);
    // 30 were posted before the hold expired.
    assert_eq!(hold(3, 71).await, Ok(exhausted(970, None)));
    assert_eq!(hold(3, 70).await, Ok(granted(hash, 70, 900)));
    bench.assert_audit_clean().await;
}

pub(super) async fn all_budgets_of_a_token_apply(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let outer = budget(1, 100, BudgetWindow::Day);
    let [left, right] = [hourly(2, 70), hourly(3, 500)];
    let hold = async |id, inner, amount| {
        bench.ledger.hold(under(&[outer, inner], order(id, hash, amount))).await
    };
    let day_ends = Some(1_700_006_400);
    assert_eq!(hold(1, left, 71).await, Ok(exhausted(1_000, None)), "more than it ever has");
    assert_eq!(hold(1, left, 60).await, Ok(granted(hash, 60, 940)));
    assert_eq!(hold(2, left, 11).await, Ok(exhausted(940, Some(HOUR_ENDS_S))));
    // The sibling has 500 of its own, but the parent has 40 left.
    assert_eq!(hold(2, right, 41).await, Ok(exhausted(940, day_ends)));
    assert_eq!(hold(2, right, 40).await, Ok(granted(hash, 40, 900)));
    // The parent's own holder feels what its children spent.
    let alone = under(&[outer], order(3, hash, 1));
    assert_eq!(bench.ledger.hold(alone.clone()).await, Ok(exhausted(900, day_ends)));
    bench.post(vec![posting(1, 0, 10, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(alone).await, Ok(granted(hash, 1, 949)));
    // Both are short, one for longer.
    let both = under(&[outer, hourly(4, 50)], order(4, hash, 50));
    assert_eq!(bench.ledger.hold(both).await, Ok(exhausted(949, day_ends)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_budget_is_whole_in_its_next_window(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let rolling = [budget(1, 10, BudgetWindow::Rolling(60))];
    let hold = async |of: &[TokenBudget], id| {
        let order = HoldOrder { ttl_ms: 2 * HOUR_MS, ..order(id, hash, 10) };
        bench.ledger.hold(under(of, order)).await
    };
    // It begins with the first use.
    bench.clock.advance_ms(7_000);
    assert_eq!(hold(&rolling, 1).await, Ok(granted(hash, 10, 990)));
    bench.clock.advance_ms(59_999);
    let ends = Some(1_700_000_067);
    assert_eq!(hold(&rolling, 2).await, Ok(exhausted(990, ends)));
    bench.clock.advance_ms(1);
    assert_eq!(hold(&rolling, 2).await, Ok(granted(hash, 10, 980)));
    // What comes back from an old window changes nothing in the new one.
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(hold(&rolling, 3).await, Ok(exhausted(990, Some(1_700_000_127))));
    bench.assert_audit_clean().await;
    for (window, tag, ends_at) in [
        (BudgetWindow::Hour, 2, HOUR_ENDS_S),
        (BudgetWindow::Day, 3, 1_700_006_400),
        (BudgetWindow::Month, 4, 1_701_388_800),
    ] {
        let of = [budget(tag, 10, window)];
        let id = u128::from(tag) * 10;
        hold(&of, id).await.unwrap();
        bench.post(vec![posting(id, 0, 10, true)]).await.unwrap();
        bench.clock.advance_ms(ends_at * 1_000 - 1 - bench.clock.now_ms());
        let before = hold(&of, id + 1).await.unwrap();
        let HoldOutcome::Answered(HoldReply::Refused { resets_at, .. }) = before else {
            panic!("{window}: {before:?}");
        };
        assert_eq!(resets_at, Some(ends_at), "{window}");
        bench.clock.advance_ms(1);
        let after = hold(&of, id + 1).await.unwrap();
        assert!(matches!(after, HoldOutcome::Answered(HoldReply::Granted { .. })), "{window}");
        bench.assert_audit_clean().await;
    }
}

pub(super) async fn a_grant_lies_within_the_budget(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let small = [hourly(1, 100)];
    let between = |id, min, amount| HoldOrder { min: msat(min), ..order(id, hash, amount) };
    let hold = async |order| bench.ledger.hold(under(&small, order)).await;
    assert_eq!(hold(between(1, 10, 80)).await, Ok(granted(hash, 80, 920)));
    assert_eq!(hold(between(2, 10, 80)).await, Ok(granted(hash, 20, 900)));
    assert_eq!(hold(between(3, 1, 80)).await, Ok(exhausted(900, Some(HOUR_ENDS_S))));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_extension_stays_within_the_budget_of_its_time(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let nested = [budget(9, 150, BudgetWindow::Total), hourly(1, 100)];
    let long = HoldOrder { ttl_ms: 2 * HOUR_MS, ..order(1, hash, 40) };
    bench.ledger.hold(under(&nested, long)).await.unwrap();
    let extend = async |seq, min, add| bench.ledger.extend(extension(1, seq, min, add)).await;
    assert_eq!(extend(0, 61, 80).await, answered(exhausted(960, Some(HOUR_ENDS_S))));
    for _ in 0..2 {
        assert_eq!(extend(0, 10, 80).await, answered(granted(hash, 100, 900)));
    }
    // Time is to be had where no credit is.
    assert_eq!(extend(1, 0, 0).await, answered(granted(hash, 100, 900)));
    bench.post(vec![posting(1, 0, 70, false)]).await.unwrap();
    bench.clock.advance_ms(HOUR_MS);
    // The new hour has 100, and the hold counts in it with all it has.
    assert_eq!(extend(2, 1, 5).await, answered(exhausted(900, Some(HOUR_ENDS_S + 3_600))));
    let small = under(&nested, order(2, hash, 45));
    assert_eq!(bench.ledger.hold(small).await, Ok(granted(hash, 45, 855)));
    bench.assert_audit_clean().await;
    bench.post(vec![posting(2, 0, 5, true), posting(1, 1, 30, true)]).await.unwrap();
    // 105 of 150 are spent, 5 of them in this hour.
    let wide = HoldOrder { min: msat(1), ..order(3, hash, 1_000) };
    assert_eq!(bench.ledger.hold(under(&nested, wide)).await, Ok(granted(hash, 45, 850)));
    bench.assert_audit_clean().await;

    let other = [hourly(2, 100)];
    let long = HoldOrder { ttl_ms: 2 * HOUR_MS, ..order(4, hash, 40) };
    bench.ledger.hold(under(&other, long)).await.unwrap();
    bench.clock.advance_ms(HOUR_MS);
    let moved = bench.ledger.extend(extension(4, 0, 1, 100)).await;
    assert_eq!(moved, answered(granted(hash, 100, 795)), "40 moved and 60 came");
    let more = under(&other, order(5, hash, 1));
    assert_eq!(
        bench.ledger.hold(more.clone()).await,
        Ok(exhausted(795, Some(HOUR_ENDS_S + 2 * 3_600)))
    );
    bench.post(vec![posting(4, 0, 99, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(more).await, Ok(granted(hash, 1, 795)));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_overrun_stays_within_the_budget(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let small = [hourly(1, 100)];
    let (debt, rest) = (Overrun::Debt { limit_msat: msat(500) }, Overrun::DebitRest);
    for (id, overrun, charged) in [(1, rest, 30), (2, debt, 70), (3, rest, 0), (4, debt, 0)] {
        let asked = HoldOrder { min: msat(1), ..order(id, hash, 10) };
        bench.ledger.hold(under(&small, asked)).await.unwrap();
        let over = if id == 1 { 30 } else { 5_000 };
        let row = Posting { overrun, ..posting(id, 0, over, true) };
        let results = bench.ledger.post(vec![row]).await.unwrap();
        if id > 2 {
            assert_eq!(results[0].outcome, PostingOutcome::HoldUnknown, "nothing was left to hold");
        }
        assert_eq!(results[0].charged_msat, msat(charged), "{id}");
        bench.assert_audit_clean().await;
    }
    assert_eq!(bench.sums(hash).await, (900, 0));
    // Of a window that is over, nothing more is taken than the hold has.
    let other = [hourly(2, 100)];
    let long = HoldOrder { ttl_ms: 2 * HOUR_MS, ..order(9, hash, 10) };
    bench.ledger.hold(under(&other, long)).await.unwrap();
    bench.clock.advance_ms(HOUR_MS);
    bench.ledger.hold(under(&other, order(10, hash, 1))).await.unwrap();
    let row = Posting { overrun: rest, ..posting(9, 0, 50, true) };
    assert_eq!(bench.ledger.post(vec![row]).await.unwrap()[0].charged_msat, msat(10));
    bench.assert_audit_clean().await;
}

pub(super) async fn credit_taken_back_comes_back_to_the_budget_too(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let small = [hourly(1, 100)];
    bench.ledger.hold(under(&small, order(1, hash, 100))).await.unwrap();
    let take_back = Some(TakeBack { hold: hold_id(1), amount_msat: msat(60) });
    let taking = HoldOrder { take_back, ..order(2, hash, 50) };
    assert_eq!(bench.ledger.hold(taking).await, Ok(granted(hash, 50, 10)));
    let more = |amount| under(&small, order(3, hash, amount));
    assert_eq!(bench.ledger.hold(more(61)).await, Ok(exhausted(10, Some(HOUR_ENDS_S))));
    assert_eq!(bench.ledger.hold(more(10)).await, Ok(granted(hash, 10, 0)));
    bench.post(vec![posting(1, 0, 100, true)]).await.unwrap();
    assert_eq!(bench.sums(hash).await, (60, 60));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_repeat_counts_once_and_other_budgets_are_a_conflict(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let small = [hourly(1, 100)];
    let first = under(&small, order(1, hash, 100));
    for _ in 0..3 {
        assert_eq!(bench.ledger.hold(first.clone()).await, Ok(granted(hash, 100, 900)));
    }
    for other in [&[][..], &[hourly(2, 100)], &[hourly(1, 100), hourly(2, 100)]] {
        let other = under(other, first.clone());
        assert_eq!(bench.ledger.hold(other).await, Ok(HoldOutcome::Conflict));
    }
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(first).await, Ok(HoldOutcome::Ended));
    let again = under(&small, order(2, hash, 100));
    assert_eq!(bench.ledger.hold(again).await, Ok(granted(hash, 100, 900)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_budget_survives_a_restart_and_the_janitor(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let nested = [budget(1, 100, BudgetWindow::Month), budget(2, 90, BudgetWindow::Rolling(60))];
    let long = HoldOrder { ttl_ms: 2 * HOUR_MS, ..order(1, hash, 90) };
    bench.ledger.hold(under(&nested, long)).await.unwrap();
    let bench = bench.reopen().await;
    let more = |id, amount| under(&nested, order(id, hash, amount));
    assert_eq!(bench.ledger.hold(more(2, 11)).await, Ok(exhausted(910, Some(1_701_388_800))));
    // The inner window is over, but the hold still leads through it to the outer budget.
    bench.clock.advance_ms(HOUR_MS);
    bench.ledger.prune().await.unwrap();
    bench.post(vec![posting(1, 0, 40, true)]).await.unwrap();
    bench.assert_audit_clean().await;
    bench.ledger.prune().await.unwrap();
    bench.assert_audit_clean().await;
    assert_eq!(bench.ledger.hold(more(3, 61)).await, Ok(exhausted(960, Some(1_701_388_800))));
    assert_eq!(bench.ledger.hold(more(3, 60)).await, Ok(granted(hash, 60, 900)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_planted_budget_is_named(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    bench.ledger.hold(under(&[hourly(1, 100)], order(1, hash, 10))).await.unwrap();
    bench.assert_audit_clean().await;
    bench
        .damage("UPDATE budgets SET used_msat = 9", |tables| {
            let mut row = tables.budgets.iter().next().unwrap().clone();
            row.used_msat = msat(9);
            tables.budgets.load(row);
        })
        .await;
    let report = bench.ledger.audit().await.unwrap();
    let [found] = &report.differences[..] else { panic!("{:?}", report.differences) };
    assert_eq!(found.check, "used_msat of a budget against its holds");
    assert_eq!((found.claimed, found.recorded), (9, 10));
}

/// Siblings race for what their parent has: exactly that much is granted.
pub(super) async fn sixty_four_holds_share_a_budget_and_never_pass_it(bench: Bench) {
    let hash = bench.paid(1, 100_000).await;
    let outer = budget(1, 305, BudgetWindow::Day);
    let mut asks = JoinSet::new();
    for id in 0..64_u8 {
        let ledger = bench.ledger.clone();
        let inner = budget(2 + id % 4, 100, BudgetWindow::Total);
        asks.spawn(async move {
            let order = under(&[outer, inner], order(u128::from(id), hash, 10));
            let outcome = ledger.hold(order).await.unwrap();
            matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. }))
        });
    }
    let granted = asks.join_all().await.into_iter().filter(|granted| *granted).count();
    assert_eq!(granted, 30);
    assert_eq!(bench.sums(hash).await, (100_000, 300));
    bench.post((0..64).map(|id| posting(id, 0, 10, true)).collect()).await.unwrap();
    assert_eq!(bench.sums(hash).await, (99_700, 0));
    bench.assert_audit_clean().await;
}
