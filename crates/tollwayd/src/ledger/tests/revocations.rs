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
            let made = bench.ledger.open_invoice(invoice).await;
            assert!(matches!(made, Ok(InvoiceOutcome::Stored | InvoiceOutcome::HashTaken)));
            bench.ledger.settle(Settlement::of(payment_hash)).await.unwrap();
            let mut order = action(1, AdminAct::Revoke(payment_hash));
            order.id[..2].copy_from_slice(&n.to_be_bytes());
            bench.ledger.administer(order).await.unwrap();
        }))
        .await;
    };
    // A top-up of the first crowds nobody out.
    let first = NewInvoice { payment_hash: name(0), ..invoice(1, 5, None) };
    bench.ledger.open_invoice(first).await.unwrap();
    bench.ledger.open_invoice(invoice(1, 5, Some(name(0)))).await.unwrap();
    some(0..1_000).await;
    let full = revoked(&bench).await;
    assert_eq!(full.len(), REVOKED_TOKENS_MAX);
    bench.clock.advance_ms(1);
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    assert_eq!(revoked(&bench).await, full);
    some(1_000..1_003).await;
    let newest = revoked(&bench).await;
    assert_eq!(newest.len(), REVOKED_TOKENS_MAX);
    assert_eq!(newest[..3], [name(1_000), name(1_001), name(1_002)]);
    assert_eq!(newest[3..], full[..REVOKED_TOKENS_MAX - 3]);
    // Nor does a token that only tops up, whenever it is revoked; one that could be a session
    // comes in.
    bench.clock.advance_ms(1);
    bench.ledger.open_invoice(invoice(2, 5, None)).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(2))).await.unwrap();
    for (id, token) in [(251, 1), (252, 2)] {
        let done = bench.ledger.administer(action(id, AdminAct::RevokeToken(hash(token)))).await;
        assert_eq!(done, Ok(AdminOutcome::Done));
    }
    let last = revoked(&bench).await;
    assert_eq!((last.len(), last[0]), (REVOKED_TOKENS_MAX, hash(2)));
    assert_eq!(last[1..], newest[..REVOKED_TOKENS_MAX - 1]);
}

pub(super) async fn a_token_is_revoked_without_its_account(bench: Bench) {
    let account = bench.paid(1, 100).await;
    let token = hash(2);
    bench.ledger.open_invoice(invoice(2, 50, Some(account))).await.unwrap();
    for (id, with) in [(1, token), (2, account)] {
        let placed = bench.ledger.hold(order(id, with, 10)).await;
        assert_eq!(placed, Ok(granted(account, 10, 150 - 10 * id as u64)));
    }
    let done = bench.ledger.administer(action(1, AdminAct::RevokeToken(token))).await;
    assert_eq!(done, Ok(AdminOutcome::Done));
    let bench = bench.reopen().await;
    assert_eq!(revoked(&bench).await, [token]);
    assert_eq!(bench.ledger.hold(order(3, token, 1)).await, Ok(is_revoked()));
    assert_eq!(bench.ledger.hold(order(4, account, 1)).await, Ok(granted(account, 1, 129)));
    // What the token was promised before can be charged, and not added to.
    let rows = vec![posting(1, 0, 1, false), posting(2, 0, 1, false)];
    let told: Vec<_> = bench.ledger.post(rows).await.unwrap();
    assert_eq!(told.iter().map(|it| it.revoked).collect::<Vec<_>>(), [true, false]);
    let more = |id| ExtendOrder { id: hold_id(id), seq: 0, add: msat(5), min: msat(5), ttl_ms: 1 };
    let refusal = HoldReply::Refused {
        refusal: HoldRefusal::AccountRevoked,
        balance_msat: Msat::ZERO,
        resets_at: None,
        tier: None,
    };
    assert_eq!(bench.ledger.extend(more(1)).await, Ok(ExtendOutcome::Answered(refusal)));
    let granted_more = bench.ledger.extend(more(2)).await;
    assert!(matches!(granted_more, Ok(ExtendOutcome::Answered(HoldReply::Granted { .. }))));
    // Who has it does not come by a good token of the account.
    let top_up = |tag, of| bench.ledger.open_invoice(invoice(tag, 5, Some(of)));
    assert_eq!(top_up(3, token).await, Ok(InvoiceOutcome::TopUpUnknown));
    assert_eq!(top_up(3, account).await, Ok(InvoiceOutcome::Stored));
    let view = bench.ledger.account(token).await.unwrap().unwrap();
    assert_eq!(view.revoked_at_ms, None);
    assert!(bench.ledger.invoice(token).await.unwrap().unwrap().revoked_at_ms.is_some());
    let lines = bench.ledger.actions().await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.kind, line.account)).collect();
    assert_eq!(told, [("revoke_token", Some(account))]);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_token_and_its_account_are_revoked_apart(bench: Bench) {
    let account = bench.paid(1, 100).await;
    let token = hash(2);
    bench.ledger.open_invoice(invoice(2, 50, Some(account))).await.unwrap();
    bench.ledger.settle(Settlement::of(token)).await.unwrap();
    let spends = async |id, with| {
        let outcome = bench.ledger.hold(order(id, with, 1)).await.unwrap();
        assert!(outcome == is_revoked() || outcome == granted(account, 1, 150 - id as u64));
        outcome != is_revoked()
    };
    // (act, the token spends, the account's first token spends, what the keyring names)
    let steps = [
        (AdminAct::RevokeToken(token), false, true, vec![token]),
        (AdminAct::Revoke(token), false, false, vec![account, token]),
        (AdminAct::UnrevokeToken(token), false, false, vec![account, token]),
        (AdminAct::RevokeToken(account), false, false, vec![account, token]),
        (AdminAct::Unrevoke(account), true, false, vec![account]),
        (AdminAct::UnrevokeToken(account), true, true, vec![]),
    ];
    let mut next = 0;
    for (step, (act, by_token, by_first, named)) in steps.into_iter().enumerate() {
        let order = action(step as u8 + 1, act);
        for _ in 0..2 {
            assert_eq!(bench.ledger.administer(order.clone()).await, Ok(AdminOutcome::Done));
        }
        for (with, may) in [(token, by_token), (account, by_first)] {
            assert_eq!(spends(next + 1, with).await, may, "{act:?}, {with}");
            next += u128::from(may);
        }
        assert_eq!(revoked(&bench).await, named, "{act:?}");
        bench.clock.advance_ms(1);
    }
    bench.assert_audit_clean().await;
}

/// It might be paid and used any time.
pub(super) async fn a_revoked_token_stays_revoked_while_it_is_not_paid(bench: Bench) {
    let account = bench.paid(1, 100).await;
    bench.ledger.open_invoice(sessions::session(2, 100)).await.unwrap();
    let offer = Asker { client: [1; 32], offer: [2; 32] };
    let top_up = NewInvoice { asker: Some(offer), ..invoice(3, 5, Some(account)) };
    bench.ledger.open_invoice(top_up).await.unwrap();
    bench.ledger.open_invoice(invoice(4, 5, None)).await.unwrap();
    assert!(bench.ledger.shared_invoice(&offer).await.unwrap().is_some());
    for (tag, outcome) in [
        (2, AdminOutcome::Done),
        (3, AdminOutcome::Done),
        // As with accounts: credit cannot be used before the ledger knows of it.
        (4, AdminOutcome::Unknown),
        (5, AdminOutcome::Unknown),
    ] {
        let done = bench.ledger.administer(action(tag, AdminAct::RevokeToken(hash(tag)))).await;
        assert_eq!(done, Ok(outcome), "{tag}");
    }
    assert_eq!(bench.ledger.shared_invoice(&offer).await, Ok(None), "nobody is to pay it");
    bench.clock.advance_ms(30 * 86_400_000);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.ledger.invoice(hash(4)).await, Ok(None));
    assert_eq!(revoked(&bench).await, [hash(2), hash(3)]);
    for tag in [2, 3] {
        let settled = bench.ledger.settle(Settlement::of(hash(tag))).await;
        assert_eq!(settled, Ok(SettleOutcome::Credited));
    }
    assert_eq!(revoked(&bench).await, [hash(2), hash(3)]);
    assert_eq!(bench.ledger.hold(order(1, hash(3), 1)).await, Ok(is_revoked()));
    assert_eq!(bench.ledger.hold(order(1, account, 105)).await, Ok(granted(account, 105, 0)));
    bench.assert_audit_clean().await;
}

fn is_revoked() -> HoldOutcome {
    refused(HoldRefusal::AccountRevoked, 0)
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
    bench.ledger.open_invoice(invoice(2, 5, Some(hash))).await.unwrap();
    revoke(&bench, 2, hash).await;
    change("a revocation").await;
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
