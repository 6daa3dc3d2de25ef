//! What a wallet says of a payment that was begun and not seen to end.

use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use tollway_client::wallet::{Outcome, Paid, Simulated, Wallet, WalletError, WalletFuture};
use tollway_client::{Fault, Invoice, PaymentState};
use tollway_core::money::Msat;

use crate::library::Trade;
use crate::shop::Trick;

/// A wallet that loses its answers, and then says what became of the payments.
#[derive(Clone, Debug)]
struct Forgetful {
    inner: Simulated,
    says: Arc<Mutex<Says>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// It pays, but the answer is lost.
    NothingAfterPaying,
    /// It neither pays nor answers.
    NothingAtAll,
    InFlight,
    NotPaid,
    Paid,
}

impl Forgetful {
    fn new(trade: &Trade, says: Says) -> Self {
        let inner = Simulated::new(&trade.shop.url).unwrap();
        Self { inner, says: Arc::new(Mutex::new(says)) }
    }

    fn says(&self) -> Says {
        *self.says.lock().unwrap()
    }

    fn now_says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }
}

impl Wallet for Forgetful {
    fn pay<'a>(&'a self, invoice: &'a Invoice, fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            if self.says() == Says::NothingAtAll {
                return Err(WalletError::Unreachable("as told".into()));
            }
            let paid = self.inner.pay(invoice, fee_max).await?;
            match self.says() {
                Says::NothingAfterPaying => Err(WalletError::Unreachable("as told".into())),
                _ => Ok(paid),
            }
        })
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(async move {
            Ok(match self.says() {
                Says::InFlight => Outcome::InFlight,
                Says::NotPaid => Outcome::NotPaid,
                Says::Paid => {
                    let paid = self.inner.pay(invoice, Msat::ZERO).await?;
                    Outcome::Paid(Paid { fee: Msat::from_sats(1).unwrap(), ..paid })
                }
                Says::NothingAfterPaying | Says::NothingAtAll => {
                    return Err(WalletError::Unreachable("as told".into()));
                }
            })
        })
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        self.inner.balance()
    }
}

#[tokio::test]
async fn a_payment_that_arrived_is_used_and_its_fee_is_known() {
    let trade = Trade::open().await;
    let wallet = Forgetful::new(&trade, Says::NothingAfterPaying);
    let client = client(&trade, &wallet);
    let error = client.get(trade.url("/jokes")).send().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Wallet(WalletError::Unreachable(_))), "{error:?}");
    assert_eq!(trade.store().payments().unwrap()[0].state, PaymentState::Pending);
    wallet.now_says(Says::Paid);
    let answer = client.get(trade.url("/jokes")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.paid.unwrap().fee.get(), 1_000);
    assert_eq!((trade.shop.payments(), trade.shop.challenges()), (1, 2));
    let payments = trade.store().payments().unwrap();
    assert_eq!((payments.len(), payments[0].state), (1, PaymentState::Paid));
    assert_eq!(payments[0].fee.get(), 1_000);
}

#[tokio::test]
async fn while_a_payment_is_under_way_nothing_else_is_bought() {
    let trade = Trade::open().await;
    let wallet = Forgetful::new(&trade, Says::NothingAtAll);
    let client = client(&trade, &wallet);
    client.get(trade.url("/jokes")).send().await.unwrap_err();
    for _ in 0..2 {
        wallet.now_says(Says::InFlight);
        let error = client.get(trade.url("/jokes")).send().await.unwrap_err();
        assert!(matches!(error.fault, Fault::Wallet(WalletError::InFlight)), "{error:?}");
    }
    assert_eq!(trade.shop.payments(), 0);
    wallet.now_says(Says::NotPaid);
    assert!(client.get(trade.url("/jokes")).send().await.unwrap().paid.is_some());
    assert_eq!(trade.shop.payments(), 1, "the first invoice was paid, not the last");
    assert_eq!(trade.store().payments().unwrap().len(), 1);
}

#[tokio::test]
async fn an_interrupted_purchase_in_the_payment_scheme_is_used_for_its_request() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentScheme);
    let wallet = Forgetful::new(&trade, Says::NothingAfterPaying);
    let client = client(&trade, &wallet);
    client.get(trade.url("/jokes")).send().await.unwrap_err();
    wallet.now_says(Says::Paid);
    let answer = client.get(trade.url("/jokes")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(trade.shop.payments(), 1);
}

fn client(trade: &Trade, wallet: &Forgetful) -> tollway_client::PayingClient {
    let builder = tollway_client::PayingClient::builder(wallet.clone());
    builder.store(trade.store()).build().unwrap()
}
