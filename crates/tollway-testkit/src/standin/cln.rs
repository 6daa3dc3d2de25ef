//! Stands in for Core Lightning's clnrest: the methods `invoice`, `listinvoices`,
//! `waitanyinvoice`, `listpeerchannels` as in `doc/schemas`, and `listfunds`, which clients ask
//! for a balance. It leaves out everything else, and TLS.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::Refusal;
use super::till::{Sold, Till, Wish};

/// What it accepts.
pub(super) const RUNE: &str = "c3RhbmQtaW4tcnVuZS1vZi1hLXRlc3Q9MA==";
pub(super) const REFUSAL: Refusal =
    (StatusCode::UNAUTHORIZED, r#"{"code":1502,"message":"Rune is not valid"}"#);

/// `waitanyinvoice` heard of nothing in time.
const TIMED_OUT: i64 = 904;

pub(super) fn router() -> Router<Arc<Till>> {
    Router::new()
        .route("/v1/invoice", post(invoice))
        .route("/v1/listinvoices", post(list))
        .route("/v1/waitanyinvoice", post(wait))
        .route("/v1/listfunds", post(funds))
        .route("/v1/listpeerchannels", post(channels))
}

async fn invoice(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Response {
    let text = |name: &str| new.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| new.get(name).and_then(Value::as_u64);
    let (Some(amount_msat), Some(note)) = (number("amount_msat"), text("label")) else {
        return fault(-32602, "missing required parameter");
    };
    let description = text("description").unwrap_or_default();
    let preimage = text("preimage").and_then(|hex| hex::decode(hex).ok()?.try_into().ok());
    // A week, if nothing is said.
    let expiry_s = number("expiry").unwrap_or(604_800);
    match till.make(Wish { amount_msat, description, note, expiry_s, preimage }) {
        Ok(sold) => created(json!({
            "payment_hash": sold.hash.to_hex(),
            "expires_at": sold.expires_at_s,
            "bolt11": sold.bolt11,
            "payment_secret": "00".repeat(32),
            "created_index": 1,
        })),
        Err(problem) => fault(-1, &problem),
    }
}

async fn list(State(till): State<Arc<Till>>, Json(query): Json<Value>) -> Response {
    let hash = query.get("payment_hash").and_then(Value::as_str).unwrap_or_default();
    let found: Vec<Value> = till.find(hash).iter().map(shown).collect();
    created(json!({ "invoices": found }))
}

async fn wait(State(till): State<Arc<Till>>, Json(query): Json<Value>) -> Response {
    let number = |name: &str| query.get(name).and_then(Value::as_u64);
    let paid = till.paid_after(number("lastpay_index").unwrap_or(0));
    let waited = match number("timeout") {
        Some(limit_s) => tokio::time::timeout(Duration::from_secs(limit_s), paid).await.ok(),
        None => Some(paid.await),
    };
    match waited {
        Some(sold) => created(shown(&sold)),
        None => fault(TIMED_OUT, "Timed out"),
    }
}

async fn channels() -> Response {
    created(json!({ "channels": [
        { "state": "CHANNELD_NORMAL", "receivable_msat": 1_500_000_000, "spendable_msat": 7 },
        { "state": "CHANNELD_NORMAL", "receivable_msat": 500_000_000 },
        { "state": "ONCHAIN", "receivable_msat": 9_000_000_000_u64 },
        { "state": "CHANNELD_AWAITING_LOCKIN" },
    ] }))
}

async fn funds() -> Response {
    created(json!({ "outputs": [], "channels": [{ "our_amount_msat": 1_000_000_000 }] }))
}

fn shown(sold: &Sold) -> Value {
    let mut shown = json!({
        "label": sold.note,
        "bolt11": sold.bolt11,
        "payment_hash": sold.hash.to_hex(),
        "amount_msat": sold.amount_msat,
        "description": sold.description,
        "expires_at": sold.expires_at_s,
        "created_index": 1,
        "status": if sold.over { "expired" } else { "unpaid" },
    });
    if let (Some(index), Some(fields)) = (sold.settle_index, shown.as_object_mut()) {
        fields.insert("status".to_owned(), json!("paid"));
        fields.insert("pay_index".to_owned(), json!(index));
        fields.insert("amount_received_msat".to_owned(), json!(sold.received_msat));
        fields.insert("paid_at".to_owned(), json!(sold.expires_at_s));
        fields.insert("payment_preimage".to_owned(), json!(sold.preimage.reveal_hex()));
    }
    shown
}

/// clnrest answers 201 to every method that succeeds.
fn created(body: Value) -> Response {
    (StatusCode::CREATED, Json(body)).into_response()
}

fn fault(code: i64, message: &str) -> Response {
    let body = json!({ "code": code, "message": message });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}
