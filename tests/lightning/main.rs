//! Real Lightning: two lnd nodes with a channel, on a chain of their own, on loopback.
//!
//! `make test-lightning` builds the nodes and runs this. Elsewhere each test prints why it is
//! skipped, unless `TOLLWAY_TEST_LIGHTNING=required` says that the nodes have to be there.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod downtime;
mod shares;
mod story;
mod wallets;

use serde_json::json;
use tollway_testkit::nodes::Network;
use tollway_testkit::stack::StackError;

/// A network, or `None` with the reason printed.
async fn network() -> Option<Network> {
    if let Err(reason) = Network::available() {
        missing(&reason);
        return None;
    }
    Some(Network::start().await.unwrap_or_else(|error| panic!("{error}")))
}

/// Says why a test is skipped, unless it may not be.
fn missing(reason: &StackError) {
    let required = std::env::var("TOLLWAY_TEST_LIGHTNING").is_ok_and(|word| word == "required");
    assert!(!required, "{reason}");
    eprintln!("skipped: {reason}");
}

#[tokio::test]
async fn the_payer_pays_the_payee() {
    let Some(network) = network().await else { return };
    let invoice = network.payee.post("/v1/invoices", &json!({"value": "21"})).await.unwrap();
    let preimage = network.payer.pay(invoice["payment_request"].as_str().unwrap()).await.unwrap();
    assert_eq!(preimage.len(), 64);
}
