//! The work between requests: reporting what was earned, asking for more, giving back what is
//! idle.

use std::cell::Cell;
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{ExtensionRequest, HoldRefusal, HoldReply, Posting, PostingResult};

use super::Leases;
use super::slot::{Pending, Slot, sum};
use super::table::{Change, Edited, TRIES_BETWEEN, Which, edit};
use super::tally::{Earned, Settled, Tally, release};
use crate::config::Tollwayd;
use crate::host::{CallId, CallReply, Host};
use crate::ledger::{self, CallFault};
use crate::metrics::LeaseEvent;
use crate::outbox::Outbox;

/// The pause before a refill is asked for again when no answer came.
const RETRY_MS: u64 = 200;
/// For so long this worker asks again; then whoever spends from the lease next does.
pub(super) const RETRY_FOR_MS: u64 = 20_000;

/// A refill that this worker asks for.
#[derive(Debug)]
pub(super) struct Refill {
    token: PaymentHash,
    hold: HoldId,
    request: ExtensionRequest,
    call: Cell<Option<CallId>>,
    due_ms: Cell<u64>,
    first_sent_ms: Cell<Option<u64>>,
}

impl Refill {
    pub(super) fn of(slot: &Slot) -> Self {
        let min_msat = (slot.add_min > Msat::ZERO).then_some(slot.add_min);
        Self {
            token: slot.token,
            hold: slot.hold,
            request: ExtensionRequest {
                seq: slot.refill_seq,
                add_msat: slot.add,
                min_msat,
                ttl_ms: slot.ttl_ms.into(),
            },
            call: Cell::new(None),
            due_ms: Cell::new(0),
            first_sent_ms: Cell::new(None),
        }
    }

    pub(super) fn is_of(&self, slot: &Slot) -> bool {
        self.hold == slot.hold && self.request.seq == slot.refill_seq
    }
}

impl Leases {
    /// Does what is due: hands reports to the outbox, asks for refills, gives back idle leases.
    pub(crate) fn tick(
        &self,
        host: &impl Host,
        to: &Tollwayd,
        idle_ms: u64,
        outbox: &mut Outbox,
    ) -> Option<CallFault> {
        let now_ms = host.now_ms();
        self.return_shares();
        self.report(host, outbox);
        self.give_back_idle(host, now_ms, idle_ms, outbox);
        self.demand.borrow_mut().clear();
        self.send_refills(host, to, now_ms)
    }

    /// One row for each lease and route, and the lease's record brought up to date.
    fn report(&self, host: &impl Host, outbox: &mut Outbox) {
        for tally in self.dirty.take() {
            // While rows wait, what is earned meanwhile is added up here.
            if outbox.has_room() {
                for Earned { route, amount, requests } in tally.charged.take() {
                    outbox.push(Posting {
                        amount_msat: amount,
                        requests,
                        route: route.name.clone(),
                        release: false,
                        ..release(tally.hold, tally.seq())
                    });
                }
            }
            tally.is_dirty.set(false);
            match tally.settle(host) {
                Settled::Told => {}
                Settled::Later => self.mark_dirty(&tally),
                Settled::Last => outbox.push(tally.release()),
            }
            if !tally.charged.borrow().is_empty() {
                self.mark_dirty(&tally);
            }
        }
    }

    /// A row was answered.
    pub(crate) fn posted(&self, host: &impl Host, row: &Posting, result: &PostingResult) {
        if row.release {
            return;
        }
        let Some(tally) = self.known.borrow().get(&row.hold).cloned() else { return };
        tally.posted.set(sum(tally.posted.get(), row.amount_msat));
        if result.revoked {
            self.end(host, &tally.token, tally.hold);
        }
        // Else it goes along with what is spent next, or with the look whether the lease is idle:
        // to tell it at once takes a look and a swap, as a request does.
        if !tally.can_wait.get() {
            self.mark_dirty(&tally);
        }
    }

    /// The record with what this worker knows to be posted.
    pub(super) fn heard(&self, slot: Slot) -> Slot {
        let known = self.known.borrow();
        let posted = known.get(&slot.hold).map_or(Msat::ZERO, |tally| tally.posted.get());
        Slot { settled: sum(slot.settled, posted), ..slot }
    }

    /// Looks at the leases that may be idle, those first that were used longest ago.
    fn give_back_idle(&self, host: &impl Host, now_ms: u64, idle_ms: u64, outbox: &mut Outbox) {
        loop {
            let mut watch = self.watch.borrow_mut();
            if watch.front().is_none_or(|(at, _)| at.saturating_add(idle_ms) > now_ms) {
                return;
            }
            let Some((_, tally)) = watch.pop_front() else { return };
            let used_at_ms = tally.used_at_ms.get();
            if used_at_ms.saturating_add(idle_ms) > now_ms {
                watch.push_back((used_at_ms, tally));
                continue;
            }
            drop(watch);
            if self.end_idle(host, now_ms, idle_ms, &tally, outbox) {
                self.known.borrow_mut().remove(&tally.hold);
            } else {
                self.watch.borrow_mut().push_back((now_ms, tally));
            }
        }
    }

    /// Gives the lease back if no worker uses it. Returns whether this worker is done with it.
    fn end_idle(
        &self,
        host: &impl Host,
        now_ms: u64,
        idle_ms: u64,
        tally: &Rc<Tally>,
        outbox: &mut Outbox,
    ) -> bool {
        // Known and here; any more is a request under way or a report to come.
        const OWNERS: usize = 2;
        let (mut ours, mut over) = (false, false);
        let mut removed = false;
        let edited = edit(host, tally.lease(), TRIES_BETWEEN, &mut |slot, _| {
            over = slot.is_some_and(|slot| slot.expires_at_ms <= now_ms);
            ours = slot.is_some();
            let Some(before) = slot else { return Change::Leave };
            let mut slot = before;
            tally.tell(&mut slot);
            removed = over || slot.is_idle(now_ms, idle_ms);
            match removed {
                true => Change::Remove,
                false if slot == before => Change::Leave,
                false => Change::Put(slot),
            }
        });
        if edited != Edited::Contended {
            tally.told();
        }
        let removed = removed && edited == Edited::Done;
        if removed && !over {
            outbox.push(tally.release());
            host.count_lease(LeaseEvent::Returned);
        }
        let gone = removed || (edited == Edited::Left && !ours);
        gone && Rc::strong_count(tally) <= OWNERS
    }

    pub(super) fn ask_refill(&self, slot: &Slot) {
        let mut refills = self.refills.borrow_mut();
        // What was marked just now is new; else another worker may have left it behind.
        let new = slot.pending == Pending::Refill { since_ms: slot.used_at_ms };
        if new || !refills.iter().any(|refill| refill.is_of(slot)) {
            refills.push(Refill::of(slot));
        }
    }

    fn send_refills(&self, host: &impl Host, to: &Tollwayd, now_ms: u64) -> Option<CallFault> {
        let mut fault = None;
        self.refills.borrow_mut().retain(|refill| {
            if refill.call.get().is_some() || now_ms < refill.due_ms.get() {
                return true;
            }
            let first_ms = refill.first_sent_ms.get().unwrap_or(now_ms);
            refill.first_sent_ms.set(Some(first_ms));
            if now_ms.saturating_sub(first_ms) > RETRY_FOR_MS {
                return false;
            }
            match ledger::extend_hold(host, to, refill.hold, &refill.request) {
                Ok(call) => refill.call.set(Some(call)),
                Err(unsent) => {
                    fault = Some(unsent);
                    refill.due_ms.set(now_ms.saturating_add(RETRY_MS));
                }
            }
            true
        });
        fault
    }

    /// Takes the answer to a refill; `None` if the call was none of this.
    pub(crate) fn refill_answered(
        &self,
        host: &impl Host,
        call: CallId,
        reply: &CallReply,
    ) -> Option<Result<(), CallFault>> {
        let at = self.refills.borrow().iter().position(|one| one.call.get() == Some(call))?;
        let refill = self.refills.borrow_mut().swap_remove(at);
        let now_ms = host.now_ms();
        Some(match ledger::decode::<HoldReply>(reply) {
            Ok(HoldReply::Granted { granted_msat, balance_msat, .. }) => {
                host.count_lease(LeaseEvent::Refilled);
                self.book(host, &refill, |slot| slot.refilled(granted_msat, balance_msat));
                Ok(())
            }
            Ok(HoldReply::Refused {
                refusal: HoldRefusal::InsufficientCredit,
                balance_msat,
                ..
            }) => {
                self.book(host, &refill, |slot| slot.refill_refused(balance_msat, now_ms));
                Ok(())
            }
            Ok(HoldReply::Refused { .. }) => {
                self.end(host, &refill.token, refill.hold);
                Ok(())
            }
            Err(CallFault::Status(404 | 410)) => {
                self.drop_slot(host, &refill.token, refill.hold);
                Ok(())
            }
            // It knows the refill in other words; or this is a late copy of one that was answered
            // to another worker, and the lease has had others since.
            Err(CallFault::Status(409 | 422)) => {
                self.drop_waiting(host, &refill);
                Ok(())
            }
            Err(fault) => {
                refill.call.set(None);
                refill.due_ms.set(now_ms.saturating_add(RETRY_MS));
                self.refills.borrow_mut().push(refill);
                Err(fault)
            }
        })
    }

    /// Drops the lease's record, if it still waits for this refill.
    fn drop_waiting(&self, host: &impl Host, refill: &Refill) {
        let lease = (&refill.token, Which::Of(refill.hold));
        let edited = edit(host, lease, TRIES_BETWEEN, &mut |slot, _| match slot {
            Some(slot) if refill.is_of(&slot) => Change::Remove,
            _ => Change::Leave,
        });
        if edited == Edited::Done {
            self.shares.forget(refill.hold);
        }
    }

    /// Changes the lease's record, if it still waits for this refill.
    fn book(&self, host: &impl Host, refill: &Refill, change: impl Fn(&mut Slot)) {
        let lease = (&refill.token, Which::Of(refill.hold));
        edit(host, lease, TRIES_BETWEEN, &mut |slot, _| match slot {
            Some(mut slot) if refill.is_of(&slot) && slot.is_refilling() => {
                change(&mut slot);
                Change::Put(slot)
            }
            _ => Change::Leave,
        });
    }
}
