//! The auditor's own books: plain maps, filled from what passed on the wires.

use std::collections::{BTreeMap, BTreeSet};

/// An invoice that was made.
#[derive(Clone, Debug)]
pub(crate) struct Invoice {
    pub(crate) account: String,
    pub(crate) amount_msat: u64,
    pub(crate) credited: bool,
}

/// A hold that was granted.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) account: String,
    pub(crate) amount_msat: u64,
    pub(crate) ends_ms: u64,
    pub(crate) released: bool,
}

/// Everything that has happened to money.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// By payment hash.
    pub(crate) invoices: BTreeMap<String, Invoice>,
    /// The payment hashes that the node was paid for.
    pub(crate) paid: BTreeSet<String>,
    /// By hold id.
    pub(crate) holds: BTreeMap<String, Hold>,
    /// By hold id: one charge ends a hold.
    pub(crate) charges: BTreeMap<String, u64>,
}

impl Books {
    /// The account that this payment hash pays into.
    pub(crate) fn account_of(&self, payment_hash: &str) -> Option<String> {
        self.invoices.get(payment_hash).map(|invoice| invoice.account.clone())
    }

    /// Credits a payment, once.
    pub(crate) fn credit(&mut self, payment_hash: &str) -> Result<(), String> {
        if !self.paid.contains(payment_hash) {
            return Err(format!("credit for {payment_hash}, which nobody paid"));
        }
        let invoice = self.invoices.get_mut(payment_hash);
        invoice.ok_or("a payment without an invoice")?.credited = true;
        Ok(())
    }

    pub(crate) fn credited_msat(&self, account: &str) -> u64 {
        self.invoices
            .values()
            .filter(|invoice| invoice.account == account && invoice.credited)
            .map(|invoice| invoice.amount_msat)
            .sum()
    }

    pub(crate) fn charged_msat(&self, account: &str) -> u64 {
        self.charges
            .iter()
            .filter(|(hold, _)| self.holds[*hold].account == account)
            .map(|(_, amount)| amount)
            .sum()
    }

    /// What live holds set aside.
    pub(crate) fn held_msat(&self, account: &str, now_ms: u64) -> u64 {
        self.holds
            .values()
            .filter(|hold| hold.account == account && hold.is_live(now_ms))
            .map(|hold| hold.amount_msat)
            .sum()
    }

    pub(crate) fn balance_msat(&self, account: &str) -> u64 {
        self.credited_msat(account) - self.charged_msat(account)
    }

    /// What new holds can take.
    pub(crate) fn available_msat(&self, account: &str, now_ms: u64) -> Result<u64, String> {
        let (balance, held) = (self.balance_msat(account), self.held_msat(account, now_ms));
        balance.checked_sub(held).ok_or(format!("{held} held of a balance of {balance}"))
    }

    pub(crate) fn accounts(&self) -> BTreeSet<String> {
        self.invoices.values().map(|invoice| invoice.account.clone()).collect()
    }
}

impl Hold {
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        !self.released && now_ms < self.ends_ms
    }
}
