//! What happens when the file, the disk or a second process misbehaves.

use std::os::unix::fs::PermissionsExt;

use tokio::task::JoinSet;

use super::*;
use crate::ledger::{LedgerError, StoreFault};

#[test]
fn a_second_owner_is_refused_and_the_next_one_after_a_stop_is_not() {
    let bench = Bench::new();
    let error = Ledger::open(&bench.path(), bench.clock.clone(), bench.metrics.ledger.clone())
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().contains("another tollwayd is using"), "{error}");
    bench.reopen();
}

#[test]
fn the_files_are_private_even_if_they_were_not() {
    let bench = Bench::new();
    let mode = |name: &str| {
        let path = bench.directory.path().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for name in ["l.db", "l.db-wal", "l.db.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    std::fs::set_permissions(bench.path(), PermissionsExt::from_mode(0o644)).unwrap();
    let bench = bench.reopen();
    let mode = std::fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_ledger_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let open = |path: &std::path::Path| {
        let error = Ledger::open(path, clock.clone(), Metrics::new().ledger).err().unwrap();
        let message = error.to_string();
        assert!(message.contains(path.to_str().unwrap()), "{message}");
        message
    };
    let garbage = directory.path().join("garbage");
    std::fs::write(&garbage, [b'x'; 8_192]).unwrap();
    open(&garbage);
    open(directory.path());
    let nowhere = open(&directory.path().join("none/l.db"));
    assert!(nowhere.contains("its directory must exist"), "{nowhere}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let mut bench = Bench::new();
    bench.writer.take().unwrap().stop().unwrap();
    bench.meddle(
        "INSERT INTO refinery_schema_history SELECT 99, 'future', applied_on, '1'
         FROM refinery_schema_history",
    );
    let error =
        Ledger::open(&bench.path(), bench.clock.clone(), Metrics::new().ledger).err().unwrap();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    let error = audit(&bench.path()).unwrap_err().to_string();
    assert!(error.contains("expected a ledger of schema version 1"), "{error}");
    assert!(error.contains("but found version 99; "), "{error}");
}

#[test]
fn an_audit_of_what_is_no_ledger_says_so() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("garbage", vec![b'x'; 8_192]), ("empty", Vec::new())] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = audit(&path).unwrap_err().to_string();
        assert!(error.contains("but found none; name the right file"), "{error}");
    }
    assert!(matches!(audit(&directory.path().join("no")), Err(OpenError::File { .. })));
}

#[tokio::test]
async fn the_journal_refuses_changes() {
    let bench = Bench::new();
    bench.paid(1, 50).await;
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    for sql in ["UPDATE entries SET amount_msat = 51", "DELETE FROM entries"] {
        let error = connection.execute(sql, ()).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_command_takes_nothing_of_the_others_with_it() {
    let bench = Bench::new();
    let hash = bench.paid(1, 1_000).await;
    bench.meddle(
        "CREATE TRIGGER boom AFTER INSERT ON holds WHEN NEW.amount_msat = 13
         BEGIN SELECT RAISE(ABORT, 'planted'); END",
    );
    let mut holds = JoinSet::new();
    for id in 0..60_u128 {
        let ledger = bench.ledger.clone();
        let amount = if id % 3 == 0 { 13 } else { 10 };
        holds.spawn(async move { (amount, ledger.hold(order(id, hash, amount)).await) });
    }
    for (amount, outcome) in holds.join_all().await {
        let expected_failure = Err(LedgerError::Store(StoreFault::Constraint));
        assert_eq!(outcome == expected_failure, amount == 13, "{outcome:?}");
    }
    assert_eq!(bench.sums(hash).await, (1_000, 400));
    assert_eq!(bench.metrics.ledger.open_holds.get(), 40);
    bench.assert_audit_clean();
}

#[tokio::test]
async fn a_failing_first_use_credits_and_counts_nothing() {
    let bench = Bench::new();
    bench.ledger.open_invoice(invoice(1, 100, None)).await.unwrap();
    let before = bench.metrics.encode();
    bench.meddle(
        "CREATE TRIGGER boom AFTER INSERT ON holds BEGIN SELECT RAISE(ABORT, 'planted'); END",
    );
    // The credit comes before the hold in the same command, and goes with it.
    assert!(bench.ledger.hold(order(1, hash(1), 10)).await.is_err());
    assert_eq!(bench.sums(hash(1)).await, (0, 0));
    let moved = |text: &str| -> Vec<String> {
        let commits = |line: &&str| !line.contains("commit_batch");
        text.lines().filter(commits).map(str::to_owned).collect()
    };
    assert_eq!(moved(&bench.metrics.encode()), moved(&before));
    bench.meddle("DROP TRIGGER boom");
    assert_eq!(bench.ledger.hold(order(1, hash(1), 10)).await, Ok(granted(hash(1), 10, 90)));
    bench.assert_audit_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_ends_the_transaction_fails_the_whole_batch() {
    let bench = Bench::new();
    let hash = bench.paid(1, 1_000).await;
    bench.meddle(
        "CREATE TRIGGER boom AFTER INSERT ON holds WHEN NEW.amount_msat = 13
         BEGIN SELECT RAISE(ROLLBACK, 'planted'); END",
    );
    assert!(bench.ledger.hold(order(1, hash, 13)).await.is_err());
    assert_eq!(bench.ledger.hold(order(2, hash, 10)).await, Ok(granted(hash, 10, 990)));
    assert_eq!(bench.metrics.ledger.open_holds.get(), 1);
    bench.assert_audit_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_ahead_of_a_failed_commit() {
    let bench = Bench::new();
    let hash = bench.paid(1, 1_000).await;
    let before = bench.metrics.encode();
    // The trigger leaves a dangling reference that only COMMIT notices.
    bench.meddle(
        "CREATE TABLE later (account_id INTEGER REFERENCES accounts (id)
                             DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER boom AFTER INSERT ON holds BEGIN INSERT INTO later VALUES (-1); END",
    );
    let fault = Err(LedgerError::Store(StoreFault::Constraint));
    assert_eq!(bench.ledger.hold(order(1, hash, 10)).await, fault);
    assert_eq!(bench.sums(hash).await, (1_000, 0));
    assert_eq!(bench.metrics.encode(), before, "no counter moved");
    // Readiness finds out by writing that the store works again.
    bench.ledger.probe().await.unwrap();
    bench.meddle("DROP TRIGGER boom");
    assert_eq!(bench.ledger.hold(order(1, hash, 10)).await, Ok(granted(hash, 10, 990)));
    bench.assert_audit_clean();
}

#[tokio::test]
async fn the_audit_names_every_planted_difference() {
    let bench = Bench::new();
    let hash = bench.paid(1, 100).await;
    bench.paid(2, 100).await;
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    bench.ledger.post(vec![posting(1, 0, 10, false)]).await.unwrap();
    bench.assert_audit_clean();
    for (damage, repair, check) in [
        (
            "UPDATE accounts SET balance_msat = balance_msat + 1 WHERE id = 1",
            "UPDATE accounts SET balance_msat = balance_msat - 1 WHERE id = 1",
            "balance_msat against the sum of entries",
        ),
        (
            "UPDATE accounts SET held_msat = held_msat - 1 WHERE id = 1",
            "UPDATE accounts SET held_msat = held_msat + 1 WHERE id = 1",
            "held_msat against the open holds",
        ),
        (
            "UPDATE invoices SET settled_at_ms = NULL WHERE account_id = 1",
            "UPDATE invoices SET settled_at_ms = 1 WHERE account_id = 1",
            "credit entries of an invoice against its settlement",
        ),
        (
            "UPDATE invoices SET amount_msat = 99 WHERE account_id = 1",
            "UPDATE invoices SET amount_msat = 100 WHERE account_id = 1",
            "credited amount against the invoice's",
        ),
        (
            "UPDATE holds SET posted_msat = 11",
            "UPDATE holds SET posted_msat = 10",
            "posted_msat of a hold against its postings",
        ),
        (
            "UPDATE holds SET amount_msat = 9, posted_msat = 9",
            "UPDATE holds SET amount_msat = 60, posted_msat = 10",
            "postings of a hold above its amount",
        ),
        (
            "UPDATE postings SET amount_msat = 12",
            "UPDATE postings SET amount_msat = 10",
            "charge entries of a posting against its amount",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM postings",
            "INSERT INTO postings SELECT hold_id, seq, -amount_msat, 'joke', 0, at_ms
             FROM entries WHERE kind = 'charge'",
            "a charge entry without its posting",
        ),
    ] {
        bench.meddle(damage);
        let found = audit(&bench.path()).unwrap().differences;
        let named = found.iter().find(|difference| difference.check == check).unwrap();
        assert_eq!(named.account, hash.to_hex(), "{damage}");
        bench.meddle(repair);
        bench.assert_audit_clean();
    }
}
