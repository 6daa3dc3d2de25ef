//! One worker's part of a lease: what it earned there and has not told anybody yet.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Overrun, Posting};

use super::slot::{Slot, less, sum};
use super::table::{Change, Edited, TRIES_BETWEEN, Which, edit};
use crate::config::Route;
use crate::host::Host;

/// A lane has so many posting numbers, which a lease outlives by far.
pub(super) const LANE_BITS: u32 = 24;
/// Stands where a posting names its route, in the row that ends a lease and charges nothing: no
/// request of the hold's own route has ended.
const RELEASE_ROUTE: &str = "(lease)";

/// What a [`Tally`] takes in a proxy, whose words have 32 bits; a worker knows many.
#[cfg(any(test, target_pointer_width = "32"))]
pub(super) const TALLY_BYTES: usize = 96;
/// The same of an [`Earned`].
#[cfg(any(test, target_pointer_width = "32"))]
pub(super) const EARNED_BYTES: usize = 16;
#[cfg(target_pointer_width = "32")]
const _: () = assert!(size_of::<Tally>() == TALLY_BYTES && size_of::<Earned>() == EARNED_BYTES);

/// One worker's part of a lease.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(super) token: PaymentHash,
    pub(super) hold: HoldId,
    pub(super) lane: u8,
    pub(super) next_seq: Cell<u32>,
    pub(super) used_at_ms: Cell<u64>,
    /// What was earned since the last report, by route.
    pub(super) charged: RefCell<Vec<Earned>>,
    /// What was not charged and can be spent again.
    pub(super) returned: Cell<Msat>,
    /// What the ledger has posted and the lease does not know yet.
    pub(super) posted: Cell<Msat>,
    pub(super) is_dirty: Cell<bool>,
    /// Nobody waits for what was posted: the lease is live, and no other worker has a part of it,
    /// as far as is known here.
    pub(super) can_wait: Cell<bool>,
}

/// What one route earned, and with how many requests.
#[derive(Debug)]
pub(super) struct Earned {
    pub(super) route: Rc<Route>,
    pub(super) amount: Msat,
    pub(super) requests: u32,
}

/// What became of the news for a lease.
pub(super) enum Settled {
    /// It knows them, or is gone.
    Told,
    /// It could not be told yet.
    Later,
    /// These were the last that it waited for, and it has ended.
    Last,
}

impl Tally {
    pub(super) fn seq(&self) -> u32 {
        let seq = self.next_seq.get();
        self.next_seq.set(seq.wrapping_add(1));
        (u32::from(self.lane) << LANE_BITS) | (seq & ((1 << LANE_BITS) - 1))
    }

    pub(super) fn lease(&self) -> (&PaymentHash, Which) {
        (&self.token, Which::Of(self.hold))
    }

    pub(super) fn release(&self) -> Posting {
        release(self.hold, self.seq())
    }

    /// Puts the news into the record, which is then as far as this worker knows.
    pub(super) fn tell(&self, slot: &mut Slot) {
        slot.spent = less(slot.spent, self.returned.get());
        slot.settled = sum(slot.settled, self.posted.get());
    }

    /// The record has the news.
    pub(super) fn told(&self) {
        self.returned.set(Msat::ZERO);
        self.posted.set(Msat::ZERO);
    }

    /// Tells the lease what can be spent again and what was posted.
    pub(super) fn settle(&self, host: &impl Host) -> Settled {
        if self.returned.get() == Msat::ZERO && self.posted.get() == Msat::ZERO {
            return Settled::Told;
        }
        let mut last = false;
        let edited = edit(host, self.lease(), TRIES_BETWEEN, &mut |slot, _| {
            let Some(mut slot) = slot else { return Change::Leave };
            self.tell(&mut slot);
            last = slot.is_over();
            if last { Change::Remove } else { Change::Put(slot) }
        });
        if edited == Edited::Contended {
            return Settled::Later;
        }
        self.told();
        if edited == Edited::Done && last { Settled::Last } else { Settled::Told }
    }
}

/// The row that ends a lease.
pub(crate) fn release(hold: HoldId, seq: u32) -> Posting {
    Posting {
        hold,
        seq,
        amount_msat: Msat::ZERO,
        requests: 1,
        route: RELEASE_ROUTE.to_owned(),
        release: true,
        // Never above what was granted.
        overrun: Overrun::Cap,
        store: None,
    }
}
