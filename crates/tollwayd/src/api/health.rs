//! Liveness and readiness, on both listeners.
//!
//! The gate's listener is ready while the store is: who has credit is served without the node, and
//! Envoy must not turn away from a tollwayd whose node is down. The operator's listener is ready
//! while a node answers too.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::join_all;
use serde::Serialize;

use super::Doors;
use super::error::ApiError;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    store: &'static str,
    node: &'static str,
}

pub(super) fn gate_router() -> Router<Doors> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(gate_readyz))
}

pub(super) fn admin_router() -> Router<Doors> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

/// The process answers.
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The store takes changes, and if shares are to be paid out, the wallet allows it.
async fn gate_readyz(State(doors): State<Doors>) -> Result<Json<Readiness>, ApiError> {
    check_store_and_rights(&doors).await?;
    // A node that hangs must not make this door slow: Envoy would turn away from it.
    let members = doors.paywall.pool.members().iter();
    let node = word(members.map(|member| member.health.last() != Some(false)));
    Ok(Json(Readiness { status: "ok", store: "ok", node }))
}

/// The same, and a node answers.
async fn readyz(State(doors): State<Doors>) -> Result<Json<Readiness>, ApiError> {
    check_store_and_rights(&doors).await?;
    let now_ms = doors.paywall.clock.now_ms();
    let asked = doors.paywall.pool.members().iter().map(|member| member.is_up(now_ms));
    match word(join_all(asked).await.into_iter()) {
        "down" => Err(ApiError::NodeDown),
        node => Ok(Json(Readiness { status: "ok", store: "ok", node })),
    }
}

/// How all nodes are.
fn word(are_up: impl Iterator<Item = bool> + Clone) -> &'static str {
    match (are_up.clone().any(|is_up| is_up), are_up.clone().all(|is_up| is_up)) {
        (_, true) => "ok",
        (true, false) => "partly",
        (false, false) => "down",
    }
}

async fn check_store_and_rights(doors: &Doors) -> Result<(), ApiError> {
    doors.paywall.ledger.probe().await?;
    match &doors.rights {
        Some(rights) if !rights.are_there() => Err(ApiError::PayoutsDenied),
        _ => Ok(()),
    }
}
