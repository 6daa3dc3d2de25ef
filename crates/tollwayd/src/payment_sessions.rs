//! Sessions of the scheme `Payment`, on our accounts: a deposit opens one, requests spend it like
//! any credit, and what is left goes back to its payer (ADR 0031).

use std::time::Duration;

use serde_json::json;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::rfc3339;
use tollway_core::tier::Tier;
use tollway_core::wire::{
    Buys, ChallengeReply, ChallengeRequest, HoldRefusal, HoldReply, Proof, RailHoldRequest,
    RailNotes, RailTerms, StoredResponse,
};

use crate::ledger::{
    CloseOutcome, CloseSession, DepositOutcome, HoldOrder, HoldOutcome, LedgerError, OnRail,
    OpenSession, TopUpSession,
};
use crate::lightning::check_return_invoice;
use crate::payment_scheme::{
    Action, CloseReceipt, Deposit, METHOD, Problem, RECEIPT_HEADER, SessionProof, receipt,
};
use crate::paywall::Paywall;
use crate::rails::{problem_answer, refused};
use crate::recovery::RecoveryError;

/// How long the answer to an end waits for the return, and how often it looks.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

type Judged = Result<(HoldOutcome, RailNotes), RecoveryError>;

impl Paywall {
    /// The challenge that sells a session, where that can be.
    ///
    /// # Errors
    /// [`LedgerError`] if it did not answer.
    pub(crate) async fn session_line(
        &self,
        request: &ChallengeRequest,
        terms: &RailTerms,
        sold: &ChallengeReply,
    ) -> Result<Option<String>, LedgerError> {
        let sold = deposit(request, terms, sold).filter(|_| self.payment_sessions);
        let Some((deposit, expires_at)) = sold else { return Ok(None) };
        let secrets = self.secrets(&request.service, &request.route).await?;
        let other_header = terms.authorization_taken;
        let line = |secret| deposit.challenge(secret, &request.service, expires_at, other_header);
        Ok(secrets.last().map(line))
    }

    /// Does what a proven client wants of a session.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn act_on_session(
        &self,
        id: HoldId,
        request: RailHoldRequest,
        proof: SessionProof,
    ) -> Judged {
        let SessionProof { challenge_id, session, action } = proof;
        let realm = request.service.clone();
        let receipt = || receipt(&challenge_id, &session, self.clock.now_s());
        match action {
            Action::Open { price, return_invoice } => {
                let now_s = self.clock.now_s();
                let network = self.pool.network;
                if check_return_invoice(&return_invoice, network, now_s).is_err() {
                    return Ok(problem_answer(Problem::ReturnInvoice));
                }
                let order = OpenSession { payment_hash: session, realm, return_invoice };
                match left(self.ledger.open_session(order).await?) {
                    Ok(_balance) => {
                        self.spend_session(id, request, session, price, receipt()).await
                    }
                    Err(none) => Ok(none.answer()),
                }
            }
            Action::Bearer { price } => {
                self.spend_session(id, request, session, price, receipt()).await
            }
            Action::TopUp { payment_hash } => {
                let order = TopUpSession { session, realm, payment_hash };
                match left(self.ledger.top_up_session(order).await?) {
                    Ok(balance) => {
                        let body = json!({"status": "ok"}).to_string();
                        Ok(answered(session, balance, &body, receipt()))
                    }
                    Err(none) => Ok(none.answer()),
                }
            }
            Action::Close => self.end_session(CloseSession { session, realm }).await,
        }
    }

    async fn spend_session(
        &self,
        id: HoldId,
        request: RailHoldRequest,
        session: PaymentHash,
        price: Msat,
        receipt: String,
    ) -> Judged {
        let RailHoldRequest { route, ttl_ms, service: realm, idempotency, .. } = request;
        let order = HoldOrder {
            id,
            payment_hash: session,
            shown: Some(Proof::Preimage),
            min: price,
            amount: price,
            ttl_ms,
            supply: self.sales.supply(&route).cloned(),
            route,
            once: idempotency,
            take_back: None,
            budgets: Vec::new(),
            rail: Some(OnRail::Session { realm }),
            tier: None,
        };
        let outcome = self.hold(order).await?;
        let notes = match &outcome {
            HoldOutcome::Answered(HoldReply::Granted { .. }) => with_receipt(receipt),
            HoldOutcome::Answered(HoldReply::Refused { refusal, .. }) => {
                session_problem(*refusal).map(refused).unwrap_or_default()
            }
            HoldOutcome::Conflict | HoldOutcome::Ended | HoldOutcome::BalanceLimit => {
                RailNotes::default()
            }
        };
        Ok((outcome, notes))
    }

    async fn end_session(&self, order: CloseSession) -> Judged {
        let session = order.session;
        let (returned, delivery) = match self.ledger.close_session(order).await? {
            CloseOutcome::Closed { returned, delivery } => (returned, delivery),
            CloseOutcome::NoSession => return Ok(problem_answer(Problem::NoSession)),
            CloseOutcome::Busy => return Ok(problem_answer(Problem::SessionBusy)),
        };
        let refund_status = match returned {
            Msat::ZERO => "skipped",
            _ if self.is_returned(delivery).await? => "succeeded",
            // The scheme has no word for a payment that is under way.
            _ => "failed",
        };
        let refund_sats = returned.to_sats_rounded_up();
        let body =
            json!({"status": "closed", "refundSats": refund_sats, "refundStatus": refund_status});
        let receipt = CloseReceipt {
            method: METHOD,
            reference: session.to_hex(),
            refund_sats,
            refund_status,
            status: "success",
            timestamp: rfc3339::format_s(self.clock.now_s()),
        };
        Ok(answered(session, Msat::ZERO, &body.to_string(), receipt.write()))
    }

    /// Whether what goes back arrives within a moment.
    async fn is_returned(&self, delivery: [u8; 16]) -> Result<bool, LedgerError> {
        for _ in 0..LOOKS {
            if self.ledger.has_arrived(delivery).await? {
                return Ok(true);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        self.ledger.has_arrived(delivery).await
    }
}

/// What was sold as the deposit of a session, and when its invoice ends; none where the invoice
/// sells something else than credit for what it asks, because what is left of a session goes back
/// as money.
fn deposit(
    request: &ChallengeRequest,
    terms: &RailTerms,
    sold: &ChallengeReply,
) -> Option<(Deposit, u64)> {
    let plain = request.buys == Buys::Credit
        && request.credit_msat == request.amount_msat
        && request.seed_msat == Msat::ZERO
        && request.credit_ttl_s.is_none()
        && request.proof == Proof::Preimage
        && request.top_up.is_none();
    let price = terms.price_msat.rounded_up_to_sat().filter(|it| *it < request.amount_msat)?;
    match sold {
        // A coupon or a tier may have made the credit more since it was asked for.
        ChallengeReply::Invoice { payment_hash, invoice, amount_msat, credit_msat, expires_at }
            if plain && credit_msat == amount_msat =>
        {
            let (amount, payment_hash) = (*amount_msat, *payment_hash);
            Some((Deposit { price, amount, invoice: invoice.clone(), payment_hash }, *expires_at))
        }
        _ => None,
    }
}

/// A deposit that is none.
struct NoDeposit(DepositOutcome);

/// What is left after a deposit.
fn left(outcome: DepositOutcome) -> Result<Msat, NoDeposit> {
    match outcome {
        DepositOutcome::Deposited { balance } => Ok(balance),
        other => Err(NoDeposit(other)),
    }
}

impl NoDeposit {
    fn answer(self) -> (HoldOutcome, RailNotes) {
        problem_answer(match self.0 {
            DepositOutcome::NoSession => Problem::NoSession,
            DepositOutcome::Closed => Problem::SessionClosed,
            DepositOutcome::UnknownPayment => Problem::Unknown,
            DepositOutcome::Unfit | DepositOutcome::Deposited { .. } => Problem::Spent,
            DepositOutcome::BalanceLimit => {
                return (HoldOutcome::BalanceLimit, RailNotes::default());
            }
        })
    }
}

/// What the ledger's refusal means for a session; `None` where another payment would not help.
fn session_problem(refusal: HoldRefusal) -> Option<Problem> {
    match refusal {
        HoldRefusal::UnknownPayment => Some(Problem::NoSession),
        HoldRefusal::PaymentNotProven | HoldRefusal::PaymentPending => Some(Problem::NotProven),
        HoldRefusal::OtherRail => Some(Problem::Spent),
        HoldRefusal::InsufficientCredit => Some(Problem::SessionEmpty),
        HoldRefusal::AccountRevoked => Some(Problem::SessionClosed),
        HoldRefusal::IdempotencyMismatch
        | HoldRefusal::IdempotencyInFlight
        | HoldRefusal::TierDiffers
        | HoldRefusal::BudgetExhausted
        | HoldRefusal::SoldOut => None,
    }
}

fn with_receipt(receipt: String) -> RailNotes {
    let headers = vec![(RECEIPT_HEADER.to_owned(), receipt)];
    RailNotes { headers, ..RailNotes::default() }
}

/// An answer that the filter gives itself: no upstream hears of it.
fn answered(
    account: PaymentHash,
    balance_msat: Msat,
    body: &str,
    receipt: String,
) -> (HoldOutcome, RailNotes) {
    let replay = StoredResponse::new(200, b"application/json", body.as_bytes());
    let reply = HoldReply::Granted {
        account,
        granted_msat: Msat::ZERO,
        balance_msat,
        tier: Tier::NONE,
        already_charged: true,
        replay,
    };
    (HoldOutcome::Answered(reply), with_receipt(receipt))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    fn terms(price: u64) -> RailTerms {
        RailTerms {
            payment: true,
            x402: false,
            price_msat: msat(price),
            accept: None,
            authorization_taken: false,
        }
    }

    /// A purchase of so much credit for 20 sats, after `change`.
    fn sold(credit: u64, change: impl FnOnce(&mut ChallengeRequest)) -> Option<(Msat, Msat, u64)> {
        let (amount_msat, payment_hash) = (msat(20_000), PaymentHash::from_bytes([7; 32]));
        let mut request = json!({"service": "demo", "route": "joke", "memo": "jokes",
                                 "amount_msat": 20_000, "credit_msat": 20_000});
        request["seed_msat"] = json!(0);
        let mut request: ChallengeRequest = serde_json::from_value(request).unwrap();
        change(&mut request);
        let reply = ChallengeReply::Invoice {
            payment_hash,
            invoice: "lnbcrt1".to_owned(),
            amount_msat,
            credit_msat: msat(credit),
            expires_at: 600,
        };
        let (deposit, expires_at) = deposit(&request, &terms(4_001), &reply)?;
        assert_eq!((deposit.payment_hash, deposit.invoice.as_str()), (payment_hash, "lnbcrt1"));
        Some((deposit.price, deposit.amount, expires_at))
    }

    #[test]
    fn a_session_is_sold_for_just_what_is_paid() {
        assert_eq!(sold(20_000, |_| ()), Some((msat(5_000), msat(20_000), 600)));
        // What is credited differs from what is paid, as the ledger has it in the end.
        for credit in [19_999, 20_001, 40_000] {
            assert_eq!(sold(credit, |_| ()), None, "{credit}");
        }
        let of_other = PaymentHash::from_bytes([8; 32]);
        assert_eq!(sold(20_000, |it| it.credit_msat = msat(20_001)), None, "a bonus");
        assert_eq!(sold(20_000, |it| it.seed_msat = msat(1)), None, "a gift");
        assert_eq!(sold(20_000, |it| it.credit_ttl_s = Some(60)), None, "credit that ends");
        assert_eq!(sold(20_000, |it| it.buys = Buys::Session), None, "time");
        assert_eq!(sold(20_000, |it| it.proof = Proof::Lookup), None, "no preimage");
        assert_eq!(sold(20_000, |it| it.top_up = Some(of_other)), None, "another's account");
        let request = |it: &mut ChallengeRequest| it.amount_msat = msat(5_000);
        assert_eq!(sold(20_000, request), None, "one request");
    }
}
