//! The ledger in memory: for tests and simulation. It forgets when the process ends.

mod audit;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollway_core::id::KeyId;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::REVOKED_TOKENS_MAX;

use super::KeyBytes;
use super::engine::allowances::DAY_MS;
use super::rows::{
    Delivery, DeliveryKind, DeliveryState, Hold, HoldState, Invoice, MasterKey, Row, TransferState,
};
use super::sql::{DAY_SECRETS_KEPT, NEWS_KEPT_MS, RESERVED_KEPT_MS, UNPAID_KEPT_MS};
use super::stats::Figures;
use super::store::{Store, StoreError};
use super::work::{Needs, SWEEP_ROWS_MAX, Tab, WorkingSet};

/// The tables. They outlive their ledger if a test keeps them, as a disk would.
pub(crate) type Tables = WorkingSet;

pub(super) fn lock(tables: &Mutex<Tables>) -> MutexGuard<'_, Tables> {
    // Rows are put one by one and whole, so that even a panic leaves good ones.
    tables.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store.
pub(super) struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

impl MemoryStore {
    pub(super) fn new(tables: Arc<Mutex<Tables>>) -> Self {
        Self { tables }
    }
}

impl Store for MemoryStore {
    async fn load(&mut self, needs: &Needs, now_ms: u64) -> Result<WorkingSet, StoreError> {
        let mut tables = lock(&self.tables);
        if needs.prune {
            tables.prune(now_ms);
        }
        Ok(tables.working_set(needs, now_ms))
    }

    async fn commit(&mut self, set: &WorkingSet) -> Result<(), StoreError> {
        lock(&self.tables).take(set);
        Ok(())
    }

    async fn abandon(&mut self) {}

    async fn close(self) {}
}

fn copy<R: Row>(from: &Tab<R>, to: &mut Tab<R>, key: R::Key) -> Option<R> {
    let row = from.get(&key)?.clone();
    to.load(row.clone());
    Some(row)
}

impl Tables {
    /// Adds what every ledger has; gives the number of open holds.
    pub(super) fn start(&mut self, first_key: KeyBytes, now_ms: u64) -> i64 {
        if self.keys.iter().next().is_none() {
            let (id, created_at_ms) = (KeyId::new(1), now_ms);
            self.keys.load(MasterKey { id, secret: first_key, created_at_ms, retired_at_ms: None });
        }
        self.holds.iter().filter(|hold| hold.state == HoldState::Open).map(|_| 1).sum()
    }

    fn working_set(&self, needs: &Needs, now_ms: u64) -> WorkingSet {
        let mut set = WorkingSet::default();
        let mut names: Vec<PaymentHash> = Vec::new();
        for payment in &needs.payments {
            let invoice = copy(&self.invoices, &mut set.invoices, (*payment,));
            names.extend(invoice.map(|invoice| invoice.account));
            names.push(*payment);
        }
        let offered = |offer: &Option<[u8; 32]>| offer.is_some_and(|it| needs.offers.contains(&it));
        for invoice in self.invoices.iter().filter(|invoice| offered(&invoice.offer)) {
            set.invoices.load(invoice.clone());
        }
        for id in &needs.holds {
            names.extend(copy(&self.holds, &mut set.holds, (*id,)).map(|hold| hold.account));
        }
        for id in &needs.tokens {
            if let Some(hold) = self.holds.get(&(*id,)) {
                copy(&self.invoices, &mut set.invoices, (hold.payment_hash,));
            }
        }
        let due = |hold: &&Hold| hold.state == HoldState::Open && hold.expires_at_ms <= now_ms;
        let due_holds: Vec<&Hold> = self.holds.iter().filter(due).collect();
        if needs.sweep {
            let max = usize::try_from(SWEEP_ROWS_MAX).unwrap_or(usize::MAX);
            names.extend(due_holds.iter().take(max).map(|hold| hold.account));
            names.extend(
                self.tranches.iter().filter(|it| it.due_at_ms <= now_ms).map(|it| it.account),
            );
            set.more_due = due_holds.len() > max;
        }
        for name in names {
            copy(&self.accounts, &mut set.accounts, (name,));
        }
        for name in set.account_names() {
            for hold in due_holds.iter().filter(|hold| hold.account == name) {
                set.holds.load((*hold).clone());
            }
            for tranche in self.tranches.range((name, 0)..=(name, u64::MAX)) {
                set.tranches.load(tranche.clone());
            }
        }
        self.copy_rest(needs, &mut set);
        self.copy_deliveries(needs, &mut set, now_ms);
        set
    }

    fn prune(&mut self, now_ms: u64) {
        let unpaid_until_ms = now_ms.saturating_sub(UNPAID_KEPT_MS);
        let reserved_until_ms = now_ms.saturating_sub(RESERVED_KEPT_MS);
        let gone = |it: &Invoice| {
            let until_ms = if it.coupon.is_some() { reserved_until_ms } else { unpaid_until_ms };
            let unpaid = it.settled_at_ms.is_none() && it.revoked_at_ms.is_none();
            unpaid && it.expires_at_ms < until_ms
        };
        for coupon in self.invoices.iter().filter(|it| gone(it)).filter_map(|it| it.coupon) {
            if let Some(mut stock) = self.stocks.get(&(coupon,)).cloned() {
                stock.used = stock.used.saturating_sub(1);
                self.stocks.load(stock);
            }
        }
        self.invoices.retain(|it| !gone(it));
        self.once.retain(|it| it.expires_at_ms > now_ms);
        self.allowances.retain(|it| it.ends_at_ms > now_ms);
        let open = self.holds.iter().filter(|it| it.state == HoldState::Open);
        let parents = self.budgets.iter().filter_map(|it| it.parent);
        let needed: BTreeSet<_> = open.filter_map(|it| it.budget).chain(parents).collect();
        self.budgets.retain(|it| it.needed_until_ms > now_ms || needed.contains(&it.id));
        self.certificates.retain(|it| it.expires_at_ms > now_ms);
        let sent_until_ms = now_ms.saturating_sub(NEWS_KEPT_MS);
        self.deliveries.retain(|it| {
            it.state == DeliveryState::Open
                || it.kind == DeliveryKind::Payout
                || it.due_at_ms >= sent_until_ms
        });
        self.transfers.retain(|it| {
            it.until_ms > now_ms.saturating_sub(DAY_MS)
                || matches!(it.state, TransferState::Settling | TransferState::Settled)
        });
        let first_day = (now_ms / DAY_MS).saturating_sub(DAY_SECRETS_KEPT);
        self.days.retain(|it| it.day >= first_day);
    }

    fn copy_rest(&self, needs: &Needs, set: &mut WorkingSet) {
        for key in &needs.postings {
            copy(&self.postings, &mut set.postings, *key);
        }
        for key in set.once_keys(needs) {
            if let Some(once) = copy(&self.once, &mut set.once, key) {
                copy(&self.holds, &mut set.holds, (once.hold_id,));
            }
        }
        loop {
            let missing = set.missing_budgets(needs);
            let found = |id| self.budgets.get(&(id,)).cloned();
            let found: Vec<_> = missing.into_iter().filter_map(found).collect();
            if found.is_empty() {
                break;
            }
            found.into_iter().for_each(|row| set.budgets.load(row));
        }
        for id in set.stock_ids(needs) {
            copy(&self.stocks, &mut set.stocks, (id,));
        }
        for (coupon, account) in set.coupon_accounts(needs) {
            let sold = |it: &&Invoice| it.coupon == Some(coupon) && it.account == account;
            self.invoices.iter().filter(sold).for_each(|it| set.invoices.load(it.clone()));
        }
        for client in &needs.allowances {
            copy(&self.allowances, &mut set.allowances, (*client,));
        }
        for payment in &needs.deposits {
            copy(&self.deposits, &mut set.deposits, (*payment,));
        }
        for id in &needs.transfers {
            copy(&self.transfers, &mut set.transfers, (*id,));
        }
        for id in &needs.actions {
            copy(&self.actions, &mut set.actions, (*id,));
        }
        for id in &needs.certificates {
            copy(&self.certificates, &mut set.certificates, (*id,));
        }
        for name in &needs.cursors {
            copy(&self.cursors, &mut set.cursors, (name.clone(),));
        }
        if needs.days {
            self.days.iter().for_each(|day| set.days.load(day.clone()));
        }
        if needs.keys {
            self.keys.iter().for_each(|key| set.keys.load(key.clone()));
        }
    }

    fn copy_deliveries(&self, needs: &Needs, set: &mut WorkingSet, now_ms: u64) {
        for id in &needs.deliveries {
            copy(&self.deliveries, &mut set.deliveries, (*id,));
        }
        for ((kind, target), max) in &needs.deliveries_due {
            let due =
                |it: &&Delivery| it.kind == *kind && it.target == *target && it.is_due(now_ms);
            let mut found: Vec<&Delivery> = self.deliveries.iter().filter(due).collect();
            found.sort_by_key(|it| it.due_at_ms);
            let max = usize::try_from(*max).unwrap_or(usize::MAX);
            found.into_iter().take(max).for_each(|it| set.deliveries.load(it.clone()));
        }
    }

    /// Takes over what changed.
    fn take(&mut self, set: &WorkingSet) {
        fn put<R: Row>(to: &mut Tab<R>, from: &Tab<R>) {
            for row in from.inserts().into_iter().chain(from.updates()) {
                to.load(row.clone());
            }
        }
        put(&mut self.accounts, &set.accounts);
        put(&mut self.invoices, &set.invoices);
        put(&mut self.budgets, &set.budgets);
        put(&mut self.holds, &set.holds);
        put(&mut self.postings, &set.postings);
        put(&mut self.entries, &set.entries);
        put(&mut self.tranches, &set.tranches);
        put(&mut self.once, &set.once);
        put(&mut self.allowances, &set.allowances);
        put(&mut self.transfers, &set.transfers);
        put(&mut self.deposits, &set.deposits);
        put(&mut self.stocks, &set.stocks);
        put(&mut self.days, &set.days);
        put(&mut self.keys, &set.keys);
        put(&mut self.actions, &set.actions);
        put(&mut self.cursors, &set.cursors);
        put(&mut self.deliveries, &set.deliveries);
        put(&mut self.certificates, &set.certificates);
        put(&mut self.probe, &set.probe);
        for delta in set.totals.inserts() {
            let mut total = delta.clone();
            if let Some(known) = self.totals.get(&delta.key()) {
                total.times += known.times;
                total.amount_msat += known.amount_msat;
            }
            self.totals.load(total);
        }
    }

    pub(super) fn revoked(&self) -> Vec<PaymentHash> {
        let revoked = self.accounts.iter().filter_map(|it| Some((it.account, it.revoked_at_ms?)));
        let accounts: BTreeMap<PaymentHash, u64> = revoked.collect();
        let mut times = accounts.clone();
        for invoice in self.invoices.iter() {
            let with_all = accounts.get(&invoice.account).copied();
            let with_all = with_all.filter(|_| invoice.settled_at_ms.is_some());
            if let Some(at_ms) = invoice.revoked_at_ms.max(with_all) {
                let known = times.entry(invoice.payment_hash).or_default();
                *known = at_ms.max(*known);
            }
        }
        let tops_up = |token| {
            let invoice = self.invoices.get(&(token,));
            invoice.is_some_and(|invoice| invoice.account != token)
        };
        let tokens =
            times.into_iter().map(|(token, at_ms)| (tops_up(token), Reverse(at_ms), token));
        let mut tokens: Vec<_> = tokens.collect();
        tokens.sort_unstable();
        tokens.truncate(REVOKED_TOKENS_MAX);
        tokens.into_iter().map(|(_, _, token)| token).collect()
    }

    pub(super) fn figures(&self, now_ms: u64) -> Figures {
        let waits = |it: &&Invoice| it.settled_at_ms.is_none() && it.expires_at_ms > now_ms;
        let (mut holds, mut held) = (0, 0);
        for hold in self.holds.iter().filter(|hold| hold.state == HoldState::Open) {
            holds += 1;
            held += signed(hold.amount_msat.get());
            held -= signed(hold.taken_back_msat.get()) + signed(hold.posted_msat.get());
        }
        let open = [self.invoices.iter().filter(waits).map(|_| 1).sum(), holds, held];
        let paid = |it: &&Invoice| it.settled_at_ms.is_some();
        let mut recent: Vec<Invoice> = self.invoices.iter().filter(paid).cloned().collect();
        recent.sort_by_key(|it| std::cmp::Reverse((it.settled_at_ms, it.payment_hash)));
        recent.truncate(usize::try_from(Figures::recent().limit).unwrap_or(usize::MAX));
        Figures { totals: self.totals.iter().cloned().collect(), recent, open }
    }
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
