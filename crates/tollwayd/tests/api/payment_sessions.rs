//! Sessions of the scheme `Payment` through the doors: deposits, what is spent of them, and what
//! goes back.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value, json};
use tollway_core::id::HoldId;
use tollway_testkit::returning::return_invoice;
use tollwayd::clock::ManualClock;
use tollwayd::config::RawConfig;

use crate::support::*;

/// What turns sessions on, and coupons that change what is sold.
const CONFIG: &str = "[payouts]\npayment_sessions = true\n\
    [[coupons]]\ncode = \"MORE\"\nbonus_percent = 50\n\
    [[coupons]]\ncode = \"LESS\"\npercent_off = 20\n";

/// A server that sells sessions.
async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let config = config_with(directory.path(), CONFIG);
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

fn asked(amount: u64, more: Value) -> Value {
    let mut body = challenge(amount, "jokes");
    body["other"] = json!({"payment": true, "price_msat": 5_000});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn ask(server: &Server, body: Value) -> Value {
    expect(server.challenge(body).await, StatusCode::OK).await
}

/// The parameters of all lines for the scheme.
fn echoes(reply: &Value) -> Vec<Map<String, Value>> {
    let lines = reply["headers"].as_array().into_iter().flatten();
    let params = |header: &Value| {
        let params = header[1].as_str().unwrap().strip_prefix("Payment ").unwrap().split(", ");
        let params = params.map(|param| param.split_once('=').unwrap());
        params.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"')))).collect()
    };
    lines.map(params).collect()
}

/// The challenge that sells a session.
async fn offered(server: &Server) -> Map<String, Value> {
    let reply = ask(server, asked(20_000, json!({}))).await;
    let echoes = echoes(&reply);
    assert_eq!(echoes[0]["intent"], "charge");
    assert_eq!(request(&echoes[1])["depositInvoice"], reply["invoice"], "the token's own");
    echoes[1].clone()
}

fn request(echo: &Map<String, Value>) -> Value {
    let json = URL_SAFE_NO_PAD.decode(echo["request"].as_str().unwrap()).unwrap();
    serde_json::from_slice(&json).unwrap()
}

/// A deposit that is paid.
struct Deposit {
    echo: Map<String, Value>,
    id: Value,
    preimage: Value,
}

async fn deposit(server: &Server) -> Deposit {
    let echo = offered(server).await;
    let asked = request(&echo);
    let invoice = asked["depositInvoice"].as_str().unwrap();
    let paid: Value = expect(server.pay(invoice).await, StatusCode::OK).await;
    Deposit { echo, id: asked["paymentHash"].clone(), preimage: paid["preimage"].clone() }
}

impl Deposit {
    async fn send(&self, server: &Server, payload: Value) -> Value {
        self.send_as(server, new_id(), payload).await
    }

    async fn send_as(&self, server: &Server, id: HoldId, payload: Value) -> Value {
        let credential = json!({"challenge": self.echo, "payload": payload}).to_string();
        let body = json!({"rail": "payment", "credential": URL_SAFE_NO_PAD.encode(credential),
                          "service": "demo", "route": "joke", "amount_msat": 5_000,
                          "ttl_ms": 30_000});
        let call = server.call(Method::PUT, &format!("/v1/holds/{id}/rail")).json(&body);
        expect(call.send().await.unwrap(), StatusCode::OK).await
    }

    fn open(&self, number: u8) -> Value {
        json!({"action": "open", "preimage": self.preimage,
               "returnInvoice": return_invoice(number, None)})
    }

    fn bearer(&self) -> Value {
        json!({"action": "bearer", "sessionId": self.id, "preimage": self.preimage})
    }

    fn close(&self) -> Value {
        json!({"action": "close", "sessionId": self.id, "preimage": self.preimage})
    }
}

fn receipt(reply: &Value) -> Value {
    assert_eq!(reply["headers"][0][0], "payment-receipt", "{reply}");
    let text = reply["headers"][0][1].as_str().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// What the filter answers itself.
fn body(reply: &Value) -> Value {
    assert_eq!(reply["replay"]["status"], 200, "{reply}");
    let body = reply["replay"]["body_base64"].as_str().unwrap();
    let body = base64::engine::general_purpose::STANDARD.decode(body).unwrap();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn a_session_is_offered_where_a_token_is_sold_without_gifts() {
    let plain = Server::start().await;
    assert_eq!(echoes(&ask(&plain, asked(20_000, json!({}))).await).len(), 1, "not configured");
    let server = server().await;
    let asked_for = request(&offered(&server).await);
    assert_eq!((&asked_for["amount"], &asked_for["depositAmount"]), (&json!("5"), &json!("20")));
    assert_eq!(
        (&asked_for["currency"], &asked_for["unitType"]),
        (&json!("sat"), &json!("request"))
    );
    for more in [
        json!({"credit_msat": 21_000}),
        json!({"seed_msat": 1}),
        json!({"credit_ttl_s": 60}),
        json!({"proof": "lookup"}),
    ] {
        let reply = ask(&server, asked(20_000, more.clone())).await;
        assert_eq!(echoes(&reply).len(), 1, "{more}");
    }
    assert_eq!(echoes(&ask(&server, asked(5_000, json!({}))).await).len(), 1, "for one request");
    // Nothing else is sold for a coupon's price, or for its credit.
    for coupon in ["MORE", "LESS"] {
        let reply = ask(&server, asked(20_000, json!({"coupon": coupon}))).await;
        assert_ne!(reply["amount_msat"], reply["credit_msat"], "{coupon}");
        assert_eq!(echoes(&reply).len(), 0, "{coupon}");
    }
    let top_up = deposit(&server).await.id;
    let reply = ask(&server, asked(20_000, json!({"top_up": top_up}))).await;
    assert_eq!(echoes(&reply).len(), 1, "an account that others pay into");
    let mut wish = asked(20_000, json!({}));
    wish["other"]["accept"] = json!("lightning/session");
    let reply = ask(&server, wish).await;
    assert_eq!(
        (&echoes(&reply)[0]["intent"], &reply["preferred"]),
        (&json!("session"), &json!(true))
    );
}

#[tokio::test]
async fn a_session_opens_pays_is_topped_up_and_returns_what_is_left() {
    let server = server().await;
    let (first, second) = (deposit(&server).await, deposit(&server).await);
    let id = new_id();
    for _ in 0..2 {
        let opened = first.send_as(&server, id, first.open(1)).await;
        assert_eq!(
            (&opened["outcome"], &opened["balance_msat"]),
            (&json!("granted"), &json!(15_000))
        );
        assert_eq!(receipt(&opened)["reference"], first.id);
        assert_eq!(opened["replay"], Value::Null, "the upstream answers");
    }
    let busy = first.send(&server, first.close()).await;
    assert_eq!(busy["problem"], "lightning/session-busy");
    server.post(vec![posting(id, 0, 5_000, true)]).await;
    // A challenge that asked for no payment of this client's is good for ever.
    server.clock.advance_ms(3_600_000);
    let (bearer, id) = (Deposit { echo: offered(&server).await, ..first }, new_id());
    let spent = bearer.send_as(&server, id, bearer.bearer()).await;
    assert_eq!((&spent["granted_msat"], &spent["balance_msat"]), (&json!(5_000), &json!(10_000)));
    server.post(vec![posting(id, 0, 5_000, true)]).await;
    let first = bearer;

    let more = json!({"action": "topUp", "sessionId": first.id, "topUpPreimage": second.preimage});
    let late = second.send(&server, more).await;
    assert_eq!(late["problem"], "payment-expired");
    let third = deposit(&server).await;
    let more = json!({"action": "topUp", "sessionId": first.id, "topUpPreimage": third.preimage});
    for _ in 0..2 {
        let added = third.send(&server, more.clone()).await;
        assert_eq!(
            (body(&added), &added["balance_msat"]),
            (json!({"status": "ok"}), &json!(30_000))
        );
        assert_eq!(receipt(&added)["reference"], first.id);
    }
    // The rest may still be under way when the first answer leaves.
    let mut closed = first.send(&server, first.close()).await;
    for _ in 0..60 {
        if body(&closed)["refundStatus"] != "succeeded" {
            closed = first.send(&server, first.close()).await;
        }
    }
    let expected = json!({"status": "closed", "refundSats": 30, "refundStatus": "succeeded"});
    assert_eq!(body(&closed), expected);
    let receipt = receipt(&closed);
    assert_eq!((&receipt["refundSats"], &receipt["status"]), (&json!(30), &json!("success")));
    let over = first.send(&server, first.bearer()).await;
    assert_eq!(over["problem"], "lightning/session-closed");
    let server = server.restart().await;
    assert_eq!(server.stats().await["balance_msat"], 20_000, "the late payment is a token's");
}

#[tokio::test]
async fn what_is_no_session_s_is_refused_with_its_problem() {
    let server = server().await;
    let first = deposit(&server).await;
    let hash = |text: &str| json!(text.repeat(32));
    for (payload, problem) in [
        (first.bearer(), "lightning/session-not-found"),
        (first.close(), "lightning/session-not-found"),
        (
            json!({"action": "open", "preimage": hash("42"), "returnInvoice": "x"}),
            "verification-failed",
        ),
        (json!({"action": "open", "preimage": first.preimage}), "malformed-credential"),
        (
            json!({"action": "open", "preimage": first.preimage, "returnInvoice": "lnbc1"}),
            "lightning/invalid-return-invoice",
        ),
        (
            json!({"action": "open", "preimage": first.preimage,
                "returnInvoice": return_invoice(1, Some(1_000))}),
            "lightning/invalid-return-invoice",
        ),
        (
            json!({"action": "bearer", "sessionId": first.id, "preimage": hash("42")}),
            "verification-failed",
        ),
        (json!({"action": "dance", "preimage": first.preimage}), "malformed-credential"),
        (json!({"preimage": first.preimage}), "malformed-credential"),
    ] {
        assert_eq!(first.send(&server, payload.clone()).await["problem"], problem, "{payload}");
    }
    assert_eq!(first.send(&server, first.open(1)).await["outcome"], "granted");
    let other = first.send(&server, first.open(2)).await;
    assert_eq!(other["problem"], "invalid-challenge", "with another invoice");
    for _ in 0..3 {
        assert_eq!(first.send(&server, first.bearer()).await["outcome"], "granted");
    }
    let empty = first.send(&server, first.bearer()).await;
    assert_eq!(empty["problem"], "lightning/insufficient-balance");
}

#[test]
fn sessions_need_a_wallet_that_returns_and_no_splits() {
    let shipped = include_str!("../../../../envoy/tollwayd.toml");
    let env = |name: &str| name.starts_with("TOLLWAY_").then(|| format!("canary-{name}"));
    for (lines, problem) in [
        (
            "[[splits]]\nname = \"ann\"\nbasis_points = 200\nto = \"ann@example.com\"\n",
            "payouts.payment_sessions: splits share a deposit that goes back to its payer in part; have \
          either of the two",
        ),
        (
            "[payouts.wallet]\nbackend = \"lnbits\"\nnetwork = \"regtest\"\nurl = \"http://127.0.0.1:1\"\n\
          api_key = \"env:TOLLWAY_KEY\"\n",
            "payouts.payment_sessions: LNbits pays no invoice without an amount; name an lnd or \
          phoenixd in payouts.wallet",
        ),
    ] {
        let text = format!("{shipped}\n[payouts]\npayment_sessions = true\n{lines}");
        let error = RawConfig::parse(&text).unwrap().resolve(&env).unwrap_err();
        assert_eq!(error.to_string(), problem);
    }
}
