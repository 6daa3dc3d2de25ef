//! The payer's wallets against the real thing: lnd with a channel, and LNbits.

use serde_json::{Value, json};
use tollway_client::Invoice;
use tollway_client::wallet::{Lnbits, Lnd, Nwc, Outcome, Secret, Wallet, WalletError};
use tollway_core::money::Msat;
use tollway_testkit::nodes::Network;
use tollway_testkit::{lnbits, nwc};

use super::{missing, network};

/// 21 sats to nobody, from the notes on the wire.
const INVOICE: &str = "lnbc210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2vesdq8w3jhxaqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsxqrrsscqpj9qypqsqtt0v9fge9c9tw92h7uj47v3vw4c68u8lvjfxg28w69tpc70lh99xzlg3e5uwvfefweschgul7zpna3qgw8kw0xrh5n3d754l9rl5yxcpy4ys7h";

fn fee_max() -> Msat {
    Msat::from_sats(10).unwrap()
}

/// It pays, proves it, says so again without paying again, and knows its balance.
async fn pays(wallet: &dyn Wallet, invoice: &Invoice) {
    let before = wallet.balance().await.unwrap().unwrap();
    assert_eq!(wallet.look_up(invoice).await.unwrap(), Outcome::NotPaid);
    let paid = wallet.pay(invoice, fee_max()).await.unwrap();
    assert!(paid.preimage.proves(&invoice.payment_hash()));
    assert_eq!(wallet.look_up(invoice).await.unwrap(), Outcome::Paid(paid.clone()));
    assert_eq!(wallet.pay(invoice, fee_max()).await.unwrap(), paid);
    let after = wallet.balance().await.unwrap().unwrap();
    let spent = invoice.amount().checked_add(paid.fee).unwrap();
    assert_eq!(after.checked_add(spent).unwrap(), before, "it was paid once");
}

#[tokio::test]
async fn lnbits_pays_for_real_invoices() {
    if let Err(reason) = lnbits::Lnbits::available() {
        return missing(&reason);
    }
    let host = lnbits::Lnbits::start(None).await.unwrap();
    let wallet = |key: &str| Lnbits::new(&host.url, Secret::new(key)).unwrap();
    let buyer = wallet(&host.buyer_key);
    let post = async |path: &str, body: Value| -> Value {
        let request = reqwest::Client::new().post(format!("{}/api/v1/{path}", host.url));
        let request = request.header("x-api-key", &host.invoice_key).json(&body);
        request.send().await.unwrap().json().await.unwrap()
    };
    let invoice = async |sats: u64| {
        let order = json!({"out": false, "amount": sats, "unit": "sat", "memo": "a test"});
        let made = post("payments", order).await;
        Invoice::parse(made["bolt11"].as_str().unwrap()).unwrap()
    };
    pays(&buyer, &invoice(21).await).await;

    let dear = invoice(200_000).await;
    let error = buyer.pay(&dear, fee_max()).await.unwrap_err();
    assert!(matches!(error, WalletError::PaymentFailed(_)), "{error:?}");
    assert_eq!(buyer.look_up(&dear).await.unwrap(), Outcome::NotPaid);

    for (key, what) in [("00", "an unknown key"), (&host.invoice_key, "one for invoices")] {
        let error = wallet(key).pay(&invoice(1).await, fee_max()).await.unwrap_err();
        assert!(matches!(error, WalletError::NotAllowed { .. }), "{what}: {error:?}");
    }
    // The payment of somebody else's wallet is not this one's.
    let paid = invoice(5).await;
    buyer.pay(&paid, fee_max()).await.unwrap();
    let third = post("account", json!({"name": "third"})).await;
    let third = wallet(third["adminkey"].as_str().unwrap());
    assert_eq!(third.look_up(&paid).await.unwrap(), Outcome::NotPaid);
}

/// A relay and a wallet service that only makes invoices: it understands the questions in either
/// encryption, and what it refuses is certain.
#[tokio::test]
async fn a_wallet_behind_a_relay_is_understood() {
    if let Err(reason) = nwc::Wallet::available() {
        return missing(&reason);
    }
    for encryption in [nwc::Encryption::Nip44, nwc::Encryption::Nip04] {
        let service = nwc::Wallet::start(encryption).await.unwrap();
        let wallet = Nwc::new(&Secret::new(&service.connection())).unwrap();
        let invoice = Invoice::parse(INVOICE).unwrap();
        assert_eq!(wallet.look_up(&invoice).await.unwrap(), Outcome::NotPaid, "{encryption:?}");
        assert_eq!(wallet.balance().await.unwrap(), None, "it keeps that to itself");
        let error = wallet.pay(&invoice, fee_max()).await.unwrap_err();
        assert!(matches!(error, WalletError::NotAllowed { .. }), "{encryption:?} {error:?}");
        assert!(!format!("{wallet:?}").contains("2222"), "the link is a secret");
    }
}

/// A wallet service that pays, with the money of a real LNbits, in either encryption.
#[tokio::test]
async fn a_wallet_behind_a_relay_pays_for_real_invoices() {
    if let Err(reason) = nwc::PayingWallet::available().and(lnbits::Lnbits::available()) {
        return missing(&reason);
    }
    let host = lnbits::Lnbits::start(None).await.unwrap();
    let invoice = async |sats: u64| {
        let order = json!({"out": false, "amount": sats, "unit": "sat", "memo": "a test"});
        let request = reqwest::Client::new().post(format!("{}/api/v1/payments", host.url));
        let request = request.header("x-api-key", &host.invoice_key).json(&order);
        let made: Value = request.send().await.unwrap().json().await.unwrap();
        Invoice::parse(made["bolt11"].as_str().unwrap()).unwrap()
    };
    for encryption in [nwc::Encryption::Nip44, nwc::Encryption::Nip04] {
        let service = nwc::PayingWallet::start(encryption, &host).await.unwrap();
        let wallet = Nwc::new(&Secret::new(&service.connection())).unwrap();
        pays(&wallet, &invoice(21).await).await;
        let dear = invoice(200_000).await;
        let error = wallet.pay(&dear, fee_max()).await.unwrap_err();
        assert!(matches!(error, WalletError::PaymentFailed(_)), "{encryption:?} {error:?}");
        assert_eq!(wallet.look_up(&dear).await.unwrap(), Outcome::NotPaid);
    }
}

#[tokio::test]
async fn lnd_pays_over_a_real_channel() {
    let Some(network) = network().await else { return };
    let cert = std::fs::read_to_string(network.payer.certificate()).unwrap();
    let macaroon = |name| {
        let bytes = std::fs::read(network.payer.macaroon(name)).unwrap();
        Secret::new(&hex::encode(bytes))
    };
    let wallet = |name| Lnd::new(&network.payer.url(), macaroon(name), Some(&cert)).unwrap();
    let payer = wallet("admin");
    pays(&payer, &invoice(&network, 21).await).await;

    // More than the channel has: it fails for good.
    let dear = invoice(&network, 5_000_000).await;
    let error = payer.pay(&dear, fee_max()).await.unwrap_err();
    assert!(matches!(error, WalletError::PaymentFailed(_)), "{error:?}");
    assert_eq!(payer.look_up(&dear).await.unwrap(), Outcome::NotPaid);

    let poor = wallet("invoice").pay(&invoice(&network, 1).await, fee_max()).await.unwrap_err();
    assert!(matches!(poor, WalletError::NotAllowed { .. }), "{poor:?}");

    // Another node's certificate is not this one's.
    let other = std::fs::read_to_string(network.payee.certificate()).unwrap();
    let stranger = Lnd::new(&network.payer.url(), macaroon("admin"), Some(&other)).unwrap();
    let error = stranger.balance().await.unwrap_err();
    assert!(matches!(error, WalletError::Unreachable(_)), "{error:?}");
}

async fn invoice(network: &Network, sats: u64) -> Invoice {
    let order = json!({"value": sats.to_string()});
    let made = network.payee.post("/v1/invoices", &order).await.unwrap();
    Invoice::parse(made["payment_request"].as_str().unwrap()).unwrap()
}
