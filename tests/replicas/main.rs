//! Several `tollwayd`s over one PostgreSQL: the real Envoy before two of them, their deaths, and
//! the death of the database under them.
//!
//! Every test runs a private PostgreSQL, since it may kill it. Without one on this machine the
//! tests say so and pass.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod doors;
#[path = "../e2e/harness.rs"]
#[allow(dead_code, reason = "shared with the end-to-end tests, which use all of it")]
mod harness;
mod kill;
mod restore;
mod shared;
#[path = "../e2e/sold.rs"]
mod sold;
mod standby;

use serde_json::Value;
use tollway_testkit::postgres::Postgres;
use tollway_testkit::stack::StackOptions;

/// A server of one's own, or `None` and the reason.
pub(crate) async fn postgres() -> Option<Postgres> {
    match tokio::task::spawn_blocking(Postgres::private).await.unwrap() {
        Ok(server) => Some(server),
        Err(reason) => {
            eprintln!("SKIPPED: no replicas without PostgreSQL: {reason}");
            None
        }
    }
}

/// Two replicas over this database.
pub(crate) fn two_on(url: &str, filter: Value) -> StackOptions {
    StackOptions {
        filter: Some(filter),
        postgres: Some(url.to_owned()),
        second: true,
        ..StackOptions::default()
    }
}
