//! What is read of the ledger without changing it.

use serde::Serialize;
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

use super::rows::{Account, Action, Entry};

/// Entries that one look at an account shows, the newest first.
pub(super) const ENTRIES_SHOWN_MAX: u32 = 1_000;

/// One account, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AccountView {
    /// Its name: the payment hash that opened it.
    pub(crate) account: PaymentHash,
    /// The sum of its entries.
    pub(crate) balance_msat: Msat,
    /// The part of the balance that live holds set aside.
    pub(crate) held_msat: Msat,
    /// The rest, which new holds can take.
    pub(crate) available_msat: Msat,
    /// The part of the balance that expires one day.
    pub(crate) expiring_msat: Msat,
    /// What over-runs charged beyond the balance, to be repaid by the next credit.
    pub(crate) debt_msat: Msat,
    /// All that was charged.
    pub(crate) charged_msat: Msat,
    /// All that an operator gave back.
    pub(crate) refunded_msat: Msat,
    /// Since when an operator stopped all spending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at_ms: Option<u64>,
    /// What kind of customer it is, as an operator said.
    #[serde(skip_serializing_if = "Tier::is_none")]
    pub(crate) tier: Tier,
    /// How many entries there are in all.
    pub(crate) entries_total: u64,
    /// The newest entries, newest first, at most 1,000.
    pub(crate) entries: Vec<EntryView>,
}

impl AccountView {
    pub(super) fn new(account: &Account, entries: Vec<EntryView>) -> Self {
        Self {
            account: account.account,
            balance_msat: account.balance_msat,
            held_msat: account.held_msat,
            available_msat: account.available(),
            expiring_msat: account.tranched_msat,
            debt_msat: account.debt_msat,
            charged_msat: account.charged_msat,
            refunded_msat: account.refunded_msat,
            revoked_at_ms: account.revoked_at_ms,
            tier: account.tier,
            entries_total: account.entries,
            entries,
        }
    }

    /// An account that nothing was credited to yet.
    pub(super) fn empty(account: PaymentHash) -> Self {
        Self {
            account,
            balance_msat: Msat::ZERO,
            held_msat: Msat::ZERO,
            available_msat: Msat::ZERO,
            expiring_msat: Msat::ZERO,
            debt_msat: Msat::ZERO,
            charged_msat: Msat::ZERO,
            refunded_msat: Msat::ZERO,
            revoked_at_ms: None,
            tier: Tier::NONE,
            entries_total: 0,
            entries: Vec::new(),
        }
    }
}

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct EntryView {
    /// Its number within the account.
    pub(crate) n: u64,
    pub(crate) kind: &'static str,
    /// Positive for what came in, negative for what went out.
    pub(crate) amount_msat: i64,
    pub(crate) at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) payment_hash: Option<PaymentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<HoldId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<String>,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            n: entry.n,
            kind: entry.kind.word(),
            amount_msat: entry.amount_msat,
            at_ms: entry.at_ms,
            payment_hash: entry.payment_hash,
            hold: entry.hold_id,
            seq: entry.seq,
            route: entry.route,
        }
    }
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ActionView {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) actor: String,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<PaymentHash>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) amount_msat: Option<Msat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<KeyId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tier: Option<Tier>,
    pub(crate) at_ms: u64,
}

impl From<Action> for ActionView {
    fn from(line: Action) -> Self {
        Self {
            id: hex::encode(line.id),
            kind: line.kind.word(),
            actor: line.actor,
            reason: line.reason,
            account: line.account,
            amount_msat: line.amount_msat,
            key_id: line.key_id,
            tier: line.tier,
            at_ms: line.at_ms,
        }
    }
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct AuditReport {
    pub(crate) accounts: u64,
    pub(crate) entries: u64,
    pub(crate) differences: Vec<Difference>,
}

/// One claim that does not match the records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The account, named by the payment hash that opened it; empty for what is of none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) account: String,
    /// What was compared.
    pub(crate) check: &'static str,
    /// The invoice or the hold it is about, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// What the ledger claims.
    pub(crate) claimed: i64,
    /// What the records say.
    pub(crate) recorded: i64,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { account, check, about, claimed, recorded } = self;
        if !account.is_empty() {
            write!(f, "account {account}: ")?;
        }
        write!(f, "{check}: expected {recorded}, but found {claimed}")?;
        about.iter().try_for_each(|about| write!(f, " ({about})"))
    }
}
