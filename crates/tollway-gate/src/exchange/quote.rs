//! The price of a request that says itself what it costs.

use tollway_core::money::Msat;
use tollway_core::pricing::{PriceProblem, PricedRequest};

use super::{Asked, Exchange, Step};
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;
use crate::reply;

impl Exchange {
    /// Finds the price, and goes on with the request. The same request gets the same price
    /// whether it is challenged or charged.
    pub(super) fn quote(&mut self, stream: &impl Stream, asked: Asked, body: &[u8]) -> Step {
        let target = headers::find(&asked.headers, ":path").unwrap_or_default();
        let query = target.splitn(2, |byte| *byte == b'?').nth(1).unwrap_or_default();
        let request = PricedRequest { headers: &asked.headers, query, body };
        match asked.route.price.quote(&request) {
            Ok(quote) if quote.cost == Msat::ZERO => self.pass_free(stream, &asked.headers),
            Ok(quote) => self.priced(stream, asked.at(quote.cost, stream.now_ms())),
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
