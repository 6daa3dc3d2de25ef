//! Other rails than L402: what a challenge says for them, and what their credentials are good
//! for. The filter carries both ways what it does not read.

use serde_json::Value;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::wire::{
    Buys, ChallengeReply, ChallengeRequest, HoldRefusal, HoldReply, Proof, Rail, RailHoldRequest,
    RailNotes, RailTerms,
};

use crate::ledger::{HoldOrder, HoldOutcome, LedgerError, OnRail};
use crate::payment_scheme::{
    Charge, Presented, Problem, Proof as ChargeProof, RECEIPT_HEADER, Secret, read, receipt, wish,
};
use crate::paywall::{ChallengeError, Paywall};
use crate::recovery::RecoveryError;
use crate::x402::{self, LightningPayment, lightning_requirement};

impl Paywall {
    /// Has an invoice made, and says what other rails need of it.
    ///
    /// # Errors
    /// [`ChallengeError`] if one of that fails.
    pub(crate) async fn challenge_on_rails(
        &self,
        mut request: ChallengeRequest,
    ) -> Result<(ChallengeReply, RailNotes, Option<Value>), ChallengeError> {
        let other = request.other.take();
        let reply = self.challenge(request.clone()).await?;
        let mut notes = RailNotes::default();
        let mut lightning = None;
        // A coupon is for a purchase of credit; the other invoice would be one over another amount.
        if let (Some(terms), ChallengeReply::Invoice { .. }) = (other, &reply)
            && request.coupon.is_none()
        {
            let x402 = terms.x402 && self.x402_over_lightning.is_some();
            let charge = match terms.payment || x402 {
                true => self.charge(request.clone(), &terms, reply.clone()).await?,
                false => None,
            };
            if let (Some((charge, expires_at)), true) = (&charge, x402) {
                let seconds = expires_at.saturating_sub(self.clock.now_s());
                lightning = lightning_requirement(charge, self.pool.network, seconds);
            }
            if terms.payment {
                self.offer_on_payment(&request, &terms, &reply, (charge, &mut notes)).await?;
            }
        }
        Ok((reply, notes, lightning))
    }

    /// The lines of the scheme `Payment`.
    async fn offer_on_payment(
        &self,
        request: &ChallengeRequest,
        terms: &RailTerms,
        sold: &ChallengeReply,
        (charge, notes): (Option<(Charge, u64)>, &mut RailNotes),
    ) -> Result<(), ChallengeError> {
        let wish = terms.accept.as_deref().map(wish).unwrap_or_default();
        let secrets = self.secrets(&request.service, &request.route).await?;
        if let (Some((charge, expires_at)), Some(secret)) = (charge, secrets.last()) {
            let other_header = terms.authorization_taken;
            let line = charge.challenge(secret, &request.service, expires_at, other_header);
            notes.headers.push(("www-authenticate".to_owned(), line));
            notes.preferred = wish.charge;
        }
        if let Some(line) = self.session_line(request, terms, sold).await? {
            // Published clients read one line, and most of them know the charge alone.
            let at = if wish.session && !wish.charge { 0 } else { notes.headers.len() };
            notes.headers.insert(at, ("www-authenticate".to_owned(), line));
            notes.preferred |= wish.session;
        }
        Ok(())
    }

    /// One payment for the request, and when its invoice ends: of the same invoice where it sells
    /// just that. Where it sells more, another is made for the price alone, because such a
    /// client has no use for what is left. A certificate is good for one amount, so that nothing
    /// else is offered beside it.
    async fn charge(
        &self,
        request: ChallengeRequest,
        terms: &RailTerms,
        sold: ChallengeReply,
    ) -> Result<Option<(Charge, u64)>, ChallengeError> {
        let price = terms.price_msat.rounded_up_to_sat().ok_or(ChallengeError::BalanceLimit)?;
        let just_that = (request.amount_msat, request.credit_msat, request.seed_msat)
            == (price, price, Msat::ZERO);
        let reply = if just_that {
            sold
        } else if self.authority.is_some() {
            return Ok(None);
        } else {
            let alone = ChallengeRequest {
                amount_msat: price,
                buys: Buys::Credit,
                credit_msat: price,
                seed_msat: Msat::ZERO,
                credit_ttl_s: None,
                top_up: None,
                proof: Proof::Preimage,
                pending: None,
                ..request
            };
            self.challenge_beside(alone).await?
        };
        let ChallengeReply::Invoice { payment_hash, invoice, expires_at, .. } = reply else {
            return Ok(None);
        };
        let charge = Charge::new(price, invoice, payment_hash, self.pool.network);
        Ok(charge.map(|charge| (charge, expires_at)))
    }

    /// A payment of x402 over Lightning, if the request shows one and they are taken.
    pub(crate) fn lightning_payment(&self, request: &RailHoldRequest) -> Option<LightningPayment> {
        let taken = request.rail == Rail::X402 && self.x402_over_lightning.is_some();
        let read = || LightningPayment::read(&request.credential, self.pool.network);
        taken.then(read).flatten()
    }

    /// Sets the credit of such a payment aside: of an invoice for this route, for no less than the
    /// request costs.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn hold_for_lightning(
        &self,
        id: HoldId,
        request: RailHoldRequest,
        payment: LightningPayment,
    ) -> Result<(HoldOutcome, RailNotes), RecoveryError> {
        let RailHoldRequest { route, amount_msat: price, ttl_ms, idempotency, .. } = request;
        let payment_hash = payment.payment_hash;
        let mut invoice = self.ledger.invoice(payment_hash).await?;
        if invoice.is_none() && self.recover(payment_hash).await? {
            invoice = self.ledger.invoice(payment_hash).await?;
        }
        let asked = |amount: Msat| amount.get().to_string() == payment.amount_msat;
        let fits = invoice.filter(|it| it.route == route && asked(it.amount_msat));
        let Some(amount) = fits.map(|it| it.amount_msat).filter(|amount| *amount >= price) else {
            let detail = "expected a payment of the invoice that a challenge of this route names, \
                          for what the request costs; pay a new one";
            return Ok(x402::refused(detail, None));
        };
        let order = HoldOrder {
            id,
            payment_hash,
            shown: Some(Proof::Preimage),
            min: amount,
            amount,
            ttl_ms,
            supply: self.sales.supply(&route).cloned(),
            route,
            once: idempotency,
            take_back: None,
            budgets: Vec::new(),
            rail: Some(OnRail::X402),
            tier: None,
        };
        let outcome = self.hold(order).await?;
        Ok(match &outcome {
            HoldOutcome::Answered(HoldReply::Granted { .. }) => {
                let receipt = payment.receipt(self.pool.network);
                let headers = vec![("payment-response".to_owned(), receipt)];
                (outcome, RailNotes { headers, ..RailNotes::default() })
            }
            HoldOutcome::Answered(HoldReply::Refused { refusal, .. })
                if problem_of(*refusal).is_some() =>
            {
                x402::refused("the payment was spent or revoked; pay a new invoice", None)
            }
            _ => (outcome, RailNotes::default()),
        })
    }

    /// The secrets of a route, the one of the current key last.
    pub(crate) async fn secrets(
        &self,
        service: &str,
        route: &str,
    ) -> Result<Vec<Secret>, LedgerError> {
        let keys = self.ledger.keys().await?;
        Ok(keys.iter().map(|key| Secret::of(key, service, route)).collect())
    }

    /// Judges a credential of the scheme `Payment` and sets credit aside for it.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn hold_for_payment(
        &self,
        id: HoldId,
        request: RailHoldRequest,
    ) -> Result<(HoldOutcome, RailNotes), RecoveryError> {
        let RailHoldRequest { credential, service, route, amount_msat, .. } = &request;
        let secrets = self.secrets(service, route).await?;
        match read(credential, &secrets, service, *amount_msat, self.clock.now_s()) {
            Ok(Presented::Charge(proof)) => self.hold_for_charge(id, request, proof).await,
            Ok(Presented::Session(proof)) => self.act_on_session(id, request, proof).await,
            Err(problem) => Ok(problem_answer(problem)),
        }
    }

    async fn hold_for_charge(
        &self,
        id: HoldId,
        request: RailHoldRequest,
        proof: ChargeProof,
    ) -> Result<(HoldOutcome, RailNotes), RecoveryError> {
        let RailHoldRequest { route, ttl_ms, .. } = request;
        let order = HoldOrder {
            id,
            payment_hash: proof.payment_hash,
            shown: Some(Proof::Preimage),
            min: proof.amount,
            amount: proof.amount,
            ttl_ms,
            supply: self.sales.supply(&route).cloned(),
            route,
            once: request.idempotency,
            take_back: None,
            budgets: Vec::new(),
            rail: Some(OnRail::Charge),
            tier: None,
        };
        let outcome = self.hold(order).await?;
        let notes = match &outcome {
            HoldOutcome::Answered(HoldReply::Granted { .. }) => {
                let now_s = self.clock.now_s();
                let receipt = receipt(&proof.challenge_id, &proof.payment_hash, now_s);
                RailNotes {
                    headers: vec![(RECEIPT_HEADER.to_owned(), receipt)],
                    ..RailNotes::default()
                }
            }
            HoldOutcome::Answered(HoldReply::Refused { refusal, .. }) => {
                problem_of(*refusal).map(refused).unwrap_or_default()
            }
            HoldOutcome::Conflict | HoldOutcome::Ended | HoldOutcome::BalanceLimit => {
                RailNotes::default()
            }
        };
        Ok((outcome, notes))
    }
}

/// Refuses a credential.
pub(crate) fn problem_answer(problem: Problem) -> (HoldOutcome, RailNotes) {
    let reply = HoldReply::Refused {
        refusal: HoldRefusal::PaymentNotProven,
        balance_msat: Msat::ZERO,
        resets_at: None,
        tier: None,
    };
    (HoldOutcome::Answered(reply), refused(problem))
}

pub(crate) fn refused(problem: Problem) -> RailNotes {
    RailNotes {
        problem: Some(problem.name().to_owned()),
        detail: Some(problem.to_string()),
        ..RailNotes::default()
    }
}

/// What the ledger's refusal means for a proven payment; `None` where another payment would not
/// help.
fn problem_of(refusal: HoldRefusal) -> Option<Problem> {
    match refusal {
        HoldRefusal::UnknownPayment => Some(Problem::Unknown),
        HoldRefusal::PaymentNotProven | HoldRefusal::PaymentPending => Some(Problem::NotProven),
        HoldRefusal::OtherRail | HoldRefusal::InsufficientCredit => Some(Problem::Spent),
        HoldRefusal::AccountRevoked => Some(Problem::Revoked),
        HoldRefusal::IdempotencyMismatch
        | HoldRefusal::IdempotencyInFlight
        | HoldRefusal::TierDiffers
        | HoldRefusal::BudgetExhausted
        | HoldRefusal::SoldOut => None,
    }
}
