//! Holds that last as long as their requests.
//!
//! A hold is granted for a price and for a while, and a stream may outgrow both. Then it is
//! extended from the tick: a reply to the root finds it whatever became of the stream. One
//! extension of a hold is under way at a time, and it is asked for again in the same words until
//! it is answered. The ledger counts it once, so a lost answer changes nothing.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::wire::{ExtensionRequest, HoldRefusal, HoldReply, Overrun};

use crate::config::{Passing, Route, Tollwayd, WhenCreditEnds};
use crate::host::{CallId, CallReply, Host, StreamId};
use crate::ledger::{self, CallFault};

/// The pause before an extension is asked for again when no answer came.
const RETRY_MS: u64 = 200;
/// The pause before credit is asked for again where there was none.
const DRY_MS: u64 = 1_000;
/// So long a stream of events has to come to the end of one before it is cut off.
const GRACE_MS: u64 = 5_000;
/// The most calls of one tick; the others wait for the next.
const CALLS_PER_TICK_MAX: usize = 256;
/// The list has room for at least so many more.
const KEPT_MIN: usize = 64;

/// The holds of all requests that have one of their own.
#[derive(Debug, Default)]
pub(crate) struct Keeper(RefCell<Vec<Rc<Kept>>>);

/// What is known of a hold when its request is admitted.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) stream: StreamId,
    pub(crate) hold: HoldId,
    pub(crate) route: Rc<Route>,
    /// What was set aside.
    pub(crate) amount: Msat,
    /// The most that the request can cost by its route.
    pub(crate) most: Msat,
    /// The most that its client lets it cost.
    pub(crate) ceiling: Msat,
    /// What costs as it passes, and since when.
    pub(crate) clock: Option<(Passing, u64)>,
    pub(crate) asked_at_ms: u64,
}

/// A hold while its request runs, shared by the request and the tick.
#[derive(Debug)]
pub(crate) struct Kept {
    terms: Terms,
    /// Of the response's body, where these cost.
    pub(crate) bytes: Cell<u64>,
    /// What else is known of the cost so far.
    pub(crate) cost: Cell<Msat>,
    /// What the hold can pay.
    capacity: Cell<Msat>,
    expires_at_ms: Cell<u64>,
    seq: Cell<u32>,
    ask: Cell<Option<Ask>>,
    /// Nothing is asked for before this time.
    due_ms: Cell<u64>,
    /// The account had less than was asked for; no more credit is asked for before this time.
    dry_until_ms: Cell<Option<u64>>,
    /// Why the ledger extends it no more.
    refused: Cell<Option<Reason>>,
    /// The response is a stream of events that the route may end.
    pub(crate) is_events: Cell<bool>,
    ending: Cell<Ending>,
}

/// An extension under way.
#[derive(Clone, Copy, Debug)]
struct Ask {
    add: Msat,
    /// When it was first sent.
    asked_at_ms: u64,
    call: Option<CallId>,
}

/// Why a stream ends before its upstream ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// What was set aside is used up, and there is no more.
    CreditExhausted,
    /// It has cost what its client allows.
    MaxCostExceeded,
    /// The operator revoked the account.
    AccountRevoked,
    /// The hold has ended in the ledger, so nothing can be charged.
    HoldExpired,
}

impl Reason {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::CreditExhausted => "credit_exhausted",
            Self::MaxCostExceeded => "max_cost_exceeded",
            Self::AccountRevoked => "account_revoked",
            Self::HoldExpired => "hold_expired",
        }
    }
}

/// How far the end of a stream is that the gate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It goes on.
    No,
    /// It is to end, since this time.
    Due(Reason, u64),
    /// Its client has been told; nothing more passes.
    Told(Reason),
    /// It was cut off.
    Cut(Reason),
}

impl Keeper {
    /// Keeps the hold of a request that is admitted, until the request has ended.
    pub(crate) fn keep(&self, terms: Terms) -> Rc<Kept> {
        let kept = Rc::new(Kept::new(terms));
        let mut all = self.0.borrow_mut();
        // Most requests end long before the tick. Those that have go before the list grows, which
        // then has room for twice as many as last, so that few are looked at for each that comes.
        if all.len() == all.capacity() {
            all.retain(Kept::lasts);
            let lasting = all.len();
            all.reserve_exact(lasting.max(KEPT_MIN));
        }
        all.push(Rc::clone(&kept));
        kept
    }

    /// Asks for what is due, and cuts off what is to end.
    pub(crate) fn tick(&self, host: &impl Host, to: &Tollwayd) -> Option<CallFault> {
        let now_ms = host.now_ms();
        let (mut fault, mut calls) = (None, 0);
        self.0.borrow_mut().retain(|kept| {
            if !Kept::lasts(kept) {
                return false;
            }
            kept.cut_where_due(host, now_ms);
            if calls < CALLS_PER_TICK_MAX && kept.wants(now_ms) {
                calls += 1;
                fault = kept.send(host, to, now_ms).err().or(fault);
            }
            true
        });
        fault
    }

    /// Takes the answer to an extension; `None` if the call was none of this.
    pub(crate) fn answered(
        &self,
        host: &impl Host,
        call: CallId,
        reply: &CallReply,
    ) -> Option<Result<(), CallFault>> {
        let all = self.0.borrow();
        let is_it = |kept: &&Rc<Kept>| kept.ask.get().is_some_and(|ask| ask.call == Some(call));
        all.iter().find(is_it)?.answered(reply, host.now_ms())
    }
}

impl Kept {
    fn new(terms: Terms) -> Self {
        let expires_at_ms = terms.asked_at_ms.saturating_add(terms.route.hold_ttl_ms);
        Self {
            bytes: Cell::new(0),
            cost: Cell::new(Msat::ZERO),
            capacity: Cell::new(terms.amount),
            expires_at_ms: Cell::new(expires_at_ms),
            seq: Cell::new(0),
            ask: Cell::new(None),
            due_ms: Cell::new(0),
            dry_until_ms: Cell::new(None),
            refused: Cell::new(None),
            is_events: Cell::new(false),
            ending: Cell::new(Ending::No),
            terms,
        }
    }

    /// Whether its request has not ended. One that has posts what it cost, and needs no more.
    fn lasts(kept: &Rc<Self>) -> bool {
        Rc::strong_count(kept) > 1
    }

    /// What the hold can pay.
    pub(crate) fn capacity(&self) -> Msat {
        self.capacity.get()
    }

    /// Why the gate has ended the stream, if it has.
    pub(crate) fn ended(&self) -> Option<Reason> {
        match self.ending.get() {
            Ending::Told(reason) | Ending::Cut(reason) => Some(reason),
            Ending::No | Ending::Due(..) => None,
        }
    }

    /// How far the end of the stream is.
    pub(crate) fn ending(&self, now_ms: u64) -> Ending {
        if self.ending.get() == Ending::No
            && let Some(reason) = self.must_end(now_ms)
        {
            self.ending.set(Ending::Due(reason, now_ms));
        }
        self.ending.get()
    }

    /// The client has been told why.
    pub(crate) fn told(&self, reason: Reason) {
        self.ending.set(Ending::Told(reason));
    }

    /// Whether a part of the response may be the last.
    pub(crate) fn may_end(&self) -> bool {
        self.ends() || self.refused.get().is_some()
    }

    fn ends(&self) -> bool {
        self.terms.route.when_credit_ends == WhenCreditEnds::End
    }

    fn cost(&self, now_ms: u64) -> Msat {
        let cost = match self.terms.clock {
            Some((passing, since_ms)) => {
                passing.cost(self.bytes.get(), now_ms.saturating_sub(since_ms))
            }
            None => self.cost.get(),
        };
        cost.min(self.terms.most)
    }

    fn must_end(&self, now_ms: u64) -> Option<Reason> {
        match self.refused.get() {
            // Whatever the route says: what it costs from here on could not be charged, and the
            // operator wanted it to stop.
            Some(Reason::AccountRevoked) => return Some(Reason::AccountRevoked),
            Some(reason) if self.ends() => return Some(reason),
            _ => {}
        }
        let capacity = self.capacity.get();
        let cost = self.cost(now_ms);
        if !self.ends() || cost < capacity || capacity >= self.terms.most {
            return None;
        }
        let is_dry = !self.grows() || self.dry_until_ms.get().is_some();
        if cost >= self.terms.ceiling {
            Some(Reason::MaxCostExceeded)
        } else {
            is_dry.then_some(Reason::CreditExhausted)
        }
    }

    /// Whether more may be set aside than at first: what `cap` promises the client is the most.
    fn grows(&self) -> bool {
        self.terms.route.overrun != Overrun::Cap
    }

    fn cut_where_due(&self, host: &impl Host, now_ms: u64) {
        let (reason, waits) = match self.ending(now_ms) {
            Ending::No | Ending::Cut(_) => return,
            Ending::Due(reason, since_ms) => {
                (reason, self.is_events.get() && now_ms.saturating_sub(since_ms) < GRACE_MS)
            }
            Ending::Told(reason) => (reason, false),
        };
        if !waits {
            self.ending.set(Ending::Cut(reason));
            host.end_stream(self.terms.stream);
        }
    }

    /// Whether an extension is to be sent now; settles what it asks for.
    fn wants(&self, now_ms: u64) -> bool {
        if now_ms < self.due_ms.get() || self.refused.get().is_some() || self.ended().is_some() {
            return false;
        }
        if let Some(ask) = self.ask.get() {
            return ask.call.is_none();
        }
        let add = self.more_credit(now_ms);
        // Half of the time is for lost answers, and for the posting.
        let left_ms = self.expires_at_ms.get().saturating_sub(now_ms);
        if add == Msat::ZERO && left_ms > self.terms.route.hold_ttl_ms / 2 {
            return false;
        }
        self.ask.set(Some(Ask { add, asked_at_ms: now_ms, call: None }));
        true
    }

    /// As much again as there is, once three quarters of that are used.
    fn more_credit(&self, now_ms: u64) -> Msat {
        let capacity = self.capacity.get();
        let cost = self.cost(now_ms);
        let used = capacity.get() - capacity.get() / 4 <= cost.get();
        let waits = self.dry_until_ms.get().is_some_and(|until_ms| now_ms < until_ms);
        if !self.grows() || !used || waits {
            return Msat::ZERO;
        }
        let short = cost.checked_sub(capacity).unwrap_or_default();
        let most = self.terms.most.min(self.terms.ceiling);
        capacity.max(short).min(most.checked_sub(capacity).unwrap_or_default())
    }

    fn send(&self, host: &impl Host, to: &Tollwayd, now_ms: u64) -> Result<(), CallFault> {
        let Some(ask) = self.ask.get() else { return Ok(()) };
        let request = ExtensionRequest {
            seq: self.seq.get(),
            add_msat: ask.add,
            // Time at least, even where there is no credit.
            min_msat: Some(Msat::ZERO),
            ttl_ms: self.terms.route.hold_ttl_ms,
        };
        match ledger::extend_hold(host, to, self.terms.hold, &request) {
            Ok(call) => {
                self.ask.set(Some(Ask { call: Some(call), ..ask }));
                Ok(())
            }
            Err(fault) => {
                self.due_ms.set(now_ms.saturating_add(RETRY_MS));
                Err(fault)
            }
        }
    }

    fn answered(&self, reply: &CallReply, now_ms: u64) -> Option<Result<(), CallFault>> {
        let ask = self.ask.take()?;
        match ledger::decode::<HoldReply>(reply) {
            Ok(HoldReply::Granted { granted_msat, .. }) => {
                let short = self.capacity.get().checked_add(ask.add) > Some(granted_msat);
                self.capacity.set(granted_msat);
                if ask.add > Msat::ZERO {
                    self.dry_until_ms.set(short.then_some(now_ms.saturating_add(DRY_MS)));
                }
                let until_ms = ask.asked_at_ms.saturating_add(self.terms.route.hold_ttl_ms);
                self.expires_at_ms.set(self.expires_at_ms.get().max(until_ms));
                self.seq.set(self.seq.get().saturating_add(1));
            }
            Ok(HoldReply::Refused { refusal: HoldRefusal::AccountRevoked, .. }) => {
                self.refused.set(Some(Reason::AccountRevoked));
            }
            // The ledger has ended the hold, or knows it in other words.
            Ok(HoldReply::Refused { .. }) | Err(CallFault::Status(404 | 409 | 410 | 422)) => {
                self.refused.set(Some(Reason::HoldExpired));
            }
            Err(fault) => {
                self.ask.set(Some(Ask { call: None, ..ask }));
                self.due_ms.set(now_ms.saturating_add(RETRY_MS));
                return Some(Err(fault));
            }
        }
        Some(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Unmatched};

    fn route() -> Rc<Route> {
        let config = br#"{"tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOKEN"},
            "services": [{"name": "s"}], "routes": [], "unmatched": {"service": "s", "price_sats": 1}}"#;
        let token = |_: &str| Some("a-gate-token-for-tests".to_owned());
        match Config::parse(config, &token).unwrap().unmatched {
            Unmatched::Route(route) => route,
            Unmatched::Deny => unreachable!(),
        }
    }

    #[test]
    fn requests_that_have_ended_do_not_pile_up_between_ticks() {
        let (keeper, route) = (Keeper::default(), route());
        let keep = |n| {
            keeper.keep(Terms {
                stream: StreamId(n),
                hold: HoldId::mint(n.into(), [0; 10]),
                route: Rc::clone(&route),
                amount: Msat::ZERO,
                most: Msat::ZERO,
                ceiling: Msat::ZERO,
                clock: None,
                asked_at_ms: 0,
            })
        };
        let lasting: Vec<_> = (0..100).map(keep).collect();
        for n in 100..10_000 {
            drop(keep(n));
            assert!(keeper.0.borrow().len() <= 400);
        }
        let kept = keeper.0.borrow();
        assert!(lasting.iter().all(|one| kept.iter().any(|it| Rc::ptr_eq(it, one))));
    }
}
