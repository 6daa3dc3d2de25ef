//! Stand-ins for wallets that no package registry has: phoenixd and LND, as payers.
//!
//! They follow the published schemas (phoenixd's Api.kt; LND's router.swagger.json and the errors
//! of its router server) and settle at the shop's node. They are not those programs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::{Value, json};
use tollway_client::Invoice;

/// How the wallet misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Honest,
    /// It pays, and its answer is lost.
    LosesAnswers,
    /// It finds no route.
    NoRoute,
    /// It begins and does not come to an end.
    Stuck,
}

#[derive(Clone, Debug)]
pub(crate) struct StandIn {
    pub(crate) url: String,
    shop: String,
    /// What it knows of payments, by payment hash: a preimage, or nothing yet.
    payments: Arc<Mutex<HashMap<String, Option<String>>>>,
    mood: Arc<Mutex<Mood>>,
}

pub(crate) const SECRET: &str = "00c0ffee";

impl StandIn {
    pub(crate) async fn phoenixd(shop: &str) -> Self {
        Self::open(shop, |wallet| {
            Router::new()
                .route("/payinvoice", post(phoenixd_pay))
                .route("/payments/outgoingbyhash/{hash}", get(phoenixd_payment))
                .route("/getbalance", get(phoenixd_balance))
                .with_state(wallet)
        })
        .await
    }

    pub(crate) async fn lnd(shop: &str) -> Self {
        Self::open(shop, |wallet| {
            Router::new()
                .route("/v2/router/send", post(lnd_pay))
                .route("/v2/router/track/{hash}", get(lnd_track))
                .route("/v1/balance/channels", get(lnd_balance))
                .with_state(wallet)
        })
        .await
    }

    async fn open(shop: &str, router: impl FnOnce(Self) -> Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wallet = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            shop: shop.to_owned(),
            payments: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Honest)),
        };
        let router = router(wallet.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        wallet
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap()
    }

    fn known(&self, hash: &str) -> Option<Option<String>> {
        self.payments.lock().unwrap().get(hash).cloned()
    }

    /// Pays, unless it did so before or is not in the mood. The preimage, if it has one.
    async fn settle(&self, text: &str) -> Option<String> {
        let invoice = Invoice::parse(text).unwrap();
        let hash = invoice.payment_hash().to_hex();
        self.payments.lock().unwrap().insert(hash.clone(), None);
        if self.mood() == Mood::Stuck {
            return None;
        }
        let pay = reqwest::Client::new().post(format!("{}/sim/v1/pay", self.shop));
        let reply = pay.json(&json!({ "invoice": text })).send().await.unwrap();
        let reply: Value = reply.json().await.unwrap();
        let preimage = reply["preimage"].as_str().map(str::to_owned);
        self.payments.lock().unwrap().insert(hash, preimage.clone());
        preimage
    }
}

/// phoenixd takes the password with any user name.
fn phoenixd_refuses(headers: &HeaderMap) -> Option<Response> {
    let expected = format!("Basic {}", URL_SAFE.encode(format!(":{SECRET}")));
    let given = headers.get("authorization").and_then(|value| value.to_str().ok());
    (given != Some(&expected)).then(|| {
        let text =
            "Invalid authentication (use basic auth with the http password set in phoenix.conf)";
        (StatusCode::UNAUTHORIZED, text).into_response()
    })
}

async fn phoenixd_pay(State(wallet): State<StandIn>, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(refusal) = phoenixd_refuses(&headers) {
        return refusal;
    }
    let text = std::str::from_utf8(&body).unwrap().strip_prefix("invoice=").unwrap();
    let hash = Invoice::parse(text).unwrap().payment_hash().to_hex();
    let failed = |reason: &str| Json(json!({ "paymentHash": hash, "reason": reason }));
    if wallet.known(&hash).is_some() {
        return failed("this invoice has already been paid").into_response();
    }
    if wallet.mood() == Mood::NoRoute {
        return failed("payment could not be sent through existing channels").into_response();
    }
    let preimage = wallet.settle(text).await;
    match (wallet.mood(), preimage) {
        (Mood::Honest, Some(preimage)) => Json(json!({
            "recipientAmountSat": 10, "routingFeeSat": 4, "paymentHash": hash,
            "paymentId": "0b5e6b5c-5c5b-4bb7-a6b5-0b6f6c0d7e10", "paymentPreimage": preimage,
        }))
        .into_response(),
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn phoenixd_payment(
    State(wallet): State<StandIn>,
    headers: HeaderMap,
    Path(hash): Path<String>,
) -> Response {
    if let Some(refusal) = phoenixd_refuses(&headers) {
        return refusal;
    }
    match wallet.known(&hash) {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(None) => Json(json!({ "paymentHash": hash, "isPaid": false, "sent": 10, "fees": 0 }))
            .into_response(),
        Some(Some(preimage)) => Json(json!({
            "paymentHash": hash, "preimage": preimage, "isPaid": true, "sent": 14, "fees": 4_000,
            "completedAt": 1_700_000_000_000_u64,
        }))
        .into_response(),
    }
}

async fn phoenixd_balance(headers: HeaderMap) -> Response {
    let balance = || Json(json!({ "balanceSat": 1_234, "feeCreditSat": 0 })).into_response();
    phoenixd_refuses(&headers).unwrap_or_else(balance)
}

fn lnd_refuses(headers: &HeaderMap) -> Option<Response> {
    let given = headers.get("grpc-metadata-macaroon").and_then(|value| value.to_str().ok());
    (given != Some(SECRET)).then(|| {
        let text = "verification failed: signature mismatch after caveat verification";
        let body = Json(json!({ "code": 2, "message": text, "details": [] }));
        (StatusCode::INTERNAL_SERVER_ERROR, body).into_response()
    })
}

fn lnd_update(hash: &str, status: &str, preimage: &str, reason: &str) -> String {
    let update = json!({"result": {
        "payment_hash": hash, "status": status, "payment_preimage": preimage, "fee_msat": "1001",
        "failure_reason": reason, "value_msat": "10000",
    }});
    format!("{update}\n")
}

async fn lnd_pay(
    State(wallet): State<StandIn>,
    headers: HeaderMap,
    Json(order): Json<Value>,
) -> Response {
    if let Some(refusal) = lnd_refuses(&headers) {
        return refusal;
    }
    let text = order["payment_request"].as_str().unwrap();
    assert_eq!(order["fee_limit_msat"], "10000");
    let hash = Invoice::parse(text).unwrap().payment_hash().to_hex();
    if let Some(known) = wallet.known(&hash) {
        let message = match known {
            Some(_) => "invoice is already paid",
            None => "payment is in transition",
        };
        let error = json!({"error": {"code": 6, "message": message, "details": []}});
        return (StatusCode::CONFLICT, format!("{error}\n")).into_response();
    }
    if wallet.mood() == Mood::NoRoute {
        return lnd_update(&hash, "FAILED", &"00".repeat(32), "FAILURE_REASON_NO_ROUTE")
            .into_response();
    }
    let preimage = wallet.settle(text).await;
    match (wallet.mood(), preimage) {
        (Mood::Honest, Some(preimage)) => {
            lnd_update(&hash, "SUCCEEDED", &preimage, "FAILURE_REASON_NONE").into_response()
        }
        _ => StatusCode::BAD_GATEWAY.into_response(),
    }
}

async fn lnd_track(
    State(wallet): State<StandIn>,
    headers: HeaderMap,
    Path(hash): Path<String>,
) -> Response {
    if let Some(refusal) = lnd_refuses(&headers) {
        return refusal;
    }
    let hash = hex::encode(URL_SAFE.decode(hash).unwrap());
    match wallet.known(&hash) {
        None => {
            let error = json!({"error": {"code": 5, "message": "payment isn't initiated"}});
            (StatusCode::NOT_FOUND, format!("{error}\n")).into_response()
        }
        Some(None) => {
            // The stream stays open until the payment ends.
            let first = lnd_update(&hash, "IN_FLIGHT", &"00".repeat(32), "FAILURE_REASON_NONE");
            let first = futures_util::stream::iter([Ok::<_, std::io::Error>(first)]);
            let rest = futures_util::stream::pending();
            let body = futures_util::StreamExt::chain(first, rest);
            axum::body::Body::from_stream(body).into_response()
        }
        Some(Some(preimage)) => {
            lnd_update(&hash, "SUCCEEDED", &preimage, "FAILURE_REASON_NONE").into_response()
        }
    }
}

async fn lnd_balance(headers: HeaderMap) -> Response {
    let balance = || {
        Json(json!({"balance": "1234", "local_balance": {"sat": "1234", "msat": "1234567"}}))
            .into_response()
    };
    lnd_refuses(&headers).unwrap_or_else(balance)
}
