//! Payments without money, for demos and tests. This door exists only while the simulated node
//! is the backend; it needs no token, because its invoices are worth nothing anywhere else.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};

use super::Doors;
use super::body::JsonBody;
use super::error::ApiError;
use crate::lightning::SimulatedNode;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayRequest {
    invoice: String,
    /// Whether the ledger hears of the payment. A real node's event can be lost; then the
    /// preimage alone proves it.
    #[serde(default = "announced")]
    event: bool,
}

fn announced() -> bool {
    true
}

#[derive(Serialize)]
struct PayReply {
    preimage: String,
}

pub(super) fn router(node: Arc<SimulatedNode>) -> Router<Doors> {
    Router::new().route("/sim/v1/pay", post(pay)).layer(Extension(node))
}

async fn pay(
    State(doors): State<Doors>,
    Extension(node): Extension<Arc<SimulatedNode>>,
    JsonBody(request): JsonBody<PayRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let preimage = doors.paywall.pay(&node, &request.invoice, request.event).await?;
    Ok(([(CACHE_CONTROL, "no-store")], Json(PayReply { preimage: preimage.reveal_hex() })))
}
