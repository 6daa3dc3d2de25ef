//! Credit that a lease gives back because the account needs it elsewhere: a customer is not
//! asked to pay while this proxy has enough of its credit set aside.

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::slot::{Pending, Slot, less, sum};
use super::table::{Change, Edited, TRIES, TRIES_BETWEEN, Which, edit};
use super::{Ask, Leases};
use crate::host::Host;

/// Credit that nobody spends while it is on its way from a lease to another hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) token: PaymentHash,
    pub(crate) hold: HoldId,
    pub(crate) amount: Msat,
}

/// What a lease has for a request that the rest of the account cannot pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relief {
    /// What was missing.
    Taken(Taken),
    /// The lease is waiting for an answer; ask again when it has come.
    Later,
    /// Not enough.
    TooLittle {
        /// This much is in the lease.
        rest: Msat,
        /// The token has, or just had, leases here: holds of it may be on their way back.
        leased: bool,
    },
}

impl Leases {
    /// Takes what the account lacks out of the token's lease, so that nobody spends it.
    pub(crate) fn take_back(&self, host: &impl Host, ask: &Ask, balance: Msat) -> Relief {
        let lacks = less(ask.cost, balance);
        let mut relief = Relief::Later;
        let edited = edit(host, (&ask.token, Which::Live), TRIES, &mut |slot, elsewhere| {
            let leased = slot.is_some() || elsewhere > Msat::ZERO;
            relief = Relief::TooLittle { rest: Msat::ZERO, leased };
            let Some(mut slot) = slot.filter(|slot| slot.expires_at_ms > ask.now_ms) else {
                return Change::Leave;
            };
            if !matches!(slot.pending, Pending::Nothing { .. }) {
                relief = Relief::Later;
                return Change::Leave;
            }
            if lacks == Msat::ZERO || slot.rest() < lacks {
                relief = Relief::TooLittle { rest: slot.rest(), leased };
                return Change::Leave;
            }
            slot.spent = sum(slot.spent, lacks);
            slot.pending = Pending::TakeBack;
            relief = Relief::Taken(Taken { token: slot.token, hold: slot.hold, amount: lacks });
            Change::Put(slot)
        });
        match (edited, relief) {
            (Edited::Done | Edited::Left, relief) => relief,
            _ => Relief::Later,
        }
    }

    /// The ledger has moved the credit.
    pub(crate) fn taken_back(&self, host: &impl Host, taken: &Taken) {
        self.end_take_back(host, taken, |slot| {
            slot.granted = less(slot.granted, taken.amount);
            slot.spent = less(slot.spent, taken.amount);
        });
    }

    /// The ledger has refused, and moved nothing.
    pub(crate) fn take_back_refused(&self, host: &impl Host, taken: &Taken) {
        self.end_take_back(host, taken, |slot| slot.spent = less(slot.spent, taken.amount));
    }

    /// The ledger may or may not have moved the credit: nobody spends it, and what is there
    /// returns when the lease ends.
    pub(crate) fn take_back_failed(&self, host: &impl Host, taken: &Taken) {
        self.end_take_back(host, taken, |slot| slot.settled = sum(slot.settled, taken.amount));
    }

    fn end_take_back(&self, host: &impl Host, taken: &Taken, book: impl Fn(&mut Slot)) {
        let lease = (&taken.token, Which::Of(taken.hold));
        edit(host, lease, TRIES_BETWEEN, &mut |slot, _| match slot {
            Some(mut slot) if slot.pending == Pending::TakeBack => {
                book(&mut slot);
                slot.pending = Pending::Nothing { until_ms: 0 };
                Change::Put(slot)
            }
            // It was ended meanwhile, and waits for this as for its last requests.
            Some(mut slot) if slot.pending == Pending::End => {
                book(&mut slot);
                Change::Put(slot)
            }
            _ => Change::Leave,
        });
    }
}
