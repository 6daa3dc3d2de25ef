//! Stands in for the Lightning node of a BTCPay store: the Greenfield paths for invoices as in
//! `swagger.template.lightning.store.json`. It leaves out everything else. No independent client
//! of it is at hand, so that it is our own reading of the schema.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::till::{Sold, Till, Wish};
use super::{Refusal, STORE};

/// What it accepts.
pub(super) const API_KEY: &str = "standinkeyofatest00000000000000000000000";
pub(super) const REFUSAL: Refusal = (
    StatusCode::UNAUTHORIZED,
    r#"{"code":"unauthenticated","message":"Authentication is required"}"#,
);

pub(super) fn router() -> Router<Arc<Till>> {
    let invoices = format!("/api/v1/stores/{STORE}/lightning/BTC/invoices");
    Router::new().route(&invoices, post(create)).route(&format!("{invoices}/{{id}}"), get(look_up))
}

async fn create(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Response {
    let amount_msat = new.get("amount").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let expiry_s = new.get("expiry").and_then(Value::as_u64);
    let (Some(amount_msat), Some(expiry_s)) = (amount_msat, expiry_s) else {
        let problem = json!([{ "path": "amount", "message": "The amount should be more than 0" }]);
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(problem)).into_response();
    };
    let description = new.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let note = String::new();
    match till.make(Wish { amount_msat, description, note, expiry_s, preimage: None }) {
        Ok(sold) => Json(shown(&sold)).into_response(),
        Err(problem) => {
            let problem = json!({ "code": "lightning-node-unavailable", "message": problem });
            (StatusCode::SERVICE_UNAVAILABLE, Json(problem)).into_response()
        }
    }
}

async fn look_up(State(till): State<Arc<Till>>, Path(id): Path<String>) -> Response {
    match till.find(&id) {
        Some(sold) => Json(shown(&sold)).into_response(),
        None => {
            let problem = json!({
                "code": "invoice-not-found",
                "message": "Impossible to find a lightning invoice with this id",
            });
            (StatusCode::NOT_FOUND, Json(problem)).into_response()
        }
    }
}

fn shown(sold: &Sold) -> Value {
    let status = match (sold.settle_index, sold.over) {
        (Some(_), _) => "Paid",
        (None, true) => "Expired",
        (None, false) => "Unpaid",
    };
    json!({
        "id": sold.hash.to_hex(),
        "paymentHash": sold.hash.to_hex(),
        "status": status,
        "BOLT11": sold.bolt11,
        "paidAt": sold.settle_index.map(|_| sold.expires_at_s),
        "expiresAt": sold.expires_at_s,
        "amount": sold.amount_msat.to_string(),
        "amountReceived": sold.settle_index.map(|_| sold.received_msat.to_string()),
    })
}
