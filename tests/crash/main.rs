//! The crash campaign: the real Envoy, the real `tollwayd`, load, and death at random moments.
//!
//! `tollwayd` dies by kill -9 and by its own failpoints before and after the commit, on a file and
//! on a PostgreSQL that dies too. Clients buy,
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

use campaign::Campaign;
use tollway_testkit::postgres::Postgres;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut clean = true;
    for store in ["sqlite", "postgres"] {
        let server = match store {
            "postgres" => match Postgres::start() {
                Ok(server) => Some(server),
                Err(error) => {
                    println!("postgres: skipped: {error}");
                    continue;
                }
            },
            _ => None,
        };
        let outcome = runtime.block_on(async { Campaign::start(server).await.run().await });
        for difference in &outcome.differences {
            println!("{store}: difference: {difference}");
        }
        println!("{store}: {outcome}");
        clean &= outcome.differences.is_empty();
    }
    ExitCode::from(u8::from(!clean))
}
