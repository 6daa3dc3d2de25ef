//! The price of a request that says itself what it costs.

use tollway_core::mcp::request_id;
use tollway_core::money::Msat;
use tollway_core::pricing::{PriceProblem, PricedRequest};
use tollway_core::usage::with_usage_asked;

use super::{Asked, Exchange, Step};
use crate::decimal::Decimal;
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;
use crate::reply;

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
        let target = headers::find(&asked.headers, ":path").unwrap_or_default();
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let now_ms = stream.now_ms();
        let request = PricedRequest { headers: &asked.headers, query, body, body_bytes, now_ms };
        match asked.route.price.quote(&request) {
            Ok(quote) if quote.cost == Msat::ZERO => self.pass_free(stream, &asked.headers),
            Ok(quote) => {
                if quote.tokens.is_some_and(|tokens| tokens.ask_for_usage) {
                    ask_for_usage(stream, body);
                }
                let in_json_rpc = quote.mcp.is_some_and(|terms| terms.challenge_in_json_rpc);
                let mut context = asked.at(quote, now_ms);
                context.rpc_id = in_json_rpc.then(|| request_id(body));
                self.priced(stream, context)
            }
            Err(fault) => {
                stream.note(LogField::Reason, fault.problem.code());
                let answer = match fault.problem {
                    PriceProblem::NotSold => reply::not_sold(&fault, asked.grpc),
                    problem => reply::bad_request(problem.code(), fault, asked.grpc),
                };
                self.answer(stream, Decision::Denied, answer)
            }
        }
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
