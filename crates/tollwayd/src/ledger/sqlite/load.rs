//! The working set of a batch, row by row.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result};
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::known::{Known, KnownHold};
use super::read;
use crate::ledger::rows::field::{Field, Value};
use crate::ledger::rows::{Account, DaySecret, Delivery, Hold, Invoice, MasterKey, Row, Tranche};
use crate::ledger::sql;
use crate::ledger::work::{Needs, SWEEP_ROWS_MAX, Tab, WorkingSet};

/// Loads what [`WorkingSet`] promises. What is due anywhere comes along, so that expired credit
/// is back before anything is decided.
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
    let mut names: Vec<PaymentHash> = Vec::new();
    for payment in &needs.payments {
        let invoice = invoice(connection, known, payment)?;
        names.extend(invoice.as_ref().map(|invoice| invoice.account));
        invoice.into_iter().for_each(|invoice| set.invoices.load(invoice));
        names.push(*payment);
    }
    for offer in &needs.offers {
        for invoice in select::<Invoice>(
            connection,
            "WHERE offer = ?1 AND settled_at_ms IS NULL",
            vec![offer.put()],
        )? {
            names.push(invoice.account);
            set.invoices.load(invoice);
        }
    }
    load_holds(connection, known, needs, &mut set, &mut names)?;
    load_due(connection, known, &mut set, &mut names, now_ms)?;
    names.sort_unstable();
    names.dedup();
    for name in names {
        let account = match known.account(&name) {
            Some(account) => Some(Arc::clone(account)),
            None => read_by_key::<Account, 1>(connection, [name.put()])?
                .inspect(|account| known.keep_account(account)),
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
    load_deliveries(connection, needs, &mut set, now_ms)?;
    Ok(set)
}

/// Most of the holds that a batch names are to be opened by it: their ids are new, so that nothing
/// has to be looked for.
fn load_holds(
    connection: &Connection,
    known: &mut Known,
    needs: &Needs,
    set: &mut WorkingSet,
    names: &mut Vec<PaymentHash>,
) -> Result<()> {
    if known.wants_floor() {
        let highest = "SELECT max(id) FROM holds";
        let highest: Option<[u8; 16]> = connection.query_row(highest, (), |row| row.get(0))?;
        known.begin_holds(HoldId::from_bytes(highest.unwrap_or_default()));
    }
    for id in &needs.holds {
        let hold = match known.hold(id) {
            KnownHold::Absent => None,
            KnownHold::Here(hold) => Some(Arc::clone(hold)),
            KnownHold::Unsure => read_by_key(connection, [id.put()])?,
        };
        let Some(hold) = hold else { continue };
        names.push(hold.account);
        if needs.tokens.contains(id) && set.invoices.get(&(hold.payment_hash,)).is_none() {
            let invoice = invoice(connection, known, &hold.payment_hash)?;
            invoice.into_iter().for_each(|invoice| set.invoices.load(invoice));
        }
        set.holds.load(hold);
    }
    Ok(())
}

fn invoice(
    connection: &Connection,
    known: &mut Known,
    payment: &PaymentHash,
) -> Result<Option<Arc<Invoice>>> {
    Ok(match known.invoice(payment) {
        Some(invoice) => Some(Arc::clone(invoice)),
        None => read_by_key::<Invoice, 1>(connection, [payment.put()])?
            .inspect(|invoice| known.keep_invoice(invoice)),
    })
}

/// Looks for what is due only when something may be.
fn load_due(
    connection: &Connection,
    known: &mut Known,
    set: &mut WorkingSet,
    names: &mut Vec<PaymentHash>,
    now_ms: u64,
) -> Result<()> {
    if known.is_early(now_ms) {
        return Ok(());
    }
    let values = || vec![now_ms.put(), SWEEP_ROWS_MAX.put()];
    let holds = select::<Hold>(
        connection,
        "WHERE state = 'open' AND expires_at_ms <= ?1 ORDER BY expires_at_ms LIMIT ?2",
        values(),
    )?;
    let tranches = select::<Tranche>(
        connection,
        "WHERE remaining_msat > 0 AND due_at_ms <= ?1 ORDER BY due_at_ms LIMIT ?2",
        values(),
    )?;
    let full = |rows: usize| u32::try_from(rows).is_ok_and(|rows| rows == SWEEP_ROWS_MAX);
    set.more_due = full(holds.len());
    known.first_due_ms = match set.more_due || full(tranches.len()) {
        true => None,
        false => Some(first_due_ms(connection, now_ms)?),
    };
    for hold in holds {
        names.push(hold.account);
        set.holds.load(hold);
    }
    names.extend(tranches.iter().map(|tranche| tranche.account));
    Ok(())
}

/// When the first of what is not due yet is.
fn first_due_ms(connection: &Connection, now_ms: u64) -> Result<u64> {
    let first = |text| -> Result<Option<u64>> {
        let first: Option<i64> =
            connection.prepare_cached(text)?.query_row((now_ms.put(),), |row| row.get(0))?;
        // Times are never negative.
        Ok(first.map(i64::unsigned_abs))
    };
    let hold =
        first("SELECT min(expires_at_ms) FROM holds WHERE state = 'open' AND expires_at_ms > ?1")?;
    let tranche =
        first("SELECT min(due_at_ms) FROM tranches WHERE remaining_msat > 0 AND due_at_ms > ?1")?;
    Ok(hold.into_iter().chain(tranche).min().unwrap_or(u64::MAX))
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
    for id in set.stock_ids(needs) {
        by_key(connection, &mut set.stocks, [id.put()])?;
    }
    for (coupon, account) in set.coupon_accounts(needs) {
        let of_account = "WHERE coupon = ?1 AND account = ?2";
        let values = vec![coupon.put(), account.put()];
        let sold = select::<Invoice>(connection, of_account, values)?;
        sold.into_iter().for_each(|invoice| set.invoices.load(invoice));
    }
    for client in &needs.allowances {
        by_key(connection, &mut set.allowances, [client.put()])?;
    }
    for payment in &needs.deposits {
        by_key(connection, &mut set.deposits, [payment.put()])?;
    }
    for id in &needs.transfers {
        by_key(connection, &mut set.transfers, [id.put()])?;
    }
    for id in &needs.actions {
        by_key(connection, &mut set.actions, [id.put()])?;
    }
    for id in &needs.certificates {
        by_key(connection, &mut set.certificates, [id.put()])?;
    }
    for name in &needs.cursors {
        by_key(connection, &mut set.cursors, [name.put()])?;
    }
    if needs.days {
        select::<DaySecret>(connection, "", Vec::new())?
            .into_iter()
            .for_each(|day| set.days.load(day));
    }
    if needs.keys {
        select::<MasterKey>(connection, "", Vec::new())?
            .into_iter()
            .for_each(|key| set.keys.load(key));
    }
    Ok(())
}

fn load_deliveries(
    connection: &Connection,
    needs: &Needs,
    set: &mut WorkingSet,
    now_ms: u64,
) -> Result<()> {
    for id in &needs.deliveries {
        by_key(connection, &mut set.deliveries, [id.put()])?;
    }
    for ((kind, target), max) in &needs.deliveries_due {
        let due = format!("WHERE {}", sql::DELIVERIES_DUE);
        let values = vec![kind.put(), target.put(), now_ms.put(), max.put()];
        let due = select::<Delivery>(connection, &due, values)?;
        due.into_iter().for_each(|row| set.deliveries.load(row));
    }
    Ok(())
}

/// The row with this key, which it also loads.
fn by_key<R: Row, const N: usize>(
    connection: &Connection,
    table: &mut Tab<R>,
    key: [Value<'_>; N],
) -> Result<Option<Arc<R>>> {
    let row = read_by_key::<R, N>(connection, key)?;
    row.iter().for_each(|row| table.load(Arc::clone(row)));
    Ok(row)
}

fn read_by_key<R: Row, const N: usize>(
    connection: &Connection,
    key: [Value<'_>; N],
) -> Result<Option<Arc<R>>> {
    connection
        .prepare_cached(R::select())?
        .query_row(rusqlite::params_from_iter(key), read::row)
        .map(Arc::new)
        .optional()
}

fn select<R: Row>(connection: &Connection, rest: &str, values: Vec<Value<'_>>) -> Result<Vec<R>> {
    let text = format!("SELECT {} FROM {} {rest}", sql::columns::<R>(), R::TABLE);
    read::all(connection, &text, values)
}
