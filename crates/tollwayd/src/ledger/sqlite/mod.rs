//! The ledger on SQLite: one file, one writer thread, group commit.
//!
//! Every change goes through a queue to the writer, which runs what waits there in one
//! transaction and answers after COMMIT ([`writer`]). Readers use a connection of their own and
//! see only what is committed. The file belongs to one process, held by a lock file beside it.

mod audit;
mod column;
mod holds;
mod invoices;
mod open;
mod postings;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use tollway_core::id::KeyId;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Posting, PostingOutcome};

use super::{
    HoldOrder, HoldOutcome, InvoiceOutcome, KeyBytes, Keyring, LedgerError, NewInvoice,
    SettleOutcome, StoreFault,
};
use crate::clock::Clock;
use crate::metrics::LedgerMetrics;
use writer::{Ask, Command};

pub(crate) use audit::{AuditReport, audit};
pub(crate) use open::OpenError;
pub(crate) use reader::{AccountView, Stats};
pub(crate) use writer::Writer;

/// Commands that may wait for the writer; beyond it callers are told to come back. At 10,000
/// commands a second this is a wait of well under a second.
const QUEUE_COMMANDS_MAX: usize = 4_096;

/// The ledger, shared by everything that asks it.
#[derive(Clone)]
pub(crate) struct Ledger {
    queue: SyncSender<Command>,
    reader: Arc<Mutex<rusqlite::Connection>>,
    clock: Arc<dyn Clock>,
}

/// What opening a ledger yields: the shared handle, the one owner of the writer thread, and the
/// secret of the simulated node that the store keeps.
pub(crate) struct Opening {
    pub(crate) ledger: Ledger,
    pub(crate) writer: Writer,
    pub(crate) node_secret: KeyBytes,
}

impl Ledger {
    /// Opens the file, creating and migrating it as needed, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`] if the file is in use, cannot be opened or is of a newer version.
    pub(crate) fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Opening, OpenError> {
        let store = open::open(path, clock.now_ms())?;
        let reader = Arc::new(Mutex::new(open::open_reader(path)?));
        let (queue, commands) = sync_channel(QUEUE_COMMANDS_MAX);
        let writer = Writer::start(
            store.connection,
            store.lock,
            commands,
            queue.clone(),
            Arc::clone(&clock),
            metrics,
        )?;
        let ledger = Self { queue, reader, clock };
        Ok(Opening { ledger, writer, node_secret: store.node_secret })
    }

    /// Remembers an invoice.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn open_invoice(
        &self,
        invoice: NewInvoice,
    ) -> Result<InvoiceOutcome, LedgerError> {
        self.ask(Command::OpenInvoice, invoice).await
    }

    /// Sets credit aside; credits the payment first if this is its first proof.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn hold(&self, order: HoldOrder) -> Result<HoldOutcome, LedgerError> {
        self.ask(Command::Hold, order).await
    }

    /// Counts charges and releases; one outcome per row, in their order.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer; then no row was counted.
    pub(crate) async fn post(
        &self,
        postings: Vec<Posting>,
    ) -> Result<Vec<PostingOutcome>, LedgerError> {
        self.ask(Command::Post, postings).await
    }

    /// Credits a payment that the node reports.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn settle(&self, hash: PaymentHash) -> Result<SettleOutcome, LedgerError> {
        self.ask(Command::Settle, hash).await
    }

    /// Returns the credit of expired holds. Every batch of the writer does so first; this is for
    /// quiet times.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn expire_holds(&self) -> Result<(), LedgerError> {
        self.ask(Command::ExpireHolds, ()).await
    }

    /// Adds a key that mints from now on; older keys keep verifying.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn rotate_key(&self, secret: KeyBytes) -> Result<KeyId, LedgerError> {
        self.ask(Command::RotateKey, secret).await
    }

    /// Whether changes can be made: the writer answers, and writes if its last commit failed.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot.
    pub(crate) async fn probe(&self) -> Result<(), LedgerError> {
        self.ask(Command::Probe, ()).await
    }

    /// The keys of the gate.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn keyring(&self) -> Result<Keyring, LedgerError> {
        self.read(reader::keyring).await
    }

    /// The account that this payment hash pays into, or `None`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn account(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<AccountView>, LedgerError> {
        self.read(move |connection| reader::account(connection, &hash)).await
    }

    /// Counts and sums over the whole ledger.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn stats(&self) -> Result<Stats, LedgerError> {
        let now_ms = self.clock.now_ms();
        self.read(move |connection| reader::stats(connection, now_ms)).await
    }

    async fn ask<Q, A>(
        &self,
        command: fn(Ask<Q, A>) -> Command,
        question: Q,
    ) -> Result<A, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(command(Ask { question, reply })).map_err(|error| match error {
            TrySendError::Full(_) => LedgerError::Busy,
            TrySendError::Disconnected(_) => LedgerError::Stopped,
        })?;
        answer.await.unwrap_or(Err(LedgerError::Stopped))
    }

    async fn read<A: Send + 'static>(
        &self,
        look: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<A> + Send + 'static,
    ) -> Result<A, LedgerError> {
        let reader = Arc::clone(&self.reader);
        let looked = tokio::task::spawn_blocking(move || {
            // A reader that panicked has changed nothing, so its connection is still good.
            let connection = reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            look(&connection)
        });
        match looked.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::error!(%error, "reading the store failed");
                Err(LedgerError::Store(StoreFault::from(&error)))
            }
            Err(_) => Err(LedgerError::Stopped),
        }
    }
}

impl From<&rusqlite::Error> for StoreFault {
    fn from(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Self::Constraint,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Io,
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Self::ReadOnly,
            _ => Self::Other,
        }
    }
}
