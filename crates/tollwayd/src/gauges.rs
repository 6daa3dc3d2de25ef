//! What `/metrics` tells of a node: asked now and then, whoever reads it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::pool::Member;

/// Liquidity changes with payments and channels; nobody pages for seconds.
const INTERVAL: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the gauges until told to stop.
pub(crate) async fn keep(
    member: Arc<Member>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let name = member.name.clone().map(|name| ("node", name));
    let labels = [("backend", member.backend.to_owned())].into_iter().chain(name).collect();
    let keep = async {
        loop {
            ticks.tick().await;
            let node = &*member.lightning.node;
            metrics.node.is_up(&labels, member.is_up(clock.now_ms()).await);
            // A node that does not tell leaves the last word standing, or none.
            if let Ok(Ok(Some(inbound))) = timeout(PATIENCE, node.inbound()).await {
                metrics.node.can_receive(&labels, inbound);
            }
        }
    };
    tokio::select! {
        () = keep => {}
        // An error means that nobody can tell us any more, which is the same.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
