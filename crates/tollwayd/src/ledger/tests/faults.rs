//! What happens when the file, the disk or a second process misbehaves.

use std::os::unix::fs::PermissionsExt;

use tokio::task::JoinSet;

use super::*;
use crate::ledger::sql::{self, Columns};

#[tokio::test]
async fn a_second_owner_is_refused_and_the_next_one_after_a_stop_is_not() {
    let bench = Bench::sqlite().await;
    let error =
        Ledger::open_sqlite(&bench.path(), bench.clock.clone(), bench.metrics.ledger.clone())
            .err()
            .unwrap();
    assert!(matches!(error, OpenError::InUse(_)));
    assert!(error.to_string().contains("another tollwayd is using"), "{error}");
    bench.reopen().await;
}

#[tokio::test]
async fn the_files_are_private_even_if_they_were_not() {
    let bench = Bench::sqlite().await;
    let mode = |name: &str| {
        let path = bench.path().parent().unwrap().join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    for name in ["l.db", "l.db-wal", "l.db.lock"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    std::fs::set_permissions(bench.path(), PermissionsExt::from_mode(0o644)).unwrap();
    let bench = bench.reopen().await;
    let mode = std::fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_no_ledger_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let open = |path: &std::path::Path| {
        let error = Ledger::open_sqlite(path, clock.clone(), Metrics::new().ledger).err().unwrap();
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
    let mut bench = Bench::sqlite().await;
    let writer = bench.writer.take().unwrap();
    tokio::task::spawn_blocking(move || writer.stop()).await.unwrap().unwrap();
    bench.meddle(
        "INSERT INTO refinery_schema_history SELECT 99, 'future', applied_on, '1'
         FROM refinery_schema_history WHERE version = 1",
    );
    let error = Ledger::open_sqlite(&bench.path(), bench.clock.clone(), Metrics::new().ledger)
        .err()
        .unwrap();
    assert!(matches!(error, OpenError::Migration { .. }), "{error}");
    let error = sqlite::read::audit_file(&bench.path()).unwrap_err().to_string();
    assert!(error.contains("expected a ledger of schema version 17"), "{error}");
    assert!(error.contains("but found version 99; "), "{error}");
}

#[tokio::test]
async fn no_row_is_written_by_way_of_a_temporary_table() {
    // With every column, and so with every check.
    fn writes<R: rows::Row>() -> [String; 3] {
        let all = Columns::where_so(R::COLUMNS.iter().map(|_| true));
        [sql::insert::<R>(all, 1), sql::insert::<R>(all, 32), sql::update::<R>(all)]
    }
    let bench = Bench::sqlite().await;
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    // Foreign keys change how a row is written.
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    for text in [
        writes::<rows::Account>(),
        writes::<rows::Budget>(),
        writes::<rows::Charge>(),
        writes::<rows::Entry>(),
        writes::<rows::Hold>(),
        writes::<rows::Invoice>(),
    ]
    .concat()
    {
        let mut plan = connection.prepare(&format!("EXPLAIN {text}")).unwrap();
        let nothing = vec![rusqlite::types::Null; plan.parameter_count()];
        let nothing = rusqlite::params_from_iter(nothing);
        let steps = plan.query_map(nothing, |row| row.get::<_, String>(1)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert!(steps.iter().any(|step| step == "IdxInsert" || step == "Insert"), "{steps:?}");
        assert!(!steps.iter().any(|step| step == "OpenEphemeral"), "{text}: {steps:?}");
    }
}

/// Each worker of each filter asks for the revoked tokens every few seconds, and pruning comes
/// twice a minute, however much there is.
#[tokio::test]
async fn what_is_asked_all_the_time_reads_no_table_to_its_end() {
    let bench = Bench::sqlite().await;
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    let pruning = sql::pruning(0).into_iter().map(|(text, _values)| text.to_owned());
    for text in pruning.chain([sql::revoked(), sql::OPEN.to_owned()]) {
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap();
        let nothing = vec![rusqlite::types::Null; plan.parameter_count()];
        let nothing = rusqlite::params_from_iter(nothing);
        let steps = plan.query_map(nothing, |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        // What the questions themselves make, from little.
        let made = ["CONSTANT ROW", "newest", "n", "tokens"];
        let to_the_end = |step: &&String| {
            // An index made for one answer is made of all rows; the other has all paid invoices.
            step.contains("AUTOMATIC")
                || step.contains("settled_invoices_by_time")
                || step
                    .strip_prefix("SCAN ")
                    .is_some_and(|what| !what.contains(" INDEX ") && !made.contains(&what))
        };
        assert!(!steps.is_empty());
        assert_eq!(steps.iter().find(to_the_end), None, "{text}: {steps:#?}");
    }
}

#[tokio::test]
async fn a_column_that_an_insertion_does_not_name_holds_nothing() {
    let bench = Bench::sqlite().await;
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    let defaults = "SELECT t.name || '.' || c.name
        FROM pragma_table_list t, pragma_table_info(t.name) c
        WHERE t.schema = 'main' AND c.\"notnull\" = 0 AND c.dflt_value IS NOT NULL";
    let mut defaults = connection.prepare(defaults).unwrap();
    let found = defaults.query_map((), |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(found.collect::<Result<Vec<_>, _>>().unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_word_that_is_none_is_refused_by_the_tables() {
    let bench = Bench::sqlite().await;
    let hash = bench.paid(1, 1_000).await;
    bench.ledger.hold(order(1, hash, 10)).await.unwrap();
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    let error = connection.execute("UPDATE holds SET state = 'shut'", ()).unwrap_err();
    assert!(error.to_string().contains("CHECK constraint failed"), "{error}");
    let entry = "INSERT INTO entries (account, n, kind, amount_msat, payment_hash, at_ms)
                 SELECT account, 2, 'gift', 1, account, 1 FROM accounts";
    let error = connection.execute(entry, ()).unwrap_err();
    assert!(error.to_string().contains("CHECK constraint failed"), "{error}");
}

#[test]
fn an_audit_of_what_is_no_ledger_says_so() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("garbage", vec![b'x'; 8_192]), ("empty", Vec::new())] {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        let error = sqlite::read::audit_file(&path).unwrap_err().to_string();
        assert!(error.contains("but found none; name the right file"), "{error}");
    }
    assert!(matches!(
        sqlite::read::audit_file(&directory.path().join("no")),
        Err(OpenError::File { .. })
    ));
}

#[tokio::test]
async fn the_journal_refuses_changes() {
    let bench = Bench::sqlite().await;
    bench.paid(1, 50).await;
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    for sql in ["UPDATE entries SET amount_msat = 51", "DELETE FROM entries"] {
        let error = connection.execute(sql, ()).unwrap_err();
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_command_takes_nothing_of_the_others_with_it() {
    let bench = Bench::sqlite().await;
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
    bench.assert_audit_clean().await;
}

#[tokio::test]
async fn a_failing_first_use_credits_and_counts_nothing() {
    let bench = Bench::sqlite().await;
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
    bench.assert_audit_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_ends_the_transaction_fails_the_whole_batch() {
    let bench = Bench::sqlite().await;
    let hash = bench.paid(1, 1_000).await;
    bench.meddle(
        "CREATE TRIGGER boom AFTER INSERT ON holds WHEN NEW.amount_msat = 13
         BEGIN SELECT RAISE(ROLLBACK, 'planted'); END",
    );
    assert!(bench.ledger.hold(order(1, hash, 13)).await.is_err());
    assert_eq!(bench.ledger.hold(order(2, hash, 10)).await, Ok(granted(hash, 10, 990)));
    assert_eq!(bench.metrics.ledger.open_holds.get(), 1);
    bench.assert_audit_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_ahead_of_a_failed_commit() {
    let bench = Bench::sqlite().await;
    let hash = bench.paid(1, 1_000).await;
    let before = bench.metrics.encode();
    // The trigger leaves a dangling reference that only COMMIT notices.
    bench.meddle(
        "CREATE TABLE later (account BLOB REFERENCES accounts (account)
                             DEFERRABLE INITIALLY DEFERRED);
         CREATE TRIGGER boom AFTER INSERT ON holds BEGIN INSERT INTO later VALUES (x'00'); END",
    );
    let fault = Err(LedgerError::Store(StoreFault::Constraint));
    assert_eq!(bench.ledger.hold(order(1, hash, 10)).await, fault);
    assert_eq!(bench.sums(hash).await, (1_000, 0));
    assert_eq!(bench.metrics.encode(), before, "no counter moved");
    // Readiness finds out by writing that the store works again.
    bench.ledger.probe().await.unwrap();
    bench.meddle("DROP TRIGGER boom");
    assert_eq!(bench.ledger.hold(order(1, hash, 10)).await, Ok(granted(hash, 10, 990)));
    bench.assert_audit_clean().await;
}

#[tokio::test]
async fn the_audit_names_every_planted_difference() {
    let bench = Bench::sqlite().await;
    let hash = bench.paid(1, 100).await;
    bench.paid(2, 100).await;
    bench.ledger.hold(order(1, hash, 60)).await.unwrap();
    bench.post(vec![posting(1, 0, 10, false)]).await.unwrap();
    bench.assert_audit_clean().await;
    let account = "x'0101010101010101010101010101010101010101010101010101010101010101'";
    for (damage, repair, check) in [
        (
            "UPDATE accounts SET balance_msat = balance_msat + 1 WHERE account = {A}",
            "UPDATE accounts SET balance_msat = balance_msat - 1 WHERE account = {A}",
            "balance_msat against the sum of entries",
        ),
        (
            "UPDATE accounts SET held_msat = held_msat - 1 WHERE account = {A}",
            "UPDATE accounts SET held_msat = held_msat + 1 WHERE account = {A}",
            "held_msat against the open holds",
        ),
        (
            "UPDATE accounts SET tranched_msat = 1 WHERE account = {A}",
            "UPDATE accounts SET tranched_msat = 0 WHERE account = {A}",
            "tranched_msat against the tranches",
        ),
        (
            "UPDATE accounts SET debt_msat = 1 WHERE account = {A}",
            "UPDATE accounts SET debt_msat = 0 WHERE account = {A}",
            "debt_msat against the postings and repayments",
        ),
        (
            "UPDATE accounts SET charged_msat = 11 WHERE account = {A}",
            "UPDATE accounts SET charged_msat = 10 WHERE account = {A}",
            "charged_msat against the charges, repayments and sessions",
        ),
        (
            "UPDATE accounts SET refunded_msat = 1 WHERE account = {A}",
            "UPDATE accounts SET refunded_msat = 0 WHERE account = {A}",
            "refunded_msat against the refunds",
        ),
        (
            "UPDATE accounts SET entries = 3 WHERE account = {A}",
            "UPDATE accounts SET entries = 2 WHERE account = {A}",
            "entries of an account against their numbers",
        ),
        (
            "UPDATE invoices SET settled_at_ms = NULL WHERE account = {A}",
            "UPDATE invoices SET settled_at_ms = 1 WHERE account = {A}",
            "credit entries of an invoice against its settlement",
        ),
        (
            "UPDATE invoices SET amount_msat = 99 WHERE account = {A}",
            "UPDATE invoices SET amount_msat = 100 WHERE account = {A}",
            "credited amount against the invoice's",
        ),
        (
            "UPDATE invoices SET buys = 'session' WHERE account = {A}",
            "UPDATE invoices SET buys = 'credit' WHERE account = {A}",
            "session entries of a payment against what it bought",
        ),
        (
            "UPDATE holds SET taken_back_msat = 1",
            "UPDATE holds SET taken_back_msat = 0",
            "held_msat against the open holds",
        ),
        (
            "UPDATE holds SET posted_msat = 11",
            "UPDATE holds SET posted_msat = 10",
            "posted_msat of a hold against its postings",
        ),
        (
            "PRAGMA ignore_check_constraints = ON; UPDATE holds SET amount_msat = 9, posted_msat = 9",
            "UPDATE holds SET amount_msat = 60, posted_msat = 10",
            "postings of a hold above its amount",
        ),
        (
            "UPDATE postings SET charged_msat = 9",
            "UPDATE postings SET charged_msat = 10",
            "charge entries of a posting against its amount",
        ),
        (
            "PRAGMA foreign_keys = OFF; DELETE FROM postings",
            "INSERT INTO postings SELECT hold_id, seq, account, -amount_msat, -amount_msat, 0, 'joke', 0,
             'cap', at_ms, 1 FROM entries WHERE kind = 'charge'",
            "a charge entry without its posting",
        ),
    ] {
        bench.meddle(&damage.replace("{A}", account));
        let found = sqlite::read::audit_file(&bench.path()).unwrap().differences;
        let named = found.iter().find(|difference| difference.check == check).unwrap();
        assert_eq!(named.account, hash.to_hex(), "{damage}");
        bench.meddle(&repair.replace("{A}", account));
        bench.assert_audit_clean().await;
    }
}

#[tokio::test]
async fn a_file_of_the_first_schema_keeps_its_credit() {
    let directory = tempfile::tempdir().unwrap();
    let connection = sqlite::open::migrated_to(1, &directory.path().join("l.db"));
    let (one, two) = (hash(1), hash(2));
    let rows = format!(
        "INSERT INTO accounts VALUES (1, x'{one}', 90, 50, 1), (2, x'{two}', 0, 0, 1);
         INSERT INTO invoices VALUES (x'{one}', 1, 100, 'joke', 'one', 1, 2, 3),
                                     (x'{two}', 2, 7, 'joke', 'two', 1, {later}, NULL);
         INSERT INTO holds VALUES (x'00000000000000000000000000000001', 1, x'{one}', 60, 10,
                                   30000, 'joke', 'open', 1, {later});
         INSERT INTO postings VALUES (x'00000000000000000000000000000001', 0, 10, 'joke', 0, 2);
         INSERT INTO entries VALUES (1, 1, 'credit', 100, x'{one}', NULL, NULL, 3),
             (2, 1, 'charge', -10, NULL, x'00000000000000000000000000000001', 0, 4);
         INSERT INTO master_keys VALUES (1, randomblob(32), 1);",
        later = START_MS + 600_000,
    );
    connection.execute_batch(&rows).unwrap();
    drop(connection);
    let bench = Bench::at(Place::Sqlite(directory)).await;
    assert_eq!(bench.sums(one).await, (90, 50));
    assert_eq!(bench.post(vec![posting(1, 1, 50, true)]).await, Ok(vec![PostingOutcome::Posted]));
    let settled = bench.ledger.settle(Settlement::of(one)).await;
    assert_eq!(settled, Ok(SettleOutcome::AlreadyCredited));
    let settled = bench.ledger.settle(Settlement::of(two)).await;
    assert_eq!(settled, Ok(SettleOutcome::Credited));
    assert_eq!((bench.sums(one).await, bench.sums(two).await), ((40, 0), (7, 0)));
    bench.assert_audit_clean().await;
}

#[tokio::test]
async fn a_file_whose_rows_refer_to_nothing_is_refused_when_it_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("l.db");
    let connection = sqlite::open::migrated_to(7, &path);
    let entry = format!(
        "PRAGMA foreign_keys = OFF;
         INSERT INTO entries VALUES (x'{}', 1, 'grant', 5, NULL, NULL, NULL, NULL, x'00', 1)",
        hash(1)
    );
    connection.execute_batch(&entry).unwrap();
    drop(connection);
    let clock: Arc<dyn crate::clock::Clock> = Arc::new(crate::clock::SystemClock);
    let error = Ledger::open_sqlite(&path, clock, Metrics::new().ledger).err().unwrap();
    assert!(matches!(error, OpenError::Orphans { rows: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_file_of_the_second_schema_keeps_its_extended_holds_and_its_journal() {
    let directory = tempfile::tempdir().unwrap();
    let connection = sqlite::open::migrated_to(2, &directory.path().join("l.db"));
    let one = hash(1);
    let rows = format!(
        "INSERT INTO accounts VALUES (x'{one}', 90, 70, 0, 0, 10, 0, 2, 1, NULL);
         INSERT INTO invoices VALUES (x'{one}', x'{one}', 100, 100, 0, NULL, 'joke', 'one', NULL,
                                      NULL, 1, 2, 3, NULL);
         INSERT INTO holds VALUES (x'00000000000000000000000000000001', x'{one}', x'{one}', 60, 60,
             60, 80, 10, {TTL_MS}, 'joke', 'open', 1, {later}, 0, 20, {TTL_MS}, 80, NULL);
         INSERT INTO postings VALUES (x'00000000000000000000000000000001', 0, x'{one}', 10, 10, 0,
                                      'joke', 0, 'cap', 2);
         INSERT INTO entries VALUES
             (x'{one}', 1, 'credit', 100, x'{one}', NULL, NULL, 'joke', NULL, 3),
             (x'{one}', 2, 'charge', -10, NULL, x'00000000000000000000000000000001', 0, 'joke',
              NULL, 4);",
        later = START_MS + 600_000,
    );
    connection.execute_batch(&rows).unwrap();
    drop(connection);
    let bench = Bench::at(Place::Sqlite(directory)).await;
    bench.assert_audit_clean().await;
    let (id, seq, ttl_ms) = (hold_id(1), 0, TTL_MS);
    let extension = |min| ExtendOrder { id, seq, add: msat(20), min: msat(min), ttl_ms };
    let again = bench.ledger.extend(extension(20)).await;
    let HoldOutcome::Answered(first) = granted(one, 80, 20) else { panic!("a grant") };
    assert_eq!(again, Ok(ExtendOutcome::Answered(first)), "a repeat of what was asked then");
    assert_eq!(bench.ledger.extend(extension(19)).await, Ok(ExtendOutcome::Conflict));
    assert_eq!(bench.post(vec![posting(1, 1, 70, true)]).await, Ok(vec![PostingOutcome::Posted]));
    assert_eq!(bench.sums(one).await, (20, 0));
    let view = bench.ledger.account(one).await.unwrap().unwrap();
    let kinds: Vec<_> = view.entries.iter().map(|entry| (entry.n, entry.kind)).collect();
    assert_eq!(kinds, [(3, "charge"), (2, "charge"), (1, "credit")]);
    let connection = rusqlite::Connection::open(bench.path()).unwrap();
    for sql in ["UPDATE entries SET amount_msat = 1", "DELETE FROM entries"] {
        let error = connection.execute(sql, ()).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{error}");
    }
    bench.assert_audit_clean().await;
}
