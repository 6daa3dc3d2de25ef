//! The way back: what the client is told, what is charged, what is kept for a repeat.

use tollway_core::DecimalDigits;
use tollway_core::compat::Format;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::wire::{Posting, STORED_BODY_BYTES_MAX, StoredResponse};

use super::ending::Lasting;
use super::leased::Payment;
use super::metering::Metering;
use super::{Admitted, Exchange, State, Step};
use crate::config::{Mode, Route};
use crate::headers::{self, ResponseMarks};
use crate::host::{LogField, Stream};
use crate::lease;
use crate::metrics::Decision;
use crate::settle::{Answer, charge};

/// So many requests more should lie in an account, or its client is told that it is low.
const LOW_BALANCE_REQUESTS: u64 = 5;

/// A response while it passes, kept in case its request is repeated.
#[derive(Debug, Default)]
pub(super) struct Recording {
    status: u16,
    content_type: Vec<u8>,
    body: Vec<u8>,
    /// The whole body has passed.
    complete: bool,
}

impl Recording {
    /// Begins with the headers; `None` for a response that cannot be given again: no success, a
    /// part of one (206), or with a coded body, whose coding would have to be negotiated.
    fn begin(stream: &impl Stream, answer: Answer) -> Option<Self> {
        let coding = stream.response_header("content-encoding").unwrap_or_default();
        let content_type = stream.response_header("content-type").unwrap_or_default();
        let whole = answer.is_success() && answer.status() != 206;
        (whole && coding.is_empty()).then(|| Self {
            status: answer.status(),
            content_type,
            ..Self::default()
        })
    }

    /// Takes the part that passes now; `None` when the whole grows too long.
    fn with_part(mut self, part: &[u8], end: bool) -> Option<Self> {
        if self.body.len().saturating_add(part.len()) > STORED_BODY_BYTES_MAX {
            return None;
        }
        self.body.extend_from_slice(part);
        self.complete = end;
        Some(self)
    }

    fn stored(&self) -> Option<StoredResponse> {
        let stored = StoredResponse::new(self.status, &self.content_type, &self.body)?;
        self.complete.then_some(stored)
    }
}

impl Exchange {
    /// The response's headers are here; the gate's own answers come by too.
    pub fn response_headers(&mut self, stream: &impl Stream) -> Step {
        self.settle(stream).unwrap_or_else(|| {
            self.mark(stream);
            Step::Continue
        })
    }

    /// Tells the client what it paid, and begins what hangs on the response.
    pub(super) fn mark(&mut self, stream: &impl Stream) {
        let admitted = match &mut self.state {
            State::Admitted(admitted) => admitted,
            State::Passed(passed) => {
                if let Some(marks) = passed.marks {
                    headers::mark_response(stream, marks, passed.from_browser);
                }
                return;
            }
            _ => return,
        };
        let answer = Answer::read(stream);
        admitted.answer = Some(answer);
        if admitted.recording.is_some() {
            admitted.recording = Recording::begin(stream, answer);
        }
        // Before an error there is no trouble yet, and asking costs a host call.
        let trouble =
            if answer.is_error() { stream.response_trouble() } else { Default::default() };
        if let Some(metering) = &mut admitted.metering {
            metering.response_headers(stream, &admitted.route, answer);
        }
        if let Some(lasting) = &admitted.lasting {
            lasting.response_headers(stream, admitted.metering.as_ref());
        }
        if self.shadow {
            return;
        }
        let held = admitted.cost;
        let cost = charge(&admitted.route, Some(answer), trouble, || admitted.cost_at_headers());
        let marks = if let Some(cost) = cost {
            let returned = held.checked_sub(cost).unwrap_or_default();
            // What a request costs above its estimate comes out of the balance, if at all.
            let over = cost.checked_sub(held).unwrap_or_default();
            let balance = admitted.balance.checked_add(returned).unwrap_or(Msat::MAX);
            let balance = balance.checked_sub(over).unwrap_or_default();
            let low = low_balance(&admitted.route, held)
                .filter(|least| balance < *least && admitted.receipt.is_empty());
            ResponseMarks::Paid { cost, balance, low }
        } else {
            ResponseMarks::Held { held, balance: admitted.balance }
        };
        headers::mark_response(stream, marks, admitted.from_browser);
        if !answer.is_error() {
            for (name, value) in &admitted.receipt {
                stream.set_response_header(name, Some(value.as_bytes()));
            }
        }
        if let (
            Format::TollBooth,
            ResponseMarks::Paid { balance, .. } | ResponseMarks::Held { balance, .. },
        ) = (admitted.route.service.form.profile, marks)
        {
            headers::mark_toll_booth_response(stream, balance);
        }
    }

    /// A part of the response's body passes; `end` says that it is the last. It is changed only
    /// where usage was asked for that the client did not ask for.
    pub fn response_body(&mut self, stream: &impl Stream, bytes: usize, end: bool) {
        let State::Admitted(admitted) = &mut self.state else { return };
        admitted.complete |= end;
        let Admitted { recording, metering, lasting, .. } = admitted;
        if lasting.as_ref().is_some_and(Lasting::is_told) {
            stream.replace_response_body(bytes, b"");
            return;
        }
        if let Some(metering) = metering {
            metering.pass(bytes);
        }
        let mut passing = bytes;
        let reads = metering.as_ref().is_some_and(Metering::reads_body);
        if recording.is_some() || reads {
            let mut part = if bytes > 0 { stream.response_body(bytes) } else { Vec::new() };
            let whole = part.len() == bytes;
            if reads && let Some(other) = metering.as_mut().and_then(|m| m.read(&part, end)) {
                stream.replace_response_body(bytes, &other);
                passing = other.len();
                part = other;
            }
            *recording = recording.take().filter(|_| whole).and_then(|r| r.with_part(&part, end));
        }
        if let Some(lasting) = lasting.as_mut().filter(|_| !end) {
            lasting.part_passed(stream, metering.as_ref(), passing);
        }
    }

    /// The response's trailers pass: nothing comes after them.
    pub fn response_trailers(&mut self) {
        if let State::Admitted(admitted) = &mut self.state {
            admitted.complete = true;
        }
    }

    /// The stream has ended, one way or another.
    pub fn finished(&mut self, stream: &impl Stream) {
        match core::mem::replace(&mut self.state, State::Answered) {
            State::Admitted(done) => {
                // Nothing went wrong with a whole answer that is no error, so that host call,
                // the dearest of a paid request, is for the others.
                let well = done.complete && done.answer.is_some_and(|answer| !answer.is_error());
                // What the gate cut off went well up to there.
                let ended = done.lasting.as_ref().and_then(|lasting| lasting.ended(stream));
                let asked = !well && ended.is_none();
                let trouble = if asked { stream.response_trouble() } else { Default::default() };
                let amount_msat =
                    charge(&done.route, done.answer, trouble, || done.cost_at_end(stream));
                let amount_msat = ended.map_or(amount_msat, |most| amount_msat.min(most));
                if self.shadow {
                    self.shadow_cost(stream, Decision::Ok, amount_msat);
                    // A payment that is only reserved has no hold, and is not settled.
                    if let (Payment::Hold(hold), None) = (done.payment, done.settle) {
                        self.release(hold, &done.route);
                    }
                    return;
                }
                stream.note(LogField::CostMsat, DecimalDigits::of(amount_msat.get()).as_str());
                if let Some(unsettled) = &done.settle {
                    if unsettled.call.is_some() {
                        self.give_back(&done);
                    }
                    return;
                }
                let hold = match done.payment {
                    Payment::Hold(hold) => hold,
                    Payment::Lease(tally) => {
                        self.gate.leases.finish(&tally, &done.route, done.cost, amount_msat);
                        return;
                    }
                };
                let recording = done.recording.filter(|_| amount_msat > Msat::ZERO);
                self.gate.post(Posting {
                    amount_msat,
                    store: recording.and_then(|recording| recording.stored()),
                    ..release(hold, &done.route)
                });
            }
            State::Holding(holding) => {
                // The client left; the hold may stand in the ledger all the same.
                self.forget_plan(stream, &holding, false);
                self.release(holding.hold, &holding.context.route);
                self.decided(stream, Decision::Abandoned);
            }
            State::Reading(_)
            | State::Challenging(_)
            | State::Asking(_)
            | State::Pricing(_)
            | State::Refreshing(_)
            | State::Parked(_) => self.decided(stream, Decision::Abandoned),
            State::Undecided | State::Passed(_) | State::Answered => {}
        }
    }

    /// Gives back what may have been set aside.
    pub(super) fn release(&self, hold: HoldId, route: &Route) {
        // In shadow it was no request of the route's.
        let row = if self.shadow { lease::release(hold, 0) } else { release(hold, route) };
        self.gate.post(row);
    }
}

/// The row that ends a hold without a charge.
fn release(hold: HoldId, route: &Route) -> Posting {
    Posting {
        requests: 1,
        hold,
        seq: 0,
        amount_msat: Msat::ZERO,
        route: route.name.clone(),
        release: true,
        overrun: route.overrun,
        store: None,
    }
}

/// The balance that should be left after a request of this price: enough for a few more, and at
/// least what the service says. A token for one request never has one.
fn low_balance(route: &Route, price: Msat) -> Option<Msat> {
    let few = price.get().saturating_mul(LOW_BALANCE_REQUESTS);
    let few = Msat::new(few).unwrap_or(Msat::MAX);
    (route.mode == Mode::Credits).then(|| few.max(route.service.low_balance))
}
