//! Payments are credited as the node knows of them: by its stream of settlements, where it has
//! one, and by looking up what is open, which also finds what was paid while nobody listened.
//!
//! Whatever is heard twice, late or out of order changes nothing: every path ends in the ledger's
//! one settlement of a payment hash, and the place in the node's stream is saved with the credit
//! or not at all (docs/adr/0020).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tollway_core::payment::PaymentHash;

use crate::ledger::{LedgerError, SettleOutcome, Settlement};
use crate::lightning::{Answer, Event, NodeFault, check_payment};
use crate::paywall::Paywall;
use crate::pool::Member;
use crate::watch::{LATE_MS, Seen, Watch};

/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(250);
/// Look-ups that run at a time.
const LOOK_UPS_MAX: usize = 16;
/// Look-ups of one round.
const ROUND_MAX: usize = 512;
/// So many unanswered look-ups in a row end a round: the node is down.
const UNANSWERED_MAX: u32 = 16;
/// How often invoices are taken over that other replicas, or an earlier run, have made.
const TAKE_OVER: Duration = Duration::from_secs(60);
/// How many of them; the ones that expire last come first.
const TAKE_OVER_MAX: u32 = 20_000;
/// At the start, also what has expired this long ago is looked up.
const DOWN_MS_MAX: u64 = 7 * 86_400_000;
/// The pause before a broken stream is opened again, and the longest one.
const RECONNECT: Duration = Duration::from_secs(1);
const RECONNECT_MAX: Duration = Duration::from_secs(30);

/// Follows the nodes until told to stop. The simulated node is not followed.
pub(crate) fn follow(paywall: &Paywall, stop: &watch::Receiver<bool>, tasks: &mut JoinSet<()>) {
    let stopped = |stop: &watch::Receiver<bool>| {
        let mut stop = stop.clone();
        async move {
            // An error means that nobody can tell us any more, which is the same.
            let _ = stop.wait_for(|stop| *stop).await;
        }
    };
    let mut follows = false;
    for member in paywall.pool.members() {
        if member.watch.is_none() {
            continue;
        }
        follows = true;
        let (paywall, member, stop) = (paywall.clone(), Arc::clone(member), stopped(stop));
        tasks.spawn(async move {
            let Some(watch) = &member.watch else { return };
            let all = async {
                tokio::join!(
                    listen(&paywall, &member),
                    take_hints(&paywall, &member, watch),
                    look(&paywall, &member, watch),
                );
            };
            tokio::select! { () = all => {}, () = stop => {} }
        });
    }
    if follows {
        let (paywall, stop) = (paywall.clone(), stopped(stop));
        tasks.spawn(async move {
            tokio::select! { () = take_over(&paywall) => {}, () = stop => {} }
        });
    }
}

/// Credits what a node tells of. Ends at once if it tells of nothing.
async fn listen(paywall: &Paywall, member: &Member) {
    let mut pause = RECONNECT;
    let name = member.lightning.cursor_name();
    loop {
        let position = match paywall.ledger.cursor(&name).await {
            Ok(position) => position,
            Err(LedgerError::Stopped) => return,
            Err(LedgerError::Busy | LedgerError::Store(_)) => {
                sleep(pause).await;
                continue;
            }
        };
        let Some(mut events) = member.lightning.node.settled_after(position) else { return };
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => match hear(paywall, member, event, &name).await {
                    Ok(()) => pause = RECONNECT,
                    // It was not saved, and comes again behind the place that was.
                    Err(_) => break,
                },
                Err(fault) => {
                    tracing::warn!(%fault, "the node's stream of settlements broke");
                    break;
                }
            }
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(RECONNECT_MAX);
    }
}

/// Has invoices looked up soon that a node names as paid. Ends at once if it names none.
async fn take_hints(paywall: &Paywall, member: &Member, watch: &Watch) {
    let mut pause = RECONNECT;
    loop {
        let Some(mut hints) = member.lightning.node.hints() else { return };
        while let Some(hint) = hints.next().await {
            match hint {
                Ok(hash) => {
                    pause = RECONNECT;
                    watch.hint(&hash, paywall.clock.now_ms());
                }
                // What is missed meanwhile is looked up all the same.
                Err(fault) => tracing::debug!(%fault, "the node's socket is closed"),
            }
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(RECONNECT_MAX);
    }
}

/// Credits one settlement, and saves its place with it.
async fn hear(
    paywall: &Paywall,
    member: &Member,
    event: Event,
    name: &str,
) -> Result<(), LedgerError> {
    let Event { payment_hash, settled, position } = event;
    let maker = paywall.maker(payment_hash).await?;
    if !paywall.pool.homes(maker.as_deref()).any(|home| home.name == member.name) {
        tracing::error!(%payment_hash, node = member.name, "tells of another node's invoice");
        return Ok(());
    }
    let received = match check_payment(&payment_hash, settled) {
        Ok(payment) => payment.received,
        Err(error) => {
            // Nothing is credited and the place is not saved, but the stream goes on.
            tracing::error!(%payment_hash, %error, "an unusable word of the node");
            return Ok(());
        }
    };
    let cursor = Some((name.to_owned(), position));
    let settlement = Settlement { payment_hash, received: Some(received), cursor };
    let outcome = paywall.ledger.settle(settlement).await?;
    paywall.pool.forget(&payment_hash);
    report(&payment_hash, outcome, "stream");
    Ok(())
}

fn report(hash: &PaymentHash, outcome: SettleOutcome, source: &str) {
    match outcome {
        SettleOutcome::Credited => tracing::info!(%hash, source, "a payment has arrived"),
        // The wallet may have other uses.
        SettleOutcome::AlreadyCredited | SettleOutcome::Unknown => {
            tracing::debug!(%hash, source, ?outcome, "nothing to credit");
        }
        SettleOutcome::BalanceLimit => {
            tracing::error!(%hash, source, "a payment cannot be credited: the balance is full");
        }
    }
}

/// Asks a node about the open invoices that it made.
async fn look(paywall: &Paywall, member: &Member, watch: &Watch) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let due = watch.due(paywall.clock.now_ms(), ROUND_MAX);
        let unanswered = AtomicU32::new(0);
        let look_up = async |hash: PaymentHash| {
            if unanswered.load(Ordering::Relaxed) >= UNANSWERED_MAX {
                return;
            }
            let seen = paywall.see(member, hash).await;
            watch.saw(&hash, seen, paywall.clock.now_ms());
            if seen == Seen::Unanswered {
                unanswered.fetch_add(1, Ordering::Relaxed);
            } else {
                unanswered.store(0, Ordering::Relaxed);
            }
        };
        stream::iter(due).for_each_concurrent(LOOK_UPS_MAX, look_up).await;
    }
}

/// Watches what the ledger knows as unpaid and this process does not.
async fn take_over(paywall: &Paywall) {
    let mut expired_ms_max = DOWN_MS_MAX;
    loop {
        let now_ms = paywall.clock.now_ms();
        let after_ms = now_ms.saturating_sub(expired_ms_max);
        let pause = match paywall.ledger.unsettled(after_ms, TAKE_OVER_MAX).await {
            Ok(found) => {
                found.iter().for_each(|invoice| paywall.pool.catch_up(invoice, now_ms));
                expired_ms_max = LATE_MS;
                TAKE_OVER
            }
            Err(LedgerError::Stopped) => return,
            Err(LedgerError::Busy | LedgerError::Store(_)) => RECONNECT,
        };
        sleep(pause).await;
    }
}

impl Paywall {
    /// Asks a node about an invoice, and credits it if it is paid.
    async fn see(&self, member: &Member, hash: PaymentHash) -> Seen {
        let settled = match member.lightning.node.look_up(&hash).await {
            Ok(Answer::Settled(settled)) => settled,
            Ok(Answer::Unknown | Answer::Open | Answer::Expired) => return Seen::Unpaid,
            Err(NodeFault::Down | NodeFault::Denied) => return Seen::Unanswered,
            Err(NodeFault::Refused | NodeFault::Unreadable) => return Seen::Unpaid,
        };
        let payment = match check_payment(&hash, settled) {
            Ok(payment) => payment,
            Err(error) => {
                tracing::error!(%hash, %error, "an unusable word of the node");
                return Seen::Unpaid;
            }
        };
        let received = Some(payment.received);
        let settlement = Settlement { received, ..Settlement::of(hash) };
        match self.ledger.settle(settlement).await {
            Ok(outcome) => {
                report(&hash, outcome, "look-up");
                self.pool.forget(&hash);
                Seen::Done
            }
            Err(_) => Seen::Unanswered,
        }
    }
}
