//! Payments whose own request is about to spend them.
//!
//! Between the facilitator's word and that hold the payment is credit that a second showing could
//! take: the upstream would have worked twice for one answer. Another replica does not see this
//! list; there that can happen, and no more than one answer is delivered all the same.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::TransferId;

/// The payments.
#[derive(Debug, Default)]
pub(super) struct Spending(Mutex<BTreeSet<TransferId>>);

impl Spending {
    /// Holds others off until it is dropped; `None` while somebody else does.
    pub(super) fn begin(&self, id: TransferId) -> Option<Turn<'_>> {
        // Unlocked before a turn can be dropped, which locks too.
        let is_first = self.all().insert(id);
        is_first.then(|| Turn { spending: self, id })
    }

    fn all(&self) -> MutexGuard<'_, BTreeSet<TransferId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that settles a payment, until it has spent it or is gone.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    spending: &'a Spending,
    id: TransferId,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.spending.all().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_has_one_turn_at_a_time() {
        let (spending, one, two) =
            (Spending::default(), TransferId::new([1; 32]), TransferId::new([2; 32]));
        let turn = spending.begin(one).unwrap();
        assert!(spending.begin(one).is_none());
        assert!(spending.begin(two).is_some());
        drop(turn);
        assert!(spending.begin(one).is_some());
    }
}
