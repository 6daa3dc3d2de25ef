//! Stands in for LND: `/v1/invoices`, `/v1/invoice/{hash}`, `/v1/invoices/subscribe`,
//! `/v1/balance/channels` as in `lnrpc/lightning.swagger.json`. It leaves out everything else,
//! and TLS.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use super::Refusal;
use super::till::{Mischief, Sold, Till, Wish};

/// What it accepts; a macaroon begins so.
pub(super) const MACAROON: &str = "0201036c6e6473757065722d7365637265742d7374616e642d696e";
pub(super) const REFUSAL: Refusal =
    (StatusCode::INTERNAL_SERVER_ERROR, r#"{"code":2,"message":"permission denied","details":[]}"#);

pub(super) fn router() -> Router<Arc<Till>> {
    Router::new()
        .route("/v1/invoices", post(add))
        .route("/v1/invoices/subscribe", get(subscribe))
        .route("/v1/invoice/{hash}", get(look_up))
        .route("/v1/balance/channels", get(balance))
        .route("/v2/router/track/{hash}", get(track))
}

async fn add(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Response {
    // 64-bit numbers come as text.
    let number = |name: &str| new.get(name).and_then(Value::as_str)?.parse().ok();
    let (Some(amount_msat), Some(expiry_s)) = (number("value_msat"), number("expiry")) else {
        return fault(StatusCode::BAD_REQUEST, 3, "proto: syntax error");
    };
    let description = new.get("memo").and_then(Value::as_str).unwrap_or_default().to_owned();
    let note = String::new();
    let preimage = new.get("r_preimage").and_then(Value::as_str).and_then(bytes);
    let wish = Wish { amount_msat, description, note, expiry_s, preimage };
    match till.make(wish) {
        Ok(sold) => Json(json!({
            "r_hash": base64(sold.hash.as_bytes()),
            "payment_request": sold.bolt11,
            "add_index": "1",
            "payment_addr": "",
        }))
        .into_response(),
        Err(problem) => fault(StatusCode::INTERNAL_SERVER_ERROR, 2, &problem),
    }
}

/// It has never paid anything.
async fn track(State(till): State<Arc<Till>>) -> Response {
    let (status, code, message) = match till.is(Mischief::Generous) {
        true => (StatusCode::NOT_FOUND, 5, "payment isn't initiated"),
        false => (StatusCode::INTERNAL_SERVER_ERROR, 2, "permission denied"),
    };
    let error = json!({ "code": code, "message": message, "details": [] });
    (status, Json(json!({ "error": error }))).into_response()
}

async fn balance() -> Json<Value> {
    let remote = json!({"sat": "2000000", "msat": "2000000000"});
    Json(json!({"balance": "1000000", "remote_balance": remote}))
}

async fn look_up(State(till): State<Arc<Till>>, Path(hash): Path<String>) -> Response {
    match till.find(&hash) {
        Some(sold) => Json(invoice(&sold)).into_response(),
        None => fault(StatusCode::NOT_FOUND, 5, "unable to locate invoice"),
    }
}

/// Lines of `{"result": invoice}`. Like LND's, the stream of place 0 begins now.
async fn subscribe(State(till): State<Arc<Till>>, uri: Uri) -> Body {
    let query = uri.query().unwrap_or_default().strip_prefix("settle_index=");
    let place = query.and_then(|text| text.parse().ok()).unwrap_or(0);
    let repeating = till.is(Mischief::Repeating);
    let from = match place {
        _ if repeating => 0,
        0 => till.paid(),
        place => place,
    };
    let lines = stream::unfold((till, from), move |(till, place)| async move {
        let sold = till.paid_after(place).await;
        let place = sold.settle_index.unwrap_or(place);
        let line = format!("{}\n", json!({ "result": invoice(&sold) }));
        let lines = if repeating { line.repeat(2) } else { line };
        Some((lines, (till, place)))
    });
    Body::from_stream(lines.map(Ok::<_, std::convert::Infallible>))
}

fn invoice(sold: &Sold) -> Value {
    let state = match (sold.settle_index, sold.over) {
        (Some(_), _) => "SETTLED",
        (None, true) => "CANCELED",
        (None, false) => "OPEN",
    };
    json!({
        "memo": sold.description,
        "r_preimage": base64(&[0; 32]),
        "r_hash": base64(sold.hash.as_bytes()),
        "value_msat": sold.amount_msat.to_string(),
        "settled": sold.settle_index.is_some(),
        "payment_request": sold.bolt11,
        "settle_index": sold.settle_index.unwrap_or(0).to_string(),
        "amt_paid_msat": sold.received_msat.to_string(),
        "state": state,
        "htlcs": [],
    })
}

fn fault(status: StatusCode, code: i64, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message, "details": [] }))).into_response()
}

fn bytes(base64: &str) -> Option<[u8; 32]> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(base64).ok()?.try_into().ok()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
