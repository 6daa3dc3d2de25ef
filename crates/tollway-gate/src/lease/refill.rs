//! The work between requests: reporting what was earned, asking for more, giving back what is
//! idle.

use std::cell::Cell;
use std::rc::Rc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{
    ExtensionRequest, HOLDS_PER_BATCH_MAX, HoldRefusal, HoldReply, Posting, PostingResult,
};

use super::Leases;
use super::slot::{Pending, Slot, sum};
use super::table::{Change, Edited, TRIES_BETWEEN, Which, edit};
use super::tally::{Earned, Settled, Tally, release};
use crate::config::Tollwayd;
use crate::host::{CallId, CallReply, Host};
use crate::ledger::{self, CallFault};
use crate::lines;
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

    fn is_due(&self, now_ms: u64) -> bool {
        self.call.get().is_none() && self.due_ms.get() <= now_ms
    }

    /// It was asked for often enough.
    fn is_given_up(&self, now_ms: u64) -> bool {
        let since = self.first_sent_ms.get().map(|first_ms| now_ms.saturating_sub(first_ms));
        self.is_due(now_ms) && since.is_some_and(|since_ms| since_ms > RETRY_FOR_MS)
    }

    fn sent(&self, call: CallId, now_ms: u64) {
        self.call.set(Some(call));
        self.first_sent_ms.set(self.first_sent_ms.get().or(Some(now_ms)));
    }

    /// No answer came.
    fn later(&self, now_ms: u64) {
        self.call.set(None);
        self.first_sent_ms.set(self.first_sent_ms.get().or(Some(now_ms)));
        self.due_ms.set(now_ms.saturating_add(RETRY_MS));
    }
}

/// Asks for these refills, of which there is at least one.
fn send(host: &impl Host, to: &Tollwayd, batch: &[&Refill]) -> Result<CallId, CallFault> {
    if let [one] = batch {
        return ledger::extend_hold(host, to, one.hold, &one.request);
    }
    let bodies: Vec<_> = batch.iter().map(|one| ledger::encode(&one.request)).collect();
    let asked = batch.iter().zip(&bodies).map(|(one, body)| (one.hold, body.as_slice()));
    ledger::extend_holds(host, to, &lines::write(asked))
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
            removed = over || slot.is_over() || slot.is_idle(now_ms, idle_ms);
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

    /// Sends what is due, as few calls as can be.
    fn send_refills(&self, host: &impl Host, to: &Tollwayd, now_ms: u64) -> Option<CallFault> {
        let mut refills = self.refills.borrow_mut();
        refills.retain(|refill| !refill.is_given_up(now_ms));
        let due: Vec<_> = refills.iter().filter(|refill| refill.is_due(now_ms)).collect();
        let mut fault = None;
        for batch in due.chunks(HOLDS_PER_BATCH_MAX) {
            match send(host, to, batch) {
                Ok(call) => batch.iter().for_each(|refill| refill.sent(call, now_ms)),
                Err(unsent) => {
                    fault = Some(unsent);
                    batch.iter().for_each(|refill| refill.later(now_ms));
                }
            }
        }
        fault
    }

    /// Takes the answer to refills; `None` if the call was none of this.
    pub(crate) fn refill_answered(
        &self,
        host: &impl Host,
        call: CallId,
        reply: &CallReply,
    ) -> Option<Result<(), CallFault>> {
        // In the order of the call: what was sent keeps its place, and what is new comes last.
        let of_call = |refill: &mut Refill| refill.call.get() == Some(call);
        let batch: Vec<_> = self.refills.borrow_mut().extract_if(.., of_call).collect();
        let now_ms = host.now_ms();
        let replies = match batch.len() {
            0 => return None,
            1 => Some(vec![reply.clone()]),
            refills => lines::split(reply, refills),
        };
        let Some(replies) = replies else {
            // It is an answer to none of them.
            batch.iter().for_each(|refill| refill.later(now_ms));
            self.refills.borrow_mut().extend(batch);
            return Some(Err(ledger::fault_of(reply)));
        };
        let each = batch.into_iter().zip(replies);
        let each = each.map(|(refill, reply)| self.one_answered(host, refill, &reply, now_ms));
        // All of them are to hear their answers, whatever became of the first.
        Some(each.fold(Ok(()), Result::and))
    }

    fn one_answered(
        &self,
        host: &impl Host,
        refill: Refill,
        reply: &CallReply,
        now_ms: u64,
    ) -> Result<(), CallFault> {
        match ledger::decode::<HoldReply>(reply) {
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
                refill.later(now_ms);
                self.refills.borrow_mut().push(refill);
                Err(fault)
            }
        }
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
