//! One lease as all workers of a proxy see it: a record of fixed size in shared data.
//!
//! The record is a budget. `granted` is what the ledger has set aside, `spent` what admissions
//! took of it, `settled` the part of `spent` that the ledger has posted. What is left to spend is
//! `granted - spent`; what is under way is `spent - settled`. Every change is one
//! compare-and-swap of the bucket that the record lies in.

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

/// The bytes of a record.
pub(super) const SLOT_BYTES: usize = 178;
/// A lease is not refilled after so long. It runs dry and another takes its place, so that what
/// a dead worker had taken of it returns to the customer.
const REFILLED_FOR_MS: u64 = 600_000;
/// The pause after a refill that the ledger refused.
const REFUSED_PAUSE_MS: u64 = 1_000;
/// After so long another worker asks again for a refill that was asked for and not answered.
const REFILL_STALE_MS: u64 = 5_000;
/// A worker sets aside at most such a part of what a lease has left.
const REST_TO_SHARE: u64 = 16;
/// After so long whoever asked for a refill has stopped asking.
const REFILL_GIVEN_UP_MS: u64 = 2 * super::refill::RETRY_FOR_MS;
/// A lane is one worker's own part of a lease's posting numbers; there are so many.
const LANES_MAX: u8 = u8::MAX;

/// What the lease waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// Nothing; and no refill is asked for before this time.
    Nothing { until_ms: u64 },
    /// A refill that was asked for at this time.
    Refill { since_ms: u64 },
    /// Credit on its way to another hold of the account.
    TakeBack,
    /// The last of its requests: another lease has taken its place.
    End,
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The payment hash of the token that spends it.
    pub(super) token: PaymentHash,
    /// The account that the token pays from.
    pub(super) account: PaymentHash,
    /// The hold in the ledger.
    pub(super) hold: HoldId,
    pub(super) granted: Msat,
    pub(super) spent: Msat,
    pub(super) settled: Msat,
    /// What the account had left beside the hold when the ledger last said so.
    pub(super) balance: Msat,
    /// How much credit the lease had, or wants to have, after its last refill.
    pub(super) size: Msat,
    pub(super) opened_at_ms: u64,
    pub(super) used_at_ms: u64,
    /// When the ledger ends the hold, or a little before.
    pub(super) expires_at_ms: u64,
    pub(super) pending: Pending,
    /// The refill that is asked for, so that whoever asks again does it in the same words.
    pub(super) add: Msat,
    /// The least of it that is of use.
    pub(super) add_min: Msat,
    /// How long each grant lets the hold live.
    pub(super) ttl_ms: u32,
    /// The number of the next refill, or of the one that is pending.
    pub(super) refill_seq: u32,
    /// How many lanes were given out.
    pub(super) lanes: u8,
}

/// What a request needs of a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    /// The token that pays.
    pub(crate) token: PaymentHash,
    /// The price.
    pub(crate) cost: Msat,
    /// How long the request may take.
    pub(crate) hold_ttl_ms: u64,
    /// The most that a lease may have.
    pub(crate) lease_max: Msat,
    /// Unix time in milliseconds.
    pub(crate) now_ms: u64,
}

impl Slot {
    /// What can be spent.
    pub(super) fn rest(&self) -> Msat {
        less(self.granted, self.spent)
    }

    /// What was spent and the ledger has not posted yet: what is lost if this proxy dies now.
    pub(super) fn unposted(&self) -> Msat {
        less(self.spent, self.settled)
    }

    /// What the account has left, this lease included.
    pub(super) fn total(&self) -> Msat {
        sum(self.balance, self.rest())
    }

    /// Nothing is under way, in the requests of any worker or on its way to the ledger.
    pub(super) fn is_quiet(&self) -> bool {
        let waits = matches!(self.pending, Pending::Refill { .. } | Pending::TakeBack);
        self.spent == self.settled && !waits
    }

    /// Another lease has taken its place, or nobody may spend it, and nothing is under way.
    pub(super) fn is_over(&self) -> bool {
        self.pending == Pending::End && self.is_quiet()
    }

    /// Nothing is under way and nobody has spent from it for so long. A refill that nobody asks
    /// for any more may or may not have been granted: what ends the hold gives back either.
    pub(super) fn is_idle(&self, now_ms: u64, idle_ms: u64) -> bool {
        let given_up = matches!(self.pending, Pending::Refill { since_ms }
            if since_ms.saturating_add(REFILL_GIVEN_UP_MS) <= now_ms);
        let quiet = self.is_quiet() || (given_up && self.spent == self.settled);
        quiet && self.used_at_ms.saturating_add(idle_ms) <= now_ms
    }

    pub(super) fn is_refilling(&self) -> bool {
        matches!(self.pending, Pending::Refill { .. })
    }

    /// Whether a request can be paid from it, so that the ledger still has the hold when the
    /// request ends.
    pub(super) fn can_pay(&self, ask: &Ask) -> bool {
        self.rest() >= ask.cost && ask.now_ms.saturating_add(ask.hold_ttl_ms) <= self.expires_at_ms
    }

    /// A lane for a worker that has none of this lease.
    pub(super) fn open_lane(&mut self) -> Option<u8> {
        let lane = (self.lanes < LANES_MAX).then_some(self.lanes)?;
        self.lanes += 1;
        Some(lane)
    }

    /// Takes the price.
    pub(super) fn take(&mut self, ask: &Ask) {
        self.spent = sum(self.spent, ask.cost);
        self.used_at_ms = ask.now_ms;
    }

    /// Takes the price, and marks the lease for a refill where one is due. Returns whether this
    /// worker is the one to ask for it. `elsewhere` is what leases that this one has replaced have
    /// not posted yet.
    pub(super) fn spend(&mut self, ask: &Ask, elsewhere: Msat) -> bool {
        self.take(ask);
        match self.pending {
            Pending::Nothing { until_ms } => {
                ask.now_ms >= until_ms && self.mark_refill(ask, elsewhere)
            }
            Pending::Refill { since_ms } => ask.now_ms >= since_ms.saturating_add(REFILL_STALE_MS),
            Pending::TakeBack | Pending::End => false,
        }
    }

    /// Sets credit aside for the requests of one worker that follow one of this price: little of
    /// what is left, so that other workers find enough, and nothing if that is of no use.
    pub(super) fn set_aside(&mut self, wanted: Msat, cost: Msat) -> Msat {
        // Rounds down: what is not set aside stays for all.
        let most = Msat::new(self.rest().get() / REST_TO_SHARE).unwrap_or(Msat::ZERO);
        let aside = wanted.min(most);
        if aside < cost {
            return Msat::ZERO;
        }
        self.spent = sum(self.spent, aside);
        aside
    }

    fn mark_refill(&mut self, ask: &Ask, elsewhere: Msat) -> bool {
        let Ask { now_ms, cost, hold_ttl_ms, .. } = *ask;
        if now_ms >= self.opened_at_ms.saturating_add(REFILLED_FOR_MS) {
            return false;
        }
        let rest = self.rest();
        let half_spent = rest.get() < self.size.get() / 2 || rest < cost;
        // Requests like this one are admitted until the hold has just their own time left.
        let last_ms = self.expires_at_ms.saturating_sub(hold_ttl_ms);
        let window_ms = u64::from(self.ttl_ms).saturating_sub(hold_ttl_ms);
        let half_time = last_ms.saturating_sub(now_ms) < window_ms / 2;
        if half_spent {
            let size = larger_size(self.size, ask, self.total());
            let room = room(ask, sum(elsewhere, less(self.granted, self.settled)));
            self.add = less(size, rest).min(room);
            self.add_min = cost.min(self.add);
        } else {
            // Time ran out sooner than credit: the lease is larger than its use.
            self.add = Msat::ZERO;
            self.add_min = Msat::ZERO;
        }
        let due = half_time || self.add > Msat::ZERO;
        if due {
            self.size = if half_spent { sum(rest, self.add) } else { halved(self.size, cost) };
            self.pending = Pending::Refill { since_ms: now_ms };
        }
        due
    }

    /// The refill was granted: the hold now has `total` in all.
    pub(super) fn refilled(&mut self, total: Msat, balance: Msat) {
        if let Pending::Refill { since_ms } = self.pending {
            let lives_until_ms = since_ms.saturating_add(self.ttl_ms.into());
            self.granted = self.granted.max(total);
            self.balance = balance;
            self.expires_at_ms = self.expires_at_ms.max(lives_until_ms);
            self.end_refill(0);
        }
    }

    /// The refill was refused for lack of credit.
    pub(super) fn refill_refused(&mut self, balance: Msat, now_ms: u64) {
        self.balance = balance;
        self.end_refill(now_ms.saturating_add(REFUSED_PAUSE_MS));
    }

    fn end_refill(&mut self, until_ms: u64) {
        self.pending = Pending::Nothing { until_ms };
        self.refill_seq = self.refill_seq.saturating_add(1);
    }
}

/// The size that follows `size`: twice as much, but never above the maximum nor above half of
/// the credit that is left, and always enough for one request.
pub(super) fn larger_size(size: Msat, ask: &Ask, left: Msat) -> Msat {
    let half = Msat::new(left.get() / 2).unwrap_or(Msat::MAX);
    sum(size, size).min(ask.lease_max).min(half).max(ask.cost)
}

/// How much more may be set aside beside what is set aside and not posted: the maximum bounds
/// what is lost when the proxy dies, not only what is left to spend.
pub(super) fn room(ask: &Ask, aside: Msat) -> Msat {
    less(ask.lease_max, aside)
}

fn halved(size: Msat, cost: Msat) -> Msat {
    Msat::new(size.get() / 2).unwrap_or(Msat::MAX).max(cost)
}

/// The sum; no credit comes near the largest amount.
pub(super) fn sum(one: Msat, other: Msat) -> Msat {
    one.checked_add(other).unwrap_or(Msat::MAX)
}

/// The difference, or nothing.
pub(super) fn less(from: Msat, by: Msat) -> Msat {
    from.checked_sub(by).unwrap_or(Msat::ZERO)
}

impl Slot {
    /// The record, if it is this token's.
    pub(super) fn of_token(record: &[u8], token: &PaymentHash) -> Option<Self> {
        // Most are not, and what is in them does not matter.
        record.starts_with(token.as_bytes()).then(|| Self::decode(record)).flatten()
    }

    pub(super) fn decode(record: &[u8]) -> Option<Self> {
        let mut reader = Reader(record);
        let slot = Self {
            token: PaymentHash::from_bytes(reader.take()?),
            account: PaymentHash::from_bytes(reader.take()?),
            hold: HoldId::from_bytes(reader.take()?),
            granted: reader.msat()?,
            spent: reader.msat()?,
            settled: reader.msat()?,
            balance: reader.msat()?,
            size: reader.msat()?,
            opened_at_ms: reader.number()?,
            used_at_ms: reader.number()?,
            expires_at_ms: reader.number()?,
            pending: {
                let at_ms = reader.number()?;
                match reader.take()? {
                    [0] => Pending::Nothing { until_ms: at_ms },
                    [1] => Pending::Refill { since_ms: at_ms },
                    [2] => Pending::TakeBack,
                    [3] => Pending::End,
                    _ => return None,
                }
            },
            add: reader.msat()?,
            add_min: reader.msat()?,
            ttl_ms: u32::from_le_bytes(reader.take()?),
            refill_seq: u32::from_le_bytes(reader.take()?),
            lanes: u8::from_le_bytes(reader.take()?),
        };
        Some(slot)
    }

    pub(super) fn encode(&self) -> [u8; SLOT_BYTES] {
        let (at_ms, kind) = match self.pending {
            Pending::Nothing { until_ms } => (until_ms, 0),
            Pending::Refill { since_ms } => (since_ms, 1),
            Pending::TakeBack => (0, 2),
            Pending::End => (0, 3),
        };
        let mut record = [0; SLOT_BYTES];
        let mut writer = Writer(&mut record);
        writer.put(self.token.as_bytes());
        writer.put(self.account.as_bytes());
        writer.put(self.hold.as_bytes());
        let amounts = [self.granted, self.spent, self.settled, self.balance, self.size];
        amounts.iter().for_each(|amount| writer.put(&amount.get().to_le_bytes()));
        let times = [self.opened_at_ms, self.used_at_ms, self.expires_at_ms, at_ms];
        times.iter().for_each(|time| writer.put(&time.to_le_bytes()));
        writer.put(&[kind]);
        writer.put(&self.add.get().to_le_bytes());
        writer.put(&self.add_min.get().to_le_bytes());
        writer.put(&self.ttl_ms.to_le_bytes());
        writer.put(&self.refill_seq.to_le_bytes());
        writer.put(&[self.lanes]);
        record
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn msat(&mut self) -> Option<Msat> {
        Msat::new(self.number()?)
    }
}

struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = core::mem::take(&mut self.0);
        if let Some((here, rest)) = room.split_at_mut_checked(bytes.len()) {
            here.copy_from_slice(bytes);
            self.0 = rest;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(msat: u64) -> Msat {
        Msat::new(msat).unwrap()
    }

    const SPEND_MS: u64 = 30_000;

    fn slot() -> Slot {
        Slot {
            token: PaymentHash::from_bytes([1; 32]),
            account: PaymentHash::from_bytes([2; 32]),
            hold: HoldId::from_bytes([3; 16]),
            granted: msat(100),
            spent: msat(60),
            settled: msat(50),
            balance: msat(1_000),
            size: msat(100),
            opened_at_ms: 1_000,
            used_at_ms: 2_000,
            expires_at_ms: 1_000 + SPEND_MS + 9_000,
            pending: Pending::Nothing { until_ms: 7 },
            add: msat(8),
            add_min: msat(4),
            ttl_ms: 39_000,
            refill_seq: 5,
            lanes: 6,
        }
    }

    fn ask(cost: u64, now_ms: u64) -> Ask {
        Ask {
            token: PaymentHash::from_bytes([1; 32]),
            cost: msat(cost),
            hold_ttl_ms: 9_000,
            lease_max: msat(400),
            now_ms,
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_never_from_other_bytes() {
        for pending in [
            Pending::Nothing { until_ms: 7 },
            Pending::Refill { since_ms: 9 },
            Pending::TakeBack,
            Pending::End,
        ] {
            let slot = Slot { pending, ..slot() };
            let record = slot.encode();
            assert_eq!(Slot::decode(&record), Some(slot));
            assert_eq!(Slot::of_token(&record, &slot.token), Some(slot));
            assert_eq!(Slot::of_token(&record, &slot.account), None);
            assert_eq!(Slot::decode(&record[1..]), None);
        }
        assert_eq!(Slot::decode(&[0xff; SLOT_BYTES]), None);
    }

    #[test]
    fn a_refill_that_nobody_asks_for_any_more_keeps_no_lease() {
        let pending = Pending::Refill { since_ms: 2_000 };
        let asked = Slot { spent: msat(50), pending, ..slot() };
        let given_up_ms = 2_000 + REFILL_GIVEN_UP_MS;
        assert!(!asked.is_idle(given_up_ms - 1, 5_000));
        assert!(asked.is_idle(given_up_ms, 5_000));
        let under_way = Slot { spent: msat(51), ..asked };
        assert!(!under_way.is_idle(u64::MAX, 5_000));
        let taken = Slot { pending: Pending::TakeBack, ..asked };
        assert!(!taken.is_idle(u64::MAX, 5_000), "its credit is on its way elsewhere");
    }

    #[test]
    fn little_is_set_aside_or_nothing() {
        let slot = Slot { granted: msat(1_660), ..slot() };
        let aside = |wanted, cost| {
            let mut after = slot;
            let aside = after.set_aside(msat(wanted), msat(cost));
            assert_eq!(after, Slot { spent: sum(slot.spent, aside), ..slot });
            aside.get()
        };
        assert_eq!(aside(80, 10), 80);
        assert_eq!(aside(101, 10), 100, "a sixteenth of 1,600");
        assert_eq!(aside(101, 101), 0, "not even one request's price");
        assert_eq!(aside(0, 1), 0);
    }

    #[test]
    fn a_lease_pays_what_it_has_while_the_request_can_still_be_reported() {
        let slot = slot();
        let last_ms = 1_000 + SPEND_MS;
        assert!(slot.can_pay(&ask(40, last_ms)));
        assert!(!slot.can_pay(&ask(41, last_ms)));
        assert!(!slot.can_pay(&ask(40, last_ms + 1)));
    }

    #[test]
    fn a_refill_is_due_when_half_is_spent_or_half_of_the_time_is_over() {
        let marked = |slot: Slot, now_ms| {
            let mut slot = slot;
            let due = slot.spend(&ask(1, now_ms), Msat::ZERO);
            (due, slot.add.get(), slot.size.get())
        };
        let plenty = Slot { spent: msat(49), ..slot() };
        assert_eq!(marked(plenty, 1_000), (false, 0, 100), "half is left");
        let half = Slot { spent: msat(50), ..slot() };
        assert_eq!(marked(half, 1_000), (true, 151, 200), "twice the size");
        let late_ms = 1_000 + SPEND_MS / 2 + 1;
        assert_eq!(marked(plenty, late_ms), (true, 0, 50), "more time, half the size");
        let poor = Slot { balance: msat(51), ..half };
        assert_eq!(marked(poor, 1_000), (true, 1, 50), "half of what is left");
        let poorer = Slot { balance: msat(3), ..half };
        assert!(!marked(poorer, 1_000).0, "what is left is in the lease already");
        let large = Slot { size: msat(300), ..half };
        assert_eq!(marked(large, 1_000), (true, 350, 399), "50 + 350: never above the maximum");
        let refused = Slot { pending: Pending::Nothing { until_ms: 1_001 }, ..half };
        assert!(!marked(refused, 1_000).0, "not soon after a refusal");
        let old = Slot { opened_at_ms: 0, expires_at_ms: u64::MAX, ..half };
        assert!(!marked(old, REFILLED_FOR_MS).0, "an old lease runs dry");
        let asked = Slot { pending: Pending::Refill { since_ms: 1_000 }, ..half };
        assert!(!marked(asked, 1_000 + REFILL_STALE_MS - 1).0, "somebody asks already");
        assert!(marked(asked, 1_000 + REFILL_STALE_MS).0, "nobody seems to ask any more");
    }

    #[test]
    fn a_refill_that_was_granted_late_lives_from_when_it_was_asked_for() {
        let mut slot = Slot { pending: Pending::Refill { since_ms: 20_000 }, ..slot() };
        slot.refilled(msat(150), msat(900));
        assert_eq!((slot.granted, slot.balance, slot.refill_seq), (msat(150), msat(900), 6));
        assert_eq!(slot.expires_at_ms, 20_000 + 39_000);
        // Nothing is pending any more, so the same answer again changes nothing.
        let before = slot;
        slot.refilled(msat(999), msat(999));
        assert_eq!(slot, before);
    }
}
