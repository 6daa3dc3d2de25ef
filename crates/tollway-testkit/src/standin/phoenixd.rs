//! Stands in for phoenixd: `/createinvoice`, `/payments/incoming/{hash}`, `/getinfo` as in
//! `Api.kt` and `json/JsonSerializers.kt`. It leaves out everything else.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, RawForm, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Refusal;
use super::till::{Sold, Till, Wish};

/// What it accepts.
pub(super) const PASSWORD: &str = "stand-in-password-of-a-test";
/// The same with an empty user, in base64.
pub(super) const AUTHORIZATION: &str = "Basic OnN0YW5kLWluLXBhc3N3b3JkLW9mLWEtdGVzdA==";
pub(super) const REFUSAL: Refusal = (
    StatusCode::UNAUTHORIZED,
    "Invalid authentication (use basic auth with the http password set in phoenix.conf)",
);

/// The longest description that it takes.
const DESCRIPTION_CHARS_MAX: usize = 128;

pub(super) fn router() -> Router<Arc<Till>> {
    Router::new()
        .route("/createinvoice", post(create))
        .route("/payments/incoming/{hash}", get(look_up))
        .route("/getinfo", get(info))
}

async fn create(State(till): State<Arc<Till>>, RawForm(form): RawForm) -> Response {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&form).into_owned().collect();
    let number = |name: &str| form.get(name).and_then(|text| text.parse::<u64>().ok());
    let bad = |text: &'static str| (StatusCode::BAD_REQUEST, text).into_response();
    let Some(amount_sat) = number("amountSat") else { return bad("Missing parameter amountSat") };
    let description = form.get("description").cloned().unwrap_or_default();
    if description.chars().count() > DESCRIPTION_CHARS_MAX {
        return bad("Request parameter description is too long (max 128 characters)");
    }
    let note = form.get("externalId").cloned().unwrap_or_default();
    let amount_msat = amount_sat * 1_000;
    let expiry_s = number("expirySeconds").unwrap_or(3_600);
    match till.make(Wish { amount_msat, description, note, expiry_s, preimage: None }) {
        Ok(sold) => Json(json!({
            "amountSat": amount_sat,
            "paymentHash": sold.hash.to_hex(),
            "serialized": sold.bolt11,
        }))
        .into_response(),
        Err(problem) => (StatusCode::INTERNAL_SERVER_ERROR, problem).into_response(),
    }
}

/// An unknown hash is no fault here: 204 without a body.
async fn look_up(State(till): State<Arc<Till>>, Path(hash): Path<String>) -> Response {
    match till.find(&hash) {
        Some(sold) => Json(shown(&sold)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

async fn info() -> Json<Value> {
    let channels = [json!({ "state": "Normal", "channelId": "00", "balanceSat": 1_000_000,
        "inboundLiquiditySat": 2_000_000, "capacitySat": 3_000_000 })];
    Json(json!({ "nodeId": "02", "channels": channels, "chain": "regtest", "version": "stand-in" }))
}

/// Like the real one, it tells the preimage before anybody has paid.
fn shown(sold: &Sold) -> Value {
    let paid = sold.settle_index.is_some();
    json!({
        "type": "incoming_payment",
        "subType": "lightning",
        "paymentHash": sold.hash.to_hex(),
        "preimage": sold.preimage.reveal_hex(),
        "externalId": sold.note,
        "description": sold.description,
        "invoice": sold.bolt11,
        "isPaid": paid,
        "isExpired": !paid && sold.over,
        "requestedSat": sold.amount_msat / 1_000,
        "receivedSat": sold.received_msat / 1_000,
        "fees": 0,
        "expiresAt": sold.expires_at_s * 1_000,
        "completedAt": paid.then_some(sold.expires_at_s * 1_000),
    })
}
