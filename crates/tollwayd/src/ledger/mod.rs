//! The ledger of prepaid credit: accounts, invoices, entries, holds and postings.
//!
//! A settled invoice credits its account once. A hold sets credit aside; a posting turns a part
//! of a hold into revenue; what a hold does not post returns to the account when it is released
//! or expires. `balance = sum of entries`, `available = balance - live holds`, and neither is
//! ever negative.
//!
//! One engine ([`engine`]) holds every rule and knows no database. The front end ([`writer`])
//! gathers what waits into batches; a store ([`store`]) loads the rows of a batch, the engine
//! decides, the store writes what changed and commits, and only then answers go out.

mod acts;
mod deposits;
mod engine;
mod export;
mod following;
mod keyring;
#[cfg(test)]
mod memory;
mod operator;
mod outbox;
mod postgres;
mod questions;
mod reads;
mod retry;
mod rows;
mod sql;
mod sqlite;
mod stats;
mod stocks;
mod store;
mod transfers;
mod views;
mod work;
mod writer;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex};

use tollway_core::payment::PaymentHash;
use tollway_core::wire::{AllowanceReply, Posting, PostingResult};

use crate::clients::DaySecrets;
use crate::clock::Clock;
use crate::config;
use crate::entropy;
use crate::metrics::LedgerMetrics;
use engine::allowances::DAY_MS;
use engine::ask::{Probe, Prune, SecretOfDay, Sweep};
use keyring::LastRevision;
use reads::{Query, Reader};
use rows::field::Field;
use rows::{Account, Entry, Invoice};
use views::ENTRIES_SHOWN_MAX;
use writer::Queue;

pub(crate) use acts::{AdminAct, AdminOrder, AdminOutcome};
pub(crate) use deposits::*;
pub(crate) use export::{Cell, Page, Selection, Table};
pub(crate) use following::Unsettled;
pub(crate) use operator::{InvoiceState, InvoiceView};
pub use outbox::Happening;
pub(crate) use outbox::{
    Claim, Claimed, DeliveryKind, News, PayoutOrder, Report, Split, Subscription, Subscriptions,
};
pub(crate) use questions::*;
pub(crate) use retry::{GivenUp, Retry, RetryOutcome};
pub(crate) use sqlite::open::OpenError;
pub(crate) use stats::Stats;
pub(crate) use stocks::{CouponOrder, StockOrder, StockView};
pub(crate) use transfers::*;
pub(crate) use views::{AccountView, ActionView, AuditReport, EntryView};
pub(crate) use writer::Writer;

/// Unpaid invoices of one offer that are looked at: those of a week, at one a minute.
const ROWS_LOOKED_AT_MAX: u32 = 16_384;
/// Connections that write: while one waits for the disk, the other decides.
const POSTGRES_WRITERS: usize = 2;
/// Rows per total in the database. Writers that share one wait for each other's COMMIT; the
/// slots of one process are never the same.
const TOTALS_SLOTS: u64 = 16;

/// The ledger, shared by everything that asks it.
#[derive(Clone)]
pub(crate) struct Ledger {
    queue: Queue,
    /// Looks single rows up.
    reader: Reader,
    /// Reads whole tables, which takes time and must not hold the others up.
    scanner: Reader,
    clock: Arc<dyn Clock>,
    /// The secrets of the days, and the day on which they were asked for.
    secrets: Arc<Mutex<Option<DaySecrets>>>,
    /// What of the keyring postings tell.
    revision: Arc<LastRevision>,
}

/// Recomputes what a store claims from what it recorded, perhaps beside a server, and changes
/// nothing.
///
/// # Errors
/// [`OpenError`] if it cannot be read as a ledger.
pub(crate) async fn audit(store: &config::Store) -> Result<AuditReport, OpenError> {
    match store {
        config::Store::Sqlite(path) => sqlite::read::audit_file(path),
        config::Store::Postgres(store) => postgres::open::audit(store).await,
    }
}

/// What opening a ledger yields: the shared handle, the one owner of the writer thread, and the
/// secret of the simulated node that the store keeps.
pub(crate) struct Opening {
    pub(crate) ledger: Ledger,
    pub(crate) writer: Writer,
    pub(crate) node_secret: KeyBytes,
}

impl Ledger {
    /// Opens the store, creating and migrating it as needed, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`] if it is in use, cannot be opened or is of a newer version.
    pub(crate) async fn open(
        store: &config::Store,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Opening, OpenError> {
        match store {
            config::Store::Sqlite(path) => Self::open_sqlite(path, clock, metrics),
            config::Store::Postgres(store) => Self::open_postgres(store, clock, metrics).await,
        }
    }

    /// The file belongs to this process until the writer has stopped.
    fn open_sqlite(
        path: &Path,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Opening, OpenError> {
        let opened = sqlite::open::open(path, clock.now_ms())?;
        let reader = Reader::Sqlite(Arc::new(Mutex::new(sqlite::open::open_reader(path)?)));
        let scanner = Reader::Sqlite(Arc::new(Mutex::new(sqlite::open::open_reader(path)?)));
        metrics.open_holds.set(opened.open_holds);
        let store = sqlite::SqliteStore::new(opened.connection, opened.database, opened.lock);
        let (queue, items) = Queue::new();
        let writer = Writer::start(vec![store], (queue.clone(), items), &clock, &metrics)
            .map_err(OpenError::Thread)?;
        let ledger = Self::new(queue, (reader, scanner), clock);
        Ok(Opening { ledger, writer, node_secret: opened.node_secret })
    }

    /// Other tollwayds may serve from the database at the same time.
    async fn open_postgres(
        store: &config::Postgres,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Opening, OpenError> {
        let opened = postgres::open::open(store, clock.now_ms()).await?;
        metrics.open_holds.set(opened.open_holds);
        let first_slot = u64::from_be_bytes(entropy::random_bytes()?) % TOTALS_SLOTS;
        let slots = (first_slot..).take(POSTGRES_WRITERS).map(|slot| slot % TOTALS_SLOTS);
        let store = |slot| postgres::PostgresStore::new(opened.database.clone(), slot);
        let stores = slots.map(store).collect();
        let (queue, items) = Queue::new();
        let writer = Writer::start(stores, (queue.clone(), items), &clock, &metrics)
            .map_err(OpenError::Thread)?;
        let reader = Reader::Postgres(postgres::read::Reader::new(opened.database.clone()));
        let scanner = Reader::Postgres(postgres::read::Reader::new(opened.database));
        let ledger = Self::new(queue, (reader, scanner), clock);
        Ok(Opening { ledger, writer, node_secret: opened.node_secret })
    }

    /// A ledger in these tables, which outlive it, and starts the writer.
    ///
    /// # Errors
    /// [`OpenError`] if there is no randomness, or no thread.
    #[cfg(test)]
    fn open_memory(
        tables: Arc<Mutex<memory::Tables>>,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Opening, OpenError> {
        let first_key = KeyBytes(entropy::random_bytes()?);
        let open_holds = memory::lock(&tables).start(first_key, clock.now_ms());
        metrics.open_holds.set(open_holds);
        let store = memory::MemoryStore::new(Arc::clone(&tables));
        let (queue, items) = Queue::new();
        let writer = Writer::start(vec![store], (queue.clone(), items), &clock, &metrics)
            .map_err(OpenError::Thread)?;
        let reader = Reader::Memory(Arc::clone(&tables));
        let scanner = Reader::Memory(tables);
        let ledger = Self::new(queue, (reader, scanner), clock);
        Ok(Opening { ledger, writer, node_secret: KeyBytes(entropy::random_bytes()?) })
    }

    fn new(queue: Queue, (reader, scanner): (Reader, Reader), clock: Arc<dyn Clock>) -> Self {
        let (secrets, revision) = (Arc::default(), Arc::default());
        Self { queue, reader, scanner, clock, secrets, revision }
    }

    /// Remembers an invoice.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn open_invoice(
        &self,
        invoice: NewInvoice,
    ) -> Result<InvoiceOutcome, LedgerError> {
        self.queue.ask(invoice).await
    }

    /// Takes over a paid invoice that the ledger has lost, from what the node knows, and credits
    /// it. An invoice that the ledger knows is credited as it knows it.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn restore_invoice(
        &self,
        lost: LostInvoice,
    ) -> Result<SettleOutcome, LedgerError> {
        self.queue.ask(lost).await
    }

    /// Sets credit aside; credits the payment first if this is its first proof.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn hold(
        &self,
        order: impl Into<Arc<HoldOrder>>,
    ) -> Result<HoldOutcome, LedgerError> {
        self.queue.ask(order.into()).await
    }

    /// Adds credit and time to an open hold.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn extend(&self, order: ExtendOrder) -> Result<ExtendOutcome, LedgerError> {
        self.queue.ask(order).await
    }

    /// Counts charges and releases; one result per row, in their order.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer; then no row was counted.
    pub(crate) async fn post(
        &self,
        postings: Vec<Posting>,
    ) -> Result<Vec<PostingResult>, LedgerError> {
        self.queue.ask(postings).await
    }

    /// Credits a payment, whoever reports it.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn settle(
        &self,
        settlement: Settlement,
    ) -> Result<SettleOutcome, LedgerError> {
        self.queue.ask(settlement).await
    }

    /// Counts a use of a free tier if it has enough left.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn allowance(
        &self,
        order: AllowanceOrder,
    ) -> Result<AllowanceReply, LedgerError> {
        self.queue.ask(order).await
    }

    /// Returns the credit of expired holds and ends expired credit, also of accounts that nobody
    /// asks about.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn sweep(&self) -> Result<(), LedgerError> {
        self.queue.ask(Sweep).await
    }

    /// Deletes what nobody needs any more: old unpaid invoices, old idempotency keys, windows of
    /// free tiers that are over.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn prune(&self) -> Result<(), LedgerError> {
        self.queue.ask(Prune).await
    }

    /// Whether changes can be made: the writer answers, and writes if its last commit failed.
    ///
    /// # Errors
    /// [`LedgerError`] if they cannot.
    pub(crate) async fn probe(&self) -> Result<(), LedgerError> {
        self.queue.ask(Probe).await
    }

    /// The secrets that hash client addresses.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn day_secrets(&self) -> Result<DaySecrets, LedgerError> {
        let day = self.clock.now_ms() / DAY_MS;
        let known = self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        if let Some(known) = known.filter(|known| known.day == day) {
            return Ok(known);
        }
        let proposed = entropy::random_bytes().map_err(|error| {
            tracing::error!(%error, "no secret for the day");
            LedgerError::Store(StoreFault::Other)
        })?;
        let secrets = self.queue.ask(SecretOfDay { day, proposed: KeyBytes(proposed) }).await?;
        let found = DaySecrets { day, secrets };
        *self.secrets.lock().unwrap_or_else(std::sync::PoisonError::into_inner) =
            Some(found.clone());
        Ok(found)
    }

    /// The account that this payment hash pays into, or `None`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn account(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<AccountView>, LedgerError> {
        let by_hash =
            Query::by("payment_hash =", &hash, move |it: &Invoice| it.payment_hash == hash);
        let Some(invoice) = self.reader.rows(by_hash).await?.pop() else { return Ok(None) };
        let name = invoice.account;
        let by_name = Query::by("account =", &name, move |it: &Account| it.account == name);
        let Some(account) = self.reader.rows(by_name).await?.pop() else {
            return Ok(Some(AccountView::empty(name)));
        };
        let entries = Query {
            newest_first: true,
            limit: ENTRIES_SHOWN_MAX,
            ..Query::by("account =", &name, move |it: &Entry| it.account == name)
        };
        let entries = self.reader.rows(entries).await?;
        // An entry that came between the two looks is not of the account's moment.
        let of_moment = entries.into_iter().filter(|entry| entry.n <= account.entries);
        Ok(Some(AccountView::new(&account, of_moment.map(EntryView::from).collect())))
    }

    /// The unpaid invoice that this asker may share, if there is one.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn shared_invoice(
        &self,
        asker: &Asker,
    ) -> Result<Option<OpenInvoice>, LedgerError> {
        let offer = Some(asker.offer);
        let matches = move |it: &Invoice| it.offer == offer && it.settled_at_ms.is_none();
        let by_offer = Query::by("offer =", &offer, matches);
        let also = "settled_at_ms IS NULL AND offer IS NOT NULL";
        let found = self.reader.rows(Query { also, limit: ROWS_LOOKED_AT_MAX, ..by_offer }).await?;
        let now_ms = self.clock.now_ms();
        let shared = found.iter().find(|invoice| invoice.can_be_shared(now_ms));
        Ok(shared.map(OpenInvoice::from))
    }

    /// When the first of a client's open invoices ends, if it has at least `max` of them.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn too_many_open(
        &self,
        asker: &Asker,
        max: u32,
    ) -> Result<Option<u64>, LedgerError> {
        let (client, now_ms) = (Some(asker.client), self.clock.now_ms());
        let open = move |it: &Invoice| {
            it.client == client && it.expires_at_ms > now_ms && it.settled_at_ms.is_none()
        };
        let mut query = Query::by("client =", &client, open);
        query.filter.push(("expires_at_ms >", now_ms.put().into_owned()));
        query.also = "settled_at_ms IS NULL AND client IS NOT NULL";
        query.limit = max;
        let found = self.reader.rows(query).await?;
        let full = u32::try_from(found.len()).is_ok_and(|open| open >= max);
        Ok(found.iter().map(|it| it.expires_at_ms).min().filter(|_| full))
    }

    /// Recomputes what the ledger claims from what it recorded.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn audit(&self) -> Result<AuditReport, LedgerError> {
        self.scanner.audit().await
    }
}
