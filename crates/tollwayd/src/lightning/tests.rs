use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};

use super::contract::{Subject, keeps_the_contract};
use super::invoice::INVOICE_BYTES_MAX;
use super::simulated::MintError;
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::ledger::KeyBytes;
use proptest::prelude::*;
use tollway_testkit::standin::Kind;

const NOW_S: u64 = 1_700_000_000;

fn node(secret: u8) -> SimulatedNode {
    SimulatedNode::new(KeyBytes([secret; 32]), None)
}

/// A node whose invoices live exactly as long as ordered.
fn exact(network: Network) -> Lightning {
    let config = super::standins::config(Kind::Lnd, "http://127.0.0.1:1", "00");
    Lightning::connect(&config, network).unwrap().unwrap()
}

/// An invoice of the simulated node, checked.
fn make(
    node: &SimulatedNode,
    order: &InvoiceOrder,
    now_s: u64,
) -> Result<CheckedInvoice, InvoiceFault> {
    let made = node.create_invoice(order, now_s).unwrap();
    check_invoice(order, made, &exact(Network::Regtest), now_s)
}

fn order(amount: u64) -> InvoiceOrder {
    InvoiceOrder {
        amount: Msat::new(amount).unwrap(),
        memo: "10 jokes".to_owned(),
        note: "terms".to_owned(),
        expiry_s: 600,
    }
}

#[test]
fn invoices_are_real_bolt11_and_say_what_was_ordered() {
    for amount in [1, 999, 1_000, 1_500, 21_000, Msat::MAX.get()] {
        let made = make(&node(1), &order(amount), NOW_S).unwrap();
        assert!(made.bolt11.starts_with("lnbcrt"), "{}", made.bolt11);
        let read: Bolt11Invoice = made.bolt11.parse().unwrap();
        assert_eq!(read.currency(), Currency::Regtest);
        assert_eq!(read.amount_milli_satoshis(), Some(amount));
        assert_eq!(read.expiry_time().as_secs(), 600);
        assert_eq!(made.expires_at_s, NOW_S + 600);
        assert_eq!(read.get_payee_pub_key().to_string(), node(1).node_id());
        let Bolt11InvoiceDescriptionRef::Direct(memo) = read.description() else {
            panic!("expected a direct description");
        };
        assert_eq!(memo.as_inner().0, "10 jokes");
    }
}

#[test]
fn the_longest_memo_fits_and_a_longer_one_is_refused() {
    let memo = |length: usize| InvoiceOrder { memo: "é".repeat(length / 2) + "x", ..order(1_000) };
    let longest = node(1).create_invoice(&memo(638), NOW_S).unwrap();
    assert!(node(1).pay(&longest.bolt11, NOW_S).is_ok());
    assert_eq!(node(1).create_invoice(&memo(640), NOW_S), Err(MintError::Order));
}

#[test]
fn paying_proves_the_hash_and_survives_a_restart() {
    let made = node(1).create_invoice(&order(21_000), NOW_S).unwrap();
    let (hash, preimage) = node(1).pay(&made.bolt11, NOW_S).unwrap();
    assert_eq!(hash, made.payment_hash);
    assert!(preimage.proves(&hash));
    assert_eq!(node(1).pay(&made.bolt11.to_uppercase(), NOW_S).unwrap().1, preimage);
}

#[test]
fn every_invoice_has_its_own_hash() {
    let hash = || node(1).create_invoice(&order(1), NOW_S).unwrap().payment_hash;
    assert_ne!(hash(), hash());
}

#[test]
fn pays_neither_strangers_nor_the_expired_nor_garbage() {
    let made = node(1).create_invoice(&order(21_000), NOW_S).unwrap();
    assert_eq!(node(2).pay(&made.bolt11, NOW_S), Err(PayError::NotOurs));
    assert!(node(1).pay(&made.bolt11, NOW_S + 599).is_ok());
    assert_eq!(node(1).pay(&made.bolt11, NOW_S + 600), Err(PayError::Expired));
    let mut forged = made.bolt11.clone();
    let changed = if forged.pop() == Some('q') { 'p' } else { 'q' };
    forged.push(changed);
    let long = "lnbcrt1".repeat(10_000);
    for garbage in ["", "lnbcrt", "not an invoice", forged.as_str(), long.as_str(), "\u{0}é"] {
        assert_eq!(node(1).pay(garbage, NOW_S), Err(PayError::Malformed), "{garbage}");
    }
}

#[test]
fn an_invoice_that_was_not_ordered_is_refused() {
    let made = make(&node(1), &order(21_000), NOW_S).unwrap();
    let check = |order: &InvoiceOrder, hash: &PaymentHash, now_s| {
        let made = MadeInvoice { payment_hash: *hash, bolt11: made.bolt11.clone() };
        check_invoice(order, made, &exact(Network::Regtest), now_s)
    };
    assert_eq!(check(&order(21_000), &made.payment_hash, NOW_S), Ok(made.clone()));
    assert_eq!(check(&order(20_999), &made.payment_hash, NOW_S), Err(InvoiceFault::Amount));
    let other = PaymentHash::from_bytes([9; 32]);
    assert_eq!(check(&order(21_000), &other, NOW_S), Err(InvoiceFault::PaymentHash));
    // Not a second longer than ordered, and shorter only from a store of BTCPay, and little.
    let store = super::standins::connect_store(Kind::Btcpay, "http://127.0.0.1:1", "00");
    for (expiry_s, of_node, of_store) in
        [(599, false, false), (601, false, true), (610, false, true), (611, false, false)]
    {
        let other = InvoiceOrder { expiry_s, ..order(21_000) };
        let expected = |fine| if fine { Ok(made.clone()) } else { Err(InvoiceFault::Expiry) };
        let found = check(&other, &made.payment_hash, NOW_S);
        assert_eq!(found, expected(of_node), "{expiry_s}");
        let raw = MadeInvoice { payment_hash: made.payment_hash, bolt11: made.bolt11.clone() };
        let found = check_invoice(&other, raw, &store, NOW_S);
        assert_eq!(found, expected(of_store), "{expiry_s}");
    }
    assert_eq!(check(&order(21_000), &made.payment_hash, NOW_S + 600), Err(InvoiceFault::Expiry));
    let check = |bolt11: &str, network| {
        let made = MadeInvoice { payment_hash: made.payment_hash, bolt11: bolt11.to_owned() };
        check_invoice(&order(21_000), made, &exact(network), NOW_S)
    };
    assert_eq!(check("lnbcrt", Network::Regtest), Err(InvoiceFault::Unreadable));
    for other in [Network::Bitcoin, Network::Testnet, Network::Signet, Network::Simnet] {
        assert_eq!(check(&made.bolt11, other), Err(InvoiceFault::Network));
    }
    let longest = "q".repeat(INVOICE_BYTES_MAX + 1);
    assert_eq!(check(&longest, Network::Regtest), Err(InvoiceFault::Unreadable));
}

#[tokio::test]
async fn the_simulated_node_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let node = Arc::new(remembering(&directory.path().join("node")));
    let payer = Arc::clone(&node);
    let subject = Subject {
        lightning: Lightning {
            node: Arc::new(Simulated { node, clock: Arc::new(SystemClock) }),
            network: Network::Regtest,
        },
        // It asks for no credential.
        stranger: None,
        pay: Box::new(move |bolt11| {
            payer.pay(&bolt11, SystemClock.now_s()).expect("an invoice of this node");
            Box::pin(std::future::ready(()))
        }),
        keeps_notes: true,
        counts_msat: true,
        ends_early_s: 0,
    };
    keeps_the_contract(&subject).await;
}

/// A node that remembers in this file.
fn remembering(file: &std::path::Path) -> SimulatedNode {
    SimulatedNode::new(KeyBytes([1; 32]), Some(file.to_owned()))
}

#[test]
fn a_look_up_says_what_became_of_an_invoice_at_every_replica() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node");
    let (one, two) = (remembering(&file), remembering(&file));
    let unknown = PaymentHash::from_bytes([9; 32]);
    assert_eq!(one.look_up(&unknown, NOW_S), Ok(Answer::Unknown), "there is no file yet");
    let made = one.create_invoice(&order(21_000), NOW_S).unwrap();
    let other = two.create_invoice(&order(1), NOW_S).unwrap();
    assert_eq!(two.look_up(&made.payment_hash, NOW_S + 599), Ok(Answer::Open));
    assert_eq!(two.look_up(&made.payment_hash, NOW_S + 600), Ok(Answer::Expired));
    let paid = two.pay(&made.bolt11, NOW_S).unwrap();
    let received = Msat::new(21_000).unwrap();
    let settled =
        SettledInvoice { bolt11: made.bolt11.clone(), note: Some("terms".to_owned()), received };
    assert_eq!(one.look_up(&made.payment_hash, NOW_S), Ok(Answer::Settled(settled.clone())));
    assert_eq!(one.look_up(&made.payment_hash, u64::MAX), Ok(Answer::Settled(settled)));
    assert_eq!(one.look_up(&other.payment_hash, NOW_S), Ok(Answer::Open));
    assert_eq!(one.look_up(&unknown, NOW_S), Ok(Answer::Unknown));
    // Who pays again gets the same proof, however late; who never paid gets none.
    assert_eq!(one.pay(&made.bolt11, NOW_S + 600), Ok(paid));
    assert_eq!(one.pay(&other.bolt11, NOW_S + 600), Err(PayError::Expired));
}

#[test]
fn half_a_line_spoils_no_other_and_a_file_that_cannot_be_used_is_no_answer() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node");
    let node = remembering(&file);
    let made = node.create_invoice(&order(21_000), NOW_S).unwrap();
    node.pay(&made.bolt11, NOW_S).unwrap();
    let mut text = std::fs::read(&file).unwrap();
    let whole = text.clone();
    text.extend_from_slice(b"\n{\"paid\":{\"payment_hash\":\"11\xff");
    std::fs::write(&file, text).unwrap();
    let later = node.create_invoice(&order(1), NOW_S).unwrap();
    assert_eq!(node.look_up(&later.payment_hash, NOW_S), Ok(Answer::Open));
    assert!(matches!(node.look_up(&made.payment_hash, NOW_S), Ok(Answer::Settled(_))));
    // Of every beginning of the file, none tells of a payment that was not whole.
    let last = whole.iter().rposition(|byte| *byte == b'{').unwrap();
    for length in 0..last {
        std::fs::write(&file, &whole[..length]).unwrap();
        let said = node.look_up(&made.payment_hash, NOW_S).unwrap();
        assert!(matches!(said, Answer::Unknown | Answer::Open), "{length}: {said:?}");
    }

    let broken = remembering(directory.path());
    assert_eq!(broken.look_up(&made.payment_hash, NOW_S), Err(NodeFault::Down));
    assert_eq!(broken.pay(&made.bolt11, NOW_S), Err(PayError::Down(NodeFault::Down)));
    assert_eq!(broken.create_invoice(&order(1), NOW_S), Err(MintError::Node(NodeFault::Down)));
}

#[test]
fn a_payment_that_contradicts_its_invoice_is_not_believed() {
    let made = node(1).create_invoice(&order(21_000), NOW_S).unwrap();
    let hash = made.payment_hash;
    let check = |bolt11: &str, hash: &PaymentHash, received| {
        let received = Msat::new(received).unwrap();
        check_payment(hash, SettledInvoice { bolt11: bolt11.to_owned(), note: None, received })
    };
    let good = check(&made.bolt11, &hash, 21_001).unwrap();
    assert_eq!((good.amount.get(), good.received.get()), (21_000, 21_001));
    assert_eq!((good.created_at_s, good.expires_at_s), (NOW_S, NOW_S + 600));
    assert_eq!(check(&made.bolt11, &hash, 20_999), Err(InvoiceFault::Received));
    let other = PaymentHash::from_bytes([9; 32]);
    assert_eq!(check(&made.bolt11, &other, 21_000), Err(InvoiceFault::PaymentHash));
    assert_eq!(check("lnbcrt", &hash, 21_000), Err(InvoiceFault::Unreadable));
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", node(7));
    assert!(shown.contains("node_id") && !shown.contains("0707"), "{shown}");
}

proptest! {
    #[test]
    fn no_text_panics_the_node(text in ".{0,200}") {
        let _ = node(1).pay(&text, NOW_S);
        let _ = node(1).pay(&format!("lnbcrt1{text}"), NOW_S);
    }
}
