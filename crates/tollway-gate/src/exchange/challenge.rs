//! A request that must be paid for: from the offer to the 402; and what becomes of a request
//! when the gate cannot decide.

use tollway_core::challenge::{Challenge, ChallengeNotes, ChallengeTerms};
use tollway_core::header::read_credential;
use tollway_core::wire::{ChallengeReply, ChallengeRequest};

use super::offer::Offer;
use super::{Challenging, Context, Exchange, State, Step};
use crate::headers;
use crate::host::{CallReply, LogField, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;
use crate::reply;

impl Exchange {
    /// Asks `tollwayd` for an invoice, or names the price alone.
    pub(super) fn challenge(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        offer: Offer,
    ) -> Step {
        stream.note(LogField::Reason, offer.code);
        if headers::find(&context.headers, ":method") == Some(b"HEAD") {
            return self.answer(stream, Decision::Challenged, reply::price_only(context.cost));
        }
        let service = &context.route.service;
        let wanted = service.purchase_default.unwrap_or_default().max(context.cost);
        // Above the largest amount there is no whole sat to round up to; ask for what there is.
        let amount_msat = wanted.rounded_up_to_sat().unwrap_or(wanted);
        let request = ChallengeRequest {
            route: context.route.name.clone(),
            amount_msat,
            memo: context.route.description.clone(),
            top_up: offer.top_up,
        };
        context.call_started_ms = stream.now_ms();
        match ledger::open_challenge(stream, &self.gate.config().tollwayd, &request) {
            Ok(call) => {
                self.state = State::Challenging(Challenging { call, context, offer });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    pub(super) fn challenge_answered(
        &mut self,
        stream: &impl Stream,
        challenging: Challenging,
        reply: &CallReply,
    ) -> Step {
        let Challenging { context, offer, .. } = challenging;
        let invoice = match ledger::decode::<ChallengeReply>(reply) {
            Ok(invoice) => invoice,
            Err(fault) => return self.fail(stream, context, Some(fault)),
        };
        self.gate.reached(stream);
        let service = &context.route.service;
        let terms = ChallengeTerms {
            location: &self.gate.config().location,
            payment_hash: invoice.payment_hash,
            service: &service.name,
            valid_until: (stream.now_ms() / 1_000).saturating_add(service.credential_ttl_s),
            random: self.gate.random(),
        };
        let minted =
            self.gate.with_keyring(|keyring| Challenge::mint(keyring, terms, &invoice.invoice));
        let Some(Ok(challenge)) = minted else {
            return self.fail(stream, context, Some(CallFault::Garbage));
        };
        let body = challenge.body(ChallengeNotes {
            detail: &offer.detail,
            code: offer.code,
            amount: invoice.amount_msat,
            price: context.cost,
            invoice_expires_at: invoice.expires_at,
            description: &context.route.description,
            balance: offer.balance,
        });
        let answer = reply::challenge(&challenge, &body, context.grpc);
        self.answer(stream, Decision::Challenged, answer)
    }

    /// The gate cannot decide: 503, unless the operator chose to let requests pass.
    pub(super) fn fail(
        &mut self,
        stream: &impl Stream,
        context: Context,
        fault: Option<CallFault>,
    ) -> Step {
        if let Some(fault) = fault {
            self.gate.call_failed(stream, fault);
        }
        stream.note(LogField::Reason, "payments_unavailable");
        if self.gate.config().failure_mode_allow {
            let rest = read_credential(&context.headers).authorization_rest;
            headers::strip_request(stream, &context.headers, rest.as_deref());
            headers::mark_free_request(stream);
            return self.pass(stream, Decision::FailureModeAllowed);
        }
        self.answer(stream, Decision::Error, reply::unavailable(context.grpc))
    }
}
