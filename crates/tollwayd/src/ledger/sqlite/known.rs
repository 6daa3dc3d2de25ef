//! What the writer keeps at hand of what is committed.
//!
//! Nobody else writes the file, so what was committed last is what the file says. Rows come in
//! when they are read or committed, and everything goes when a transaction fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::ledger::rows::{Account, Hold, HoldState, Invoice};
use crate::ledger::work::WorkingSet;

/// Rows of a kind that are kept; at most 50 MB. When one more account or invoice comes, all of
/// them go: what is in use is soon back, and that costs less than an order of use. Of the holds
/// the oldest goes.
const ROWS_MAX: usize = 50_000;

/// The rows, and what spares looking for others.
#[derive(Debug, Default)]
pub(super) struct Known {
    accounts: HashMap<PaymentHash, Arc<Account>>,
    /// Settled ones only: the others may be pruned.
    invoices: HashMap<PaymentHash, Arc<Invoice>>,
    /// Every hold whose id is above the floor, and perhaps others; ended ones without their row,
    /// which is rarely asked for.
    holds: BTreeMap<HoldId, Option<Arc<Hold>>>,
    holds_floor: Option<HoldId>,
    /// No hold and no tranche is due before.
    pub(super) first_due_ms: Option<u64>,
}

/// What is known of a hold.
pub(super) enum KnownHold<'a> {
    /// The file has no such hold.
    Absent,
    Here(&'a Arc<Hold>),
    /// Only the file tells.
    Unsure,
}

impl Known {
    pub(super) fn account(&self, name: &PaymentHash) -> Option<&Arc<Account>> {
        self.accounts.get(name)
    }

    pub(super) fn invoice(&self, payment: &PaymentHash) -> Option<&Arc<Invoice>> {
        self.invoices.get(payment)
    }

    pub(super) fn hold(&self, id: &HoldId) -> KnownHold<'_> {
        match self.holds.get(id) {
            Some(Some(hold)) => KnownHold::Here(hold),
            None if self.holds_floor.is_some_and(|floor| *id > floor) => KnownHold::Absent,
            Some(None) | None => KnownHold::Unsure,
        }
    }

    /// Whether [`Known::begin_holds`] has to be called.
    pub(super) fn wants_floor(&self) -> bool {
        self.holds_floor.is_none()
    }

    /// Begins to follow the holds above the highest id in the file.
    pub(super) fn begin_holds(&mut self, highest: HoldId) {
        self.holds_floor = Some(highest);
    }

    fn keep_hold(&mut self, hold: &Arc<Hold>) {
        let open = hold.state == HoldState::Open;
        self.holds.insert(hold.id, open.then(|| Arc::clone(hold)));
        if self.holds.len() > ROWS_MAX
            && let Some((oldest, _)) = self.holds.pop_first()
        {
            self.holds_floor = self.holds_floor.map(|floor| floor.max(oldest));
        }
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
            self.keep_hold(hold);
            if hold.state == HoldState::Open {
                self.due(hold.expires_at_ms);
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
        (self.holds_floor, self.first_due_ms) = (None, None);
    }
}

fn keep<R>(rows: &mut HashMap<PaymentHash, Arc<R>>, key: PaymentHash, row: &Arc<R>) {
    if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
        rows.clear();
    }
    rows.insert(key, Arc::clone(row));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold(number: u128, state: HoldState) -> Arc<Hold> {
        let account = PaymentHash::from_bytes([1; 32]);
        Arc::new(Hold {
            id: id(number),
            account,
            payment_hash: account,
            min_msat: Msat::ZERO,
            asked_msat: Msat::ZERO,
            granted_msat: Msat::ZERO,
            amount_msat: Msat::ZERO,
            taken_back_msat: Msat::ZERO,
            posted_msat: Msat::ZERO,
            ttl_ms: 1,
            route: String::new(),
            state,
            opened_at_ms: 1,
            expires_at_ms: 2,
            extension_seq: None,
            extension_msat: None,
            extension_min_msat: None,
            extension_ttl_ms: None,
            extension_granted_msat: None,
            once_key: None,
            budget: None,
            budget_at_ms: None,
            stock: None,
        })
    }

    fn id(number: u128) -> HoldId {
        HoldId::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn no_hold_is_called_absent_that_may_be_there() {
        let mut known = Known::default();
        assert!(matches!(known.hold(&id(9)), KnownHold::Unsure), "nothing is known yet");
        known.begin_holds(id(5));
        known.keep_hold(&hold(9, HoldState::Open));
        known.keep_hold(&hold(8, HoldState::Released));
        assert!(matches!(known.hold(&id(5)), KnownHold::Unsure), "from before");
        assert!(matches!(known.hold(&id(7)), KnownHold::Absent));
        assert!(matches!(known.hold(&id(8)), KnownHold::Unsure), "ended");
        assert!(matches!(known.hold(&id(9)), KnownHold::Here(_)));
        // One more than there is room for, in an order of their own.
        let more = 1_000 + ROWS_MAX as u128;
        (1_000..=more).rev().for_each(|number| known.keep_hold(&hold(number, HoldState::Open)));
        assert!((6..=more).all(|number| !matches!(known.hold(&id(number)), KnownHold::Absent)));
        assert!(matches!(known.hold(&id(more + 1)), KnownHold::Absent));
        known.forget();
        assert!(matches!(known.hold(&id(more + 1)), KnownHold::Unsure));
    }
}
