//! A thousand payments that arrive at a real node while tollwayd is down.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use tollway_testkit::stack::Parts;

use super::network;
use super::story::{Market, lnd};

const PAYMENTS: usize = 1_000;
const PRICE_MSAT: usize = 21_000;
/// Payments under way at a time, of the 483 that a channel carries.
const AT_ONCE: usize = 20;
/// How long a slow machine may take to credit them all.
const PATIENCE: Duration = Duration::from_secs(120);

async fn invoice(market: &Market, http: &reqwest::Client) -> String {
    invoice_of(market, http, PRICE_MSAT).await
}

/// An invoice of tollwayd's, as the gate asks for it.
pub(crate) async fn invoice_of(
    market: &Market,
    http: &reqwest::Client,
    amount_msat: usize,
) -> String {
    let order = json!({
        "route": "joke", "service": "demo", "memo": "a joke", "amount_msat": amount_msat,
        "credit_msat": amount_msat,
    });
    let call = http
        .post(format!("{}/v1/challenges", market.stack.gate_url()))
        .bearer_auth(market.stack.gate_token())
        .json(&order);
    let made: Value = call.send().await.unwrap().json().await.unwrap();
    made["invoice"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
}

/// Waits until so many payments are credited.
async fn credited(market: &Market, payments: usize) {
    let begun = Instant::now();
    loop {
        let stats = market.stats().await;
        if stats["payments"] == payments {
            return assert_eq!(stats["credited_msat"], payments * PRICE_MSAT);
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain for {payments}: {stats}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// tollwayd's books agree with themselves.
pub(crate) fn audit(market: &Market) {
    let output = Command::new(Parts::locate().unwrap().tollwayd)
        .args(["audit", "--config"])
        .arg(market.stack.tollwayd_config().unwrap())
        .envs(market.stack.store_env())
        .env("TOLLWAY_GATE_TOKEN", market.stack.gate_token())
        .env("TOLLWAY_ADMIN_TOKEN", market.stack.admin_token())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_thousand_payments_at_lnd_while_tollwayd_was_down_are_credited_once() {
    let Some(network) = network().await else { return };
    let mut market = Market::open(&lnd(&network)).await;
    let http = reqwest::Client::new();
    // A first payment, so that there is a place in the node's stream to go on from.
    network.payer.pay(&invoice(&market, &http).await).await.unwrap();
    credited(&market, 1).await;
    let begun = Instant::now();
    let invoices: Vec<String> = stream::repeat_with(|| invoice(&market, &http))
        .take(PAYMENTS)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let made = begun.elapsed();
    market.stack.kill_tollwayd();

    let begun = Instant::now();
    let preimages: Vec<String> = stream::iter(&invoices)
        .map(|invoice| network.payer.pay(invoice))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(preimages.len(), PAYMENTS);
    let paid = begun.elapsed();

    let begun = Instant::now();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    credited(&market, PAYMENTS + 1).await;
    println!(
        "{PAYMENTS} invoices made in {:.1} s, paid in {:.1} s, and credited {:.1} s after the \
         start of tollwayd was asked for (30 s are promised)",
        made.as_secs_f64(),
        paid.as_secs_f64(),
        begun.elapsed().as_secs_f64(),
    );
    audit(&market);

    // Whoever looks again finds nothing to do: one more payment is one more credit.
    market.stack.kill_tollwayd();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    network.payer.pay(&invoice(&market, &http).await).await.unwrap();
    credited(&market, PAYMENTS + 2).await;
    audit(&market);
}
