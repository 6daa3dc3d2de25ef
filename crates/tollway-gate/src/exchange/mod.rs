//! One request on its way through the gate: a state machine that is fed events.
//!
//! ```text
//! headers --> free, preflight ------------------------------------> Passed
//!        \--> no or bad credential --> Challenging --> 402 -------> Answered
//!        \--> credential --> Holding --> granted -----------------> Admitted --> charged
//!                                   \--> refused --> Challenging    or refunded at the end
//! any failure of ours --> 503 (or, if the operator chose so, Passed)
//! ```

mod challenge;
mod hold;
mod offer;

use std::rc::Rc;

use tollway_core::header::read_credential;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::pricing::{Price, RequestHead, check_normalised};
use tollway_core::wire::{Overrun, Posting};

use crate::config::{Preflight, Route, Unmatched};
use crate::gate::Gate;
use crate::headers;
use crate::host::{CallId, CallReply, HeaderList, LogField, Reply, Stream};
use crate::metrics::{CallKind, Decision};
use crate::reply;
use crate::settle::{Answer, charge};

use offer::Offer;

/// What the proxy is to do with the request now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Let it go on.
    Continue,
    /// Hold it back: a call is under way.
    Wait,
    /// Answer it; it never reaches the upstream.
    Answer(Reply),
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    gate: Rc<Gate>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing was decided; also what a finished exchange leaves behind.
    Undecided,
    Challenging(Challenging),
    Holding(Holding),
    Admitted(Admitted),
    /// On its way to the upstream without a hold.
    Passed,
    /// Answered by the gate.
    Answered,
}

/// What is remembered of the request while a call is under way.
#[derive(Debug)]
struct Context {
    route: Rc<Route>,
    cost: Msat,
    headers: HeaderList,
    authorization_rest: Option<Vec<u8>>,
    grpc: bool,
    from_browser: bool,
    call_started_ms: u64,
}

#[derive(Debug)]
struct Challenging {
    call: CallId,
    context: Context,
    offer: Offer,
}

#[derive(Debug)]
struct Holding {
    call: CallId,
    context: Context,
    hold: HoldId,
    payment_hash: PaymentHash,
}

#[derive(Debug)]
struct Admitted {
    hold: HoldId,
    route: Rc<Route>,
    cost: Msat,
    /// What the account has left while the hold stands.
    balance: Msat,
    from_browser: bool,
    answer: Option<Answer>,
}

impl Exchange {
    /// A request that has not been seen yet.
    #[must_use]
    pub const fn new(gate: Rc<Gate>) -> Self {
        Self { gate, state: State::Undecided }
    }

    /// Whether the request must be held back: nothing of it may reach the upstream yet, neither
    /// body nor trailers.
    #[must_use]
    pub const fn is_held_back(&self) -> bool {
        !matches!(self.state, State::Admitted(_) | State::Passed)
    }

    /// The request's headers are here.
    pub fn request_headers(&mut self, stream: &impl Stream) -> Step {
        let list = stream.request_headers();
        let grpc = headers::find(&list, "content-type")
            .is_some_and(|value| value.starts_with(b"application/grpc"));
        let target = headers::find(&list, ":path").unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        if let Err(fault) = check_normalised(path) {
            return self.answer(stream, Decision::Denied, reply::path_not_normal(fault, grpc));
        }
        let method = headers::find(&list, ":method").unwrap_or_default();
        if method == b"OPTIONS" && headers::find(&list, "access-control-request-method").is_some() {
            return self.preflight(stream, &list);
        }
        let host = headers::find(&list, ":authority").unwrap_or_default();
        let head = RequestHead { host, path, method, headers: &list };
        let route = match (self.gate.config().routes.find(&head), &self.gate.config().unmatched) {
            (Some(route), _) | (None, Unmatched::Route(route)) => Rc::clone(route),
            (None, Unmatched::Deny) => {
                stream.note(LogField::Reason, "route_not_found");
                return self.answer(stream, Decision::Denied, reply::not_priced(grpc));
            }
        };
        stream.note(LogField::Route, &route.name);
        match route.price {
            Price::Free => {
                let rest = read_credential(&list).authorization_rest;
                headers::strip_request(stream, &list, rest.as_deref());
                headers::mark_free_request(stream);
                self.pass(stream, Decision::Free)
            }
            Price::Fixed(cost) => {
                let context = Context {
                    route,
                    cost,
                    grpc,
                    from_browser: headers::find(&list, "origin").is_some(),
                    headers: list,
                    authorization_rest: None,
                    call_started_ms: stream.now_ms(),
                };
                self.priced(stream, context)
            }
        }
    }

    /// A call of this request was answered.
    pub fn call_answered(&mut self, stream: &impl Stream, call: CallId, reply: &CallReply) -> Step {
        match core::mem::replace(&mut self.state, State::Undecided) {
            State::Holding(holding) if holding.call == call => {
                record(stream, CallKind::Hold, &holding.context);
                self.hold_answered(stream, holding, reply)
            }
            State::Challenging(challenging) if challenging.call == call => {
                record(stream, CallKind::Challenge, &challenging.context);
                self.challenge_answered(stream, challenging, reply)
            }
            // Not a call of this request: what was decided stands.
            state => {
                self.state = state;
                Step::Wait
            }
        }
    }

    /// The response's headers are here; the gate's own answers come by too.
    pub fn response_headers(&mut self, stream: &impl Stream) {
        let State::Admitted(admitted) = &mut self.state else { return };
        let answer = Answer::read(stream);
        admitted.answer = Some(answer);
        // Before an error there is no trouble yet, and asking costs a host call.
        let trouble =
            if answer.is_error() { stream.response_trouble() } else { Default::default() };
        let charged = charge(&admitted.route, admitted.cost, Some(answer), trouble);
        let returned = admitted.cost.checked_sub(charged).unwrap_or_default();
        let balance = admitted.balance.checked_add(returned).unwrap_or(Msat::MAX);
        headers::mark_paid_response(stream, charged, balance, admitted.from_browser);
        stream.note(LogField::CostMsat, &charged.get().to_string());
    }

    /// The stream has ended, one way or another.
    pub fn finished(&mut self, stream: &impl Stream) {
        match core::mem::replace(&mut self.state, State::Answered) {
            State::Admitted(done) => {
                let amount_msat =
                    charge(&done.route, done.cost, done.answer, stream.response_trouble());
                stream.note(LogField::CostMsat, &amount_msat.get().to_string());
                let route = done.route.name.clone();
                self.gate.post(Posting {
                    hold: done.hold,
                    seq: 0,
                    amount_msat,
                    route,
                    release: true,
                    overrun: Overrun::Cap,
                    store: None,
                });
            }
            State::Holding(holding) => {
                // The client left; the hold may stand in the ledger all the same.
                self.release(holding.hold, &holding.context.route);
                decided(stream, Decision::Abandoned);
            }
            State::Challenging(_) => decided(stream, Decision::Abandoned),
            State::Undecided | State::Passed | State::Answered => {}
        }
    }

    fn preflight(&mut self, stream: &impl Stream, list: &HeaderList) -> Step {
        match self.gate.config().preflight {
            Preflight::Pass => {
                let rest = read_credential(list).authorization_rest;
                headers::strip_request(stream, list, rest.as_deref());
                headers::mark_free_request(stream);
                self.pass(stream, Decision::Free)
            }
            Preflight::Answer => {
                let text = |name| {
                    headers::find(list, name)
                        .and_then(|value| core::str::from_utf8(value).ok())
                        .filter(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
                };
                let method = text("access-control-request-method").unwrap_or("GET");
                let names = text("access-control-request-headers");
                self.answer(stream, Decision::Free, reply::preflight(method, names))
            }
        }
    }

    fn release(&self, hold: HoldId, route: &Route) {
        let route = route.name.clone();
        self.gate.post(Posting {
            hold,
            seq: 0,
            amount_msat: Msat::ZERO,
            route,
            release: true,
            overrun: Overrun::Cap,
            store: None,
        });
    }

    fn pass(&mut self, stream: &impl Stream, decision: Decision) -> Step {
        decided(stream, decision);
        self.state = State::Passed;
        Step::Continue
    }

    fn answer(&mut self, stream: &impl Stream, decision: Decision, reply: Reply) -> Step {
        decided(stream, decision);
        self.state = State::Answered;
        Step::Answer(reply)
    }
}

fn record(stream: &impl Stream, kind: CallKind, context: &Context) {
    stream.record_call_ms(kind, stream.now_ms().saturating_sub(context.call_started_ms));
}

fn decided(stream: &impl Stream, decision: Decision) {
    stream.count(decision);
    stream.note(LogField::Decision, decision.name());
}
