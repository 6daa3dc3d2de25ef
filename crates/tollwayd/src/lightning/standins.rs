//! The contract on stand-ins, and what only a stand-in can be made to do.

use std::path::PathBuf;

use tollway_core::secret::SecretText;
use tollway_testkit::standin::{Kind, Lie, Mischief, STORE, StandIn};

use super::contract::{Subject, keeps_the_contract};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::{BtcpayConfig, ClnConfig, LndConfig, NodeUrl, PhoenixdConfig};

fn order() -> InvoiceOrder {
    InvoiceOrder {
        amount: Msat::new(21_000).unwrap(),
        memo: "m".to_owned(),
        note: String::new(),
        expiry_s: 600,
    }
}

/// The configuration of a node of this kind.
pub(super) fn config(kind: Kind, url: &str, credential: &str) -> NodeConfig {
    let url = NodeUrl::parse(url).unwrap();
    let secret = SecretText::new(credential.to_owned());
    let cert: Option<PathBuf> = None;
    match kind {
        Kind::Lnd => NodeConfig::Lnd(LndConfig { url, cert, macaroon: secret }),
        Kind::Cln => NodeConfig::Cln(ClnConfig { url, cert, rune: secret }),
        Kind::Phoenixd => {
            NodeConfig::Phoenixd(PhoenixdConfig { url, cert, password: secret, webhook: None })
        }
        Kind::Btcpay => {
            let store = STORE.to_owned();
            let (api_key, store_invoices, webhook_secret) = (secret, false, None);
            NodeConfig::Btcpay(BtcpayConfig {
                url,
                cert,
                api_key,
                store,
                store_invoices,
                webhook_secret,
            })
        }
    }
}

fn connect(kind: Kind, url: &str, credential: &str) -> Lightning {
    let config = config(kind, url, credential);
    Lightning::connect(&config, Network::Regtest).unwrap().unwrap()
}

async fn contract(kind: Kind, keeps_notes: bool, counts_msat: bool) {
    contract_of(kind, keeps_notes, counts_msat, 0, connect).await;
}

async fn contract_of(
    kind: Kind,
    keeps_notes: bool,
    counts_msat: bool,
    ends_early_s: u64,
    connect: fn(Kind, &str, &str) -> Lightning,
) {
    let standin = StandIn::start(kind).await.unwrap();
    let till = Arc::clone(&standin.till);
    let subject = Subject {
        lightning: connect(kind, &standin.url(), standin.credential),
        stranger: Some(connect(kind, &standin.url(), "020199aabbccddeeff0011").node),
        pay: Box::new(move |bolt11| {
            till.pay(&bolt11, 0).expect("an invoice of this stand-in");
            Box::pin(std::future::ready(()))
        }),
        keeps_notes,
        counts_msat,
        ends_early_s,
    };
    keeps_the_contract(&subject).await;
    assert_eq!(subject.lightning.node.may_pay().await, Ok(Some(false)));
    let inbound = (kind != Kind::Btcpay).then(|| Msat::from_sats(2_000_000).unwrap());
    assert_eq!(subject.lightning.node.inbound().await, Ok(inbound));
    let narrow = subject.stranger.as_ref().unwrap().inbound().await;
    assert_eq!(narrow, Ok(None), "a credential need not reach so far");
    standin.till.set(Mischief::Generous, true);
    assert_eq!(subject.lightning.node.may_pay().await, Ok(Some(true)));
    // What happens to every node sooner or later.
    let made = subject.lightning.make_invoice(&order(), SystemClock.now_s()).await.unwrap();
    standin.till.end(&made.payment_hash);
    assert_eq!(subject.lightning.node.look_up(&made.payment_hash).await, Ok(Answer::Expired));
    standin.till.set(Mischief::Down, true);
    let looked = subject.lightning.node.look_up(&made.payment_hash).await;
    assert_eq!(looked, Err(NodeFault::Down));
    standin.stop().await;
    let looked = subject.lightning.node.look_up(&made.payment_hash).await;
    assert_eq!(looked, Err(NodeFault::Down));
    let made = subject.lightning.make_invoice(&order(), SystemClock.now_s()).await;
    assert_eq!(made, Err(MakeError::Node(NodeFault::Down)));
}

#[tokio::test]
async fn the_lnd_stand_in_keeps_the_contract() {
    contract(Kind::Lnd, false, true).await;
}

#[tokio::test]
async fn the_cln_stand_in_keeps_the_contract() {
    contract(Kind::Cln, true, true).await;
}

#[tokio::test]
async fn the_phoenixd_stand_in_keeps_the_contract() {
    contract(Kind::Phoenixd, true, false).await;
}

#[tokio::test]
async fn the_btcpay_stand_in_keeps_the_contract() {
    contract(Kind::Btcpay, false, true).await;
}

/// As [`connect`], with the store's own invoices.
pub(super) fn connect_store(kind: Kind, url: &str, credential: &str) -> Lightning {
    let NodeConfig::Btcpay(config) = config(kind, url, credential) else { panic!("{kind:?}") };
    let config = NodeConfig::Btcpay(BtcpayConfig { store_invoices: true, ..config });
    Lightning::connect(&config, Network::Regtest).unwrap().unwrap()
}

#[tokio::test]
async fn the_btcpay_stand_in_keeps_the_contract_with_invoices_of_the_store() {
    // A second of the time has gone when this one asks its node.
    contract_of(Kind::Btcpay, false, false, 1, connect_store).await;
}

#[tokio::test]
async fn an_invoice_that_is_not_the_ordered_one_is_not_handed_out() {
    for kind in [Kind::Lnd, Kind::Cln, Kind::Phoenixd, Kind::Btcpay] {
        let standin = StandIn::start(kind).await.unwrap();
        let lightning = connect(kind, &standin.url(), standin.credential);
        for (lie, fault) in [
            (Lie::Amount, InvoiceFault::Amount),
            (Lie::NoAmount, InvoiceFault::Amount),
            (Lie::Later, InvoiceFault::Expiry),
            (Lie::Sooner, InvoiceFault::Expiry),
            (Lie::Network, InvoiceFault::Network),
            (Lie::Over, InvoiceFault::Expiry),
            (Lie::Hash, InvoiceFault::PaymentHash),
        ] {
            standin.till.lie(Some(lie));
            let made = lightning.make_invoice(&order(), SystemClock.now_s()).await;
            let expected = match (kind, lie) {
                // Its name for the invoice is the hash, and nothing could be looked up by another.
                (Kind::Btcpay, Lie::Hash) => MakeError::Node(NodeFault::Unreadable),
                _ => MakeError::Invoice(fault),
            };
            assert_eq!(made, Err(expected), "{kind:?} {lie:?}");
        }
        standin.till.lie(None);
        lightning.make_invoice(&order(), SystemClock.now_s()).await.unwrap();
    }
}

/// Its status is that of an unknown invoice, but a paid one must not be called unpaid.
#[tokio::test]
async fn a_btcpay_store_that_lost_its_node_knows_no_invoice_and_denies_none() {
    let standin = StandIn::start(Kind::Btcpay).await.unwrap();
    let lightning = connect(Kind::Btcpay, &standin.url(), standin.credential);
    let made = lightning.make_invoice(&order(), SystemClock.now_s()).await.unwrap();
    standin.till.pay(&made.bolt11, 0).unwrap();
    standin.till.set(Mischief::NoNode, true);
    let looked = lightning.node.look_up(&made.payment_hash).await;
    assert_eq!(looked, Err(NodeFault::Down));
    let again = lightning.make_invoice(&order(), SystemClock.now_s()).await;
    assert_eq!(again, Err(MakeError::Node(NodeFault::Refused)));
    standin.till.set(Mischief::NoNode, false);
    let looked = lightning.node.look_up(&made.payment_hash).await;
    assert!(matches!(looked, Ok(Answer::Settled(_))), "{looked:?}");
}

#[tokio::test]
async fn more_than_was_asked_is_known_as_received() {
    for (kind, known_msat) in
        [(Kind::Lnd, 28_001), (Kind::Cln, 28_001), (Kind::Phoenixd, 28_000), (Kind::Btcpay, 28_001)]
    {
        let standin = StandIn::start(kind).await.unwrap();
        let lightning = connect(kind, &standin.url(), standin.credential);
        let made = lightning.make_invoice(&order(), SystemClock.now_s()).await.unwrap();
        standin.till.pay(&made.bolt11, 7_001).unwrap();
        let answer = lightning.node.look_up(&made.payment_hash).await.unwrap();
        let Answer::Settled(settled) = answer else { panic!("{kind:?}: {answer:?}") };
        let payment = check_payment(&made.payment_hash, settled).unwrap();
        assert_eq!(payment.received.get(), known_msat, "{kind:?}");
    }
}
