//! The library's promises about money.

use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use tempfile::TempDir;
use tollway_client::{
    Answer, ChallengeError, Client, ClientError, CredentialStore, Fault, Wallet, WalletError,
};
use tollway_core::money::Msat;

use crate::shop::{SOLD_MSAT, Shop, Trick};

/// A shop and the customer's folder.
struct Trade {
    shop: Shop,
    folder: TempDir,
}

impl Trade {
    async fn open() -> Self {
        Self { shop: Shop::open().await, folder: tempfile::tempdir().unwrap() }
    }

    /// A new client each time, as each run of the command is one.
    async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.get_with(path, HeaderMap::new()).await
    }

    async fn get_with(&self, path: &str, headers: HeaderMap) -> Result<Answer, ClientError> {
        let wallet = Wallet::simulated(&self.shop.url).unwrap();
        let store = CredentialStore::at(self.folder.path().join("credentials.json"));
        let client = Client::new(wallet, store, Msat::from_sats(100).unwrap()).unwrap();
        client.get(format!("{}{path}", self.shop.url).parse().unwrap(), headers).await
    }

    async fn ok(&self, path: &str) -> Answer {
        let answer = self.get(path).await.unwrap();
        assert_eq!(answer.response.status(), StatusCode::OK);
        answer
    }

    async fn fault(&self, path: &str) -> ClientError {
        self.get(path).await.unwrap_err()
    }
}

#[tokio::test]
async fn pays_once_and_spends_what_it_bought() {
    let trade = Trade::open().await;
    let first = trade.ok("/jokes").await;
    let paid = first.paid.unwrap();
    assert_eq!(paid.amount.get(), SOLD_MSAT);
    assert_eq!(first.payment_hash, Some(paid.payment_hash));
    assert_eq!(first.response.text().await.unwrap(), "one of jokes");
    let second = trade.ok("/jokes").await;
    assert_eq!((second.paid, second.payment_hash), (None, Some(paid.payment_hash)));
    assert_eq!(trade.shop.payments(), 1);
}

#[tokio::test]
async fn tops_up_once_when_the_credit_is_gone() {
    let trade = Trade::open().await;
    trade.ok("/jokes").await;
    trade.ok("/jokes").await;
    let third = trade.ok("/jokes").await;
    assert!(third.paid.is_some());
    assert_eq!(trade.shop.payments(), 2);
    assert_eq!(trade.ok("/jokes").await.paid, None);
    assert_eq!(trade.shop.payments(), 2);
}

#[tokio::test]
async fn what_is_free_costs_nothing_and_gets_no_credential_before_there_is_one() {
    let trade = Trade::open().await;
    let answer = trade.ok("/free").await;
    assert_eq!((answer.paid, answer.payment_hash), (None, None));
    trade.ok("/jokes").await;
    assert!(trade.shop.seen()[0].get(AUTHORIZATION).is_none());
}

#[tokio::test]
async fn keeps_one_credential_for_each_service_of_an_origin() {
    let trade = Trade::open().await;
    trade.ok("/jokes").await;
    trade.ok("/time").await;
    assert_eq!(trade.shop.payments(), 2);
    assert_eq!(trade.ok("/jokes").await.paid, None);
    assert_eq!(trade.ok("/time").await.paid, None);
    assert_eq!(trade.shop.payments(), 2);
}

#[tokio::test]
async fn never_pays_twice_for_one_request() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::AsksForEver);
    let answer = trade.get("/jokes").await.unwrap();
    assert_eq!(answer.response.status(), StatusCode::PAYMENT_REQUIRED);
    assert!(answer.paid.is_some());
    assert_eq!(trade.shop.payments(), 1);
}

#[tokio::test]
async fn pays_a_sloppily_written_challenge() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::Sloppy);
    assert!(trade.ok("/jokes").await.paid.is_some());
}

#[tokio::test]
async fn the_budget_counts_the_invoice_and_not_what_the_body_says() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::Dear);
    let error = trade.fault("/jokes").await;
    let budget = Msat::from_sats(100).unwrap();
    assert!(
        matches!(error.fault, Fault::TooDear { asked, budget: found }
            if asked.get() == 1_000_000_000 && found == budget),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "the server asks for 1000000 sats, but the budget is 100 sats");
    assert_eq!(trade.shop.payments(), 0);
}

#[tokio::test]
async fn pays_no_challenge_that_would_not_open_what_it_sells() {
    let trade = Trade::open().await;
    for (trick, expected) in [
        (Trick::Without, ChallengeError::NotL402),
        (
            Trick::Garbage,
            ChallengeError::BadMacaroon(tollway_core::macaroon::MacaroonError::NotBase64),
        ),
        (Trick::Amountless, ChallengeError::Amountless),
        (Trick::OtherHash, ChallengeError::HashMismatch),
        (Trick::Expired, ChallengeError::Expired),
    ] {
        trade.shop.plays(trick);
        let error = trade.fault("/jokes").await;
        assert!(
            matches!(error.fault, Fault::Challenge(found) if found == expected),
            "{trick:?} {error:?}"
        );
        assert_eq!(error.paid, None, "{trick:?}");
    }
    assert_eq!(trade.shop.payments(), 0);
}

#[tokio::test]
async fn a_refused_payment_is_forgotten() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::WalletRefuses);
    let error = trade.fault("/jokes").await;
    assert_eq!(error.to_string(), "the wallet refused the invoice (400): not ours");
    trade.shop.plays(None);
    trade.ok("/jokes").await;
    assert_eq!((trade.shop.payments(), trade.shop.challenges()), (1, 2));
}

#[tokio::test]
async fn a_payment_whose_answer_was_lost_is_taken_up_and_not_bought_again() {
    let trade = Trade::open().await;
    for trick in [Trick::WalletAnswerLost, Trick::WalletLies] {
        trade.shop.plays(trick);
        let error = trade.fault("/jokes").await;
        assert!(
            matches!(error.fault, Fault::Wallet(WalletError::Failed { .. } | WalletError::NoProof)),
            "{error:?}"
        );
    }
    trade.shop.plays(None);
    let answer = trade.ok("/jokes").await;
    assert!(answer.paid.is_some());
    assert_eq!((trade.shop.payments(), trade.shop.challenges()), (1, 3));
}

#[tokio::test]
async fn what_was_paid_before_a_failure_is_used_by_the_next_call() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::FailsAfterPayment);
    let answer = trade.get("/jokes").await.unwrap();
    assert_eq!(answer.response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.paid.is_some());
    trade.shop.plays(None);
    assert_eq!(trade.ok("/jokes").await.paid, None);
    assert_eq!(trade.shop.payments(), 1);
}

#[tokio::test]
async fn a_callers_own_authorization_goes_first_and_gives_way_to_a_payment() {
    let trade = Trade::open().await;
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer mine"));
    let answer = trade.get_with("/jokes", headers).await.unwrap();
    assert_eq!(answer.response.status(), StatusCode::OK);
    let seen = trade.shop.seen();
    let sent: Vec<_> = seen.iter().map(|headers| headers[AUTHORIZATION].as_bytes()).collect();
    assert_eq!(sent[0], b"Bearer mine");
    assert!(sent[1].starts_with(b"L402 ") && sent.len() == 2);
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::Redirects);
    let answer = trade.get("/jokes").await.unwrap();
    assert_eq!(answer.response.status(), StatusCode::FOUND);
    assert_eq!(trade.shop.seen().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_url() {
    let trade = Trade::open().await;
    let wallet = Wallet::simulated(&trade.shop.url).unwrap();
    let client = Client::new(wallet, CredentialStore::nowhere(), Msat::ZERO).unwrap();
    let url = "http://user:canary@127.0.0.1:1/secret".parse().unwrap();
    let error = client.get(url, HeaderMap::new()).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Server(_)), "{error:?}");
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn err_wallet_address() {
    for text in ["", "localhost:8404", "ftp://127.0.0.1", "http://"] {
        assert!(matches!(Wallet::simulated(text), Err(WalletError::BadUrl)), "{text}");
    }
}
