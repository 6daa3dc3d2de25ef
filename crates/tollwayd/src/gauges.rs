//! What `/metrics` tells of the node: asked now and then, whoever reads it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::metrics::Metrics;
use crate::paywall::Paywall;

/// Liquidity changes with payments and channels; nobody pages for seconds.
const INTERVAL: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(10);

/// Keeps the gauges until told to stop.
pub(crate) async fn keep(
    paywall: Paywall,
    metrics: Arc<Metrics>,
    backend: &'static str,
    mut stop: watch::Receiver<bool>,
) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let keep = async {
        loop {
            ticks.tick().await;
            let node = &*paywall.lightning.node;
            let found = paywall.health.ask(node, paywall.clock.now_ms()).await;
            metrics.node.is_up(backend, found.is_ok());
            // A node that does not tell leaves the last word standing, or none.
            if let Ok(Ok(Some(inbound))) = timeout(PATIENCE, node.inbound()).await {
                metrics.node.can_receive(backend, inbound);
            }
        }
    };
    tokio::select! {
        () = keep => {}
        // An error means that nobody can tell us any more, which is the same.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
