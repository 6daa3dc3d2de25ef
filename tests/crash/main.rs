//! The crash campaign: the real Envoy, the real `tollwayd`, load, and death at random moments.
//!
//! `tollwayd` dies by kill -9 and by its own failpoints before and after the commit, half of the
//! time on SQLite, half of the time on PostgreSQL, which then dies by kill -9 as well. Clients buy,
//! spend, and count for themselves what they bought and what they were served. Afterwards the
//! audit is clean and the ledger says the same as every client. Prints kills, requests and
//! differences; ends with 1 if there is any.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod campaign;
mod client;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod harness;

use std::process::ExitCode;

use campaign::{Campaign, Outcome};
use tollway_testkit::postgres::Postgres;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut clean = report(&runtime.block_on(campaign(None)));
    match Postgres::private() {
        Ok(server) => clean &= report(&runtime.block_on(campaign(Some(server)))),
        Err(reason) => println!("SKIPPED: no campaign on PostgreSQL: {reason}"),
    }
    ExitCode::from(u8::from(!clean))
}

async fn campaign(postgres: Option<Postgres>) -> Outcome {
    Campaign::start(postgres).await.run().await
}

/// Prints an outcome; whether it has no difference.
fn report(outcome: &Outcome) -> bool {
    for difference in &outcome.differences {
        println!("difference: {difference}");
    }
    println!("{outcome}");
    outcome.differences.is_empty()
}
