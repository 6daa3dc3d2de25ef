//! Reading beside the writer: everything that is committed, at one moment.

use std::sync::{Arc, Mutex};

use tollway_core::payment::PaymentHash;

use super::questions::{LedgerError, StoreFault};
use super::rows::field::{Field, Value};
use super::rows::{Account, Action, Cursor, Entry, Invoice, MasterKey, Row};
use super::sqlite;
use super::views::{AuditReport, Stats};
#[cfg(test)]
use super::work::{Tab, WorkingSet};

/// Which rows to read.
pub(super) struct Query<R: Row> {
    /// Comparisons with values, as in `name =`; the first one has an index.
    pub(super) filter: Vec<(&'static str, Value)>,
    /// What else the index wants to hear.
    pub(super) also: &'static str,
    /// The same in memory.
    #[cfg_attr(not(test), expect(dead_code, reason = "databases filter by the column"))]
    pub(super) matches: Box<dyn Fn(&R) -> bool + Send + Sync>,
    /// In the order of the key, or against it.
    pub(super) newest_first: bool,
    /// A column with an index to order by instead of the key.
    pub(super) order: Option<&'static str>,
    pub(super) limit: u32,
}

impl<R: Row> Query<R> {
    /// All rows, oldest first.
    pub(super) fn all() -> Self {
        Self {
            filter: Vec::new(),
            also: "true",
            matches: Box::new(|_| true),
            newest_first: false,
            order: None,
            limit: u32::MAX,
        }
    }

    /// The rows that compare so with this value.
    pub(super) fn by<F: Field>(
        comparison: &'static str,
        value: &F,
        matches: impl Fn(&R) -> bool + Send + Sync + 'static,
    ) -> Self {
        let filter = vec![(comparison, value.put())];
        Self { filter, matches: Box::new(matches), ..Self::all() }
    }

    /// The statement; `$1` is the first value.
    pub(super) fn sql(&self) -> String {
        let columns = super::sql::columns::<R>();
        let comparisons = self.filter.iter().zip(1..);
        let filter: String =
            comparisons.map(|((comparison, _), at)| format!("{comparison} ${at} AND ")).collect();
        let filter = filter + self.also;
        let way = if self.newest_first { " DESC" } else { "" };
        let keys: Vec<String> = self
            .order
            .into_iter()
            .chain(super::sql::key_columns::<R>())
            .map(|key| format!("{key}{way}"))
            .collect();
        let (table, keys, limit) = (R::TABLE, keys.join(", "), self.limit);
        format!("SELECT {columns} FROM {table} WHERE {filter} ORDER BY {keys} LIMIT {limit}")
    }

    /// The rows of a table in memory.
    #[cfg(test)]
    pub(super) fn select(&self, table: &Tab<R>) -> Vec<R> {
        let matching = table.iter().filter(|row| (self.matches)(row)).cloned();
        let mut rows: Vec<R> = matching.collect();
        if self.newest_first {
            rows.reverse();
        }
        rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        rows
    }
}

/// Tables that can be read beside the writer.
pub(super) trait Readable: Row {
    #[cfg(test)]
    fn table(tables: &WorkingSet) -> &Tab<Self>;
}

macro_rules! readable {
    ($($row:ident: $field:ident),+ $(,)?) => {$(
        impl Readable for $row {
            #[cfg(test)]
            fn table(tables: &WorkingSet) -> &Tab<Self> {
                &tables.$field
            }
        }
    )+};
}

readable! {
    Account: accounts,
    Action: actions,
    Cursor: cursors,
    Entry: entries,
    Invoice: invoices,
    MasterKey: keys,
}

/// One reader per store.
#[derive(Clone)]
pub(super) enum Reader {
    #[cfg(test)]
    Memory(Arc<Mutex<super::memory::Tables>>),
    Sqlite(Arc<Mutex<rusqlite::Connection>>),
    Postgres(super::postgres::read::Reader),
}

impl Reader {
    pub(super) async fn rows<R: Readable>(&self, query: Query<R>) -> Result<Vec<R>, LedgerError> {
        match self {
            #[cfg(test)]
            Self::Memory(tables) => Ok(query.select(R::table(&super::memory::lock(tables)))),
            Self::Sqlite(connection) => {
                blocking(connection, move |connection| sqlite::read::rows(connection, &query)).await
            }
            Self::Postgres(reader) => reader.rows(&query).await,
        }
    }

    /// The newest tokens of revoked accounts; see [`super::sql::revoked`].
    pub(super) async fn revoked(&self) -> Result<Vec<PaymentHash>, LedgerError> {
        match self {
            #[cfg(test)]
            Self::Memory(tables) => Ok(super::memory::lock(tables).revoked()),
            Self::Sqlite(connection) => blocking(connection, sqlite::read::revoked).await,
            Self::Postgres(reader) => reader.revoked().await,
        }
    }

    pub(super) async fn stats(&self, now_ms: u64) -> Result<Stats, LedgerError> {
        match self {
            #[cfg(test)]
            Self::Memory(tables) => Ok(super::memory::lock(tables).stats(now_ms)),
            Self::Sqlite(connection) => {
                blocking(connection, move |connection| sqlite::read::stats(connection, now_ms))
                    .await
            }
            Self::Postgres(reader) => reader.stats(now_ms).await,
        }
    }

    pub(super) async fn audit(&self) -> Result<AuditReport, LedgerError> {
        match self {
            #[cfg(test)]
            Self::Memory(tables) => Ok(super::memory::lock(tables).audit()),
            Self::Sqlite(connection) => blocking(connection, sqlite::read::audit).await,
            Self::Postgres(reader) => reader.audit().await,
        }
    }
}

/// Runs on a thread that may wait for the disk.
async fn blocking<A: Send + 'static>(
    connection: &Arc<Mutex<rusqlite::Connection>>,
    look: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<A> + Send + 'static,
) -> Result<A, LedgerError> {
    let connection = Arc::clone(connection);
    let looked = tokio::task::spawn_blocking(move || {
        // A reader that panicked has changed nothing, so its connection is still good.
        let connection = connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&connection)
    });
    match looked.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::error!(%error, "reading the store failed");
            Err(LedgerError::Store(StoreFault::from(&error)))
        }
        Err(_) => Err(LedgerError::Stopped),
    }
}
