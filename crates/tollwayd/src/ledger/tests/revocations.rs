//! Laws of what the gate is told of keys and revoked tokens.

use futures_util::future::join_all;
use tollway_core::wire::REVOKED_TOKENS_MAX;

use super::gifts::action;
use super::*;

async fn revoke(bench: &Bench, id: u8, hash: PaymentHash) {
    let done = bench.ledger.administer(action(id, AdminAct::Revoke(hash))).await;
    assert_eq!(done, Ok(AdminOutcome::Done));
}

async fn revoked(bench: &Bench) -> Vec<PaymentHash> {
    bench.ledger.keyring().await.unwrap().revoked
}

pub(super) async fn the_keyring_names_all_tokens_of_revoked_accounts(bench: Bench) {
    let (one, two) = (bench.paid(1, 50).await, bench.paid(2, 50).await);
    bench.paid(5, 50).await;
    for (tag, settled) in [(3, true), (4, false)] {
        bench.ledger.open_invoice(invoice(tag, 5, Some(one))).await.unwrap();
        if settled {
            bench.ledger.settle(Settlement::of(hash(tag))).await.unwrap();
        }
    }
    assert_eq!(revoked(&bench).await, []);
    revoke(&bench, 1, hash(3)).await;
    assert_eq!(revoked(&bench).await, [one, hash(3)]);
    bench.clock.advance_ms(1);
    revoke(&bench, 2, two).await;
    let expected = [two, one, hash(3)];
    assert_eq!(revoked(&bench).await, expected, "the newest first, what topped up last");
    // An invoice of nobody's is no token yet; its payment makes it one.
    let refusal = refused(HoldRefusal::AccountRevoked, 0);
    assert_eq!(bench.ledger.hold(order(1, hash(4), 1)).await, Ok(refusal));
    assert_eq!(revoked(&bench).await, [two, one, hash(3), hash(4)]);
    let bench = bench.reopen().await;
    let unrevoke = action(3, AdminAct::Unrevoke(hash(4)));
    bench.ledger.administer(unrevoke).await.unwrap();
    assert_eq!(revoked(&bench).await, [two]);
}

pub(super) async fn the_keyring_names_no_more_revocations_than_it_may(bench: Bench) {
    let name = |n: u16| {
        let mut bytes = [9; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        PaymentHash::from_bytes(bytes)
    };
    let some = async |numbers: std::ops::Range<u16>| {
        join_all(numbers.map(async |n| {
            let payment_hash = name(n);
            let invoice = NewInvoice { payment_hash, ..invoice(1, 5, None) };
            bench.ledger.open_invoice(invoice).await.unwrap();
            bench.ledger.settle(Settlement::of(payment_hash)).await.unwrap();
            let mut order = action(1, AdminAct::Revoke(payment_hash));
            order.id[..2].copy_from_slice(&n.to_be_bytes());
            bench.ledger.administer(order).await.unwrap();
        }))
        .await;
    };
    some(0..1_000).await;
    let full = revoked(&bench).await;
    assert_eq!(full.len(), REVOKED_TOKENS_MAX);
    bench.clock.advance_ms(1);
    // A top-up of the first crowds nobody out.
    bench.ledger.open_invoice(invoice(1, 5, Some(name(0)))).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    assert_eq!(revoked(&bench).await, full);
    some(1_000..1_003).await;
    let newest = revoked(&bench).await;
    assert_eq!(newest.len(), REVOKED_TOKENS_MAX);
    assert_eq!(newest[..3], [name(1_000), name(1_001), name(1_002)]);
    assert_eq!(newest[3..], full[..REVOKED_TOKENS_MAX - 3]);
}

pub(super) async fn the_revision_is_another_after_every_change_at_once(bench: Bench) {
    let hash = bench.paid(1, 50).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut change = async |what: &str| {
        let number = bench.ledger.revision().await;
        assert!(number != 0 && seen.insert(number), "{what}");
        assert_eq!(bench.ledger.keyring().await.unwrap().revision(), number, "{what}");
    };
    change("the first").await;
    let first = bench.ledger.keyring().await.unwrap().current;
    bench.ledger.rotate_key(KeyBytes([7; 32])).await.unwrap();
    change("a new key").await;
    bench.ledger.administer(action(1, AdminAct::RetireKey(first))).await.unwrap();
    change("a retired key").await;
    revoke(&bench, 2, hash).await;
    change("a revocation").await;
    bench.ledger.open_invoice(invoice(2, 5, Some(hash))).await.unwrap();
    bench.ledger.settle(Settlement::of(super::hash(2))).await.unwrap();
    bench.clock.advance_ms(1_000);
    change("another token of a revoked account").await;
    // What changes neither keys nor revocations changes nothing here.
    let before = bench.ledger.revision().await;
    bench.paid(3, 50).await;
    bench.ledger.administer(action(3, AdminAct::Grant(hash, msat(1)))).await.unwrap();
    bench.clock.advance_ms(1_000);
    assert_eq!(bench.ledger.revision().await, before);
}

/// Another tollwayd on the same store says the same, a second later at most, and does not look
/// at the store for every call.
pub(super) async fn others_hear_of_it_within_a_second(bench: &Bench, other: &Ledger) {
    let hash = bench.paid(1, 50).await;
    let before = bench.ledger.revision().await;
    assert_eq!(other.revision().await, before);
    revoke(bench, 1, hash).await;
    let after = bench.ledger.revision().await;
    assert_ne!(after, before);
    bench.clock.advance_ms(999);
    assert_eq!(other.revision().await, before, "it looked 999 ms ago");
    assert_eq!(other.keyring().await.unwrap().revoked, [hash], "the keyring is always new");
    assert_eq!(other.revision().await, after, "and tells it to all");
    revoke(bench, 2, hash).await;
    let unrevoke = action(3, AdminAct::Unrevoke(hash));
    bench.ledger.administer(unrevoke).await.unwrap();
    bench.clock.advance_ms(999);
    assert_eq!(other.revision().await, after);
    bench.clock.advance_ms(1);
    assert_eq!(other.revision().await, before);
}

#[tokio::test]
async fn a_second_ledger_in_the_same_tables_hears_of_it() {
    let bench = Bench::memory().await;
    let Place::Memory(tables) = &bench.place else { panic!("no memory") };
    let (tables, clock) = (Arc::clone(tables), bench.clock.clone());
    let other = Ledger::open_memory(tables, clock, Metrics::new().ledger).unwrap();
    others_hear_of_it_within_a_second(&bench, &other.ledger).await;
}
