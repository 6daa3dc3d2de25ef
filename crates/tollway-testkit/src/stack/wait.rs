//! Waiting for a condition, never for a while.

use std::time::{Duration, Instant};

use super::error::StackError;
use super::process::Process;

/// How often a condition is looked at.
pub(crate) const INTERVAL: Duration = Duration::from_millis(20);
/// How long anything may take, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` finds something.
///
/// # Errors
/// `process` ended, or patience did; the message holds what `look` last complained of.
pub async fn until<T>(
    step: &str,
    process: &mut Process,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, StackError> {
    let begun = Instant::now();
    loop {
        let complaint = match look().await {
            Ok(found) => return Ok(found),
            Err(complaint) => complaint,
        };
        if let Some(status) = process.ended() {
            return Err(process.error(step, format!("it ended with {status}")));
        }
        if begun.elapsed() > PATIENCE {
            let found = format!("not within {} s: {complaint}", PATIENCE.as_secs());
            return Err(process.error(step, found));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
