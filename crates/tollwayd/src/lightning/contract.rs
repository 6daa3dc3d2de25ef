//! What every node behind the trait has to keep, real or stand-in, stamped on each of them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bitcoin::hashes::Hash;
use futures_util::StreamExt;
use lightning_invoice::SignedRawBolt11Invoice;

use super::*;
use crate::clock::{Clock, SystemClock};

/// Pays an invoice as another wallet would.
pub(super) type Pay = Box<dyn Fn(String) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A node under test.
pub(super) struct Subject {
    pub(super) lightning: Lightning,
    /// The same node, with a credential that it does not accept.
    pub(super) stranger: Option<Arc<dyn Node>>,
    pub(super) pay: Pay,
    /// Whether it keeps our note with an invoice.
    pub(super) keeps_notes: bool,
    /// Whether it can ask for parts of a sat.
    pub(super) counts_msat: bool,
    /// How much earlier than ordered its invoices end.
    pub(super) ends_early_s: u64,
}

const PATIENCE: Duration = Duration::from_secs(60);
/// How long an invoice lives that does not say it.
const BOLT11_EXPIRY_S: u64 = 3_600;

fn order(amount_msat: u64) -> InvoiceOrder {
    order_for(amount_msat, 600)
}

fn order_for(amount_msat: u64, expiry_s: u64) -> InvoiceOrder {
    InvoiceOrder {
        amount: Msat::new(amount_msat).unwrap(),
        memo: "10 jokes".to_owned(),
        note: r#"{"account":null,"route":"jöke"}"#.to_owned(),
        expiry_s,
    }
}

impl Subject {
    async fn made(&self, amount_msat: u64) -> CheckedInvoice {
        self.make(&order(amount_msat)).await
    }

    async fn make(&self, order: &InvoiceOrder) -> CheckedInvoice {
        self.lightning.make_invoice(order, SystemClock.now_s()).await.unwrap()
    }

    async fn look_up(&self, hash: &PaymentHash) -> Answer {
        self.lightning.node.look_up(hash).await.unwrap()
    }

    /// What is known of a paid invoice, as soon as the node knows it.
    async fn settled(&self, hash: &PaymentHash) -> CheckedPayment {
        let asked = async {
            loop {
                if let Answer::Settled(settled) = self.look_up(hash).await {
                    return check_payment(hash, settled).unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, asked).await.expect("the node never says that it was paid")
    }
}

/// All of it, in one go: a real node takes long to start.
pub(super) async fn keeps_the_contract(subject: &Subject) {
    makes_what_is_ordered(subject).await;
    knows_what_became_of_an_invoice(subject).await;
    whole_sats_or_parts(subject).await;
    refuses_strangers(subject).await;
    tells_of_settlements_in_order(subject).await;
}

async fn makes_what_is_ordered(subject: &Subject) {
    // Whole minutes, because some backends count no less.
    for (amount, expiry_s) in [(1_000, 60), (21_000, 600), (1_234_000, 7_200)] {
        let made = subject.make(&order_for(amount, expiry_s)).await;
        // What a strict reader refuses of LNbits' FakeWallet, its parts still say.
        let read: SignedRawBolt11Invoice = made.bolt11.parse().unwrap();
        let read = read.raw_invoice();
        assert_eq!(read.amount_pico_btc(), Some(amount * 10));
        // Exactly what this backend promises: one that goes by a time of its own is found out.
        let lives_s = read.expiry_time().map_or(BOLT11_EXPIRY_S, |it| it.as_seconds());
        assert_eq!(lives_s, expiry_s - subject.ends_early_s);
        assert_eq!(read.payment_hash().unwrap().0.as_byte_array(), made.payment_hash.as_bytes());
        assert_eq!(read.description().unwrap().to_string(), "10 jokes");
    }
    let (one, two) = (subject.made(1_000).await, subject.made(1_000).await);
    assert_ne!(one.payment_hash, two.payment_hash);
}

async fn knows_what_became_of_an_invoice(subject: &Subject) {
    let unknown = PaymentHash::from_bytes([9; 32]);
    assert_eq!(subject.look_up(&unknown).await, Answer::Unknown);
    let (paid, open) = (subject.made(21_000).await, subject.made(21_000).await);
    assert_eq!(subject.look_up(&paid.payment_hash).await, Answer::Open);
    (subject.pay)(paid.bolt11.clone()).await;
    let known = subject.settled(&paid.payment_hash).await;
    assert_eq!(known.amount.get(), 21_000);
    assert_eq!(known.received.get(), 21_000);
    assert_eq!(known.expires_at_s, paid.expires_at_s);
    assert_eq!(known.note, subject.keeps_notes.then(|| order(1).note));
    assert_eq!(subject.look_up(&open.payment_hash).await, Answer::Open, "each for itself");
}

async fn whole_sats_or_parts(subject: &Subject) {
    let made = subject.lightning.node.create_invoice(&order(1_500)).await;
    match made {
        Ok(made) => {
            assert!(subject.counts_msat);
            let read: SignedRawBolt11Invoice = made.bolt11.parse().unwrap();
            assert_eq!(read.raw_invoice().amount_pico_btc(), Some(15_000));
        }
        Err(fault) => assert_eq!((fault, subject.counts_msat), (NodeFault::Refused, false)),
    }
}

async fn refuses_strangers(subject: &Subject) {
    let Some(stranger) = &subject.stranger else { return };
    assert_eq!(stranger.create_invoice(&order(1_000)).await, Err(NodeFault::Denied));
    let made = subject.made(1_000).await;
    let looked = stranger.look_up(&made.payment_hash).await;
    assert!(!matches!(looked, Ok(Answer::Settled(_))), "{looked:?}");
}

async fn tells_of_settlements_in_order(subject: &Subject) {
    let node = &subject.lightning.node;
    // A first payment, so that there is a place behind which to begin.
    let first = subject.made(1_000).await;
    let Some(mut events) = node.settled_after(0) else { return };
    let next = async |events: &mut Events| {
        let event = tokio::time::timeout(PATIENCE, events.next()).await;
        event.expect("the node tells of nothing").expect("the stream ended").unwrap()
    };
    // The stream of place 0 may begin after the first payment: payments go on until one is told
    // of.
    (subject.pay)(first.bolt11.clone()).await;
    let begun = loop {
        let made = subject.made(2_000).await;
        (subject.pay)(made.bolt11.clone()).await;
        let heard = tokio::time::timeout(Duration::from_millis(500), next(&mut events));
        if let Ok(event) = heard.await {
            break event;
        }
    };
    assert!(begun.position > 0);
    let (second, third) = (subject.made(3_000).await, subject.made(4_000).await);
    (subject.pay)(second.bolt11.clone()).await;
    let told = loop {
        let event = next(&mut events).await;
        if event.payment_hash == second.payment_hash {
            break event;
        }
    };
    assert_eq!(told.payment_hash, second.payment_hash);
    assert!(told.position > begun.position);
    let payment = check_payment(&told.payment_hash, told.settled.clone()).unwrap();
    assert_eq!(payment.received.get(), 3_000);
    drop(events);
    // What is paid while nobody listens is told of afterwards, behind the place asked for.
    (subject.pay)(third.bolt11.clone()).await;
    let mut again = node.settled_after(told.position - 1).unwrap();
    assert_eq!(next(&mut again).await, told);
    assert_eq!(next(&mut again).await.payment_hash, third.payment_hash);
    let mut later = node.settled_after(told.position).unwrap();
    assert_eq!(next(&mut later).await.payment_hash, third.payment_hash);
}
