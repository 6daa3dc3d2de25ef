//! The contract on real nodes and servers. `make test-lightning` installs them and runs this;
//! elsewhere each test prints why it is skipped.

use std::fmt::Display;

use futures_util::StreamExt;
use tollway_core::secret::SecretText;
use tollway_testkit::lnbits::Lnbits as RealLnbits;
use tollway_testkit::nodes::Network as RealNetwork;
use tollway_testkit::nwc::{Encryption, Wallet};
use tollway_testkit::standin::{Kind, StandIn};

use super::contract::{Subject, keeps_the_contract};
use super::*;
use crate::clock::{Clock, SystemClock};
use crate::config::{LnbitsConfig, LndConfig, NodeUrl, NwcConfig};

/// Whether a part is there; otherwise the reason is printed, or the test fails where the parts
/// have to be there.
pub(super) fn is_there<E: Display>(available: Result<(), E>) -> bool {
    let Err(missing) = available else { return true };
    let required = std::env::var("TOLLWAY_TEST_LIGHTNING").is_ok_and(|word| word == "required");
    assert!(!required, "{missing}");
    eprintln!("skipped: {missing}");
    false
}

fn lnd(node: &tollway_testkit::nodes::Lnd, macaroon: &str) -> Lightning {
    let macaroon = hex::encode(std::fs::read(node.macaroon(macaroon)).unwrap());
    let config = NodeConfig::Lnd(LndConfig {
        url: NodeUrl::parse(&node.url()).unwrap(),
        cert: Some(node.certificate()),
        macaroon: SecretText::new(macaroon),
    });
    Lightning::connect(&config, Network::Regtest).unwrap().unwrap()
}

#[tokio::test]
async fn lnd_keeps_the_contract() {
    if !is_there(RealNetwork::available()) {
        return;
    }
    let network = RealNetwork::start().await.unwrap_or_else(|error| panic!("{error}"));
    let RealNetwork { payee, payer, .. } = &network;
    let lightning = lnd(payee, "invoice");
    // It may read, but make nothing; and the certificate is the other node's.
    let stranger = Some(lnd(payee, "readonly").node);
    let order = InvoiceOrder {
        amount: Msat::new(1_000).unwrap(),
        memo: String::new(),
        note: String::new(),
        expiry_s: 60,
    };
    let config = NodeConfig::Lnd(LndConfig {
        url: NodeUrl::parse(&payee.url()).unwrap(),
        cert: Some(payer.certificate()),
        macaroon: SecretText::new("0201".to_owned()),
    });
    let other = Lightning::connect(&config, Network::Regtest).unwrap().unwrap();
    assert_eq!(other.node.create_invoice(&order).await, Err(NodeFault::Down));
    assert_eq!(lightning.node.may_pay().await, Ok(Some(false)));
    assert_eq!(lnd(payee, "admin").node.may_pay().await, Ok(Some(true)));
    // The payer's part of the channel, which only another credential may see.
    assert_eq!(lightning.node.inbound().await, Ok(None));
    let inbound = lnd(payee, "readonly").node.inbound().await.unwrap().unwrap();
    assert!((700_000_000..800_000_000).contains(&inbound.get()), "{inbound}");
    let (invoices, payments) = tokio::sync::mpsc::unbounded_channel::<Payment>();
    let subject = Subject {
        lightning,
        stranger,
        pay: Box::new(move |bolt11| {
            let (done, paid) = tokio::sync::oneshot::channel();
            invoices.send((bolt11, done)).unwrap();
            Box::pin(async move { paid.await.unwrap() })
        }),
        keeps_notes: false,
        counts_msat: true,
        ends_early_s: 0,
    };
    expires(&subject.lightning).await;
    tokio::select! {
        () = keeps_the_contract(&subject) => {}
        () = pay_all(payer, payments) => panic!("the payer ended"),
    }
}

/// The node ends an invoice by itself that nobody has paid in time.
async fn expires(lightning: &Lightning) {
    let order = InvoiceOrder {
        amount: Msat::new(1_000).unwrap(),
        memo: "m".to_owned(),
        note: String::new(),
        expiry_s: 2,
    };
    let made = lightning.make_invoice(&order, SystemClock.now_s()).await.unwrap();
    let ended = async {
        while lightning.node.look_up(&made.payment_hash).await.unwrap() != Answer::Expired {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let patience = std::time::Duration::from_secs(60);
    tokio::time::timeout(patience, ended).await.expect("the invoice never ends");
}

/// An invoice to pay, and who waits for it.
type Payment = (String, tokio::sync::oneshot::Sender<()>);

async fn pay_all(
    payer: &tollway_testkit::nodes::Lnd,
    mut payments: tokio::sync::mpsc::UnboundedReceiver<Payment>,
) {
    while let Some((bolt11, done)) = payments.recv().await {
        payer.pay(&bolt11).await.unwrap_or_else(|error| panic!("{error}"));
        // A test that has failed waits for nothing.
        let _ = done.send(());
    }
}

fn lnbits(server: &RealLnbits, key: &str, network: Network) -> Lightning {
    let config = NodeConfig::Lnbits(LnbitsConfig {
        url: NodeUrl::parse(&server.url).unwrap(),
        cert: None,
        api_key: SecretText::new(key.to_owned()),
        webhook: None,
    });
    Lightning::connect(&config, network).unwrap().unwrap()
}

#[tokio::test]
async fn lnbits_keeps_the_contract() {
    if !is_there(RealLnbits::available()) {
        return;
    }
    let server = Arc::new(RealLnbits::start(None).await.unwrap_or_else(|error| panic!("{error}")));
    let payer = Arc::clone(&server);
    let subject = Subject {
        // Its FakeWallet's invoices look as if they were money.
        lightning: lnbits(&server, &server.invoice_key, Network::Bitcoin),
        stranger: Some(lnbits(&server, &"0".repeat(32), Network::Bitcoin).node),
        pay: Box::new(move |bolt11| {
            let payer = Arc::clone(&payer);
            Box::pin(async move {
                payer.pay(&bolt11).await.unwrap_or_else(|error| panic!("{error}"));
            })
        }),
        keeps_notes: true,
        counts_msat: false,
        ends_early_s: 0,
    };
    keeps_the_contract(&subject).await;
    names_what_is_paid(&subject).await;
    calls_back(&server).await;
    assert_eq!(subject.lightning.node.may_pay().await, Ok(Some(false)));
    let admin = lnbits(&server, &server.buyer_key, Network::Bitcoin);
    assert_eq!(admin.node.may_pay().await, Ok(Some(true)));
}

/// The webhook that comes from a real LNbits is read as this payment's.
async fn calls_back(server: &RealLnbits) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/v1/lightning", listener.local_addr().unwrap());
    let (heard, mut hints) = tokio::sync::mpsc::unbounded_channel();
    let hear = axum::routing::post(async move |body: axum::body::Bytes| {
        // It calls twice, and nobody waits for the second.
        let _ = heard.send(crate::api::hooks::named(&body));
    });
    let router = axum::Router::new().route("/hooks/v1/lightning", hear);
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let config = NodeConfig::Lnbits(LnbitsConfig {
        url: NodeUrl::parse(&server.url).unwrap(),
        cert: None,
        api_key: SecretText::new(server.invoice_key.clone()),
        webhook: Some(NodeUrl::parse(&url).unwrap()),
    });
    let lightning = Lightning::connect(&config, Network::Bitcoin).unwrap().unwrap();
    let order = InvoiceOrder {
        amount: Msat::new(21_000).unwrap(),
        memo: "m".to_owned(),
        note: String::new(),
        expiry_s: 600,
    };
    let made = lightning.make_invoice(&order, SystemClock.now_s()).await.unwrap();
    server.pay(&made.bolt11).await.unwrap_or_else(|error| panic!("{error}"));
    let patience = std::time::Duration::from_secs(60);
    let hint = tokio::time::timeout(patience, hints.recv()).await.expect("it never calls");
    assert_eq!(hint.unwrap(), Some(made.payment_hash));
    serving.abort();
}

/// The socket is open some time after it was asked for, so payments go on until one is named.
async fn names_what_is_paid(subject: &Subject) {
    let mut hints = subject.lightning.node.hints().expect("a socket");
    let order = InvoiceOrder {
        amount: Msat::new(21_000).unwrap(),
        memo: "m".to_owned(),
        note: String::new(),
        expiry_s: 600,
    };
    let named = tokio::time::timeout(std::time::Duration::from_secs(60), async {
        let mut paid = Vec::new();
        loop {
            let made = subject.lightning.make_invoice(&order, SystemClock.now_s()).await.unwrap();
            (subject.pay)(made.bolt11).await;
            paid.push(made.payment_hash);
            let patience = std::time::Duration::from_secs(1);
            if let Ok(hint) = tokio::time::timeout(patience, hints.next()).await {
                return paid.contains(&hint.unwrap().unwrap());
            }
        }
    });
    assert!(named.await.expect("the node names nothing"));
}

/// LNbits' own client of the node finds in the stand-in what it finds in the real one.
async fn serves_lnbits(kind: Kind) {
    if !is_there(RealLnbits::available()) {
        return;
    }
    let standin = StandIn::start(kind).await.unwrap();
    let server = RealLnbits::start(Some((kind, &standin))).await;
    let server = server.unwrap_or_else(|error| panic!("{error}"));
    let till = Arc::clone(&standin.till);
    let subject = Subject {
        lightning: lnbits(&server, &server.invoice_key, Network::Regtest),
        stranger: None,
        pay: Box::new(move |bolt11| {
            till.pay(&bolt11, 0).expect("an invoice of this stand-in");
            Box::pin(std::future::ready(()))
        }),
        keeps_notes: true,
        counts_msat: false,
        ends_early_s: 0,
    };
    keeps_the_contract(&subject).await;
}

#[tokio::test]
async fn the_cln_stand_in_serves_lnbits() {
    serves_lnbits(Kind::Cln).await;
}

#[tokio::test]
async fn the_phoenixd_stand_in_serves_lnbits() {
    serves_lnbits(Kind::Phoenixd).await;
}

async fn wallet_keeps_the_contract(encryption: Encryption) {
    if !is_there(Wallet::available()) {
        return;
    }
    let wallet = Wallet::start(encryption).await.unwrap_or_else(|error| panic!("{error}"));
    let connect = |connection: &str| {
        let config = NodeConfig::Nwc(NwcConfig { uri: connection.parse().unwrap() });
        Lightning::connect(&config, Network::Regtest).unwrap().unwrap()
    };
    let till = Arc::clone(&wallet.node.till);
    let subject = Subject {
        lightning: connect(&wallet.connection()),
        // The wallet does not answer strangers at all, which takes long to find out.
        stranger: None,
        pay: Box::new(move |bolt11| {
            till.pay(&bolt11, 0).expect("an invoice of this wallet");
            Box::pin(std::future::ready(()))
        }),
        keeps_notes: true,
        counts_msat: true,
        ends_early_s: 0,
    };
    keeps_the_contract(&subject).await;
    names_what_is_paid(&subject).await;
    // This one does not say what a connection may do.
    assert_eq!(subject.lightning.node.may_pay().await, Ok(None));
    let nobody = "nostr+walletconnect://4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa\
                  ?relay=ws%3A%2F%2F127.0.0.1%3A1&secret=2222222222222222222222222222222222222222222222222222222222222222";
    let unknown = PaymentHash::from_bytes([9; 32]);
    assert_eq!(connect(nobody).node.look_up(&unknown).await, Err(NodeFault::Down));
}

#[tokio::test]
async fn a_wallet_on_nostr_keeps_the_contract_with_nip44() {
    wallet_keeps_the_contract(Encryption::Nip44).await;
}

#[tokio::test]
async fn a_wallet_on_nostr_keeps_the_contract_with_nip04() {
    wallet_keeps_the_contract(Encryption::Nip04).await;
}

/// Pays an invoice of `seller` from `buyer`, again and in vain, and says what is known of each.
async fn pays_once(seller: &Lightning, buyer: &PayingWallet, unpayable_sats: u64) {
    let order = |sats: u64| InvoiceOrder {
        amount: Msat::from_sats(sats).unwrap(),
        memo: "a share".to_owned(),
        note: String::new(),
        expiry_s: 600,
    };
    let fee_max = Msat::from_sats(10).unwrap();
    let now_s = SystemClock.now_s();
    let made = seller.make_invoice(&order(21), now_s).await.unwrap();
    assert_eq!(buyer.payer.outgoing(&made.payment_hash).await, Ok(Outgoing::Unknown));
    buyer.payer.pay(&made.bolt11, fee_max).await.unwrap();
    assert_eq!(buyer.payer.outgoing(&made.payment_hash).await, Ok(Outgoing::Paid));
    // The same order again changes nothing, whatever the node says to it.
    let _ = buyer.payer.pay(&made.bolt11, fee_max).await;
    assert_eq!(buyer.payer.outgoing(&made.payment_hash).await, Ok(Outgoing::Paid));
    let Answer::Settled(settled) = seller.node.look_up(&made.payment_hash).await.unwrap() else {
        panic!("it was paid");
    };
    assert_eq!(settled.received, Msat::from_sats(21).unwrap(), "once");
    // More than there is.
    let made = seller.make_invoice(&order(unpayable_sats), now_s).await.unwrap();
    let _ = buyer.payer.pay(&made.bolt11, fee_max).await;
    let known = buyer.payer.outgoing(&made.payment_hash).await.unwrap();
    assert!(matches!(known, Outgoing::Failed | Outgoing::Unknown), "{known:?}");
}

#[tokio::test]
async fn lnd_pays_a_share_once_and_knows_it() {
    if !is_there(RealNetwork::available()) {
        return;
    }
    let network = RealNetwork::start().await.unwrap_or_else(|error| panic!("{error}"));
    let RealNetwork { payee, payer, .. } = &network;
    // No more than docs/payouts.md asks for.
    let rights = serde_json::json!({ "permissions": [
        { "entity": "offchain", "action": "read" }, { "entity": "offchain", "action": "write" },
    ]});
    let baked = payer.post("/v1/macaroon", &rights).await.unwrap_or_else(|error| panic!("{error}"));
    let wallet = |macaroon: String| {
        let config = NodeConfig::Lnd(LndConfig {
            url: NodeUrl::parse(&payer.url()).unwrap(),
            cert: Some(payer.certificate()),
            macaroon: SecretText::new(macaroon),
        });
        PayingWallet::connect(&config, Network::Regtest).unwrap()
    };
    let buyer = wallet(baked["macaroon"].as_str().unwrap().to_owned());
    assert_eq!(buyer.may_pay().await, Ok(true));
    let invoices = hex::encode(std::fs::read(payer.macaroon("invoice")).unwrap());
    assert_eq!(wallet(invoices).may_pay().await, Ok(false));
    pays_once(&lnd(payee, "invoice"), &buyer, 30_000_000).await;

    // An invoice that leaves the amount to who pays it, as sessions return their rest to.
    let made = payee.post("/v1/invoices", &serde_json::json!({})).await.unwrap();
    let bolt11 = made["payment_request"].as_str().unwrap();
    let hash = payment_hash_of(bolt11).unwrap();
    let (amount, fee_max) = (Msat::from_sats(33).unwrap(), Msat::from_sats(10).unwrap());
    for _ in 0..2 {
        let _ = buyer.payer.pay_amount(bolt11, amount, fee_max).await;
        assert_eq!(buyer.payer.outgoing(&hash).await, Ok(Outgoing::Paid));
    }
    let path = format!("/v1/invoice/{}", hash.to_hex());
    let received = payee.get(&path).await.unwrap();
    assert_eq!(
        (&received["state"], &received["amt_paid_msat"]),
        (&"SETTLED".into(), &"33000".into())
    );
}

#[tokio::test]
async fn lnbits_pays_a_share_once_and_knows_it() {
    if !is_there(RealLnbits::available()) {
        return;
    }
    let server = RealLnbits::start(None).await.unwrap_or_else(|error| panic!("{error}"));
    let wallet = |key: &str| {
        let config = NodeConfig::Lnbits(LnbitsConfig {
            url: NodeUrl::parse(&server.url).unwrap(),
            cert: None,
            api_key: SecretText::new(key.to_owned()),
            webhook: None,
        });
        PayingWallet::connect(&config, Network::Bitcoin).unwrap()
    };
    let buyer = wallet(&server.buyer_key);
    assert_eq!(buyer.may_pay().await, Ok(true));
    assert_eq!(wallet(&server.invoice_key).may_pay().await, Ok(false));
    let seller = lnbits(&server, &server.invoice_key, Network::Bitcoin);
    pays_once(&seller, &buyer, 200_000).await;
}
