//! x402 over Lightning through the doors: the preimage of an invoice for the price.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::id::HoldId;
use tollwayd::clock::ManualClock;

use crate::support::*;

const REGTEST: &str = "bip122:0f9188f13cb7b2c71f2a335e3a4fc328";

async fn server(lines: &str) -> Server {
    let directory = tempfile::tempdir().unwrap();
    let config = config_with(directory.path(), lines);
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

async fn selling() -> Server {
    server("[x402_over_lightning]\npublic_url = \"https://api.example.com/\"\n").await
}

async fn ask(server: &Server, amount: u64, also_payment: bool) -> Value {
    let mut body = challenge(amount, "jokes");
    body["other"] = json!({"x402": true, "payment": also_payment, "price_msat": 5_000});
    expect(server.challenge(body).await, StatusCode::OK).await
}

/// The offer in the header of a challenge.
fn offer(reply: &Value) -> Option<Value> {
    let headers = reply["headers"].as_array()?;
    let value = &headers.iter().find(|header| header[0] == "payment-required")?[1];
    Some(serde_json::from_slice(&STANDARD.decode(value.as_str().unwrap()).unwrap()).unwrap())
}

/// What a client of this offer shows.
async fn paid(server: &Server, accepted: &Value) -> Value {
    let invoice = accepted["extra"]["invoice"].as_str().unwrap();
    let paid: Value = expect(server.pay(invoice).await, StatusCode::OK).await;
    json!({"x402Version": 2, "accepted": accepted, "payload": {"preimage": paid["preimage"]}})
}

async fn show(server: &Server, id: HoldId, route: &str, payment: &Value, price: u64) -> Value {
    let credential = STANDARD.encode(payment.to_string());
    let body = json!({"rail": "x402", "credential": credential, "service": "demo",
                      "route": route, "amount_msat": price, "ttl_ms": 30_000});
    let call = server.call(Method::PUT, &format!("/v1/holds/{id}/rail")).json(&body);
    expect(call.send().await.unwrap(), StatusCode::OK).await
}

#[tokio::test]
async fn a_request_is_paid_by_the_preimage_of_an_invoice_for_its_price() {
    let server = selling().await;
    let reply = ask(&server, 20_000, false).await;
    let offer = offer(&reply).unwrap();
    assert_eq!((&offer["x402Version"], offer["accepts"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(reply["members"], Value::Null, "clients of the first version know no such chain");
    let accepted = &offer["accepts"][0];
    assert_eq!((&accepted["network"], &accepted["amount"]), (&json!(REGTEST), &json!("5000")));
    assert_eq!((&accepted["scheme"], &accepted["asset"]), (&json!("exact"), &json!("BTC")));
    assert_eq!(accepted["maxTimeoutSeconds"], 600, "as long as the invoice");
    assert_ne!(accepted["extra"]["invoice"], reply["invoice"], "a token buys more");

    let payment = paid(&server, accepted).await;
    let other = show(&server, new_id(), "dear", &payment, 5_000).await;
    assert_eq!(other["problem"], "verification-failed", "of another route");
    let dear = show(&server, new_id(), "joke", &payment, 5_001).await;
    assert_eq!(dear["problem"], "verification-failed", "for more than it paid");
    let (id, later) = (new_id(), new_id());
    for _ in 0..2 {
        let reply = show(&server, id, "joke", &payment, 5_000).await;
        assert_eq!((&reply["outcome"], &reply["granted_msat"]), (&json!("granted"), &json!(5_000)));
        assert_eq!(reply["settle_within_ms"], Value::Null, "it has arrived");
        assert_eq!(reply["headers"][0][0], "payment-response");
        let receipt = STANDARD.decode(reply["headers"][0][1].as_str().unwrap()).unwrap();
        let receipt: Value = serde_json::from_slice(&receipt).unwrap();
        assert_eq!((&receipt["success"], &receipt["network"]), (&json!(true), &json!(REGTEST)));
        assert_eq!(receipt["transaction"], reply["account"]);
    }
    server.post(vec![posting(id, 0, 5_000, true)]).await;
    let spent = show(&server, later, "joke", &payment, 5_000).await;
    assert_eq!(
        (&spent["outcome"], &spent["problem"]),
        (&json!("refused"), &json!("verification-failed"))
    );
    assert_eq!(server.stats().await["charged_msat"], 5_000);
}

#[tokio::test]
async fn the_scheme_payment_asks_for_the_same_invoice_and_one_of_the_two_spends_it() {
    let server = selling().await;
    let reply = ask(&server, 20_000, true).await;
    let line = reply["headers"][0][1].as_str().unwrap();
    let request = line.split("request=\"").nth(1).unwrap().split('"').next().unwrap();
    let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let request: Value = serde_json::from_slice(&url_safe.decode(request).unwrap()).unwrap();
    let accepted = offer(&reply).unwrap()["accepts"][0].clone();
    assert_eq!(request["methodDetails"]["invoice"], accepted["extra"]["invoice"]);
    let payment = paid(&server, &accepted).await;
    assert_eq!(show(&server, new_id(), "joke", &payment, 5_000).await["outcome"], "granted");
    let params = line.strip_prefix("Payment ").unwrap().split(", ");
    let params = params.map(|param| param.split_once('=').unwrap());
    let echo: serde_json::Map<_, _> =
        params.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"')))).collect();
    let credential = json!({"challenge": echo, "payload": payment["payload"]});
    let body = json!({"rail": "payment", "credential": url_safe.encode(credential.to_string()),
                      "service": "demo", "route": "joke", "amount_msat": 5_000, "ttl_ms": 30_000});
    let call = server.call(Method::PUT, &format!("/v1/holds/{}/rail", new_id())).json(&body);
    let charge: Value = expect(call.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(charge["problem"], "invalid-challenge");
}

#[tokio::test]
async fn it_is_off_unless_it_is_configured() {
    let server = server("").await;
    assert_eq!(offer(&ask(&server, 20_000, true).await), None);
    let on = selling().await;
    let payment = paid(&on, &offer(&ask(&on, 5_000, false).await).unwrap()["accepts"][0]).await;
    assert_eq!(show(&server, new_id(), "joke", &payment, 5_000).await["outcome"], "refused");
}
