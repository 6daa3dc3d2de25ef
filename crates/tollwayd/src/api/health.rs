//! Liveness and readiness, on both listeners.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
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

pub(super) fn router() -> Router<Doors> {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz))
}

/// The process answers.
async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

/// The store takes changes, and if shares are to be paid out, the wallet allows it. The simulated
/// node lives in this process and is always there.
async fn readyz(State(doors): State<Doors>) -> Result<Json<Readiness>, ApiError> {
    doors.paywall.ledger.probe().await?;
    if doors.rights.is_some_and(|rights| !rights.are_there()) {
        return Err(ApiError::PayoutsDenied);
    }
    Ok(Json(Readiness { status: "ok", store: "ok", node: "ok" }))
}
