//! Other rails than L402: what a challenge says for them, and what their credentials are good
//! for. The filter carries both ways what it does not read.

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::wire::{
    Buys, ChallengeReply, ChallengeRequest, HoldRefusal, HoldReply, Proof, RailHoldRequest,
    RailNotes, RailTerms,
};

use crate::ledger::{HoldOrder, HoldOutcome, LedgerError, OnRail};
use crate::payment_scheme::{
    Charge, Presented, Problem, Proof as ChargeProof, RECEIPT_HEADER, Secret, read, receipt, wish,
};
use crate::paywall::{ChallengeError, Paywall};
use crate::recovery::RecoveryError;

impl Paywall {
    /// Has an invoice made, and says what other rails need of it.
    ///
    /// # Errors
    /// [`ChallengeError`] if one of that fails.
    pub(crate) async fn challenge_on_rails(
        &self,
        mut request: ChallengeRequest,
    ) -> Result<(ChallengeReply, RailNotes), ChallengeError> {
        let other = request.other.take();
        let reply = self.challenge(request.clone()).await?;
        let mut notes = RailNotes::default();
        // A coupon is for a purchase of credit; the other invoice would be one over another amount.
        if let (Some(terms), ChallengeReply::Invoice { .. }) = (other, &reply)
            && terms.payment
            && request.coupon.is_none()
        {
            let wish = terms.accept.as_deref().map(wish).unwrap_or_default();
            self.offer_charge(request.clone(), &terms, reply.clone(), &mut notes).await?;
            let offered = !notes.headers.is_empty();
            notes.preferred = offered && wish.charge;
            if let Some(line) = self.session_line(&request, &terms, &reply).await? {
                // Published clients read one line, and most of them know the charge alone.
                let at = if wish.session && !wish.charge { 0 } else { notes.headers.len() };
                notes.headers.insert(at, ("www-authenticate".to_owned(), line));
                notes.preferred |= wish.session;
            }
        }
        Ok((reply, notes))
    }

    /// Offers the request for one payment of the scheme `Payment`: of the same invoice where it
    /// sells just that. Where it sells more, another is made for the price alone, because such a
    /// client has no use for what is left. A certificate is good for one amount, so that nothing
    /// else is offered beside it.
    async fn offer_charge(
        &self,
        request: ChallengeRequest,
        terms: &RailTerms,
        sold: ChallengeReply,
        notes: &mut RailNotes,
    ) -> Result<(), ChallengeError> {
        let price = terms.price_msat.rounded_up_to_sat().ok_or(ChallengeError::BalanceLimit)?;
        let just_that = (request.amount_msat, request.credit_msat, request.seed_msat)
            == (price, price, Msat::ZERO);
        let (service, route) = (request.service.clone(), request.route.clone());
        let reply = if just_that {
            sold
        } else if self.authority.is_some() {
            return Ok(());
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
            return Ok(());
        };
        let network = self.pool.network;
        let Some(charge) = Charge::new(price, invoice, payment_hash, network) else {
            return Ok(());
        };
        let secrets = self.secrets(&service, &route).await?;
        if let Some(secret) = secrets.last() {
            let line = charge.challenge(secret, &service, expires_at, terms.authorization_taken);
            notes.headers.push(("www-authenticate".to_owned(), line));
        }
        Ok(())
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
