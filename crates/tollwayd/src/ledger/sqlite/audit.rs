//! The audit: recomputes what the ledger claims from what it recorded.
//!
//! It opens the file read-only and looks at one moment of it, so it may run beside a server. It
//! trusts entries, postings and holds, and compares everything that repeats them.

use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::column;
use super::open::{OpenError, check_schema, open_reader};

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AuditReport {
    pub(crate) accounts: u64,
    pub(crate) entries: u64,
    pub(crate) differences: Vec<Difference>,
}

/// One claim that does not match the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The account, named by the payment hash that opened it.
    pub(crate) account: String,
    /// What was compared.
    pub(crate) check: &'static str,
    /// The invoice or the hold it is about, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// What the ledger claims.
    pub(crate) claimed: i64,
    /// What the records say.
    pub(crate) recorded: i64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, check, about, claimed, recorded } = self;
        write!(f, "account {account}: {check}: expected {recorded}, but found {claimed}")?;
        about.iter().try_for_each(|about| write!(f, " ({about})"))
    }
}

/// One comparison: a query that yields only the rows that differ, as account name, subject,
/// claimed, recorded.
struct Check {
    name: &'static str,
    sql: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        name: "balance_msat against the sum of entries",
        sql: "SELECT hex(a.payment_hash), NULL, a.balance_msat, coalesce(e.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account_id, sum(amount_msat) AS total FROM entries
                         GROUP BY account_id) e ON e.account_id = a.id
              WHERE a.balance_msat <> coalesce(e.total, 0)",
    },
    Check {
        name: "held_msat against the open holds",
        sql: "SELECT hex(a.payment_hash), NULL, a.held_msat, coalesce(h.total, 0)
              FROM accounts a
              LEFT JOIN (SELECT account_id, sum(amount_msat - posted_msat) AS total FROM holds
                         WHERE state = 'open' GROUP BY account_id) h ON h.account_id = a.id
              WHERE a.held_msat <> coalesce(h.total, 0)",
    },
    Check {
        name: "available credit below zero",
        sql: "SELECT hex(payment_hash), NULL, balance_msat - held_msat, 0 FROM accounts
              WHERE balance_msat < held_msat OR held_msat < 0",
    },
    Check {
        name: "credit entries of an invoice against its settlement",
        sql: "SELECT hex(a.payment_hash), 'invoice ' || lower(hex(i.payment_hash)),
                     coalesce(e.credits, 0), i.settled_at_ms IS NOT NULL
              FROM invoices i JOIN accounts a ON a.id = i.account_id
              LEFT JOIN (SELECT payment_hash, count(*) AS credits FROM entries
                         WHERE kind = 'credit' GROUP BY payment_hash) e
                ON e.payment_hash = i.payment_hash
              WHERE coalesce(e.credits, 0) <> (i.settled_at_ms IS NOT NULL)",
    },
    Check {
        name: "credited amount against the invoice's",
        sql: "SELECT hex(a.payment_hash), 'invoice ' || lower(hex(e.payment_hash)),
                     e.amount_msat, coalesce(i.amount_msat, 0)
              FROM entries e JOIN accounts a ON a.id = e.account_id
              LEFT JOIN invoices i
                ON i.payment_hash = e.payment_hash AND i.account_id = e.account_id
              WHERE e.kind = 'credit' AND e.amount_msat IS NOT i.amount_msat",
    },
    Check {
        name: "posted_msat of a hold against its postings",
        sql: "SELECT hex(a.payment_hash), 'hold ' || lower(hex(h.id)),
                     h.posted_msat, coalesce(p.total, 0)
              FROM holds h JOIN accounts a ON a.id = h.account_id
              LEFT JOIN (SELECT hold_id, sum(amount_msat) AS total FROM postings
                         GROUP BY hold_id) p ON p.hold_id = h.id
              WHERE h.posted_msat <> coalesce(p.total, 0)",
    },
    Check {
        name: "postings of a hold above its amount",
        sql: "SELECT hex(a.payment_hash), 'hold ' || lower(hex(h.id)), p.total, h.amount_msat
              FROM holds h JOIN accounts a ON a.id = h.account_id
              JOIN (SELECT hold_id, sum(amount_msat) AS total FROM postings
                    GROUP BY hold_id) p ON p.hold_id = h.id
              WHERE p.total > h.amount_msat",
    },
    Check {
        name: "charge entries of a posting against its amount",
        sql: "SELECT hex(a.payment_hash), 'hold ' || lower(hex(p.hold_id)) || ' seq ' || p.seq,
                     coalesce(e.total, 0), p.amount_msat
              FROM postings p JOIN holds h ON h.id = p.hold_id
              JOIN accounts a ON a.id = h.account_id
              LEFT JOIN (SELECT account_id, hold_id, seq, -sum(amount_msat) AS total FROM entries
                         WHERE kind = 'charge' GROUP BY account_id, hold_id, seq) e
                ON e.hold_id = p.hold_id AND e.seq = p.seq AND e.account_id = h.account_id
              WHERE coalesce(e.total, 0) <> p.amount_msat",
    },
    Check {
        name: "a charge entry without its posting",
        sql: "SELECT hex(a.payment_hash), 'hold ' || lower(hex(e.hold_id)) || ' seq ' || e.seq,
                     -e.amount_msat, 0
              FROM entries e JOIN accounts a ON a.id = e.account_id
              LEFT JOIN postings p ON p.hold_id = e.hold_id AND p.seq = e.seq
              WHERE e.kind = 'charge' AND p.hold_id IS NULL",
    },
];

/// Audits the file.
///
/// # Errors
/// [`OpenError`] if the file cannot be read as a ledger.
pub(crate) fn audit(path: &Path) -> Result<AuditReport, OpenError> {
    if let Err(source) = std::fs::metadata(path) {
        return Err(OpenError::File { path: path.to_path_buf(), source });
    }
    let mut connection = open_reader(path)?;
    check_schema(&connection, path)?;
    report(&mut connection).map_err(|source| OpenError::Sqlite { path: path.to_path_buf(), source })
}

fn report(connection: &mut Connection) -> rusqlite::Result<AuditReport> {
    let moment = connection.transaction()?;
    let count = |table: &str| moment.query_row(table, (), |row: &Row<'_>| column::count(row, 0));
    let accounts = count("SELECT count(*) FROM accounts")?;
    let entries = count("SELECT count(*) FROM entries")?;
    let mut differences = Vec::new();
    for check in CHECKS {
        let mut statement = moment.prepare(check.sql)?;
        let rows = statement.query_map((), |row| {
            Ok(Difference {
                account: row.get::<_, String>(0)?.to_lowercase(),
                check: check.name,
                about: row.get(1)?,
                claimed: row.get(2)?,
                recorded: row.get(3)?,
            })
        })?;
        for row in rows {
            differences.push(row?);
        }
    }
    Ok(AuditReport { accounts, entries, differences })
}
