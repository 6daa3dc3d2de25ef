//! Shadow mode: everything is decided, counted and logged, and nothing enforced.
//!
//! A request in shadow is decided by the same code as any other. Where that code would answer it,
//! it goes to the upstream instead, without a credential and unpaid. No invoice is made for it.
//! Where it presents a credential, the ledger is asked for a hold, which says whether it could be
//! paid; the hold ends without a charge and without being counted. Only what a client does with its
//! own money, such as the end of a session of the scheme `Payment`, is done and answered as always.

use tollway_core::DecimalDigits;
use tollway_core::money::Msat;

use super::{Context, Exchange, Passed, State, Step};
use crate::headers;
use crate::host::{LogField, Stream};
use crate::metrics::Decision;

impl Exchange {
    /// Counts and logs what becomes of the request, or what would have become of it.
    pub(super) fn decided(&self, stream: &impl Stream, decision: Decision) {
        let done = if self.shadow { Decision::Shadowed } else { decision };
        stream.count(done);
        stream.note(LogField::Decision, done.name());
        if self.shadow {
            stream.count_shadow(decision);
            stream.note(LogField::Shadow, decision.name());
        }
    }

    /// Counts a credential that is not accepted, beside what becomes of the request.
    pub(super) fn invalid(&self, stream: &impl Stream) {
        if self.shadow {
            stream.count_shadow(Decision::Invalid);
        } else {
            stream.count(Decision::Invalid);
        }
    }

    /// Counts and logs what the request would have cost: the charge of an admitted one, the price
    /// of one that is challenged.
    pub(super) fn shadow_cost(&self, stream: &impl Stream, decision: Decision, cost: Msat) {
        stream.count_shadow_msat(decision, cost.get());
        stream.note(LogField::ShadowCostMsat, DecimalDigits::of(cost.get()).as_str());
    }

    /// A request that would have been asked to pay.
    pub(super) fn challenged_in_shadow(&mut self, stream: &impl Stream, context: &Context) -> Step {
        self.decided(stream, Decision::Challenged);
        self.shadow_cost(stream, Decision::Challenged, context.cost);
        self.let_pass(stream)
    }

    /// Lets a request go on that would have been answered.
    pub(super) fn let_pass(&mut self, stream: &impl Stream) -> Step {
        let list = stream.request_headers();
        let rest = headers::authorization_rest(&list, self.gate.config().other_rails);
        self.strip(stream, &list, rest.as_deref());
        headers::mark_free_request(stream);
        self.state = State::Passed(Passed { marks: None, from_browser: false });
        Step::Continue
    }
}
