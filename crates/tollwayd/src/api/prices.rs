//! The filter's question for a price that only the operator's service knows.

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use tollway_core::wire::{PRICES_PATH, PriceReply, PriceRequest};

use super::Doors;
use super::body::JsonBody;
use super::error::ApiError;
use crate::prices::PriceFault;

pub(super) fn router() -> Router<Doors> {
    Router::new().route(PRICES_PATH, post(price))
}

async fn price(
    State(doors): State<Doors>,
    JsonBody(request): JsonBody<PriceRequest>,
) -> Result<Json<PriceReply>, ApiError> {
    Ok(Json(doors.prices.ask(&request, &doors.paywall.ledger).await?))
}

impl From<PriceFault> for ApiError {
    fn from(fault: PriceFault) -> Self {
        if let PriceFault::Ledger(error) = fault {
            return Self::Ledger(error);
        }
        tracing::warn!(%fault, "the price of a request is not known; it was answered 503");
        Self::PriceUnknown
    }
}
