//! tollwayd as its callers meet it: over HTTP, in this process and as the real binary.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails loudly; clippy's own exception covers only functions marked as tests"
)]

mod admin;
mod authority;
mod backup;
mod canary;
mod challenges;
mod faults;
mod holds;
mod imports;
mod lookups;
mod operator;
mod payment_sessions;
mod payouts;
mod pool;
mod prices;
mod process;
mod races;
mod rails;
mod rates;
mod restore;
mod sales;
mod settlement;
mod stocks;
mod support;
mod webhooks;
mod x402;
mod x402_over_lightning;
