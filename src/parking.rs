//! Streams that wait for something which no call of their own will answer.
//!
//! The SDK hands the reply to a call to the context that was active when the call was sent, and
//! wakes no other. A stream that waits for another stream's lease is therefore kept here, and so
//! is one whose call was sent from a callback of the root. Neither is inside a callback of its
//! own when its time comes, so no borrow of it is open.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use tollway_core::payment::PaymentHash;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallId, CallReply};

use tollway_gate::pool::Answered;

use crate::envoy::EnvoyHost;
use crate::http::send;
use crate::turn::Turns;

/// A stream as others reach it.
#[derive(Clone)]
pub(crate) struct Waiting {
    pub(crate) context_id: u32,
    pub(crate) host: EnvoyHost,
    pub(crate) exchange: Rc<RefCell<Exchange>>,
}

/// The streams of one root that wait. They are few at a time.
pub(crate) struct Parking {
    /// Those whose hold leaves with others.
    turns: Rc<Turns>,
    for_lease: RefCell<Vec<(PaymentHash, Waiting)>>,
    for_root: RefCell<Vec<(CallId, Waiting)>>,
}

impl Parking {
    pub(crate) fn new(turns: Rc<Turns>) -> Self {
        Self { turns, for_lease: RefCell::default(), for_root: RefCell::default() }
    }

    /// Keeps the stream, if it waits for a lease or for a hold that leaves with others. Gives it
    /// back, with the call, if it waits for one of its own.
    pub(crate) fn park(&self, waiting: Waiting) -> Option<(CallId, Waiting)> {
        let (token, call) = {
            let exchange = waiting.exchange.borrow();
            (exchange.parked_for(), exchange.awaited_call())
        };
        match (token, call) {
            (Some(token), _) => self.for_lease.borrow_mut().push((token, waiting)),
            (None, Some(call)) => {
                return self.turns.holds.attach(call, waiting).err().map(|waiting| (call, waiting));
            }
            (None, None) => {}
        }
        None
    }

    /// The stream has ended.
    pub(crate) fn leave(&self, context_id: u32) {
        self.for_lease.borrow_mut().retain(|(_, waiting)| waiting.context_id != context_id);
    }

    /// Lets go on what waited for a request that has its answer. `may_call` inside a callback of
    /// the root, which gets the replies to the calls that are sent there; inside that of another
    /// stream only what a lease can pay now goes on.
    pub(crate) fn wake_decided(&self, gate: &Gate, may_call: bool) {
        let decided = gate.take_decided();
        if !decided.is_empty() {
            self.wake(may_call, |token| decided.contains(token));
        }
    }

    /// Lets everything go on that waits for no request. Called inside the root's tick.
    pub(crate) fn wake_all(&self, gate: &Gate) {
        self.wake(true, |token| !gate.is_opening(token));
    }

    fn wake(&self, may_call: bool, is_due: impl Fn(&PaymentHash) -> bool) {
        for (token, waiting) in self.for_lease.take() {
            if is_due(&token) {
                self.with(waiting, |host, exchange| exchange.woken(host, may_call));
            } else {
                self.for_lease.borrow_mut().push((token, waiting));
            }
        }
    }

    /// The root got a reply that is none of its own.
    pub(crate) fn answered(&self, call: CallId, reply: &CallReply) {
        let at = self.for_root.borrow().iter().position(|(known, _)| *known == call);
        let waiting = at.map(|at| self.for_root.borrow_mut().swap_remove(at).1);
        if let Some(waiting) = waiting {
            self.with(waiting, |host, exchange| exchange.call_answered(host, call, reply));
        }
    }

    /// Hands replies to those whose holds left together.
    pub(crate) fn deliver(&self, answered: Vec<Answered<Waiting>>) {
        for Answered { request, call, reply } in answered {
            self.with(request, |host, exchange| exchange.call_answered(host, call, &reply));
        }
    }

    /// Acts for another stream, and keeps it if it waits again.
    fn with(&self, waiting: Waiting, act: impl FnOnce(&EnvoyHost, &mut Exchange) -> Step) {
        // A stream that is gone has nothing left to decide.
        if hostcalls::set_effective_context(waiting.context_id).is_err() {
            return;
        }
        let step = act(&waiting.host, &mut waiting.exchange.borrow_mut());
        match step {
            // What waits here waits with its request.
            Step::Continue | Step::Respond => {
                let _ = hostcalls::resume_http_request();
            }
            Step::Answer(reply) => send(&reply),
            // The root gets the reply to a call that was sent here.
            Step::Wait => self.for_root.borrow_mut().extend(self.park(waiting)),
        }
    }
}
