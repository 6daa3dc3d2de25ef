//! What a request presents: read, verified, and judged by its caveats.

use std::rc::Rc;

use tollway_core::budget::TokenBudget;
use tollway_core::credential::{Rejection, RequestFacts, VerifiedCredential};
use tollway_core::header::read_credential;
use tollway_core::money::Msat;

use super::offer::Offer;
use super::profile::{malformed_error, mismatch_error, proof_asked, rejection_error};
use super::refresh::Keys;
use super::{Context, Exchange, Step};
use crate::cache::{Carriers, Known};
use crate::config::Mode;
use crate::host::Stream;

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
        let own = self.credential(&mut context);
        match (self.shown(&mut context), &own) {
            (Ok(None), _) => {}
            (Ok(Some(shown)), Ok(None)) => return self.hold_on_rail(stream, context, shown),
            (Ok(Some(_)), _) => return self.two_rails(stream, context),
            (Err(offer), _) => return self.refuse(stream, context, offer),
        }
        match own {
            Err(offer) if keys == Keys::Known && offer.code == Rejection::KeyUnknown.code() => {
                self.refresh(stream, context)
            }
            Err(offer) => self.refuse(stream, context, offer),
            Ok(None) => self.unpaid(stream, context),
            Ok(Some(credential)) => self.accepted(stream, context, credential),
        }
    }

    /// Decides what a genuine credential may do.
    pub(super) fn accepted(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        credential: Rc<VerifiedCredential>,
    ) -> Step {
        context.minted = credential.minted().cloned().collect();
        let minted = context.minted_tier();
        if let Some(tiers) = &mut context.tiers {
            context.cost = tiers.assume(self.gate.tier_of(&credential.payment_hash()), minted);
        }
        match self.authorize(stream, &context, &credential) {
            Ok((budgets, ceiling)) => match context.route.mode {
                Mode::Session { .. } if self.gate.is_revoked(&credential.payment_hash()) => {
                    self.challenge(stream, context, Offer::account_revoked())
                }
                Mode::Session { .. } => self.admit_session(stream, context, &credential),
                Mode::Credits if context.headers.find("x-toll-top-up").is_some() => {
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
        if let Some(known) = self.gate.recall(&carriers) {
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
        self.gate.remember(&carriers, known);
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
        let target = context.headers.find(":path").unwrap_or_default();
        // Asking costs a host call that returns bytes, and few tokens are bound to an address.
        let client = credential.names_client_ip().then(|| stream.client_address()).flatten();
        let facts = RequestFacts {
            service: &context.route.service.name,
            tier: context.route.mode.tier(),
            path: target.split(|byte| *byte == b'?').next().unwrap_or_default(),
            method: context.headers.find(":method").unwrap_or_default(),
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
}
