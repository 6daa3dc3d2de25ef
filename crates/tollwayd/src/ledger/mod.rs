//! The ledger of prepaid credit: accounts, invoices, entries, holds and postings.
//!
//! A settled invoice credits its account once. A hold sets credit aside; a posting turns a part
//! of a hold into revenue; what a hold does not post returns to the account when it is released
//! or expires. `balance = sum of entries`, `available = balance - live holds`, and neither is
//! ever negative.
//!
//! This module holds the questions and answers, which know no database. [`sqlite`] keeps them.

mod sqlite;

use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldReply, HoldRequest};

pub(crate) use sqlite::{
    AccountView, AuditReport, Ledger, OpenError, Opening, Stats, Writer, audit,
};

/// An invoice to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    pub(crate) amount: Msat,
    pub(crate) route: String,
    pub(crate) expires_at_ms: u64,
    /// A payment hash that pays into the account to top up; without it the invoice opens a new
    /// account, named by its own payment hash.
    pub(crate) top_up: Option<PaymentHash>,
}

/// What became of a [`NewInvoice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvoiceOutcome {
    /// It is on disk.
    Stored,
    /// The payment hash was used before: the node repeated itself.
    HashTaken,
    /// Nothing pays into the account that was to be topped up.
    TopUpUnknown,
    /// The credit would lift the balance above [`Msat::MAX`].
    BalanceLimit,
}

/// A hold to grant. The proof was judged before, so that no preimage enters the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldOrder {
    pub(crate) id: HoldId,
    pub(crate) payment_hash: PaymentHash,
    pub(crate) proven: bool,
    pub(crate) amount: Msat,
    pub(crate) ttl_ms: u64,
    pub(crate) route: String,
}

impl HoldOrder {
    /// Judges the proof and leaves it behind.
    pub(crate) fn new(id: HoldId, request: HoldRequest) -> Self {
        Self {
            id,
            proven: request.preimage.proves(&request.payment_hash),
            payment_hash: request.payment_hash,
            amount: request.amount_msat,
            ttl_ms: request.ttl_ms,
            route: request.route,
        }
    }
}

/// The answer to a [`HoldOrder`].
///
/// A repeat with the same fields gets `granted_msat` as first granted; `balance_msat` is always
/// the balance of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// Granted or refused.
    Answered(HoldReply),
    /// A hold with this id and other fields exists.
    Conflict,
    /// A hold with this id and these fields was released or has expired; it grants nothing more.
    Ended,
    /// The payment is proven, but its credit would lift the balance above [`Msat::MAX`].
    BalanceLimit,
}

/// What became of a reported payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleOutcome {
    /// The account was credited now.
    Credited,
    /// The account was credited before.
    AlreadyCredited,
    /// No invoice has this payment hash.
    Unknown,
    /// The credit would lift the balance above [`Msat::MAX`]; nothing was credited.
    BalanceLimit,
}

/// A master key's bytes, on their way to or from the store.
#[derive(Clone)]
pub(crate) struct KeyBytes(pub(crate) [u8; 32]);

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyBytes(redacted)")
    }
}

/// The keys of the gate, oldest first; the last one mints.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    pub(crate) current: KeyId,
    pub(crate) keys: Vec<(KeyId, KeyBytes)>,
}

/// Why the ledger did not answer. Nothing was changed, as far as the caller may conclude: a
/// repeat with the same ids is safe and finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The queue is full.
    #[error("the ledger's queue is full")]
    Busy,
    /// The writer has stopped.
    #[error("the ledger has stopped")]
    Stopped,
    /// The database failed.
    #[error("the store failed: {0}")]
    Store(StoreFault),
}

/// How the database failed, without its words: they go to the log, not to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreFault {
    /// A rule of the schema was about to be broken; the change was undone.
    #[error("a rule of the schema refused the change")]
    Constraint,
    /// The file is damaged or is no database.
    #[error("the database file is damaged")]
    Corrupt,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Reading or writing failed.
    #[error("reading or writing the database file failed")]
    Io,
    /// Anything else.
    #[error("unexpected database error")]
    Other,
    /// The file or its file system is read-only.
    #[error("the database file is read-only")]
    ReadOnly,
}
