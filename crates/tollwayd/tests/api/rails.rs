//! The scheme `Payment` through the doors: what challenges say for it, and when its credentials
//! are good.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tollway_core::id::HoldId;

use crate::support::*;

/// A challenge call of a route that is paid by the scheme too.
fn asked(amount: u64, price: u64) -> Value {
    let mut body = challenge(amount, "jokes");
    body["other"] = json!({"payment": true, "price_msat": price});
    body
}

/// The parameters of the line for the scheme, in their order.
fn echo(reply: &Value) -> Map<String, Value> {
    let header = &reply["headers"][0];
    assert_eq!(header[0], "www-authenticate", "{reply}");
    let params = header[1].as_str().unwrap().strip_prefix("Payment ").unwrap().split(", ");
    let params = params.map(|param| param.split_once('=').unwrap());
    params.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"')))).collect()
}

fn request(echo: &Map<String, Value>) -> Value {
    let json = URL_SAFE_NO_PAD.decode(echo["request"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// Pays the charge of a challenge and returns the credential.
async fn pay(server: &Server, echo: &Map<String, Value>) -> String {
    let invoice = request(echo)["methodDetails"]["invoice"].clone();
    let paid: Value = expect(server.pay(invoice.as_str().unwrap()).await, StatusCode::OK).await;
    let credential =
        json!({"challenge": echo, "payload": {"preimage": paid["preimage"]}}).to_string();
    URL_SAFE_NO_PAD.encode(credential)
}

async fn ask(server: &Server, body: Value) -> Value {
    expect(server.challenge(body).await, StatusCode::OK).await
}

async fn show(server: &Server, id: HoldId, credential: &str, amount: u64) -> Value {
    let body = json!({"rail": "payment", "credential": credential, "service": "demo",
                      "route": "joke", "amount_msat": amount, "ttl_ms": 30_000});
    let call = server.call(Method::PUT, &format!("/v1/holds/{id}/rail")).json(&body);
    expect(call.send().await.unwrap(), StatusCode::OK).await
}

#[tokio::test]
async fn a_challenge_has_a_line_for_the_scheme_and_one_invoice_if_one_will_do() {
    let server = Server::start().await;
    let plain = ask(&server, challenge(5_000, "jokes")).await;
    assert_eq!((&plain["headers"], &plain["preferred"]), (&Value::Null, &Value::Null));
    let reply = ask(&server, asked(5_000, 4_001)).await;
    let charge = request(&echo(&reply));
    assert_eq!(charge["amount"], "5");
    assert_eq!(charge["methodDetails"]["invoice"], reply["invoice"]);
    assert_eq!(server.stats().await["challenges"], 2);
    for (field, value) in [("credit_msat", 6_000), ("seed_msat", 1)] {
        let mut body = asked(5_000, 5_000);
        body[field] = json!(value);
        let reply = ask(&server, body).await;
        assert_ne!(request(&echo(&reply))["methodDetails"]["invoice"], reply["invoice"], "{field}");
    }
    let mut body = asked(20_000, 5_000);
    body["other"]["accept"] = json!("lightning/charge;q=0.5, tempo/*");
    body["other"]["authorization_taken"] = json!(true);
    let reply = ask(&server, body).await;
    assert_eq!(reply["preferred"], true);
    assert_eq!(echo(&reply)["header"], "Payment-Authorization");
    assert_eq!(request(&echo(&reply))["amount"], "5");
    let refused = problem(server.challenge(asked(5_000, 0)).await).await;
    assert_eq!(refused.detail, "other.price_msat: expected at least 1, but found 0");
}

#[tokio::test]
async fn a_credential_is_good_until_its_challenge_or_its_key_ends() {
    let server = Server::start().await;
    let first = echo(&ask(&server, asked(5_000, 5_000)).await);
    let second = echo(&ask(&server, asked(5_000, 5_000)).await);
    let third = echo(&ask(&server, asked(5_000, 5_000)).await);
    let (first, second) = (pay(&server, &first).await, pay(&server, &second).await);
    let third = pay(&server, &third).await;
    server.clock.advance_ms(599_000);
    let rotate = server.admin(Method::POST, "/admin/v1/keys/rotate").send().await.unwrap();
    assert_eq!(rotate.status(), StatusCode::OK);
    // With a newer key, and for a request that is cheaper by now.
    let reply = show(&server, new_id(), &first, 4_000).await;
    assert_eq!((&reply["outcome"], &reply["granted_msat"]), (&json!("granted"), &json!(5_000)));
    assert_eq!(reply["headers"][0][0], "payment-receipt");
    assert_eq!(reply["problem"], Value::Null);
    let dearer = show(&server, new_id(), &second, 5_001).await;
    assert_eq!(dearer["problem"], "payment-insufficient");
    server.clock.advance_ms(1_000);
    let reply = show(&server, new_id(), &second, 5_000).await;
    assert_eq!(
        (&reply["outcome"], &reply["problem"]),
        (&json!("refused"), &json!("payment-expired"))
    );
    assert_eq!(reply["headers"], Value::Null);
    let act = json!({"id": uuid(1), "actor": "ann", "reason": "leaked"});
    let retire = server.admin(Method::POST, "/admin/v1/keys/1/retire").json(&act);
    assert_eq!(retire.send().await.unwrap().status(), StatusCode::OK);
    let reply = show(&server, new_id(), &third, 5_000).await;
    assert_eq!(reply["problem"], "invalid-challenge");
}

fn uuid(number: u8) -> String {
    format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}")
}

#[tokio::test]
async fn a_payment_is_spent_once_and_a_revoked_one_never() {
    let server = Server::start().await;
    let challenge = echo(&ask(&server, asked(5_000, 5_000)).await);
    let hash = request(&challenge)["methodDetails"]["paymentHash"].clone();
    let credential = pay(&server, &challenge).await;
    let id = new_id();
    for _ in 0..2 {
        assert_eq!(show(&server, id, &credential, 5_000).await["outcome"], "granted", "a repeat");
    }
    let spent = show(&server, new_id(), &credential, 5_000).await;
    assert_eq!(spent["problem"], "invalid-challenge");
    assert!(spent["detail"].as_str().unwrap().contains("spent before"), "{spent}");
    server.post(vec![posting(id, 0, 5_000, true)]).await;
    let spent = show(&server, new_id(), &credential, 5_000).await;
    assert_eq!(spent["problem"], "invalid-challenge");
    let account = server.account(serde_json::from_value(hash).unwrap()).await;
    assert_eq!(account["balance_msat"], 0);

    let challenge = echo(&ask(&server, asked(6_000, 6_000)).await);
    let hash = request(&challenge)["methodDetails"]["paymentHash"].clone();
    let credential = pay(&server, &challenge).await;
    let path = format!("/admin/v1/accounts/{}/revoke", hash.as_str().unwrap());
    let act = json!({"id": uuid(2), "actor": "ann", "reason": "stolen"});
    let revoked = server.admin(Method::POST, &path).json(&act).send().await.unwrap();
    assert_eq!(revoked.status(), StatusCode::OK);
    let refused = show(&server, new_id(), &credential, 6_000).await;
    assert_eq!(refused["problem"], "verification-failed");
    for (field, value) in [("service", json!("")), ("amount_msat", json!(0)), ("rail", json!("x"))]
    {
        let mut body = json!({"rail": "payment", "credential": "x", "service": "demo",
                              "route": "joke", "amount_msat": 1, "ttl_ms": 1});
        body[field] = value;
        let call = server.call(Method::PUT, &format!("/v1/holds/{}/rail", new_id())).json(&body);
        let refused = problem(call.send().await.unwrap()).await;
        assert!(refused.detail.starts_with(field), "{refused:?}");
    }
}
