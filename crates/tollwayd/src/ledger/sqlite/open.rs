//! Opening the database file: lock, mode, settings, migrations, first keys.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::fold;
use crate::entropy::{self, EntropyError};
use crate::ledger::KeyBytes;
use crate::ledger::rows::field::Field;

mod embedded {
    refinery::embed_migrations!("migrations/sqlite");
}

/// Pages in the write-ahead log from which on it is folded back: 64 MB, and up to 256 MB beside a
/// large database. Accounts that are active among a million may lie on a page each, and the longer
/// the log, the more of its pages are the same.
const LOG_PAGES: std::ops::RangeInclusive<i32> = 16_000..=64_000;
/// The log may be so many times smaller than the database.
const DATABASE_TO_LOG: i32 = 4;
/// The writer's pages in memory: the paths to some 10,000 active accounts among a million, each
/// with a page of its own in the table and in the index.
const CACHE_KIB: i64 = 240 * 1_024;
/// Statements that stay prepared; more than the ledger uses again and again.
const STATEMENTS_MAX: usize = 128;
/// How often the lock is tried, and the pause between two tries: half a second in all.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(25);
/// A reader may meet the writer's checkpoint for a moment.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a ledger could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// The directory or the file cannot be used.
    #[error("store.sqlite: cannot open {path}: {source}; its directory must exist and be writable")]
    File { path: PathBuf, source: io::Error },
    /// Another process owns the file.
    #[error(
        "store.sqlite: another tollwayd is using {0}; stop it, or give this one a file of its own"
    )]
    InUse(PathBuf),
    /// The schema is not one that this version can use.
    #[error("store.sqlite: cannot bring {path} to this version: {source}")]
    Migration { path: PathBuf, source: Box<refinery::Error> },
    /// The operating system gave no randomness for the first keys.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The database server cannot be used.
    #[error("store.postgres: {}", source.as_db_error().map_or_else(|| source.to_string(), ToString::to_string))]
    Postgres {
        #[from]
        source: tokio_postgres::Error,
    },
    /// The database's schema is not one that this version can use.
    #[error("store.postgres: cannot bring the database to this version: {0}")]
    PostgresMigration(Box<refinery::Error>),
    /// The database has no ledger in it, or one of another version.
    #[error(
        "store.postgres: expected a ledger of schema version {expected}, but found {}; name the \
         right database, or use the tollwayd that serves from it",
        found.map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
    )]
    PostgresSchema { expected: i64, found: Option<i64> },
    /// A row of the database cannot be one of its table.
    #[error("store.postgres: {0}")]
    PostgresRow(#[from] crate::ledger::postgres::connection::Trouble),
    /// No connection to the database can be protected as the configuration says.
    #[error(transparent)]
    PostgresTls(#[from] crate::ledger::postgres::tls::TlsFault),
    /// The words that name the database cannot be read.
    #[error("store.postgres: expected a URL like postgresql://user@host/database")]
    PostgresUrl,
    /// The file has no ledger in it, or one of another version.
    #[error(
        "store.sqlite: expected a ledger of schema version {expected} in {path}, but found {}; \
         name the right file, or use the tollwayd that serves from it",
        found.map_or_else(|| "none".to_owned(), |version| format!("version {version}"))
    )]
    Schema { path: PathBuf, expected: i64, found: Option<i64> },
    /// Rows refer to rows that are not there.
    #[error(
        "store.sqlite: {rows} rows of {path} refer to rows that are missing, which no tollwayd \
         writes; go back to a backup, or look with `PRAGMA foreign_key_check`"
    )]
    Orphans { path: PathBuf, rows: i64 },
    /// SQLite refused.
    #[error("store.sqlite: {path}: {source}")]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    /// The writer's thread could not be started.
    #[error("cannot start the ledger's writer: {0}")]
    Thread(io::Error),
}

/// An open file.
pub(in crate::ledger) struct Opened {
    pub(in crate::ledger) connection: Connection,
    /// To be closed after the connection.
    pub(in crate::ledger) database: Arc<File>,
    /// Unlocked when it is dropped, or when the process dies.
    pub(in crate::ledger) lock: File,
    pub(in crate::ledger) node_secret: KeyBytes,
    pub(in crate::ledger) open_holds: i64,
}

/// Opens, or creates, the file for the one writer.
pub(in crate::ledger) fn open(path: &Path, now_ms: u64) -> Result<Opened, OpenError> {
    let file = |source| OpenError::File { path: path.to_path_buf(), source };
    let sqlite = |source| OpenError::Sqlite { path: path.to_path_buf(), source };
    let lock = lock(path)?;
    let database = Arc::new(restrict(path).map_err(file)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    configure(&mut connection, path, &database).map_err(sqlite)?;
    migrate(&mut connection, path)?;
    let first_key = KeyBytes(entropy::random_bytes()?);
    let first_node_secret = KeyBytes(entropy::random_bytes()?);
    let node_secret =
        first_secrets(&mut connection, now_ms, &first_key, &first_node_secret).map_err(sqlite)?;
    let open_holds = connection
        .query_row("SELECT count(*) FROM holds WHERE state = 'open'", (), |row| row.get(0))
        .map_err(sqlite)?;
    // What was read to open the store is no sign of what will be used.
    connection.execute_batch("PRAGMA shrink_memory").map_err(sqlite)?;
    Ok(Opened { connection, database, lock, node_secret, open_holds })
}

/// Brings the schema up to date. A migration may copy a table that others refer to, which SQLite
/// allows only while it does not enforce foreign keys; so they are checked afterwards.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_path_buf(), source };
    connection.pragma_update(None, "foreign_keys", false).map_err(sqlite)?;
    let report = embedded::migrations::runner().run(connection).map_err(|source| {
        OpenError::Migration { path: path.to_path_buf(), source: Box::new(source) }
    })?;
    if !report.applied_migrations().is_empty() {
        let lost: i64 = connection
            .query_row("SELECT count(*) FROM pragma_foreign_key_check", (), |row| row.get(0))
            .map_err(sqlite)?;
        if lost > 0 {
            return Err(OpenError::Orphans { path: path.to_path_buf(), rows: lost });
        }
    }
    connection.pragma_update(None, "foreign_keys", true).map_err(sqlite)
}

/// Opens the file for looking only, while a writer may be at work.
pub(in crate::ledger) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    let sqlite = |source| OpenError::Sqlite { path: path.to_path_buf(), source };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(sqlite)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(sqlite)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

/// Refuses a file that this version would not understand, for those who may not migrate it.
pub(super) fn check_schema(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let newest = embedded::migrations::runner().get_migrations().iter().map(|m| m.version()).max();
    let expected = newest.map_or(0, i64::from);
    let found = connection
        .query_row("SELECT max(version) FROM refinery_schema_history", (), |row| row.get(0))
        // No such table, or no database at all.
        .unwrap_or_default();
    if found == Some(expected) {
        return Ok(());
    }
    Err(OpenError::Schema { path: path.to_path_buf(), expected, found })
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = |source| OpenError::File { path: path.to_path_buf(), source };
    let lock = private_file(Path::new(&name)).map_err(file)?;
    // Who had it may be about to end, or about to become another program with a copy of it.
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(file(source)),
        }
    }
    Err(OpenError::InUse(path.to_path_buf()))
}

/// The database holds keys: nobody but the owner may read it. SQLite gives its write-ahead log
/// the mode of the file.
fn restrict(path: &Path) -> io::Result<File> {
    let file = private_file(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn configure(
    connection: &mut Connection,
    path: &Path,
    database: &Arc<File>,
) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: an answer that was sent survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    let pages: i32 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let log_pages = (pages / DATABASE_TO_LOG).clamp(*LOG_PAGES.start(), *LOG_PAGES.end());
    fold::keep_short(connection, path, database, log_pages)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // The statement journal, for one: otherwise SQLite writes it to a file.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Without it SQLite plans a statement anew for every value of a range that it is asked for.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(|_on| ())
}

/// Creates the first master key and the node's secret where they are missing; gives the latter.
fn first_secrets(
    connection: &mut Connection,
    now_ms: u64,
    first_key: &KeyBytes,
    first_node_secret: &KeyBytes,
) -> rusqlite::Result<KeyBytes> {
    let transaction = connection.transaction()?;
    transaction.execute(
        "INSERT INTO master_keys (id, secret, created_at_ms)
         SELECT 1, ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM master_keys)",
        (&first_key.0[..], now_ms.put()),
    )?;
    transaction.execute(
        "INSERT INTO node_secret (id, secret) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        (&first_node_secret.0[..],),
    )?;
    let secret = transaction.query_row("SELECT secret FROM node_secret", (), |row| row.get(0))?;
    transaction.commit()?;
    Ok(KeyBytes(secret))
}

/// A new file as the `tollwayd` with this schema version made it, without any rows.
#[cfg(test)]
pub(in crate::ledger) fn migrated_to(version: i32, path: &Path) -> Connection {
    let mut connection = Connection::open(path).unwrap();
    let target = refinery::Target::Version(version);
    embedded::migrations::runner().set_target(target).run(&mut connection).unwrap();
    connection
}
