//! The operator's doors: metrics, accounts, sums, key rotation.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tollway_core::id::KeyId;
use tollway_core::payment::PaymentHash;

use super::Doors;
use super::body::segment;
use super::error::ApiError;
use crate::entropy;
use crate::ledger::{AccountView, KeyBytes, Stats};
use crate::metrics;

#[derive(Serialize)]
struct Rotated {
    current: KeyId,
}

/// What needs the operator's token.
pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/admin/v1/accounts/{payment_hash}", get(account))
        .route("/admin/v1/keys/rotate", post(rotate_key))
        .route("/admin/v1/stats", get(stats))
}

/// What does not.
pub(super) fn open_router() -> Router<Doors> {
    Router::new().route("/metrics", get(read_metrics))
}

async fn account(
    State(doors): State<Doors>,
    hash: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountView>, ApiError> {
    let parse = |text: &str| PaymentHash::from_hex(text.as_bytes());
    let hash = segment(hash, parse, "a payment hash (64 hexadecimal digits)")?;
    doors.paywall.ledger.account(hash).await?.map(Json).ok_or(ApiError::AccountUnknown)
}

async fn rotate_key(State(doors): State<Doors>) -> Result<Json<Rotated>, ApiError> {
    let secret = KeyBytes(entropy::random_bytes()?);
    let current = doors.paywall.ledger.rotate_key(secret).await?;
    tracing::info!(%current, "the keyring has a new current key");
    Ok(Json(Rotated { current }))
}

async fn stats(State(doors): State<Doors>) -> Result<Json<Stats>, ApiError> {
    Ok(Json(doors.paywall.ledger.stats().await?))
}

async fn read_metrics(State(doors): State<Doors>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], doors.metrics.encode())
}
