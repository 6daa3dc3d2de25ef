//! The end of a turn of the proxy's event loop.
//!
//! The ABI has no event for it. An item in a queue of the root's own is handed to the root when
//! the events at hand have been dealt with, which is that end.

use std::hash::{BuildHasher, RandomState};

use proxy_wasm::hostcalls;
use tollway_core::id::HoldId;
use tollway_gate::host::CallId;
use tollway_gate::pool::Pool;

use crate::parking::Waiting;

/// The turns of one root, and the holds that leave with their end.
pub(crate) struct Turns {
    queue: Option<u32>,
    pub(crate) holds: Pool<Waiting>,
}

impl Turns {
    /// Asks to be told of turns. Queues are the whole proxy's, so the name is this root's alone;
    /// one is never freed, which makes a few bytes for each configuration.
    pub(crate) fn watch(context_id: u32) -> Self {
        let name = format!("tollway.{:016x}", RandomState::new().hash_one(context_id));
        Self { queue: hostcalls::register_shared_queue(&name).ok(), holds: Pool::default() }
    }

    /// Takes a hold along to the end of this turn; `None` where the proxy tells of none.
    pub(crate) fn take(&self, hold: HoldId, body: &[u8]) -> Option<CallId> {
        let queue = self.queue?;
        let (call, is_first) = self.holds.add(hold, body);
        if is_first {
            // If this fails, the next tick sends them.
            let _ = hostcalls::enqueue_shared_queue(queue, None);
        }
        Some(call)
    }

    /// Takes the item out that told of the end.
    pub(crate) fn ended(&self) {
        if let Some(queue) = self.queue {
            let _ = hostcalls::dequeue_shared_queue(queue);
        }
    }
}
