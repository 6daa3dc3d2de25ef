//! The price of a request that says itself what it costs.

use core::fmt;

use tollway_core::DecimalDigits;
use tollway_core::mcp::request_id;
use tollway_core::money::Msat;
use tollway_core::pricing::{PriceFault, PriceProblem, PricedRequest, Quote, Said};
use tollway_core::tier::Tier;
use tollway_core::usage::with_usage_asked;

use super::{Asked, Exchange, Step};
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;
use crate::reply;
use crate::tiers::TierCosts;

/// What follows from the price of a route.
enum Found {
    Cost(Quote, Option<TierCosts>),
    /// The operator's service knows it, and is asked with this.
    Said(Said),
}

/// The header in which a client may choose a tier. As all of its prefix it goes no further.
const WISH: &str = "x-toll-tier";

impl Exchange {
    /// Finds the price, and goes on with the request. The same request gets the same price
    /// whether it is challenged or charged.
    pub(super) fn quote(
        &mut self,
        stream: &impl Stream,
        asked: Asked,
        body: &[u8],
        body_bytes: u64,
    ) -> Step {
        let now_ms = stream.now_ms();
        let wish = match wish(&asked) {
            Ok(wish) => wish,
            Err(fault) => {
                let answer = reply::bad_request("tier_not_offered", fault, asked.grpc);
                return self.answer(stream, Decision::Denied, answer);
            }
        };
        match self.costs(&asked, (wish, body, body_bytes), now_ms) {
            Ok(Found::Said(said)) => {
                let context = asked.at(Quote::fixed(Msat::MAX), None, now_ms);
                self.ask_price(stream, context, said)
            }
            Ok(Found::Cost(quote, _)) if quote.cost == Msat::ZERO => {
                self.pass_free(stream, &asked.headers)
            }
            Ok(Found::Cost(quote, tiers)) => {
                if quote.tokens.is_some_and(|tokens| tokens.ask_for_usage) {
                    ask_for_usage(stream, body);
                }
                let in_json_rpc = quote.mcp.is_some_and(|terms| terms.challenge_in_json_rpc);
                let mut context = asked.at(quote, tiers, now_ms);
                context.wish = wish;
                context.rpc_id = in_json_rpc.then(|| request_id(body));
                self.priced(stream, context)
            }
            Err(fault) => {
                stream.note(LogField::Reason, fault.problem.code());
                let (decision, answer) = match fault.problem {
                    // The client cannot help it, and an old price is none.
                    PriceProblem::NoRate => (Decision::Error, reply::unavailable(asked.grpc)),
                    PriceProblem::NotSold => {
                        (Decision::Denied, reply::not_sold(&fault, asked.grpc))
                    }
                    problem => {
                        let answer = reply::bad_request(problem.code(), fault, asked.grpc);
                        (Decision::Denied, answer)
                    }
                };
                self.answer(stream, decision, answer)
            }
        }
    }

    /// What the request costs who shows no credential, and what it costs other tiers; or what
    /// its price is asked with.
    fn costs<'a>(
        &self,
        asked: &'a Asked,
        (wish, body, body_bytes): (Option<Tier>, &'a [u8], u64),
        now_ms: u64,
    ) -> Result<Found, PriceFault<'a>> {
        let target = asked.headers.find(":path").unwrap_or_default();
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let rates = self.gate.rates();
        let price = &asked.route.price;
        let (headers, rates, tier) = (&asked.headers, &*rates, Tier::NONE);
        let request = PricedRequest { headers, query, body, body_bytes, now_ms, tier, rates };
        if let Some(said) = price.said(&request) {
            return said.map(Found::Said);
        }
        let quote = |tier| price.quote(&PricedRequest { tier, ..request });
        if let Some(wish) = wish {
            return Ok(Found::Cost(quote(wish)?, None));
        }
        let plain = quote(Tier::NONE)?;
        let mut costs = Vec::new();
        for tier in price.tiers() {
            costs.push((*tier, quote(*tier)?.cost));
        }
        let otherwise = plain.cost;
        // Where all pay the same, nobody needs to know the tier.
        let differs = costs.iter().any(|(_, cost)| *cost != otherwise);
        let assumed = Tier::NONE;
        let tiers = TierCosts { costs, otherwise, assumed, corrections: 0 };
        Ok(Found::Cost(plain, differs.then_some(tiers)))
    }
}

/// A tier that is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotOffered;

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected one {WISH} with a tier that is offered here, but found something else; name \
             one of those or leave the header out"
        )
    }
}

/// The tier that the client has chosen, where the route offers any to choose from.
fn wish(asked: &Asked) -> Result<Option<Tier>, NotOffered> {
    let offered = &asked.route.tier_wish;
    if offered.is_empty() {
        return Ok(None);
    }
    let Some(value) = headers::single(&asked.headers, WISH).map_err(|_| NotOffered)? else {
        return Ok(None);
    };
    let same = |tier: &&Tier| tier.name().as_bytes() == value;
    offered.iter().find(same).copied().map(Some).ok_or(NotOffered)
}

/// Has the request ask for usage. It is still held back, headers and all.
fn ask_for_usage(stream: &impl Stream, body: &[u8]) {
    if let Some(asking) = with_usage_asked(body) {
        stream.replace_request_body(body.len(), &asking);
        let length = DecimalDigits::of(asking.len() as u64);
        stream.set_request_header("content-length", Some(length.as_bytes()));
    }
}
