//! Several holds in one call, or more of several: a line each, and each is answered as if it had
//! come alone.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::State;
use axum::response::IntoResponse;
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tollway_core::id::HoldId;
use tollway_core::wire::{ASK_ALONE, ExtensionRequest, HOLDS_PER_BATCH_MAX, HoldRequest};

use super::body::fault;
use super::error::ApiError;
use super::gate::{lengthen, place};
use super::{BODY_BYTES_MAX, Doors};

/// A hold for which more than the ledger has to be asked keeps the others waiting no longer.
const TOGETHER_MAX: Duration = Duration::from_millis(250);

/// Answers each line with `[{status},{body}]`.
pub(super) async fn hold_all(
    State(doors): State<Doors>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let each = lines(&body)?.into_iter().map(async |line| {
        let hold = async || {
            let (id, request): (HoldId, HoldRequest) = read(line)?;
            place(&doors, id, request).await
        };
        match tokio::time::timeout(TOGETHER_MAX, hold()).await {
            Ok(answer) => written(answer).await,
            Err(_elapsed) => one_line(ASK_ALONE, b"null"),
        }
    });
    Ok(join_all(each).await.concat())
}

/// The same for more of holds, of which only the ledger is asked.
pub(super) async fn extend_all(
    State(doors): State<Doors>,
    body: Bytes,
) -> Result<impl IntoResponse, ApiError> {
    let each = lines(&body)?.into_iter().map(async |line| {
        let extension = async || {
            let (id, request): (HoldId, ExtensionRequest) = read(line)?;
            lengthen(&doors, id, request).await
        };
        written(extension().await).await
    });
    Ok(join_all(each).await.concat())
}

fn lines(body: &[u8]) -> Result<Vec<&[u8]>, ApiError> {
    let lines: Vec<_> = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    if (1..=HOLDS_PER_BATCH_MAX).contains(&lines.len()) {
        return Ok(lines);
    }
    let problem = format!("expected 1 to {HOLDS_PER_BATCH_MAX}, but found {}", lines.len());
    Err(ApiError::InvalidField { field: "lines".to_owned(), problem })
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(line).map_err(|_| fault::<T>(line))
}

async fn written(answer: Result<impl Serialize, ApiError>) -> Vec<u8> {
    match answer {
        // Plain fields always serialise.
        Ok(reply) => one_line(200, &serde_json::to_vec(&reply).unwrap_or_default()),
        Err(error) => {
            let (head, body) = error.into_response().into_parts();
            // A problem has a sentence or two.
            let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
            one_line(head.status.as_u16(), &body)
        }
    }
}

fn one_line(status: u16, body: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(body.len() + 8);
    line.extend_from_slice(format!("[{status},").as_bytes());
    line.extend_from_slice(body);
    line.extend_from_slice(b"]\n");
    line
}
