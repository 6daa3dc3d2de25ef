//! Leases: holds that many requests spend from, so that a paid request needs no call.
//!
//! All workers share a lease through the proxy's shared data ([`table`]); spending is one
//! compare-and-swap. What finished requests cost is gathered in this worker's memory and posted
//! with the tick, under posting numbers of the worker's own lane, so that numbers never meet.
//! A lease that nobody uses is given back; one that is forgotten ends in the ledger.
//!
//! See docs/adr/0013-leases.md for what this can cost whom.

mod refill;
mod share;
mod slot;
mod table;
mod take_back;
mod tally;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::Posting;

use crate::config::Route;
use crate::host::Host;
use crate::prehashed::Prehashed;
use refill::Refill;
use share::Shares;
use slot::{Pending, Slot, larger_size, less, room, sum};
use table::{Change, Edited, TRIES, Which, edit};
use tally::{Earned, LANE_BITS};

pub(crate) use slot::Ask;
pub(crate) use take_back::{Relief, Taken};
pub(crate) use tally::{Tally, release};

/// So many leases are followed by one worker; requests on others place holds of their own. Enough
/// for a hundred thousand accounts, in 22 MB.
const KNOWN_MAX: usize = 104_000;

/// What one worker knows of the leases.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// The leases that this worker has spent from.
    known: RefCell<HashMap<HoldId, Rc<Tally>, Prehashed>>,
    /// Those of them with something to report.
    dirty: RefCell<Vec<Rc<Tally>>>,
    /// What of them nobody else can spend before the next tick.
    shares: Shares,
    /// When to look whether one is idle. One entry for each that is known.
    watch: RefCell<VecDeque<(u64, Rc<Tally>)>>,
    refills: RefCell<Vec<Refill>>,
    /// The tokens for which a request of this worker asks for a lease now, and what the requests
    /// that wait for it cost together. Few at a time, as all of these.
    opening: RefCell<Vec<(PaymentHash, Msat)>>,
    /// What waited for leases that are decided since the last tick.
    demand: RefCell<Vec<(PaymentHash, Msat)>>,
    /// The tokens whose waiting requests may go on.
    decided: RefCell<Vec<PaymentHash>>,
}

/// A request that a lease has paid for.
#[derive(Debug)]
pub(crate) struct Paid {
    pub(crate) tally: Rc<Tally>,
    pub(crate) account: PaymentHash,
    /// What the account has left.
    pub(crate) balance: Msat,
}

/// What came of the attempt to pay from a lease.
#[derive(Debug)]
pub(crate) enum Spend {
    Paid(Paid),
    /// There is none that can pay, and a new one may be opened.
    Open(Size),
    /// The request must place a hold of its own: more credit is on its way to the lease, or as
    /// much as may be is spent and not posted, or the table or this worker has no room.
    Busy,
}

/// How large a new lease should be, and may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    wanted: Msat,
    most: Msat,
}

impl Size {
    /// `None` where not even this request has room beside what is not posted yet.
    fn new(ask: &Ask, wanted: Msat, unposted: Msat) -> Option<Self> {
        let most = room(ask, unposted);
        (most >= ask.cost).then_some(Self { wanted, most })
    }
}

/// A hold that was granted for a lease.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    pub(crate) hold: HoldId,
    pub(crate) account: PaymentHash,
    pub(crate) granted: Msat,
    pub(crate) balance: Msat,
    /// When the hold was asked for, in milliseconds.
    pub(crate) asked_at_ms: u64,
    pub(crate) ttl_ms: u64,
}

/// Who pays for the request that asked for a lease.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The new lease.
    New(Paid),
    /// Another worker's lease, which was there first; the new hold goes back.
    Other(Paid),
    /// The hold alone, for this one request.
    Alone,
}

impl Leases {
    /// Pays from the token's lease, if it can.
    pub(crate) fn spend(&self, host: &impl Host, ask: &Ask) -> Spend {
        if let Some(paid) = self.shares.pay(ask) {
            return Spend::Paid(paid);
        }
        let mut lane = None;
        let mut refill = false;
        let mut spent = None;
        let mut open = None;
        let mut aside = Msat::ZERO;
        let edited = edit(host, (&ask.token, Which::Live), TRIES, &mut |slot, elsewhere| {
            (lane, refill, spent, open) = (None, false, None, None);
            let Some(slot) = slot.filter(|slot| slot.expires_at_ms > ask.now_ms) else {
                open = Size::new(ask, ask.cost, elsewhere);
                return Change::Leave;
            };
            let mut slot = self.heard(slot);
            let (left, wanted) = self.shares.left_and_wanted(slot.hold, ask);
            slot.spent = less(slot.spent, left);
            if !slot.can_pay(ask) {
                if !slot.is_refilling() {
                    let size = larger_size(slot.size, ask, slot.total());
                    open = Size::new(ask, size, sum(elsewhere, slot.unposted()));
                }
                return Change::Leave;
            }
            if !self.take_part(&mut slot, &mut lane) {
                return Change::Leave;
            }
            aside = slot.set_aside(wanted, ask.cost);
            refill = slot.spend(ask, elsewhere);
            spent = Some(slot);
            Change::Put(slot)
        });
        match (edited, spent, open) {
            (Edited::Done, Some(slot), _) => {
                if refill {
                    self.ask_refill(&slot);
                }
                let mut paid = self.paid(&slot, lane, ask.now_ms);
                paid.tally.posted.set(Msat::ZERO);
                paid.tally.can_wait.set(slot.lanes == 1);
                self.shares.taken(&slot, &mut paid, aside);
                Spend::Paid(paid)
            }
            (Edited::Left, _, Some(size)) => Spend::Open(size),
            _ => Spend::Busy,
        }
    }

    /// Whether this worker may spend from the lease; gives it a lane where it has none.
    fn take_part(&self, slot: &mut Slot, lane: &mut Option<u8>) -> bool {
        let known = self.known.borrow();
        if known.contains_key(&slot.hold) {
            return true;
        }
        *lane = if known.len() < KNOWN_MAX { slot.open_lane() } else { None };
        lane.is_some()
    }

    fn paid(&self, slot: &Slot, lane: Option<u8>, now_ms: u64) -> Paid {
        let tally = self.tally(slot, lane.unwrap_or_default(), now_ms);
        Paid { tally, account: slot.account, balance: slot.total() }
    }

    /// This worker's part of the lease, in this lane if it is new.
    fn tally(&self, slot: &Slot, lane: u8, now_ms: u64) -> Rc<Tally> {
        let mut known = self.known.borrow_mut();
        if let Some(tally) = known.get(&slot.hold) {
            tally.used_at_ms.set(now_ms);
            return Rc::clone(tally);
        }
        let tally = Rc::new(Tally {
            token: slot.token,
            hold: slot.hold,
            lane,
            next_seq: Cell::new(0),
            used_at_ms: Cell::new(now_ms),
            charged: RefCell::default(),
            returned: Cell::default(),
            posted: Cell::default(),
            is_dirty: Cell::new(false),
            can_wait: Cell::new(false),
        });
        known.insert(slot.hold, Rc::clone(&tally));
        self.watch.borrow_mut().push_back((now_ms, Rc::clone(&tally)));
        tally
    }

    /// A paid request has ended: `charged` of its price is owed, the rest can be spent again.
    pub(crate) fn finish(&self, tally: &Rc<Tally>, route: &Rc<Route>, cost: Msat, charged: Msat) {
        tally.returned.set(sum(tally.returned.get(), less(cost, charged)));
        if charged > Msat::ZERO {
            let mut rows = tally.charged.borrow_mut();
            match rows.iter_mut().find(|earned| Rc::ptr_eq(&earned.route, route)) {
                Some(earned) => {
                    earned.amount = sum(earned.amount, charged);
                    earned.requests = earned.requests.saturating_add(1);
                }
                None => {
                    // Few leases have requests of two routes in one tick.
                    rows.reserve_exact(1);
                    rows.push(Earned { route: Rc::clone(route), amount: charged, requests: 1 });
                }
            }
        }
        self.mark_dirty(tally);
    }

    /// The lease waits for its last news, to be given back.
    fn ended(&self, tally: &Rc<Tally>) {
        tally.can_wait.set(false);
        self.mark_dirty(tally);
    }

    fn mark_dirty(&self, tally: &Rc<Tally>) {
        if !tally.is_dirty.replace(true) {
            self.dirty.borrow_mut().push(Rc::clone(tally));
        }
    }

    /// Makes a request the one that asks for the token's lease, or lets it wait for the one that
    /// does. Returns the size to ask for, if it is to ask.
    pub(crate) fn open(&self, ask: &Ask, size: Size) -> Option<Msat> {
        let mut opening = self.opening.borrow_mut();
        if let Some((_, waiting)) = opening.iter_mut().find(|(token, _)| *token == ask.token) {
            *waiting = sum(*waiting, ask.cost);
            return None;
        }
        opening.push((ask.token, Msat::ZERO));
        let waited = take(&mut self.demand.borrow_mut(), &ask.token);
        Some(size.wanted.max(waited).min(size.most).max(ask.cost))
    }

    /// Whether a request of this worker asks for the token's lease now.
    pub(crate) fn is_opening(&self, token: &PaymentHash) -> bool {
        self.opening.borrow().iter().any(|(known, _)| known == token)
    }

    /// The request that asked for the token's lease knows what came of it.
    pub(crate) fn opened(&self, token: &PaymentHash) {
        let waited = take(&mut self.opening.borrow_mut(), token);
        if waited > Msat::ZERO {
            self.demand.borrow_mut().push((*token, waited));
        }
        self.decided.borrow_mut().push(*token);
    }

    /// The tokens for which a lease was granted or refused since the last time.
    pub(crate) fn take_decided(&self) -> Vec<PaymentHash> {
        self.decided.take()
    }

    /// Makes the hold a lease and pays the request that asked for it. Returns also the row that
    /// ends a hold which nobody spends any more.
    pub(crate) fn install(
        &self,
        host: &impl Host,
        ask: &Ask,
        grant: &Grant,
    ) -> (Opened, Option<Posting>) {
        let fresh = grant.slot(ask);
        let mut lane = None;
        let mut other = None;
        let mut before = None;
        let edited = edit(host, (&ask.token, Which::Live), TRIES, &mut |slot, elsewhere| {
            (lane, other, before) = (None, None, None);
            let slot = slot.filter(|slot| slot.expires_at_ms > ask.now_ms);
            let slot = slot.map(|slot| self.heard(slot));
            if let Some(mut slot) = slot.filter(|slot| slot.can_pay(ask))
                && self.take_part(&mut slot, &mut lane)
            {
                slot.take(ask);
                other = Some(slot);
                return Change::Put(slot);
            }
            // What is on its way to a lease would be lost with it until it ends.
            let waits = slot.is_some_and(|slot| !matches!(slot.pending, Pending::Nothing { .. }));
            let unposted = slot.map_or(elsewhere, |slot| sum(elsewhere, slot.unposted()));
            let fits = room(ask, unposted) >= fresh.granted;
            if waits || !fits || self.known.borrow().len() >= KNOWN_MAX {
                return Change::Leave;
            }
            (before, lane) = (slot, Some(0));
            match slot {
                Some(slot) if !slot.is_quiet() => {
                    Change::Replace(Slot { pending: Pending::End, ..slot }, fresh)
                }
                _ => Change::Put(fresh),
            }
        });
        match (edited, other) {
            (Edited::Done, Some(slot)) => {
                let paid = self.paid(&slot, lane, ask.now_ms);
                paid.tally.posted.set(Msat::ZERO);
                (Opened::Other(paid), None)
            }
            (Edited::Done, None) => {
                if let Some(old) = before.and_then(|it| self.known.borrow().get(&it.hold).cloned())
                {
                    old.posted.set(Msat::ZERO);
                    self.ended(&old);
                }
                let over = before.filter(Slot::is_quiet).map(|mut slot| self.release(&mut slot));
                (Opened::New(self.paid(&fresh, lane, ask.now_ms)), over)
            }
            _ => (Opened::Alone, None),
        }
    }

    /// The row that ends a lease of which nothing is under way and that is not in the table any
    /// more.
    fn release(&self, slot: &mut Slot) -> Posting {
        let known = self.known.borrow().get(&slot.hold).cloned();
        let seq = match known {
            Some(tally) => tally.seq(),
            // If all lanes were given out, the number was used, and the hold ends by itself.
            None => u32::from(slot.open_lane().unwrap_or_default()) << LANE_BITS,
        };
        release(slot.hold, seq)
    }

    /// Nobody may spend from this lease any more. What it has left is given back when the last of
    /// its requests has ended.
    fn end(&self, host: &impl Host, token: &PaymentHash, hold: HoldId) {
        self.return_share(hold);
        if let Some(tally) = self.known.borrow().get(&hold) {
            self.ended(tally);
        }
        edit(host, (token, Which::Of(hold)), table::TRIES_BETWEEN, &mut |slot, _| match slot {
            Some(slot) => Change::Put(Slot { pending: Pending::End, ..slot }),
            None => Change::Leave,
        });
    }

    /// The ledger has ended the hold.
    fn drop_slot(&self, host: &impl Host, token: &PaymentHash, hold: HoldId) {
        self.shares.forget(hold);
        edit(host, (token, Which::Of(hold)), table::TRIES_BETWEEN, &mut |slot, _| match slot {
            Some(_) => Change::Remove,
            None => Change::Leave,
        });
    }
}

impl Grant {
    fn slot(&self, ask: &Ask) -> Slot {
        Slot {
            token: ask.token,
            account: self.account,
            hold: self.hold,
            granted: self.granted,
            spent: ask.cost,
            settled: Msat::ZERO,
            balance: self.balance,
            size: self.granted,
            opened_at_ms: ask.now_ms,
            used_at_ms: ask.now_ms,
            expires_at_ms: self.asked_at_ms.saturating_add(self.ttl_ms),
            pending: Pending::Nothing { until_ms: 0 },
            add: Msat::ZERO,
            add_min: Msat::ZERO,
            // A day of milliseconds, the longest life, fits 32 bits.
            ttl_ms: u32::try_from(self.ttl_ms).unwrap_or(u32::MAX),
            refill_seq: 0,
            lanes: 1,
        }
    }
}

fn take(list: &mut Vec<(PaymentHash, Msat)>, token: &PaymentHash) -> Msat {
    let at = list.iter().position(|(known, _)| known == token);
    at.map(|at| list.swap_remove(at).1).unwrap_or_default()
}
