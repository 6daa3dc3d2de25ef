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

use serde_json::json;
use tollway_testkit::nodes::Network;

/// A network, or `None` with the reason printed.
async fn network() -> Option<Network> {
    if let Err(missing) = Network::available() {
        let required = std::env::var("TOLLWAY_TEST_LIGHTNING").is_ok_and(|word| word == "required");
        assert!(!required, "{missing}");
        eprintln!("skipped: {missing}");
        return None;
    }
    Some(Network::start().await.unwrap_or_else(|error| panic!("{error}")))
}

#[tokio::test]
async fn the_payer_pays_the_payee() {
    let Some(network) = network().await else { return };
    let invoice = network.payee.post("/v1/invoices", &json!({"value": "21"})).await.unwrap();
    let preimage = network.payer.pay(invoice["payment_request"].as_str().unwrap()).await.unwrap();
    assert_eq!(preimage.len(), 64);
}
