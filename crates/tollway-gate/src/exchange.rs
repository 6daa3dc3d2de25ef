//! One request on its way through the gate: a state machine that is fed events.
//!
//! ```text
//! headers --> free, preflight ------------------------------------> Passed
//!        \--> no or bad credential --> Challenging --> 402 -------> Answered
//!        \--> credential --> Holding --> granted -----------------> Admitted --> charged
//!                                   \--> refused --> Challenging    or refunded at the end
//! any failure of ours --> 503 (or, if the operator chose so, Passed)
//! ```

use std::rc::Rc;

use tollway_core::challenge::{Challenge, ChallengeNotes, ChallengeTerms};
use tollway_core::credential::{RequestFacts, VerifiedCredential};
use tollway_core::header::read_credential;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::pricing::{Price, RequestHead, check_normalised};
use tollway_core::wire::{
    ChallengeReply, ChallengeRequest, HoldRefusal, HoldReply, HoldRequest, Posting,
};

use crate::cache::{CredentialCache, Known};
use crate::config::{Preflight, Route, Unmatched};
use crate::gate::Gate;
use crate::headers;
use crate::host::{CallId, CallReply, HeaderList, LogField, Reply, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::{CallKind, Decision};
use crate::reply;
use crate::settle::{Answer, charge};

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

/// Why a challenge is made, and for which account.
#[derive(Clone, Debug)]
struct Offer {
    code: &'static str,
    detail: String,
    top_up: Option<PaymentHash>,
    balance: Option<Msat>,
}

impl Offer {
    fn first_payment(detail: &str) -> Self {
        Self { code: "payment_required", detail: detail.to_owned(), top_up: None, balance: None }
    }

    fn rejected(code: &'static str, why: impl core::fmt::Display) -> Self {
        Self { code, detail: why.to_string(), top_up: None, balance: None }
    }
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

    /// Decides what a request on a priced route presents.
    fn priced(&mut self, stream: &impl Stream, mut context: Context) -> Step {
        if !self.gate.is_ready() {
            return self.fail(stream, context, None);
        }
        match self.credential(&mut context) {
            Err(offer) => {
                stream.count(Decision::Invalid);
                self.challenge(stream, context, offer)
            }
            Ok(None) => {
                let offer = Offer::first_payment(FIRST_PAYMENT);
                self.challenge(stream, context, offer)
            }
            Ok(Some(credential)) => match self.authorize(stream, &context, &credential) {
                Ok(()) => self.hold(stream, context, &credential),
                Err(offer) => {
                    stream.count(Decision::Invalid);
                    self.challenge(stream, context, offer)
                }
            },
        }
    }

    /// The verified credential of the request, from the cache or from its headers.
    fn credential(&self, context: &mut Context) -> Result<Option<Rc<VerifiedCredential>>, Offer> {
        let Some(key) = CredentialCache::key(&context.headers) else { return Ok(None) };
        if let Some(known) = self.gate.recall(&key) {
            context.authorization_rest = known.authorization_rest;
            return Ok(Some(known.credential));
        }
        let presented = read_credential(&context.headers);
        context.authorization_rest.clone_from(&presented.authorization_rest);
        let credential =
            presented.credential.map_err(|fault| Offer::rejected(fault.code(), fault))?;
        let Some(credential) = credential else { return Ok(None) };
        let verified = self
            .gate
            .with_keyring(|keyring| credential.verify(keyring))
            // `is_ready` was asked before; without keys nothing is accepted.
            .ok_or_else(|| Offer::first_payment(FIRST_PAYMENT))?
            .map_err(|fault| Offer::rejected(fault.code(), fault))?;
        let credential = Rc::new(verified);
        let authorization_rest = context.authorization_rest.clone();
        self.gate.remember(key, Known { credential: Rc::clone(&credential), authorization_rest });
        Ok(Some(credential))
    }

    /// Asks the credential's caveats whether they allow this request.
    fn authorize(
        &self,
        stream: &impl Stream,
        context: &Context,
        credential: &VerifiedCredential,
    ) -> Result<(), Offer> {
        let target = headers::find(&context.headers, ":path").unwrap_or_default();
        let client = stream.client_address();
        let facts = RequestFacts {
            service: &context.route.service.name,
            path: target.split(|byte| *byte == b'?').next().unwrap_or_default(),
            method: headers::find(&context.headers, ":method").unwrap_or_default(),
            client_ip: client.as_deref(),
            now_s: stream.now_ms() / 1_000,
            cost: context.cost,
        };
        credential.authorize(&facts).map_err(|fault| Offer::rejected(fault.code(), fault))
    }

    /// Asks `tollwayd` to set the cost aside.
    fn hold(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        credential: &VerifiedCredential,
    ) -> Step {
        let now_ms = stream.now_ms();
        let hold = self.gate.mint_hold_id(now_ms);
        // The proof travels every time: it costs less than knowing whether the ledger needs it,
        // and it heals a ledger that was restored from a backup.
        let request = HoldRequest {
            payment_hash: credential.payment_hash(),
            preimage: credential.preimage().clone(),
            amount_msat: context.cost,
            ttl_ms: context.route.hold_ttl_ms,
            route: context.route.name.clone(),
        };
        context.call_started_ms = now_ms;
        match ledger::place_hold(stream, &self.gate.config().tollwayd, hold, &request) {
            Ok(call) => {
                let payment_hash = request.payment_hash;
                self.state = State::Holding(Holding { call, context, hold, payment_hash });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    fn hold_answered(&mut self, stream: &impl Stream, holding: Holding, reply: &CallReply) -> Step {
        let Holding { context, hold, payment_hash, .. } = holding;
        match ledger::decode::<HoldReply>(reply) {
            Ok(HoldReply::Granted { account, granted_msat, balance_msat })
                if granted_msat == context.cost =>
            {
                self.gate.reached(stream);
                self.admit(stream, context, hold, &account, balance_msat)
            }
            Ok(HoldReply::Refused { refusal, balance_msat }) => {
                self.gate.reached(stream);
                let offer = refused(refusal, payment_hash, context.cost, balance_msat);
                self.challenge(stream, context, offer)
            }
            // A grant of another amount is not an answer to what was asked.
            outcome => {
                self.release(hold, &context.route);
                self.fail(stream, context, Some(outcome.err().unwrap_or(CallFault::Garbage)))
            }
        }
    }

    fn admit(
        &mut self,
        stream: &impl Stream,
        context: Context,
        hold: HoldId,
        account: &PaymentHash,
        balance: Msat,
    ) -> Step {
        let Context { route, cost, headers: list, authorization_rest, from_browser, .. } = context;
        headers::strip_request(stream, &list, authorization_rest.as_deref());
        headers::mark_paid_request(stream, account, cost, balance);
        stream.note(LogField::Account, &account.to_hex());
        decided(stream, Decision::Ok);
        self.state =
            State::Admitted(Admitted { hold, route, cost, balance, from_browser, answer: None });
        Step::Continue
    }

    /// Asks `tollwayd` for an invoice, or names the price alone.
    fn challenge(&mut self, stream: &impl Stream, mut context: Context, offer: Offer) -> Step {
        stream.note(LogField::Reason, offer.code);
        if headers::find(&context.headers, ":method") == Some(b"HEAD") {
            return self.answer(stream, Decision::Challenged, reply::price_only(context.cost));
        }
        let service = &context.route.service;
        let wanted = service.purchase_default.unwrap_or_default().max(context.cost);
        // Above the largest amount there is no whole sat to round up to; ask for what there is.
        let amount_msat = wanted.rounded_up_to_sat().unwrap_or(wanted);
        let request = ChallengeRequest {
            route: context.route.name.clone(),
            amount_msat,
            memo: context.route.description.clone(),
            top_up: offer.top_up,
        };
        context.call_started_ms = stream.now_ms();
        match ledger::open_challenge(stream, &self.gate.config().tollwayd, &request) {
            Ok(call) => {
                self.state = State::Challenging(Challenging { call, context, offer });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    fn challenge_answered(
        &mut self,
        stream: &impl Stream,
        challenging: Challenging,
        reply: &CallReply,
    ) -> Step {
        let Challenging { context, offer, .. } = challenging;
        let invoice = match ledger::decode::<ChallengeReply>(reply) {
            Ok(invoice) => invoice,
            Err(fault) => return self.fail(stream, context, Some(fault)),
        };
        self.gate.reached(stream);
        let service = &context.route.service;
        let terms = ChallengeTerms {
            location: &self.gate.config().location,
            payment_hash: invoice.payment_hash,
            service: &service.name,
            valid_until: (stream.now_ms() / 1_000).saturating_add(service.credential_ttl_s),
            random: self.gate.random(),
        };
        let minted =
            self.gate.with_keyring(|keyring| Challenge::mint(keyring, terms, &invoice.invoice));
        let Some(Ok(challenge)) = minted else {
            return self.fail(stream, context, Some(CallFault::Garbage));
        };
        let body = challenge.body(ChallengeNotes {
            detail: &offer.detail,
            code: offer.code,
            amount: invoice.amount_msat,
            price: context.cost,
            invoice_expires_at: invoice.expires_at,
            description: &context.route.description,
            balance: offer.balance,
        });
        let answer = reply::challenge(&challenge, &body, context.grpc);
        self.answer(stream, Decision::Challenged, answer)
    }

    /// The gate cannot decide: 503, unless the operator chose to let requests pass.
    fn fail(&mut self, stream: &impl Stream, context: Context, fault: Option<CallFault>) -> Step {
        if let Some(fault) = fault {
            self.gate.call_failed(stream, fault);
        }
        stream.note(LogField::Reason, "payments_unavailable");
        if self.gate.config().failure_mode_allow {
            let rest = read_credential(&context.headers).authorization_rest;
            headers::strip_request(stream, &context.headers, rest.as_deref());
            headers::mark_free_request(stream);
            return self.pass(stream, Decision::FailureModeAllowed);
        }
        self.answer(stream, Decision::Error, reply::unavailable(context.grpc))
    }

    fn release(&self, hold: HoldId, route: &Route) {
        let route = route.name.clone();
        self.gate.post(Posting { hold, seq: 0, amount_msat: Msat::ZERO, route, release: true });
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

/// What a client that presents nothing is told.
const FIRST_PAYMENT: &str = "This request is paid for in advance. Pay the invoice, then repeat the \
    request with Authorization: L402 <macaroon>:<preimage>.";

fn refused(refusal: HoldRefusal, paid: PaymentHash, cost: Msat, balance: Msat) -> Offer {
    match refusal {
        HoldRefusal::UnknownPayment => Offer::rejected(
            "payment_unknown",
            "The ledger does not know this token's payment. Pay this challenge for a new one.",
        ),
        HoldRefusal::PaymentNotProven => Offer::rejected(
            "payment_not_proven",
            "The ledger does not accept the preimage. Send the one the payment revealed.",
        ),
        HoldRefusal::InsufficientCredit => Offer {
            code: "insufficient_credit",
            detail: format!(
                "This request costs {cost}, the account has {balance} left. Pay the invoice to top \
                 up the same account; the old credential keeps working."
            ),
            top_up: Some(paid),
            balance: Some(balance),
        },
    }
}

fn record(stream: &impl Stream, kind: CallKind, context: &Context) {
    stream.record_call_ms(kind, stream.now_ms().saturating_sub(context.call_started_ms));
}

fn decided(stream: &impl Stream, decision: Decision) {
    stream.count(decision);
    stream.note(LogField::Decision, decision.name());
}
