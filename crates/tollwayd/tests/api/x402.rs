//! x402 against a stand-in of a facilitator: it says what a test tells it to say, and moves no
//! money. What really settles is tried with the published facilitator in `make test-clients`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode as Status;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tollway_core::id::HoldId;
use tollway_core::wire::PostingOutcome;
use tollwayd::clock::ManualClock;
use tollwayd::config::RawConfig;

use crate::support::*;

const NETWORK: &str = "eip155:84532";
const SELLER: &str = "0x1111111111111111111111111111111111111111";
const BUYER: &str = "0x2222222222222222222222222222222222222222";
const ASSET: &str = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
/// 5 sats at 64,000 dollars a bitcoin, in millionths of a dollar.
const UNITS: &str = "3200";
const PRICE_MSAT: u64 = 5_000;

/// What the stand-in answers from now on.
#[derive(Clone, Debug)]
enum Says {
    Json(u16, Value),
    /// Nothing, until the caller gives up.
    Silence,
}

/// A stand-in of a facilitator, and what it was asked.
#[derive(Clone)]
struct StandIn {
    url: String,
    verify: Arc<Mutex<Says>>,
    settle: Arc<Mutex<Says>>,
    asked: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

fn valid() -> Says {
    Says::Json(200, json!({"isValid": true, "payer": BUYER}))
}

fn settled() -> Says {
    let answer = json!({"success": true, "transaction": "0xfeed", "network": NETWORK,
                        "payer": BUYER});
    Says::Json(200, answer)
}

fn refused(reason: &str) -> Says {
    let answer = json!({"success": false, "errorReason": reason, "transaction": "",
                        "network": NETWORK});
    Says::Json(200, answer)
}

impl StandIn {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            verify: Arc::new(Mutex::new(valid())),
            settle: Arc::new(Mutex::new(settled())),
            asked: Arc::default(),
        };
        let router = Router::new()
            .route("/verify", post(verify))
            .route("/settle", post(settle))
            .with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        stand_in
    }

    async fn answer(&self, door: &'static str, body: Value) -> axum::response::Response {
        self.asked.lock().unwrap().push((door, body));
        let says = if door == "verify" { &self.verify } else { &self.settle };
        let says = says.lock().unwrap().clone();
        match says {
            Says::Json(status, body) => {
                (Status::from_u16(status).unwrap(), Json(body)).into_response()
            }
            Says::Silence => std::future::pending().await,
        }
    }

    fn verifies(&self, says: Says) {
        *self.verify.lock().unwrap() = says;
    }

    fn settles(&self, says: Says) {
        *self.settle.lock().unwrap() = says;
    }

    fn asked(&self, door: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(it, _)| *it == door).map(|(_, body)| body.clone()).collect()
    }
}

async fn verify(State(it): State<StandIn>, Json(body): Json<Value>) -> impl IntoResponse {
    it.answer("verify", body).await
}

async fn settle(State(it): State<StandIn>, Json(body): Json<Value>) -> impl IntoResponse {
    it.answer("settle", body).await
}

/// A server that sells on x402, and its facilitator.
async fn shop() -> (Server, StandIn) {
    let stand_in = StandIn::start().await;
    let directory = tempfile::tempdir().unwrap();
    let text = include_str!("../../../../envoy/tollwayd.toml").to_owned()
        + &format!(
            "[[rates.source]]\ncurrency = \"USD\"\nfixed = \"64000\"\n\
             [x402]\nfacilitator = \"{}\"\npublic_url = \"https://api.example.com/\"\n\
             network = \"{NETWORK}\"\npay_to = \"{SELLER}\"\nasset = \"{ASSET}\"\n\
             asset_name = \"USDC\"\nasset_version = \"2\"\ncurrency = \"USD\"\n\
             verify_timeout_ms = 500\nsettle_timeout_ms = 500\n",
            stand_in.url
        );
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.path().join("tollwayd.db").display().to_string()),
        _ => None,
    };
    let config = RawConfig::parse(&text).unwrap().resolve(&env).unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    (Server::start_with(directory, clock, config).await, stand_in)
}

/// A payment of the second version, as a client writes it.
fn payment(nonce: u8) -> Value {
    json!({
        "x402Version": 2,
        "accepted": {"scheme": "exact", "network": NETWORK, "amount": UNITS, "asset": ASSET,
                     "payTo": SELLER, "maxTimeoutSeconds": 300,
                     "extra": {"name": "USDC", "version": "2"}},
        "payload": {
            "signature": format!("0x{}", "ab".repeat(65)),
            "authorization": {"from": BUYER, "to": SELLER, "value": UNITS, "validAfter": "0",
                              "validBefore": "1900000000",
                              "nonce": format!("0x{}", hex::encode([nonce; 32]))},
        },
    })
}

fn first_version(nonce: u8) -> Value {
    let payload = payment(nonce)["payload"].clone();
    json!({"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": payload})
}

fn base64(value: &Value) -> String {
    STANDARD.encode(value.to_string())
}

fn from_base64(text: &str) -> Value {
    serde_json::from_slice(&STANDARD.decode(text).unwrap()).unwrap()
}

impl Server {
    async fn on_rail(&self, door: &str, id: HoldId, payment: &Value) -> (u16, Value) {
        let body = json!({"rail": "x402", "credential": base64(payment), "service": "jokes",
                          "route": "joke", "amount_msat": PRICE_MSAT, "ttl_ms": TTL_MS});
        let call = self.call(Method::PUT, &format!("/v1/holds/{id}/{door}")).json(&body);
        let response = call.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    async fn show(&self, id: HoldId, payment: &Value) -> (u16, Value) {
        self.on_rail("rail", id, payment).await
    }

    async fn settle(&self, id: HoldId, payment: &Value) -> (u16, Value) {
        self.on_rail("settlement", id, payment).await
    }

    async fn credited(&self) -> (u64, u64) {
        let stats: Value =
            self.admin(Method::GET, "/admin/v1/stats").send().await.unwrap().json().await.unwrap();
        (stats["credited_msat"].as_u64().unwrap(), stats["charged_msat"].as_u64().unwrap())
    }
}

fn hold_id(number: u64) -> HoldId {
    let mut random = [0; 10];
    random[2..10].copy_from_slice(&number.to_be_bytes());
    HoldId::mint(START_MS, random)
}

fn charge(id: HoldId) -> Vec<tollway_core::wire::Posting> {
    vec![posting(id, 0, PRICE_MSAT, true)]
}

fn is_reserved((status, reply): &(u16, Value)) -> bool {
    *status == 200 && reply["outcome"] == "granted" && reply["settle_within_ms"].is_u64()
}

fn is_paid((status, reply): &(u16, Value)) -> bool {
    *status == 200 && reply["outcome"] == "granted" && reply["settle_within_ms"].is_null()
}

fn is_refused((status, reply): &(u16, Value)) -> bool {
    *status == 200 && reply["outcome"] == "refused" && reply["problem"] == "verification-failed"
}

#[tokio::test]
async fn a_challenge_has_the_offer_in_both_forms() {
    let (server, _) = shop().await;
    let mut asked = challenge(20_000, "jokes");
    asked["other"] = json!({"x402": true, "price_msat": PRICE_MSAT});
    let reply: Value = server.challenge(asked).await.json().await.unwrap();
    let header = reply["headers"][0].as_array().unwrap();
    assert_eq!(header[0], "payment-required");
    let two = from_base64(header[1].as_str().unwrap());
    let requirement = json!({"scheme": "exact", "network": NETWORK, "amount": UNITS,
        "asset": ASSET, "payTo": SELLER, "maxTimeoutSeconds": 300,
        "extra": {"name": "USDC", "version": "2"}});
    assert_eq!(two["x402Version"], 2);
    assert_eq!(two["accepts"], json!([requirement]));
    let one: Value =
        serde_json::from_str(&format!("{{{}}}", reply["members"].as_str().unwrap())).unwrap();
    assert_eq!(one["x402Version"], 1);
    assert_eq!(one["accepts"][0]["maxAmountRequired"], UNITS);
    assert_eq!(one["accepts"][0]["network"], "base-sepolia");
    assert_eq!(one["accepts"][0]["resource"], "https://api.example.com/");
    let plain: Value = server.challenge(challenge(20_000, "jokes")).await.json().await.unwrap();
    assert_eq!((&plain["headers"], &plain["members"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_payment_is_verified_reserved_settled_and_charged_once() {
    let (server, facilitator) = shop().await;
    for (nonce, payment) in [(1_u64, payment(1)), (2, first_version(2))] {
        if nonce == 2 {
            let network = "base-sepolia";
            let answer = json!({"success": true, "transaction": "0xfeed", "network": network});
            facilitator.settles(Says::Json(200, answer));
        }
        let id = hold_id(nonce);
        let shown = server.show(id, &payment).await;
        assert!(is_reserved(&shown), "{shown:?}");
        assert_eq!(server.show(id, &payment).await, shown, "a repeat of the call");
        assert!(facilitator.asked("settle").len() < nonce as usize, "not before the upstream");
        let paid = server.settle(id, &payment).await;
        assert!(is_paid(&paid), "{paid:?}");
        let name = if nonce == 1 { "payment-response" } else { "x-payment-response" };
        assert_eq!(paid.1["headers"][0][0], name);
        let receipt = from_base64(paid.1["headers"][0][1].as_str().unwrap());
        assert_eq!(
            (&receipt["success"], &receipt["transaction"]),
            (&json!(true), &json!("0xfeed"))
        );
        assert_eq!(server.post(charge(id)).await, [PostingOutcome::Posted]);
        let again = server.show(hold_id(nonce + 10), &payment).await;
        assert!(is_refused(&again), "{again:?}");
        let settled = facilitator.asked("settle").pop().unwrap();
        assert_eq!(settled["paymentPayload"], payment, "as the client wrote it");
        assert_eq!(settled["paymentRequirements"]["payTo"], SELLER, "our own requirement");
    }
    assert_eq!(facilitator.asked("settle").len(), 2);
    assert_eq!(server.credited().await, (2 * PRICE_MSAT, 2 * PRICE_MSAT));
}

#[tokio::test]
async fn what_is_not_for_us_is_refused_before_the_facilitator_is_asked() {
    let (server, facilitator) = shop().await;
    let with = |pointer: &str, value: Value| {
        let mut payment = payment(1);
        *payment.pointer_mut(pointer).unwrap() = value;
        payment
    };
    let other = "0x3333333333333333333333333333333333333333";
    let dear = |payment: &mut Value, amount: &str| {
        payment["accepted"]["amount"] = json!(amount);
        payment["payload"]["authorization"]["value"] = json!(amount);
    };
    let (mut less, mut more) = (payment(1), payment(1));
    dear(&mut less, "3199");
    dear(&mut more, "3201");
    let mut one = first_version(1);
    one["network"] = json!("base");
    let cases = [
        less,
        more,
        one,
        with("/accepted/network", json!("eip155:8453")),
        with("/accepted/asset", json!(other)),
        with("/accepted/payTo", json!(other)),
        with("/accepted/amount", json!("1")),
        with("/accepted/scheme", json!("upto")),
        with("/payload/authorization/to", json!(other)),
        with("/payload/authorization/value", json!("1")),
        with("/payload/authorization/value", json!("03200")),
        with("/payload/authorization/value", json!("-3200")),
        with("/payload/authorization/nonce", json!("0x00")),
        with("/payload/authorization/from", json!("0x")),
        with("/payload", json!({"invoice": "lnbc1"})),
        with("/x402Version", json!(3)),
        json!([]),
        json!({"padding": "x".repeat(20_000)}),
    ];
    for payment in cases {
        let shown = server.show(hold_id(1), &payment).await;
        assert!(is_refused(&shown), "{payment}: {shown:?}");
    }
    assert!(facilitator.asked("verify").is_empty());
    let settled = server.settle(hold_id(1), &payment(1)).await;
    assert_eq!(settled.0, 503, "nobody reserved it: {settled:?}");
    assert!(facilitator.asked("settle").is_empty());
}

#[tokio::test]
async fn a_verdict_that_is_no_clear_yes_reserves_nothing() {
    let (server, facilitator) = shop().await;
    let invalid = json!({"isValid": false, "invalidReason": "insufficient_funds"});
    let stranger = json!({"isValid": true, "payer": SELLER});
    for (says, status) in [
        (Says::Json(200, invalid.clone()), 200),
        (Says::Json(400, invalid.clone()), 200),
        (Says::Json(500, invalid), 503),
        (Says::Json(500, json!({"isValid": true})), 503),
        (Says::Json(200, stranger), 503),
        (Says::Json(200, json!({"isValid": "true"})), 503),
        (Says::Json(200, json!("x".repeat(100_000))), 503),
        (Says::Silence, 503),
    ] {
        facilitator.verifies(says.clone());
        let shown = server.show(hold_id(1), &payment(1)).await;
        assert_eq!(shown.0, status, "{says:?}: {shown:?}");
        assert!(status == 503 || is_refused(&shown), "{says:?}: {shown:?}");
    }
    facilitator.verifies(valid());
    assert!(is_reserved(&server.show(hold_id(2), &payment(1)).await));
}

#[tokio::test]
async fn a_refused_settlement_charges_nothing_and_the_payment_may_be_shown_again() {
    let (server, facilitator) = shop().await;
    facilitator.settles(refused("insufficient_funds"));
    assert!(is_reserved(&server.show(hold_id(1), &payment(1)).await));
    let answer = server.settle(hold_id(1), &payment(1)).await;
    assert!(is_refused(&answer), "{answer:?}");
    let receipt = from_base64(answer.1["headers"][0][1].as_str().unwrap());
    assert_eq!(answer.1["headers"][0][0], "payment-response");
    assert_eq!(receipt["success"], false);
    assert_eq!(receipt["errorReason"], "insufficient_funds");
    assert_eq!(server.credited().await, (0, 0));
    facilitator.settles(settled());
    assert!(is_reserved(&server.show(hold_id(2), &payment(1)).await));
    assert!(is_paid(&server.settle(hold_id(2), &payment(1)).await));
}

/// What is not known is 503 and never a refusal, which would have the client pay again.
#[tokio::test]
async fn an_unknown_settlement_is_asked_again_by_the_same_payment_and_charged_once() {
    let (server, facilitator) = shop().await;
    let elsewhere = json!({"success": true, "transaction": "0xfeed", "network": "eip155:1"});
    let nameless = json!({"success": true, "transaction": "", "network": NETWORK});
    let less = json!({"success": true, "transaction": "0xfeed", "network": NETWORK, "amount": "1"});
    let unclear = [
        Says::Silence,
        Says::Json(200, json!("what?")),
        Says::Json(500, json!({"success": false, "errorReason": "insufficient_funds"})),
        Says::Json(500, json!({"success": true, "transaction": "0xfeed", "network": NETWORK})),
        Says::Json(200, elsewhere),
        Says::Json(200, nameless),
        Says::Json(200, less),
        refused("settlement_pending"),
        refused("invalid_exact_evm_nonce_already_used"),
        refused("invalid_exact_evm_transaction_failed"),
        refused("whatever"),
    ];
    for (n, says) in (1..).zip(unclear) {
        let payment = payment(n);
        let id = hold_id(n.into());
        facilitator.settles(says.clone());
        assert!(is_reserved(&server.show(id, &payment).await), "{says:?}");
        assert_eq!(server.settle(id, &payment).await.0, 503, "{says:?}");
        // Now it says no: that may be about what it did while it was silent.
        facilitator.settles(refused("insufficient_funds"));
        let before = facilitator.asked("settle").len();
        assert_eq!(server.show(hold_id(u64::from(n) + 100), &payment).await.0, 503, "{says:?}");
        assert_eq!(facilitator.asked("settle").len(), before + 1, "it is asked again");
        facilitator.settles(settled());
        let paid = server.show(hold_id(u64::from(n) + 200), &payment).await;
        assert!(is_paid(&paid), "settled before the upstream is reached: {says:?} {paid:?}");
        assert_eq!(server.show(hold_id(u64::from(n) + 300), &payment).await.0, 503, "in flight");
        let id = hold_id(u64::from(n) + 200);
        assert_eq!(server.post(charge(id)).await, [PostingOutcome::Posted]);
        let spent = server.show(hold_id(u64::from(n) + 400), &payment).await;
        assert!(is_refused(&spent), "{spent:?}");
        assert_eq!(server.credited().await, (u64::from(n) * PRICE_MSAT, u64::from(n) * PRICE_MSAT));
    }
}

#[tokio::test]
async fn a_settlement_whose_caller_left_is_credit_and_serves_the_next_one() {
    let (server, facilitator) = shop().await;
    assert!(is_reserved(&server.show(hold_id(1), &payment(1)).await));
    let body = json!({"rail": "x402", "credential": base64(&payment(1)), "service": "jokes",
                      "route": "joke", "amount_msat": PRICE_MSAT, "ttl_ms": TTL_MS});
    let path = format!("/v1/holds/{}/settlement", hold_id(1));
    facilitator.settles(Says::Silence);
    let left = server.call(Method::PUT, &path).json(&body).timeout(Duration::from_millis(50));
    assert!(left.send().await.unwrap_err().is_timeout());
    facilitator.settles(settled());
    let again = async || Some(server.show(hold_id(2), &payment(1)).await).filter(|it| it.0 != 503);
    let shown = until("the settlement is known", again).await;
    assert!(is_paid(&shown), "{shown:?}");
    assert_eq!(server.credited().await, (PRICE_MSAT, 0));
}

#[tokio::test]
async fn of_sixty_four_requests_with_one_payment_one_reaches_the_upstream() {
    let (server, facilitator) = shop().await;
    let server = Arc::new(server);
    let mut requests = tokio::task::JoinSet::new();
    for n in 1..=64 {
        let server = Arc::clone(&server);
        requests.spawn(async move {
            let shown = server.show(hold_id(n), &payment(1)).await;
            assert!(shown.0 == 503 || is_reserved(&shown), "{shown:?}");
            if shown.0 == 503 {
                return false;
            }
            assert!(is_paid(&server.settle(hold_id(n), &payment(1)).await));
            true
        });
    }
    let served = requests.join_all().await;
    assert_eq!(served.into_iter().filter(|served| *served).count(), 1);
    assert_eq!(facilitator.asked("settle").len(), 1);
    assert_eq!(server.credited().await, (PRICE_MSAT, 0));
}

#[tokio::test]
async fn a_reservation_ends_and_survives_a_restart() {
    let (server, facilitator) = shop().await;
    assert!(is_reserved(&server.show(hold_id(1), &payment(1)).await));
    assert_eq!(server.show(hold_id(2), &payment(1)).await.0, 503);
    server.clock.advance_ms(TTL_MS);
    assert!(is_reserved(&server.show(hold_id(2), &payment(1)).await));
    assert_eq!(server.settle(hold_id(1), &payment(1)).await.0, 503, "it is another's now");
    assert!(is_paid(&server.settle(hold_id(2), &payment(1)).await));
    assert_eq!(facilitator.asked("settle").len(), 1);
}
