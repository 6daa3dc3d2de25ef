//! Liveness and readiness, on both listeners.
//!
//! The gate's listener is ready while the store is: who has credit is served without the node, and
//! Envoy must not turn away from a tollwayd whose node is down. The operator's listener is ready
//! while the node answers too.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::Doors;
use super::error::ApiError;
use crate::paywall::Paywall;

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
    let node = match doors.paywall.health.last() {
        Some(false) => "down",
        Some(true) | None => "ok",
    };
    Ok(Json(Readiness { status: "ok", store: "ok", node }))
}

/// The same, and the node answers.
async fn readyz(State(doors): State<Doors>) -> Result<Json<Readiness>, ApiError> {
    check_store_and_rights(&doors).await?;
    if !is_node_up(&doors.paywall).await {
        return Err(ApiError::NodeDown);
    }
    Ok(Json(Readiness { status: "ok", store: "ok", node: "ok" }))
}

async fn check_store_and_rights(doors: &Doors) -> Result<(), ApiError> {
    doors.paywall.ledger.probe().await?;
    match &doors.rights {
        Some(rights) if !rights.are_there() => Err(ApiError::PayoutsDenied),
        _ => Ok(()),
    }
}

/// The simulated node lives in this process and is always there.
async fn is_node_up(paywall: &Paywall) -> bool {
    let (node, now_ms) = (&*paywall.lightning.node, paywall.clock.now_ms());
    paywall.watch.is_none() || paywall.health.ask(node, now_ms).await.is_ok()
}
