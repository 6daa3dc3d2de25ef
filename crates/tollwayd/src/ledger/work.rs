//! The working set: the rows that a batch of commands names, in memory.
//!
//! A store loads it, the engine changes it, the store writes what changed. Nothing here does
//! any I/O.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollway_core::digest::Digest;
use tollway_core::id::HoldId;
use tollway_core::payment::PaymentHash;

use super::rows::{
    Account, Action, Allowance, Budget, Charge, Cursor, DaySecret, Delivery, DeliveryKind, Deposit,
    Entry, Hold, Invoice, MasterKey, Once, Probe, Row, Stock, Total, Tranche, Transfer,
    UsedCertificate,
};

/// Expired holds, and tranches, that one batch takes from the whole ledger.
pub(super) const SWEEP_ROWS_MAX: u32 = 1_024;

/// The rows that commands name. A store finds with them the rows that those lead to.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// Invoices, and the accounts that they pay into.
    pub(super) payments: BTreeSet<PaymentHash>,
    /// Holds, and their accounts.
    pub(super) holds: BTreeSet<HoldId>,
    /// Some of these holds: the invoices whose tokens they were placed with.
    pub(super) tokens: BTreeSet<HoldId>,
    pub(super) postings: BTreeSet<(HoldId, u32)>,
    /// Idempotency records of the account that a payment pays into, and their holds.
    pub(super) once: BTreeSet<(PaymentHash, [u8; 32])>,
    /// Holds whose idempotency record is needed.
    pub(super) responses: BTreeSet<HoldId>,
    /// Unpaid invoices that were made for these.
    pub(super) offers: BTreeSet<[u8; 32]>,
    /// Budgets of tokens.
    pub(super) budgets: BTreeSet<Digest>,
    pub(super) allowances: BTreeSet<[u8; 32]>,
    pub(super) transfers: BTreeSet<[u8; 32]>,
    /// Payments into sessions.
    pub(super) deposits: BTreeSet<PaymentHash>,
    /// Coupons and supplies.
    pub(super) stocks: BTreeSet<Digest>,
    /// Invoices that were sold with a coupon to the account that a payment pays into.
    pub(super) coupons: BTreeSet<(Digest, PaymentHash)>,
    /// All secrets of days.
    pub(super) days: bool,
    pub(super) actions: BTreeSet<[u8; 16]>,
    pub(super) cursors: BTreeSet<String>,
    pub(super) certificates: BTreeSet<Digest>,
    pub(super) deliveries: BTreeSet<[u8; 16]>,
    /// Open deliveries to a receiver that are due, and how many at most.
    pub(super) deliveries_due: BTreeMap<(DeliveryKind, String), u32>,
    /// All master keys.
    pub(super) keys: bool,
    /// Expired holds and tranches of all accounts, at most [`SWEEP_ROWS_MAX`] of each.
    pub(super) sweep: bool,
    /// What is out of date is to be deleted first.
    pub(super) prune: bool,
    /// Readiness asks whether the store can be written.
    pub(super) probe: bool,
}

/// Rows of one table by key. Rows are shared with the store, which may keep them at hand.
#[derive(Clone, Debug)]
pub(super) struct Tab<R: Row> {
    rows: BTreeMap<R::Key, Slot<R>>,
}

#[derive(Clone, Debug)]
struct Slot<R> {
    row: Arc<R>,
    /// As the store has it.
    stored: Option<Arc<R>>,
    changed: bool,
}

impl<R: Row> Default for Tab<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new() }
    }
}

impl<R: Row> Tab<R> {
    /// A row as the store has it.
    pub(super) fn load(&mut self, row: impl Into<Arc<R>>) {
        let row = row.into();
        match self.rows.entry(row.key()) {
            MapEntry::Vacant(free) => {
                free.insert(Slot { stored: Some(Arc::clone(&row)), row, changed: false });
            }
            MapEntry::Occupied(mut known) => {
                let slot = known.get_mut();
                (slot.stored, slot.row) = (Some(Arc::clone(&row)), row);
            }
        }
    }

    pub(super) fn get(&self, key: &R::Key) -> Option<&R> {
        self.rows.get(key).map(|slot| &*slot.row)
    }

    /// A row as it shall be.
    pub(super) fn put(&mut self, row: R) {
        match self.rows.entry(row.key()) {
            MapEntry::Vacant(free) => {
                free.insert(Slot { row: Arc::new(row), stored: None, changed: true });
            }
            MapEntry::Occupied(mut known) => {
                let slot = known.get_mut();
                slot.changed = true;
                match Arc::get_mut(&mut slot.row) {
                    Some(own) => *own = row,
                    None => slot.row = Arc::new(row),
                }
            }
        }
    }

    /// Drops the other rows, as a deletion in a table would.
    #[cfg(test)]
    pub(super) fn retain(&mut self, keep: impl Fn(&R) -> bool) {
        self.rows.retain(|_, slot| keep(&slot.row));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &R> {
        self.rows.values().map(|slot| &*slot.row)
    }

    /// The rows of a range of keys.
    pub(super) fn range(
        &self,
        keys: impl std::ops::RangeBounds<R::Key>,
    ) -> impl Iterator<Item = &R> {
        self.rows.range(keys).map(|(_, slot)| &*slot.row)
    }

    /// The rows that are not as the store has them.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Arc<R>> {
        self.rows.values().filter(|slot| slot.changed).map(|slot| &slot.row)
    }

    /// The rows that the store does not have.
    pub(super) fn inserts(&self) -> Vec<&R> {
        let new = self.rows.values().filter(|slot| slot.changed && slot.stored.is_none());
        new.map(|slot| &*slot.row).collect()
    }

    /// The rows that the store has in another form.
    pub(super) fn updates(&self) -> Vec<&R> {
        self.rewrites().map(|(_, row)| row).collect()
    }

    /// The same: as the store has them, and as they shall be.
    pub(super) fn rewrites(&self) -> impl Iterator<Item = (&R, &R)> {
        let changed = self.rows.values().filter(|slot| slot.changed);
        changed.filter_map(|slot| Some((&**slot.stored.as_ref()?, &*slot.row)))
    }
}

/// The rows of a batch.
///
/// What a store promises: every row that [`Needs`] names is here if it exists; every account
/// that an invoice, a hold or a sweep leads to is here if it exists, with its tranches and with
/// its holds that have expired by the batch's time; every budget that a hold leads to is here if
/// it exists, and so is every invoice that a hold of [`Needs::tokens`] leads to.
#[derive(Debug, Default)]
pub(super) struct WorkingSet {
    pub(super) accounts: Tab<Account>,
    pub(super) invoices: Tab<Invoice>,
    pub(super) holds: Tab<Hold>,
    pub(super) postings: Tab<Charge>,
    pub(super) entries: Tab<Entry>,
    pub(super) tranches: Tab<Tranche>,
    pub(super) once: Tab<Once>,
    pub(super) budgets: Tab<Budget>,
    pub(super) allowances: Tab<Allowance>,
    pub(super) transfers: Tab<Transfer>,
    pub(super) deposits: Tab<Deposit>,
    pub(super) stocks: Tab<Stock>,
    pub(super) days: Tab<DaySecret>,
    pub(super) keys: Tab<MasterKey>,
    pub(super) actions: Tab<Action>,
    pub(super) cursors: Tab<Cursor>,
    pub(super) certificates: Tab<UsedCertificate>,
    pub(super) deliveries: Tab<Delivery>,
    pub(super) probe: Tab<Probe>,
    /// What to add to the totals; none are loaded.
    pub(super) totals: Tab<Total>,
    /// Where this writer adds.
    pub(super) slot: u64,
    /// The sweep took as many rows as it may; more may be due.
    pub(super) more_due: bool,
}

impl WorkingSet {
    /// Loaded accounts, by name.
    pub(super) fn account_names(&self) -> BTreeSet<PaymentHash> {
        self.accounts.iter().map(|account| account.account).collect()
    }

    /// The budgets that a store has to load once it knows the holds, and then those that these
    /// lead to, until there are none.
    pub(super) fn missing_budgets(&self, needs: &Needs) -> BTreeSet<Digest> {
        let of_holds = self.holds.iter().filter_map(|hold| hold.budget);
        let parents = self.budgets.iter().filter_map(|budget| budget.parent);
        let named = needs.budgets.iter().copied();
        let unknown = |id: &Digest| self.budgets.get(&(*id,)).is_none();
        of_holds.chain(parents).chain(named).filter(unknown).collect()
    }

    /// The stocks that a store has to load, and to lock, once it knows the holds.
    pub(super) fn stock_ids(&self, needs: &Needs) -> BTreeSet<Digest> {
        let of_holds = self.holds.iter().filter_map(|hold| hold.stock);
        of_holds.chain(needs.stocks.iter().copied()).collect()
    }

    /// The accounts of which a store has to load the invoices with a coupon, once it has locked
    /// the stocks.
    pub(super) fn coupon_accounts(&self, needs: &Needs) -> Vec<(Digest, PaymentHash)> {
        let account = |(coupon, payment): &(Digest, PaymentHash)| {
            Some((*coupon, self.invoices.get(&(*payment,))?.account))
        };
        needs.coupons.iter().filter_map(account).collect()
    }

    /// The idempotency records that a store has to load once it knows the invoices and holds.
    pub(super) fn once_keys(&self, needs: &Needs) -> BTreeSet<(PaymentHash, [u8; 32])> {
        let named = needs.once.iter().filter_map(|(payment, key)| {
            self.invoices.get(&(*payment,)).map(|invoice| (invoice.account, *key))
        });
        let of_holds = needs.responses.iter().filter_map(|id| {
            let hold = self.holds.get(&(*id,))?;
            Some((hold.account, hold.once_key?))
        });
        named.chain(of_holds).collect()
    }
}
