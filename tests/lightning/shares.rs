//! Shares of what is paid, from one real node to another.

use serde_json::json;
use tollway_testkit::nodes::Network;

use super::downtime::{audit, invoice_of};
use super::network;
use super::story::{Market, eventually, lnd};

/// What arrived at the node of who gets the share: the amounts, in sats.
async fn received(network: &Network) -> Vec<String> {
    let list = network.payer.get("/v1/invoices").await.unwrap_or_else(|error| panic!("{error}"));
    let invoices = list["invoices"].as_array().unwrap();
    let settled = invoices.iter().filter(|invoice| invoice["state"] == "SETTLED");
    settled.map(|invoice| invoice["amt_paid_sat"].as_str().unwrap().to_owned()).collect()
}

/// The seller's node pays 2 % of what it gets to a second wallet, with no more than the rights that
/// docs/payouts.md names.
#[tokio::test]
async fn a_share_of_what_lnd_was_paid_goes_to_a_second_wallet_once() {
    let Some(network) = network().await else { return };
    let rights = json!({ "permissions": [
        { "entity": "offchain", "action": "read" }, { "entity": "offchain", "action": "write" },
    ]});
    let baked = network.payee.post("/v1/macaroon", &rights).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let macaroon = folder.path().join("payouts.macaroon");
    std::fs::write(&macaroon, baked["macaroon"].as_str().unwrap()).unwrap();
    let splits = format!(
        "[payouts.wallet]\nbackend = \"lnd\"\nurl = \"{}\"\ncert = \"{}\"\nnetwork = \"regtest\"\n\
         macaroon = \"file:{}\"\n[[splits]]\nname = \"partner\"\nbasis_points = 200\n\
         [splits.wallet]\nbackend = \"lnd\"\nurl = \"{}\"\ncert = \"{}\"\nnetwork = \"regtest\"\n\
         macaroon = \"file:{}\"\n",
        network.payee.url(),
        network.payee.certificate().display(),
        macaroon.display(),
        network.payer.url(),
        network.payer.certificate().display(),
        network.payer.macaroon("invoice").display(),
    );
    let mut market = Market::open_with(&lnd(&network), &splits).await;
    let http = reqwest::Client::new();
    let paid = invoice_of(&market, &http, 1_050_000).await;
    network.payer.pay(&paid).await.unwrap_or_else(|error| panic!("{error}"));
    eventually(async || received(&network).await == ["21"]).await;
    eventually(async || market.stats().await["credited_msat"] == 1_050_000).await;

    // A kill makes it pay nothing twice: only the next payment's share follows.
    market.stack.kill_tollwayd();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    let paid = invoice_of(&market, &http, 500_000).await;
    network.payer.pay(&paid).await.unwrap_or_else(|error| panic!("{error}"));
    eventually(async || received(&network).await.len() > 1).await;
    assert_eq!(received(&network).await, ["21", "10"]);
    audit(&market);
}
