//! The Payment scheme: a payment for each request, and for no request two.

use futures_util::future::join_all;
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use tollway_client::{Budget, ChallengeError, Fault, Scheme};

use crate::library::Trade;
use crate::shop::Trick;

#[tokio::test]
async fn it_is_asked_for_and_taken_only_where_it_is_preferred() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::OffersBoth);
    let client = trade.builder().prefer(Scheme::Payment).build().unwrap();
    for _ in 0..2 {
        let answer = client.get(trade.url("/jokes")).send().await.unwrap();
        assert!(answer.paid.is_some());
        let receipt = answer.receipt().unwrap();
        assert_eq!(receipt.reference, answer.payment_hash.unwrap().to_hex());
        assert_eq!((receipt.method.as_str(), receipt.status.as_str()), ("lightning", "success"));
    }
    let asks = |headers: &reqwest::header::HeaderMap| {
        headers.get("accept-payment").is_some_and(|value| value == "lightning/charge")
    };
    assert_eq!((trade.shop.payments(), trade.shop.seen().len()), (2, 4));
    assert!(trade.shop.seen().iter().all(asks));

    let other = Trade::open().await;
    other.shop.plays(Trick::OffersBoth);
    assert!(other.ok("/jokes").await.paid.is_some());
    assert!(!other.shop.seen().iter().any(asks));
    // It bought credit for two, which is spent first.
    let client = other.builder().prefer(Scheme::Payment).build().unwrap();
    for (payments, receipt) in [(1, false), (2, true)] {
        let answer = client.get(other.url("/jokes")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!((other.shop.payments(), answer.receipt().is_some()), (payments, receipt));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_at_once_each_spend_their_own_payment() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentScheme);
    let client = trade.client(Budget::default());
    let calls = (0..8).map(|n| {
        // Half of them share a client, half have a store of their own on the same file.
        let own = if n % 2 == 0 { client.clone() } else { trade.client(Budget::default()) };
        let url = trade.url("/jokes");
        async move { own.get(url).send().await.unwrap() }
    });
    let answers = join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    let paid = answers.iter().filter(|answer| answer.paid.is_some()).count();
    assert_eq!((served, paid, trade.shop.payments()), (8, 8, 8));
    assert_eq!(trade.shop.seen().len(), 16, "nobody showed another one's payment");
    assert!(trade.store().credentials().unwrap().is_empty());
    assert_eq!(trade.locks(), ["credentials.lock"], "besides those of purchases");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_payment() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::LosesAnswers);
    let error = trade.get("/jokes").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Server(_)) && error.paid.is_some(), "{error:?}");
    // The next run of the command is another process.
    let answer = trade.ok("/jokes").await;
    assert_eq!((answer.paid, trade.shop.payments()), (None, 1));
    let seen = trade.shop.seen();
    let keys: Vec<_> = seen.iter().map(|headers| headers.get("idempotency-key")).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys[0].is_none() && keys[1].is_some() && keys[1] == keys[2], "{keys:?}");
    assert!(trade.store().credentials().unwrap().is_empty());

    // Another request is no repeat: the payment was spent, and it pays for itself.
    trade.get("/time").await.unwrap_err();
    trade.shop.plays(Trick::PaymentScheme);
    let other = trade.ok("/time?zone=1").await;
    assert_eq!((other.paid.is_some(), trade.shop.payments()), (true, 3));
}

#[tokio::test]
async fn it_leaves_the_callers_authorization_where_the_server_names_another_header() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentScheme);
    let client = trade.client(Budget::default());
    let request = client.get(trade.url("/jokes")).header(AUTHORIZATION, "Bearer mine");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    let seen = trade.shop.seen();
    assert!(seen.iter().all(|headers| headers[AUTHORIZATION] == "Bearer mine"));
    assert!(seen[0].get("payment-authorization").is_none());
    assert!(seen[1]["payment-authorization"].as_bytes().starts_with(b"Payment "));
}

#[tokio::test]
async fn a_challenge_that_has_ended_is_not_paid() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentSchemeLate);
    let error = trade.get("/jokes").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Challenge(ChallengeError::Expired)), "{error:?}");
    assert_eq!(trade.shop.payments(), 0);
}

#[tokio::test]
async fn a_top_up_never_buys_a_single_request() {
    let trade = Trade::open().await;
    trade.shop.plays(Trick::PaymentScheme);
    let client = trade.builder().prefer(Scheme::Payment).build().unwrap();
    let error = client.top_up(trade.url("/jokes"), 10).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Challenge(ChallengeError::NotL402)), "{error:?}");
    assert_eq!(trade.shop.payments(), 0);
}
