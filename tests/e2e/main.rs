//! The whole product: the real Envoy with the real .wasm, the real tollwayd on a real SQLite
//! file, a real upstream. Only the Lightning node is simulated; it signs real invoices.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod asked;
mod bodies;
mod budgets;
mod certificates;
mod clients;
mod credentials;
mod discovery;
mod failures;
mod formats;
mod grpc;
mod harness;
mod hostile;
mod kill;
mod leases;
mod mcp;
mod metering;
mod news;
mod observe;
mod paths;
mod payer;
mod pricing;
mod proofs;
mod races;
mod rails;
mod readme;
mod refunds;
mod reload;
mod restore;
mod sales;
mod sessions;
mod shadow;
mod shipped;
mod snippets;
mod sold;
mod stocks;
mod story;
mod terms;
mod x402;
mod x402_over_lightning;
