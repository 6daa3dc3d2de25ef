//! What was given up, and an operator's order to try it again.

use serde::Serialize;
use serde_json::Value;
use tollway_core::id::HoldId;
use tollway_core::payment::PaymentHash;

use super::Ledger;
use super::engine::{Decided, Engine, Question};
use super::questions::LedgerError;
use super::reads::Query;
use super::rows::{Delivery, DeliveryState};
use super::views::ENTRIES_SHOWN_MAX;
use super::work::Needs;

/// Has something tried again that was given up. A repeat changes nothing.
#[derive(Clone, Debug)]
pub(crate) struct Retry {
    /// The order's own id.
    pub(crate) id: [u8; 16],
    pub(crate) actor: String,
    pub(crate) reason: String,
    pub(crate) delivery: [u8; 16],
}

/// What became of a [`Retry`], in order of precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryOutcome {
    /// It is tried again, now or since the same order first came.
    Done,
    /// An order with this id and other fields was done before.
    Conflict,
    /// Nothing with this id is to be sent, or it was forgotten since.
    Unknown,
    /// It was sent, or is still tried.
    NotGivenUp,
}

/// Something that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct GivenUp {
    /// In the form of a UUID.
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    /// The receiver's name in the configuration.
    pub(crate) target: String,
    pub(crate) payment_hash: PaymentHash,
    pub(crate) account: PaymentHash,
    /// A webhook's body, or the amount of a payout.
    pub(crate) body: Value,
    pub(crate) attempts: u32,
    pub(crate) created_at_ms: u64,
    pub(crate) given_up_at_ms: u64,
}

impl Question for Retry {
    type Answer = RetryOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.actions.insert(self.id);
        needs.deliveries.insert(self.delivery);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<RetryOutcome> {
        Ok(engine.retry(self))
    }
}

impl Ledger {
    /// Has something tried again that was given up.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn retry(&self, order: Retry) -> Result<RetryOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// What was given up, the newest last, at most 1,000.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn given_up(&self) -> Result<Vec<GivenUp>, LedgerError> {
        let state = DeliveryState::GivenUp;
        let newest = Query {
            newest_first: true,
            order: Some("due_at_ms"),
            limit: ENTRIES_SHOWN_MAX,
            ..Query::by("state =", &state, move |it: &Delivery| it.state == state)
        };
        let mut found = self.scanner.rows(newest).await?;
        found.sort_by_key(|it| (it.due_at_ms, it.id));
        Ok(found.into_iter().map(GivenUp::from).collect())
    }
}

impl From<Delivery> for GivenUp {
    fn from(row: Delivery) -> Self {
        Self {
            id: HoldId::from_bytes(row.id).to_string(),
            kind: row.kind.word(),
            target: row.target,
            payment_hash: row.payment_hash,
            account: row.account,
            // JSON of ours.
            body: serde_json::from_str(&row.body).unwrap_or_default(),
            attempts: row.attempts,
            created_at_ms: row.created_at_ms,
            given_up_at_ms: row.due_at_ms,
        }
    }
}
