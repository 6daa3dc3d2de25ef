//! Whether the node answers, asked rarely however often somebody wants to know.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    last: Mutex<Option<Heard>>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at_ms: u64,
    found: Result<(), NodeFault>,
}

impl Health {
    /// Whether the node answered when it was last asked, without waiting for anything.
    pub(crate) fn last(&self) -> Option<bool> {
        Some(self.heard()?.found.is_ok())
    }

    /// What came of another call.
    pub(crate) fn note(&self, found: Result<(), NodeFault>, at_ms: u64) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { at_ms, found });
    }

    fn heard(&self) -> Option<Heard> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the node, unless it was heard of a moment ago.
    ///
    /// # Errors
    /// What it answered, or [`NodeFault::Down`] if it did not in time.
    pub(crate) async fn ask(&self, node: &dyn Node, now_ms: u64) -> Result<(), NodeFault> {
        let _alone = self.asking.lock().await;
        if let Some(Heard { at_ms, found }) = self.heard()
            && (at_ms..at_ms.saturating_add(FRESH_MS)).contains(&now_ms)
        {
            return found;
        }
        let answer = tokio::time::timeout(PATIENCE, node.look_up(&NOBODYS)).await;
        let found = answer.unwrap_or(Err(NodeFault::Down)).map(drop);
        self.note(found, now_ms);
        found
    }
}
