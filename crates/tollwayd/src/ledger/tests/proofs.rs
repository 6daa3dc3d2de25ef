//! What must be shown to spend what a payment bought.

use tollway_core::wire::{HoldRefusal, Proof};

use super::*;
use crate::ledger::{Asker, LostInvoice, Terms};

const ALL: [Proof; 3] = [Proof::Preimage, Proof::Lookup, Proof::Hash];

fn sold(tag: u8, proof: Proof) -> NewInvoice {
    NewInvoice { proof, ..invoice(tag, 50, None) }
}

fn showing(shown: Option<Proof>, id: u128, tag: u8) -> HoldOrder {
    HoldOrder { shown, ..order(id, hash(tag), 5) }
}

/// Every proof, shown for every way of selling, here and on another route, before and after the
/// payment.
pub(super) async fn an_invoice_opens_to_what_it_was_sold_under_and_to_more(bench: Bench) {
    let mut id = 0;
    for (tag, sold_under) in (1..).zip(ALL) {
        bench.ledger.open_invoice(sold(tag, sold_under)).await.unwrap();
        for is_paid in [false, true] {
            if is_paid {
                bench.ledger.settle(Settlement::of(hash(tag))).await.unwrap();
            }
            for (route, is_its_own) in [("joke", true), ("time", false)] {
                for shown in [None, Some(Proof::Lookup), Some(Proof::Hash)] {
                    id += 1;
                    let enough = match shown {
                        Some(Proof::Hash) => sold_under == Proof::Hash && is_its_own,
                        Some(_) => sold_under != Proof::Preimage,
                        None => false,
                    };
                    let expected = match (enough, is_paid) {
                        (false, _) => Some(HoldRefusal::PaymentNotProven),
                        (true, false) => Some(HoldRefusal::PaymentPending),
                        (true, true) => None,
                    };
                    let asked = HoldOrder { route: route.to_owned(), ..showing(shown, id, tag) };
                    let found = bench.ledger.hold(asked).await.unwrap();
                    let case = (sold_under, is_paid, route, shown);
                    match expected {
                        Some(refusal) => assert_eq!(found, refused(refusal, 0), "{case:?}"),
                        None => {
                            let balance = bench.sums(hash(tag)).await;
                            let rest = balance.0 - balance.1;
                            assert_eq!(found, granted(hash(tag), 5, rest), "{case:?}");
                        }
                    }
                }
            }
        }
        id += 1;
        let proven = HoldOrder { route: "time".to_owned(), ..showing(Some(ALL[0]), id, tag) };
        let found = bench.ledger.hold(proven).await.unwrap();
        let is_granted = matches!(&found, HoldOutcome::Answered(HoldReply::Granted { .. }));
        assert!(is_granted, "the preimage opens whatever is sold under {sold_under:?}: {found:?}");
    }
    bench.assert_audit_clean().await;
}

pub(super) async fn what_is_not_proven_by_its_preimage_waits_for_the_payment(bench: Bench) {
    let (lookup, pending) = (Some(Proof::Lookup), refused(HoldRefusal::PaymentPending, 0));
    let unknown = refused(HoldRefusal::UnknownPayment, 0);
    assert_eq!(bench.ledger.hold(showing(lookup, 1, 1)).await, Ok(unknown));
    bench.ledger.open_invoice(sold(1, Proof::Lookup)).await.unwrap();
    assert_eq!(bench.ledger.hold(showing(lookup, 1, 1)).await, Ok(pending));
    assert_eq!(bench.sums(hash(1)).await, (0, 0), "nothing is credited on a client's word");
    bench.ledger.settle(Settlement::of(hash(1))).await.unwrap();
    assert_eq!(bench.ledger.hold(showing(lookup, 1, 1)).await, Ok(granted(hash(1), 5, 45)));
    assert_eq!(bench.ledger.hold(showing(lookup, 1, 1)).await, Ok(granted(hash(1), 5, 45)));
    let settled = bench.ledger.settle(Settlement::of(hash(1))).await;
    assert_eq!(settled, Ok(SettleOutcome::AlreadyCredited));
    bench.assert_audit_clean().await;
}

pub(super) async fn a_token_that_is_its_own_proof_has_an_invoice_of_its_own(bench: Bench) {
    let asker = Asker { client: [1; 32], offer: [2; 32] };
    for (tag, proof) in [(1, Proof::Lookup), (2, Proof::Lookup), (3, Proof::Hash)] {
        let asked = NewInvoice { asker: Some(asker), ..sold(tag, proof) };
        assert_eq!(bench.ledger.open_invoice(asked).await, Ok(InvoiceOutcome::Stored));
        assert_eq!(bench.ledger.shared_invoice(&asker).await, Ok(None));
    }
    let max = bench.ledger.too_many_open(&asker, 3).await.unwrap();
    assert!(max.is_some(), "they count against their client all the same");
}

pub(super) async fn a_lost_invoice_comes_back_with_its_proof(bench: Bench) {
    for (tag, terms) in [(1, Some(Proof::Lookup)), (2, None)] {
        let terms = terms.map(|proof| Terms {
            account: None,
            buys: Buys::Credit,
            proof,
            credit: msat(50),
            seed: Msat::ZERO,
            credit_ttl_ms: None,
            route: "joke".to_owned(),
        });
        let lost = LostInvoice {
            payment_hash: hash(tag),
            bolt11: format!("invoice {tag}"),
            amount: msat(50),
            received: msat(50),
            terms,
            imported: false,
            created_at_ms: START_MS,
            expires_at_ms: START_MS + 1,
        };
        bench.ledger.restore_invoice(lost).await.unwrap();
    }
    let lookup = Some(Proof::Lookup);
    assert_eq!(bench.ledger.hold(showing(lookup, 1, 1)).await, Ok(granted(hash(1), 5, 45)));
    let unproven = refused(HoldRefusal::PaymentNotProven, 0);
    assert_eq!(bench.ledger.hold(showing(lookup, 2, 2)).await, Ok(unproven));
}
