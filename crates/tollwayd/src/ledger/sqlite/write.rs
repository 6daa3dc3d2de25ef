//! What changed, into statements that name only the columns they need: most columns of a new row
//! have nothing in them, most of a changed row stay, and a column that is not named is not bound,
//! not checked and found in no index.

use std::collections::HashMap;

use rusqlite::{Connection, params_from_iter};

use crate::ledger::rows::Row;
use crate::ledger::rows::field::Value;
use crate::ledger::sql::{self, Columns, ROWS_PER_INSERT};
use crate::ledger::work::Tab;

/// The statements' texts, each written once.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<(&'static str, Statement, Columns), String>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statement {
    /// So many rows at once.
    Insert(usize),
    Update,
}

impl Texts {
    fn of<R: Row>(&mut self, statement: Statement, columns: Columns) -> &str {
        self.0.entry((R::TABLE, statement, columns)).or_insert_with(|| match statement {
            Statement::Insert(rows) => sql::insert::<R>(columns, rows),
            Statement::Update => sql::update::<R>(columns),
        })
    }
}

/// A row to be written, and the columns that are.
struct Change<'a> {
    columns: Columns,
    values: Vec<Value<'a>>,
}

impl<'a> Change<'a> {
    /// All that is in a new row.
    fn insert(row: &'a impl Row) -> Self {
        let values = row.put();
        Self { columns: Columns::where_so(values.iter().map(|it| *it != Value::Null)), values }
    }

    /// What is not as it was.
    fn update<R: Row>((was, row): (&R, &'a R)) -> Self {
        Self { columns: row.changed(was), values: row.put() }
    }

    fn written(&self) -> impl Iterator<Item = &Value<'a>> {
        self.columns.of(self.values.iter())
    }
}

/// Writes what changed in one table.
pub(super) fn put<R: Row>(
    connection: &Connection,
    texts: &mut Texts,
    table: &Tab<R>,
) -> rusqlite::Result<()> {
    let inserts: Vec<Change> = table.inserts().into_iter().map(Change::insert).collect();
    for alike in inserts.chunk_by(|one, next| one.columns == next.columns) {
        let columns = alike.first().map_or_else(Columns::default, |row| row.columns);
        let mut left = alike;
        // Rows of one statement share its start, and each finds its place beside the one before.
        for size in ROWS_PER_INSERT.into_iter().filter(|size| *size <= alike.len()) {
            let now = left.chunks_exact(size);
            left = now.remainder();
            if now.len() == 0 {
                continue;
            }
            let text = texts.of::<R>(Statement::Insert(size), columns);
            let mut insert = connection.prepare_cached(text)?;
            for rows in now {
                insert.execute(params_from_iter(rows.iter().flat_map(Change::written)))?;
            }
        }
    }
    let mut updates: Vec<Change> = table.rewrites().map(Change::update).collect();
    updates.retain(|row| !row.columns.is_empty());
    for alike in updates.chunk_by(|one, next| one.columns == next.columns) {
        let columns = alike.first().map_or_else(Columns::default, |row| row.columns);
        let text = texts.of::<R>(Statement::Update, columns);
        let mut update = connection.prepare_cached(text)?;
        for row in alike {
            let key = row.values.iter().take(R::KEY_COLUMNS);
            update.execute(params_from_iter(row.written().chain(key)))?;
        }
    }
    Ok(())
}
