//! The batching front end: takes what waits in the queue, decides it in one transaction,
//! answers after COMMIT.
//!
//! One flush of the disk then serves every command of a batch. If a batch fails for a reason
//! that may lie in one of its commands, each is tried alone, so that one that fails takes
//! nothing of the others with it. If COMMIT fails, every caller of the batch hears of it, and
//! nothing in memory has run ahead of the disk: balances live in the store, and counters move
//! after COMMIT.

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use super::engine::{Engine, Question};
use super::outbox::Subscriptions;
use super::questions::{LedgerError, StoreFault};
use super::rows::Probe;
use super::store::{Store, StoreError};
use super::work::Needs;
use crate::clock::Clock;
use crate::metrics::LedgerMetrics;

/// Commands in one transaction at most, so that the first of them does not wait long.
const BATCH_COMMANDS_MAX: usize = 512;
/// From so many commands in the last batch on, a batch waits for those that are about to come: a
/// flush costs as much for one as for all of them.
const CROWD: usize = 4;
/// So often a batch lets others run to see whether more commands come.
const YIELDS_MAX: u32 = 10;
/// Tries of one transaction against other writers.
const TRIES_MAX: u32 = 20;
/// The longest wait between two tries.
const RETRY_WAIT_MS_MAX: u64 = 50;

/// A command on its way: a question, its answer, and who waits for it.
pub(super) trait Job: Send {
    fn counts(&self) -> bool;
    fn name(&self, needs: &mut Needs);
    fn decide(&mut self, engine: &mut Engine) -> Result<(), StoreFault>;
    /// Sends the answer, or the fault that befell the transaction.
    fn finish(self: Box<Self>, fault: Option<StoreFault>);
}

/// A question and where its answer goes.
struct Ask<Q: Question> {
    question: Q,
    answer: Option<Q::Answer>,
    reply: oneshot::Sender<Result<Q::Answer, LedgerError>>,
}

impl<Q: Question> Job for Ask<Q> {
    fn counts(&self) -> bool {
        Q::COUNTS
    }

    fn name(&self, needs: &mut Needs) {
        self.question.name(needs);
    }

    fn decide(&mut self, engine: &mut Engine) -> Result<(), StoreFault> {
        let answer = self.question.decide(engine).map_err(|contradiction| {
            tracing::error!(%contradiction, "a command cannot be decided");
            StoreFault::Corrupt
        })?;
        self.answer = Some(answer);
        Ok(())
    }

    fn finish(self: Box<Self>, fault: Option<StoreFault>) {
        let answer = match (fault, self.answer) {
            (None, Some(answer)) => Ok(answer),
            (Some(fault), _) => Err(LedgerError::Store(fault)),
            (None, None) => Err(LedgerError::Stopped),
        };
        // The caller may have gone; its command stands all the same.
        let _ = self.reply.send(answer);
    }
}

/// What waits in the queue.
pub(super) enum Item {
    Job(Box<dyn Job>),
    /// Do what was accepted so far, then end.
    Stop,
}

/// The way in.
#[derive(Clone)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    /// Who is to hear of what the writer does; set once, before the first command.
    pub(super) subscriptions: Arc<OnceLock<Arc<Subscriptions>>>,
}

impl Queue {
    /// Commands that may wait; beyond it callers are told to come back. At 10,000 commands a
    /// second this is a wait of well under a second.
    const COMMANDS_MAX: usize = 4_096;

    pub(super) fn new() -> (Self, mpsc::Receiver<Item>) {
        let (queue, items) = mpsc::channel(Self::COMMANDS_MAX);
        (Self { items: queue, subscriptions: Arc::default() }, items)
    }

    pub(super) async fn ask<Q: Question>(&self, question: Q) -> Result<Q::Answer, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let job = Item::Job(Box::new(Ask { question, answer: None, reply }));
        self.items.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => LedgerError::Busy,
            mpsc::error::TrySendError::Closed(_) => LedgerError::Stopped,
        })?;
        answer.await.unwrap_or(Err(LedgerError::Stopped))
    }
}

/// The commands of a transaction, and what befell it.
struct Answers {
    jobs: Vec<Box<dyn Job>>,
    fault: Option<StoreFault>,
}

/// Hands answers out where their callers wait. From another thread every one of them would be
/// woken for itself, across threads; so the whole batch is.
async fn hand_out(mut batches: mpsc::UnboundedReceiver<Answers>) {
    while let Some(Answers { jobs, fault }) = batches.recv().await {
        jobs.into_iter().for_each(|job| job.finish(fault));
    }
}

/// The writer's thread, as its owner sees it.
pub(crate) struct Writer {
    queue: Queue,
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the thread. Each store takes batches from the same queue. Runs inside the runtime
    /// in which the callers wait.
    pub(super) fn start<S: Store + Send>(
        stores: Vec<S>,
        (queue, items): (Queue, mpsc::Receiver<Item>),
        clock: &Arc<dyn Clock>,
        metrics: &LedgerMetrics,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (alive, ended) = oneshot::channel();
        let items = Arc::new(Mutex::new(items));
        let (answers, batches) = mpsc::unbounded_channel();
        tokio::spawn(hand_out(batches));
        let worker = |store| Worker {
            store,
            items: Arc::clone(&items),
            answers: answers.clone(),
            subscriptions: Arc::clone(&queue.subscriptions),
            clock: Arc::clone(clock),
            metrics: metrics.clone(),
            crowded: false,
            failing: false,
        };
        let workers: Vec<_> = stores.into_iter().map(worker).collect();
        let thread =
            std::thread::Builder::new().name("ledger-writer".to_owned()).spawn(move || {
                // Given back when the thread ends, also by a panic.
                let _alive: oneshot::Sender<()> = alive;
                runtime.block_on(tokio::task::LocalSet::new().run_until(run_all(workers)));
            })?;
        Ok(Self { queue, thread, ended })
    }

    /// Resolves when the thread has ended, which without [`Writer::stop`] means that it failed.
    pub(crate) async fn ended(&mut self) {
        // The sender never sends: it is dropped with the thread.
        let _ = (&mut self.ended).await;
    }

    /// Finishes every accepted command and gives the store free. Blocks until that is done.
    ///
    /// # Errors
    /// If the thread had panicked.
    pub(crate) fn stop(self) -> io::Result<()> {
        // A failed send means that the thread is gone already; join tells why.
        let _ = self.queue.items.blocking_send(Item::Stop);
        self.thread.join().map_err(|_| io::Error::other("the ledger's writer had panicked"))
    }
}

/// Runs until all have ended, or until one panics.
async fn run_all<S: Store>(workers: Vec<Worker<S>>) {
    let mut running = JoinSet::new();
    for worker in workers {
        running.spawn_local(worker.run());
    }
    while let Some(ended) = running.join_next().await {
        if let Err(error) = ended {
            std::panic::resume_unwind(error.into_panic());
        }
    }
}

/// Puts a command into the batch, or lets no more come in; what was accepted is still received.
fn take(items: &mut mpsc::Receiver<Item>, item: Item, batch: &mut Vec<Box<dyn Job>>) {
    match item {
        Item::Job(job) => batch.push(job),
        Item::Stop => items.close(),
    }
}

fn drain(items: &mut mpsc::Receiver<Item>, batch: &mut Vec<Box<dyn Job>>) {
    while batch.len() < BATCH_COMMANDS_MAX
        && let Ok(item) = items.try_recv()
    {
        take(items, item, batch);
    }
}

struct Worker<S> {
    store: S,
    items: Arc<Mutex<mpsc::Receiver<Item>>>,
    /// As many as there are callers, so the queue's bound is theirs.
    answers: mpsc::UnboundedSender<Answers>,
    subscriptions: Arc<OnceLock<Arc<Subscriptions>>>,
    clock: Arc<dyn Clock>,
    metrics: LedgerMetrics,
    /// The last batch was large.
    crowded: bool,
    /// The last transaction failed.
    failing: bool,
}

impl<S: Store> Worker<S> {
    async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.serve(batch).await;
        }
        self.store.close().await;
    }

    /// What waits in the queue, or `None` after the end.
    async fn next_batch(&mut self) -> Option<Vec<Box<dyn Job>>> {
        let mut items = self.items.lock().await;
        let first = items.recv().await?;
        let mut batch = Vec::new();
        take(&mut items, first, &mut batch);
        drain(&mut items, &mut batch);
        for _ in 0..if self.crowded { YIELDS_MAX } else { 0 } {
            // Whoever shares this core goes first; with a core of its own nobody waits.
            std::thread::yield_now();
            let before = batch.len();
            drain(&mut items, &mut batch);
            if batch.len() == before {
                break;
            }
        }
        self.crowded = batch.len() >= CROWD;
        Some(batch)
    }

    async fn serve(&mut self, mut batch: Vec<Box<dyn Job>>) {
        let mut fault = self.transact(&mut batch).await.err();
        let may_be_one =
            matches!(fault, Some(StoreFault::Constraint | StoreFault::Corrupt | StoreFault::Other));
        if batch.len() > 1 && may_be_one {
            for job in batch {
                let mut alone = vec![job];
                fault = self.transact(&mut alone).await.err();
                self.answer(alone, fault);
            }
        } else {
            self.answer(batch, fault);
        }
        self.failing = fault.is_some();
    }

    fn answer(&self, jobs: Vec<Box<dyn Job>>, fault: Option<StoreFault>) {
        // When their runtime has ended, nobody waits any more.
        let _ = self.answers.send(Answers { jobs, fault });
    }

    /// One transaction, tried again as long as other writers come in between.
    async fn transact(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreFault> {
        for attempt in 1..=TRIES_MAX {
            match self.attempt(jobs).await {
                Ok(()) => return Ok(()),
                Err(StoreError::Fault(fault)) => return Err(fault),
                Err(StoreError::Retry) => {
                    self.metrics.retries.inc();
                    let wait = (1_u64 << attempt.min(6)).min(RETRY_WAIT_MS_MAX);
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
            }
        }
        tracing::error!(tries = TRIES_MAX, "other writers never let a transaction through");
        Err(StoreFault::Other)
    }

    async fn attempt(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        let mut needs = Needs::default();
        jobs.iter().for_each(|job| job.name(&mut needs));
        // Databases count to 2^63 - 1; there time stands still.
        let now_ms = self.clock.now_ms().min(i64::MAX.unsigned_abs());
        let mut engine = self.begin(&needs, now_ms).await?;
        if needs.probe && self.failing {
            // Only a write tells whether writing works again.
            engine.set.probe.put(Probe { id: 1, at_ms: now_ms });
        }
        for job in &mut *jobs {
            if let Err(fault) = job.decide(&mut engine) {
                self.store.abandon().await;
                return Err(fault.into());
            }
        }
        self.commit(&engine, jobs.iter().filter(|job| job.counts()).count()).await
    }

    /// The working set, swept. What is due beyond one sweep gets transactions of its own
    /// first.
    async fn begin(&mut self, needs: &Needs, now_ms: u64) -> Result<Engine, StoreError> {
        loop {
            let set = self.store.load(needs, now_ms).await?;
            let more_due = set.more_due;
            let subscriptions = self.subscriptions.get().cloned().unwrap_or_default();
            let engine = match Engine::begin(set, now_ms, subscriptions) {
                Ok(engine) => engine,
                Err(contradiction) => {
                    tracing::error!(%contradiction, "the sweep cannot be decided");
                    self.store.abandon().await;
                    return Err(StoreFault::Corrupt.into());
                }
            };
            if !more_due {
                return Ok(engine);
            }
            self.commit(&engine, 0).await?;
        }
    }

    async fn commit(&mut self, engine: &Engine, commands: usize) -> Result<(), StoreError> {
        self.store.commit(&engine.set).await?;
        self.metrics.apply(&engine.tally, commands);
        Ok(())
    }
}
