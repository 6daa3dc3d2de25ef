//! A payment that was only reserved. It is settled when the upstream has answered well, before
//! anything of that answer leaves: who does not pay gets nothing, and who gets nothing does not
//! pay.

use tollway_core::money::Msat;
use tollway_core::wire::{HoldReply, RailNotes};

use super::ending::{Asked, Lasting};
use super::leased::Payment;
use super::rail::with_headers;
use super::{Admitted, Exchange, State, Step};
use crate::host::{CallId, CallReply, LogField, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;
use crate::reply;
use crate::settle::Answer;

/// What has to be settled.
#[derive(Debug)]
pub(super) struct Unsettled {
    /// What `tollwayd` was asked when it reserved the payment.
    pub(super) asked: Vec<u8>,
    /// How long it may take.
    pub(super) within_ms: u64,
    /// The call, once the answer waits for it.
    pub(super) call: Option<CallId>,
}

impl Admitted {
    /// Whether its answer waits for this call.
    pub(super) fn settles_by(&self, call: CallId) -> bool {
        self.settle.as_ref().is_some_and(|settle| settle.call == Some(call))
    }
}

impl Exchange {
    /// Has the payment settled that the answer waits for; `None` where it waits for none. An error
    /// of the upstream costs nothing: the payment is never settled.
    pub(super) fn settle(&mut self, stream: &impl Stream) -> Option<Step> {
        let State::Admitted(Admitted { settle, payment: Payment::Hold(hold), cost, .. }) =
            &mut self.state
        else {
            return None;
        };
        let unsettled = settle.as_mut().filter(|_| !self.shadow)?;
        if Answer::read(stream).is_error() {
            *cost = Msat::ZERO;
            return None;
        }
        let to = &self.gate.config().tollwayd;
        Some(
            match ledger::settle_on_rail(stream, to, *hold, &unsettled.asked, unsettled.within_ms) {
                Ok(call) => {
                    unsettled.call = Some(call);
                    Step::Wait
                }
                Err(fault) => self.not_settled(stream, fault),
            },
        )
    }

    pub(super) fn settle_answered(
        &mut self,
        stream: &impl Stream,
        mut admitted: Admitted,
        reply: &CallReply,
    ) -> Step {
        let notes = RailNotes::read(&reply.body);
        match ledger::decode::<HoldReply>(reply) {
            Ok(HoldReply::Granted { .. }) => {
                admitted.receipt = notes.headers;
                admitted.settle = None;
                if let Payment::Hold(hold) = admitted.payment {
                    let Admitted { cost, ceiling, .. } = admitted;
                    let asked = Asked { hold, cost, ceiling, at_ms: stream.now_ms() };
                    let keeper = &self.gate.keeper;
                    let lasting = Lasting::begin(stream, keeper, &admitted.route, None, asked);
                    admitted.lasting = Some(lasting);
                }
                self.state = State::Admitted(admitted);
                self.mark(stream);
                Step::Respond
            }
            Ok(HoldReply::Refused { .. }) => {
                stream.note(LogField::Reason, "payment_not_settled");
                let answer = reply::not_settled(&notes.detail.unwrap_or_default());
                self.answer(stream, Decision::Denied, with_headers(answer, notes.headers))
            }
            Err(fault) => {
                self.give_back(&admitted);
                self.not_settled(stream, fault)
            }
        }
    }

    /// Gives back what may have been set aside by a settlement that nobody heard of: the payment
    /// can be shown again.
    pub(super) fn give_back(&self, admitted: &Admitted) {
        if let Payment::Hold(hold) = admitted.payment {
            self.release(hold, &admitted.route);
        }
    }

    /// 503: the same payment may be shown again.
    fn not_settled(&mut self, stream: &impl Stream, fault: CallFault) -> Step {
        self.gate.call_failed(stream, fault);
        stream.note(LogField::Reason, "payments_unavailable");
        self.answer(stream, Decision::Error, reply::unavailable(false))
    }
}
