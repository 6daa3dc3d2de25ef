//! The ledger on SQLite: one file, one writer, exclusive ownership.
//!
//! Rows are found by key, one prepared statement each: inside the process that costs less than
//! anything that would gather them. Readers use a connection of their own and see only what is
//! committed.

mod known;
mod load;
pub(super) mod open;
pub(super) mod read;
mod room;

use std::fs::File;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

use super::questions::StoreFault;
use super::rows::Row;
use super::rows::field::Value;
use super::sql::ROWS_PER_INSERT;
use super::store::{Store, StoreError};
use super::work::{Needs, Tab, WorkingSet};
use known::Known;
use room::LogRoom;

/// The store.
pub(super) struct SqliteStore {
    connection: Connection,
    known: Known,
    room: Option<LogRoom>,
    /// Unlocked when it is dropped, or when the process dies.
    _lock: File,
}

impl SqliteStore {
    pub(super) fn new(connection: Connection, lock: File) -> Self {
        let room = connection.path().and_then(|path| LogRoom::open(Path::new(path)));
        Self { connection, known: Known::default(), room, _lock: lock }
    }

    fn write(&self, set: &WorkingSet) -> rusqlite::Result<()> {
        // Parents come before their children.
        put(&self.connection, &set.accounts)?;
        put(&self.connection, &set.invoices)?;
        put(&self.connection, &set.budgets)?;
        put(&self.connection, &set.holds)?;
        put(&self.connection, &set.postings)?;
        put(&self.connection, &set.actions)?;
        put(&self.connection, &set.entries)?;
        put(&self.connection, &set.tranches)?;
        put(&self.connection, &set.once)?;
        put(&self.connection, &set.allowances)?;
        put(&self.connection, &set.transfers)?;
        put(&self.connection, &set.stocks)?;
        put(&self.connection, &set.days)?;
        put(&self.connection, &set.keys)?;
        put(&self.connection, &set.cursors)?;
        put(&self.connection, &set.deliveries)?;
        put(&self.connection, &set.certificates)?;
        put(&self.connection, &set.probe)?;
        put(&self.connection, &set.totals)?;
        statement(&self.connection, "COMMIT")
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

    async fn close(self) {
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

/// Writes what changed in one table.
fn put<R: Row>(connection: &Connection, table: &Tab<R>) -> rusqlite::Result<()> {
    let (inserts, updates) = (table.inserts(), table.updates());
    // Rows of one statement share its start, and each finds its place beside the one before.
    let (many, few) = inserts.as_chunks::<ROWS_PER_INSERT>();
    if !many.is_empty() {
        let mut insert = connection.prepare_cached(&R::statements().insert_many)?;
        for rows in many {
            let values = rows.iter().flat_map(|row| row.put());
            insert.execute(rusqlite::params_from_iter(values))?;
        }
    }
    if !few.is_empty() {
        let mut insert = connection.prepare_cached(&R::statements().insert)?;
        for row in few {
            insert.execute(rusqlite::params_from_iter(row.put()))?;
        }
    }
    if !updates.is_empty() {
        let mut update = connection.prepare_cached(&R::statements().update)?;
        for row in updates {
            update.execute(rusqlite::params_from_iter(row.put()))?;
        }
    }
    Ok(())
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
