//! Laws of bonuses, expiring credit, free tiers, lost invoices, and what operators do.

use tokio::task::JoinSet;
use tollway_core::id::KeyId;
use tollway_core::wire::{AllowanceReply, Window};

use super::*;

const DAY_MS: u64 = 86_400_000;

pub(super) async fn entries(bench: &Bench, hash: PaymentHash) -> Vec<(&'static str, i64)> {
    let view = bench.ledger.account(hash).await.unwrap().unwrap();
    view.entries.iter().rev().map(|entry| (entry.kind, entry.amount_msat)).collect()
}

async fn settle(bench: &Bench, tag: u8) -> SettleOutcome {
    bench.ledger.settle(Settlement::of(hash(tag))).await.unwrap()
}

pub(super) async fn a_purchase_brings_its_bonus_and_a_new_account_its_seed(bench: Bench) {
    let rich =
        |tag, top_up| NewInvoice { credit: msat(110), seed: msat(7), ..invoice(tag, 100, top_up) };
    bench.ledger.open_invoice(rich(1, None)).await.unwrap();
    bench.ledger.open_invoice(rich(2, Some(hash(1)))).await.unwrap();
    assert_eq!(settle(&bench, 1).await, SettleOutcome::Credited);
    assert_eq!(settle(&bench, 2).await, SettleOutcome::Credited);
    let expected = [("credit", 100), ("bonus", 10), ("seed", 7), ("credit", 100), ("bonus", 10)];
    assert_eq!(entries(&bench, hash(1)).await, expected);
    assert_eq!(bench.sums(hash(1)).await, (227, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn more_than_asked_is_credited_in_full(bench: Bench) {
    for (tag, received, balance) in [(1, 150, 150), (2, 105, 110), (3, 1, 110)] {
        let order = NewInvoice { credit: msat(110), ..invoice(tag, 100, None) };
        bench.ledger.open_invoice(order).await.unwrap();
        let settlement = Settlement { received: Some(msat(received)), ..Settlement::of(hash(tag)) };
        let outcome = bench.ledger.settle(settlement.clone()).await;
        assert_eq!(outcome, Ok(SettleOutcome::Credited));
        let again = bench.ledger.settle(settlement).await;
        assert_eq!(again, Ok(SettleOutcome::AlreadyCredited));
        assert_eq!(bench.sums(hash(tag)).await, (balance, 0));
    }
    bench.assert_audit_clean().await;
}

/// An account with 100 for ever, 50 for 10 s and 30 for 5 s.
async fn tranches(bench: &Bench) -> PaymentHash {
    let account = bench.paid(1, 100).await;
    for (tag, amount, ttl_ms) in [(2, 50, 10_000), (3, 30, 5_000)] {
        let credit_ttl_ms = Some(ttl_ms);
        let order = NewInvoice { credit_ttl_ms, ..invoice(tag, amount, Some(account)) };
        bench.ledger.open_invoice(order).await.unwrap();
        settle(bench, tag).await;
    }
    account
}

pub(super) async fn credit_that_expires_is_spent_first_and_the_rest_of_it_ends(bench: Bench) {
    let account = tranches(&bench).await;
    bench.ledger.hold(order(1, account, 40)).await.unwrap();
    bench.post(vec![posting(1, 0, 40, true)]).await.unwrap();
    // 30 of the first and 10 of the second are gone.
    bench.clock.advance_ms(5_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(account).await, (140, 0));
    let bench = bench.reopen().await;
    bench.clock.advance_ms(4_999);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(account).await, (140, 0));
    bench.clock.advance_ms(1);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(account).await, (100, 0));
    let last = entries(&bench, account).await.pop();
    assert_eq!(last, Some(("expiry", -40)));
    bench.assert_audit_clean().await;
}

pub(super) async fn credit_in_a_hold_outlives_its_end_until_the_hold_ends(bench: Bench) {
    let account = tranches(&bench).await;
    let long = |id, amount| HoldOrder { ttl_ms: 60_000, ..order(id, account, amount) };
    bench.ledger.hold(long(1, 60)).await.unwrap();
    bench.clock.advance_ms(10_000);
    // Of the 80 that have expired, 60 are promised.
    assert_eq!(
        bench.ledger.hold(long(2, 101)).await,
        Ok(refused(HoldRefusal::InsufficientCredit, 100,))
    );
    assert_eq!(bench.sums(account).await, (160, 60));
    bench.post(vec![posting(1, 0, 25, true)]).await.unwrap();
    bench.clock.advance_ms(2_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(account).await, (100, 0));
    bench.assert_audit_clean().await;
}

fn free(client: u8, window: Window, limit: u64, cost: u64) -> AllowanceOrder {
    AllowanceOrder {
        client: [client; 32],
        before: Vec::new(),
        window,
        limit,
        cost,
        route: "joke".to_owned(),
    }
}

async fn remaining(bench: &Bench, order: AllowanceOrder) -> Option<u64> {
    match bench.ledger.allowance(order).await.unwrap() {
        AllowanceReply::Granted { remaining, .. } => Some(remaining),
        AllowanceReply::Exhausted { .. } => None,
    }
}

pub(super) async fn a_free_tier_counts_until_its_window_ends(bench: Bench) {
    let day = |cost| free(1, Window::Day, 3, cost);
    assert_eq!(remaining(&bench, day(2)).await, Some(1));
    assert_eq!(remaining(&bench, day(2)).await, None, "and it counts nothing");
    assert_eq!(remaining(&bench, day(1)).await, Some(0));
    assert_eq!(remaining(&bench, free(2, Window::Day, 3, 1)).await, Some(2));
    let ends_ms = (START_MS / DAY_MS + 1) * DAY_MS;
    let reply = bench.ledger.allowance(day(1)).await;
    assert_eq!(reply, Ok(AllowanceReply::Exhausted { resets_at: ends_ms / 1_000 }));
    let bench = bench.reopen().await;
    bench.clock.set_ms(ends_ms - 1);
    assert_eq!(remaining(&bench, day(1)).await, None);
    bench.clock.set_ms(ends_ms);
    bench.ledger.prune().await.unwrap();
    assert_eq!(remaining(&bench, day(1)).await, Some(2));
    let rolling = || free(3, Window::Rolling { seconds: 60 }, 1, 1);
    assert_eq!(remaining(&bench, rolling()).await, Some(0));
    bench.clock.advance_ms(59_999);
    assert_eq!(remaining(&bench, rolling()).await, None);
    bench.clock.advance_ms(1);
    assert_eq!(remaining(&bench, rolling()).await, Some(0));
    let edge = free(4, Window::Day, u64::MAX, u64::MAX);
    assert_eq!(remaining(&bench, edge.clone()).await, Some(0));
}

pub(super) async fn a_window_goes_on_under_yesterdays_secret(bench: Bench) {
    let first = bench.ledger.day_secrets().await.unwrap();
    assert_eq!(first.secrets, bench.ledger.day_secrets().await.unwrap().secrets);
    bench.clock.advance_ms(DAY_MS);
    let second = bench.ledger.day_secrets().await.unwrap();
    assert_eq!((second.secrets.len(), &second.secrets[1]), (2, &first.secrets[0]));
    assert_ne!(second.secrets[0].1, first.secrets[0].1);
    let window = Window::Rolling { seconds: 600 };
    assert_eq!(remaining(&bench, free(1, window, 2, 1)).await, Some(1));
    let next_day = AllowanceOrder { before: vec![[1; 32]], ..free(2, window, 2, 1) };
    assert_eq!(remaining(&bench, next_day.clone()).await, Some(0));
    assert_eq!(remaining(&bench, next_day).await, None);
    bench.clock.advance_ms(40 * DAY_MS);
    bench.ledger.prune().await.unwrap();
    assert_eq!(bench.ledger.day_secrets().await.unwrap().secrets.len(), 1, "old ones are gone");
}

pub(super) async fn sixty_four_uses_of_a_free_tier_grant_its_limit(bench: Bench) {
    let mut uses = JoinSet::new();
    for _ in 0..64 {
        let ledger = bench.ledger.clone();
        uses.spawn(async move { ledger.allowance(free(1, Window::Day, 10, 1)).await.unwrap() });
    }
    let granted = |reply: &AllowanceReply| matches!(reply, AllowanceReply::Granted { .. });
    assert_eq!(uses.join_all().await.iter().filter(|reply| granted(reply)).count(), 10);
}

fn asked(tag: u8, client: u8, offer: u8) -> (NewInvoice, Asker) {
    let asker = Asker { client: [client; 32], offer: [offer; 32] };
    (NewInvoice { asker: Some(asker), ..invoice(tag, 100, None) }, asker)
}

pub(super) async fn the_same_asker_shares_an_invoice_until_it_is_paid(bench: Bench) {
    let (first, asker) = asked(1, 1, 1);
    let open = OpenInvoice::from(&first);
    assert_eq!(bench.ledger.shared_invoice(&asker).await, Ok(None));
    assert_eq!(bench.ledger.open_invoice(first).await, Ok(InvoiceOutcome::Stored));
    assert_eq!(bench.ledger.shared_invoice(&asker).await, Ok(Some(open.clone())));
    let second = bench.ledger.open_invoice(asked(2, 1, 1).0).await;
    assert_eq!(second, Ok(InvoiceOutcome::Shared(open)));
    assert_eq!(bench.ledger.open_invoice(asked(3, 1, 2).0).await, Ok(InvoiceOutcome::Stored));
    settle(&bench, 1).await;
    assert_eq!(bench.ledger.shared_invoice(&asker).await, Ok(None), "a paid one is its payer's");
    assert_eq!(bench.ledger.open_invoice(asked(4, 1, 1).0).await, Ok(InvoiceOutcome::Stored));
    bench.clock.advance_ms(60_000);
    assert_eq!(bench.ledger.shared_invoice(&asker).await, Ok(None));
    assert_eq!(bench.ledger.open_invoice(asked(5, 1, 1).0).await, Ok(InvoiceOutcome::Stored));
}

pub(super) async fn a_client_can_have_so_many_open_invoices(bench: Bench) {
    for tag in 1..=3 {
        bench.ledger.open_invoice(asked(tag, 1, tag).0).await.unwrap();
    }
    let asker = asked(9, 1, 9).1;
    assert_eq!(bench.ledger.too_many_open(&asker, 4).await, Ok(None));
    let ends_ms = START_MS + 600_000;
    assert_eq!(bench.ledger.too_many_open(&asker, 3).await, Ok(Some(ends_ms)));
    settle(&bench, 1).await;
    assert_eq!(bench.ledger.too_many_open(&asker, 3).await, Ok(None));
    bench.clock.set_ms(ends_ms);
    assert_eq!(bench.ledger.too_many_open(&asker, 1).await, Ok(None));
}

pub(super) async fn a_pruned_invoice_that_was_paid_comes_back_once(bench: Bench) {
    bench.ledger.open_invoice(invoice(1, 100, None)).await.unwrap();
    bench.clock.advance_ms(8 * DAY_MS);
    bench.ledger.prune().await.unwrap();
    assert_eq!(settle(&bench, 1).await, SettleOutcome::Unknown);
    let lost = LostInvoice {
        imported: false,
        payment_hash: hash(1),
        bolt11: "invoice 1".to_owned(),
        amount: msat(100),
        received: msat(120),
        terms: None,
        created_at_ms: START_MS,
        expires_at_ms: START_MS + 1,
    };
    let restored = bench.ledger.restore_invoice(lost.clone()).await;
    assert_eq!(restored, Ok(SettleOutcome::Credited));
    let again = bench.ledger.restore_invoice(lost).await;
    assert_eq!(again, Ok(SettleOutcome::AlreadyCredited));
    assert_eq!(bench.ledger.hold(order(1, hash(1), 120)).await, Ok(granted(hash(1), 120, 0)));
    let log = bench.ledger.actions().await.unwrap();
    let lines: Vec<_> = log.iter().map(|it| (it.kind, it.account, it.amount_msat)).collect();
    assert_eq!(lines, [("restore", Some(hash(1)), Some(msat(120)))]);
    bench.assert_audit_clean().await;
}

pub(super) async fn lost_invoices_come_back_with_their_terms_in_any_order(bench: Bench) {
    let lost = |tag, credit, seed| LostInvoice {
        imported: false,
        payment_hash: hash(tag),
        bolt11: format!("invoice {tag}"),
        amount: msat(100),
        received: msat(100),
        terms: Some(Terms {
            account: (tag != 1).then(|| hash(1)),
            buys: Buys::Credit,
            proof: Proof::Preimage,
            credit: msat(credit),
            seed: msat(seed),
            credit_ttl_ms: Some(1_000),
            route: "joke".to_owned(),
        }),
        created_at_ms: START_MS,
        expires_at_ms: START_MS + 1,
    };
    // Top-ups of an account whose own invoice is lost too, then that one, and no second gift.
    for (tag, credit, seed, balance) in
        [(2, 110, 0, 110), (3, 100, 0, 210), (1, 100, 7, 310), (2, 110, 0, 310)]
    {
        bench.ledger.restore_invoice(lost(tag, credit, seed)).await.unwrap();
        assert_eq!(bench.sums(hash(tag)).await, (balance, 0), "{tag}");
    }
    assert_eq!(bench.ledger.hold(order(1, hash(3), 310)).await, Ok(granted(hash(1), 310, 0)));
    assert_eq!(bench.ledger.actions().await.unwrap().len(), 3);
    bench.post(vec![posting(1, 0, 10, true)]).await.unwrap();
    bench.clock.advance_ms(1_000);
    bench.ledger.sweep().await.unwrap();
    assert_eq!(bench.sums(hash(1)).await, (0, 0), "credit that expires still does");
    bench.assert_audit_clean().await;
}

pub(super) async fn a_settled_invoice_survives_the_janitor(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.clock.advance_ms(400 * DAY_MS);
    bench.ledger.prune().await.unwrap();
    assert_eq!(settle(&bench, 1).await, SettleOutcome::AlreadyCredited);
    assert_eq!(bench.ledger.hold(order(1, hash, 100)).await, Ok(granted(hash, 100, 0)));
    let taken = bench.ledger.open_invoice(invoice(1, 100, None)).await;
    assert_eq!(taken, Ok(InvoiceOutcome::HashTaken));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_cursor_is_saved_with_its_credit_and_never_turns_back(bench: Bench) {
    for (tag, position, expected) in [(1, 7, 7), (2, 5, 7), (3, 9, 9)] {
        bench.ledger.open_invoice(invoice(tag, 100, None)).await.unwrap();
        let cursor = Some(("node".to_owned(), position));
        let settlement = Settlement { cursor, ..Settlement::of(hash(tag)) };
        assert_eq!(bench.ledger.settle(settlement).await, Ok(SettleOutcome::Credited));
        assert_eq!(bench.ledger.cursor("node").await, Ok(expected));
    }
    assert_eq!(bench.ledger.cursor("other").await, Ok(0));
}

pub(super) fn action(id: u8, act: AdminAct) -> AdminOrder {
    let (actor, reason) = ("ada".to_owned(), "a test".to_owned());
    AdminOrder { id: [id; 16], actor, reason, act }
}

pub(super) async fn an_operator_credits_what_was_paid_once(bench: Bench) {
    let asked = |tag| NewInvoice { credit: msat(110), seed: msat(7), ..invoice(tag, 100, None) };
    for tag in 1..=3 {
        bench.ledger.open_invoice(asked(tag)).await.unwrap();
    }
    bench.ledger.open_invoice(sessions::session(4, 100)).await.unwrap();
    settle(&bench, 3).await;
    let act = |id, tag, received: Option<u64>| {
        action(id, AdminAct::Settle(hash(tag), received.map(msat)))
    };
    for (order, outcome) in [
        (act(1, 1, None), AdminOutcome::Done),
        (act(1, 1, None), AdminOutcome::Done),
        (act(1, 2, None), AdminOutcome::Conflict),
        (act(2, 1, None), AdminOutcome::AlreadyCredited),
        (act(2, 2, Some(150)), AdminOutcome::Done),
        (act(3, 3, None), AdminOutcome::AlreadyCredited),
        (act(4, 4, None), AdminOutcome::Done),
        (act(5, 9, None), AdminOutcome::Unknown),
    ] {
        assert_eq!(bench.ledger.administer(order.clone()).await, Ok(outcome), "{order:?}");
    }
    // Whoever reports it later.
    assert_eq!(settle(&bench, 1).await, SettleOutcome::AlreadyCredited);
    assert_eq!(bench.ledger.hold(order(1, hash(1), 117)).await, Ok(granted(hash(1), 117, 0)));
    let bought = [("credit", 100), ("bonus", 10), ("seed", 7)];
    assert_eq!(entries(&bench, hash(1)).await, bought);
    assert_eq!(entries(&bench, hash(2)).await, [("credit", 150), ("seed", 7)]);
    assert_eq!(entries(&bench, hash(3)).await, bought);
    assert_eq!(entries(&bench, hash(4)).await, [("credit", 100), ("session", -100)]);
    let lines = bench.ledger.actions().await.unwrap();
    let told: Vec<_> = lines.iter().map(|it| (it.kind, it.account, it.amount_msat)).collect();
    let line = |tag, amount: Option<u64>| ("settle", Some(hash(tag)), amount.map(msat));
    assert_eq!(told, [line(1, None), line(2, Some(150)), line(4, None)]);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_refund_gives_back_what_was_charged_and_no_more(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    bench.post(vec![posting(1, 0, 60, true)]).await.unwrap();
    let refund = |id, amount| action(id, AdminAct::Refund(hash, msat(amount)));
    for (order, outcome) in [
        (refund(1, 61), AdminOutcome::ExceedsCharges),
        (refund(1, 40), AdminOutcome::Done),
        (refund(1, 40), AdminOutcome::Done),
        (refund(1, 39), AdminOutcome::Conflict),
        (refund(2, 21), AdminOutcome::ExceedsCharges),
        (refund(2, 20), AdminOutcome::Done),
        (action(3, AdminAct::Refund(super::hash(9), msat(1))), AdminOutcome::Unknown),
        (action(4, AdminAct::Grant(hash, msat(5))), AdminOutcome::Done),
        (action(5, AdminAct::Grant(hash, Msat::MAX)), AdminOutcome::BalanceLimit),
    ] {
        assert_eq!(bench.ledger.administer(order.clone()).await, Ok(outcome), "{order:?}");
    }
    assert_eq!(bench.sums(hash).await, (105, 0));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_revoked_account_spends_nothing_until_it_may_again(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.hold(order(1, hash, 10)).await.unwrap();
    bench.ledger.administer(action(1, AdminAct::Revoke(hash))).await.unwrap();
    let refusal = refused(HoldRefusal::AccountRevoked, 0);
    assert_eq!(bench.ledger.hold(order(2, hash, 10)).await, Ok(refusal));
    // What was promised before is still charged.
    assert_eq!(bench.post(vec![posting(1, 0, 10, true)]).await, Ok(vec![PostingOutcome::Posted]));
    bench.ledger.administer(action(2, AdminAct::Unrevoke(hash))).await.unwrap();
    assert_eq!(bench.ledger.hold(order(2, hash, 10)).await, Ok(granted(hash, 10, 80)));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_retired_key_is_gone_and_the_current_one_stays(bench: Bench) {
    let first = bench.ledger.keyring().await.unwrap().current;
    let retire = |id, key| action(id, AdminAct::RetireKey(key));
    let in_use = bench.ledger.administer(retire(1, first)).await;
    assert_eq!(in_use, Ok(AdminOutcome::KeyInUse));
    let second = bench.ledger.rotate_key(KeyBytes([7; 32])).await.unwrap();
    assert_eq!(bench.ledger.administer(retire(1, first)).await, Ok(AdminOutcome::Done));
    let unknown = bench.ledger.administer(retire(2, KeyId::new(99))).await;
    assert_eq!(unknown, Ok(AdminOutcome::Unknown));
    let keyring = bench.ledger.keyring().await.unwrap();
    assert_eq!((keyring.current, keyring.keys.len()), (second, 1));
    let lines = bench.ledger.actions().await.unwrap();
    let kinds: Vec<_> = lines.iter().map(|line| line.kind).collect();
    assert_eq!(kinds.len(), 2);
    assert!(kinds.contains(&"rotate_key") && kinds.contains(&"retire_key"), "{kinds:?}");
}

pub(super) async fn every_operation_leaves_one_line_with_its_fields(bench: Bench) {
    let hash = bench.paid(1, 100).await;
    bench.ledger.administer(action(1, AdminAct::Grant(hash, msat(5)))).await.unwrap();
    bench.ledger.administer(action(1, AdminAct::Grant(hash, msat(5)))).await.unwrap();
    bench.ledger.administer(action(2, AdminAct::Refund(hash, msat(5)))).await.unwrap();
    bench.ledger.administer(action(3, AdminAct::Revoke(hash))).await.unwrap();
    let lines = bench.ledger.actions().await.unwrap();
    let told: Vec<_> = lines.iter().map(|line| (line.kind, line.actor.as_str())).collect();
    assert_eq!(told, [("grant", "ada"), ("revoke", "ada")], "what was refused leaves none");
    assert_eq!((lines[0].account, lines[0].amount_msat), (Some(hash), Some(msat(5))));
    assert_eq!(lines[0].reason, "a test");
}
