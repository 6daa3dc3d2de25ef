//! A request whose cost shows only with its response.

use tollway_core::mcp::CallOutcome;
use tollway_core::money::Msat;
use tollway_core::pricing::Quote;
use tollway_core::usage::{Meter as TokenMeter, Rates};

use super::Admitted;
use super::hiding::Hiding;
use crate::config::{Meter, MeterBy, Passing, Route};
use crate::host::Stream;
use crate::keep::Kept;
use crate::settle::Answer;

/// Digits of the largest amount.
const COST_DIGITS_MAX: usize = 16;

/// What is known so far of what a request turns out to cost.
#[derive(Debug)]
pub(super) struct Metering {
    /// Of the response's body.
    bytes: u64,
    gauge: Gauge,
    /// Where a call that failed costs nothing.
    call: Option<Box<CallOutcome>>,
    /// The body is compressed: nothing in it can be read.
    is_unread: bool,
}

/// What tells the cost.
#[derive(Debug)]
enum Gauge {
    /// The price.
    Price,
    /// What the upstream says.
    Told(Option<Msat>),
    /// What passes, since this moment.
    Passing(Passing, u64),
    /// The usage in the response.
    Tokens(Box<Tokens>),
}

#[derive(Debug)]
struct Tokens {
    rates: Rates,
    meter: TokenMeter,
    /// Where the usage was asked for in the client's place.
    hiding: Option<Hiding>,
    is_error: bool,
}

impl Metering {
    /// Begins when a request is admitted.
    pub(super) fn begin(stream: &impl Stream, route: &Route, quote: &Quote) -> Option<Self> {
        let call = quote.mcp.filter(|terms| terms.refund_errors).map(|_| Box::default());
        let gauge = match (quote.tokens, &route.meter) {
            (Some(quote), _) => Gauge::Tokens(Box::new(Tokens {
                rates: quote.rates,
                meter: TokenMeter::new(quote.provider),
                hiding: quote.ask_for_usage.then(Hiding::default),
                is_error: false,
            })),
            (None, Some(meter)) => match meter.by {
                MeterBy::Header(_) => Gauge::Told(None),
                MeterBy::Passing(passing) => Gauge::Passing(passing, stream.now_ms()),
            },
            (None, None) if call.is_some() => Gauge::Price,
            (None, None) => return None,
        };
        let metering = Self { bytes: 0, gauge, call, is_unread: false };
        if metering.reads_body() {
            // What is compressed cannot be read on its way.
            stream.set_request_header("accept-encoding", None);
        }
        Some(metering)
    }

    /// The response's headers are here.
    pub(super) fn response_headers(&mut self, stream: &impl Stream, route: &Route, answer: Answer) {
        let coding = stream.response_header("content-encoding").unwrap_or_default();
        self.is_unread = !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity");
        match (&mut self.gauge, &route.meter) {
            (Gauge::Told(told), Some(Meter { by: MeterBy::Header(name), .. })) => {
                *told = stream.response_header(name).as_deref().and_then(self::told);
                stream.set_response_header(name, None);
            }
            (Gauge::Tokens(tokens), _) => {
                tokens.is_error = answer.is_error();
                if self.is_unread {
                    tokens.hiding = None;
                }
                if tokens.hiding.is_some() {
                    stream.set_response_header("content-length", None);
                }
            }
            _ => {}
        }
    }

    /// Whether the parts of the response's body are to be shown to [`Metering::read`].
    pub(super) fn reads_body(&self) -> bool {
        !self.is_unread && (self.call.is_some() || matches!(self.gauge, Gauge::Tokens(_)))
    }

    /// So many bytes of the response's body pass.
    pub(super) fn pass(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Reads the part that passes, and gives what is to pass in its place, where that is
    /// something else.
    pub(super) fn read(&mut self, part: &[u8], end: bool) -> Option<Vec<u8>> {
        if let Some(call) = &mut self.call {
            call.feed(part);
        }
        let Gauge::Tokens(tokens) = &mut self.gauge else { return None };
        match &mut tokens.hiding {
            Some(hiding) => {
                Some(hiding.feed(&mut tokens.meter, part, end)).filter(|passed| passed != part)
            }
            None => {
                tokens.meter.feed(part, &mut |_| {});
                None
            }
        }
    }

    /// The most that the request can cost, and what costs as it passes.
    pub(super) fn bounds(
        metering: Option<&Self>,
        route: &Route,
        estimate: Msat,
    ) -> (Msat, Option<(Passing, u64)>) {
        match metering.map(|metering| &metering.gauge) {
            None | Some(Gauge::Price) => (estimate, None),
            Some(Gauge::Tokens(_)) => (Msat::MAX, None),
            Some(Gauge::Told(_)) => (bounded(route, Msat::MAX, estimate), None),
            Some(Gauge::Passing(passing, since_ms)) => {
                (bounded(route, Msat::MAX, estimate), Some((*passing, *since_ms)))
            }
        }
    }

    /// Tells what is known of the cost so far.
    pub(super) fn tell(&self, kept: &Kept) {
        match &self.gauge {
            Gauge::Price => {}
            Gauge::Told(told) => kept.cost.set(told.unwrap_or_default()),
            Gauge::Passing(..) => kept.bytes.set(self.bytes),
            Gauge::Tokens(tokens) => {
                if let Some(usage) = tokens.meter.usage(true) {
                    kept.cost.set(tokens.rates.cost(&usage));
                }
            }
        }
    }

    /// What the request costs as it stands, if that is known before its end.
    fn known(&self, route: &Route, estimate: Msat) -> Option<Msat> {
        match &self.gauge {
            // It may fail yet.
            _ if self.call.is_some() => None,
            Gauge::Price => Some(estimate),
            Gauge::Told(told) => Some(bounded(route, told.unwrap_or(estimate), estimate)),
            Gauge::Passing(..) | Gauge::Tokens(_) => None,
        }
    }

    /// What the request cost whose whole response has passed, or a part.
    fn cost(&self, stream: &impl Stream, admitted: &Admitted) -> Msat {
        let estimate = admitted.cost;
        if self.call.as_ref().is_some_and(|call| call.failed()) {
            return Msat::ZERO;
        }
        let amount = match &self.gauge {
            Gauge::Price => return estimate,
            Gauge::Told(told) => told.unwrap_or(estimate),
            Gauge::Passing(passing, started_ms) => {
                passing.cost(self.bytes, stream.now_ms().saturating_sub(*started_ms))
            }
            Gauge::Tokens(tokens) => match tokens.meter.usage(admitted.complete) {
                Some(usage) => return tokens.rates.cost(&usage),
                // A refusal of the provider; one that did cost tokens says so.
                None if tokens.is_error => Msat::ZERO,
                // Nothing was delivered.
                None if self.bytes == 0 => Msat::ZERO,
                // Who leaves before the usage comes, or gets an answer that cannot be read, has
                // had what was sent: as far as anybody knows, all that was asked for.
                None => return estimate,
            },
        };
        bounded(&admitted.route, amount, estimate)
    }
}

impl Admitted {
    /// What the request costs if nothing goes wrong, as far as that is known while the response's
    /// headers pass.
    pub(super) fn cost_at_headers(&self) -> Option<Msat> {
        match &self.metering {
            Some(metering) => {
                metering.known(&self.route, self.cost).map(|cost| cost.min(self.ceiling))
            }
            None => Some(self.cost),
        }
    }

    /// The same at the end.
    pub(super) fn cost_at_end(&self, stream: &impl Stream) -> Msat {
        match &self.metering {
            Some(metering) => metering.cost(stream, self).min(self.ceiling),
            None => self.cost,
        }
    }
}

fn bounded(route: &Route, amount: Msat, estimate: Msat) -> Msat {
    route.meter.as_ref().map_or(amount, |meter| meter.bounded(amount, estimate))
}

/// The amount in a header: decimal digits and nothing else, once. One that is too large to be an
/// amount is as good as the largest.
fn told(value: &[u8]) -> Option<Msat> {
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = core::str::from_utf8(value).ok()?.trim_start_matches('0');
    match text.len() {
        0 => Some(Msat::ZERO),
        1..=COST_DIGITS_MAX => Some(Msat::new(text.parse().ok()?).unwrap_or(Msat::MAX)),
        _ => Some(Msat::MAX),
    }
}
