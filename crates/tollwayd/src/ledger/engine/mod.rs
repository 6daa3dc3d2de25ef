//! The engine: every rule of the ledger, without any database.
//!
//! It applies commands one after the other to the [`WorkingSet`] of their batch. Time is an
//! argument and nothing here waits. What it finds to be contradictory, it refuses as
//! [`Contradiction`]: then a store did not keep its promise, and nothing may be written.

mod admin;
pub(super) mod allowances;
pub(super) mod ask;
mod budgets;
mod credits;
mod deposits;
mod holds;
pub(super) mod invoices;
mod keys;
mod orders;
mod outbox;
mod postings;
mod stocks;
mod sweep;
mod totals;
mod transfers;

use std::sync::Arc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

use super::outbox::Subscriptions;
use super::rows::{Account, Counted, Entry, EntryKind};
use super::work::WorkingSet;
use crate::metrics::Tally;

pub(super) use ask::Question;

/// The rows of a working set contradict each other, or a number left its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rows of the ledger contradict each other: {0}")]
pub(super) struct Contradiction(pub(super) &'static str);

pub(super) type Decided<A> = Result<A, Contradiction>;

/// Decides the commands of one batch.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) set: WorkingSet,
    pub(super) now_ms: u64,
    pub(super) tally: Tally,
    subscriptions: Arc<Subscriptions>,
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, Default)]
struct About<'a> {
    payment_hash: Option<PaymentHash>,
    posting: Option<(HoldId, u32)>,
    action: Option<[u8; 16]>,
    route: Option<&'a str>,
}

/// The direction of an entry.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Engine {
    /// Begins a batch: what has expired is given back before anything is decided.
    pub(super) fn begin(
        set: WorkingSet,
        now_ms: u64,
        subscriptions: Arc<Subscriptions>,
    ) -> Decided<Self> {
        let mut engine = Self { set, now_ms, tally: Tally::default(), subscriptions };
        engine.sweep()?;
        Ok(engine)
    }

    /// The account of this name; empty if nothing was ever credited to it.
    fn account(&self, name: PaymentHash) -> Account {
        self.set.accounts.get(&(name,)).cloned().unwrap_or(Account {
            account: name,
            balance_msat: Msat::ZERO,
            held_msat: Msat::ZERO,
            tranched_msat: Msat::ZERO,
            debt_msat: Msat::ZERO,
            charged_msat: Msat::ZERO,
            refunded_msat: Msat::ZERO,
            entries: 0,
            opened_at_ms: self.now_ms,
            revoked_at_ms: None,
            tier: Tier::NONE,
        })
    }

    /// Writes a line of the journal and moves the balance with it. The caller puts the account.
    fn enter(
        &mut self,
        account: &mut Account,
        kind: EntryKind,
        (way, amount): (Way, Msat),
        about: About<'_>,
    ) -> Decided<u64> {
        let balance = match way {
            Way::In => account.balance_msat.checked_add(amount),
            Way::Out => account.balance_msat.checked_sub(amount),
        };
        account.balance_msat = balance.ok_or(Contradiction("a balance left its range"))?;
        account.entries += 1;
        if account.entries == 1 {
            self.count(Counted::Account.word(), "", 0);
        }
        // Msat::MAX is far below i64::MAX.
        let size = i64::try_from(amount.get()).unwrap_or(i64::MAX);
        let signed = if matches!(way, Way::In) { size } else { -size };
        self.count(kind.word(), about.route.unwrap_or_default(), signed);
        self.set.entries.put(Entry {
            account: account.account,
            n: account.entries,
            kind,
            amount_msat: signed,
            payment_hash: about.payment_hash,
            hold_id: about.posting.map(|(hold, _)| hold),
            seq: about.posting.map(|(_, seq)| seq),
            route: about.route.map(str::to_owned),
            action: about.action,
            at_ms: self.now_ms,
        });
        Ok(account.entries)
    }
}

impl Account {
    /// What new holds can take.
    pub(super) fn available(&self) -> Msat {
        self.balance_msat.checked_sub(self.held_msat).unwrap_or(Msat::ZERO)
    }
}

/// A difference that cannot be negative.
fn minus(all: Msat, part: Msat) -> Decided<Msat> {
    all.checked_sub(part).ok_or(Contradiction("a sum is less than its part"))
}

/// A sum that cannot leave the range of amounts.
fn plus(one: Msat, other: Msat) -> Decided<Msat> {
    one.checked_add(other).ok_or(Contradiction("a sum left its range"))
}
