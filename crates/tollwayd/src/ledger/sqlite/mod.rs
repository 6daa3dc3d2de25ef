//! The ledger on SQLite: one file, one writer, exclusive ownership.
//!
//! Rows are found by key, one prepared statement each: inside the process that costs less than
//! anything that would gather them. Readers use a connection of their own and see only what is
//! committed.

mod fold;
mod known;
mod load;
pub(super) mod open;
pub(super) mod read;
mod room;
mod write;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::questions::StoreFault;
use super::rows::field::Value;
use super::store::{Store, StoreError};
use super::work::{Needs, WorkingSet};
use known::Known;
use room::LogRoom;
use write::{Texts, put};

/// The store.
pub(super) struct SqliteStore {
    connection: Connection,
    known: Known,
    texts: Texts,
    room: Option<LogRoom>,
    /// Closed after the connection: POSIX gives up a file's locks when any of its handles closes.
    _database: Arc<File>,
    /// Unlocked when it is dropped, or when the process dies.
    _lock: File,
}

impl SqliteStore {
    pub(super) fn new(connection: Connection, database: Arc<File>, lock: File) -> Self {
        let room = connection.path().and_then(|path| LogRoom::open(Path::new(path)));
        Self {
            connection,
            known: Known::default(),
            texts: Texts::default(),
            room,
            _database: database,
            _lock: lock,
        }
    }

    fn write(&mut self, set: &WorkingSet) -> rusqlite::Result<()> {
        let (connection, texts) = (&self.connection, &mut self.texts);
        // Parents come before their children.
        put(connection, texts, &set.accounts)?;
        put(connection, texts, &set.invoices)?;
        put(connection, texts, &set.budgets)?;
        put(connection, texts, &set.holds)?;
        put(connection, texts, &set.postings)?;
        put(connection, texts, &set.actions)?;
        put(connection, texts, &set.entries)?;
        put(connection, texts, &set.tranches)?;
        put(connection, texts, &set.once)?;
        put(connection, texts, &set.allowances)?;
        put(connection, texts, &set.transfers)?;
        put(connection, texts, &set.deposits)?;
        put(connection, texts, &set.stocks)?;
        put(connection, texts, &set.days)?;
        put(connection, texts, &set.keys)?;
        put(connection, texts, &set.cursors)?;
        put(connection, texts, &set.deliveries)?;
        put(connection, texts, &set.certificates)?;
        put(connection, texts, &set.probe)?;
        put(connection, texts, &set.totals)?;
        statement(connection, "COMMIT")
    }

    /// Gives the transaction up.
    fn undo(&mut self, error: &rusqlite::Error) -> StoreError {
        tracing::error!(%error, "a transaction failed and was undone");
        self.roll_back();
        StoreFault::from(error).into()
    }

    fn roll_back(&mut self) {
        self.known.forget();
        // SQLite ends the transaction itself after some faults.
        if !self.connection.is_autocommit()
            && let Err(error) = statement(&self.connection, "ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
    }
}

impl Store for SqliteStore {
    async fn load(&mut self, needs: &Needs, now_ms: u64) -> Result<WorkingSet, StoreError> {
        statement(&self.connection, "BEGIN IMMEDIATE").map_err(|error| self.undo(&error))?;
        if let Some(Err(error)) = self.room.as_mut().map(LogRoom::keep) {
            // A full disk, perhaps; then the next COMMIT says so.
            tracing::warn!(%error, "the log gets no more room");
            self.room = None;
        }
        load::working_set(&self.connection, &mut self.known, needs, now_ms)
            .map_err(|error| self.undo(&error))
    }

    async fn commit(&mut self, set: &WorkingSet) -> Result<(), StoreError> {
        self.write(set).map_err(|error| self.undo(&error))?;
        self.known.committed(set);
        Ok(())
    }

    async fn abandon(&mut self) {
        self.roll_back();
    }

    async fn close(mut self) {
        if let Err(error) = fold::stop(&mut self.connection) {
            tracing::warn!(%error, "the log may still be folded");
        }
        let folded =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_row| Ok(()));
        if let Err(error) = folded {
            tracing::warn!(%error, "the write-ahead log stays beside the database file");
        }
    }
}

fn statement(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(()).map(|_rows| ())
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

impl From<&rusqlite::Error> for StoreFault {
    fn from(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Constraint,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Io,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}
