//! Holds that travel together.
//!
//! A call costs the proxy and `tollwayd` more than the hold that it asks for. Requests that come in
//! the same turn of the proxy's event loop therefore share one: their holds wait here until the
//! turn ends, and `tollwayd` answers each by itself, a line each.

use std::cell::{Cell, RefCell};

use tollway_core::id::HoldId;
use tollway_core::wire::{ASK_ALONE, HOLDS_PER_BATCH_MAX};

use crate::config::Tollwayd;
use crate::host::{CallId, CallReply, Host};
use crate::ledger;
use crate::lines;

/// The holds of one root that wait for the end of a turn, or for their reply. `W` is by what the
/// proxy finds the request again.
#[derive(Debug)]
pub struct Pool<W> {
    last: Cell<u32>,
    waiting: RefCell<Vec<Pooled<W>>>,
    sent: RefCell<Vec<(CallId, Vec<Pooled<W>>)>>,
}

#[derive(Debug)]
struct Pooled<W> {
    call: CallId,
    hold: HoldId,
    body: Vec<u8>,
    /// `None` until the request says that it waits; one that never does needs no reply.
    request: Option<W>,
}

/// A reply, and whom it is for.
#[derive(Debug)]
pub struct Answered<W> {
    /// Who waits for it.
    pub request: W,
    /// The call it waits for.
    pub call: CallId,
    /// What came back.
    pub reply: CallReply,
}

impl<W> Default for Pool<W> {
    fn default() -> Self {
        Self { last: Cell::new(0), waiting: RefCell::default(), sent: RefCell::default() }
    }
}

impl<W> Pool<W> {
    /// Takes a hold along to the end of its turn, of which the proxy is then to tell.
    pub fn add(&self, hold: HoldId, body: &[u8]) -> CallId {
        let call = CallId(self.last.get().wrapping_add(1));
        self.last.set(call.0);
        let pooled = Pooled { call, hold, body: body.to_owned(), request: None };
        self.waiting.borrow_mut().push(pooled);
        call
    }

    /// Says who waits for the hold that was taken along last, if this is its call; gives it back
    /// if it is not.
    ///
    /// # Errors
    /// The request, which waits for something else.
    pub fn attach(&self, call: CallId, request: W) -> Result<(), W> {
        match self.waiting.borrow_mut().last_mut() {
            Some(last) if last.call == call && last.request.is_none() => {
                last.request = Some(request);
                Ok(())
            }
            _ => Err(request),
        }
    }

    /// Ends the turn: sends what waits. What cannot be sent is answered at once. Called inside a
    /// callback of the root, which gets the replies.
    pub fn send(&self, host: &impl Host, to: &Tollwayd) -> Vec<Answered<W>> {
        let mut failed = Vec::new();
        let mut waiting = self.waiting.take().into_iter();
        loop {
            let batch: Vec<_> = waiting.by_ref().take(HOLDS_PER_BATCH_MAX).collect();
            if batch.is_empty() {
                return failed;
            }
            failed.extend(self.send_batch(host, to, batch));
        }
    }

    fn send_batch(
        &self,
        host: &impl Host,
        to: &Tollwayd,
        batch: Vec<Pooled<W>>,
    ) -> Vec<Answered<W>> {
        let sent = match batch.as_slice() {
            [one] => ledger::send_hold(host, to, one.hold, &one.body),
            all => {
                let asked = all.iter().map(|pooled| (pooled.hold, pooled.body.as_slice()));
                ledger::send_holds(host, to, &lines::write(asked))
            }
        };
        match sent {
            Ok(call) => {
                self.sent.borrow_mut().push((call, batch));
                Vec::new()
            }
            Err(_) => to_all(batch, None),
        }
    }

    /// Takes the reply to a call of the root; `None` if the call was none of this. Holds that are
    /// to be asked for alone are.
    pub fn answered(
        &self,
        host: &impl Host,
        to: &Tollwayd,
        call: CallId,
        reply: &CallReply,
    ) -> Option<Vec<Answered<W>>> {
        let at = self.sent.borrow().iter().position(|(known, _)| *known == call)?;
        let (_, batch) = self.sent.borrow_mut().swap_remove(at);
        if batch.len() == 1 {
            let to_one = |pooled: Pooled<W>| pooled.answered(reply.clone());
            return Some(batch.into_iter().filter_map(to_one).collect());
        }
        let Some(replies) = lines::split(reply, batch.len()) else {
            return Some(to_all(batch, reply.status));
        };
        let mut answered = Vec::with_capacity(batch.len());
        for (pooled, reply) in batch.into_iter().zip(replies) {
            if reply.status == Some(ASK_ALONE) {
                answered.extend(self.send_batch(host, to, vec![pooled]));
            } else {
                answered.extend(pooled.answered(reply));
            }
        }
        Some(answered)
    }
}

impl<W> Pooled<W> {
    fn answered(self, reply: CallReply) -> Option<Answered<W>> {
        Some(Answered { request: self.request?, call: self.call, reply })
    }
}

/// None of them has an answer.
fn to_all<W>(batch: Vec<Pooled<W>>, status: Option<u16>) -> Vec<Answered<W>> {
    let none = CallReply { status, body: Vec::new() };
    batch.into_iter().filter_map(|pooled| pooled.answered(none.clone())).collect()
}
