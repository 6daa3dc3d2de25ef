//! `make bench-ledger`: what the ledger does per second, per flush of the disk, per byte of
//! memory, and whether that is enough.
//!
//! One run measures everything. What is compared is measured in turns, so that a busy machine
//! slows both sides. Prints one line per bar, writes `bench/results/ledger.json`, and ends with
//! 1 if a bar is short.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark: what it does not expect ends it"
)]

mod bars;
mod disk;
mod doors;
mod http;
mod load;
mod populate;

use std::process::ExitCode;

use bars::Results;
use doors::Store;
use load::{Load, Which};

/// Rounds of every comparison.
const ROUNDS: usize = 5;
const ACTIVE: usize = 10_000;
const ACCOUNTS: usize = 1_000_000;
/// Clients of the comparisons.
const CLIENTS: usize = 64;

fn main() -> ExitCode {
    let mut results = Results::default();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    // For work on one part: `cargo bench -p tollwayd --bench ledger http`, or `sizes`.
    if std::env::args().any(|argument| argument == "sizes") {
        let empty = Store::create(&directory.path().join("empty"));
        let full = Store::create(&directory.path().join("full"));
        let proofs = populate::fill(&full, ACCOUNTS);
        sizes(&mut results, &empty, &full, &proofs);
        return results.verdict();
    }
    if std::env::args().any(|argument| argument == "http") {
        let empty = Store::create(&directory.path().join("empty"));
        doors(&mut results, &empty);
        return results.verdict();
    }
    results.figure("disk.fsyncs_per_s", disk::fsyncs_per_s(directory.path()));
    // A store of its own, on a disk that has nothing else to write: what a store's content costs
    // is measured further below.
    doors(&mut results, &Store::create(&directory.path().join("door")));
    let empty = Store::create(&directory.path().join("empty"));
    engine(&mut results, "sqlite", &empty);
    let bar = results.value("sqlite.clients_64.operations_per_fsync");
    results.at_least("sqlite_operations_per_fsync_at_64_clients", bar, 16.0);
    if let Some(store) = Store::postgres() {
        engine(&mut results, "postgres", &store);
        let bar = results.value("postgres.hot_to_spread");
        results.at_least("postgres_hot_to_spread", bar, 0.60);
    }
    let bar = results.value("sqlite.hot_to_spread");
    results.at_least("sqlite_hot_to_spread", bar, 0.70);
    let full = Store::create(&directory.path().join("full"));
    let proofs = populate::fill(&full, ACCOUNTS);
    sizes(&mut results, &empty, &full, &proofs);
    memory(&mut results, &full, &proofs);
    results.finish()
}

/// One store by itself: 1, 8 and 64 clients; then one account against many.
fn engine(results: &mut Results, name: &str, store: &Store) {
    let load = Load::open(store);
    let proofs = load.buy(ACTIVE);
    for clients in [1, 8, CLIENTS] {
        let rate = load.holds(clients, Which::All, &proofs);
        let figure = |what: &str| format!("{name}.clients_{clients}.{what}");
        results.figure(&figure("holds_per_s"), rate.per_s());
        results.figure(&figure("operations_per_fsync"), rate.operations_per_commit());
        results.figure(&figure("p50_us"), rate.quantile_us(0.50));
        results.figure(&figure("p99_us"), rate.quantile_us(0.99));
    }
    let mut spread = Vec::new();
    let mut hot = Vec::new();
    for _ in 0..ROUNDS {
        spread.push(load.holds(CLIENTS, Which::All, &proofs).per_s());
        hot.push(load.holds(CLIENTS, Which::First, &proofs).per_s());
    }
    results.figure(&format!("{name}.spread_holds_per_s"), median(&mut spread));
    results.figure(&format!("{name}.hot_holds_per_s"), median(&mut hot));
    results.figure(&format!("{name}.hot_to_spread"), median(&mut hot) / median(&mut spread));
    load.close();
}

/// A store with a million accounts against an empty one: first while 10,000 of them are active,
/// then while all are.
fn sizes(results: &mut Results, empty: &Store, full: &Store, proofs: &[load::Proof]) {
    let (small, large) = (Load::open(empty), Load::open(full));
    let few = small.buy(ACTIVE);
    let base = || small.holds(CLIENTS, Which::All, &few).per_s();
    let active = || large.holds(CLIENTS, Which::All, &proofs[..ACTIVE]).per_s();
    let all = || large.holds(CLIENTS, Which::All, proofs).per_s();
    // Both logs have their length, and the active accounts are known, before anything counts.
    let _ = (base(), active());
    let (empty_per_s, active_per_s) = in_turns(&base, &active);
    results.figure("sqlite.empty_store_holds_per_s", empty_per_s);
    results.figure("sqlite.full_store_10k_holds_per_s", active_per_s);
    results.at_least("sqlite_10k_active_of_1m_to_empty", active_per_s / empty_per_s, 0.75);
    // The pages of the file have been read once, too.
    let _ = all();
    let (empty_per_s, all_per_s) = in_turns(&base, &all);
    results.figure("sqlite.full_store_1m_holds_per_s", all_per_s);
    results.at_least("sqlite_1m_touched_to_empty", all_per_s / empty_per_s, 0.50);
    small.close();
    large.close();
}

/// What memory the real server takes with a million accounts.
fn memory(results: &mut Results, full: &Store, proofs: &[load::Proof]) {
    let server = http::Server::start(full);
    for _ in 0..ROUNDS {
        server.load(http::Door::Hold, proofs);
    }
    results.at_most("rss_1m_accounts_mb", server.rss_mb(), 400.0);
    server.stop();
}

/// The real server on one core: holds against its own no-op door.
fn doors(results: &mut Results, store: &Store) {
    let server = http::Server::start(store);
    results.at_most("rss_idle_mb", server.rss_mb(), 64.0);
    let paid = server.buy(100);
    let (mut noop, mut holds) = (Vec::new(), Vec::new());
    let (mut noop_cpu_us, mut hold_cpu_us) = (Vec::new(), Vec::new());
    let measure = |door, rates: &mut Vec<load::Rate>, cpu_us: &mut Vec<f64>| {
        let before = server.cpu_us();
        let rate = server.load(door, &paid);
        cpu_us.push((server.cpu_us() - before) / rate.latencies_us.len() as f64);
        rates.push(rate);
    };
    // The log has its length before anything counts; growing it costs more than using it again.
    for _ in 0..ROUNDS {
        server.load(http::Door::Hold, &paid);
    }
    for _ in 0..ROUNDS {
        measure(http::Door::Noop, &mut noop, &mut noop_cpu_us);
        measure(http::Door::Hold, &mut holds, &mut hold_cpu_us);
    }
    results.figure("http.operations_per_fsync", holds[0].operations_per_commit());
    results.figure("http.noop_cpu_us", median(&mut noop_cpu_us));
    results.figure("http.hold_cpu_us", median(&mut hold_cpu_us));
    let per_s = |rates: &[load::Rate]| {
        let mut rates: Vec<f64> = rates.iter().map(load::Rate::per_s).collect();
        median(&mut rates)
    };
    results.figure("http.noop_per_s", per_s(&noop));
    results.figure("http.holds_per_s", per_s(&holds));
    results.figure("http.hold_p50_us", holds[0].quantile_us(0.50));
    results.figure("http.hold_p99_us", holds[0].quantile_us(0.99));
    results.at_least("http_holds_to_noop", per_s(&holds) / per_s(&noop), 0.50);
    server.stop();
}

/// The medians of two things, measured in turns.
fn in_turns(one: &dyn Fn() -> f64, other: &dyn Fn() -> f64) -> (f64, f64) {
    let (mut ones, mut others) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ones.push(one());
        others.push(other());
    }
    (median(&mut ones), median(&mut others))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
