//! A request whose cost shows only with its response.

use tollway_core::money::Msat;

use super::Admitted;
use crate::config::{Meter, MeterBy, Route};
use crate::host::Stream;

/// Digits of the largest amount.
const COST_DIGITS_MAX: usize = 16;

/// What is known so far of what a request turns out to cost.
#[derive(Debug)]
pub(super) struct Metering {
    started_ms: u64,
    /// Of the response's body.
    bytes: u64,
    /// What the upstream says.
    told: Option<Msat>,
}

impl Metering {
    /// Begins when a request is admitted.
    pub(super) fn begin(stream: &impl Stream, route: &Route) -> Option<Self> {
        route.meter.as_ref()?;
        Some(Self { started_ms: stream.now_ms(), bytes: 0, told: None })
    }

    /// The response's headers are here.
    pub(super) fn response_headers(&mut self, stream: &impl Stream, meter: &Meter) {
        if let MeterBy::Header(name) = &meter.by {
            self.told = stream.response_header(name).as_deref().and_then(told);
            stream.set_response_header(name, None);
        }
    }

    /// A part of the response's body passes.
    pub(super) fn response_body(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// What the request costs as it stands, if that is known before its end.
    fn known(&self, meter: &Meter, estimate: Msat) -> Option<Msat> {
        match meter.by {
            MeterBy::Header(_) => Some(meter.bounded(self.told.unwrap_or(estimate), estimate)),
            MeterBy::Passing(_) => None,
        }
    }

    /// What the request cost.
    fn cost(&self, stream: &impl Stream, meter: &Meter, estimate: Msat) -> Msat {
        let amount = match meter.by {
            MeterBy::Header(_) => self.told.unwrap_or(estimate),
            MeterBy::Passing(passing) => {
                passing.cost(self.bytes, stream.now_ms().saturating_sub(self.started_ms))
            }
        };
        meter.bounded(amount, estimate)
    }
}

impl Admitted {
    /// What the request costs if nothing goes wrong, as far as that is known while the response's
    /// headers pass.
    pub(super) fn cost_at_headers(&self) -> Option<Msat> {
        match (&self.metering, &self.route.meter) {
            (Some(metering), Some(meter)) => metering.known(meter, self.cost),
            _ => Some(self.cost),
        }
    }

    /// The same at the end.
    pub(super) fn cost_at_end(&self, stream: &impl Stream) -> Msat {
        match (&self.metering, &self.route.meter) {
            (Some(metering), Some(meter)) => metering.cost(stream, meter, self.cost),
            _ => self.cost,
        }
    }
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
