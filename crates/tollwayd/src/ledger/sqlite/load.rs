//! The working set of a batch, row by row.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Result};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::known::Known;
use super::read;
use crate::ledger::rows::field::{Field, Value};
use crate::ledger::rows::{Account, Hold, Invoice, Row, Tranche};
use crate::ledger::sql;
use crate::ledger::work::{Needs, SWEEP_ROWS_MAX, Tab, WorkingSet};

/// Loads what [`WorkingSet`] promises. What is due anywhere comes along every time, so that
/// expired credit is back before anything is decided.
pub(super) fn working_set(
    connection: &Connection,
    known: &mut Known,
    needs: &Needs,
    now_ms: u64,
) -> Result<WorkingSet> {
    if needs.prune {
        for (statement, values) in sql::pruning(now_ms) {
            let values = rusqlite::params_from_iter(values);
            connection.prepare_cached(statement)?.execute(values)?;
        }
    }
    let mut set = WorkingSet::default();
    let mut names: BTreeSet<PaymentHash> = BTreeSet::new();
    for payment in &needs.payments {
        let invoice = match known.invoice(payment).cloned() {
            Some(invoice) => Some(invoice),
            None => read_by_key::<Invoice, 1>(connection, [payment.put()])?
                .inspect(|invoice| known.keep_invoice(invoice.clone())),
        };
        names.extend(invoice.as_ref().map(|invoice| invoice.account));
        invoice.into_iter().for_each(|invoice| set.invoices.load(invoice));
        names.insert(*payment);
    }
    for offer in &needs.offers {
        for invoice in select::<Invoice>(
            connection,
            "WHERE offer = ?1 AND settled_at_ms IS NULL",
            vec![offer.put()],
        )? {
            names.insert(invoice.account);
            set.invoices.load(invoice);
        }
    }
    for id in &needs.holds {
        let hold = by_key(connection, &mut set.holds, [id.put()])?;
        names.extend(hold.map(|hold| hold.account));
    }
    load_due(connection, &mut set, &mut names, now_ms)?;
    for name in names {
        let account = match known.account(&name).cloned() {
            Some(account) => Some(account),
            None => read_by_key::<Account, 1>(connection, [name.put()])?
                .inspect(|account| known.keep_account(account.clone())),
        };
        let Some(account) = account else { continue };
        let tranched = account.tranched_msat > Msat::ZERO;
        set.accounts.load(account);
        if tranched {
            let open = "WHERE account = ?1 AND remaining_msat > 0";
            for tranche in select::<Tranche>(connection, open, vec![name.put()])? {
                set.tranches.load(tranche);
            }
        }
    }
    load_rest(connection, needs, &mut set)?;
    Ok(set)
}

fn load_due(
    connection: &Connection,
    set: &mut WorkingSet,
    names: &mut BTreeSet<PaymentHash>,
    now_ms: u64,
) -> Result<()> {
    let mut rows = 0;
    let values = || vec![now_ms.put(), u64::from(SWEEP_ROWS_MAX).put()];
    for hold in select::<Hold>(
        connection,
        "WHERE state = 'open' AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2",
        values(),
    )? {
        names.insert(hold.account);
        set.holds.load(hold);
        rows += 1;
    }
    for tranche in select::<Tranche>(
        connection,
        "WHERE remaining_msat > 0 AND due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2",
        values(),
    )? {
        names.insert(tranche.account);
    }
    set.more_due = rows == SWEEP_ROWS_MAX;
    Ok(())
}

fn load_rest(connection: &Connection, needs: &Needs, set: &mut WorkingSet) -> Result<()> {
    for (hold, seq) in &needs.postings {
        by_key(connection, &mut set.postings, [hold.put(), seq.put()])?;
    }
    for (account, key) in set.once_keys(needs) {
        let once = by_key(connection, &mut set.once, [account.put(), key.put()])?;
        if let Some(once) = once.filter(|once| set.holds.get(&(once.hold_id,)).is_none()) {
            by_key(connection, &mut set.holds, [once.hold_id.put()])?;
        }
    }
    loop {
        let known = set.budgets.iter().count();
        for id in set.missing_budgets(needs) {
            by_key(connection, &mut set.budgets, [id.put()])?;
        }
        if set.budgets.iter().count() == known {
            break;
        }
    }
    for client in &needs.allowances {
        by_key(connection, &mut set.allowances, [client.put()])?;
    }
    for id in &needs.actions {
        by_key(connection, &mut set.actions, [id.put()])?;
    }
    for name in &needs.cursors {
        by_key(connection, &mut set.cursors, [name.put()])?;
    }
    if needs.days {
        select(connection, "", Vec::new())?.into_iter().for_each(|day| set.days.load(day));
    }
    if needs.keys {
        select(connection, "", Vec::new())?.into_iter().for_each(|key| set.keys.load(key));
    }
    Ok(())
}

/// The row with this key, which it also loads.
fn by_key<R: Row, const N: usize>(
    connection: &Connection,
    table: &mut Tab<R>,
    key: [Value; N],
) -> Result<Option<R>> {
    let row = read_by_key::<R, N>(connection, key)?;
    row.iter().cloned().for_each(|row| table.load(row));
    Ok(row)
}

fn read_by_key<R: Row, const N: usize>(
    connection: &Connection,
    key: [Value; N],
) -> Result<Option<R>> {
    connection
        .prepare_cached(&R::statements().select)?
        .query_row(rusqlite::params_from_iter(key), read::row)
        .optional()
}

fn select<R: Row>(connection: &Connection, rest: &str, values: Vec<Value>) -> Result<Vec<R>> {
    let text = format!("SELECT {} FROM {} {rest}", sql::columns::<R>(), R::TABLE);
    read::all(connection, &text, values)
}
