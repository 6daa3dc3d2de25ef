//! Several holds in one call: a line each, and each is answered as if it had come alone.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use tollway_core::id::HoldId;
use tollway_core::wire::{ASK_ALONE, HOLDS_PER_BATCH_MAX, HoldRequest};

use super::body::fault;
use super::error::ApiError;
use super::gate::place;
use super::{BODY_BYTES_MAX, Doors};

/// A hold for which more than the ledger has to be asked keeps the others waiting no longer.
const TOGETHER_MAX: Duration = Duration::from_millis(250);

/// Answers each line with `[{status},{body}]`.
pub(super) async fn hold_all(
    State(doors): State<Doors>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if !(1..=HOLDS_PER_BATCH_MAX).contains(&lines.len()) {
        let problem = format!("expected 1 to {HOLDS_PER_BATCH_MAX}, but found {}", lines.len());
        return Err(ApiError::InvalidField { field: "lines".to_owned(), problem });
    }
    let answers = join_all(lines.into_iter().map(|line| answer(&doors, line))).await;
    Ok(answers.concat())
}

async fn answer(doors: &Doors, line: &[u8]) -> Vec<u8> {
    match tokio::time::timeout(TOGETHER_MAX, hold(doors, line)).await {
        Ok(Ok(body)) => written(200, &body),
        Ok(Err(error)) => {
            let (head, body) = error.into_response().into_parts();
            // A problem has a sentence or two.
            let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
            written(head.status.as_u16(), &body)
        }
        Err(_elapsed) => written(ASK_ALONE, b"null"),
    }
}

async fn hold(doors: &Doors, line: &[u8]) -> Result<Vec<u8>, ApiError> {
    let parsed: Result<(HoldId, HoldRequest), _> = serde_json::from_slice(line);
    let (id, request) = parsed.map_err(|_| fault::<(HoldId, HoldRequest)>(line))?;
    let reply = place(doors, id, request).await?;
    // Plain fields always serialise.
    Ok(serde_json::to_vec(&reply).unwrap_or_default())
}

fn written(status: u16, body: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(body.len() + 8);
    line.extend_from_slice(format!("[{status},").as_bytes());
    line.extend_from_slice(body);
    line.extend_from_slice(b"]\n");
    line
}
