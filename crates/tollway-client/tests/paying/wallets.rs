//! One contract for the wallets that stand-ins speak for. The real ones are tried in the
//! end-to-end tests of the repository.

use tollway_client::wallet::{Lnd, Outcome, Phoenixd, Secret, Wallet, WalletError};
use tollway_client::{Invoice, PayingClient, Quote};
use tollway_core::money::Msat;

use crate::library::Trade;
use crate::standins::{Mood, SECRET, StandIn};

const FEE_MAX: Msat = match Msat::from_sats(10) {
    Some(msat) => msat,
    None => Msat::ZERO,
};

async fn invoice(trade: &Trade) -> Invoice {
    let client = trade.client(tollway_client::Budget::default());
    let quote = client.get(trade.url("/jokes")).quote().await.unwrap();
    let Quote::Challenge(challenge) = quote else { panic!("{quote:?}") };
    challenge.invoice().clone()
}

/// What every wallet must do, on a wallet that charges `fee_msat`.
async fn contract(trade: &Trade, standin: &StandIn, wallet: impl Wallet + 'static, fee_msat: u64) {
    // It pays, proves it, and says so again without paying again.
    let first = invoice(trade).await;
    assert_eq!(wallet.look_up(&first).await.unwrap(), Outcome::NotPaid);
    let paid = wallet.pay(&first, FEE_MAX).await.unwrap();
    assert!(paid.preimage.proves(&first.payment_hash()));
    assert_eq!(paid.fee.get(), fee_msat);
    assert_eq!(wallet.look_up(&first).await.unwrap(), Outcome::Paid(paid.clone()));
    assert_eq!(wallet.pay(&first, FEE_MAX).await.unwrap(), paid);
    assert_eq!(trade.shop.payments(), 1);

    // A payment that failed for good is a refusal.
    standin.is(Mood::NoRoute);
    let error = wallet.pay(&invoice(trade).await, FEE_MAX).await.unwrap_err();
    assert!(matches!(error, WalletError::PaymentFailed(_)) && error.is_refusal(), "{error:?}");

    // One whose answer is lost may have happened, and is found.
    standin.is(Mood::LosesAnswers);
    let lost = invoice(trade).await;
    let error = wallet.pay(&lost, FEE_MAX).await.unwrap_err();
    assert!(!error.is_refusal(), "{error:?}");
    assert!(matches!(wallet.look_up(&lost).await.unwrap(), Outcome::Paid(_)));
    assert_eq!(trade.shop.payments(), 2);

    // One that is under way is neither paid nor refused.
    standin.is(Mood::Stuck);
    let stuck = invoice(trade).await;
    assert!(!wallet.pay(&stuck, FEE_MAX).await.unwrap_err().is_refusal());
    assert_eq!(wallet.look_up(&stuck).await.unwrap(), Outcome::InFlight);
    let again = wallet.pay(&stuck, FEE_MAX).await.unwrap_err();
    assert!(matches!(again, WalletError::InFlight), "{again:?}");
    assert_eq!(trade.shop.payments(), 2);

    assert!(wallet.balance().await.unwrap().unwrap() > Msat::ZERO);
    assert!(!format!("{wallet:?}").contains(SECRET));

    // And a client pays with it.
    standin.is(Mood::Honest);
    let client = PayingClient::new(wallet).unwrap();
    let answer = client.get(trade.url("/time")).send().await.unwrap();
    assert_eq!(answer.paid.unwrap().fee.get(), fee_msat);
    assert_eq!(answer.text().await.unwrap(), "one of time");
}

async fn refuses_the_wrong_credential(trade: &Trade, wallet: impl Wallet) {
    let invoice = invoice(trade).await;
    let error = wallet.pay(&invoice, FEE_MAX).await.unwrap_err();
    assert!(matches!(error, WalletError::NotAllowed { .. }) && error.is_refusal(), "{error:?}");
    let error = wallet.balance().await.unwrap_err();
    assert!(matches!(error, WalletError::NotAllowed { .. }), "{error:?}");
    assert!(!wallet.look_up(&invoice).await.is_ok_and(|outcome| outcome == Outcome::NotPaid));
}

#[tokio::test]
async fn phoenixd_as_a_stand_in_keeps_the_contract() {
    let trade = Trade::open().await;
    let standin = StandIn::phoenixd(&trade.shop.url).await;
    let wallet = |secret| Phoenixd::new(&standin.url, Secret::new(secret)).unwrap();
    refuses_the_wrong_credential(&trade, wallet("beef")).await;
    contract(&trade, &standin, wallet(SECRET), 4_000).await;
}

#[tokio::test]
async fn lnd_as_a_stand_in_keeps_the_contract() {
    let trade = Trade::open().await;
    let standin = StandIn::lnd(&trade.shop.url).await;
    let wallet = |secret| Lnd::new(&standin.url, Secret::new(secret), None).unwrap();
    refuses_the_wrong_credential(&trade, wallet("beef")).await;
    contract(&trade, &standin, wallet(SECRET), 1_001).await;
}

#[test]
fn err_setting_that_no_wallet_can_use() {
    use tollway_client::wallet::{Lnbits, Nwc};
    let secret = Secret::new;
    for error in [
        Lnd::new("http://a", secret("no hex"), None).unwrap_err(),
        Lnd::new("https://a", secret("00"), Some("no PEM")).unwrap_err(),
        Lnbits::new("a", secret("00")).unwrap_err(),
        Lnbits::new("http://a", secret("new\nline")).unwrap_err(),
        Nwc::new(&secret("nostr+walletconnect://00")).unwrap_err(),
    ] {
        assert!(matches!(error, WalletError::BadSetting { .. }), "{error}");
    }
}
