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

/// The store takes changes. The simulated node lives in this process and is always there.
async fn readyz(State(doors): State<Doors>) -> Result<Json<Readiness>, ApiError> {
    doors.paywall.ledger.probe().await?;
    Ok(Json(Readiness { status: "ok", store: "ok", node: "ok" }))
}
