//! Committed rows that the writer keeps at hand.
//!
//! Nobody else writes the file, so what was committed last is what the file says. Rows come in
//! when they are read or committed, and all of them go when a transaction fails.

use std::collections::HashMap;

use tollway_core::payment::PaymentHash;

use crate::ledger::rows::{Account, Invoice};
use crate::ledger::work::WorkingSet;

/// Rows of a kind that are kept; at most 30 MB. When one more comes, all of them go: what is in
/// use is soon back, and that costs less than an order of use.
const ROWS_MAX: usize = 50_000;

/// The rows.
#[derive(Debug, Default)]
pub(super) struct Known {
    accounts: HashMap<PaymentHash, Account>,
    /// Settled ones only: the others may be pruned.
    invoices: HashMap<PaymentHash, Invoice>,
}

impl Known {
    pub(super) fn account(&self, name: &PaymentHash) -> Option<&Account> {
        self.accounts.get(name)
    }

    pub(super) fn invoice(&self, payment: &PaymentHash) -> Option<&Invoice> {
        self.invoices.get(payment)
    }

    /// A row as it was read.
    pub(super) fn keep_account(&mut self, account: Account) {
        keep(&mut self.accounts, account.account, account);
    }

    /// A row as it was read.
    pub(super) fn keep_invoice(&mut self, invoice: Invoice) {
        if invoice.settled_at_ms.is_some() {
            keep(&mut self.invoices, invoice.payment_hash, invoice);
        }
    }

    /// What was committed.
    pub(super) fn committed(&mut self, set: &WorkingSet) {
        set.accounts.changes().for_each(|account| self.keep_account(account.clone()));
        set.invoices.changes().for_each(|invoice| self.keep_invoice(invoice.clone()));
    }

    /// Nothing is certain any more.
    pub(super) fn forget(&mut self) {
        self.accounts.clear();
        self.invoices.clear();
    }
}

fn keep<R>(rows: &mut HashMap<PaymentHash, R>, key: PaymentHash, row: R) {
    if rows.len() >= ROWS_MAX && !rows.contains_key(&key) {
        rows.clear();
    }
    rows.insert(key, row);
}
