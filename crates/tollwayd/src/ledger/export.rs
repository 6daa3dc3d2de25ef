//! The whole ledger, page by page, for spreadsheets and programs.
//!
//! A page is a short look at the store: the rows behind the last one, in the order of a key that
//! never changes. So memory stays small, no writer waits, no row comes twice, and none that was
//! there at the beginning is missed; rows that are written meanwhile may come or not. An unpaid
//! invoice may be deleted meanwhile.

use tollway_core::payment::PaymentHash;

use super::reads::{Query, Readable};
use super::rows::field::{Field, Value};
use super::rows::{Account, Action, Charge, Entry, Hold, Invoice};
use super::{Ledger, LedgerError};

/// Rows of one page: a few hundred KiB.
const PAGE_ROWS: u32 = 1_000;

/// A table that can be exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Accounts,
    /// The audit log.
    Audit,
    Entries,
    Holds,
    Invoices,
    Postings,
}

/// Which rows to export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Only what belongs to this account.
    pub(crate) account: Option<PaymentHash>,
    /// Only what is not older, Unix time in ms.
    pub(crate) since_ms: Option<u64>,
    /// Only what is older.
    pub(crate) until_ms: Option<u64>,
}

/// A row that can be exported.
trait Exported: Readable {
    /// The column that says when it came to be.
    const SINCE: &'static str;
    const UNTIL: &'static str;
    /// What only the ledger itself can use: keyed hashes.
    const HIDDEN: &'static [&'static str] = &[];

    fn at_ms(&self) -> u64;

    fn account(&self) -> Option<PaymentHash>;
}

macro_rules! exported {
    ($($row:ident at $at:ident, account $account:expr, hidden $hidden:expr;)+) => {$(
        impl Exported for $row {
            const SINCE: &'static str = concat!(stringify!($at), " >=");
            const UNTIL: &'static str = concat!(stringify!($at), " <");
            const HIDDEN: &'static [&'static str] = &$hidden;

            fn at_ms(&self) -> u64 {
                self.$at
            }

            fn account(&self) -> Option<PaymentHash> {
                let account: fn(&Self) -> Option<PaymentHash> = $account;
                account(self)
            }
        }
    )+};
}

exported! {
    Account at opened_at_ms, account |row| Some(row.account), hidden [];
    Action at at_ms, account |row| row.account, hidden [];
    Charge at posted_at_ms, account |row| Some(row.account), hidden [];
    Entry at at_ms, account |row| Some(row.account), hidden [];
    Hold at opened_at_ms, account |row| Some(row.account), hidden ["once_key"];
    Invoice at created_at_ms, account |row| Some(row.account), hidden ["client", "offer"];
}

/// Columns and rows, in the order of the columns.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<Cell>>,
}

/// One value, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cell {
    Empty,
    Number(i64),
    /// Harmless: an id or a hash.
    Name(String),
    Text(String),
}

/// An export under way.
pub(crate) struct Export {
    ledger: Ledger,
    selection: Selection,
    position: Position,
    ended: bool,
}

/// The last row of the page before.
enum Position {
    Accounts(Option<Account>),
    Audit(Option<Action>),
    Entries(Option<Entry>),
    Holds(Option<Hold>),
    Invoices(Option<Invoice>),
    Postings(Option<Charge>),
}

impl Ledger {
    /// Begins an export.
    pub(crate) fn export(&self, table: Table, selection: Selection) -> Export {
        let position = match table {
            Table::Accounts => Position::Accounts(None),
            Table::Audit => Position::Audit(None),
            Table::Entries => Position::Entries(None),
            Table::Holds => Position::Holds(None),
            Table::Invoices => Position::Invoices(None),
            Table::Postings => Position::Postings(None),
        };
        Export { ledger: self.clone(), selection, position, ended: false }
    }
}

impl Export {
    /// The next rows; after the last ones, a page without rows. A page that is not full is the
    /// last one: who waited for an empty one would never end beside a busy writer.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer; the same page may be asked for again.
    pub(crate) async fn next(&mut self) -> Result<Page, LedgerError> {
        if self.ended {
            return Ok(Page::default());
        }
        let Self { ledger, selection, position, .. } = self;
        let page = match position {
            Position::Accounts(last) => page(ledger, selection, last).await?,
            Position::Audit(last) => page(ledger, selection, last).await?,
            Position::Entries(last) => page(ledger, selection, last).await?,
            Position::Holds(last) => page(ledger, selection, last).await?,
            Position::Invoices(last) => page(ledger, selection, last).await?,
            Position::Postings(last) => page(ledger, selection, last).await?,
        };
        self.ended = u32::try_from(page.rows.len()).is_ok_and(|rows| rows < PAGE_ROWS);
        Ok(page)
    }
}

async fn page<R: Exported>(
    ledger: &Ledger,
    selection: &Selection,
    last: &mut Option<R>,
) -> Result<Page, LedgerError> {
    let query = selection.query(ledger.scanner.keys::<R>(), last.clone());
    let rows = ledger.scanner.rows(query).await?;
    if let Some(newest) = rows.last() {
        *last = Some(newest.clone());
    }
    let shown: Vec<bool> = R::COLUMNS.iter().map(|(name, _)| !R::HIDDEN.contains(name)).collect();
    let columns = R::COLUMNS.iter().map(|(name, _)| *name);
    let columns = columns.zip(&shown).filter(|(_, shown)| **shown).map(|(name, _)| name);
    let cells = |row: &R| {
        let values = row.put().into_iter().zip(&shown).filter(|(_, shown)| **shown);
        values.map(|(value, _)| Cell::from(value)).collect()
    };
    Ok(Page { columns: columns.collect(), rows: rows.iter().map(cells).collect() })
}

impl Selection {
    fn query<R: Exported>(self, mut keys: Vec<&'static str>, after: Option<R>) -> Query<R> {
        let Self { account, since_ms, until_ms } = self;
        if account.is_some() && keys.len() > 1 {
            // Beside a fixed name the rest of the key finds the place at once; with the name in
            // the comparison SQLite would walk there from the first row for every page.
            keys.retain(|key| *key != "account");
        }
        let filter = [
            account.map(|account| ("account =", account.put().into_owned())),
            since_ms.map(|since_ms| (R::SINCE, since_ms.put().into_owned())),
            until_ms.map(|until_ms| (R::UNTIL, until_ms.put().into_owned())),
        ];
        Query {
            filter: filter.into_iter().flatten().collect(),
            matches: Box::new(move |row: &R| {
                account.is_none_or(|account| row.account() == Some(account))
                    && since_ms.is_none_or(|since_ms| row.at_ms() >= since_ms)
                    && until_ms.is_none_or(|until_ms| row.at_ms() < until_ms)
            }),
            keys,
            after,
            limit: PAGE_ROWS,
            ..Query::all()
        }
    }
}

impl From<Value<'_>> for Cell {
    /// Ids of 16 bytes in the form of a UUID, hashes in hexadecimal digits.
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Empty,
            Value::Int(number) => Self::Number(number),
            Value::Text(text) => Self::Text(text.into_owned()),
            Value::Bytes(bytes) => Self::Name(match <[u8; 16]>::try_from(bytes.as_ref()) {
                Ok(id) => tollway_core::id::HoldId::from_bytes(id).to_string(),
                Err(_) => hex::encode(bytes),
            }),
        }
    }
}
