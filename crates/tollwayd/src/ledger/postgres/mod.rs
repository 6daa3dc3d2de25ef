//! The ledger on PostgreSQL: many replicas of tollwayd on one database.
//!
//! A batch takes three round trips. The first begins a READ COMMITTED transaction and locks the
//! rows of its accounts, in the order of their names, so that no two writers wait for each
//! other; whatever is read after that stays as it is until the end. The second reads the rest,
//! the third writes and commits. What no lock guards, because its row is not there yet, is
//! guarded by a primary key: the writer that loses tries the whole batch again.

pub(in crate::ledger) mod connection;
mod load;
pub(super) mod open;
pub(super) mod read;
mod statements;
pub(in crate::ledger) mod tls;

use tokio_postgres::types::ToSql;

use super::rows::Row;
use super::store::{Store, StoreError};
use super::work::{Needs, Tab, WorkingSet};
use connection::{Connection, Live, Trouble};
use statements::{Arguments, insert_sql, update_sql};

/// The store: one connection, made anew after it broke.
pub(super) struct PostgresStore {
    connection: Connection,
    /// Where it adds to the totals.
    slot: u64,
}

impl PostgresStore {
    pub(super) fn new(database: tls::Database, slot: u64) -> Self {
        Self { connection: Connection::new(database), slot }
    }
}

impl Store for PostgresStore {
    async fn load(&mut self, needs: &Needs, now_ms: u64) -> Result<WorkingSet, StoreError> {
        let loaded = match self.connection.live().await {
            Ok(live) => load::working_set(live, needs, now_ms).await,
            Err(error) => Err(error),
        };
        match loaded {
            Ok(Some(set)) => Ok(WorkingSet { slot: self.slot, ..set }),
            Ok(None) => {
                self.abandon().await;
                Err(StoreError::Retry)
            }
            Err(error) => {
                self.abandon().await;
                Err(connection::fault(&error))
            }
        }
    }

    async fn commit(&mut self, set: &WorkingSet) -> Result<(), StoreError> {
        let written = match self.connection.live().await {
            Ok(live) => write(live, set).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            self.abandon().await;
            return Err(connection::fault(&error));
        }
        Ok(())
    }

    async fn abandon(&mut self) {
        self.connection.roll_back().await;
    }

    async fn close(self) {}
}

/// One statement with its arguments.
struct Write {
    statement: tokio_postgres::Statement,
    arguments: Arguments,
}

/// Writes everything and commits in one round trip. If a statement fails, the server turns the
/// COMMIT into a ROLLBACK.
async fn write(live: &mut Live, set: &WorkingSet) -> Result<(), Trouble> {
    let mut writes = Vec::new();
    // Parents come before their children.
    put(live, &set.accounts, &mut writes).await?;
    put(live, &set.invoices, &mut writes).await?;
    put(live, &set.budgets, &mut writes).await?;
    put(live, &set.holds, &mut writes).await?;
    put(live, &set.postings, &mut writes).await?;
    put(live, &set.actions, &mut writes).await?;
    put(live, &set.entries, &mut writes).await?;
    put(live, &set.tranches, &mut writes).await?;
    put(live, &set.once, &mut writes).await?;
    put(live, &set.allowances, &mut writes).await?;
    put(live, &set.transfers, &mut writes).await?;
    put(live, &set.deposits, &mut writes).await?;
    put(live, &set.stocks, &mut writes).await?;
    put(live, &set.days, &mut writes).await?;
    put(live, &set.keys, &mut writes).await?;
    put(live, &set.cursors, &mut writes).await?;
    put(live, &set.deliveries, &mut writes).await?;
    put(live, &set.certificates, &mut writes).await?;
    put(live, &set.probe, &mut writes).await?;
    // Last, so that nobody waits for a row of these longer than for the COMMIT.
    put(live, &set.totals, &mut writes).await?;
    let client = &live.client;
    let sent = writes.iter().map(|write| {
        let values = write.arguments.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync));
        let values: Vec<_> = values.collect();
        async move { client.execute(&write.statement, &values).await.map(|_rows| ()) }
    });
    // Sent in this order, because a joined future is first polled in its order.
    let sent = futures_util::future::join_all(sent);
    let (written, committed) = tokio::join!(biased; sent, client.batch_execute("COMMIT"));
    written.into_iter().collect::<Result<(), _>>()?;
    Ok(committed?)
}

async fn put<R: Row>(
    live: &mut Live,
    table: &Tab<R>,
    writes: &mut Vec<Write>,
) -> Result<(), Trouble> {
    for (rows, sql) in [
        (table.inserts(), insert_sql::<R> as fn() -> String),
        (table.updates(), update_sql::<R> as fn() -> String),
    ] {
        if !rows.is_empty() {
            let statement = live.prepare(&sql()).await?;
            writes.push(Write { statement, arguments: statements::arguments(&rows) });
        }
    }
    Ok(())
}
