//! The gate over the fake host: every decision, without a proxy.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod asked;
mod budgets;
mod cost;
mod failures;
mod flood;
mod formats;
mod free;
mod interleavings;
mod leases;
mod llm;
mod mcp;
mod metering;
mod minted;
mod payments;
mod pool;
mod postings;
mod prices;
mod proofs;
mod purchases;
mod rails;
mod refills;
mod repeats;
mod requests;
mod sessions;
mod shadow;
mod shares;
mod stocks;
mod streams;
mod terms;
mod world;
mod x402;
