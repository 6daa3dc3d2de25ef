//! Whether the node answers, asked rarely however often somebody wants to know.

use std::time::Duration;

use tokio::sync::Mutex;
use tollway_core::payment::PaymentHash;

use super::{Node, NodeFault};

/// How long an answer is believed.
const FRESH_MS: u64 = 5_000;
/// Probes give up after some seconds themselves.
const PATIENCE: Duration = Duration::from_secs(2);
/// No invoice has this hash. A node that says so understands us and accepts the credential.
const NOBODYS: PaymentHash = PaymentHash::from_bytes([0; 32]);

/// What was last heard.
#[derive(Debug, Default)]
pub(crate) struct Health {
    last: Mutex<Option<(u64, Result<(), NodeFault>)>>,
}

impl Health {
    /// Whether the node answered when it was last asked, without waiting for anything.
    pub(crate) fn last(&self) -> Option<bool> {
        let (_, found) = (*self.last.try_lock().ok()?)?;
        Some(found.is_ok())
    }

    /// Asks the node, unless it was asked a moment ago; one question at a time.
    ///
    /// # Errors
    /// What it answered, or [`NodeFault::Down`] if it did not in time.
    pub(crate) async fn ask(&self, node: &dyn Node, now_ms: u64) -> Result<(), NodeFault> {
        let mut last = self.last.lock().await;
        if let Some((asked_ms, found)) = *last
            && (asked_ms..asked_ms.saturating_add(FRESH_MS)).contains(&now_ms)
        {
            return found;
        }
        let answer = tokio::time::timeout(PATIENCE, node.look_up(&NOBODYS)).await;
        let found = answer.unwrap_or(Err(NodeFault::Down)).map(drop);
        *last = Some((now_ms, found));
        found
    }
}
