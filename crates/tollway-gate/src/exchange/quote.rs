//! The price of a request that says itself what it costs.

use tollway_core::mcp::request_id;
use tollway_core::money::Msat;
use tollway_core::pricing::{PriceFault, PriceProblem, PricedRequest, Quote, Said};
use tollway_core::tier::Tier;
use tollway_core::usage::with_usage_asked;

use super::{Asked, Exchange, Step};
use crate::decimal::Decimal;
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
        match self.costs(&asked, body, body_bytes, now_ms) {
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
        body: &'a [u8],
        body_bytes: u64,
        now_ms: u64,
    ) -> Result<Found, PriceFault<'a>> {
        let target = headers::find(&asked.headers, ":path").unwrap_or_default();
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let rates = self.gate.rates();
        let price = &asked.route.price;
        let (headers, rates, tier) = (&asked.headers, &*rates, Tier::NONE);
        let request = PricedRequest { headers, query, body, body_bytes, now_ms, tier, rates };
        if let Some(said) = price.said(&request) {
            return said.map(Found::Said);
        }
        let quote = |tier| price.quote(&PricedRequest { tier, ..request });
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

/// Has the request ask for usage. It is still held back, headers and all.
fn ask_for_usage(stream: &impl Stream, body: &[u8]) {
    if let Some(asking) = with_usage_asked(body) {
        stream.replace_request_body(body.len(), &asking);
        let length = Decimal::of(asking.len() as u64);
        stream.set_request_header("content-length", Some(length.as_bytes()));
    }
}
