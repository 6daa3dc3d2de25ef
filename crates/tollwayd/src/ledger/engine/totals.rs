//! Totals by route: what statistics read instead of the journal.

use tollway_core::money::Msat;

use super::Engine;
use crate::ledger::rows::{Account, Counted, Total};

impl Engine {
    /// Adds one to a total, and what was moved.
    pub(super) fn count(&mut self, kind: &str, route: &str, amount_msat: i64) {
        self.count_times(kind, route, 1, amount_msat);
    }

    /// Counts requests that were charged.
    pub(super) fn count_requests(&mut self, route: &str, requests: u32) {
        self.count_times(Counted::Request.word(), route, requests.into(), 0);
    }

    fn count_times(&mut self, kind: &str, route: &str, more: u64, amount_msat: i64) {
        let (slot, route, kind) = (self.set.slot, route.to_owned(), kind.to_owned());
        let known = self.set.totals.get(&(slot, route.clone(), kind.clone()));
        let (times, sum) = known.map_or((0, 0), |known| (known.times, known.amount_msat));
        let (times, amount_msat) = (times.saturating_add(more), sum.saturating_add(amount_msat));
        self.set.totals.put(Total { slot, route, kind, times, amount_msat });
    }

    /// Counts an account that is about to be charged, if it never was.
    pub(super) fn count_payer(&mut self, account: &Account) {
        if account.charged_msat == Msat::ZERO {
            self.count(Counted::Payer.word(), "", 0);
        }
    }
}
