//! Several calls at once, in one process and in several that share a file.

use futures_util::future::join_all;
use reqwest::StatusCode;
use tollway_client::{Budget, ClientError, Fault, Limit};

use crate::library::Trade;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_want_the_same_buy_it_once() {
    let trade = Trade::open().await;
    let client = trade.client(Budget::default());
    // One payment is good for two requests.
    let calls = (0..8).map(|n| {
        // Half of them share a client, half have a store of their own on the same file.
        let own = if n % 2 == 0 { client.clone() } else { trade.client(Budget::default()) };
        let url = trade.url("/jokes");
        async move { own.get(url).send().await.unwrap() }
    });
    let answers = join_all(calls).await;
    let served = answers.iter().filter(|answer| answer.status() == StatusCode::OK).count();
    let paid = answers.iter().filter(|answer| answer.paid.is_some()).count();
    assert_eq!(paid, trade.shop.payments(), "each payment is told once");
    assert_eq!(trade.store().payments().unwrap().len(), paid);
    assert_eq!(served, 8);
    assert_eq!(paid, 4, "nobody buys what another one bought");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_on_one_file_spend_one_budget() {
    let trade = Trade::open().await;
    // 10 sats for each service: 3 of 8 fit.
    let budget = Budget::default().per_day_sats(35);
    let calls = (0..8).map(|n| {
        let client = trade.client(budget);
        let url = trade.url(&format!("/service{n}"));
        async move { client.get(url).send().await }
    });
    let answers = join_all(calls).await;
    let refused = |answer: &Result<_, ClientError>| {
        matches!(answer, Err(ClientError { fault: Fault::OverBudget(over), paid: None })
            if over.limit == Limit::Day)
    };
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    assert_eq!(answers.iter().filter(|answer| refused(answer)).count(), 5);
    assert_eq!(trade.shop.payments(), 3);
}

#[tokio::test]
async fn a_host_has_a_budget_of_its_own() {
    let trade = Trade::open().await;
    let client = trade.client(Budget::default().per_host_sats(15));
    client.get(trade.url("/jokes")).send().await.unwrap();
    let error = client.get(trade.url("/time")).send().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server asks for 10 sats, but 10 of 15 sats for this host and day are spent"
    );
    // The same host by another name.
    let url = trade.url("/time").replace("127.0.0.1", "localhost");
    assert!(client.get(url).send().await.unwrap().paid.is_some());
}
