//! A request that must be paid for: from the offer to the 402; and what becomes of a request
//! when the gate cannot decide.

use tollway_core::digest::Digest;
use tollway_core::header_block::HeaderBlock;
use tollway_core::money::Msat;
use tollway_core::wire::{
    Buys, CLIENT_TEXT_BYTES_MAX, ChallengeReply, ChallengeRequest, ClientKey,
};

use super::offer::{Feeds, Offer};
use super::profile::Sold;
use super::rail::{add_notes, rail_terms};
use super::sale::coupon;
use super::{Challenging, Context, Exchange, State, Step};
use crate::config::{Mode, Purchase, PurchaseFault, Route};
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
        let price_only = context.headers.find(":method") == Some(b"HEAD");
        if self.shadow && price_only {
            return self.challenged_in_shadow(stream, &context);
        }
        if price_only {
            return self.answer(stream, Decision::Challenged, reply::price_only(context.cost));
        }
        if let Some(answered) = self.too_dear(stream, &mut context) {
            return answered;
        }
        let sale = match Sale::of(&context) {
            Ok(sale) => sale,
            Err(fault) => {
                let answer = reply::bad_request("purchase_not_sold", fault, context.grpc);
                return self.answer(stream, Decision::Denied, answer);
            }
        };
        if self.shadow {
            return self.challenged_in_shadow(stream, &context);
        }
        let service = &context.route.service;
        let (top_up, pending) = match offer.feeds {
            Feeds::New => (None, None),
            Feeds::Known(paid) => (Some(paid), None),
            Feeds::Pending(unpaid) => (None, Some(unpaid)),
        };
        let request = ChallengeRequest {
            route: context.route.name.clone(),
            service: service.name.clone(),
            amount_msat: sale.amount,
            buys: sale.buys,
            credit_msat: sale.credit,
            seed_msat: if top_up.is_none() { sale.seed } else { Msat::ZERO },
            credit_ttl_s: sale.credit_ttl_s,
            memo: context.description(),
            top_up,
            proof: context.route.proof(),
            pending,
            client: client_key(stream, &context.headers),
            other: rail_terms(&context, &offer),
            certificate: certificate(&context.headers),
            coupon: coupon(&context.headers),
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
        let outcome = ledger::decode::<ChallengeReply>(reply);
        let sold = match outcome {
            Ok(ChallengeReply::Invoice {
                payment_hash,
                invoice,
                amount_msat,
                credit_msat,
                expires_at,
            }) => Sold {
                payment_hash,
                invoice,
                amount: amount_msat,
                credit: credit_msat,
                invoice_expires_at: expires_at,
            },
            Ok(ChallengeReply::Limited { retry_after_s }) => {
                self.gate.reached(stream);
                let answer = reply::limited(retry_after_s, context.grpc);
                return self.answer(stream, Decision::Limited, answer);
            }
            Err(CallFault::Status(403)) => {
                self.gate.reached(stream);
                let answer = reply::not_certified(context.grpc);
                return self.answer(stream, Decision::Denied, answer);
            }
            Ok(ChallengeReply::Refused { refusal, resets_at }) => {
                return self.not_for_sale(stream, refusal, resets_at, context.grpc);
            }
            // An answer, not a silence: it must not let the request pass.
            Err(CallFault::Status(404)) if matches!(offer.feeds, Feeds::Known(_)) => {
                self.gate.reached(stream);
                return self.challenge(stream, context, Offer::no_top_up());
            }
            Err(fault) => return self.fail(stream, context, Some(fault)),
        };
        self.gate.reached(stream);
        match self.sold(stream, &context, &offer, &sold) {
            Ok(answer) => self.answer(stream, Decision::Challenged, add_notes(answer, reply)),
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
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
            let rest =
                headers::authorization_rest(&context.headers, self.gate.config().other_rails);
            self.strip(stream, &context.headers, rest.as_deref());
            headers::mark_free_request(stream);
            return self.pass(stream, Decision::FailureModeAllowed, None, false);
        }
        self.answer(stream, Decision::Error, reply::unavailable(context.grpc))
    }
}

/// What an invoice sells.
struct Sale {
    amount: Msat,
    buys: Buys,
    credit: Msat,
    seed: Msat,
    credit_ttl_s: Option<u64>,
}

impl Sale {
    /// What is sold to this request, as its client chose.
    fn of(context: &Context) -> Result<Self, PurchaseFault> {
        let chosen = headers::single(&context.headers, "x-toll-purchase-sats")
            // Two choices are none, and fail as such.
            .unwrap_or(Some(b""));
        let Route { service, mode, .. } = &*context.route;
        if *mode == Mode::Credits {
            let amount = service.purchase.amount(context.cost, chosen)?;
            return Ok(Self {
                amount,
                buys: Buys::Credit,
                credit: service.purchase.credit(amount),
                seed: service.seed,
                credit_ttl_s: service.credit_ttl_s,
            });
        }
        let amount = Purchase::of_price(context.cost).amount(context.cost, chosen)?;
        let (buys, credit) = match mode {
            Mode::Session { .. } => (Buys::Session, Msat::ZERO),
            Mode::Credits | Mode::SingleUse => (Buys::Credit, amount),
        };
        Ok(Self { amount, buys, credit, seed: Msat::ZERO, credit_ttl_s: None })
    }
}

/// What the operator's authority may have certified: `tollwayd` judges it.
fn certificate(headers: &HeaderBlock) -> Option<String> {
    let sent = headers.find("x-toll-certificate")?;
    String::from_utf8(sent.to_vec()).ok()
}

/// Who asks, for the limits on open invoices; `None` when the proxy does not know.
fn client_key(stream: &impl Stream, headers: &HeaderBlock) -> Option<ClientKey> {
    let address = stream.client_address().filter(|text| text.len() <= CLIENT_TEXT_BYTES_MAX)?;
    let user_agent = headers.find("user-agent").unwrap_or_default();
    Some(ClientKey { address, fingerprint: Digest::of(&[user_agent]).short_hex() })
}
