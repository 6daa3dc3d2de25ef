//! What the writer keeps at hand of what is committed.
//!
//! Nobody else writes the file, so what was committed last is what the file says. Rows come in
//! when they are read or committed, and everything goes when a transaction fails.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::ledger::rows::{Account, Hold, HoldState, Invoice};
use crate::ledger::work::WorkingSet;

/// Rows of a kind that are kept; at most 50 MB. When one more comes, all of them go: what is in
/// use is soon back, and that costs less than an order of use.
const ROWS_MAX: usize = 50_000;

/// The rows, and two bounds that spare looking for others.
#[derive(Debug, Default)]
pub(super) struct Known {
    accounts: HashMap<PaymentHash, Arc<Account>>,
    /// Settled ones only: the others may be pruned.
    invoices: HashMap<PaymentHash, Arc<Invoice>>,
    /// Open ones only: a posting comes soon after its hold, and the others are rarely asked for.
    holds: HashMap<HoldId, Arc<Hold>>,
    /// No hold has a higher id. Holds are never deleted, and ids grow with time.
    pub(super) highest_hold: Option<HoldId>,
    /// No hold and no tranche is due before.
    pub(super) first_due_ms: Option<u64>,
}

impl Known {
    pub(super) fn account(&self, name: &PaymentHash) -> Option<&Arc<Account>> {
        self.accounts.get(name)
    }

    pub(super) fn invoice(&self, payment: &PaymentHash) -> Option<&Arc<Invoice>> {
        self.invoices.get(payment)
    }

    pub(super) fn hold(&self, id: &HoldId) -> Option<&Arc<Hold>> {
        self.holds.get(id)
    }

    /// Whether the file cannot have this hold.
    pub(super) fn is_new(&self, id: &HoldId) -> bool {
        self.highest_hold.is_some_and(|highest| *id > highest)
    }

    /// Whether nothing is due at this time.
    pub(super) fn is_early(&self, now_ms: u64) -> bool {
        self.first_due_ms.is_some_and(|first_due_ms| now_ms < first_due_ms)
    }

    /// A row as it was read.
    pub(super) fn keep_account(&mut self, account: &Arc<Account>) {
        keep(&mut self.accounts, account.account, account);
    }

    /// A row as it was read.
    pub(super) fn keep_invoice(&mut self, invoice: &Arc<Invoice>) {
        if invoice.settled_at_ms.is_some() {
            keep(&mut self.invoices, invoice.payment_hash, invoice);
        }
    }

    /// What was committed.
    pub(super) fn committed(&mut self, set: &WorkingSet) {
        set.accounts.changes().for_each(|account| self.keep_account(account));
        set.invoices.changes().for_each(|invoice| self.keep_invoice(invoice));
        for hold in set.holds.changes() {
            self.highest_hold = self.highest_hold.map(|highest| highest.max(hold.id));
            if hold.state == HoldState::Open {
                keep(&mut self.holds, hold.id, hold);
                self.due(hold.expires_at_ms);
            } else {
                self.holds.remove(&hold.id);
            }
        }
        let open = set.tranches.changes().filter(|tranche| tranche.remaining_msat > Msat::ZERO);
        open.for_each(|tranche| self.due(tranche.due_at_ms));
    }

    fn due(&mut self, due_ms: u64) {
        self.first_due_ms = self.first_due_ms.map(|first_due_ms| first_due_ms.min(due_ms));
    }

    /// Nothing is certain any more.
    pub(super) fn forget(&mut self) {
        // The maps keep their room.
        self.accounts.clear();
        self.invoices.clear();
        self.holds.clear();
        (self.highest_hold, self.first_due_ms) = (None, None);
    }
}

fn keep<K: Eq + Hash, R>(rows: &mut HashMap<K, Arc<R>>, key: K, row: &Arc<R>) {
    if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
        rows.clear();
    }
    rows.insert(key, Arc::clone(row));
}
