//! A request whose price only the operator's own service knows: tollwayd asks it, with what the
//! request says in the fields that the route names. Without an answer there is no price, and so
//! no offer and no charge.

use tollway_core::money::Msat;
use tollway_core::pricing::{PriceProblem, Quote, Said};
use tollway_core::wire::{PriceReply, PriceRequest};

use super::{Context, Exchange, Pricing, State, Step};
use crate::host::{CallReply, LogField, Stream};
use crate::ledger;
use crate::metrics::Decision;
use crate::reply;

impl Exchange {
    /// Asks for the price. Until the answer is here the context names one that nobody can pay.
    pub(super) fn ask_price(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        fields: Said,
    ) -> Step {
        let text = |name| {
            // Both were found to be visible ASCII before.
            let value = context.headers.find(name).unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        };
        let (method, mut path) = (text(":method"), text(":path"));
        path.truncate(path.find('?').unwrap_or(path.len()));
        let credential = self.credential(&mut context).ok().flatten();
        let request = PriceRequest {
            route: context.route.name.clone(),
            service: context.route.service.name.clone(),
            method,
            path,
            fields,
            paid: credential.map(|credential| credential.payment_hash()),
        };
        match ledger::ask_price(stream, &self.gate.config().tollwayd, &request) {
            Ok(call) => {
                self.state = State::Pricing(Pricing { call, context });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    pub(super) fn price_answered(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        reply: &CallReply,
    ) -> Step {
        let price = match ledger::decode::<PriceReply>(reply) {
            Ok(price) => price.filter(|price| *price > Msat::ZERO),
            Err(fault) => return self.fail(stream, context, Some(fault)),
        };
        self.gate.reached(stream);
        let Some(price) = price else {
            stream.note(LogField::Reason, PriceProblem::NotSold.code());
            let answer = reply::not_sold(&PriceProblem::NotSold.into(), context.grpc);
            return self.answer(stream, Decision::Denied, answer);
        };
        context.cost = price;
        context.quote = Quote::fixed(price);
        context.call_started_ms = stream.now_ms();
        self.priced(stream, context)
    }
}
