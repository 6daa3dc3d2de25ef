//! Where the client's time comes from.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in seconds.
#[expect(clippy::disallowed_methods, reason = "this is where the client's clock comes from")]
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
