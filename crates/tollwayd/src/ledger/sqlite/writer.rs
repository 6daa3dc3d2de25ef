//! The one writer: takes what waits in the queue, runs it in one transaction, answers after
//! COMMIT.
//!
//! One flush of the disk then serves every command of a batch. Each command has a savepoint, so
//! that one that fails takes nothing of the others with it. If COMMIT fails, every caller of
//! the batch hears of it, and nothing in memory has run ahead of the disk: the writer keeps no
//! balances, and its counters move after COMMIT.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;
use tollway_core::id::KeyId;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Posting, PostingOutcome};

use super::column;
use super::open::OpenError;
use crate::clock::Clock;
use crate::ledger::{
    HoldOrder, HoldOutcome, InvoiceOutcome, KeyBytes, LedgerError, NewInvoice, SettleOutcome,
    StoreFault,
};
use crate::metrics::{LedgerMetrics, Tally};

/// Commands in one transaction at most, so that the first of them does not wait long.
const BATCH_COMMANDS_MAX: usize = 512;

/// A question and where its answer goes.
pub(super) struct Ask<Q, A> {
    pub(super) question: Q,
    pub(super) reply: oneshot::Sender<Result<A, LedgerError>>,
}

/// What the writer is asked to do.
pub(super) enum Command {
    OpenInvoice(Ask<NewInvoice, InvoiceOutcome>),
    Hold(Ask<HoldOrder, HoldOutcome>),
    Post(Ask<Vec<Posting>, Vec<PostingOutcome>>),
    Settle(Ask<PaymentHash, SettleOutcome>),
    ExpireHolds(Ask<(), ()>),
    RotateKey(Ask<KeyBytes, KeyId>),
    Probe(Ask<(), ()>),
    /// Do what was accepted so far, then end.
    Stop,
}

impl Command {
    fn changes_the_ledger(&self) -> bool {
        match self {
            Self::OpenInvoice(_)
            | Self::Hold(_)
            | Self::Post(_)
            | Self::Settle(_)
            | Self::RotateKey(_) => true,
            Self::ExpireHolds(_) | Self::Probe(_) | Self::Stop => false,
        }
    }
}

/// The writer's thread, as its owner sees it.
pub(crate) struct Writer {
    queue: SyncSender<Command>,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    pub(super) fn start(
        connection: Connection,
        lock: File,
        commands: Receiver<Command>,
        queue: SyncSender<Command>,
        clock: Arc<dyn Clock>,
        metrics: LedgerMetrics,
    ) -> Result<Self, OpenError> {
        let open_holds = connection
            .query_row("SELECT count(*) FROM holds WHERE state = 'open'", (), |row| row.get(0))
            .unwrap_or_default();
        metrics.open_holds.set(open_holds);
        let (alive, ended) = oneshot::channel();
        let worker = Worker { connection, clock, metrics, failing: false };
        let thread = std::thread::Builder::new()
            .name("ledger-writer".to_owned())
            .spawn(move || {
                // Both are given back when the thread ends, also by a panic.
                let _alive: oneshot::Sender<()> = alive;
                let _lock = lock;
                worker.run(&commands);
            })
            .map_err(OpenError::Thread)?;
        Ok(Self { queue, thread, ended })
    }

    /// Resolves when the thread has ended, which without [`Writer::stop`] means that it failed.
    pub(crate) async fn ended(&mut self) {
        // The sender never sends: it is dropped with the thread.
        let _ = (&mut self.ended).await;
    }

    /// Finishes every accepted command, folds the write-ahead log into the file and gives the
    /// file free. Blocks until that is done.
    ///
    /// # Errors
    /// If the thread had panicked.
    pub(crate) fn stop(self) -> io::Result<()> {
        // A failed send means that the thread is gone already; join tells why.
        let _ = self.queue.send(Command::Stop);
        self.thread.join().map_err(|_| io::Error::other("the ledger's writer had panicked"))
    }
}

/// Sends one answer, or the fault that befell the whole batch.
type Finish = Box<dyn FnOnce(Option<StoreFault>)>;

struct Worker {
    connection: Connection,
    clock: Arc<dyn Clock>,
    metrics: LedgerMetrics,
    /// The last commit failed.
    failing: bool,
}

impl Worker {
    fn run(mut self, commands: &Receiver<Command>) {
        let mut stopping = false;
        while !stopping {
            let Ok(first) = commands.recv() else { break };
            let mut batch = vec![first];
            batch.extend(commands.try_iter().take(BATCH_COMMANDS_MAX - 1));
            stopping = batch.iter().any(|command| matches!(command, Command::Stop));
            if stopping {
                batch.extend(commands.try_iter());
            }
            self.commit(batch);
        }
        let folded =
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_row| Ok(()));
        if let Err(error) = folded {
            tracing::warn!(%error, "the write-ahead log stays beside the database file");
        }
    }

    fn commit(&mut self, commands: Vec<Command>) {
        let mut batch = Batch {
            connection: &self.connection,
            now_ms: column::from_ms(self.clock.now_ms()),
            write_on_probe: self.failing,
            tally: Tally::default(),
            lost: None,
        };
        // The sweeper's and the probe's visits say nothing about load.
        let size = commands.iter().filter(|command| command.changes_the_ledger()).count();
        let finishes = batch.run(commands);
        let (fault, tally) = (batch.lost, batch.tally);
        self.failing = fault.is_some();
        if fault.is_none() {
            self.metrics.apply(&tally, size);
        }
        for finish in finishes {
            finish(fault);
        }
    }
}

/// One transaction, as the operations see it. Each operation lives beside its tables.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now_ms: i64,
    write_on_probe: bool,
    pub(super) tally: Tally,
    /// The fault that undid the whole transaction.
    lost: Option<StoreFault>,
}

impl Batch<'_> {
    /// Runs the commands and commits. Every command leaves its finish, whatever happens.
    fn run(&mut self, commands: Vec<Command>) -> Vec<Finish> {
        if let Err(error) = self.begin() {
            self.lose(&error);
        }
        let finishes = commands.into_iter().filter_map(|command| self.execute(command)).collect();
        if self.lost.is_none()
            && let Err(error) = self.statement("COMMIT")
        {
            self.lose(&error);
        }
        finishes
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        self.statement("BEGIN IMMEDIATE")?;
        self.expire_holds()
    }

    fn execute(&mut self, command: Command) -> Option<Finish> {
        Some(match command {
            Command::OpenInvoice(ask) => self.answer(ask, Self::open_invoice),
            Command::Hold(ask) => self.answer(ask, Self::hold),
            Command::Post(ask) => self.answer(ask, Self::post),
            Command::Settle(ask) => self.answer(ask, Self::settle),
            Command::RotateKey(ask) => self.answer(ask, Self::rotate_key),
            Command::Probe(ask) => self.answer(ask, Self::probe),
            // The sweep has run at the begin.
            Command::ExpireHolds(ask) => self.answer(ask, |_, ()| Ok(())),
            Command::Stop => return None,
        })
    }

    /// Runs one operation in its savepoint and keeps the answer until COMMIT.
    fn answer<Q, A: 'static>(
        &mut self,
        ask: Ask<Q, A>,
        operation: impl FnOnce(&mut Self, Q) -> rusqlite::Result<A>,
    ) -> Finish {
        let Ask { question, reply } = ask;
        let answer = match self.lost {
            Some(fault) => Err(fault),
            None => self.in_savepoint(|batch| operation(batch, question)),
        };
        Box::new(move |lost: Option<StoreFault>| {
            let answer = lost.map_or(answer, Err).map_err(LedgerError::Store);
            // The caller may have gone; its command stands all the same.
            let _ = reply.send(answer);
        })
    }

    fn in_savepoint<A>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> rusqlite::Result<A>,
    ) -> Result<A, StoreFault> {
        if let Err(error) = self.statement("SAVEPOINT command") {
            return Err(self.lose(&error));
        }
        let before = self.tally;
        let result = operation(self);
        let ended = match &result {
            Ok(_) => self.statement("RELEASE command"),
            Err(_) => self.statement("ROLLBACK TO command").and(self.statement("RELEASE command")),
        };
        match (result, ended) {
            (Ok(answer), Ok(())) => Ok(answer),
            (Err(error), Ok(())) => {
                tracing::error!(%error, "a command failed and was undone");
                self.tally = before;
                Err(StoreFault::from(&error))
            }
            // The operation's own error tells more than that its savepoint is gone.
            (Err(error), Err(_)) | (Ok(_), Err(error)) => Err(self.lose(&error)),
        }
    }

    /// Gives the whole transaction up.
    fn lose(&mut self, error: &rusqlite::Error) -> StoreFault {
        tracing::error!(%error, "a transaction failed and was undone");
        // SQLite ends the transaction itself after some faults.
        if !self.connection.is_autocommit()
            && let Err(error) = self.statement("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
        *self.lost.insert(StoreFault::from(error))
    }

    fn rotate_key(&mut self, secret: KeyBytes) -> rusqlite::Result<KeyId> {
        self.connection
            .prepare_cached(
                "INSERT INTO master_keys (id, secret, created_at_ms)
                 SELECT max(id) + 1, ?1, ?2 FROM master_keys RETURNING id",
            )?
            .query_row((&secret.0[..], self.now_ms), |row| row.get(0).map(KeyId::new))
    }

    fn probe(&mut self, (): ()) -> rusqlite::Result<()> {
        if !self.write_on_probe {
            return Ok(());
        }
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO probe (id, at_ms) VALUES (1, ?1)")?
            .execute((self.now_ms,))
            .map(|_rows| ())
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(()).map(|_rows| ())
    }
}
