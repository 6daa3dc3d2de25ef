//! One law per test, in the words of the design.

use tollway_core::wire::HOLD_TTL_MS_MAX;

use super::*;
use PostingOutcome::{Conflict, HoldExpired, HoldReleased, HoldUnknown, Posted};

pub(super) async fn a_payment_credits_once_whoever_reports_it(bench: Bench) {
    let hash = bench.paid(1, 50).await;
    assert_eq!(bench.ledger.settle(Settlement::of(hash)).await, Ok(SettleOutcome::AlreadyCredited));
    assert_eq!(bench.ledger.hold(order(1, hash, 20)).await, Ok(granted(hash, 20, 30)));
    assert_eq!(bench.sums(hash).await, (50, 20));
    assert_eq!(
        bench.ledger.settle(Settlement::of(super::hash(9))).await,
        Ok(SettleOutcome::Unknown)
    );
    bench.assert_audit_clean().await;
}

pub(super) async fn the_first_proof_settles_the_invoice_even_if_the_hold_is_refused(bench: Bench) {
    bench.ledger.open_invoice(invoice(1, 50, None)).await.unwrap();
    let refusal = refused(HoldRefusal::InsufficientCredit, 50);
    assert_eq!(bench.ledger.hold(order(1, hash(1), 51)).await, Ok(refusal));
    assert_eq!(bench.sums(hash(1)).await, (50, 0));
    // An expired invoice counts all the same: only its payer can know the preimage.
    bench.ledger.open_invoice(invoice(2, 50, None)).await.unwrap();
    bench.clock.advance_ms(700_000);
    assert_eq!(bench.ledger.hold(order(2, hash(2), 50)).await, Ok(granted(hash(2), 50, 0)));
}

pub(super) async fn refusals_come_in_the_order_of_precedence_and_are_not_remembered(bench: Bench) {
    let unproven = |id, hash| HoldOrder { shown: None, ..order(id, hash, 60) };
    assert_eq!(
        bench.ledger.hold(unproven(1, hash(1))).await,
        Ok(refused(HoldRefusal::UnknownPayment, 0))
    );
    bench.ledger.open_invoice(invoice(1, 50, None)).await.unwrap();
    assert_eq!(
        bench.ledger.hold(unproven(1, hash(1))).await,
        Ok(refused(HoldRefusal::PaymentNotProven, 0))
    );
    assert_eq!(bench.sums(hash(1)).await, (0, 0), "nothing is credited without proof");
    assert_eq!(
        bench.ledger.hold(order(1, hash(1), 60)).await,
        Ok(refused(HoldRefusal::InsufficientCredit, 50))
    );
    bench.ledger.open_invoice(invoice(2, 50, Some(hash(1)))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(2))).await.unwrap();
    assert_eq!(bench.ledger.hold(order(1, hash(1), 60)).await, Ok(granted(hash(1), 60, 40)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_top_up_pays_into_the_same_account_under_either_hash(bench: Bench) {
    let opener = bench.paid(1, 50).await;
    let top_up = invoice(2, 70, Some(opener));
    assert_eq!(bench.ledger.open_invoice(top_up).await, Ok(InvoiceOutcome::Stored));
    let unknown = invoice(3, 70, Some(hash(9)));
    assert_eq!(bench.ledger.open_invoice(unknown).await, Ok(InvoiceOutcome::TopUpUnknown));
    let again = invoice(2, 70, None);
    assert_eq!(bench.ledger.open_invoice(again).await, Ok(InvoiceOutcome::HashTaken));
    // The proof of the top-up spends from the account that the first payment opened.
    assert_eq!(bench.ledger.hold(order(1, hash(2), 100)).await, Ok(granted(opener, 100, 20)));
    assert_eq!(bench.sums(hash(2)).await, bench.sums(opener).await);
    // A third payment through the second hash lands there too.
    bench.ledger.open_invoice(invoice(4, 5, Some(hash(2)))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(4))).await.unwrap();
    assert_eq!(bench.sums(opener).await, (125, 100));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_repeated_hold_gets_the_first_answer_and_other_fields_a_conflict(
    bench: Bench,
) {
    let hash = bench.paid(1, 50).await;
    let other = bench.paid(2, 50).await;
    let first = order(1, hash, 20);
    assert_eq!(bench.ledger.hold(first.clone()).await, Ok(granted(hash, 20, 30)));
    bench.ledger.hold(order(2, hash, 30)).await.unwrap();
    assert_eq!(bench.ledger.hold(first.clone()).await, Ok(granted(hash, 20, 0)));
    for different in [
        HoldOrder { payment_hash: other, ..first.clone() },
        HoldOrder { amount: msat(21), ..first.clone() },
        HoldOrder { ttl_ms: TTL_MS + 1, ..first.clone() },
        HoldOrder { route: "time".to_owned(), ..first.clone() },
    ] {
        assert_eq!(bench.ledger.hold(different).await, Ok(HoldOutcome::Conflict));
    }
    // Who proves nothing does not learn that the hold exists.
    let unproven = HoldOrder { shown: None, ..first.clone() };
    let refusal = refused(HoldRefusal::PaymentNotProven, 0);
    assert_eq!(bench.ledger.hold(unproven).await, Ok(refusal));
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(first).await, Ok(HoldOutcome::Ended));
    bench.assert_audit_clean().await;
}

pub(super) async fn postings_charge_in_parts_and_the_release_returns_the_rest(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    let batch = vec![posting(1, 0, 10, false), posting(1, 1, 20, false), posting(1, 2, 5, true)];
    assert_eq!(bench.post(batch.clone()).await, Ok(vec![Posted; 3]));
    assert_eq!(bench.sums(hash).await, (65, 0));
    assert_eq!(bench.post(batch).await, Ok(vec![Posted; 3]), "a repeat changes nothing");
    assert_eq!(bench.sums(hash).await, (65, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_refund_is_a_release_without_a_charge(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 100)).await.unwrap();
    assert_eq!(bench.post(vec![posting(1, 0, 0, true)]).await, Ok(vec![Posted]));
    assert_eq!(bench.sums(hash).await, (100, 0));
    let view = bench.ledger.account(hash).await.unwrap().unwrap();
    assert_eq!(view.entries_total, 1, "the journal has no line of nothing");
}

pub(super) async fn posting_outcomes_come_in_their_order(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    for id in 1..=3 {
        bench.ledger.hold(order(id, hash, 10)).await.unwrap();
    }
    let other_route = Posting { route: "time".to_owned(), ..posting(1, 0, 4, false) };
    let rows = [
        (posting(1, 0, 4, false), Posted),
        (posting(1, 0, 4, false), Posted),
        (posting(1, 0, 5, false), Conflict),
        (posting(1, 0, 4, true), Conflict),
        (other_route, Conflict),
        (posting(9, 0, 1, true), HoldUnknown),
        (posting(1, 2, 6, true), Posted),
        (posting(1, 3, 0, true), HoldReleased),
        (posting(1, 0, 5, false), Conflict),
        (posting(2, u32::MAX, 10, true), Posted),
    ];
    let (batch, expected): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
    assert_eq!(bench.post(batch).await, Ok(expected));
    bench.clock.advance_ms(TTL_MS);
    let late = vec![posting(3, 0, 1, true), posting(1, 0, 4, false)];
    assert_eq!(bench.post(late).await, Ok(vec![HoldExpired, Posted]));
    assert_eq!(bench.sums(hash).await, (80, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_expired_hold_returns_its_rest_before_it_could_block_credit(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 100)).await.unwrap();
    bench.post(vec![posting(1, 0, 30, false)]).await.unwrap();
    bench.clock.advance_ms(TTL_MS - 1);
    let refusal = refused(HoldRefusal::InsufficientCredit, 0);
    assert_eq!(bench.ledger.hold(order(2, hash, 70)).await, Ok(refusal));
    bench.clock.advance_ms(1);
    assert_eq!(bench.ledger.hold(order(2, hash, 70)).await, Ok(granted(hash, 70, 0)));
    assert_eq!(bench.ledger.hold(order(1, hash, 100)).await, Ok(HoldOutcome::Ended));
    // A clock that leaps back does not bring an expired hold to life.
    bench.clock.set_ms(START_MS);
    let outcomes = bench.post(vec![posting(1, 1, 1, true)]).await;
    assert_eq!(outcomes, Ok(vec![HoldExpired]));
    bench.assert_audit_clean().await;
}

pub(super) async fn the_sweeper_returns_credit_in_quiet_times(bench: Bench) {
    let (one, two) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    for id in 0..10 {
        bench.ledger.hold(order(id, if id % 2 == 0 { one } else { two }, 10)).await.unwrap();
    }
    assert_eq!(bench.metrics.ledger.open_holds.get(), 10);
    bench.clock.advance_ms(TTL_MS);
    bench.ledger.sweep().await.unwrap();
    assert_eq!((bench.sums(one).await, bench.sums(two).await), ((100, 0), (100, 0)));
    assert_eq!(bench.metrics.ledger.open_holds.get(), 0);
    bench.assert_audit_clean().await;
}

pub(super) async fn what_is_due_is_found_in_any_order(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let hold = async |bench: &Bench, id, ttl_ms| {
        let order = HoldOrder { ttl_ms, ..order(id, hash, 100) };
        assert!(matches!(bench.ledger.hold(order).await, Ok(HoldOutcome::Answered(_))));
    };
    hold(&bench, 1, 50_000).await;
    bench.ledger.sweep().await.unwrap();
    hold(&bench, 2, 10_000).await;
    hold(&bench, 3, 30_000).await;
    assert_eq!(bench.sums(hash).await, (1_000, 300));
    bench.clock.advance_ms(10_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(hash).await, (1_000, 200), "the last one opened before");
    let (seq, add, ttl_ms) = (0, msat(1), 60_000);
    let longer = ExtendOrder { id: hold_id(3), seq, add, min: add, ttl_ms };
    bench.ledger.extend(longer).await.unwrap();
    bench.clock.advance_ms(40_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(hash).await, (1_000, 101), "the first one opened");
    let bench = bench.reopen().await;
    hold(&bench, 4, 1_000).await;
    bench.clock.advance_ms(20_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(hash).await, (1_000, 0), "all, also after a restart");
    bench.assert_audit_clean().await;
}

pub(super) async fn holds_are_found_in_any_order_of_their_ids(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    for (id, balance) in [(50, 990), (20, 980), (80, 970)] {
        assert_eq!(bench.ledger.hold(order(id, hash, 10)).await, Ok(granted(hash, 10, balance)));
    }
    for id in [20, 50, 80] {
        assert_eq!(bench.ledger.hold(order(id, hash, 10)).await, Ok(granted(hash, 10, 970)));
        assert_eq!(bench.ledger.hold(order(id, hash, 11)).await, Ok(HoldOutcome::Conflict));
    }
    let bench = bench.reopen().await;
    for id in [80, 20, 50] {
        assert_eq!(bench.ledger.hold(order(id, hash, 11)).await, Ok(HoldOutcome::Conflict));
        assert_eq!(bench.ledger.hold(order(id, hash, 10)).await, Ok(granted(hash, 10, 970)));
    }
    let rows = vec![posting(50, 0, 10, true), posting(20, 0, 10, true), posting(99, 0, 1, true)];
    let outcomes = bench.post(rows).await.unwrap();
    assert_eq!(outcomes[..2], [PostingOutcome::Posted; 2]);
    assert_eq!(outcomes[2], PostingOutcome::HoldUnknown);
    assert_eq!(bench.ledger.hold(order(20, hash, 10)).await, Ok(HoldOutcome::Ended));
    assert_eq!(bench.ledger.hold(order(10, hash, 10)).await, Ok(granted(hash, 10, 960)));
    bench.assert_audit_clean().await;
}

pub(super) async fn amounts_at_the_edge_are_refused_and_never_wrapped(bench: Bench) {
    let max = Msat::MAX.get();
    let hash = bench.paid(1, max).await;
    let over = invoice(2, 1, Some(hash));
    assert_eq!(bench.ledger.open_invoice(over.clone()).await, Ok(InvoiceOutcome::BalanceLimit));
    bench.ledger.hold(order(1, hash, max)).await.unwrap();
    bench.post(vec![posting(1, 0, 1, false)]).await.unwrap();
    // Room for one more: two invoices may be open, but only one can be credited.
    assert_eq!(bench.ledger.open_invoice(over).await, Ok(InvoiceOutcome::Stored));
    let second = invoice(3, 1, Some(hash));
    assert_eq!(bench.ledger.open_invoice(second).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(
        bench.ledger.settle(Settlement::of(super::hash(2))).await,
        Ok(SettleOutcome::Credited)
    );
    assert_eq!(
        bench.ledger.settle(Settlement::of(super::hash(3))).await,
        Ok(SettleOutcome::BalanceLimit)
    );
    let proof = order(2, super::hash(3), 1);
    assert_eq!(bench.ledger.hold(proof).await, Ok(HoldOutcome::BalanceLimit));
    let rest = vec![posting(1, 1, max - 1, true)];
    assert_eq!(bench.post(rest).await, Ok(vec![Posted]));
    assert_eq!(
        bench.ledger.settle(Settlement::of(super::hash(3))).await,
        Ok(SettleOutcome::Credited)
    );
    bench.assert_audit_clean().await;
}

pub(super) async fn a_hold_of_the_longest_life_ends_even_at_the_end_of_time(bench: Bench) {
    let hash = bench.paid(1, 10).await;
    bench.clock.set_ms(u64::MAX - 1);
    let order = HoldOrder { ttl_ms: HOLD_TTL_MS_MAX, ..order(1, hash, 10) };
    assert_eq!(bench.ledger.hold(order).await, Ok(granted(hash, 10, 0)));
    bench.assert_audit_clean().await;
}

pub(super) async fn rotation_adds_a_current_key_and_keeps_the_others(bench: Bench) {
    let before = bench.ledger.keyring().await.unwrap();
    assert_eq!((before.current.get(), before.keys.len()), (1, 1));
    let rotated = bench.ledger.rotate_key(KeyBytes([7; 32])).await.unwrap();
    let bench = bench.reopen().await;
    let after = bench.ledger.keyring().await.unwrap();
    assert_eq!((after.current, after.keys.len()), (rotated, 2));
    assert_eq!(after.keys[0].1.0, before.keys[0].1.0);
    assert_eq!(after.keys[1].1.0, [7; 32]);
}

pub(super) async fn a_restart_keeps_everything(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    bench.post(vec![posting(1, 0, 10, false)]).await.unwrap();
    let before = bench.ledger.stats().await.unwrap();
    let bench = bench.reopen().await;
    assert_eq!(bench.ledger.stats().await.unwrap(), before);
    assert_eq!(bench.metrics.ledger.open_holds.get(), 1);
    assert_eq!(bench.ledger.hold(order(1, hash, 60)).await, Ok(granted(hash, 60, 40)));
    assert_eq!(bench.post(vec![posting(1, 0, 10, false)]).await, Ok(vec![Posted]));
    assert_eq!(bench.sums(hash).await, (90, 50));
    bench.assert_audit_clean().await;
}

pub(super) async fn sums_and_metrics_tell_the_same_story(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.open_invoice(invoice(2, 7, None)).await.unwrap();
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    bench.post(vec![posting(1, 0, 10, false), posting(9, 0, 1, true)]).await.unwrap();
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!((stats.accounts, stats.invoices_open, stats.invoices_settled), (1, 1, 1));
    assert_eq!((stats.credited_msat, stats.charged_msat), (100, 10));
    assert_eq!((stats.balance_msat, stats.held_msat, stats.holds_open), (90, 50, 1));
    let text = bench.metrics.encode();
    for line in [
        "tollwayd_challenges_total 2",
        "tollwayd_settlements_total 1",
        "tollwayd_credited_msat_total 100",
        "tollwayd_charged_msat_total 10",
        "tollwayd_open_holds 1",
        "tollwayd_holds_total{outcome=\"granted\"} 1",
        "tollwayd_postings_total{outcome=\"posted\"} 1",
        "tollwayd_postings_total{outcome=\"hold_unknown\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    bench.clock.advance_ms(600_000);
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!((stats.invoices_open, stats.invoices_expired), (0, 1));
}
