//! The operator's doors: metrics, accounts, invoices, sums, keys, and what an operator does.

mod act;
mod export;

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
use crate::ledger::{
    AccountView, ActionView, AuditReport, GivenUp, InvoiceView, KeyBytes, Stats, StockView,
};
use crate::lightning::payment_hash_of;
use crate::metrics;

#[derive(Serialize)]
struct Rotated {
    current: KeyId,
}

/// What needs the operator's token.
pub(super) fn router() -> Router<Doors> {
    Router::new()
        .route("/admin/v1/accounts/{payment_hash}", get(account))
        .route("/admin/v1/invoices/{invoice}", get(invoice))
        .route("/admin/v1/keys/rotate", post(rotate_key))
        .route("/admin/v1/stats", get(stats))
        .route("/admin/v1/actions", get(actions))
        .route("/admin/v1/stocks", get(stocks))
        .route("/admin/v1/deliveries", get(given_up))
        .route("/admin/v1/audit", get(audit))
        .merge(act::router())
        .merge(export::router())
}

/// What does not.
pub(super) fn open_router() -> Router<Doors> {
    Router::new().route("/metrics", get(read_metrics))
}

async fn account(
    State(doors): State<Doors>,
    hash: Result<Path<String>, PathRejection>,
) -> Result<Json<AccountView>, ApiError> {
    let hash = hash_segment(hash)?;
    doors.paywall.ledger.account(hash).await?.map(Json).ok_or(ApiError::AccountUnknown)
}

/// By payment hash, or by the invoice itself, as a customer sends it.
async fn invoice(
    State(doors): State<Doors>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<InvoiceView>, ApiError> {
    let hash = invoice_segment(name)?;
    doors.paywall.ledger.invoice(hash).await?.map(Json).ok_or(ApiError::AccountUnknown)
}

fn invoice_segment(name: Result<Path<String>, PathRejection>) -> Result<PaymentHash, ApiError> {
    let parse = |text: &str| {
        PaymentHash::from_hex(text.as_bytes()).ok().or_else(|| payment_hash_of(text)).ok_or(())
    };
    segment(name, parse, "a payment hash (64 hexadecimal digits) or an invoice")
}

fn hash_segment(hash: Result<Path<String>, PathRejection>) -> Result<PaymentHash, ApiError> {
    let parse = |text: &str| PaymentHash::from_hex(text.as_bytes());
    segment(hash, parse, "a payment hash (64 hexadecimal digits)")
}

async fn rotate_key(State(doors): State<Doors>) -> Result<Json<Rotated>, ApiError> {
    let secret = KeyBytes(entropy::random_bytes()?);
    let current = doors.paywall.ledger.rotate_key(secret).await?;
    tracing::info!(%current, "the keyring has a new current key");
    Ok(Json(Rotated { current }))
}

/// What is taken of coupons and supplies.
async fn stocks(State(doors): State<Doors>) -> Result<Json<Vec<StockView>>, ApiError> {
    Ok(Json(doors.paywall.ledger.stocks().await?))
}

/// What was to be sent and was given up.
async fn given_up(State(doors): State<Doors>) -> Result<Json<Vec<GivenUp>>, ApiError> {
    Ok(Json(doors.paywall.ledger.given_up().await?))
}

/// The audit log, oldest line first.
async fn actions(State(doors): State<Doors>) -> Result<Json<Vec<ActionView>>, ApiError> {
    Ok(Json(doors.paywall.ledger.actions().await?))
}

/// Every difference between what the ledger claims and what it recorded.
async fn audit(State(doors): State<Doors>) -> Result<Json<AuditReport>, ApiError> {
    Ok(Json(doors.paywall.ledger.audit().await?))
}

async fn stats(State(doors): State<Doors>) -> Result<Json<Stats>, ApiError> {
    Ok(Json(doors.paywall.ledger.stats().await?))
}

async fn read_metrics(State(doors): State<Doors>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], doors.metrics.encode())
}
