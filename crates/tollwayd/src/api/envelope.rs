//! What surrounds every request: its id, its time limit, its log line, its count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::error::{ApiError, ProblemCode};
use crate::entropy;
use crate::metrics::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a caller is replaced.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// Reading the body and answering take no longer; a slow sender cannot hold a request open.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

/// Gives the request an id, limits its time, counts and logs it.
pub(super) async fn wrap(
    State(metrics): State<Arc<Metrics>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(&request);
    let door = matched.as_ref().map_or("none", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        door,
    );
    let begun = Instant::now();
    let answered = tokio::time::timeout(REQUEST_TIME_MAX, next.run(request));
    let mut response = answered
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_| ApiError::RequestTimeout.into_response());
    metrics.count_request(door, response.status().as_u16());
    span.in_scope(|| log(&response, begun.elapsed()));
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Ordinary answers are logged at debug: a busy gate would fill the disk otherwise.
fn log(response: &Response, took: Duration) {
    let status = response.status();
    let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let Some(ProblemCode(code)) = response.extensions().get() else {
        tracing::debug!(status = status.as_u16(), took_us, "request answered");
        return;
    };
    if status.is_server_error() {
        tracing::error!(status = status.as_u16(), code, took_us, "request failed");
    } else {
        tracing::info!(status = status.as_u16(), code, took_us, "request refused");
    }
}

/// The caller's id if it is short and harmless in a log, else a new one.
fn request_id(request: &Request) -> HeaderValue {
    let harmless = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    request.headers().get(REQUEST_ID).filter(harmless).cloned().unwrap_or_else(new_request_id)
}

fn new_request_id() -> HeaderValue {
    entropy::random_bytes::<16>()
        .ok()
        .and_then(|bytes| HeaderValue::from_str(&hex::encode(bytes)).ok())
        .unwrap_or(HeaderValue::from_static("no-id"))
}
