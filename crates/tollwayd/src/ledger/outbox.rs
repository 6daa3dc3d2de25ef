//! What others outside are to get of what happens in the ledger (docs/adr/0026).
//!
//! A row is written in the transaction that it is about, so that none is lost and none is
//! invented. Who sends it takes it for a while first, so that no two replicas send the same one at
//! the same time, and reports what became of it.

use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::engine::{Decided, Engine, Question};
use super::questions::LedgerError;
use super::work::Needs;
use super::{Ledger, rows};

pub(crate) use super::rows::DeliveryKind;

/// What webhooks tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Happening {
    /// A payment has opened an account.
    Payment,
    /// A payment has topped an account up.
    TopUp,
    /// An operator has given a charge back.
    Refund,
}

/// Who is to hear of what happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subscriptions {
    pub(crate) webhooks: Vec<Subscription>,
    pub(crate) splits: Vec<Split>,
}

/// What one receiver is to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Its name in the configuration.
    pub(crate) target: String,
    pub(crate) happenings: Vec<Happening>,
}

/// What share of a payment goes on to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// The receiver's name in the configuration.
    pub(crate) target: String,
    /// Of payments for these routes; of all without it.
    pub(crate) routes: Option<Vec<String>>,
    pub(crate) basis_points: u32,
    /// A smaller share stays with the operator.
    pub(crate) min: Msat,
    /// A larger one is taken for a mistake.
    pub(crate) max: Msat,
}

/// What a payout is to be, as its row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayoutOrder {
    pub(crate) amount_msat: Msat,
}

/// Takes what is due for a receiver, to send it.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) kind: DeliveryKind,
    pub(crate) target: String,
    pub(crate) max: u32,
    /// How long nobody else sends it.
    pub(crate) lease_ms: u64,
}

/// Something to send, taken for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) id: [u8; 16],
    pub(crate) payment_hash: PaymentHash,
    pub(crate) body: String,
    /// What an earlier try has decided.
    pub(crate) note: Option<String>,
    /// Which try this is, from 1. Who took it later has a higher number.
    pub(crate) attempt: u32,
}

impl From<&rows::Delivery> for Claimed {
    fn from(row: &rows::Delivery) -> Self {
        Self {
            id: row.id,
            payment_hash: row.payment_hash,
            body: row.body.clone(),
            note: row.note.clone(),
            attempt: row.attempts,
        }
    }
}

/// What became of something that was taken.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) id: [u8; 16],
    pub(crate) attempt: u32,
    pub(crate) news: News,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It was sent.
    Sent,
    /// It was paid out, by way of this invoice.
    PaidOut { amount: Msat, invoice: PaymentHash },
    /// The sender has decided something, which is kept; it goes on, alone until this time.
    Chosen { note: String, until_ms: u64 },
    /// It is to be tried again from this time on.
    Later(u64),
    /// It is not tried again, for this reason.
    GivenUp(String),
}

impl Question for Claim {
    type Answer = Vec<Claimed>;

    const COUNTS: bool = false;

    fn name(&self, needs: &mut Needs) {
        needs.deliveries_due.insert((self.kind, self.target.clone()), self.max);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<Vec<Claimed>> {
        Ok(engine.claim(self))
    }
}

impl Question for Report {
    type Answer = bool;

    const COUNTS: bool = false;

    fn name(&self, needs: &mut Needs) {
        needs.deliveries.insert(self.id);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<bool> {
        Ok(engine.report(self))
    }
}

impl Ledger {
    /// Says once, before anything happens, who is to hear of it.
    pub(crate) fn subscribe(&self, subscriptions: Subscriptions) {
        let known = self.queue.subscriptions.set(subscriptions.into());
        debug_assert!(known.is_ok(), "once");
    }

    /// Takes what is due for a receiver.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn claim(&self, claim: Claim) -> Result<Vec<Claimed>, LedgerError> {
        self.queue.ask(claim).await
    }

    /// Says what became of a try; `false` if somebody else has taken it since.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn report(&self, report: Report) -> Result<bool, LedgerError> {
        self.queue.ask(report).await
    }
}
