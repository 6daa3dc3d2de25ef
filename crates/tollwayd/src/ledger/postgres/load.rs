//! The working set of a batch, table by table.

use std::collections::BTreeSet;

use tokio_postgres::Statement;
use tollway_core::id::HoldId;
use tollway_core::payment::PaymentHash;

use super::connection::{Live, Trouble};
use super::read::{self, Found};
use super::statements::{Arguments, array, select_sql, single, transpose};
use crate::ledger::rows::field::{Field, Kind, Value};
use crate::ledger::rows::{
    Account, Action, Allowance, Budget, Charge, Cursor, DaySecret, Delivery, Deposit, Hold,
    Invoice, MasterKey, Once, Row, Stock, Tranche, Transfer, UsedCertificate,
};
use crate::ledger::sql;
use crate::ledger::work::{Needs, SWEEP_ROWS_MAX, WorkingSet};

/// Locks accounts in the order of their names; `$1` payments, `$2` holds, `$3` also names.
const LOCK: &str = "WHERE account IN (
        SELECT unnest($1::bytea[])
        UNION SELECT account FROM invoices WHERE payment_hash = ANY ($1::bytea[])
        UNION SELECT account FROM holds WHERE id = ANY ($2::bytea[])
        UNION SELECT unnest($3::bytea[])
    ) ORDER BY account FOR NO KEY UPDATE";

/// Begins, locks and loads. `None`: a row came in that the lock does not cover.
pub(super) async fn working_set(
    live: &mut Live,
    needs: &Needs,
    now_ms: u64,
) -> Result<Option<WorkingSet>, Trouble> {
    let mut set = WorkingSet::default();
    let swept = if needs.sweep { due(live, &mut set, now_ms).await? } else { Vec::new() };
    let text = format!("SELECT {} FROM accounts {LOCK}", sql::columns::<Account>());
    let lock = live.prepare(&text).await?;
    let values: Arguments = vec![
        array(Kind::Bytes, needs.payments.iter().map(Field::put).collect()),
        array(Kind::Bytes, needs.holds.iter().map(Field::put).collect()),
        array(Kind::Bytes, swept),
    ];
    // READ COMMITTED, whatever the server's default: what follows the lock has to see it all.
    let begin = live.client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED");
    let (begun, accounts) = tokio::join!(biased; begin, read::query(live, &lock, &values));
    begun?;
    accounts?.into_iter().for_each(|row: Account| set.accounts.load(row));
    if needs.prune {
        for (statement, values) in sql::pruning(now_ms) {
            let statement = live.prepare(statement).await?;
            let values: Arguments = values.iter().map(single).collect();
            read::execute(live, &statement, &values).await?;
        }
    }
    load_named(live, needs, &mut set, now_ms).await?;
    load_rest(live, needs, &mut set).await?;
    load_deliveries(live, needs, &mut set, now_ms).await?;
    Ok(covered(&set).then_some(set))
}

/// Whether the lock covers every account that the rows lead to.
fn covered(set: &WorkingSet) -> bool {
    let known = |account: &PaymentHash| set.accounts.get(&(*account,)).is_some();
    let settled = set.invoices.iter().filter(|invoice| invoice.settled_at_ms.is_some());
    settled.into_iter().all(|invoice| known(&invoice.account))
        && set.holds.iter().all(|hold| known(&hold.account))
}

/// Accounts in which something is due, before anything is locked.
async fn due(
    live: &mut Live,
    set: &mut WorkingSet,
    now_ms: u64,
) -> Result<Vec<Value<'static>>, Trouble> {
    let holds = live
        .prepare(
            "SELECT account FROM holds WHERE state = 'open' AND expires_at_ms <= $1
             ORDER BY expires_at_ms LIMIT $2",
        )
        .await?;
    let tranches = live
        .prepare(
            "SELECT account FROM tranches WHERE remaining_msat > 0 AND due_at_ms <= $1
             ORDER BY due_at_ms LIMIT $2",
        )
        .await?;
    let values: Arguments = vec![single(&now_ms.put()), single(&SWEEP_ROWS_MAX.put())];
    let values = read::references(&values);
    let (holds, tranches) = tokio::try_join!(
        live.client.query(&holds, &values),
        live.client.query(&tranches, &values)
    )?;
    set.more_due = u32::try_from(holds.len()).is_ok_and(|rows| rows == SWEEP_ROWS_MAX);
    let name = |row: &tokio_postgres::Row| Ok(row.try_get::<_, Vec<u8>>(0)?);
    let names = holds.iter().chain(&tranches).map(name);
    names.map(|name| name.map(|name| Value::Bytes(name.into()))).collect()
}

/// What the batch names, and what is due in its accounts, in one round trip.
async fn load_named(
    live: &mut Live,
    needs: &Needs,
    set: &mut WorkingSet,
    now_ms: u64,
) -> Result<(), Trouble> {
    let names = set.account_names();
    let names: Vec<Value<'_>> = names.iter().map(Field::put).collect();
    let payments = needs.payments.iter().map(|payment| vec![payment.put()]).collect();
    let invoices = by_key::<Invoice>(live, payments).await?;
    let offers = needs.offers.iter().map(Field::put).collect();
    let offered = where_(
        live,
        !needs.offers.is_empty(),
        "offer = ANY ($1) AND settled_at_ms IS NULL",
        vec![array(Kind::Bytes, offers)],
    )
    .await?;
    let holds = by_key::<Hold>(live, ids(&needs.holds)).await?;
    let tokens = where_(
        live,
        !needs.tokens.is_empty(),
        "payment_hash IN (SELECT payment_hash FROM holds WHERE id = ANY ($1))",
        vec![array(Kind::Bytes, needs.tokens.iter().map(Field::put).collect())],
    )
    .await?;
    let due = where_(
        live,
        !names.is_empty(),
        "account = ANY ($1) AND state = 'open' AND expires_at_ms <= $2",
        vec![array(Kind::Bytes, names.clone()), single(&now_ms.put())],
    )
    .await?;
    let tranches = where_(
        live,
        set.accounts.iter().any(|account| account.tranched_msat.get() > 0),
        "account = ANY ($1) AND remaining_msat > 0",
        vec![array(Kind::Bytes, names)],
    )
    .await?;
    let postings = postings(live, needs).await?;
    let loads = tokio::try_join!(
        invoices.run(live),
        offered.run(live),
        holds.run(live),
        tokens.run(live),
        due.run(live),
        tranches.run(live),
        postings.run(live),
    )?;
    let (invoices, offered, holds, tokens, due, tranches, postings) = loads;
    let invoices = invoices.into_iter().chain(offered).chain(tokens);
    invoices.for_each(|row: Invoice| set.invoices.load(row));
    holds.into_iter().chain(due).for_each(|row: Hold| set.holds.load(row));
    tranches.into_iter().for_each(|row: Tranche| set.tranches.load(row));
    postings.into_iter().for_each(|row: Charge| set.postings.load(row));
    Ok(())
}

/// What few batches name.
async fn load_rest(live: &mut Live, needs: &Needs, set: &mut WorkingSet) -> Result<(), Trouble> {
    let keys = set.once_keys(needs);
    let keys = keys.iter().map(|(account, key)| vec![account.put(), key.put()]).collect();
    let once = by_key(live, keys).await?.run(live).await?;
    let known = |id: &HoldId| set.holds.get(&(*id,)).is_some();
    let missing = once.iter().map(|once: &Once| once.hold_id);
    let missing: BTreeSet<HoldId> = missing.filter(|id| !known(id)).collect();
    for hold in by_key::<Hold>(live, ids(&missing)).await?.run(live).await? {
        set.holds.load(hold);
    }
    once.into_iter().for_each(|row| set.once.load(row));
    load_budgets(live, needs, set).await?;
    load_stocks(live, needs, set).await?;
    // No account guards these rows, so they are locked themselves, in order.
    let clients = needs.allowances.iter().map(Field::put).collect();
    let allowances = where_::<Allowance>(
        live,
        !needs.allowances.is_empty(),
        "client = ANY ($1) ORDER BY client FOR UPDATE",
        vec![array(Kind::Bytes, clients)],
    )
    .await?;
    allowances.run(live).await?.into_iter().for_each(|row| set.allowances.load(row));
    let deposits = where_::<Deposit>(
        live,
        !needs.deposits.is_empty(),
        "payment_hash = ANY ($1) ORDER BY payment_hash FOR UPDATE",
        vec![array(Kind::Bytes, needs.deposits.iter().map(Field::put).collect())],
    )
    .await?;
    deposits.run(live).await?.into_iter().for_each(|row| set.deposits.load(row));
    let transfers = where_::<Transfer>(
        live,
        !needs.transfers.is_empty(),
        "id = ANY ($1) ORDER BY id FOR UPDATE",
        vec![array(Kind::Bytes, needs.transfers.iter().map(Field::put).collect())],
    )
    .await?;
    transfers.run(live).await?.into_iter().for_each(|row| set.transfers.load(row));
    let cursors = where_::<Cursor>(
        live,
        !needs.cursors.is_empty(),
        "name = ANY ($1) ORDER BY name FOR UPDATE",
        vec![array(Kind::Text, needs.cursors.iter().map(Field::put).collect())],
    )
    .await?;
    cursors.run(live).await?.into_iter().for_each(|row| set.cursors.load(row));
    let used = needs.certificates.iter().map(|id| vec![id.put()]).collect();
    let used = by_key(live, used).await?.run(live).await?;
    used.into_iter().for_each(|row: UsedCertificate| set.certificates.load(row));
    let actions = needs.actions.iter().map(|id| vec![id.put()]).collect();
    let actions = by_key(live, actions).await?.run(live).await?;
    actions.into_iter().for_each(|row: Action| set.actions.load(row));
    let days = where_(live, needs.days, "true", Vec::new()).await?.run(live).await?;
    days.into_iter().for_each(|row: DaySecret| set.days.load(row));
    let keys = where_(live, needs.keys, "true", Vec::new()).await?.run(live).await?;
    keys.into_iter().for_each(|row: MasterKey| set.keys.load(row));
    Ok(())
}

/// What is being taken by another replica is passed over; what is named is waited for.
async fn load_deliveries(
    live: &mut Live,
    needs: &Needs,
    set: &mut WorkingSet,
    now_ms: u64,
) -> Result<(), Trouble> {
    let ids = needs.deliveries.iter().map(Field::put).collect();
    let named = where_::<Delivery>(
        live,
        !needs.deliveries.is_empty(),
        "id = ANY ($1) ORDER BY id FOR UPDATE",
        vec![array(Kind::Bytes, ids)],
    )
    .await?;
    named.run(live).await?.into_iter().for_each(|row| set.deliveries.load(row));
    for ((kind, target), max) in &needs.deliveries_due {
        let filter = format!("{} FOR UPDATE SKIP LOCKED", sql::DELIVERIES_DUE);
        let values = [kind.put(), target.put(), now_ms.put(), max.put()];
        let due = where_::<Delivery>(live, true, &filter, values.iter().map(single).collect());
        let due = due.await?.run(live).await?;
        due.into_iter().for_each(|row| set.deliveries.load(row));
    }
    Ok(())
}

/// Budgets, which the locks of their accounts guard, and those that they lead to. A batch without
/// any asks nothing.
async fn load_budgets(live: &mut Live, needs: &Needs, set: &mut WorkingSet) -> Result<(), Trouble> {
    loop {
        let missing = set.missing_budgets(needs);
        let missing = missing.iter().map(|id| vec![id.put()]).collect();
        let found = by_key::<Budget>(live, missing).await?.run(live).await?;
        if found.is_empty() {
            return Ok(());
        }
        found.into_iter().for_each(|row| set.budgets.load(row));
    }
}

/// Stocks, locked in order, and then what was sold of them to the accounts that ask.
async fn load_stocks(live: &mut Live, needs: &Needs, set: &mut WorkingSet) -> Result<(), Trouble> {
    let ids = set.stock_ids(needs);
    let locked = "id = ANY ($1) ORDER BY id FOR UPDATE";
    let values = vec![array(Kind::Bytes, ids.iter().map(Field::put).collect())];
    let stocks = where_::<Stock>(live, !ids.is_empty(), locked, values).await?;
    stocks.run(live).await?.into_iter().for_each(|row| set.stocks.load(row));
    for (coupon, account) in set.coupon_accounts(needs) {
        let values = vec![single(&coupon.put()), single(&account.put())];
        let sold = where_::<Invoice>(live, true, "coupon = $1 AND account = $2", values).await?;
        sold.run(live).await?.into_iter().for_each(|row| set.invoices.load(row));
    }
    Ok(())
}

/// A statement that is ready to be sent; none for nothing to look for.
struct Load<R> {
    statement: Option<Statement>,
    values: Arguments,
    rows: std::marker::PhantomData<R>,
}

impl<R: Row> Load<R> {
    fn new(statement: Option<Statement>, values: Arguments) -> Self {
        Self { statement, values, rows: std::marker::PhantomData }
    }

    async fn run(&self, live: &Live) -> Found<R> {
        match &self.statement {
            Some(statement) => read::query(live, statement, &self.values).await,
            None => Ok(Vec::new()),
        }
    }
}

fn ids(holds: &BTreeSet<HoldId>) -> Vec<Vec<Value<'_>>> {
    holds.iter().map(|id| vec![id.put()]).collect()
}

async fn by_key<R: Row>(live: &mut Live, keys: Vec<Vec<Value<'_>>>) -> Result<Load<R>, Trouble> {
    if keys.is_empty() {
        return Ok(Load::new(None, Vec::new()));
    }
    let columns: Vec<_> = R::COLUMNS.iter().take(R::KEY_COLUMNS).copied().collect();
    let statement = live.prepare(&select_sql::<R>()).await?;
    Ok(Load::new(Some(statement), transpose(&columns, keys)))
}

async fn where_<R: Row>(
    live: &mut Live,
    wanted: bool,
    filter: &str,
    values: Arguments,
) -> Result<Load<R>, Trouble> {
    if !wanted {
        return Ok(Load::new(None, Vec::new()));
    }
    let text = format!("SELECT {} FROM {} WHERE {filter}", sql::columns::<R>(), R::TABLE);
    Ok(Load::new(Some(live.prepare(&text).await?), values))
}

/// Postings lie with their account, which only their hold knows.
async fn postings(live: &mut Live, needs: &Needs) -> Result<Load<Charge>, Trouble> {
    if needs.postings.is_empty() {
        return Ok(Load::new(None, Vec::new()));
    }
    let columns: Vec<_> = Charge::COLUMNS.iter().map(|(name, _)| format!("p.{name}")).collect();
    let text = format!(
        "SELECT {} FROM unnest($1::bytea[], $2::bigint[]) AS u (id, seq)
         JOIN holds h ON h.id = u.id
         JOIN postings p ON p.account = h.account AND p.hold_id = h.id AND p.seq = u.seq",
        columns.join(", ")
    );
    let keys = needs.postings.iter().map(|(hold, seq)| vec![hold.put(), seq.put()]).collect();
    let values = transpose(&[("id", Kind::Bytes), ("seq", Kind::Int)], keys);
    Ok(Load::new(Some(live.prepare(&text).await?), values))
}
