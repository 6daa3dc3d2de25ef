//! Clients of the scheme `Payment`: each request is a charge of its own.

use std::path::Path;

use serde_json::{Value, json};
use tollway_testkit::stack::{Stack, StackOptions};

use super::{Row, ledger_at_rest, our_own, rows_of};

/// What a row says: on this rail every request is a payment of its own.
pub(crate) const PAID: &str = "paid 2, served 2";
/// How rows name the rail.
pub(crate) const RAIL: &str = "Payment";

/// Our own command and the published clients, each for itself.
pub(crate) async fn rows() -> Vec<Row> {
    let options = StackOptions { filter: Some(filter()), ..StackOptions::default() };
    let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("{error}"));
    let name = "tollway get --scheme payment";
    let mut rows = vec![our_own(&stack, name, RAIL, &["--scheme", "payment"], 5).await];
    rows.extend(rows_of(&stack, Path::new("node"), "mpp/client.mjs").await);

    for row in &rows {
        assert_eq!(row.result, PAID, "{}", row.client);
    }
    let requests = 2 * u64::try_from(rows.len()).unwrap();
    let stats = ledger_at_rest(&stack).await;
    assert_eq!(stats["credited_msat"], requests * 5_000);
    assert_eq!(stats["charged_msat"], requests * 5_000);
    assert_eq!(stack.upstream().hits().of("/api/joke"), requests);
    rows
}

/// Tokens are sold for more than a request costs, so that a charge has an invoice of its own.
pub(crate) fn filter() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 30_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo", "purchase": {"default_sats": 20}, "payment_scheme": true}],
        "routes": [{"name": "joke", "service": "demo", "price_sats": 5,
                    "match": {"path": "/api/joke"}}],
        "unmatched": "deny",
        "tick_ms": 20,
    })
}
