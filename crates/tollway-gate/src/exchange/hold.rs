//! A request that presents something: from the credential to the hold.

use std::rc::Rc;

use tollway_core::budget::TokenBudget;
use tollway_core::compat::Format;
use tollway_core::credential::{Rejection, RequestFacts, VerifiedCredential};
use tollway_core::header::read_credential;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{HoldRefusal, HoldReply, HoldRequest, Proof};

use super::ending::{Asked, Lasting};
use super::leased::{Granted, Payment, Plan};
use super::metering::Metering;
use super::offer::Offer;
use super::profile::{malformed_error, mismatch_error, proof_asked, rejection_error};
use super::refresh::Keys;
use super::repeat::idempotency_key;
use super::response::Recording;
use super::{Admitted, Context, Exchange, Holding, State, Step};
use crate::cache::{Carriers, Known};
use crate::config::{Idempotency, Mode};
use crate::headers::{self, ResponseMarks};
use crate::host::{CallId, CallReply, LogField, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;
use crate::reply;

/// The ledger may know a tier better so often while one request waits; then something is wrong.
const CORRECTIONS_MAX: u8 = 3;

impl Exchange {
    /// Decides what a request on a priced route presents.
    pub(super) fn priced(&mut self, stream: &impl Stream, context: Context) -> Step {
        self.presented(stream, context, Keys::Known)
    }

    /// The same, with keys of this age.
    pub(super) fn presented(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        keys: Keys,
    ) -> Step {
        if !self.gate.is_ready() {
            return self.fail(stream, context, None);
        }
        match self.credential(&mut context) {
            Err(offer) if keys == Keys::Known && offer.code == Rejection::KeyUnknown.code() => {
                self.refresh(stream, context)
            }
            Err(offer) => self.refuse(stream, context, offer),
            Ok(None) => self.unpaid(stream, context),
            Ok(Some(credential)) => self.accepted(stream, context, credential),
        }
    }

    /// Decides what a genuine credential may do.
    fn accepted(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        credential: Rc<VerifiedCredential>,
    ) -> Step {
        if let Some(tiers) = &mut context.tiers {
            context.cost = tiers.assume(self.gate.tier_of(&credential.payment_hash()));
        }
        match self.authorize(stream, &context, &credential) {
            Ok((budgets, ceiling)) => match context.route.mode {
                Mode::Session { .. } if self.gate.is_revoked(&credential.payment_hash()) => {
                    self.challenge(stream, context, Offer::account_revoked())
                }
                Mode::Session { .. } => self.admit_session(stream, context, &credential),
                Mode::Credits if headers::find(&context.headers, "x-toll-top-up").is_some() => {
                    self.challenge(stream, context, Offer::top_up(credential.payment_hash()))
                }
                Mode::Credits | Mode::SingleUse => {
                    context.ceiling = ceiling;
                    if let Some(answered) = self.too_dear(stream, &mut context) {
                        return answered;
                    }
                    context.budgets = budgets;
                    self.pay(stream, context, credential)
                }
            },
            Err(offer) => self.refuse(stream, context, offer),
        }
    }

    /// The verified credential of the request, from the cache or from its headers.
    pub(super) fn credential(
        &self,
        context: &mut Context,
    ) -> Result<Option<Rc<VerifiedCredential>>, Offer> {
        let Some(carriers) = Carriers::of(&context.headers) else { return Ok(None) };
        if let Some(known) = self.gate.recall(carriers) {
            context.authorization_rest = known.authorization_rest;
            return Ok(Some(known.credential));
        }
        let presented = read_credential(&context.headers);
        context.authorization_rest.clone_from(&presented.authorization_rest);
        let credential = presented.credential.map_err(|fault| Offer {
            error: malformed_error(fault),
            ..Offer::rejected(fault.code(), fault)
        })?;
        let Some(credential) = credential else { return Ok(None) };
        let verified = self
            .gate
            .with_keyring(|keyring| credential.verify(keyring))
            // `is_ready` was asked before; without keys nothing is accepted.
            .ok_or_else(Offer::first_payment)?
            .map_err(|fault| Offer {
                error: rejection_error(fault),
                ..Offer::rejected(fault.code(), fault)
            })?;
        let credential = Rc::new(verified);
        let authorization_rest = context.authorization_rest.clone();
        let known = Known { credential: Rc::clone(&credential), authorization_rest };
        self.gate.remember(carriers, known);
        Ok(Some(credential))
    }

    /// Asks the credential's caveats whether they allow this request, within which budgets, and
    /// what it may cost at most.
    fn authorize(
        &self,
        stream: &impl Stream,
        context: &Context,
        credential: &VerifiedCredential,
    ) -> Result<(Vec<TokenBudget>, Msat), Offer> {
        if !context.route.service.form.accepts(credential.format()) {
            let fault = Rejection::FormatNotAccepted;
            let error = rejection_error(fault);
            return Err(Offer { error, ..Offer::rejected(fault.code(), fault) });
        }
        let target = headers::find(&context.headers, ":path").unwrap_or_default();
        // Asking costs a host call that returns bytes, and few tokens are bound to an address.
        let client = credential.names_client_ip().then(|| stream.client_address()).flatten();
        let facts = RequestFacts {
            service: &context.route.service.name,
            tier: context.route.mode.tier(),
            path: target.split(|byte| *byte == b'?').next().unwrap_or_default(),
            method: headers::find(&context.headers, ":method").unwrap_or_default(),
            client_ip: client.as_deref(),
            now_ms: context.call_started_ms,
            // A session is paid for; its requests cost nothing.
            cost: match context.route.mode {
                Mode::Session { .. } => Msat::ZERO,
                Mode::Credits | Mode::SingleUse => context.cost,
            },
            proof: proof_asked(context, credential),
        };
        let budgets = credential.authorize(&facts);
        budgets.map(|budgets| (budgets.to_vec(), credential.max_cost(&facts))).map_err(|fault| {
            Offer {
                error: mismatch_error(fault, credential, &facts),
                ..Offer::rejected(fault.code(), fault)
            }
        })
    }

    /// Asks `tollwayd` to set the cost aside, or what else the plan is.
    pub(super) fn hold(
        &mut self,
        stream: &impl Stream,
        context: Context,
        credential: Rc<VerifiedCredential>,
        plan: Plan,
    ) -> Step {
        let idempotency = match idempotency_key(&context) {
            Ok(key) => key,
            Err(fault) => {
                let answer = reply::bad_request("idempotency_key_malformed", fault, context.grpc);
                return self.answer(stream, Decision::Denied, answer);
            }
        };
        // In shadow nothing is charged that a repeated request could refer to.
        let idempotency = idempotency.filter(|_| !self.shadow);
        let keyed = idempotency.is_some();
        let hold = self.gate.mint_hold_id(context.call_started_ms);
        // The proof travels every time: it costs less than knowing whether the ledger needs it,
        // and it heals a ledger that was restored from a backup.
        let (amount_msat, min_msat, take_back) = plan.terms(context.cost);
        let request = HoldRequest {
            payment_hash: credential.payment_hash(),
            preimage: credential.preimage().cloned(),
            hash_alone: credential.shown() == Proof::Hash,
            amount_msat,
            min_msat,
            ttl_ms: match plan {
                Plan::Lease { .. } => self.lease_ttl_ms(&context),
                Plan::Exact | Plan::Relieved(_) => context.route.hold_ttl_ms,
            },
            route: context.route.name.clone(),
            idempotency,
            take_back,
            budgets: context.budgets.clone(),
            import_msat: match credential.format() {
                Format::L402 => None,
                // Its tokens name no amount: one request is what they surely bought.
                Format::LightningToll => Some(context.cost),
                Format::TollBooth => credential.legacy_credit(),
            },
            tier: context.tiers.as_ref().map(|tiers| tiers.assumed),
        };
        let sent = ledger::place_hold(stream, &self.gate.config().tollwayd, hold, &request);
        let call = *sent.as_ref().unwrap_or(&CallId(0));
        let holding = Holding { call, context, hold, credential, keyed, plan };
        match sent {
            Ok(_) => {
                self.state = State::Holding(holding);
                Step::Wait
            }
            Err(fault) => {
                self.forget_plan(stream, &holding, true);
                self.fail(stream, holding.context, Some(fault))
            }
        }
    }

    pub(super) fn hold_answered(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        reply: &CallReply,
    ) -> Step {
        let outcome = ledger::decode::<HoldReply>(reply);
        let cost = holding.context.cost;
        if let Ok(HoldReply::Granted {
            account,
            granted_msat: granted,
            balance_msat: balance,
            tier,
            already_charged: false,
            ..
        }) = outcome
            && holding.plan.accepts(granted, cost)
        {
            self.gate.reached(stream);
            self.gate.learn_tier(holding.credential.payment_hash(), tier);
            return self.granted(stream, holding, Granted { account, granted, balance });
        }
        self.forget_plan(stream, &holding, matches!(outcome, Ok(HoldReply::Refused { .. })));
        let keyed = holding.keyed;
        match outcome {
            Ok(HoldReply::Granted {
                account, balance_msat, already_charged: true, replay, ..
            }) if keyed => {
                self.gate.reached(stream);
                self.repeated(stream, holding.context, &account, balance_msat, replay)
            }
            Ok(HoldReply::Refused { refusal: HoldRefusal::BudgetExhausted, resets_at, .. })
                if !holding.context.budgets.is_empty() =>
            {
                self.gate.reached(stream);
                let wait_s = resets_at.map(|at| at.saturating_sub(stream.now_ms() / 1_000));
                stream.note(LogField::Reason, "budget_exhausted");
                let answer = reply::budget_exhausted(wait_s, holding.context.grpc);
                self.answer(stream, Decision::Denied, answer)
            }
            Ok(HoldReply::Refused {
                refusal: HoldRefusal::TierDiffers, tier: Some(tier), ..
            }) => self.other_tier(stream, holding, tier),
            Ok(HoldReply::Refused { refusal, balance_msat, .. }) => {
                self.refused(stream, holding, refusal, balance_msat)
            }
            // A grant of another amount is not an answer to what was asked.
            outcome => {
                self.release(holding.hold, &holding.context.route);
                let fault = outcome.err().unwrap_or(CallFault::Garbage);
                self.fail(stream, holding.context, Some(fault))
            }
        }
    }

    /// The account has another tier than was assumed: the request starts again, at its price.
    fn other_tier(&mut self, stream: &impl Stream, holding: Holding, tier: Tier) -> Step {
        let Holding { mut context, credential, .. } = holding;
        let corrected = context.tiers.as_mut().filter(|it| it.corrections < CORRECTIONS_MAX);
        let Some(tiers) = corrected else {
            return self.fail(stream, context, Some(CallFault::Garbage));
        };
        tiers.corrections += 1;
        self.gate.reached(stream);
        self.gate.learn_tier(credential.payment_hash(), tier);
        context.call_started_ms = stream.now_ms();
        self.accepted(stream, context, credential)
    }

    fn refused(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        refusal: HoldRefusal,
        balance: Msat,
    ) -> Step {
        let grpc = holding.context.grpc;
        match refusal {
            HoldRefusal::IdempotencyInFlight if holding.keyed => {
                self.gate.reached(stream);
                self.answer(stream, Decision::Denied, reply::in_flight(grpc))
            }
            HoldRefusal::IdempotencyMismatch if holding.keyed => {
                self.gate.reached(stream);
                self.answer(stream, Decision::Denied, reply::key_mismatch(grpc))
            }
            HoldRefusal::InsufficientCredit if !self.shadow => {
                self.gate.reached(stream);
                self.relieve(stream, holding, balance)
            }
            _ => {
                let Holding { context, credential, .. } = holding;
                match Offer::refused(refusal, &context, credential.payment_hash(), balance) {
                    Some(offer) => {
                        self.gate.reached(stream);
                        self.challenge(stream, context, offer)
                    }
                    None => self.fail(stream, context, Some(CallFault::Garbage)),
                }
            }
        }
    }

    pub(super) fn admit(&mut self, stream: &impl Stream, admission: Admission) -> Step {
        let Admission { context, payment, token, account, balance, keyed } = admission;
        let tier = self.gate.tier_of(&token);
        let Context { route, cost, ceiling, quote, headers: list, call_started_ms, .. } = context;
        headers::strip_request(stream, &list, context.authorization_rest.as_deref());
        if self.shadow {
            headers::mark_free_request(stream);
        } else {
            headers::mark_paid_request(stream, &account, cost, balance);
            if route.service.form.profile == Format::TollBooth {
                headers::mark_toll_booth_request(stream, balance);
            }
            if !tier.is_none() {
                stream.set_request_header("x-toll-tier", Some(tier.name().as_bytes()));
            }
        }
        stream.note(LogField::Account, account.hex_digits().as_str());
        self.decided(stream, Decision::Ok);
        // A gRPC response ends with trailers, which a stored one has not.
        let replayable = keyed && !context.grpc && route.idempotency == Idempotency::Replay;
        let recording = replayable.then(Recording::default);
        let metering = Metering::begin(stream, &route, &quote);
        let lasting = match payment {
            Payment::Hold(hold) if !self.shadow => {
                let asked = Asked { hold, cost, ceiling, at_ms: call_started_ms };
                Some(Lasting::begin(stream, &self.gate.keeper, &route, metering.as_ref(), asked))
            }
            _ => None,
        };
        self.state = State::Admitted(Admitted {
            payment,
            route,
            cost,
            ceiling,
            balance,
            from_browser: context.from_browser,
            answer: None,
            metering,
            lasting,
            complete: false,
            recording,
        });
        Step::Continue
    }

    /// A session needs no call: the signature, the proof and the time say all, and the keyring
    /// names what was revoked.
    fn admit_session(
        &mut self,
        stream: &impl Stream,
        context: Context,
        credential: &VerifiedCredential,
    ) -> Step {
        let account = credential.payment_hash();
        headers::strip_request(stream, &context.headers, context.authorization_rest.as_deref());
        headers::mark_session_request(stream, &account);
        stream.note(LogField::Account, account.hex_digits().as_str());
        stream.note(LogField::CostMsat, "0");
        self.pass(stream, Decision::Ok, Some(ResponseMarks::Session), context.from_browser)
    }
}

/// A request that is paid for.
pub(super) struct Admission {
    pub(super) context: Context,
    pub(super) payment: Payment,
    /// What the credential proved.
    pub(super) token: PaymentHash,
    pub(super) account: PaymentHash,
    /// What the account has left.
    pub(super) balance: Msat,
    pub(super) keyed: bool,
}
