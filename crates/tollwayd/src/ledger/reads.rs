//! Reading beside the writer: everything that is committed, at one moment.

use std::sync::{Arc, Mutex};

use tollway_core::payment::PaymentHash;

use super::questions::{LedgerError, StoreFault};
use super::rows::field::{Field, Value};
use super::rows::{
    Account, Action, Charge, Cursor, Delivery, Deposit, Entry, Hold, Invoice, MasterKey, Row,
    Stock, Total, Transfer,
};
use super::sqlite;
use super::stats::Figures;
use super::views::AuditReport;
#[cfg(test)]
use super::work::{Tab, WorkingSet};

/// Which rows to read.
pub(super) struct Query<R: Row> {
    /// Comparisons with values, as in `name =`; the first one has an index.
    pub(super) filter: Vec<(&'static str, Value<'static>)>,
    /// What else the index wants to hear.
    pub(super) also: &'static str,
    /// The same in memory.
    #[cfg_attr(not(test), expect(dead_code, reason = "databases filter by the column"))]
    pub(super) matches: Box<dyn Fn(&R) -> bool + Send + Sync>,
    /// In the order of the key, or against it.
    pub(super) newest_first: bool,
    /// A column with an index to order by instead of the key.
    pub(super) order: Option<&'static str>,
    /// The columns of a key, with an index: the table's own, if the store has no other.
    pub(super) keys: Vec<&'static str>,
    /// Only rows behind this one, in the order of the key.
    pub(super) after: Option<R>,
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
            keys: super::sql::key_columns::<R>().collect(),
            after: None,
            limit: u32::MAX,
        }
    }

    /// The rows that compare so with this value.
    pub(super) fn by<F: Field>(
        comparison: &'static str,
        value: &F,
        matches: impl Fn(&R) -> bool + Send + Sync + 'static,
    ) -> Self {
        let filter = vec![(comparison, value.put().into_owned())];
        Self { filter, matches: Box::new(matches), ..Self::all() }
    }

    /// The statement; `$1` is the first of [`Query::values`].
    pub(super) fn sql(&self) -> String {
        let columns = super::sql::columns::<R>();
        let comparisons = self.filter.iter().zip(1..);
        let mut filter: String =
            comparisons.map(|((comparison, _), at)| format!("{comparison} ${at} AND ")).collect();
        if self.after.is_some() {
            let first = self.filter.len() + 1;
            let slots: Vec<String> =
                self.keys.iter().zip(first..).map(|(_, at)| format!("${at}")).collect();
            filter += &format!("({}) > ({}) AND ", self.keys.join(", "), slots.join(", "));
        }
        let filter = filter + self.also;
        let way = if self.newest_first { " DESC" } else { "" };
        let columns_in_order = self.order.iter().chain(&self.keys);
        let keys: Vec<String> = columns_in_order.map(|key| format!("{key}{way}")).collect();
        let (table, keys, limit) = (R::TABLE, keys.join(", "), self.limit);
        format!("SELECT {columns} FROM {table} WHERE {filter} ORDER BY {keys} LIMIT {limit}")
    }

    /// What the statement compares with.
    pub(super) fn values(&self) -> Vec<Value<'_>> {
        let filter = self.filter.iter().map(|(_, value)| value.clone());
        let after = self.after.iter().flat_map(|row| {
            let row: Vec<_> = R::COLUMNS.iter().map(|(name, _)| *name).zip(row.put()).collect();
            let value = move |key| row.iter().find(|(name, _)| *name == key).cloned();
            self.keys.iter().filter_map(move |key| value(*key)).map(|(_, value)| value)
        });
        filter.chain(after).collect()
    }

    /// The rows of a table in memory.
    #[cfg(test)]
    pub(super) fn select(&self, table: &Tab<R>) -> Vec<R> {
        let later = |row: &&R| self.after.as_ref().is_none_or(|after| row.key() > after.key());
        let matching = table.iter().filter(later).filter(|row| (self.matches)(row)).cloned();
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
    Charge: postings,
    Cursor: cursors,
    Delivery: deliveries,
    Deposit: deposits,
    Entry: entries,
    Hold: holds,
    Invoice: invoices,
    MasterKey: keys,
    Stock: stocks,
    Total: totals,
    Transfer: transfers,
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
    /// The columns of a table's key in the order of its index. On PostgreSQL postings lie with
    /// their account.
    pub(super) fn keys<R: Readable>(&self) -> Vec<&'static str> {
        if matches!(self, Self::Postgres(_)) && R::TABLE == Charge::TABLE {
            return vec!["account", "hold_id", "seq"];
        }
        super::sql::key_columns::<R>().collect()
    }

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

    /// What statistics are made of, at one moment.
    pub(super) async fn figures(&self, now_ms: u64) -> Result<Figures, LedgerError> {
        match self {
            #[cfg(test)]
            Self::Memory(tables) => Ok(super::memory::lock(tables).figures(now_ms)),
            Self::Sqlite(connection) => {
                let look = move |connection: &_| sqlite::read::figures(connection, now_ms);
                blocking(connection, look).await
            }
            Self::Postgres(reader) => reader.figures(now_ms).await,
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
