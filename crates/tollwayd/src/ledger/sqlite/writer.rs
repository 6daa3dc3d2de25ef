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
        };
        // The sweeper's and the probe's visits say nothing about load.
        let size = commands.iter().filter(|command| command.changes_the_ledger()).count();
        let mut finishes = Vec::with_capacity(commands.len());
        let result = batch.run(commands, &mut finishes);
        let tally = batch.tally;
        let fault = result.err().map(|error| {
            tracing::error!(%error, commands = size, "a batch was not committed");
            self.roll_back();
            StoreFault::from(&error)
        });
        self.failing = fault.is_some();
        if fault.is_none() {
            self.metrics.apply(&tally, size);
        }
        for finish in finishes {
            finish(fault);
        }
    }

    fn roll_back(&self) {
        // SQLite ends the transaction itself after some faults.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
    }
}

/// One transaction, as the operations see it. Each operation lives beside its tables.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) now_ms: i64,
    write_on_probe: bool,
    pub(super) tally: Tally,
}

impl Batch<'_> {
    /// Runs the commands and commits. Every command has left its finish, whatever happens.
    fn run(&mut self, commands: Vec<Command>, finishes: &mut Vec<Finish>) -> rusqlite::Result<()> {
        let begun = self.begin();
        for command in commands {
            match command {
                Command::OpenInvoice(ask) => finishes.push(self.answer(ask, Self::open_invoice)),
                Command::Hold(ask) => finishes.push(self.answer(ask, Self::hold)),
                Command::Post(ask) => finishes.push(self.answer(ask, Self::post)),
                Command::Settle(ask) => finishes.push(self.answer(ask, Self::settle)),
                Command::RotateKey(ask) => finishes.push(self.answer(ask, Self::rotate_key)),
                Command::Probe(ask) => finishes.push(self.answer(ask, Self::probe)),
                // The sweep has run at the begin.
                Command::ExpireHolds(ask) => finishes.push(self.answer(ask, |_, ()| Ok(()))),
                Command::Stop => {}
            }
        }
        begun?;
        if self.connection.is_autocommit() {
            // A fault of the disk has ended the transaction under a command.
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.statement("COMMIT")
    }

    fn begin(&mut self) -> rusqlite::Result<()> {
        self.statement("BEGIN IMMEDIATE")?;
        self.expire_holds()
    }

    /// Runs one operation in its savepoint and keeps the answer until COMMIT.
    fn answer<Q, A: 'static>(
        &mut self,
        ask: Ask<Q, A>,
        operation: impl FnOnce(&mut Self, Q) -> rusqlite::Result<A>,
    ) -> Finish {
        let Ask { question, reply } = ask;
        let before = self.tally;
        let answer = self.in_savepoint(|batch| operation(batch, question)).map_err(|error| {
            tracing::error!(%error, "a command failed");
            self.tally = before;
            LedgerError::Store(StoreFault::from(&error))
        });
        Box::new(move |fault| {
            let answer = match fault {
                Some(fault) => Err(LedgerError::Store(fault)),
                None => answer,
            };
            // The caller may have gone; its command stands all the same.
            let _ = reply.send(answer);
        })
    }

    fn in_savepoint<A>(
        &mut self,
        operation: impl FnOnce(&mut Self) -> rusqlite::Result<A>,
    ) -> rusqlite::Result<A> {
        if self.connection.is_autocommit() {
            return Err(rusqlite::Error::InvalidQuery);
        }
        self.statement("SAVEPOINT command")?;
        let result = operation(self);
        if result.is_err() && !self.connection.is_autocommit() {
            self.statement("ROLLBACK TO command")?;
        }
        if !self.connection.is_autocommit() {
            self.statement("RELEASE command")?;
        }
        result
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
