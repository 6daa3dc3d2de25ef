//! What is read without the writer: keys, one account, sums.

use rusqlite::{Connection, OptionalExtension, Result};
use serde::Serialize;
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::column;
use crate::ledger::{KeyBytes, Keyring};

/// Entries that one look at an account shows, the newest first.
const ENTRIES_SHOWN_MAX: u32 = 1_000;

/// One account, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AccountView {
    /// Its name: the payment hash that opened it.
    pub(crate) account: PaymentHash,
    /// The sum of its entries.
    pub(crate) balance_msat: Msat,
    /// The part of the balance that live holds set aside.
    pub(crate) held_msat: Msat,
    /// The rest, which new holds can take.
    pub(crate) available_msat: Msat,
    /// How many entries there are in all.
    pub(crate) entries_total: u64,
    /// The newest entries, newest first, at most 1,000.
    pub(crate) entries: Vec<EntryView>,
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EntryView {
    pub(crate) kind: String,
    /// Positive for a credit, negative for a charge.
    pub(crate) amount_msat: i64,
    pub(crate) at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payment_hash: Option<PaymentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<HoldId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
}

/// Counts and sums over the whole ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stats {
    pub(crate) accounts: u64,
    /// Waiting for their payment.
    pub(crate) invoices_open: u64,
    pub(crate) invoices_settled: u64,
    /// Never paid in time.
    pub(crate) invoices_expired: u64,
    pub(crate) holds_open: u64,
    pub(crate) credited_msat: u64,
    pub(crate) charged_msat: u64,
    pub(crate) held_msat: u64,
    pub(crate) balance_msat: u64,
}

pub(super) fn keyring(connection: &Connection) -> Result<Keyring> {
    let keys = connection
        .prepare_cached("SELECT id, secret FROM master_keys ORDER BY id")?
        .query_map((), |row| Ok((KeyId::new(row.get(0)?), KeyBytes(column::bytes(row, 1)?))))?
        .collect::<Result<Vec<_>>>()?;
    let (current, _) = keys.last().ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(Keyring { current: *current, keys })
}

pub(super) fn account(connection: &Connection, hash: &PaymentHash) -> Result<Option<AccountView>> {
    // One transaction, so that the sums and the entries are of the same moment.
    let moment = connection.unchecked_transaction()?;
    let found = moment
        .prepare_cached(
            "SELECT a.id, a.payment_hash, a.balance_msat, a.held_msat,
                    a.balance_msat - a.held_msat,
                    (SELECT count(*) FROM entries e WHERE e.account_id = a.id)
             FROM invoices i JOIN accounts a ON a.id = i.account_id WHERE i.payment_hash = ?1",
        )?
        .query_row((hash.as_bytes(),), |row| {
            let view = AccountView {
                account: column::payment_hash(row, 1)?,
                balance_msat: column::msat(row, 2)?,
                held_msat: column::msat(row, 3)?,
                available_msat: column::msat(row, 4)?,
                entries_total: column::count(row, 5)?,
                entries: Vec::new(),
            };
            Ok((row.get::<_, i64>(0)?, view))
        })
        .optional()?;
    let Some((id, view)) = found else { return Ok(None) };
    let entries = entries(&moment, id)?;
    Ok(Some(AccountView { entries, ..view }))
}

fn entries(connection: &Connection, account_id: i64) -> Result<Vec<EntryView>> {
    connection
        .prepare_cached(
            "SELECT e.kind, e.amount_msat, e.at_ms, e.payment_hash, e.hold_id, e.seq,
                    coalesce(i.route, p.route)
             FROM entries e
             LEFT JOIN invoices i ON i.payment_hash = e.payment_hash
             LEFT JOIN postings p ON p.hold_id = e.hold_id AND p.seq = e.seq
             WHERE e.account_id = ?1 ORDER BY e.id DESC LIMIT ?2",
        )?
        .query_map((account_id, ENTRIES_SHOWN_MAX), |row| {
            Ok(EntryView {
                kind: row.get(0)?,
                amount_msat: row.get(1)?,
                at_ms: column::count(row, 2)?,
                payment_hash: row.get::<_, Option<[u8; 32]>>(3)?.map(PaymentHash::from_bytes),
                hold: row.get::<_, Option<[u8; 16]>>(4)?.map(HoldId::from_bytes),
                seq: row.get(5)?,
                route: row.get(6)?,
            })
        })?
        .collect()
}

pub(super) fn stats(connection: &Connection, now_ms: u64) -> Result<Stats> {
    // One statement sees one moment.
    connection
        .prepare_cached(
            "SELECT
               (SELECT count(*) FROM accounts),
               (SELECT count(*) FROM invoices WHERE settled_at_ms IS NULL AND expires_at_ms > ?1),
               (SELECT count(*) FROM invoices WHERE settled_at_ms IS NOT NULL),
               (SELECT count(*) FROM invoices WHERE settled_at_ms IS NULL AND expires_at_ms <= ?1),
               (SELECT count(*) FROM holds WHERE state = 'open'),
               (SELECT coalesce(sum(amount_msat), 0) FROM entries WHERE kind = 'credit'),
               (SELECT coalesce(-sum(amount_msat), 0) FROM entries WHERE kind = 'charge'),
               (SELECT coalesce(sum(held_msat), 0) FROM accounts),
               (SELECT coalesce(sum(balance_msat), 0) FROM accounts)",
        )?
        .query_row((column::from_ms(now_ms),), |row| {
            Ok(Stats {
                accounts: column::count(row, 0)?,
                invoices_open: column::count(row, 1)?,
                invoices_settled: column::count(row, 2)?,
                invoices_expired: column::count(row, 3)?,
                holds_open: column::count(row, 4)?,
                credited_msat: column::count(row, 5)?,
                charged_msat: column::count(row, 6)?,
                held_msat: column::count(row, 7)?,
                balance_msat: column::count(row, 8)?,
            })
        })
}
