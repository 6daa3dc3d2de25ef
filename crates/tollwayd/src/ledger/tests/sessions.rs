//! Laws of payments that buy time: earned as they come, and nothing to spend.

use tokio::task::JoinSet;

use super::gifts::{action, entries};
use super::*;

pub(super) fn session(tag: u8, amount: u64) -> NewInvoice {
    NewInvoice { buys: Buys::Session, credit: Msat::ZERO, ..invoice(tag, amount, None) }
}

pub(super) async fn a_session_s_payment_is_revenue_at_once(bench: Bench) {
    for (tag, received, earned) in [(1, None, 100), (2, Some(msat(150)), 150)] {
        assert_eq!(bench.ledger.open_invoice(session(tag, 100)).await, Ok(InvoiceOutcome::Stored));
        let settlement = Settlement { received, ..Settlement::of(hash(tag)) };
        for outcome in [SettleOutcome::Credited, SettleOutcome::AlreadyCredited] {
            assert_eq!(bench.ledger.settle(settlement.clone()).await, Ok(outcome));
            assert_eq!(bench.sums(hash(tag)).await, (0, 0));
        }
        let expected = [("credit", earned), ("session", -earned)];
        assert_eq!(entries(&bench, hash(tag)).await, expected);
        let view = bench.ledger.account(hash(tag)).await.unwrap().unwrap();
        assert_eq!(view.charged_msat.get(), earned.unsigned_abs());
        let invoice = bench.ledger.invoice(hash(tag)).await.unwrap().unwrap();
        assert_eq!((invoice.buys, invoice.credit_msat), (Buys::Session, Msat::ZERO));
    }
    let bench = bench.reopen().await;
    let stats = bench.ledger.stats().await.unwrap();
    assert_eq!((stats.credited_msat, stats.charged_msat, stats.balance_msat), (250, 250, 0));
    assert_eq!((stats.accounts, stats.invoices_settled), (2, 2));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_session_s_payment_is_counted(bench: Bench) {
    bench.ledger.open_invoice(session(1, 100)).await.unwrap();
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    let text = bench.metrics.encode();
    for line in ["tollwayd_credited_msat_total 100", "tollwayd_charged_msat_total 100"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

pub(super) async fn a_session_s_proof_earns_its_payment_and_spends_nothing(bench: Bench) {
    bench.ledger.open_invoice(session(1, 100)).await.unwrap();
    let mut proofs = JoinSet::new();
    for id in 0..32 {
        let ledger = bench.ledger.clone();
        proofs.spawn(async move {
            if id % 2 == 0 {
                ledger.settle(Settlement::of(hash(1))).await.unwrap();
            }
            ledger.hold(order(id, hash(1), 1)).await.unwrap()
        });
    }
    let refusal = refused(HoldRefusal::InsufficientCredit, 0);
    assert!(proofs.join_all().await.into_iter().all(|outcome| outcome == refusal));
    assert_eq!(entries(&bench, hash(1)).await, [("credit", 100), ("session", -100)]);
    bench.assert_audit_clean().await;
}

pub(super) async fn nothing_puts_credit_where_only_a_session_is(bench: Bench) {
    bench.ledger.open_invoice(session(1, 100)).await.unwrap();
    let top_up = invoice(2, 5, Some(hash(1)));
    for settled in [false, true] {
        let outcome = bench.ledger.open_invoice(top_up.clone()).await;
        assert_eq!(outcome, Ok(InvoiceOutcome::TopUpUnknown));
        for act in [AdminAct::Refund(hash(1), msat(1)), AdminAct::Grant(hash(1), msat(1))] {
            let outcome = bench.ledger.administer(action(1, act)).await;
            let expected = if settled { AdminOutcome::HasNoCredit } else { AdminOutcome::Unknown };
            assert_eq!(outcome, Ok(expected), "{act:?}");
        }
        bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    }
    assert_eq!(bench.sums(hash(1)).await, (0, 0));
    assert_eq!(bench.ledger.actions().await.unwrap(), []);
}

/// The gate admits a session without asking, so that it may run before its payment is known.
pub(super) async fn a_session_can_be_revoked_before_its_payment_is_known(bench: Bench) {
    bench.ledger.open_invoice(session(1, 100)).await.unwrap();
    bench.ledger.open_invoice(invoice(2, 100, None)).await.unwrap();
    let revoke = |id, tag| bench.ledger.administer(action(id, AdminAct::Revoke(hash(tag))));
    for (tag, outcome) in [
        (1, AdminOutcome::Done),
        // Credit cannot be used before the ledger knows of it.
        (2, AdminOutcome::Unknown),
        (3, AdminOutcome::Unknown),
    ] {
        assert_eq!(revoke(tag, tag).await, Ok(outcome), "{tag}");
    }
    assert_eq!(bench.ledger.keyring().await.unwrap().revoked, [hash(1)]);
    bench.assert_audit_clean().await;
    let settled = bench.ledger.settle(Settlement::of(hash(1))).await;
    assert_eq!(settled, Ok(SettleOutcome::Credited));
    assert_eq!(bench.ledger.keyring().await.unwrap().revoked, [hash(1)]);
    assert_eq!(entries(&bench, hash(1)).await, [("credit", 100), ("session", -100)]);
    let unrevoke = action(9, AdminAct::Unrevoke(hash(1)));
    assert_eq!(bench.ledger.administer(unrevoke).await, Ok(AdminOutcome::Done));
    assert_eq!(bench.ledger.keyring().await.unwrap().revoked, []);
    bench.assert_audit_clean().await;
}

pub(super) async fn a_lost_session_comes_back_as_one(bench: Bench) {
    let terms = Terms {
        account: None,
        buys: Buys::Session,
        proof: Proof::Preimage,
        credit: Msat::ZERO,
        seed: Msat::ZERO,
        credit_ttl_ms: None,
        route: "joke".to_owned(),
    };
    let lost = LostInvoice {
        imported: false,
        payment_hash: hash(1),
        bolt11: "invoice 1".to_owned(),
        amount: msat(100),
        received: msat(105),
        terms: Some(terms),
        created_at_ms: START_MS,
        expires_at_ms: START_MS + 1,
    };
    for outcome in [SettleOutcome::Credited, SettleOutcome::AlreadyCredited] {
        assert_eq!(bench.ledger.restore_invoice(lost.clone()).await, Ok(outcome));
    }
    assert_eq!(entries(&bench, hash(1)).await, [("credit", 105), ("session", -105)]);
    bench.assert_audit_clean().await;
}
