//! Laws of partial grants, extensions, over-runs and idempotency keys.

use tokio::task::JoinSet;
use tollway_core::digest::Digest;
use tollway_core::wire::{IdempotencyKey, StoredResponse};

use super::*;

fn extension(id: u128, seq: u32, add: u64, ttl_ms: u64) -> ExtendOrder {
    ExtendOrder { id: hold_id(id), seq, add: msat(add), min: msat(add), ttl_ms }
}

pub(super) async fn a_grant_lies_between_the_least_and_the_asked(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let between = |id, min, amount| HoldOrder { min: msat(min), ..order(id, hash, amount) };
    assert_eq!(bench.ledger.hold(between(1, 10, 70)).await, Ok(granted(hash, 70, 30)));
    assert_eq!(bench.ledger.hold(between(2, 10, 70)).await, Ok(granted(hash, 30, 0)));
    let refusal = refused(HoldRefusal::InsufficientCredit, 0);
    assert_eq!(bench.ledger.hold(between(3, 1, 70)).await, Ok(refusal));
    assert_eq!(bench.ledger.hold(between(2, 10, 70)).await, Ok(granted(hash, 30, 0)));
    assert_eq!(bench.ledger.hold(between(2, 11, 70)).await, Ok(HoldOutcome::Conflict));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_extension_adds_credit_and_time_once(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let extended = |total, balance| match granted(hash, total, balance) {
        HoldOutcome::Answered(reply) => Ok(ExtendOutcome::Answered(reply)),
        _ => panic!("a grant is an answer"),
    };
    assert_eq!(bench.ledger.extend(extension(1, 0, 5, 10)).await, Ok(ExtendOutcome::Unknown));
    bench.ledger.hold(order(1, hash, 40)).await.unwrap();
    bench.clock.advance_ms(TTL_MS - 1);
    for _ in 0..3 {
        assert_eq!(bench.ledger.extend(extension(1, 0, 20, TTL_MS)).await, extended(60, 40));
    }
    for other in [extension(1, 0, 21, TTL_MS), extension(1, 0, 20, 1)] {
        assert_eq!(bench.ledger.extend(other).await, Ok(ExtendOutcome::Conflict));
    }
    let refusal = HoldRefusal::InsufficientCredit;
    let refused =
        HoldReply::Refused { refusal, balance_msat: msat(40), resets_at: None, tier: None };
    let too_much = bench.ledger.extend(extension(1, 1, 41, TTL_MS)).await;
    assert_eq!(too_much, Ok(ExtendOutcome::Answered(refused)), "and it is not remembered");
    assert_eq!(bench.ledger.extend(extension(1, 1, 40, 1)).await, extended(100, 0));
    bench.clock.advance_ms(TTL_MS - 1);
    assert_eq!(bench.post(vec![posting(1, 0, 100, false)]).await, Ok(vec![PostingOutcome::Posted]));
    bench.clock.advance_ms(1);
    assert_eq!(bench.ledger.extend(extension(1, 2, 0, 9)).await, Ok(ExtendOutcome::Ended));
    assert_eq!(bench.sums(hash).await, (0, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn an_overrun_is_capped_debited_or_owed(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    let charge = async |id, overrun, release| {
        let row = Posting { overrun, ..posting(id, 0, 60, release) };
        let first = bench.ledger.post(vec![row.clone()]).await.unwrap();
        assert_eq!(bench.ledger.post(vec![row.clone()]).await.unwrap(), first, "a repeat");
        let other = Posting { overrun: Overrun::Debt { limit_msat: msat(1) }, ..row };
        assert_eq!(bench.post(vec![other]).await, Ok(vec![PostingOutcome::Conflict]));
        (first[0].outcome, first[0].charged_msat.get())
    };
    for id in 1..=3 {
        bench.ledger.hold(order(id, hash, 10)).await.unwrap();
    }
    assert_eq!(charge(1, Overrun::Cap, true).await, (PostingOutcome::Posted, 10));
    assert_eq!(bench.sums(hash).await, (90, 20));
    // The holds of others are not touched.
    assert_eq!(charge(2, Overrun::DebitRest, true).await, (PostingOutcome::Posted, 60));
    assert_eq!(bench.sums(hash).await, (30, 10));
    let debt = Overrun::Debt { limit_msat: msat(25) };
    assert_eq!(charge(3, debt, true).await, (PostingOutcome::Posted, 55));
    assert_eq!(bench.sums(hash).await, (0, 0));
    let view = bench.ledger.account(hash).await.unwrap().unwrap();
    assert_eq!((view.debt_msat, view.charged_msat), (msat(25), msat(100)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_debt_is_repaid_by_the_next_credit_first(bench: Bench) {
    let hash = bench.paid(1, 10).await;
    bench.ledger.hold(order(1, hash, 10)).await.unwrap();
    let debt = Overrun::Debt { limit_msat: msat(1_000) };
    let row = Posting { overrun: debt, ..posting(1, 0, 40, true) };
    bench.ledger.post(vec![row]).await.unwrap();
    for (tag, paid, left, owed) in [(2, 20, 0, 10), (3, 50, 40, 0)] {
        bench.ledger.open_invoice(invoice(tag, paid, Some(hash))).await.unwrap();
        bench.ledger.settle(Settlement::of(super::hash(tag))).await.unwrap();
        let view = bench.ledger.account(hash).await.unwrap().unwrap();
        assert_eq!((view.balance_msat, view.debt_msat), (msat(left), msat(owed)));
    }
    bench.assert_audit_clean().await;
}

fn keyed(id: u128, hash: PaymentHash, key: u8, fields: u8) -> HoldOrder {
    let (key, fields) = (Digest::of(&[&[key]]), Digest::of(&[&[fields]]));
    HoldOrder { once: Some(IdempotencyKey { key, fields }), ..order(id, hash, 10) }
}

fn charged_before(hash: PaymentHash, balance: u64, replay: Option<StoredResponse>) -> HoldOutcome {
    HoldOutcome::Answered(HoldReply::Granted {
        account: hash,
        granted_msat: Msat::ZERO,
        balance_msat: msat(balance),
        tier: Tier::NONE,
        already_charged: true,
        replay,
    })
}

pub(super) async fn a_request_with_a_key_is_charged_once(bench: Bench) {
    let hash = bench.paid(1, 30).await;
    let in_flight = refused(HoldRefusal::IdempotencyInFlight, 20);
    assert_eq!(bench.ledger.hold(keyed(1, hash, 7, 1)).await, Ok(granted(hash, 10, 20)));
    assert_eq!(bench.ledger.hold(keyed(1, hash, 7, 1)).await, Ok(granted(hash, 10, 20)));
    assert_eq!(bench.ledger.hold(keyed(2, hash, 7, 1)).await, Ok(in_flight));
    let stored = StoredResponse::new(200, b"text/plain", &[b'x'; 16 * 1_024]).unwrap();
    let row = Posting { store: Some(stored.clone()), ..posting(1, 0, 10, true) };
    assert_eq!(bench.post(vec![row]).await, Ok(vec![PostingOutcome::Posted]));
    bench.ledger.hold(order(3, hash, 20)).await.unwrap();
    let bench = bench.reopen().await;
    // Also when the account is empty: it was paid for.
    let again = charged_before(hash, 0, Some(stored));
    assert_eq!(bench.ledger.hold(keyed(2, hash, 7, 1)).await, Ok(again.clone()));
    bench.clock.advance_ms(86_400_000 - 1);
    assert!(matches!(
        bench.ledger.hold(keyed(4, hash, 7, 1)).await,
        Ok(HoldOutcome::Answered(HoldReply::Granted { already_charged: true, .. }))
    ));
    bench.clock.advance_ms(1);
    assert_eq!(bench.ledger.hold(keyed(4, hash, 7, 1)).await, Ok(granted(hash, 10, 10)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_key_belongs_to_its_account_and_to_its_fields(bench: Bench) {
    let (one, two) = (bench.paid(1, 30).await, bench.paid(2, 30).await);
    bench.ledger.hold(keyed(1, one, 7, 1)).await.unwrap();
    assert_eq!(bench.ledger.hold(keyed(2, two, 7, 2)).await, Ok(granted(two, 10, 20)));
    let mismatch = refused(HoldRefusal::IdempotencyMismatch, 20);
    assert_eq!(bench.ledger.hold(keyed(3, one, 7, 2)).await, Ok(mismatch.clone()));
    bench.post(vec![posting(1, 0, 10, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(keyed(3, one, 7, 2)).await, Ok(mismatch));
    let done = charged_before(one, 20, None);
    assert_eq!(bench.ledger.hold(keyed(3, one, 7, 1)).await, Ok(done));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_key_of_an_uncharged_request_is_free_again(bench: Bench) {
    let hash = bench.paid(1, 30).await;
    bench.ledger.hold(keyed(1, hash, 7, 1)).await.unwrap();
    bench.post(vec![posting(1, 0, 0, true)]).await.unwrap();
    assert_eq!(bench.ledger.hold(keyed(2, hash, 7, 2)).await, Ok(granted(hash, 10, 20)));
    bench.clock.advance_ms(TTL_MS);
    assert_eq!(bench.ledger.hold(keyed(3, hash, 7, 3)).await, Ok(granted(hash, 10, 20)));
    bench.ledger.prune().await.unwrap();
    bench.assert_audit_clean().await;
}

pub(super) async fn sixty_four_requests_with_one_key_are_charged_once(bench: Bench) {
    let hash = bench.paid(1, 1_000).await;
    let mut requests = JoinSet::new();
    for id in 0..64 {
        let ledger = bench.ledger.clone();
        requests.spawn(async move {
            let outcome = ledger.hold(keyed(id, hash, 7, 1)).await.unwrap();
            if outcome == refused(HoldRefusal::IdempotencyInFlight, 990) {
                return false;
            }
            if let HoldOutcome::Answered(HoldReply::Granted { already_charged: false, .. }) =
                outcome
            {
                ledger.post(vec![posting(id, 0, 10, true)]).await.unwrap();
                return true;
            }
            assert_eq!(outcome, charged_before(hash, 990, None));
            false
        });
    }
    let charged = requests.join_all().await.into_iter().filter(|charged| *charged).count();
    assert_eq!(charged, 1);
    assert_eq!(bench.sums(hash).await, (990, 0));
    bench.assert_audit_clean().await;
}
