//! Credit that one worker sets aside of a lease until its next tick.
//!
//! A token that is in use all the time would need a look at the table and a swap for each of its
//! requests. A worker that has seen several of them since its last tick takes the price of more
//! with the same swap, and pays the next ones from that. What is left goes back with the tick, so
//! that other workers never miss it for longer.

use std::cell::RefCell;
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::slot::{Ask, Slot, less, sum};
use super::tally::Tally;
use super::{Leases, Paid};

/// Nothing is set aside for the first requests of a tick.
const REQUESTS_MIN: u64 = 8;
/// So many tokens can have a share at once.
const SHARES_MAX: usize = 8;

/// What a worker has set aside, and for whom it could.
#[derive(Debug, Default)]
pub(super) struct Shares(RefCell<Vec<Share>>);

#[derive(Debug)]
struct Share {
    tally: Rc<Tally>,
    account: PaymentHash,
    /// What is set aside.
    left: Msat,
    /// What the account has left, this included.
    total: Msat,
    expires_at_ms: u64,
    /// How many requests the token has paid since the last tick.
    requests: u64,
}

impl Shares {
    /// Pays from what is set aside, if it can.
    pub(super) fn pay(&self, ask: &Ask) -> Option<Paid> {
        let mut shares = self.0.borrow_mut();
        let share = shares.iter_mut().find(|share| share.tally.token == ask.token)?;
        let in_time = ask.now_ms.saturating_add(ask.hold_ttl_ms) <= share.expires_at_ms;
        let left = share.left.checked_sub(ask.cost).filter(|_| in_time)?;
        share.left = left;
        share.total = less(share.total, ask.cost);
        share.requests = share.requests.saturating_add(1);
        share.tally.used_at_ms.set(ask.now_ms);
        let (tally, account) = (Rc::clone(&share.tally), share.account);
        Some(Paid { tally, account, balance: share.total })
    }

    /// What is left of the lease's share, and what the next one should be. The one is put back
    /// and the other taken by the swap that pays for this request ([`Shares::taken`]).
    pub(super) fn left_and_wanted(&self, hold: HoldId, ask: &Ask) -> (Msat, Msat) {
        let shares = self.0.borrow();
        let Some(share) = shares.iter().find(|share| share.tally.hold == hold) else {
            return (Msat::ZERO, Msat::ZERO);
        };
        // Enough for as many requests as there were.
        let requests = if share.requests < REQUESTS_MIN { 0 } else { share.requests };
        let wanted = ask.cost.get().saturating_mul(requests);
        (share.left, Msat::new(wanted).unwrap_or(Msat::MAX))
    }

    /// A request was paid with a swap that left the record as `slot`, and took so much besides.
    pub(super) fn taken(&self, slot: &Slot, paid: &mut Paid, left: Msat) {
        paid.balance = sum(paid.balance, left);
        let mut shares = self.0.borrow_mut();
        if let Some(share) = shares.iter_mut().find(|share| share.tally.hold == slot.hold) {
            share.left = left;
            share.total = paid.balance;
            share.expires_at_ms = slot.expires_at_ms;
            share.requests = share.requests.saturating_add(1);
        } else if shares.len() < SHARES_MAX {
            // One that is not among the first of the tick is not much in use.
            shares.push(Share {
                tally: Rc::clone(&paid.tally),
                account: paid.account,
                left,
                total: paid.balance,
                expires_at_ms: slot.expires_at_ms,
                requests: 1,
            });
        }
    }

    /// The lease is over; nothing of it is to be spent.
    pub(super) fn forget(&self, hold: HoldId) {
        self.0.borrow_mut().retain(|share| share.tally.hold != hold);
    }
}

impl Leases {
    /// What is set aside can be spent by all workers again.
    pub(super) fn return_shares(&self) {
        self.shares.0.take().iter().for_each(|share| self.put_back(share));
    }

    /// The same for what is set aside of one lease.
    pub(super) fn return_share(&self, hold: HoldId) {
        let mut shares = self.shares.0.borrow_mut();
        if let Some(at) = shares.iter().position(|share| share.tally.hold == hold) {
            self.put_back(&shares.swap_remove(at));
        }
    }

    fn put_back(&self, Share { tally, left, .. }: &Share) {
        if *left > Msat::ZERO {
            tally.returned.set(sum(tally.returned.get(), *left));
            self.mark_dirty(tally);
        }
    }
}
