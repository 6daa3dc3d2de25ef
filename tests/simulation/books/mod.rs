//! The auditor's own books: what every call must be answered, from plain maps and the clock.
//!
//! They share no code with the ledger, and keep other things: credit lies in lots, a balance is
//! never stored, and a hold is over when its time is over, without anybody sweeping.

mod account;
mod free;
mod holds;
mod operator;
mod postings;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::shop::Mode;
pub(crate) use account::Account;
pub(crate) use free::Window;
pub(crate) use holds::{Extension, Hold, HoldAsk, KeyRecord, TakeBack};
pub(crate) use operator::Act;
pub(crate) use postings::{Posting, PostingAsk};

/// A status, and the body or the code of a problem.
pub(crate) type Answer = (u16, Value);

/// An invoice that was made.
#[derive(Clone, Debug)]
pub(crate) struct Invoice {
    pub(crate) account: String,
    pub(crate) mode: Mode,
    pub(crate) amount_msat: u64,
    pub(crate) credit_msat: u64,
    pub(crate) seed_msat: u64,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) credited: bool,
    /// Its token is.
    pub(crate) revoked: bool,
}

impl Invoice {
    pub(crate) const fn is_session(&self) -> bool {
        matches!(self.mode, Mode::Session(_))
    }
}

/// Everything that has happened to money.
#[derive(Clone, Debug, Default)]
pub(crate) struct Books {
    /// By payment hash.
    pub(crate) invoices: BTreeMap<String, Invoice>,
    /// The payment hashes that the node was paid for.
    pub(crate) paid: BTreeSet<String>,
    /// By the payment hash that opened it; from its first credit on.
    pub(crate) accounts: BTreeMap<String, Account>,
    /// By hold id.
    pub(crate) holds: BTreeMap<String, Hold>,
    /// By hold id and number.
    pub(crate) postings: BTreeMap<(String, u64), Posting>,
    /// By account and hashed key.
    pub(crate) keys: BTreeMap<(String, String), KeyRecord>,
    /// By route and network.
    pub(crate) windows: BTreeMap<(&'static str, String), Window>,
    /// By id.
    pub(crate) acts: BTreeMap<String, Act>,
}

impl Books {
    /// The account that this payment hash pays into.
    pub(crate) fn account_of(&self, payment_hash: &str) -> Option<String> {
        self.invoices.get(payment_hash).map(|invoice| invoice.account.clone())
    }

    /// Whether a payment buys time, which nothing but its own payment pays for.
    pub(crate) fn is_session(&self, payment_hash: &str) -> bool {
        self.invoices.get(payment_hash).is_some_and(Invoice::is_session)
    }

    pub(crate) fn is_revoked(&self, account: &str) -> bool {
        self.accounts.get(account).is_some_and(|account| account.revoked)
    }

    /// Whether a token is revoked, by itself or with its account.
    pub(crate) fn is_token_revoked(&self, payment_hash: &str) -> bool {
        let invoice = self.invoices.get(payment_hash);
        invoice.is_some_and(|it| it.revoked || self.is_revoked(&it.account))
    }

    /// All revoked tokens, and those of revoked accounts: one that only tops up is none of theirs
    /// before it is paid.
    pub(crate) fn revoked_tokens(&self) -> BTreeSet<String> {
        let of_account = |hash: &String, it: &Invoice| {
            (*hash == it.account || it.credited) && self.is_revoked(&it.account)
        };
        let named = self.invoices.iter().filter(|(hash, it)| it.revoked || of_account(hash, it));
        named.map(|(hash, _)| hash.clone()).collect()
    }

    /// Every account that was ever sold.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.invoices.values().map(|invoice| invoice.account.clone()).collect()
    }

    /// Credits a payment, once.
    pub(crate) fn credit(&mut self, payment_hash: &str, now_ms: u64) -> Result<(), String> {
        if !self.paid.contains(payment_hash) {
            return Err(format!("credit for {payment_hash}, which nobody paid"));
        }
        let invoice = self.invoices.get_mut(payment_hash).ok_or("a payment without an invoice")?;
        if invoice.credited {
            return Ok(());
        }
        invoice.credited = true;
        let invoice = invoice.clone();
        self.pass_time(&invoice.account, now_ms);
        let account = self.accounts.entry(invoice.account.clone()).or_default();
        if invoice.is_session() {
            account.earned_msat += invoice.amount_msat;
            account.charged_msat += invoice.amount_msat;
            return Ok(());
        }
        let seed_msat = if account.opened { 0 } else { invoice.seed_msat };
        let ends_ms = invoice.ttl_ms.map(|ttl_ms| now_ms + ttl_ms);
        account.put(invoice.credit_msat + seed_msat, ends_ms);
        self.repay(&invoice.account, now_ms);
        Ok(())
    }

    /// What live holds set aside.
    pub(crate) fn held_msat(&self, account: &str, now_ms: u64) -> u64 {
        self.holds
            .values()
            .filter(|hold| hold.account == account && hold.is_live(now_ms))
            .map(Hold::rest_msat)
            .sum()
    }

    pub(crate) fn balance_msat(&self, account: &str) -> u64 {
        self.accounts.get(account).map_or(0, Account::balance_msat)
    }

    /// What new holds can take.
    pub(crate) fn available_msat(&self, account: &str, now_ms: u64) -> u64 {
        let (balance, held) = (self.balance_msat(account), self.held_msat(account, now_ms));
        balance.checked_sub(held).unwrap_or_else(|| panic!("{held} held of {balance}"))
    }

    /// The accounts with credit that ends one day.
    pub(crate) fn expiring(&self) -> Vec<String> {
        let expiring = self.accounts.iter().filter(|(_, account)| account.expiring_msat() > 0);
        expiring.map(|(name, _)| name.clone()).collect()
    }

    /// How many lots of an account end one day and still have something.
    pub(crate) fn ending_lots(&self, account: &str) -> usize {
        let lots = self.accounts.get(account).into_iter().flat_map(|it| &it.lots);
        lots.filter(|lot| lot.left_msat > 0 && lot.ends_ms.is_some()).count()
    }

    /// Whether something of an account is over, and nothing that names it has come since.
    pub(crate) fn is_overdue(&self, account: &str, now_ms: u64) -> bool {
        let over = |ends_ms: u64| ends_ms <= now_ms;
        let of_account = |hold: &&Hold| hold.account == account;
        let holds = self.holds.values().filter(of_account);
        let lots = self.accounts.get(account).into_iter().flat_map(|it| &it.lots);
        holds.filter(|hold| !hold.released).any(|hold| over(hold.ends_ms))
            || lots.filter(|lot| lot.left_msat > 0).any(|lot| lot.ends_ms.is_some_and(over))
    }

    /// Ends the credit of an account whose time is over.
    pub(crate) fn pass_time(&mut self, account: &str, now_ms: u64) {
        let held_msat = self.held_msat(account, now_ms);
        if let Some(account) = self.accounts.get_mut(account) {
            account.end_lots(now_ms, held_msat);
        }
    }

    /// Debt is paid first from what comes in.
    fn repay(&mut self, account: &str, now_ms: u64) {
        let available_msat = self.available_msat(account, now_ms);
        if let Some(account) = self.accounts.get_mut(account) {
            let amount_msat = account.debt_msat.min(available_msat);
            account.debt_msat -= amount_msat;
            account.charged_msat += amount_msat;
            account.take(amount_msat);
        }
    }
}
