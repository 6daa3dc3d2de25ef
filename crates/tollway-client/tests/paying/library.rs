//! The library's promises about money.

use futures_util::stream;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Body, StatusCode};
use tempfile::TempDir;
use tollway_client::wallet::{Simulated, WalletError};
use tollway_client::{
    Answer, Budget, Builder, ChallengeError, ClientError, CredentialStore, Fault, InvoiceError,
    Limit, PayingClient, PaymentState, Quote, Scheme, Stats,
};
use tollway_core::money::Msat;

use crate::shop::{SOLD_MSAT, Shop, Trick};

/// A shop and the customer's folder.
pub(crate) struct Trade {
    pub(crate) shop: Shop,
    folder: TempDir,
}

impl Trade {
    pub(crate) async fn open() -> Self {
        Self { shop: Shop::open().await, folder: tempfile::tempdir().unwrap() }
    }

    /// A new client each time, as each run of the command is one.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.get_with(path, HeaderMap::new()).await
    }

    async fn get_with(&self, path: &str, headers: HeaderMap) -> Result<Answer, ClientError> {
        self.client(Budget::default()).get(self.url(path)).headers(headers).send().await
    }

    pub(crate) fn client(&self, budget: Budget) -> PayingClient {
        self.builder().budget(budget).build().unwrap()
    }

    /// A client with a store of its own on the customer's file, as another process has.
    pub(crate) fn builder(&self) -> Builder {
        PayingClient::builder(Simulated::new(&self.shop.url).unwrap()).store(self.store())
    }

    pub(crate) fn store(&self) -> CredentialStore {
        CredentialStore::at(self.folder.path().join("credentials.json"))
    }

    /// The locks beside the credentials, without those of purchases.
    pub(crate) fn locks(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("lock") && !name.contains("buying")).collect()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shop.url)
    }

    pub(crate) async fn ok(&self, path: &str) -> Answer {
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
        matches!(error.fault, Fault::OverBudget(over) if over.limit == Limit::Request
            && over.asked.get() == 1_000_000_000 && over.budget == budget),
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
        (Trick::Garbage, ChallengeError::BadMacaroon),
        (Trick::Amountless, ChallengeError::Invoice(InvoiceError::Amountless)),
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
    let client = trade.client(Budget::per_request(Msat::ZERO));
    let error = client.get("http://user:canary@127.0.0.1:1/secret").send().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Server(_)), "{error:?}");
    assert!(!error.to_string().contains("canary"), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn err_wallet_address() {
    for text in ["", "localhost:8404", "ftp://127.0.0.1", "http://"] {
        assert!(matches!(Simulated::new(text), Err(WalletError::BadSetting { .. })), "{text}");
    }
}

#[tokio::test]
async fn a_body_goes_with_each_attempt() {
    let trade = Trade::open().await;
    let client = trade.client(Budget::default());
    let answer = client.post(trade.url("/jokes")).body("one").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let streamed = client
        .put(trade.url("/jokes"))
        .body_with(|| Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>("two")])));
    assert_eq!(streamed.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(trade.shop.bodies(), ["one", "one", "two"]);
    let once = Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>("three")]));
    let error = client.put(trade.url("/jokes")).body(once).send().await.unwrap_err();
    assert!(matches!(error.fault, Fault::NotRepeatable), "{error:?}");
    assert_eq!(trade.shop.bodies().len(), 3, "nothing was sent");
}

#[tokio::test]
async fn a_quote_tells_the_price_and_spends_neither_money_nor_credit() {
    let trade = Trade::open().await;
    let client = trade.client(Budget::default());
    let quote = client.get(trade.url("/jokes")).quote().await.unwrap();
    let Quote::Challenge(challenge) = quote else { panic!("{quote:?}") };
    assert_eq!((challenge.invoice().amount().get(), challenge.scheme()), (SOLD_MSAT, Scheme::L402));
    assert_eq!(trade.shop.payments(), 0);
    let answer = client.get(trade.url("/jokes")).send().await.unwrap();
    let left = answer.balance().unwrap();
    client.get(trade.url("/jokes")).quote().await.unwrap();
    let next = client.get(trade.url("/jokes")).send().await.unwrap();
    assert_eq!(next.balance().unwrap().checked_add(next.cost().unwrap()), Some(left));
    let free = client.get(trade.url("/free")).quote().await.unwrap();
    assert!(matches!(free, Quote::Free(StatusCode::OK)), "{free:?}");
}

#[tokio::test]
async fn statistics_and_history_tell_what_was_paid() {
    let trade = Trade::open().await;
    let client = trade.client(Budget::default());
    for _ in 0..3 {
        client.get(trade.url("/jokes?key=secret")).send().await.unwrap();
    }
    let expected = Stats { requests: 3, payments: 2, paid_msat: 2 * SOLD_MSAT, fees_msat: 0 };
    assert_eq!(client.stats(), expected);
    let payments = client.store().payments().unwrap();
    assert_eq!(payments.len(), 2);
    for payment in payments {
        assert_eq!((payment.host.as_str(), payment.path.as_str()), ("127.0.0.1", "/jokes"));
        assert_eq!((payment.amount.get(), payment.state), (SOLD_MSAT, PaymentState::Paid));
    }
}

#[tokio::test]
async fn a_redirect_is_followed_on_request_and_takes_no_secret_elsewhere() {
    let trade = Trade::open().await;
    let other = Shop::open().await;
    other.plays(Trick::Without);
    let client = trade.builder().follow_redirects(2).build().unwrap();
    client.get(trade.url("/jokes")).send().await.unwrap();
    trade.shop.redirects_to(format!("{}/jokes", other.url));
    let request = client.post(trade.url("/jokes")).header("cookie", "mine").body("same");
    let error = request.send().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Challenge(_)), "{error:?}");
    let seen = other.seen();
    assert_eq!((seen.len(), other.bodies()), (1, vec!["same".to_owned()]));
    assert!(seen[0].get(AUTHORIZATION).is_none() && seen[0].get("cookie").is_none());
    assert!(trade.shop.seen().last().unwrap().get(AUTHORIZATION).is_some());

    trade.shop.redirects_to("/jokes".into());
    let error = client.get(trade.url("/jokes")).send().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Redirect(_)), "{error:?}");
}

#[tokio::test]
async fn a_token_that_only_the_shop_can_read_is_paid_and_used_for_its_path() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::Opaque);
    assert!(trade.ok("/jokes").await.paid.is_some());
    assert!(trade.ok("/time").await.paid.is_some());
    assert_eq!(trade.ok("/jokes").await.paid, None);
    assert_eq!(trade.ok("/time").await.paid, None);
    let requests = trade.shop.seen().len();
    assert_eq!((trade.shop.payments(), requests), (2, 6), "each knows its own token at once");
}

#[tokio::test]
async fn a_payment_credential_is_used_once() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentScheme);
    for _ in 0..2 {
        assert!(trade.ok("/jokes").await.paid.is_some());
        assert!(trade.store().credentials().unwrap().is_empty());
    }
    assert_eq!((trade.shop.payments(), trade.shop.seen().len()), (2, 4));
}
