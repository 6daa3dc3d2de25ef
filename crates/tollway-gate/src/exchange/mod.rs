//! One request on its way through the gate: a state machine that is fed events.
//!
//! ```text
//! headers --> free, preflight ------------------------------------> Passed
//!        \--> price hangs on the body --> Reading --> as any, or refused
//!        \--> price is asked for --> Pricing --> as any, or refused
//!        \--> no credential, free tier --> Asking --> granted -----> Passed
//!        |                                      \--> exhausted --> Challenging
//!        \--> no or bad credential --> Challenging --> 402, 429 --> Answered
//!        \--> credential under a new key --> Refreshing --> as any
//!        \--> session credential ---------------------------------> Passed
//!        \--> credential, lease --> Admitted, or Parked until it is there
//!        \--> credential --> Holding --> granted -----------------> Admitted --> charged
//!                                   \--> charged before ----------> Passed      or refunded
//!                                   |     or its response again --> Answered    at the end
//!                                   \--> refused --> Challenging
//! any failure of ours --> 503 (or, if the operator chose so, Passed)
//! ```

mod admit;
mod ask;
mod challenge;
mod ending;
mod free;
mod hiding;
mod hold;
mod leased;
mod max_cost;
mod metering;
mod offer;
mod presented;
mod profile;
mod quote;
mod rail;
mod reading;
mod refresh;
mod repeat;
mod response;
mod sale;
mod settling;
mod shadow;

use std::rc::Rc;

use tollway_core::budget::TokenBudget;
use tollway_core::credential::VerifiedCredential;
use tollway_core::header_block::HeaderBlock;
use tollway_core::id::HoldId;
use tollway_core::minted::MintedCaveat;
use tollway_core::money::Msat;
use tollway_core::pricing::{Price, Quote, RequestHead, check_normalised};
use tollway_core::tier::Tier;

use crate::config::{Preflight, Route, Unmatched};
use crate::gate::Gate;
use crate::headers::ResponseMarks;
use crate::host::{CallId, CallReply, LogField, Reply, Stream};
use crate::metrics::{CallKind, Decision};
use crate::reply;
use crate::settle::Answer;
use crate::tiers::TierCosts;

use ending::Lasting;
use leased::{Payment, Plan};
use metering::Metering;
use offer::Offer;
use reading::Reading;
use response::Recording;
use settling::Unsettled;

/// What the proxy is to do with the request now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Let it go on.
    Continue,
    /// Hold it back: a call is under way.
    Wait,
    /// Let the response go on, which was held back.
    Respond,
    /// Answer it; it never reaches the upstream.
    Answer(Reply),
}

/// One request.
#[derive(Debug)]
pub struct Exchange {
    gate: Rc<Gate>,
    state: State,
    /// What is decided is not enforced.
    shadow: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was decided; also what a finished exchange leaves behind.
    Undecided,
    Reading(Reading),
    Pricing(Pricing),
    Refreshing(Refreshing),
    Asking(Asking),
    Challenging(Challenging),
    Holding(Holding),
    Parked(Box<Parked>),
    Admitted(Admitted),
    /// On its way to the upstream without a hold.
    Passed(Passed),
    /// Answered by the gate.
    Answered,
}

/// A request whose price is not known yet.
#[derive(Debug)]
struct Asked {
    route: Rc<Route>,
    headers: HeaderBlock,
    grpc: bool,
}

impl Asked {
    /// The request at this price.
    fn at(self, quote: Quote, tiers: Option<TierCosts>, now_ms: u64) -> Context {
        Context {
            route: self.route,
            cost: quote.cost,
            ceiling: Msat::MAX,
            quote,
            rpc_id: None,
            grpc: self.grpc,
            from_browser: self.headers.find("origin").is_some(),
            headers: self.headers,
            authorization_rest: None,
            call_started_ms: now_ms,
            rounds: 0,
            budgets: Vec::new(),
            minted: Vec::new(),
            wish: None,
            tiers,
        }
    }
}

/// What is remembered of the request while a call is under way.
#[derive(Debug)]
struct Context {
    route: Rc<Route>,
    cost: Msat,
    /// The most that the client lets it turn out to cost.
    ceiling: Msat,
    quote: Quote,
    /// The id to answer, where a challenge is a JSON-RPC error.
    rpc_id: Option<String>,
    headers: HeaderBlock,
    authorization_rest: Option<Vec<u8>>,
    grpc: bool,
    from_browser: bool,
    /// When the call under way was sent; before the first call, when the request came.
    call_started_ms: u64,
    /// How often it has waited for a lease in vain.
    rounds: u8,
    /// The budgets of the token that admits it.
    budgets: Vec<TokenBudget>,
    /// What the operator has written into its token.
    minted: Vec<MintedCaveat>,
    /// The tier that the client has chosen, where it may.
    wish: Option<Tier>,
    /// What it costs other tiers, where that is not the same.
    tiers: Option<TierCosts>,
}

/// Waits to hear what it costs.
#[derive(Debug)]
struct Pricing {
    call: CallId,
    context: Context,
}

/// Waits for the keys: the credential's is not among those that are known.
#[derive(Debug)]
struct Refreshing {
    call: CallId,
    context: Context,
}

/// Waits to hear whether the request is free.
#[derive(Debug)]
struct Asking {
    call: CallId,
    context: Context,
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
    asks: Asks,
    /// The request came with an idempotency key.
    keyed: bool,
    plan: Plan,
}

/// What asks for a hold.
#[derive(Debug)]
enum Asks {
    /// A credential of ours, which was verified here.
    Own(Rc<VerifiedCredential>),
    /// One of another rail, which `tollwayd` judges.
    /// With what was asked.
    OnRail(Vec<u8>),
}

/// Waits for a lease that another request asks for, or that waits for an answer itself.
#[derive(Debug)]
struct Parked {
    context: Context,
    credential: Rc<VerifiedCredential>,
}

#[derive(Debug)]
struct Admitted {
    payment: Payment,
    route: Rc<Route>,
    cost: Msat,
    /// The most that the client lets it turn out to cost.
    ceiling: Msat,
    /// What the account has left while the hold stands.
    balance: Msat,
    from_browser: bool,
    answer: Option<Answer>,
    /// Where the request's cost shows only with the response.
    metering: Option<Metering>,
    /// Where the request has a hold of its own, which must last as long.
    lasting: Option<Lasting>,
    /// The whole response has passed.
    complete: bool,
    /// Where the response may have to be given again.
    recording: Option<Recording>,
    /// What a success tells of a payment on another rail.
    receipt: Vec<(String, String)>,
    /// What has to be done before an answer leaves.
    settle: Option<Box<Unsettled>>,
}

/// What the client is told of a request without a hold, if anything.
#[derive(Clone, Copy, Debug)]
struct Passed {
    marks: Option<ResponseMarks>,
    from_browser: bool,
}

impl Exchange {
    /// A request that has not been seen yet.
    #[must_use]
    pub const fn new(gate: Rc<Gate>) -> Self {
        Self { gate, state: State::Undecided, shadow: false }
    }

    /// Whether the request must be held back: nothing of it may reach the upstream yet, neither
    /// body nor trailers.
    #[must_use]
    pub const fn is_held_back(&self) -> bool {
        !matches!(self.state, State::Admitted(_) | State::Passed(_))
    }

    /// The request's headers are here; `end` says that nothing follows them.
    pub fn request_headers(&mut self, stream: &impl Stream, end: bool) -> Step {
        self.shadow = self.gate.config().shadow;
        let list = stream.request_headers();
        let grpc =
            list.find("content-type").is_some_and(|value| value.starts_with(b"application/grpc"));
        let target = list.find(":path").unwrap_or_default();
        let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
        if let Err(fault) = check_normalised(path) {
            return self.answer(stream, Decision::Denied, reply::path_not_normal(fault, grpc));
        }
        let method = list.find(":method").unwrap_or_default();
        if method == b"OPTIONS" && list.find("access-control-request-method").is_some() {
            return self.preflight(stream, &list);
        }
        let host = list.find(":authority").unwrap_or_default();
        let head = RequestHead { host, path, method, headers: &list };
        let route = match (self.gate.config().routes.find(&head), &self.gate.config().unmatched) {
            (Some(route), _) | (None, Unmatched::Route(route)) => Rc::clone(route),
            (None, Unmatched::Deny) => {
                stream.note(LogField::Reason, "route_not_found");
                return self.answer(stream, Decision::Denied, reply::not_priced(grpc));
            }
        };
        stream.note(LogField::Route, &route.name);
        self.shadow = route.shadow.unwrap_or(self.shadow);
        let asked = Asked { route, headers: list, grpc };
        match asked.route.price {
            Price::Free => self.pass_free(stream, &asked.headers),
            Price::Fixed(cost) => {
                self.priced(stream, asked.at(Quote::fixed(cost), None, stream.now_ms()))
            }
            Price::Denied | Price::Fiat(_) | Price::Rule(_) => {
                self.price_by_rule(stream, asked, end)
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
            State::Asking(asking) if asking.call == call => {
                record(stream, CallKind::Allowance, &asking.context);
                self.allowance_answered(stream, asking, reply)
            }
            State::Pricing(pricing) if pricing.call == call => {
                self.price_answered(stream, pricing.context, reply)
            }
            State::Refreshing(refreshing) if refreshing.call == call => {
                self.keys_answered(stream, refreshing.context, reply)
            }
            State::Challenging(challenging) if challenging.call == call => {
                record(stream, CallKind::Challenge, &challenging.context);
                self.challenge_answered(stream, challenging, reply)
            }
            State::Admitted(admitted) if admitted.settles_by(call) => {
                self.settle_answered(stream, admitted, reply)
            }
            // Not a call of this request: what was decided stands.
            state => {
                self.state = state;
                Step::Wait
            }
        }
    }

    /// The call that the request waits for, if it waits for one.
    #[must_use]
    pub const fn awaited_call(&self) -> Option<CallId> {
        match &self.state {
            State::Holding(holding) => Some(holding.call),
            State::Asking(asking) => Some(asking.call),
            State::Challenging(challenging) => Some(challenging.call),
            State::Pricing(pricing) => Some(pricing.call),
            State::Refreshing(refreshing) => Some(refreshing.call),
            _ => None,
        }
    }

    fn preflight(&mut self, stream: &impl Stream, list: &HeaderBlock) -> Step {
        match self.gate.config().preflight {
            Preflight::Pass => self.pass_free(stream, list),
            Preflight::Answer => {
                let text = |name| {
                    list.find(name)
                        .and_then(|value| core::str::from_utf8(value).ok())
                        .filter(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte)))
                };
                let method = text("access-control-request-method").unwrap_or("GET");
                let names = text("access-control-request-headers");
                self.answer(stream, Decision::Free, reply::preflight(method, names))
            }
        }
    }

    fn answer(&mut self, stream: &impl Stream, decision: Decision, reply: Reply) -> Step {
        self.decided(stream, decision);
        if self.shadow {
            return self.let_pass(stream);
        }
        self.state = State::Answered;
        Step::Answer(reply)
    }
}

fn record(stream: &impl Stream, kind: CallKind, context: &Context) {
    stream.record_call_ms(kind, stream.now_ms().saturating_sub(context.call_started_ms));
}
