//! A request that presents something: from the credential to the hold.

use std::rc::Rc;

use tollway_core::credential::{RequestFacts, VerifiedCredential};
use tollway_core::header::read_credential;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldReply, HoldRequest};

use super::offer::Offer;
use super::{Admitted, Context, Exchange, Holding, State, Step, decided};
use crate::cache::{CredentialCache, Known};
use crate::headers;
use crate::host::{CallReply, LogField, Stream};
use crate::ledger::{self, CallFault};
use crate::metrics::Decision;

impl Exchange {
    /// Decides what a request on a priced route presents.
    pub(super) fn priced(&mut self, stream: &impl Stream, mut context: Context) -> Step {
        if !self.gate.is_ready() {
            return self.fail(stream, context, None);
        }
        match self.credential(&mut context) {
            Err(offer) => {
                stream.count(Decision::Invalid);
                self.challenge(stream, context, offer)
            }
            Ok(None) => {
                let offer = Offer::first_payment();
                self.challenge(stream, context, offer)
            }
            Ok(Some(credential)) => match self.authorize(stream, &context, &credential) {
                Ok(()) => self.hold(stream, context, &credential),
                Err(offer) => {
                    stream.count(Decision::Invalid);
                    self.challenge(stream, context, offer)
                }
            },
        }
    }

    /// The verified credential of the request, from the cache or from its headers.
    fn credential(&self, context: &mut Context) -> Result<Option<Rc<VerifiedCredential>>, Offer> {
        let Some(key) = CredentialCache::key(&context.headers) else { return Ok(None) };
        if let Some(known) = self.gate.recall(&key) {
            context.authorization_rest = known.authorization_rest;
            return Ok(Some(known.credential));
        }
        let presented = read_credential(&context.headers);
        context.authorization_rest.clone_from(&presented.authorization_rest);
        let credential =
            presented.credential.map_err(|fault| Offer::rejected(fault.code(), fault))?;
        let Some(credential) = credential else { return Ok(None) };
        let verified = self
            .gate
            .with_keyring(|keyring| credential.verify(keyring))
            // `is_ready` was asked before; without keys nothing is accepted.
            .ok_or_else(Offer::first_payment)?
            .map_err(|fault| Offer::rejected(fault.code(), fault))?;
        let credential = Rc::new(verified);
        let authorization_rest = context.authorization_rest.clone();
        self.gate.remember(key, Known { credential: Rc::clone(&credential), authorization_rest });
        Ok(Some(credential))
    }

    /// Asks the credential's caveats whether they allow this request.
    fn authorize(
        &self,
        stream: &impl Stream,
        context: &Context,
        credential: &VerifiedCredential,
    ) -> Result<(), Offer> {
        let target = headers::find(&context.headers, ":path").unwrap_or_default();
        let client = stream.client_address();
        let facts = RequestFacts {
            service: &context.route.service.name,
            path: target.split(|byte| *byte == b'?').next().unwrap_or_default(),
            method: headers::find(&context.headers, ":method").unwrap_or_default(),
            client_ip: client.as_deref(),
            now_s: stream.now_ms() / 1_000,
            cost: context.cost,
        };
        credential.authorize(&facts).map_err(|fault| Offer::rejected(fault.code(), fault))
    }

    /// Asks `tollwayd` to set the cost aside.
    fn hold(
        &mut self,
        stream: &impl Stream,
        mut context: Context,
        credential: &VerifiedCredential,
    ) -> Step {
        let now_ms = stream.now_ms();
        let hold = self.gate.mint_hold_id(now_ms);
        // The proof travels every time: it costs less than knowing whether the ledger needs it,
        // and it heals a ledger that was restored from a backup.
        let request = HoldRequest {
            payment_hash: credential.payment_hash(),
            preimage: credential.preimage().clone(),
            amount_msat: context.cost,
            min_msat: None,
            ttl_ms: context.route.hold_ttl_ms,
            route: context.route.name.clone(),
            idempotency: None,
        };
        context.call_started_ms = now_ms;
        match ledger::place_hold(stream, &self.gate.config().tollwayd, hold, &request) {
            Ok(call) => {
                let payment_hash = request.payment_hash;
                self.state = State::Holding(Holding { call, context, hold, payment_hash });
                Step::Wait
            }
            Err(fault) => self.fail(stream, context, Some(fault)),
        }
    }

    pub(super) fn hold_answered(
        &mut self,
        stream: &impl Stream,
        holding: Holding,
        reply: &CallReply,
    ) -> Step {
        let Holding { context, hold, payment_hash, .. } = holding;
        match ledger::decode::<HoldReply>(reply) {
            Ok(HoldReply::Granted { account, granted_msat, balance_msat, .. })
                if granted_msat == context.cost =>
            {
                self.gate.reached(stream);
                self.admit(stream, context, hold, &account, balance_msat)
            }
            Ok(HoldReply::Refused { refusal, balance_msat }) => {
                match Offer::refused(refusal, payment_hash, context.cost, balance_msat) {
                    Some(offer) => {
                        self.gate.reached(stream);
                        self.challenge(stream, context, offer)
                    }
                    // No key was sent.
                    None => self.fail(stream, context, Some(CallFault::Garbage)),
                }
            }
            // A grant of another amount is not an answer to what was asked.
            outcome => {
                self.release(hold, &context.route);
                self.fail(stream, context, Some(outcome.err().unwrap_or(CallFault::Garbage)))
            }
        }
    }

    fn admit(
        &mut self,
        stream: &impl Stream,
        context: Context,
        hold: HoldId,
        account: &PaymentHash,
        balance: Msat,
    ) -> Step {
        let Context { route, cost, headers: list, authorization_rest, from_browser, .. } = context;
        headers::strip_request(stream, &list, authorization_rest.as_deref());
        headers::mark_paid_request(stream, account, cost, balance);
        stream.note(LogField::Account, &account.to_hex());
        decided(stream, Decision::Ok);
        self.state =
            State::Admitted(Admitted { hold, route, cost, balance, from_browser, answer: None });
        Step::Continue
    }
}
