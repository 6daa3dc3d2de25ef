//! Sends what the ledger has written down for others outside.
//!
//! Each receiver has a courier of its own, so that one that does not answer delays no other. A
//! courier takes what is due for a while, sends it, and reports. Between a send and its report
//! the process may die, or the store may fail: then the same is sent again once that while is
//! over. So everything arrives at least once, and carries an id by which its receiver knows it
//! again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::clock::Clock;
use crate::entropy;
use crate::ledger::{Claim, Claimed, DeliveryKind, Ledger, LedgerError, News, Report};

/// How often a courier looks for what is due.
const TICK: Duration = Duration::from_millis(500);
/// What one courier sends at a time.
const AT_A_TIME: u32 = 8;
/// The pause after the first failed try, and the longest one.
const PAUSE_MS: u64 = 5_000;
const PAUSE_MS_MAX: u64 = 3_600_000;
/// Tries before something is given up: about a day.
pub(crate) const TRIES_MAX: u32 = 32;

/// How something is sent to one receiver.
pub(crate) trait Carrier: Send + Sync + 'static {
    fn kind(&self) -> DeliveryKind;

    /// The receiver's name in the configuration.
    fn target(&self) -> &str;

    /// How long a try may take at most. Nobody else tries in twice this time.
    fn patience(&self) -> Duration;

    /// What is to be thought of a try that took longer.
    fn fate_out_of_time(&self) -> Fate;

    /// Tries once.
    fn carry<'a>(&'a self, parcel: &'a Claimed) -> BoxFuture<'a, Fate>;
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrived.
    Arrived,
    /// It was paid out, by way of this invoice.
    PaidOut { amount: Msat, invoice: PaymentHash },
    /// It did not arrive, for this reason; a later try may do better.
    Failed(String),
    /// Nobody can say; it is asked for as long as it takes.
    Unsure(String),
}

/// Sends to one receiver until told to stop. What is under way then is sent again by whoever
/// comes next.
pub(crate) async fn send(
    carrier: Arc<dyn Carrier>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    mut stop: watch::Receiver<bool>,
) {
    let courier = Courier { carrier, ledger, clock };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = courier.run() => {}
    }
}

struct Courier {
    carrier: Arc<dyn Carrier>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
}

impl Courier {
    /// Ends when the ledger has ended.
    async fn run(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                match self.round().await {
                    // There may be more.
                    Ok(AT_A_TIME..) => {}
                    Ok(_) | Err(LedgerError::Busy | LedgerError::Store(_)) => break,
                    Err(LedgerError::Stopped) => return,
                }
            }
        }
    }

    /// Takes what is due, tries each once, and gives their number.
    async fn round(&self) -> Result<u32, LedgerError> {
        let patience = self.carrier.patience();
        let claim = Claim {
            kind: self.carrier.kind(),
            target: self.carrier.target().to_owned(),
            max: AT_A_TIME,
            lease_ms: u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).saturating_mul(2),
        };
        let parcels = self.ledger.claim(claim).await?;
        let number = u32::try_from(parcels.len()).unwrap_or(u32::MAX);
        stream::iter(parcels).for_each_concurrent(None, |parcel| self.try_once(parcel)).await;
        Ok(number)
    }

    async fn try_once(&self, parcel: Claimed) {
        let tried = tokio::time::timeout(self.carrier.patience(), self.carrier.carry(&parcel));
        let fate = tried.await.unwrap_or_else(|_| self.carrier.fate_out_of_time());
        let (id, target) = (hex::encode(parcel.id), self.carrier.target());
        let news = match fate {
            Fate::Arrived => News::Sent,
            Fate::PaidOut { amount, invoice } => News::PaidOut { amount, invoice },
            // What an operator has tried again has as many tries once more.
            Fate::Failed(reason) if parcel.attempt.is_multiple_of(TRIES_MAX) => {
                tracing::error!(id, target, reason, "given up");
                News::GivenUp(reason)
            }
            Fate::Failed(reason) | Fate::Unsure(reason) => {
                let pause_ms = pause_ms(parcel.attempt, random());
                tracing::warn!(id, target, reason, attempt = parcel.attempt, pause_ms, "not sent");
                News::Later(self.clock.now_ms().saturating_add(pause_ms))
            }
        };
        let report = Report { id: parcel.id, attempt: parcel.attempt, news };
        if let Err(error) = self.ledger.report(report).await {
            tracing::warn!(id, target, %error, "what became of it is not on record: sent again");
        }
    }
}

/// Twice as long after every try, and between half of that and all of it, so that those who failed
/// together do not come back together.
fn pause_ms(attempt: u32, random: u32) -> u64 {
    let doublings = (attempt.saturating_sub(1) % TRIES_MAX).min(16);
    let whole = PAUSE_MS.saturating_mul(1 << doublings).min(PAUSE_MS_MAX);
    let half = whole / 2;
    half + half * u64::from(random) / u64::from(u32::MAX)
}

/// Without randomness the pauses are the longest.
fn random() -> u32 {
    entropy::random_bytes().map_or(u32::MAX, u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_differ() {
        let longest: Vec<u64> = (1..=13).map(|attempt| pause_ms(attempt, u32::MAX)).collect();
        assert_eq!(longest[..4], [5_000, 10_000, 20_000, 40_000]);
        assert_eq!(longest[10..], [PAUSE_MS_MAX; 3]);
        assert_eq!(pause_ms(TRIES_MAX + 2, u32::MAX), longest[1], "tried again");
        for attempt in [1, 5, 12, u32::MAX] {
            let (least, most) = (pause_ms(attempt, 0), pause_ms(attempt, u32::MAX));
            assert_eq!(least, most / 2);
            let between = pause_ms(attempt, u32::MAX / 2);
            assert!(least < between && between < most);
        }
        let day: u64 = (1..TRIES_MAX).map(|attempt| pause_ms(attempt, u32::MAX / 2)).sum();
        assert!((12..36).contains(&(day / 3_600_000)), "{day}");
    }
}
