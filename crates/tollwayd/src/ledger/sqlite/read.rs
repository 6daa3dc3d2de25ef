//! Reading rows, sums, and the audit.

use std::path::Path;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, Error, Result};
use tollway_core::payment::PaymentHash;

use super::open::{OpenError, check_schema, open_reader};
use crate::ledger::reads::Query;
use crate::ledger::rows::Row;
use crate::ledger::rows::field::{Field, Value};
use crate::ledger::sql;
use crate::ledger::stats::Figures;
use crate::ledger::views::{AuditReport, Difference};

/// A row of the columns that [`sql::columns`] lists. A value that is not one of its column is an
/// error, never a guess.
pub(super) fn row<R: Row>(found: &rusqlite::Row<'_>) -> Result<R> {
    let mut fault = None;
    let values = (0..R::COLUMNS.len())
        .map_while(|index| value(found, index).map_err(|error| fault = Some(error)).ok());
    R::get(values).ok_or_else(|| {
        fault.unwrap_or_else(|| {
            let what = format!("a row of {} is none", R::TABLE);
            Error::FromSqlConversionFailure(0, Type::Null, what.into())
        })
    })
}

fn value<'a>(found: &'a rusqlite::Row<'_>, index: usize) -> Result<Value<'a>> {
    Ok(match found.get_ref(index)? {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.into()),
        text @ ValueRef::Text(_) => Value::Text(text.as_str()?.into()),
        ValueRef::Real(_) => {
            return Err(Error::InvalidColumnType(index, String::new(), Type::Real));
        }
    })
}

pub(super) fn all<R: Row>(
    connection: &Connection,
    text: &str,
    values: Vec<Value<'_>>,
) -> Result<Vec<R>> {
    connection.prepare_cached(text)?.query_map(rusqlite::params_from_iter(values), row)?.collect()
}

pub(in crate::ledger) fn rows<R: Row>(connection: &Connection, query: &Query<R>) -> Result<Vec<R>> {
    all(connection, &query.sql(), query.values())
}

pub(in crate::ledger) fn revoked(connection: &Connection) -> Result<Vec<PaymentHash>> {
    let mut statement = connection.prepare_cached(&sql::revoked())?;
    let tokens = statement.query_map((), |found| {
        let token = PaymentHash::get(value(found, 0)?);
        token.ok_or_else(|| Error::InvalidColumnType(0, String::new(), Type::Blob))
    })?;
    tokens.collect()
}

/// What statistics are made of, at one moment of the file.
pub(in crate::ledger) fn figures(connection: &Connection, now_ms: u64) -> Result<Figures> {
    let moment = connection.unchecked_transaction()?;
    let open = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    let open = moment.prepare_cached(sql::OPEN)?.query_row((now_ms.put(),), open)?;
    let totals = rows(&moment, &Query::all())?;
    let recent = rows(&moment, &Figures::recent())?;
    Ok(Figures { totals, recent, open })
}

/// Audits a file, perhaps beside a server.
///
/// # Errors
/// [`OpenError`] if the file cannot be read as a ledger.
pub(crate) fn audit_file(path: &Path) -> std::result::Result<AuditReport, OpenError> {
    if let Err(source) = std::fs::metadata(path) {
        return Err(OpenError::File { path: path.to_path_buf(), source });
    }
    let connection = open_reader(path)?;
    check_schema(&connection, path)?;
    audit(&connection).map_err(|source| OpenError::Sqlite { path: path.to_path_buf(), source })
}

/// Looks at one moment of the file.
pub(in crate::ledger) fn audit(connection: &Connection) -> Result<AuditReport> {
    let moment = connection.unchecked_transaction()?;
    let count = |text: &str| moment.query_row(text, (), |row| row.get::<_, u32>(0)).map(u64::from);
    let accounts = count("SELECT count(*) FROM accounts")?;
    let entries = count("SELECT count(*) FROM entries")?;
    let mut differences = Vec::new();
    for check in sql::CHECKS {
        let mut statement = moment.prepare(check.sql)?;
        let found = statement.query_map((), |row| {
            Ok(Difference {
                account: row.get(0)?,
                check: check.name,
                about: row.get(1)?,
                claimed: row.get(2)?,
                recorded: row.get(3)?,
            })
        })?;
        for difference in found {
            differences.push(difference?);
        }
    }
    Ok(AuditReport { accounts, entries, differences })
}
