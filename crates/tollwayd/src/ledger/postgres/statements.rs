//! Statements over whole columns: one array per column, one row per element.

use tokio_postgres::types::ToSql;

use crate::ledger::rows::Row;
use crate::ledger::rows::field::{Kind, Value};
use crate::ledger::sql;

/// One array per column.
pub(super) type Arguments = Vec<Box<dyn ToSql + Sync + Send>>;

fn array_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "bigint[]",
        Kind::Bytes => "bytea[]",
        Kind::Text => "text[]",
    }
}

/// `unnest($1::bigint[], ...)` over these columns.
fn unnest(columns: &[(&str, Kind)]) -> String {
    let arrays =
        columns.iter().zip(1..).map(|((_, kind), at)| format!("${at}::{}", array_type(*kind)));
    format!("unnest({})", arrays.collect::<Vec<_>>().join(", "))
}

fn names(columns: &[(&str, Kind)]) -> String {
    columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

pub(super) fn insert_sql<R: Row>() -> String {
    let (table, columns, rows) = (R::TABLE, sql::columns::<R>(), unnest(R::COLUMNS));
    let again = sql::on_conflict::<R>();
    format!("INSERT INTO {table} ({columns}) SELECT * FROM {rows}{again}")
}

pub(super) fn update_sql<R: Row>() -> String {
    let (key, rest) = R::COLUMNS.split_at(R::KEY_COLUMNS);
    let assign: Vec<_> = rest.iter().map(|(name, _)| format!("{name} = u.{name}")).collect();
    let same: Vec<_> = key.iter().map(|(name, _)| format!("t.{name} = u.{name}")).collect();
    format!(
        "UPDATE {} AS t SET {} FROM {} AS u ({}) WHERE {}",
        R::TABLE,
        assign.join(", "),
        unnest(R::COLUMNS),
        names(R::COLUMNS),
        same.join(" AND "),
    )
}

/// The rows with these keys.
pub(super) fn select_sql<R: Row>() -> String {
    let key: Vec<_> = R::COLUMNS.iter().take(R::KEY_COLUMNS).copied().collect();
    let same: Vec<_> = key.iter().map(|(name, _)| format!("t.{name} = u.{name}")).collect();
    let columns: Vec<_> = R::COLUMNS.iter().map(|(name, _)| format!("t.{name}")).collect();
    format!(
        "SELECT {} FROM {} AS u ({}) JOIN {} AS t ON {}",
        columns.join(", "),
        unnest(&key),
        names(&key),
        R::TABLE,
        same.join(" AND "),
    )
}

/// The rows, column by column.
pub(super) fn arguments<R: Row>(rows: &[&R]) -> Arguments {
    transpose(R::COLUMNS, rows.iter().map(|row| row.put()).collect())
}

/// Lists of values, column by column.
pub(super) fn transpose(columns: &[(&str, Kind)], rows: Vec<Vec<Value<'_>>>) -> Arguments {
    let mut arrays: Vec<Vec<Value<'_>>> = columns.iter().map(|_| Vec::new()).collect();
    for row in rows {
        for (array, value) in arrays.iter_mut().zip(row) {
            array.push(value);
        }
    }
    let array = |((_, kind), values): (&(&str, Kind), Vec<Value<'_>>)| array(*kind, values);
    columns.iter().zip(arrays).map(array).collect()
}

/// An array parameter.
pub(super) fn array(kind: Kind, values: Vec<Value<'_>>) -> Box<dyn ToSql + Sync + Send> {
    match kind {
        Kind::Int => Box::new(values.into_iter().map(int).collect::<Vec<_>>()),
        Kind::Bytes => Box::new(values.into_iter().map(bytes).collect::<Vec<_>>()),
        Kind::Text => Box::new(values.into_iter().map(text).collect::<Vec<_>>()),
    }
}

/// One parameter.
pub(super) fn single(value: &Value<'_>) -> Box<dyn ToSql + Sync + Send> {
    match value.clone() {
        Value::Text(text) => Box::new(text.into_owned()),
        Value::Bytes(bytes) => Box::new(bytes.into_owned()),
        value @ (Value::Int(_) | Value::Null) => Box::new(int(value)),
    }
}

fn int(value: Value<'_>) -> Option<i64> {
    if let Value::Int(number) = value { Some(number) } else { None }
}

fn bytes(value: Value<'_>) -> Option<Vec<u8>> {
    if let Value::Bytes(bytes) = value { Some(bytes.into_owned()) } else { None }
}

fn text(value: Value<'_>) -> Option<String> {
    if let Value::Text(text) = value { Some(text.into_owned()) } else { None }
}
