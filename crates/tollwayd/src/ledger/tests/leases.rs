//! Laws of holds that live long: extensions by what is there, credit taken back, revocations.

use tokio::task::JoinSet;
use tollway_core::wire::{PostingResult, TakeBack};

use super::gifts::action;
use super::*;

fn extension(id: u128, seq: u32, min: u64, add: u64) -> ExtendOrder {
    ExtendOrder { id: hold_id(id), seq, add: msat(add), min: msat(min), ttl_ms: TTL_MS }
}

fn extended(account: PaymentHash, total: u64, balance: u64) -> Result<ExtendOutcome, LedgerError> {
    match granted(account, total, balance) {
        HoldOutcome::Answered(reply) => Ok(ExtendOutcome::Answered(reply)),
        _ => panic!("a grant is an answer"),
    }
}

/// A hold of exactly `amount` that takes up to `back` from another.
fn taking(id: u128, hash: PaymentHash, amount: u64, (from, back): (u128, u64)) -> HoldOrder {
    let take_back = Some(TakeBack { hold: hold_id(from), amount_msat: msat(back) });
    HoldOrder { take_back, ..order(id, hash, amount) }
}

pub(super) async fn an_extension_lies_between_its_least_and_the_asked(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 40)).await.unwrap();
    let insufficient = |balance| match refused(HoldRefusal::InsufficientCredit, balance) {
        HoldOutcome::Answered(reply) => Ok(ExtendOutcome::Answered(reply)),
        _ => panic!("a refusal is an answer"),
    };
    assert_eq!(bench.ledger.extend(extension(1, 0, 61, 80)).await, insufficient(60));
    assert_eq!(bench.ledger.extend(extension(1, 0, 10, 50)).await, extended(hash, 90, 10));
    for _ in 0..2 {
        assert_eq!(bench.ledger.extend(extension(1, 1, 5, 50)).await, extended(hash, 100, 0));
    }
    for other in [extension(1, 1, 6, 50), extension(1, 1, 50, 50), extension(1, 1, 5, 51)] {
        assert_eq!(bench.ledger.extend(other).await, Ok(ExtendOutcome::Conflict));
    }
    let bench = bench.reopen().await;
    assert_eq!(bench.ledger.extend(extension(1, 1, 5, 50)).await, extended(hash, 100, 0));
    // Nothing is left, but time is still to be had where nothing is of use too.
    assert_eq!(bench.ledger.extend(extension(1, 2, 1, 50)).await, insufficient(0));
    bench.clock.advance_ms(TTL_MS - 1);
    assert_eq!(bench.ledger.extend(extension(1, 2, 0, 50)).await, extended(hash, 100, 0));
    bench.clock.advance_ms(TTL_MS - 1);
    assert_eq!(bench.post(vec![posting(1, 0, 100, true)]).await, Ok(vec![PostingOutcome::Posted]));
    assert_eq!(bench.sums(hash).await, (0, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn credit_taken_back_goes_to_the_new_hold(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 90)).await.unwrap();
    bench.post(vec![posting(1, 0, 30, false)]).await.unwrap();
    // 10 are free and 60 are not posted; 20 of those come back.
    assert_eq!(bench.ledger.hold(taking(2, hash, 25, (1, 20))).await, Ok(granted(hash, 25, 5)));
    assert_eq!(bench.sums(hash).await, (70, 65));
    // Never more than what is left of it.
    assert_eq!(bench.ledger.hold(taking(3, hash, 45, (1, 1_000))).await, Ok(granted(hash, 45, 0)));
    assert_eq!(bench.sums(hash).await, (70, 70));
    let bench = bench.reopen().await;
    let results = bench.ledger.post(vec![posting(1, 1, 5, true)]).await.unwrap();
    assert_eq!(results[0].charged_msat, Msat::ZERO, "it has nothing left to charge");
    assert_eq!(bench.sums(hash).await, (70, 70));
    assert_eq!(
        bench.post(vec![posting(2, 0, 25, true), posting(3, 0, 45, true)]).await,
        Ok(vec![PostingOutcome::Posted; 2])
    );
    assert_eq!(bench.sums(hash).await, (0, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_hold_that_gave_credit_back_ends_with_its_rest(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    for (id, ends_by_posting) in [(1, true), (3, false)] {
        bench.ledger.hold(order(id, hash, 100)).await.unwrap();
        bench.ledger.hold(taking(id + 1, hash, 30, (id, 30))).await.unwrap();
        // An extension tells what it has in all, without what it gave.
        bench.post(vec![posting(id + 1, 0, 0, true)]).await.unwrap();
        assert_eq!(bench.ledger.extend(extension(id, 0, 10, 10)).await, extended(hash, 80, 20));
        if ends_by_posting {
            bench.post(vec![posting(id, 0, 0, true)]).await.unwrap();
        } else {
            bench.clock.advance_ms(TTL_MS);
            bench.ledger.sweep().await.unwrap();
        }
        assert_eq!(bench.sums(hash).await, (100, 0));
        // What has ended gives nothing.
        bench.ledger.hold(order(id + 10, hash, 90)).await.unwrap();
        let refusal = refused(HoldRefusal::InsufficientCredit, 10);
        assert_eq!(bench.ledger.hold(taking(id + 20, hash, 20, (id, 50))).await, Ok(refusal));
        bench.post(vec![posting(id + 10, 0, 0, true)]).await.unwrap();
        bench.assert_audit_clean().await;
    }
}

pub(super) async fn a_refused_or_repeated_hold_takes_nothing_back(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 90)).await.unwrap();
    // 10 are free, 60 come back: 71 is too much.
    let too_much = taking(2, hash, 71, (1, 60));
    let refusal = refused(HoldRefusal::InsufficientCredit, 10);
    assert_eq!(bench.ledger.hold(too_much).await, Ok(refusal));
    assert_eq!(bench.sums(hash).await, (100, 90));
    let first = taking(2, hash, 70, (1, 60));
    for _ in 0..3 {
        assert_eq!(bench.ledger.hold(first.clone()).await, Ok(granted(hash, 70, 0)));
        assert_eq!(bench.sums(hash).await, (100, 100));
    }
    // What a repeat would take is no part of what makes it one.
    assert_eq!(bench.ledger.hold(order(2, hash, 70)).await, Ok(granted(hash, 70, 0)));
    let ended = vec![posting(2, 0, 0, true)];
    bench.post(ended).await.unwrap();
    assert_eq!(bench.ledger.hold(first).await, Ok(HoldOutcome::Ended));
    assert_eq!(bench.sums(hash).await, (100, 30));
    bench.assert_audit_clean().await;
}

pub(super) async fn nothing_is_taken_from_strangers_or_from_what_is_not_there(bench: Bench) {
    let (hash, other) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    bench.ledger.hold(order(1, other, 100)).await.unwrap();
    for (id, from) in [(2, 1), (3, 9), (4, 4)] {
        assert_eq!(
            bench.ledger.hold(taking(id, hash, 101, (from, 50))).await,
            Ok(refused(HoldRefusal::InsufficientCredit, 100))
        );
        // It is granted all the same where its own account has enough.
        assert_eq!(
            bench.ledger.hold(taking(id, hash, 100, (from, 50))).await,
            Ok(granted(hash, 100, 0))
        );
        assert_eq!((bench.sums(hash).await, bench.sums(other).await), ((100, 100), (100, 100)));
        bench.post(vec![posting(id, 0, 0, true)]).await.unwrap();
    }
    bench.assert_audit_clean().await;
}

/// A hold keeps credit that has expired; who takes it back finds it at its end.
pub(super) async fn credit_whose_time_is_over_does_not_move_to_another_hold(bench: Bench) {
    let credit_ttl_ms = Some(5_000);
    let dated = NewInvoice { credit_ttl_ms, ..invoice(1, 100, None) };
    bench.ledger.open_invoice(dated).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    bench.ledger.open_invoice(invoice(2, 20, Some(hash(1)))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(2))).await.unwrap();
    bench.ledger.hold(order(1, hash(1), 80)).await.unwrap();
    bench.clock.advance_ms(5_000);
    // 20 of the expired were free and are gone, 80 are promised, 20 are for ever.
    let refusal = refused(HoldRefusal::InsufficientCredit, 20);
    assert_eq!(bench.ledger.hold(taking(2, hash(1), 21, (1, 50))).await, Ok(refusal));
    assert_eq!(bench.sums(hash(1)).await, (100, 80));
    let outcome = bench.ledger.hold(taking(2, hash(1), 20, (1, 50))).await;
    assert_eq!(outcome, Ok(granted(hash(1), 20, 0)));
    assert_eq!(bench.sums(hash(1)).await, (50, 50));
    bench.post(vec![posting(1, 0, 30, true), posting(2, 0, 20, true)]).await.unwrap();
    assert_eq!(bench.sums(hash(1)).await, (0, 0));
    bench.assert_audit_clean().await;
}

/// Many take from one hold at once: what they get is what it had.
pub(super) async fn sixty_four_holds_take_from_one_and_no_credit_is_made(bench: Bench) {
    let hash = bench.paid(1, 405).await;
    bench.ledger.hold(order(1_000, hash, 400)).await.unwrap();
    let mut asks = JoinSet::new();
    for id in 0..64 {
        let ledger = bench.ledger.clone();
        asks.spawn(async move {
            if id % 8 == 0 {
                let seq = u32::try_from(id).unwrap();
                ledger.post(vec![posting(1_000, seq, 5, false)]).await.unwrap();
            }
            let outcome = ledger.hold(taking(id, hash, 10, (1_000, 10))).await.unwrap();
            matches!(outcome, HoldOutcome::Answered(HoldReply::Granted { .. }))
        });
    }
    let granted = asks.join_all().await.into_iter().filter(|granted| *granted).count();
    let charged = 405 - bench.sums(hash).await.0;
    // Every msat is charged, in a new hold, or free; none of them covers another hold.
    let free = 405 - charged - granted as u64 * 10;
    assert!(free < 10 && granted >= 36, "{granted} holds, {free} free, {charged} charged");
    let rows = (0..64).map(|id| posting(id, 0, 10, true)).collect();
    bench.post(rows).await.unwrap();
    bench.post(vec![posting(1_000, 99, 1_000, true)]).await.unwrap();
    let (balance, held) = bench.sums(hash).await;
    assert!(balance < 10 && held == 0, "{balance}, {held}");
    bench.assert_audit_clean().await;
}

pub(super) async fn postings_of_a_revoked_account_say_so(bench: Bench) {
    let (hash, other) = (bench.paid(1, 100).await, bench.paid(2, 100).await);
    bench.ledger.open_invoice(invoice(3, 5, Some(hash))).await.unwrap();
    for (id, hash) in [(1, hash), (2, super::hash(3)), (3, other), (4, hash)] {
        bench.ledger.hold(order(id, hash, 10)).await.unwrap();
    }
    let revoked = async |rows| -> Vec<bool> {
        let results: Vec<PostingResult> = bench.ledger.post(rows).await.unwrap();
        results.into_iter().map(|result| result.revoked).collect()
    };
    let rows = |seq| (1..=3).map(|id| posting(id, seq, 1, false)).collect::<Vec<_>>();
    bench.post(vec![posting(4, 0, 0, true)]).await.unwrap();
    assert_eq!(revoked(rows(0)).await, [false, false, false]);
    // By the hash of a top-up: every token of the account is revoked.
    bench.ledger.administer(action(1, AdminAct::Revoke(super::hash(3)))).await.unwrap();
    assert_eq!(revoked(rows(1)).await, [true, true, false]);
    let others = vec![posting(1, 1, 1, false), posting(1, 1, 2, false), posting(9, 0, 1, false)];
    assert_eq!(revoked(others).await, [true, true, false], "repeated, in conflict, unknown");
    assert_eq!(revoked(vec![posting(4, 1, 1, true)]).await, [true], "released before");
    let refusal = refused(HoldRefusal::AccountRevoked, 0);
    let HoldOutcome::Answered(refusal) = refusal else { panic!("a refusal is an answer") };
    let extension = bench.ledger.extend(extension(1, 0, 0, 10)).await;
    assert_eq!(extension, Ok(ExtendOutcome::Answered(refusal)));
    bench.ledger.administer(action(2, AdminAct::Unrevoke(hash))).await.unwrap();
    assert_eq!(revoked(rows(2)).await, [false, false, false]);
    bench.assert_audit_clean().await;
}
