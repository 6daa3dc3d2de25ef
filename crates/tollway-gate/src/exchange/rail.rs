//! A request that is paid on another rail: what it presents goes to `tollwayd` as it came, and
//! what `tollwayd` says for the client goes back.

use tollway_core::header::{Malformed, read_payment};
use tollway_core::money::Msat;
use tollway_core::wire::{
    IdempotencyKey, Rail, RailHoldRequest, RailNotes, RailTerms, StoredResponse,
};

use super::admit::Admission;
use super::hold::Presents;
use super::leased::{Granted, Payment, Plan};
use super::offer::{Feeds, Offer};
use super::settling::Unsettled;
use super::{Asks, Context, Exchange, Holding, State, Step};
use crate::config::{Form, Mode};
use crate::headers;
use crate::host::{CallReply, Reply, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;
use crate::reply;

/// The longest `Accept-Payment` that is passed on; one range has some 20 bytes.
const ACCEPT_BYTES_MAX: usize = 1_024;
/// The problem of a credential that the filter does not pass on.
const MALFORMED: &str = "malformed-credential";
/// The headers that `tollwayd` may add to an answer of ours.
const ANSWER_HEADERS: [&str; 5] = [
    "www-authenticate",
    "payment-required",
    "payment-response",
    "x-payment-response",
    "payment-receipt",
];

/// A credential of another rail.
#[derive(Debug)]
pub(super) struct Shown {
    rail: Rail,
    credential: String,
}

impl Exchange {
    /// The credential of another rail that the request presents, taken out of what its upstream
    /// gets.
    pub(super) fn shown(&self, context: &mut Context) -> Result<Option<Shown>, Offer> {
        if !self.gate.config().other_rails {
            return Ok(None);
        }
        let rest = context.authorization_rest.take();
        let presented = read_payment(&context.headers, rest);
        context.authorization_rest = presented.authorization_rest;
        let form = &context.route.service.form;
        let malformed = |fault: Malformed| Offer::of_rail(MALFORMED, fault);
        let payment =
            if form.payment_scheme { presented.credential.map_err(malformed)? } else { None };
        let signed = context.headers.iter().filter(|(name, _)| is_x402(name));
        // What is no text is no payment either, and is refused as the text it becomes.
        let mut signed = signed.map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let signed = (signed.next().filter(|_| form.x402 && !context.grpc), signed.next());
        match (payment, signed) {
            (None, (None, _)) => Ok(None),
            (Some(credential), (None, _)) => Ok(Some(Shown { rail: Rail::Payment, credential })),
            (None, (Some(credential), None)) => Ok(Some(Shown { rail: Rail::X402, credential })),
            _ => Err(malformed(Malformed::Conflicting)),
        }
    }

    /// Refuses a request that presents credentials of two rails: nobody could say which is spent.
    pub(super) fn two_rails(&mut self, stream: &impl Stream, context: Context) -> Step {
        let detail = "The request carries credentials of two rails. Send one.";
        self.refuse(stream, context, Offer::of_rail(MALFORMED, detail))
    }

    /// Has `tollwayd` judge the credential and set the cost aside.
    pub(super) fn hold_on_rail(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        shown: Shown,
    ) -> Step {
        match self.too_dear(stream, &mut context) {
            Some(answered) => answered,
            None => self.set_aside(stream, context, Presents::OnRail(shown), Plan::Exact),
        }
    }

    pub(super) fn granted_on_rail(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        granted: Granted,
        reply: &CallReply,
    ) -> Step {
        let Holding { mut context, hold, keyed, asks, .. } = holding;
        let Granted { account, granted, balance } = granted;
        context.cost = granted;
        let notes = RailNotes::read(&reply.body);
        let settle = match (notes.settle_within_ms, asks) {
            (Some(within_ms), Asks::OnRail(asked)) => {
                Some(Box::new(Unsettled { asked, within_ms, call: None }))
            }
            _ => None,
        };
        self.admit(
            stream,
            Admission {
                context,
                payment: Payment::Hold(hold),
                token: account,
                account,
                balance,
                keyed,
                receipt: notes.headers,
                settle,
            },
        )
    }

    /// Gives the answer that `tollwayd` has, to who changed something and asked for nothing else,
    /// or asked before. Also in shadow: it is about the client's own money, which has moved, and no
    /// upstream has an answer to it.
    pub(super) fn answered_on_rail(
        &mut self,
        stream: &impl Stream,
        context: Context,
        stored: &StoredResponse,
        balance: Msat,
        reply: &CallReply,
    ) -> Step {
        let Some(body) = stored.body() else {
            return self.fail(stream, context, Some(CallFault::Garbage));
        };
        self.gate.reached(stream);
        let answer = reply::replayed(stored, body, balance);
        let notes = RailNotes::read(&reply.body);
        self.decided(stream, Decision::Replayed);
        self.state = State::Answered;
        Step::Answer(with_headers(answer, notes.headers))
    }

    pub(super) fn refused_on_rail(
        &mut self,
        stream: &impl Stream,
        context: Context,
        reply: &CallReply,
    ) -> Step {
        match RailNotes::read(&reply.body) {
            RailNotes { problem: Some(problem), detail: Some(detail), .. } => {
                self.gate.reached(stream);
                self.refuse(stream, context, Offer::of_rail(&problem, detail))
            }
            _ => self.fail(stream, context, Some(CallFault::Garbage)),
        }
    }
}

/// Adds headers of `tollwayd` to an answer: those that are known.
pub(super) fn with_headers(mut answer: Reply, theirs: Vec<(String, String)>) -> Reply {
    let known = |(name, value): (String, String)| {
        ANSWER_HEADERS.iter().find(|known| **known == name).map(|known| (*known, value))
    };
    answer.headers.extend(theirs.into_iter().filter_map(known));
    answer
}

/// What a request shows of another rail, as `tollwayd` gets it.
pub(super) fn rail_request(
    context: &Context,
    Shown { rail, credential }: Shown,
    idempotency: Option<IdempotencyKey>,
) -> Vec<u8> {
    ledger::encode(&RailHoldRequest {
        rail,
        credential,
        service: context.route.service.name.clone(),
        route: context.route.name.clone(),
        amount_msat: context.cost,
        ttl_ms: context.route.hold_ttl_ms,
        idempotency,
    })
}

fn is_x402(name: &[u8]) -> bool {
    headers::is_one_of(name, &headers::X402_CARRIERS)
}

/// What `tollwayd` has to know to sell the request on other rails too; `None` where that cannot
/// be. A payment there buys one request at its price: no time, no credit for an account, and no
/// cost that shows only with the response.
pub(super) fn rail_terms(context: &Context, offer: &Offer) -> Option<RailTerms> {
    let route = &context.route;
    let fixed = route.meter.is_none() && context.quote.tokens.is_none();
    let sells_requests = !matches!(route.mode, Mode::Session { .. });
    let Form { payment_scheme: payment, x402, .. } = route.service.form;
    let x402 = x402 && !context.grpc;
    if !(payment || x402) || offer.feeds != Feeds::New || !fixed || !sells_requests {
        return None;
    }
    let accept = context
        .headers
        .find("accept-payment")
        .filter(|value| value.len() <= ACCEPT_BYTES_MAX)
        .and_then(|value| core::str::from_utf8(value).ok())
        .map(str::to_owned);
    let authorization_taken = context.authorization_rest.is_some();
    Some(RailTerms { payment, x402, price_msat: context.cost, accept, authorization_taken })
}

/// Adds what `tollwayd` says for other rails to a challenge.
pub(super) fn add_notes(mut answer: Reply, reply: &CallReply) -> Reply {
    let notes = RailNotes::read(&reply.body);
    let ours = answer.headers.len();
    answer = with_headers(answer, notes.headers);
    if let Some(members) = notes.members
        && answer.status == 402
        && answer.body.pop_if(|last| *last == b'}').is_some()
    {
        answer.body.push(b',');
        answer.body.extend_from_slice(members.as_bytes());
        answer.body.push(b'}');
    }
    if notes.preferred {
        answer.headers.rotate_left(ours);
    }
    answer
}
