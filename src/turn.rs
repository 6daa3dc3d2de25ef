//! The end of a turn of the proxy's event loop.
//!
//! The ABI has no event for it. An item in a queue of the root's own is handed to the root when
//! the events at hand have been dealt with, which is that end.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use proxy_wasm::hostcalls;
use tollway_core::id::HoldId;
use tollway_gate::host::CallId;
use tollway_gate::pool::Pool;

use crate::parking::Waiting;

/// The turns of one root, and the holds that leave with their end.
pub(crate) struct Turns {
    queue: Option<u32>,
    /// The end of this one is asked for.
    is_asked: Cell<bool>,
    pub(crate) holds: Pool<Waiting>,
}

impl Turns {
    /// Asks to be told of turns. Queues are the whole proxy's, so the name is this root's alone;
    /// one is never freed, which makes a few bytes for each configuration.
    pub(crate) fn watch(context_id: u32) -> Self {
        let name = format!("tollway.{:016x}", RandomState::new().hash_one(context_id));
        let queue = hostcalls::register_shared_queue(&name).ok();
        Self { queue, is_asked: Cell::new(false), holds: Pool::default() }
    }

    /// Takes a hold along to the end of this turn; `None` where the proxy tells of none.
    pub(crate) fn take(&self, hold: HoldId, body: &[u8]) -> Option<CallId> {
        self.queue?;
        let call = self.holds.add(hold, body);
        self.ask_for_end();
        Some(call)
    }

    /// Has the root told when this turn ends. Where that fails, the next tick does the same.
    pub(crate) fn ask_for_end(&self) {
        if let Some(queue) = self.queue
            && !self.is_asked.replace(true)
        {
            let _ = hostcalls::enqueue_shared_queue(queue, None);
        }
    }

    /// Takes the item out that told of the end.
    pub(crate) fn ended(&self) {
        self.is_asked.set(false);
        if let Some(queue) = self.queue {
            let _ = hostcalls::dequeue_shared_queue(queue);
        }
    }

    /// The tick does what the end would: the item may have been lost.
    pub(crate) fn ticked(&self) {
        self.is_asked.set(false);
    }
}
