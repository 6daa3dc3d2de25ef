//! Stands in for a BTCPay store and its Lightning node: the Greenfield paths for invoices as in
//! `swagger.template.lightning.store.json` and `swagger.template.invoices.json`, for payments over
//! Lightning, and what a key says of itself (`swagger.template.api-keys.json`). It leaves out
//! everything else.

mod rights;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use self::rights::{MAKE_OF_NODE, MAKE_OF_STORE, Missing, SEE_OF_NODE, SEE_OF_STORE, USE_NODE};
use super::till::{Mischief, Sold, Till, Wish};
use super::{Refusal, STORE};

/// The way to pay that it knows: as its first versions called it, which all of them understand,
/// and as the later ones do.
const LIGHTNING: [&str; 2] = ["BTC-LightningNetwork", "BTC-LN"];
/// How long an invoice of the store lives whose order does not say it.
const MINUTES: u64 = 15;
/// The store's own invoices are named in its own way.
const ID_LENGTH: usize = 22;
/// Marks in the till what was sold by the store and not by the node alone.
const OF_STORE: &str = "of the store";
/// What it accepts.
pub(super) const API_KEY: &str = "standinkeyofatest00000000000000000000000";
pub(super) const REFUSAL: Refusal = (
    StatusCode::UNAUTHORIZED,
    r#"{"code":"unauthenticated","message":"Authentication is required for accessing this endpoint"}"#,
);

/// An answer, or what the key may not do.
type Answer = Result<Response, Missing>;

pub(super) fn router() -> Router<Arc<Till>> {
    let of_node = format!("/api/v1/stores/{STORE}/lightning/BTC/invoices");
    let of_store = format!("/api/v1/stores/{STORE}/invoices");
    Router::new()
        .route("/api/v1/api-keys/current", get(key))
        .route(&of_node, post(create_of_node))
        .route(&format!("{of_node}/pay"), post(pay))
        .route(&format!("{of_node}/{{id}}"), get(look_up_of_node))
        .route(&of_store, post(create_of_store).get(list_of_store))
        .route(&format!("{of_store}/{{id}}"), get(look_up_of_store))
        .route(&format!("{of_store}/{{id}}/payment-methods"), get(payment_methods))
}

async fn key(State(till): State<Arc<Till>>) -> Response {
    let permissions = rights::of(&till);
    Json(json!({ "apiKey": API_KEY, "label": "tollway", "permissions": permissions }))
        .into_response()
}

async fn create_of_node(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Answer {
    rights::check(&till, MAKE_OF_NODE)?;
    if till.is(Mischief::NoNode) {
        return Ok(no_node());
    }
    let amount_msat = new.get("amount").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let Some(amount_msat) = amount_msat else {
        return Ok(invalid("amount", "Amount should be more or equals to 0"));
    };
    let Some(expiry_s) = new.get("expiry").and_then(Value::as_u64).filter(|&expiry| expiry > 0)
    else {
        return Ok(invalid("expiry", "Expiry should be more than 0"));
    };
    let description = new.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let note = String::new();
    Ok(match till.make(Wish { amount_msat, description, note, expiry_s, preimage: None }) {
        Ok(sold) => Json(shown_by_node(&sold)).into_response(),
        Err(problem) => error(StatusCode::BAD_REQUEST, "generic-error", &problem),
    })
}

async fn look_up_of_node(State(till): State<Arc<Till>>, Path(id): Path<String>) -> Answer {
    rights::check(&till, SEE_OF_NODE)?;
    if till.is(Mischief::NoNode) {
        return Ok(no_node());
    }
    Ok(till.find(&id).map_or_else(
        || {
            let message = "Impossible to find a lightning invoice with this id";
            error(StatusCode::NOT_FOUND, "invoice-not-found", message)
        },
        |sold| Json(shown_by_node(&sold)).into_response(),
    ))
}

/// It pays for nobody, so that it understands no invoice.
async fn pay(State(till): State<Arc<Till>>) -> Answer {
    rights::check(&till, USE_NODE)?;
    Ok(invalid("BOLT11", "The BOLT11 invoice was invalid."))
}

fn shown_by_node(sold: &Sold) -> Value {
    let status = match (sold.settle_index, sold.over) {
        (Some(_), _) => "Paid",
        (None, true) => "Expired",
        (None, false) => "Unpaid",
    };
    let mut shown = json!({
        "id": sold.hash.to_hex(),
        "paymentHash": sold.hash.to_hex(),
        "status": status,
        "BOLT11": sold.bolt11,
        "paidAt": sold.settle_index.map(|_| sold.expires_at_s),
        "expiresAt": sold.expires_at_s,
        "amount": sold.amount_msat.to_string(),
        "amountReceived": sold.settle_index.map(|_| sold.received_msat.to_string()),
    });
    if let (Some(_), Some(fields)) = (sold.settle_index, shown.as_object_mut()) {
        fields.insert("preimage".to_owned(), json!(sold.preimage.reveal_hex()));
    }
    shown
}

async fn create_of_store(State(till): State<Arc<Till>>, Json(new): Json<Value>) -> Answer {
    rights::check(&till, MAKE_OF_STORE)?;
    let text = |pointer| new.pointer(pointer).and_then(Value::as_str);
    let sats: Option<u64> = text("/amount").and_then(|text| text.parse().ok());
    let (Some(sats), Some("SATS")) = (sats, text("/currency")) else {
        return Ok(invalid("amount", "not what this stand-in sells"));
    };
    let methods = new.pointer("/checkout/paymentMethods").and_then(Value::as_array);
    let known = |method: &Value| LIGHTNING.iter().any(|known| method == known);
    if methods.is_some_and(|methods| !methods.iter().all(known)) {
        return Ok(invalid("checkout.paymentMethods[0]", "Invalid PaymentMethodId"));
    }
    let minutes = new.pointer("/checkout/expirationMinutes").and_then(Value::as_u64);
    let wish = Wish {
        amount_msat: sats * 1_000,
        description: text("/metadata/itemDesc").unwrap_or_default().to_owned(),
        note: OF_STORE.to_owned(),
        // Some of the time has gone when the node is asked.
        expiry_s: (minutes.unwrap_or(MINUTES) * 60).saturating_sub(1),
        preimage: None,
    };
    Ok(match till.make(wish) {
        Ok(sold) => Json(shown_by_store(&sold)).into_response(),
        Err(problem) => error(StatusCode::BAD_REQUEST, "generic-error", &problem),
    })
}

async fn look_up_of_store(State(till): State<Arc<Till>>, Path(id): Path<String>) -> Answer {
    rights::check(&till, SEE_OF_STORE)?;
    let found = of_store(&till, &id);
    Ok(found.map_or_else(not_found, |sold| Json(shown_by_store(&sold)).into_response()))
}

async fn list_of_store(State(till): State<Arc<Till>>) -> Answer {
    rights::check(&till, SEE_OF_STORE)?;
    let sold = till.all();
    let all = sold.iter().filter(|sold| sold.note == OF_STORE).map(shown_by_store);
    Ok(Json(all.collect::<Vec<Value>>()).into_response())
}

async fn payment_methods(State(till): State<Arc<Till>>, Path(id): Path<String>) -> Answer {
    rights::check(&till, SEE_OF_STORE)?;
    let Some(sold) = of_store(&till, &id) else { return Ok(not_found()) };
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
    Ok(Json(methods).into_response())
}

fn of_store(till: &Till, id: &str) -> Option<Sold> {
    till.find_short(id).filter(|sold| id.len() == ID_LENGTH && sold.note == OF_STORE)
}

fn short(sold: &Sold) -> String {
    sold.hash.to_hex().chars().take(ID_LENGTH).collect()
}

fn shown_by_store(sold: &Sold) -> Value {
    let (status, additional) = match (sold.settle_index, sold.over) {
        (Some(_), _) if sold.received_msat > sold.amount_msat => ("Settled", "PaidOver"),
        (Some(_), _) => ("Settled", "None"),
        (None, true) => ("Expired", "None"),
        (None, false) => ("New", "None"),
    };
    json!({
        "id": short(sold),
        "storeId": STORE,
        "amount": (sold.amount_msat / 1_000).to_string(),
        "paidAmount": (sold.received_msat / 1_000).to_string(),
        "currency": "SATS",
        "type": "Standard",
        "checkoutLink": format!("https://pay.example/i/{}", short(sold)),
        "createdTime": sold.made_at_s,
        "expirationTime": sold.expires_at_s,
        "monitoringExpiration": sold.expires_at_s + 86_400,
        "status": status,
        "additionalStatus": additional,
        "availableStatusesForManualMarking": ["Settled", "Invalid"],
        "archived": false,
        "metadata": { "itemDesc": sold.description },
        "checkout": { "paymentMethods": ["BTC-LNURL", "BTC-LN"] },
        "receipt": {},
    })
}

fn no_node() -> Response {
    let message = "The lightning node is not set up";
    error(StatusCode::NOT_FOUND, "lightning-not-configured", message)
}

fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "invoice-not-found", "The invoice was not found")
}

fn invalid(path: &str, message: &str) -> Response {
    let problems = json!([{ "path": path, "message": message }]);
    (StatusCode::UNPROCESSABLE_ENTITY, Json(problems)).into_response()
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({ "code": code, "message": message }))).into_response()
}
