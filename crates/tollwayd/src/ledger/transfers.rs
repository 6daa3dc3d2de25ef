//! Questions about payments that a facilitator settles: a transfer is reserved for one request,
//! then settled at most once, and only then credit.

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};

use super::reads::Query;
use super::rows::{Transfer, TransferState};
use super::{Ledger, LedgerError};

/// Names a transfer for ever: a hash of all that makes it the same payment, which can be spent
/// once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransferId([u8; 32]);

impl TransferId {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn bytes(self) -> [u8; 32] {
        self.0
    }

    /// What its settlement is credited as: a payment whose proof is the transfer's id.
    pub(crate) fn payment_hash(self) -> PaymentHash {
        Preimage::from_bytes(self.0).payment_hash()
    }
}

/// Wants a transfer for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) id: TransferId,
    pub(crate) hold: HoldId,
    /// How much is transferred, in the smallest units of its asset.
    pub(crate) units: String,
    /// Who pays.
    pub(crate) payer: String,
    /// The credit that it buys.
    pub(crate) price: Msat,
    pub(crate) route: String,
    /// How long nobody else can have it.
    pub(crate) ttl_ms: u64,
}

/// What became of a [`Reservation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReservationOutcome {
    /// Only this hold can have it settled now.
    Reserved,
    /// Another request has it.
    Taken,
    /// It was asked to be settled, and nobody heard whether it was.
    Unknown,
    /// It was settled, and is credit.
    Settled,
    /// It was reserved with other fields.
    Conflict,
}

/// Is about to have a transfer settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettlementStart {
    pub(crate) id: TransferId,
    pub(crate) hold: HoldId,
    /// How much, as it was reserved.
    pub(crate) units: String,
    /// How long nobody else may ask for it.
    pub(crate) ttl_ms: u64,
}

/// Whether the transfer may be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StartOutcome {
    /// Ask the facilitator.
    Ask,
    /// Another request asks.
    Taken,
    /// It was settled before.
    Settled,
    /// This hold has not reserved it, or no longer, or not this amount.
    Lost,
}

/// What the facilitator said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettlementEnd {
    pub(crate) id: TransferId,
    pub(crate) hold: HoldId,
    pub(crate) verdict: Verdict,
}

/// What the facilitator said of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is done, in this transaction.
    Settled { transaction: String },
    /// It was not done.
    Refused,
    /// No answer, or none that says whether.
    Unknown,
}

/// What the ledger made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndOutcome {
    /// It is credit now, or was before.
    Credited,
    /// It is free again.
    Refused,
    /// Nobody knows; the next one may ask again.
    Unknown,
    /// The credit would lift the balance above [`Msat::MAX`], or there is no such transfer.
    Lost,
}

impl Ledger {
    /// What a reservation of a transfer for this hold would meet; `None` if nobody else has it.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn transfer(
        &self,
        id: TransferId,
        hold: HoldId,
    ) -> Result<Option<ReservationOutcome>, LedgerError> {
        let key = id.bytes();
        let by_id = Query::by("id =", &key, move |it: &Transfer| it.id == key);
        let known = self.reader.rows(by_id).await?.pop();
        let now_ms = self.clock.now_ms();
        let others = known.filter(|it| !it.is_reserved_by(hold));
        Ok(others.and_then(|it| it.standing(now_ms)))
    }

    /// Reserves a transfer for a request.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn reserve_transfer(
        &self,
        order: Reservation,
    ) -> Result<ReservationOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Notes that the facilitator is about to be asked for a settlement.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn start_settlement(
        &self,
        order: SettlementStart,
    ) -> Result<StartOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Notes what the facilitator said, and credits what it settled.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn end_settlement(
        &self,
        order: SettlementEnd,
    ) -> Result<EndOutcome, LedgerError> {
        self.queue.ask(order).await
    }
}

impl Transfer {
    pub(super) fn is_reserved_by(&self, hold: HoldId) -> bool {
        self.state == TransferState::Reserved && self.hold_id == hold
    }

    /// What stands against a reservation; `None` if nothing does.
    pub(super) fn standing(&self, now_ms: u64) -> Option<ReservationOutcome> {
        let waits = self.until_ms > now_ms;
        match self.state {
            TransferState::Settled => Some(ReservationOutcome::Settled),
            TransferState::Reserved | TransferState::Settling if waits => {
                Some(ReservationOutcome::Taken)
            }
            TransferState::Settling => Some(ReservationOutcome::Unknown),
            TransferState::Reserved | TransferState::Refused => None,
        }
    }
}
