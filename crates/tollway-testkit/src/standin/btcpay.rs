//! Stands in for a BTCPay store and its Lightning node: the Greenfield paths for invoices as in
//! `swagger.template.lightning.store.json` and `swagger.template.invoices.json`, for payments over
//! Lightning. It leaves out everything else. No independent client
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

/// The way to pay that it knows, as its first versions called it and all of them understand.
const LIGHTNING: &str = "BTC-LightningNetwork";
/// What it accepts.
pub(super) const API_KEY: &str = "standinkeyofatest00000000000000000000000";
pub(super) const REFUSAL: Refusal = (
    StatusCode::UNAUTHORIZED,
    r#"{"code":"unauthenticated","message":"Authentication is required"}"#,
);

pub(super) fn router() -> Router<Arc<Till>> {
    let invoices = format!("/api/v1/stores/{STORE}/lightning/BTC/invoices");
    let of_store = format!("/api/v1/stores/{STORE}/invoices");
    Router::new()
        .route(&invoices, post(create))
        .route(&format!("{invoices}/{{id}}"), get(look_up))
        .route(&of_store, post(create_of_store))
        .route(&format!("{of_store}/{{id}}/payment-methods"), get(payment_methods))
}

/// The store's own invoices are named in its own way.
const ID_LENGTH: usize = 22;

async fn create_of_store(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Response {
    let text = |pointer| new.pointer(pointer).and_then(Value::as_str);
    let sats: Option<u64> = text("/amount").and_then(|text| text.parse().ok());
    let over_lightning = new.pointer("/checkout/paymentMethods/0") == Some(&json!(LIGHTNING));
    let minutes = new.pointer("/checkout/expirationMinutes").and_then(Value::as_u64);
    let (Some(sats), Some("SATS"), Some(minutes), true) =
        (sats, text("/currency"), minutes, over_lightning)
    else {
        let problem = json!([{ "path": "amount", "message": "not what this stand-in sells" }]);
        return (StatusCode::BAD_REQUEST, Json(problem)).into_response();
    };
    let wish = Wish {
        amount_msat: sats * 1_000,
        description: text("/metadata/itemDesc").unwrap_or_default().to_owned(),
        note: String::new(),
        // Some of the time has gone when the node is asked.
        expiry_s: minutes * 60 - 1,
        preimage: None,
    };
    match till.make(wish) {
        Ok(sold) => Json(json!({
            "id": short(&sold),
            "storeId": STORE,
            "amount": sats.to_string(),
            "paidAmount": "0",
            "currency": "SATS",
            "type": "Standard",
            "checkoutLink": format!("https://pay.example/i/{}", short(&sold)),
            "createdTime": sold.expires_at_s - minutes * 60,
            "expirationTime": sold.expires_at_s,
            "monitoringExpiration": sold.expires_at_s + 86_400,
            "status": "New",
            "additionalStatus": "None",
            "availableStatusesForManualMarking": ["Settled", "Invalid"],
            "archived": false,
            "metadata": new.get("metadata"),
            "checkout": new.get("checkout"),
        }))
        .into_response(),
        Err(problem) => {
            let problem = json!({ "code": "generic-error", "message": problem });
            (StatusCode::BAD_REQUEST, Json(problem)).into_response()
        }
    }
}

fn short(sold: &Sold) -> String {
    sold.hash.to_hex().chars().take(ID_LENGTH).collect()
}

async fn payment_methods(State(till): State<Arc<Till>>, Path(id): Path<String>) -> Response {
    let Some(sold) = till.find_short(&id).filter(|_| id.len() == ID_LENGTH) else {
        let problem =
            json!({ "code": "invoice-not-found", "message": "The invoice was not found" });
        return (StatusCode::NOT_FOUND, Json(problem)).into_response();
    };
    let method = |id: &str, destination: &str| {
        json!({
            "paymentMethodId": id,
            "currency": "BTC",
            "destination": destination,
            "paymentLink": format!("lightning:{destination}"),
            "rate": "1",
            "paymentMethodPaid": "0",
            "totalPaid": "0",
            "due": "0",
            "amount": "0",
            "paymentMethodFee": "0",
            "payments": [],
            "activated": true,
            "additionalData": {},
        })
    };
    let methods = [method("BTC-LNURL", "LNURL1NOINVOICE"), method("BTC-LN", &sold.bolt11)];
    Json(methods).into_response()
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
