//! What the ledger asks of a store.

use std::future::Future;

use super::questions::StoreFault;
use super::work::{Needs, WorkingSet};

/// Keeps rows. It loads the working set of a batch and writes what the engine changed, both in
/// one transaction.
///
/// Nothing of a batch may be visible to anybody before [`Store::commit`], and nothing may stay
/// in memory of a batch that was not committed.
pub(super) trait Store: 'static {
    /// Begins a transaction and loads the rows that [`WorkingSet`] promises. What it has
    /// loaded, nobody else changes before the transaction ends.
    fn load(
        &mut self,
        needs: &Needs,
        now_ms: u64,
    ) -> impl Future<Output = Result<WorkingSet, StoreError>>;

    /// Writes the changed rows and commits. After an error nothing of them is there, as far as
    /// the store can tell.
    fn commit(&mut self, set: &WorkingSet) -> impl Future<Output = Result<(), StoreError>>;

    /// Ends the transaction without a change.
    fn abandon(&mut self) -> impl Future<Output = ()>;

    /// Puts everything in order before the process ends.
    fn close(self) -> impl Future<Output = ()>;
}

/// Why a store did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreError {
    /// Another writer came in between; the whole transaction may be tried again.
    Retry,
    /// It failed.
    Fault(StoreFault),
}

impl From<StoreFault> for StoreError {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(fault)
    }
}
