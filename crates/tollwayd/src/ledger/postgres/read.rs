//! Reading rows, sums, and the audit.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::Statement;
use tokio_postgres::types::ToSql;
use tollway_core::payment::PaymentHash;

use super::connection::{self, Connection, Live, Trouble};
use super::statements::{Arguments, single};
use super::tls::Database;
use crate::ledger::questions::{LedgerError, StoreFault};
use crate::ledger::reads::Query;
use crate::ledger::rows::Row;
use crate::ledger::rows::field::{Field, Kind, Value};
use crate::ledger::sql;
use crate::ledger::stats::Figures;
use crate::ledger::store::StoreError;
use crate::ledger::views::{AuditReport, Difference};

/// Whatever others commit meanwhile is not seen.
const ONE_MOMENT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

pub(super) type Found<R> = Result<Vec<R>, Trouble>;

/// Arguments as the driver wants them.
pub(super) fn references(values: &Arguments) -> Vec<&(dyn ToSql + Sync)> {
    values.iter().map(|value| value.as_ref() as &(dyn ToSql + Sync)).collect()
}

pub(super) async fn execute(
    live: &Live,
    statement: &Statement,
    values: &Arguments,
) -> Result<(), Trouble> {
    live.client.execute(statement, &references(values)).await?;
    Ok(())
}

/// The rows of a statement that selects the columns of [`sql::columns`].
pub(super) async fn query<R: Row>(
    live: &Live,
    statement: &Statement,
    values: &Arguments,
) -> Found<R> {
    let rows = live.client.query(statement, &references(values)).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let columns = R::COLUMNS.iter().zip(0..);
        let values = columns.map(|((_, kind), index)| value(row, *kind, index));
        let values: Vec<_> = values.collect::<Result<_, _>>()?;
        let row = R::get(values.into_iter());
        found.push(row.ok_or(Trouble::Row(R::TABLE))?);
    }
    Ok(found)
}

fn value(row: &tokio_postgres::Row, kind: Kind, index: usize) -> Result<Value<'_>, Trouble> {
    Ok(match kind {
        Kind::Int => row.try_get::<_, Option<i64>>(index)?.map_or(Value::Null, Value::Int),
        Kind::Bytes => {
            let bytes: Option<&[u8]> = row.try_get(index)?;
            bytes.map_or(Value::Null, |bytes| Value::Bytes(bytes.into()))
        }
        Kind::Text => {
            let text: Option<&str> = row.try_get(index)?;
            text.map_or(Value::Null, |text| Value::Text(text.into()))
        }
    })
}

/// A connection that only reads.
#[derive(Clone)]
pub(in crate::ledger) struct Reader(Arc<Mutex<Connection>>);

impl Reader {
    pub(in crate::ledger) fn new(database: Database) -> Self {
        Self(Arc::new(Mutex::new(Connection::new(database))))
    }

    pub(in crate::ledger) async fn rows<R: Row>(
        &self,
        wanted: &Query<R>,
    ) -> Result<Vec<R>, LedgerError> {
        let mut connection = self.0.lock().await;
        let found = async { select(connection.live().await?, wanted).await };
        found.await.map_err(|error: Trouble| failed(&error))
    }

    pub(in crate::ledger) async fn revoked(&self) -> Result<Vec<PaymentHash>, LedgerError> {
        let mut connection = self.0.lock().await;
        let found = async {
            let live = connection.live().await?;
            let statement = live.prepare(&sql::revoked()).await?;
            let mut tokens = Vec::new();
            for row in live.client.query(&statement, &[]).await? {
                let token = PaymentHash::get(value(&row, Kind::Bytes, 0)?);
                tokens.push(token.ok_or(Trouble::Row("accounts"))?);
            }
            Ok(tokens)
        };
        found.await.map_err(|error: Trouble| failed(&error))
    }

    pub(in crate::ledger) async fn figures(&self, now_ms: u64) -> Result<Figures, LedgerError> {
        let mut connection = self.0.lock().await;
        let found = async {
            let live = connection.live().await?;
            live.client.batch_execute(ONE_MOMENT).await?;
            let found = figures(live, now_ms).await;
            live.client.batch_execute("ROLLBACK").await?;
            found
        };
        found.await.map_err(|error: Trouble| failed(&error))
    }

    pub(in crate::ledger) async fn audit(&self) -> Result<AuditReport, LedgerError> {
        let mut connection = self.0.lock().await;
        let found = async { audit_once(connection.live().await?).await };
        found.await.map_err(|error: Trouble| failed(&error))
    }
}

async fn select<R: Row>(live: &mut Live, wanted: &Query<R>) -> Found<R> {
    let statement = live.prepare(&wanted.sql()).await?;
    query(live, &statement, &wanted.values().iter().map(single).collect()).await
}

async fn figures(live: &mut Live, now_ms: u64) -> Result<Figures, Trouble> {
    let statement = live.prepare(sql::OPEN).await?;
    let values: Arguments = vec![single(&now_ms.put())];
    let row = live.client.query_one(&statement, &references(&values)).await?;
    let open = [row.try_get(0)?, row.try_get(1)?, row.try_get(2)?];
    let totals = select(live, &Query::all()).await?;
    let recent = select(live, &Figures::recent()).await?;
    Ok(Figures { totals, recent, open })
}

fn failed(error: &Trouble) -> LedgerError {
    LedgerError::Store(match connection::fault(error) {
        StoreError::Fault(fault) => fault,
        StoreError::Retry => StoreFault::Other,
    })
}

/// Looks at one moment of the database.
pub(super) async fn audit_once(live: &Live) -> Result<AuditReport, Trouble> {
    live.client.batch_execute(ONE_MOMENT).await?;
    let report = audit(live).await;
    live.client.batch_execute("ROLLBACK").await?;
    report
}

async fn audit(live: &Live) -> Result<AuditReport, Trouble> {
    let count = async |text: &str| -> Result<u64, Trouble> {
        let rows: i64 = live.client.query_one(text, &[]).await?.try_get(0)?;
        Ok(rows.unsigned_abs())
    };
    let accounts = count("SELECT count(*) FROM accounts").await?;
    let entries = count("SELECT count(*) FROM entries").await?;
    let mut differences = Vec::new();
    for check in sql::CHECKS {
        for row in live.client.query(&dialect(check.sql), &[]).await? {
            differences.push(Difference {
                account: row.try_get(0)?,
                check: check.name,
                about: row.try_get(1)?,
                claimed: row.try_get::<_, i64>(2)?,
                recorded: row.try_get::<_, i64>(3)?,
            });
        }
    }
    Ok(AuditReport { accounts, entries, differences })
}

/// PostgreSQL says `encode(x, 'hex')` for `hex(x)`, and types its constants.
fn dialect(text: &str) -> String {
    let mut parts = text.split("hex(");
    let mut said = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (argument, rest) = part.split_once(')').unwrap_or((part, ""));
        said += &format!("encode({argument}, 'hex'){rest}");
    }
    format!("SELECT f.a, f.b::text, f.c::bigint, f.d::bigint FROM ({said}) AS f (a, b, c, d)")
}
