//! Questions about sessions of the scheme `Payment`: prepaid credit that its payer gets back in the
//! end, as far as it was not spent. Who asks has checked the preimages.

use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::reads::Query;
use super::rows::{Delivery, DeliveryState};
use super::{Ledger, LedgerError};

/// On which rail a proof came, if not on L402.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OnRail {
    /// The scheme `Payment`: the payment is for one request.
    Charge,
    /// The same, and the payment opened a session, which is good in this realm.
    Session { realm: String },
    /// x402: the payment is for one request.
    X402,
}

/// The receiver of returns in the outbox. No split can have such a name.
pub(crate) const RETURNS: &str = "(returns)";

/// What the outbox is told of a return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReturnOrder {
    pub(crate) amount_msat: Msat,
    /// The payer's invoice, which asks no amount.
    pub(crate) bolt11: String,
}

/// Opens a session with a payment that nothing was spent of.
#[derive(Clone, Debug)]
pub(crate) struct OpenSession {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) realm: String,
    pub(crate) return_invoice: String,
}

/// Adds a payment that nothing was spent of to a session.
#[derive(Clone, Debug)]
pub(crate) struct TopUpSession {
    pub(crate) session: PaymentHash,
    pub(crate) realm: String,
    pub(crate) payment_hash: PaymentHash,
}

/// Ends a session and has what is left of it returned.
#[derive(Clone, Debug)]
pub(crate) struct CloseSession {
    pub(crate) session: PaymentHash,
    pub(crate) realm: String,
}

/// What became of an opening or a top-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DepositOutcome {
    /// The session has it, now or since before; so much can be spent.
    Deposited { balance: Msat },
    /// No session with this name is known in the realm.
    NoSession,
    /// The session has ended.
    Closed,
    /// No invoice with this payment hash is known.
    UnknownPayment,
    /// Something was spent of it, it is another session's, or it bought more than was paid.
    Unfit,
    /// The credit would lift the balance above [`Msat::MAX`].
    BalanceLimit,
}

/// What became of a session that was to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseOutcome {
    /// It has ended, now or before. What goes back is on its way with this delivery.
    Closed { returned: Msat, delivery: [u8; 16] },
    /// No session with this name is known in the realm.
    NoSession,
    /// A request of it is under way.
    Busy,
}

impl Ledger {
    /// Opens a session.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn open_session(
        &self,
        order: OpenSession,
    ) -> Result<DepositOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Adds to a session.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn top_up_session(
        &self,
        order: TopUpSession,
    ) -> Result<DepositOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Ends a session.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn close_session(
        &self,
        order: CloseSession,
    ) -> Result<CloseOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Whether what a session's end returns has arrived.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn has_arrived(&self, delivery: [u8; 16]) -> Result<bool, LedgerError> {
        let by_id = Query::by("id =", &delivery, move |it: &Delivery| it.id == delivery);
        let found = self.reader.rows(by_id).await?.pop();
        Ok(found.is_some_and(|it| it.state == DeliveryState::Done))
    }
}
