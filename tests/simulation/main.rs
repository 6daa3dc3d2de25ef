//! The whole product without its processes: the real gate, the real `tollwayd` behind its real
//! doors, the simulated node. One seed decides everything that happens between them.
//!
//! A scheduler carries the messages. It loses, repeats, delays and reorders them, kills the
//! filter's VM and `tollwayd` between any two steps, and lets clients pay, repeat, leave and come
//! back with old credentials. After every step an [`auditor`], which shares no code with the
//! ledger, compares what it saw on the wires with what the ledger says.
//!
//! The lives are played on SQLite; some of them on PostgreSQL as well, where every answer must be
//! the same ([`stores`]).
//!
//! A seed that fails prints itself; `TOLLWAY_SIM_SEED=<seed> make sim` plays it again.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod auditor;
mod books;
mod chance;
mod client;
mod companion;
mod flight;
mod mutation;
mod shop;
mod stores;
mod summary;
mod vm;
mod world;

use std::env;
use std::hash::{BuildHasher, RandomState};

use companion::Keeper;
use mutation::Mutation;
use summary::{Failure, Summary};
use world::World;

/// Seeds of `make test`: always the same.
const SEEDS: u64 = 200;
/// Steps of one run before its faults end and the books are closed.
const STEPS: u32 = 400;
/// A mutation must be caught within so many seeds.
const MUTATION_SEEDS: u64 = 100;

fn run(seed: u64, mutation: Option<Mutation>) -> Result<Summary, Failure> {
    World::new(seed, mutation, Keeper::Sqlite).run(STEPS)
}

fn run_on(keeper: Keeper, seed: u64, steps: u32) -> Result<Summary, Failure> {
    World::new(seed, None, keeper).run(steps)
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}: expected a number, but found {text:?}")))
}

/// One seed to replay, so many new ones, or the fixed ones.
fn seeds() -> Vec<u64> {
    if let Some(seed) = number("TOLLWAY_SIM_SEED") {
        return vec![seed];
    }
    match number("TOLLWAY_SIM_SEEDS") {
        None => (0..SEEDS).collect(),
        Some(count) => {
            let first = RandomState::new().hash_one("simulation") >> 16;
            (0..count).map(|n| first + n).collect()
        }
    }
}

#[test]
fn no_seed_breaks_the_books() {
    let mut total = Summary::default();
    let seeds = seeds();
    for seed in &seeds {
        match run(*seed, None) {
            Ok(summary) => total.add(&summary),
            Err(failure) => panic!(
                "{failure}\nseed {seed} fails; play it again:\n\
                 TOLLWAY_SIM_SEED={seed} make sim"
            ),
        }
    }
    println!("simulation: {} seeds, {total}", seeds.len());
    if seeds.len() as u64 >= SEEDS {
        total.assert_everything_happened();
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 1..4 {
        let (first, second) = (run(seed, None).unwrap(), run(seed, None).unwrap());
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}

/// An auditor that cannot fail proves nothing.
#[test]
fn every_mutation_is_caught() {
    let mut wrong = Vec::new();
    for mutation in Mutation::ALL {
        let caught = (0..MUTATION_SEEDS).find_map(|seed| run(seed, Some(mutation)).err());
        let Some(failure) = caught else {
            wrong.push(format!("{mutation:?} went unnoticed"));
            continue;
        };
        println!("{mutation:?}: {}", failure.violation);
        if !mutation.violations().iter().any(|words| failure.violation.contains(words)) {
            wrong.push(format!("{mutation:?} was caught for another reason: {failure}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
