//! The same lives on SQLite and on PostgreSQL: one engine decides, so every answer is the same.
//!
//! One call follows another, so that a life on PostgreSQL is as certain as on a file, only
//! slower: it is played for some of the seeds.

use tollway_testkit::postgres::Postgres;

use crate::companion::Keeper;
use crate::run_on;

const SEEDS: u64 = 20;
/// Shorter lives: each commit travels to another process.
const STEPS: u32 = 120;

#[test]
fn both_stores_give_the_same_answers() {
    let server = match Postgres::private() {
        Ok(server) => server,
        Err(reason) => {
            eprintln!("SKIPPED: the simulation plays SQLite alone: {reason}");
            return;
        }
    };
    for seed in 0..SEEDS {
        let url = server.database(&format!("simulation_{seed}")).unwrap();
        let file = run_on(Keeper::Sqlite, seed, STEPS);
        let database = run_on(Keeper::Postgres(url), seed, STEPS);
        let (file, database) = match (file, database) {
            (Ok(file), Ok(database)) => (file, database),
            (Err(failure), _) => panic!("seed {seed} on SQLite: {failure}"),
            (_, Err(failure)) => panic!("seed {seed} on PostgreSQL: {failure}"),
        };
        for (one, other) in file.trace.iter().zip(&database.trace) {
            assert_eq!(one, other, "seed {seed}: SQLite left, PostgreSQL right");
        }
        assert_eq!(file.trace.len(), database.trace.len(), "seed {seed}");
    }
}
