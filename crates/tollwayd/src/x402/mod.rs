//! x402: a request is paid for with a token transfer on an EVM chain, which the client signs and a
//! facilitator carries out.
//!
//! The payment is verified and reserved before the upstream is reached, and settled when the
//! upstream has answered well, before anything of its answer leaves (ADR 0028). What was settled
//! is credit of an account of its own, and the request's hold spends it like any other. What is
//! paid over Lightning needs none of that: its preimage proves a payment of ours.

mod facilitator;
mod lightning;
mod offer;
mod payment;
mod spending;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tollway_core::decimal::Decimal;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::wire::{
    ChallengeRequest, HoldRefusal, HoldReply, Proof, RailHoldRequest, RailNotes, RailTerms,
};

use crate::clock::Clock;
use crate::config::X402Config;
use crate::ledger::{
    EndOutcome, HoldOrder, HoldOutcome, Ledger, LedgerError, OnRail, Reservation,
    ReservationOutcome, SettlementEnd, SettlementStart, StartOutcome, Verdict,
};
use crate::rates::Rates;
use crate::sales::Sales;
use facilitator::{Facilitator, Judgement, Settled};
pub(crate) use lightning::{LightningPayment, requirement as lightning_requirement};
use offer::Told;
pub(crate) use offer::payment_required;
use payment::{Fault, Payment, Version};
use spending::Spending;

/// How much longer than its own limit a settlement is left to itself.
const SETTLE_SLACK: Duration = Duration::from_secs(2);
/// Verifications at once: whoever makes payments up must not have the facilitator flooded.
const VERIFICATIONS_MAX: usize = 64;
/// How often, and after what pause each, the ledger is told of a settlement that it did not take.
const NOTES_MAX: u32 = 5;
const NOTE_PAUSE: Duration = Duration::from_secs(1);

/// Sells requests on x402. Cheap to clone.
#[derive(Clone)]
pub(crate) struct X402(Arc<Inner>);

struct Inner {
    config: X402Config,
    facilitator: Facilitator,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    rates: Rates,
    sales: Arc<Sales>,
    told: Told,
    verifications: Semaphore,
    spending: Spending,
}

/// Why a payment was neither accepted nor refused: the answer is 503, and the same payment may be
/// shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum X402Error {
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The facilitator did not say whether the payment would do.
    #[error("the facilitator does not answer")]
    Silent,
    /// Another request shows the same payment.
    #[error("the same payment is being spent by another request")]
    InFlight,
    /// Nobody knows whether it was settled.
    #[error("whether the payment was settled is not known yet")]
    Unknown,
}

/// What a challenge says to clients of x402.
pub(crate) struct Offer {
    /// What the second version is asked for.
    pub(crate) requirement: Value,
    /// Members of its JSON body.
    pub(crate) members: Option<String>,
}

/// What became of a settlement.
enum Outcome {
    Credited { receipt: Option<String> },
    Refused { receipt: Option<String> },
}

type Judged = Result<(HoldOutcome, RailNotes), X402Error>;

impl X402 {
    pub(crate) fn new(
        config: X402Config,
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        rates: Rates,
        sales: Arc<Sales>,
    ) -> reqwest::Result<Self> {
        let facilitator = Facilitator::new(&config)?;
        let told = Told::default();
        let verifications = Semaphore::new(VERIFICATIONS_MAX);
        Ok(Self(Arc::new(Inner {
            config,
            facilitator,
            ledger,
            clock,
            rates,
            sales,
            told,
            verifications,
            spending: Spending::default(),
        })))
    }

    /// Where clients find the API.
    pub(crate) fn public_url(&self) -> &reqwest::Url {
        &self.0.config.public_url
    }

    /// What a challenge says besides; nothing while there is no rate.
    pub(crate) fn offer(&self, request: &ChallengeRequest, terms: &RailTerms) -> Option<Offer> {
        let Inner { config, clock, told, .. } = &*self.0;
        let rate = self.rate()?;
        let units = offer::units(terms.price_msat, rate, config)?;
        let requirement = |version| offer::requirement(version, &units, config, &request.memo);
        let now_ms = clock.now_ms();
        let life_ms = config.payment_timeout_s.saturating_mul(1_000);
        told.remember(rate, now_ms, now_ms.saturating_add(life_ms));
        let members = requirement(Version::One).map(|it| offer::body_members(&it));
        Some(Offer { requirement: requirement(Version::Two)?, members })
    }

    /// Judges a payment and reserves it for the request. What is granted is to be settled, unless
    /// that was done before.
    ///
    /// # Errors
    /// [`X402Error`]: not decided.
    pub(crate) async fn hold(&self, id: HoldId, request: RailHoldRequest) -> Judged {
        let Inner { config, ledger, .. } = &*self.0;
        let payment = match Payment::read(&request.credential, config) {
            Ok(payment) => payment,
            Err(fault) => return Ok(refused(&fault.to_string(), None)),
        };
        let known = match ledger.transfer(payment.id, id).await? {
            Some(known) => known,
            None => {
                if !self.is_price(&payment.units, request.amount_msat) {
                    return Ok(refused(&Fault::Amount.to_string(), None));
                }
                if let Some(refused) = self.verified(&payment, &request.route).await? {
                    return Ok(refused);
                }
                let reservation = Reservation {
                    id: payment.id,
                    hold: id,
                    units: payment.units.clone(),
                    payer: payment.payer.as_str().to_owned(),
                    price: request.amount_msat,
                    route: request.route.clone(),
                    ttl_ms: request.ttl_ms,
                };
                ledger.reserve_transfer(reservation).await?
            }
        };
        match known {
            ReservationOutcome::Reserved => Ok(self.reserved(&payment, request.amount_msat)),
            ReservationOutcome::Settled => {
                let _mine = self.0.spending.begin(payment.id).ok_or(X402Error::InFlight)?;
                self.spend(id, &request, &payment, None).await
            }
            // The client shows the same payment again, as it should.
            ReservationOutcome::Unknown => self.settle_apart(id, request, payment).await,
            ReservationOutcome::Taken | ReservationOutcome::Conflict => Err(X402Error::InFlight),
        }
    }

    /// Settles the payment that the hold's request has reserved, and sets its credit aside.
    ///
    /// # Errors
    /// [`X402Error`]: not decided, or not known.
    pub(crate) async fn settle(&self, id: HoldId, request: RailHoldRequest) -> Judged {
        match Payment::read(&request.credential, &self.0.config) {
            Ok(payment) => self.settle_apart(id, request, payment).await,
            Err(fault) => Ok(refused(&fault.to_string(), None)),
        }
    }

    async fn settle_apart(&self, id: HoldId, request: RailHoldRequest, payment: Payment) -> Judged {
        let _mine = self.0.spending.begin(payment.id).ok_or(X402Error::InFlight)?;
        let this = self.clone();
        let (paid, route) = (payment.clone(), request.route.clone());
        // Goes on when the caller gives up: what the facilitator says has to be written down.
        let settled = tokio::spawn(async move { this.settle_now(id, &route, &paid).await });
        let settled = settled.await.unwrap_or(Err(X402Error::Unknown))?;
        // Only a caller that is still there sets credit aside.
        match settled {
            Outcome::Credited { receipt } => self.spend(id, &request, &payment, receipt).await,
            Outcome::Refused { receipt } => {
                let detail = "the facilitator did not settle the payment; nothing was charged";
                Ok(refused(detail, receipt.map(|value| (response_header(payment.version), value))))
            }
        }
    }

    async fn settle_now(
        &self,
        id: HoldId,
        route: &str,
        payment: &Payment,
    ) -> Result<Outcome, X402Error> {
        let Inner { config, facilitator, ledger, .. } = &*self.0;
        let requirement = offer::requirement(payment.version, &payment.units, config, route);
        let requirement = requirement.ok_or(X402Error::Unknown)?;
        let limit = config.settle_timeout.saturating_add(SETTLE_SLACK);
        let (units, ttl_ms) = (payment.units.clone(), ms(limit));
        let start = SettlementStart { id: payment.id, hold: id, units, ttl_ms };
        match ledger.start_settlement(start).await? {
            StartOutcome::Ask => {}
            StartOutcome::Settled => return Ok(Outcome::Credited { receipt: None }),
            StartOutcome::Taken | StartOutcome::Lost => return Err(X402Error::InFlight),
        }
        let (verdict, receipt) = match facilitator.settle(payment, &requirement, config).await {
            Settled::Done { transaction, receipt } => {
                (Verdict::Settled { transaction }, Some(receipt))
            }
            Settled::Refused { reason, receipt } => {
                tracing::info!(reason, "a payment was not settled");
                (Verdict::Refused, Some(receipt))
            }
            Settled::Unknown => (Verdict::Unknown, None),
        };
        match self.note(SettlementEnd { id: payment.id, hold: id, verdict }).await? {
            EndOutcome::Credited => Ok(Outcome::Credited { receipt }),
            EndOutcome::Refused => Ok(Outcome::Refused { receipt }),
            EndOutcome::Unknown | EndOutcome::Lost => Err(X402Error::Unknown),
        }
    }

    /// Writes down what the facilitator said, again if the ledger does not take it.
    async fn note(&self, end: SettlementEnd) -> Result<EndOutcome, X402Error> {
        let ledger = &self.0.ledger;
        let mut outcome = ledger.end_settlement(end.clone()).await;
        for _ in 1..NOTES_MAX {
            if outcome.is_ok() {
                break;
            }
            tokio::time::sleep(NOTE_PAUSE).await;
            outcome = ledger.end_settlement(end.clone()).await;
        }
        if outcome.is_err() {
            tracing::error!(verdict = ?end.verdict, "the ledger does not take a settlement");
        }
        Ok(outcome?)
    }

    /// Spends what the payment has brought: once, like any credit.
    async fn spend(
        &self,
        id: HoldId,
        request: &RailHoldRequest,
        payment: &Payment,
        receipt: Option<String>,
    ) -> Judged {
        let order = HoldOrder {
            id,
            payment_hash: payment.id.payment_hash(),
            shown: Some(Proof::Preimage),
            min: request.amount_msat,
            amount: request.amount_msat,
            ttl_ms: request.ttl_ms,
            route: request.route.clone(),
            once: None,
            take_back: None,
            budgets: Vec::new(),
            rail: Some(OnRail::X402),
            tier: None,
            supply: self.0.sales.supply(&request.route).cloned(),
        };
        let outcome = self.0.ledger.hold(order).await?;
        if let HoldOutcome::Answered(HoldReply::Granted { .. }) = outcome {
            let header = receipt.map(|receipt| (response_header(payment.version), receipt));
            let headers = header.into_iter().collect();
            return Ok((outcome, RailNotes { headers, ..RailNotes::default() }));
        }
        // What another request holds may come back.
        let account = self.0.ledger.account(payment.id.payment_hash()).await?;
        if account.is_some_and(|account| account.balance_msat >= request.amount_msat) {
            return Err(X402Error::InFlight);
        }
        Ok(refused("the payment was spent; sign another one", None))
    }

    /// What the gate gets for a payment that is settled when the upstream has answered.
    fn reserved(&self, payment: &Payment, price: Msat) -> (HoldOutcome, RailNotes) {
        let reply = HoldReply::Granted {
            account: payment.id.payment_hash(),
            granted_msat: price,
            balance_msat: Msat::ZERO,
            tier: tollway_core::tier::Tier::NONE,
            already_charged: false,
            replay: None,
        };
        let limit = self.0.config.settle_timeout.saturating_add(SETTLE_SLACK);
        let notes = RailNotes { settle_within_ms: Some(ms(limit)), ..RailNotes::default() };
        (HoldOutcome::Answered(reply), notes)
    }

    /// Asks the facilitator; a refusal if it says no.
    async fn verified(
        &self,
        payment: &Payment,
        route: &str,
    ) -> Result<Option<(HoldOutcome, RailNotes)>, X402Error> {
        let Inner { config, facilitator, verifications, .. } = &*self.0;
        let requirement = offer::requirement(payment.version, &payment.units, config, route);
        let requirement = requirement.ok_or(X402Error::Silent)?;
        let _one = verifications.try_acquire().map_err(|_| X402Error::Silent)?;
        match facilitator.verify(payment, &requirement, config).await {
            Judgement::Valid => Ok(None),
            Judgement::Invalid { reason } => {
                Ok(Some(refused(&format!("the facilitator refuses the payment: {reason}"), None)))
            }
            Judgement::Silent => Err(X402Error::Silent),
        }
    }

    /// Whether it is what the request costs, at a rate that was told not long ago.
    fn is_price(&self, paid: &str, price: Msat) -> bool {
        let Inner { config, clock, told, .. } = &*self.0;
        let rates = told.now(clock.now_ms());
        rates
            .into_iter()
            .chain(self.rate())
            .any(|rate| offer::units(price, rate, config).is_some_and(|units| units == paid))
    }

    /// What a bitcoin costs now in what a token is worth.
    fn rate(&self) -> Option<Decimal> {
        let code = self.0.config.currency.code().to_owned();
        let found = self.0.rates.now().into_iter().find(|rate| rate.currency == code)?;
        Decimal::parse(&found.per_bitcoin)
    }
}

/// Where clients of the version look for the receipt.
fn response_header(version: Version) -> String {
    match version {
        Version::One => "x-payment-response",
        Version::Two => "payment-response",
    }
    .to_owned()
}

/// The answer where x402 is not configured.
pub(crate) fn not_taken() -> (HoldOutcome, RailNotes) {
    refused("this gateway takes no x402 payments; its tollwayd has no [x402]", None)
}

/// A payment that is not accepted. The client may pay anew.
pub(crate) fn refused(detail: &str, header: Option<(String, String)>) -> (HoldOutcome, RailNotes) {
    let reply = HoldReply::Refused {
        refusal: HoldRefusal::PaymentNotProven,
        balance_msat: Msat::ZERO,
        resets_at: None,
        tier: None,
    };
    let notes = RailNotes {
        headers: header.into_iter().collect(),
        problem: Some("verification-failed".to_owned()),
        detail: Some(detail.to_owned()),
        ..RailNotes::default()
    };
    (HoldOutcome::Answered(reply), notes)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
