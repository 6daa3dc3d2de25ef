//! A request with a credential: the hold, and what the ledger says to it.

use std::rc::Rc;

use tollway_core::compat::Format;
use tollway_core::credential::VerifiedCredential;
use tollway_core::money::Msat;
use tollway_core::tier::Tier;
use tollway_core::wire::{HoldRefusal, HoldReply, HoldRequest, IdempotencyKey, Proof, SaleRefusal};

use super::leased::{Granted, Plan};
use super::offer::Offer;
use super::rail::{Shown, rail_request};
use super::repeat::idempotency_key;
use super::{Asks, Context, Exchange, Holding, State, Step};
use crate::host::{CallId, CallReply, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;
use crate::reply;

/// The ledger may know a tier better so often while one request waits; then something is wrong.
const CORRECTIONS_MAX: u8 = 3;

impl Exchange {
    /// Asks `tollwayd` to set the cost aside, or what else the plan is.
    pub(super) fn hold(
        &mut self,
        stream: &impl Stream,
        context: Context,
        credential: Rc<VerifiedCredential>,
        plan: Plan,
    ) -> Step {
        self.set_aside(stream, context, Presents::Own(credential), plan)
    }

    /// The same for any credential.
    pub(super) fn set_aside(
        &mut self,
        stream: &impl Stream,
        context: Context,
        presents: Presents,
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
        let (sent, asks) = match presents {
            Presents::Own(credential) => {
                let request = self.hold_request(&context, &credential, plan, idempotency);
                let to = &self.gate.config().tollwayd;
                (ledger::place_hold(stream, to, hold, &request), Asks::Own(credential))
            }
            Presents::OnRail(shown) => {
                let asked = rail_request(&context, shown, idempotency);
                let to = &self.gate.config().tollwayd;
                (ledger::place_rail_hold(stream, to, hold, &asked), Asks::OnRail(asked))
            }
        };
        let call = *sent.as_ref().unwrap_or(&CallId(0));
        let holding = Holding { call, context, hold, asks, keyed, plan };
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

    /// The proof travels every time: it costs less than knowing whether the ledger needs it, and
    /// it heals a ledger that was restored from a backup.
    fn hold_request(
        &self,
        context: &Context,
        credential: &VerifiedCredential,
        plan: Plan,
        idempotency: Option<IdempotencyKey>,
    ) -> HoldRequest {
        let (amount_msat, min_msat, take_back) = plan.terms(context.cost);
        HoldRequest {
            payment_hash: credential.payment_hash(),
            preimage: credential.preimage().cloned(),
            hash_alone: credential.shown() == Proof::Hash,
            amount_msat,
            min_msat,
            ttl_ms: match plan {
                Plan::Lease { .. } => self.lease_ttl_ms(context),
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
        }
    }

    pub(super) fn hold_answered(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        reply: &CallReply,
    ) -> Step {
        let outcome = ledger::decode::<HoldReply>(reply);
        if let Ok(HoldReply::Granted {
            account,
            granted_msat: granted,
            balance_msat: balance,
            tier,
            already_charged: false,
            ..
        }) = outcome
            && holding.accepts(granted)
        {
            self.gate.reached(stream);
            let granted = Granted { account, granted, balance };
            let Some(credential) = holding.own() else {
                return self.granted_on_rail(stream, holding, granted, reply);
            };
            self.gate.learn_tier(credential.payment_hash(), tier);
            return self.granted(stream, holding, &credential, granted);
        }
        self.forget_plan(stream, &holding, matches!(outcome, Ok(HoldReply::Refused { .. })));
        let keyed = holding.keyed;
        match outcome {
            // What a rail answers itself, no upstream hears of.
            Ok(HoldReply::Granted { balance_msat, replay: Some(stored), .. })
                if holding.own().is_none() =>
            {
                self.answered_on_rail(stream, holding.context, &stored, balance_msat, reply)
            }
            Ok(HoldReply::Granted {
                account, balance_msat, already_charged: true, replay, ..
            }) if keyed => {
                self.gate.reached(stream);
                self.repeated(stream, holding.context, &account, balance_msat, replay)
            }
            Ok(HoldReply::Refused { refusal: HoldRefusal::BudgetExhausted, resets_at, .. })
                if !holding.context.budgets.is_empty() =>
            {
                self.over_budget(stream, resets_at, holding.context.grpc)
            }
            Ok(HoldReply::Refused { refusal: HoldRefusal::SoldOut, resets_at, .. }) => {
                self.not_for_sale(stream, SaleRefusal::SoldOut, resets_at, holding.context.grpc)
            }
            Ok(HoldReply::Refused { refusal, balance_msat, tier, .. }) => {
                if let Some(answer) = reply::of_key(refusal, holding.context.grpc).filter(|_| keyed)
                {
                    self.gate.reached(stream);
                    return self.answer(stream, Decision::Denied, answer);
                }
                match (holding.own(), tier) {
                    (None, _) => self.refused_on_rail(stream, holding.context, reply),
                    (Some(credential), Some(tier)) if refusal == HoldRefusal::TierDiffers => {
                        self.other_tier(stream, holding, credential, tier)
                    }
                    (Some(credential), _) => {
                        self.refused(stream, holding, credential, (refusal, balance_msat))
                    }
                }
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
    fn other_tier(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        credential: Rc<VerifiedCredential>,
        tier: Tier,
    ) -> Step {
        let Holding { mut context, .. } = holding;
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
        credential: Rc<VerifiedCredential>,
        (refusal, balance): (HoldRefusal, Msat),
    ) -> Step {
        match refusal {
            HoldRefusal::InsufficientCredit if !self.shadow => {
                self.gate.reached(stream);
                self.relieve(stream, holding, credential, balance)
            }
            _ => {
                let Holding { context, .. } = holding;
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
}

/// What a request presents that has to be judged.
pub(super) enum Presents {
    Own(Rc<VerifiedCredential>),
    OnRail(Shown),
}

impl Holding {
    fn own(&self) -> Option<Rc<VerifiedCredential>> {
        match &self.asks {
            Asks::Own(credential) => Some(Rc::clone(credential)),
            Asks::OnRail(_) => None,
        }
    }

    /// Whether this grant is an answer to what was asked. What was paid on another rail may be
    /// more than the price, because it is in whole sats.
    fn accepts(&self, granted: Msat) -> bool {
        match self.asks {
            Asks::Own(_) => self.plan.accepts(granted, self.context.cost),
            Asks::OnRail(_) => granted >= self.context.cost,
        }
    }
}
