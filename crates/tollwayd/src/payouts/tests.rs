use std::collections::VecDeque;
use std::path::Path;
use std::sync::Mutex;

use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::HashMap;
use tollway_core::wire::{Buys, Proof};

use super::*;
use crate::clock::ManualClock;
use crate::config::Network;
use crate::ledger::{
    Claim, KeyBytes, NewInvoice, Opening, Settlement, Split, Subscriptions, Writer,
};
use crate::lightning::{Payer, SimulatedNode};
use crate::metrics::Metrics;

const START_MS: u64 = 1_700_000_000_000;

/// A wallet that says what a test wants.
#[derive(Debug, Default)]
struct Scripted {
    /// What it says of a payment; the last one stays.
    says: Mutex<VecDeque<Result<Outgoing, NodeFault>>>,
    /// What it was asked to pay.
    asked: Mutex<Vec<String>>,
}

impl Payer for Scripted {
    fn pay<'a>(&'a self, bolt11: &'a str, _fee_max: Msat) -> crate::lightning::Call<'a, ()> {
        self.asked.lock().unwrap().push(bolt11.to_owned());
        Box::pin(std::future::ready(Ok(())))
    }

    fn outgoing<'a>(&'a self, _: &'a PaymentHash) -> crate::lightning::Call<'a, Outgoing> {
        let mut says = self.says.lock().unwrap();
        let said = if says.len() > 1 { says.pop_front() } else { says.front().copied() };
        Box::pin(std::future::ready(said.unwrap()))
    }
}

/// How the address behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Honest,
    Amount,
    Expired,
    NoInvoice,
    Error,
    TooLittle,
    OtherTag,
    Long,
    Callback(&'static str),
}

/// A Lightning address, and how many invoices it has made.
struct Address {
    node: SimulatedNode,
    clock: Arc<ManualClock>,
    manner: Mutex<Manner>,
    made: Mutex<Vec<HashMap<String, String>>>,
    url: Mutex<String>,
}

impl Address {
    async fn start(clock: &Arc<ManualClock>) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Arc::new(Self {
            node: SimulatedNode::new(KeyBytes([9; 32]), None),
            clock: Arc::clone(clock),
            manner: Mutex::new(Manner::Honest),
            made: Mutex::default(),
            url: Mutex::new(format!("http://{}", listener.local_addr().unwrap())),
        });
        let router = Router::new()
            .route("/.well-known/lnurlp/ann", get(offer))
            .route("/cb", get(make))
            .with_state(Arc::clone(&address));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap()
    }

    fn made(&self) -> usize {
        self.made.lock().unwrap().len()
    }
}

async fn offer(State(address): State<Arc<Address>>) -> Json<Value> {
    let manner = address.manner();
    let callback = match manner {
        Manner::Callback(url) => url.to_owned(),
        _ => format!("{}/cb?key=1", address.url.lock().unwrap()),
    };
    let tag = if manner == Manner::OtherTag { "withdrawRequest" } else { "payRequest" };
    let most = if manner == Manner::TooLittle { 999 } else { 1_000_000_000 };
    let metadata = if manner == Manner::Long { "x".repeat(300_000) } else { "[]".to_owned() };
    Json(json!({
        "tag": tag, "callback": callback, "minSendable": 1, "maxSendable": most,
        "metadata": metadata, "commentAllowed": 5,
    }))
}

async fn make(State(address): State<Arc<Address>>, uri: Uri) -> Json<Value> {
    let manner = address.manner();
    let query = url::form_urlencoded::parse(uri.query().unwrap().as_bytes());
    let query: HashMap<String, String> = query.into_owned().collect();
    let amount: u64 = query["amount"].parse().unwrap();
    address.made.lock().unwrap().push(query);
    let more = u64::from(manner == Manner::Amount);
    let order = InvoiceOrder {
        amount: Msat::new(amount + more).unwrap(),
        memo: String::new(),
        note: String::new(),
        expiry_s: if manner == Manner::Expired { 30 } else { 600 },
    };
    match manner {
        Manner::NoInvoice => Json(json!({ "pr": "lnbcrt1no" })),
        Manner::Error => Json(json!({ "status": "ERROR", "reason": "on\nholiday" })),
        _ => {
            let made = address.node.create_invoice(&order, address.clock.now_s()).unwrap();
            Json(json!({ "pr": made.bolt11, "routes": [] }))
        }
    }
}

/// A payout, its wallet and its receiver.
struct Bench {
    payout: Payout,
    wallet: Arc<Scripted>,
    address: Arc<Address>,
    clock: Arc<ManualClock>,
    ledger: Ledger,
    _writer: Writer,
    _directory: tempfile::TempDir,
}

async fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let (ledger, writer) = open(directory.path(), &clock).await;
    let address = Address::start(&clock).await;
    let wallet = Arc::new(Scripted::default());
    let url = format!("{}/.well-known/lnurlp/ann", address.url.lock().unwrap());
    let payout = Payout {
        name: "royalty".to_owned(),
        receiver: Receiver::Address {
            url: url.parse().unwrap(),
            outbound: Outbound::new(true, ADDRESS_TIMEOUT).unwrap(),
        },
        comment: Some("thank you".to_owned()),
        fee_max: Msat::new(10_000).unwrap(),
        wallet: PayingWallet::of(wallet.clone(), "scripted", Network::Regtest),
        ledger: ledger.clone(),
        clock: clock.clone(),
    };
    Bench { payout, wallet, address, clock, ledger, _writer: writer, _directory: directory }
}

async fn open(directory: &Path, clock: &Arc<ManualClock>) -> (Ledger, Writer) {
    let store = crate::config::Store::Sqlite(directory.join("l.db"));
    let metrics = Metrics::new().ledger;
    let Opening { ledger, writer, .. } =
        Ledger::open(&store, clock.clone(), metrics).await.unwrap();
    let split = Split {
        target: "royalty".to_owned(),
        routes: None,
        basis_points: 200,
        min: Msat::from_sats(1).unwrap(),
        max: Msat::from_sats(1_000).unwrap(),
    };
    ledger.subscribe(Subscriptions { webhooks: Vec::new(), splits: vec![split] });
    let payment_hash = PaymentHash::from_bytes([1; 32]);
    let amount = Msat::from_sats(1_000).unwrap();
    let sold = NewInvoice {
        payment_hash,
        bolt11: "one".to_owned(),
        amount,
        buys: Buys::Credit,
        credit: amount,
        seed: Msat::ZERO,
        credit_ttl_ms: None,
        route: "joke".to_owned(),
        expires_at_ms: START_MS + 600_000,
        top_up: None,
        asker: None,
        certificate: None,
        coupon: None,
        node: None,
        proof: Proof::Preimage,
    };
    ledger.open_invoice(sold).await.unwrap();
    ledger.settle(Settlement::of(payment_hash)).await.unwrap();
    (ledger, writer)
}

impl Bench {
    /// Takes the payout and tries once, as a courier does.
    async fn try_once(&self) -> Fate {
        let kind = DeliveryKind::Payout;
        let claim = Claim { kind, target: "royalty".to_owned(), max: 9, lease_ms: 1 };
        let mut due = self.ledger.claim(claim).await.unwrap();
        assert_eq!(due.len(), 1);
        let fate = self.payout.carry(&due.pop().unwrap()).await;
        self.clock.advance_ms(lease_ms());
        fate
    }

    fn says(&self, words: &[Result<Outgoing, NodeFault>]) {
        *self.wallet.says.lock().unwrap() = words.iter().copied().collect();
    }

    fn asked(&self) -> Vec<String> {
        self.wallet.asked.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_share_is_paid_by_an_invoice_of_exactly_so_much() {
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::Paid)]);
    let fate = bench.try_once().await;
    let asked = bench.asked();
    assert_eq!(asked.len(), 1);
    let invoice = crate::lightning::payment_hash_of(&asked[0]).unwrap();
    assert_eq!(fate, Fate::PaidOut { amount: Msat::from_sats(20).unwrap(), invoice });
    let query = bench.address.made.lock().unwrap()[0].clone();
    assert_eq!((query["amount"].as_str(), query["key"].as_str()), ("20000", "1"));
    assert_eq!(query["comment"], "thank", "no longer than it is read");
}

#[tokio::test]
async fn what_was_paid_before_a_crash_is_found_and_not_paid_again() {
    let bench = bench().await;
    // The process died after the order: nobody heard what became of it.
    bench.says(&[Err(NodeFault::Down)]);
    assert!(matches!(bench.try_once().await, Fate::Unsure(_)));
    bench.says(&[Ok(Outgoing::Paid)]);
    assert!(matches!(bench.try_once().await, Fate::PaidOut { .. }));
    assert_eq!((bench.asked().len(), bench.address.made()), (1, 1));
}

#[tokio::test]
async fn nobody_asks_for_a_second_invoice_while_the_first_may_be_paid() {
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::InFlight)]);
    assert!(matches!(bench.try_once().await, Fate::Unsure(_)));
    for unsure in [Ok(Outgoing::InFlight), Err(NodeFault::Down), Err(NodeFault::Denied)] {
        bench.says(&[unsure]);
        // Days after its expiry too.
        bench.clock.advance_ms(86_400_000);
        assert!(matches!(bench.try_once().await, Fate::Unsure(_)), "{unsure:?}");
    }
    assert_eq!((bench.asked().len(), bench.address.made()), (1, 1));
    // Another wallet cannot know.
    bench.says(&[Ok(Outgoing::Unknown)]);
    let wallet = PayingWallet::of(bench.wallet.clone(), "another", Network::Regtest);
    let other = Bench { payout: Payout { wallet, ..bench.payout }, ..bench };
    assert!(matches!(other.try_once().await, Fate::Unsure(_)));
    assert_eq!((other.asked().len(), other.address.made()), (1, 1));
}

#[tokio::test]
async fn an_invoice_that_failed_is_tried_again_and_another_only_long_after_its_end() {
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::Failed)]);
    assert!(matches!(bench.try_once().await, Fate::Failed(_)));
    assert!(matches!(bench.try_once().await, Fate::Failed(_)));
    let asked = bench.asked();
    assert_eq!((asked.len(), bench.address.made()), (2, 1));
    assert_eq!(asked[0], asked[1], "the same invoice");
    // It has expired, but an order may have been on its way.
    bench.clock.set_ms(START_MS + 601_000);
    assert!(matches!(bench.try_once().await, Fate::Failed(_)));
    assert_eq!((bench.asked().len(), bench.address.made()), (2, 1));
    bench.clock.set_ms(START_MS + (600 + LATE_S) * 1_000);
    bench.says(&[Ok(Outgoing::Unknown), Ok(Outgoing::Paid)]);
    assert!(matches!(bench.try_once().await, Fate::PaidOut { .. }));
    let asked = bench.asked();
    assert_eq!((asked.len(), bench.address.made()), (3, 2));
    assert_ne!(asked[1], asked[2]);
}

#[tokio::test]
async fn who_was_overtaken_pays_nothing() {
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::Paid)]);
    let kind = DeliveryKind::Payout;
    let claim = || Claim { kind, target: "royalty".to_owned(), max: 9, lease_ms: 1 };
    let slow = bench.ledger.claim(claim()).await.unwrap().pop().unwrap();
    bench.clock.advance_ms(1);
    let fast = bench.ledger.claim(claim()).await.unwrap().pop().unwrap();
    assert!(matches!(bench.payout.carry(&slow).await, Fate::Unsure(_)));
    assert_eq!(bench.asked().len(), 0);
    assert!(matches!(bench.payout.carry(&fast).await, Fate::PaidOut { .. }));
    assert_eq!(bench.asked().len(), 1);
}

#[tokio::test]
async fn an_address_that_lies_is_not_paid() {
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::Paid)]);
    for (manner, said) in [
        (Manner::Amount, "expected the ordered amount"),
        (Manner::Expired, "expected the ordered expiry"),
        (Manner::NoInvoice, "expected a signed BOLT 11 invoice"),
        (Manner::Error, "the address gave no invoice: \"onholiday\""),
        (Manner::TooLittle, "the address takes 1 to 999 msat"),
        (Manner::OtherTag, "the address takes no payments"),
        (Manner::Long, "the address's answer is too long"),
        (Manner::Callback("no address"), "the callback is no address"),
        (Manner::Callback("ftp://example.com/"), "expected an address like"),
    ] {
        bench.address.set(manner);
        let Fate::Failed(reason) = bench.try_once().await else { panic!("{manner:?}") };
        assert!(reason.contains(said), "{manner:?}: {reason}");
    }
    assert_eq!(bench.asked().len(), 0);
    // A public address does not lead inside by way of its callback, or its network.
    let outbound = Outbound::new(false, ADDRESS_TIMEOUT).unwrap();
    for callback in ["https://127.0.0.1/cb", "https://[::ffff:10.0.0.1]/", "http://example.com/"] {
        let url = callback.parse().unwrap();
        let amount = Msat::from_sats(20).unwrap();
        let refused = lnurl::invoice(&outbound, &url, amount, None).await.unwrap_err();
        assert!(refused.starts_with("expected"), "{callback}: {refused}");
    }
}

#[test]
fn only_a_refusal_takes_the_right_away() {
    let rights = Rights::default();
    assert!(!rights.are_there(), "nobody was asked");
    rights.hear(Err(NodeFault::Down));
    assert!(rights.are_there());
    rights.hear(Ok(false));
    rights.hear(Err(NodeFault::Down));
    assert!(!rights.are_there(), "a node that is down takes nothing back");
    rights.hear(Ok(true));
    rights.hear(Err(NodeFault::Down));
    assert!(rights.are_there());
}

#[tokio::test]
async fn a_second_wallet_makes_the_invoice_itself() {
    use tollway_testkit::standin::{Kind, StandIn};
    let bench = bench().await;
    bench.says(&[Ok(Outgoing::Paid)]);
    let node = StandIn::start(Kind::Phoenixd).await.unwrap();
    let config = crate::config::NodeConfig::Phoenixd(crate::config::PhoenixdConfig {
        url: crate::config::NodeUrl::parse(&node.url()).unwrap(),
        cert: None,
        password: tollway_core::secret::SecretText::new(node.credential.to_owned()),
        webhook: None,
    });
    let wallet = Lightning::connect(&config, Network::Regtest).unwrap().unwrap();
    let receiver = Receiver::Wallet(wallet);
    let bench = Bench { payout: Payout { receiver, ..bench.payout }, ..bench };
    let fate = bench.try_once().await;
    let invoice = crate::lightning::payment_hash_of(&bench.asked()[0]).unwrap();
    assert_eq!(fate, Fate::PaidOut { amount: Msat::from_sats(20).unwrap(), invoice });
    assert_eq!(bench.address.made(), 0);
}
