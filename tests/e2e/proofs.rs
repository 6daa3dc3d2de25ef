//! Wallets that show no preimage: the payment is looked up at the node.

use serde_json::{Value, json};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Answer, Gateway, config, eventually};

async fn shop(proof: &str) -> Gateway {
    let mut filter = config();
    filter["services"][0]["proof"] = json!(proof);
    Gateway::with(StackOptions { filter: Some(filter), ..StackOptions::default() }).await
}

/// Pays without telling the gateway of it.
async fn pay_silently(gateway: &Gateway, challenge: &Answer) {
    let invoice = &challenge.json()["invoice"];
    let call = gateway.http.wallet().json(&json!({"invoice": invoice, "event": false}));
    assert_eq!(gateway.http.send(call).await.status, 200);
}

fn text(challenge: &Answer, field: &str) -> String {
    challenge.json()[field].as_str().unwrap().to_owned()
}

/// Asks until the node's word of a second ago is no longer believed.
async fn served(gateway: &Gateway, path: &str, credential: &str) -> Answer {
    eventually("served", || async {
        let answer = gateway.http.get(path, Some(credential)).await;
        if answer.status == 200 {
            return Some(answer);
        }
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (402, "payment_pending"));
        None
    })
    .await
}

#[tokio::test]
async fn a_token_alone_is_served_once_its_payment_is_found_at_the_node() {
    let gateway = shop("lookup").await;
    let challenge = gateway.http.get("/api/joke", None).await;
    let (macaroon, hash) = (text(&challenge, "macaroon"), text(&challenge, "paymentHash"));
    let bare = format!("L402 {macaroon}:");
    let early = gateway.http.get("/api/joke", Some(&bare)).await;
    assert_eq!((early.status.as_u16(), early.code().as_str()), (402, "payment_pending"));
    assert_eq!(text(&early, "invoice"), text(&challenge, "invoice"), "no second invoice");

    pay_silently(&gateway, &challenge).await;
    let answer = served(&gateway, "/api/joke", &bare).await;
    assert_eq!(answer.number("x-toll-balance-msat"), 15_000);
    let named = format!(r#"L402 macaroon="{macaroon}", payment_hash="{hash}""#);
    let answer = gateway.http.get("/api/joke", Some(&named)).await;
    assert_eq!((answer.status.as_u16(), answer.number("x-toll-balance-msat")), (200, 10_000));
    let again = text(&early, "macaroon");
    let answer = gateway.http.get("/api/joke", Some(&format!("L402 {again}"))).await;
    assert_eq!(answer.number("x-toll-balance-msat"), 5_000, "a second token of one payment");

    // The hash is in every token and invoice; alone it is nothing here, and at other services
    // the token alone is nothing either.
    let alone = format!(r#"L402 payment_hash="{hash}""#);
    assert_eq!(gateway.http.get("/api/joke", Some(&alone)).await.code(), "preimage_missing");
    assert_eq!(gateway.http.get("/api/fortune", Some(&bare)).await.code(), "preimage_missing");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 20_000, "one payment, credited once: {stats}");
    assert_eq!(stats["charged_msat"], 15_000);
    gateway.audit();
}

#[tokio::test]
async fn a_hash_alone_opens_the_route_that_sold_it_where_the_operator_insists() {
    let gateway = shop("payment_hash_alone").await;
    let challenge = gateway.http.get("/api/joke", None).await;
    let alone = format!(r#"L402 payment_hash="{}""#, text(&challenge, "paymentHash"));
    let early = gateway.http.get("/api/joke", Some(&alone)).await;
    assert_eq!((early.status.as_u16(), early.code().as_str()), (402, "payment_pending"));
    pay_silently(&gateway, &challenge).await;
    let answer = served(&gateway, "/api/joke", &alone).await;
    assert_eq!(answer.number("x-toll-balance-msat"), 15_000);
    for (path, code) in [("/echo", "payment_not_proven"), ("/api/fortune", "preimage_missing")] {
        let refused = gateway.http.get(path, Some(&alone)).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, code), "{path}");
    }
    let stranger = format!(r#"L402 payment_hash="{}""#, "07".repeat(32));
    let refused = gateway.http.get("/api/joke", Some(&stranger)).await;
    assert_eq!((refused.status.as_u16(), refused.code().as_str()), (402, "payment_unknown"));
    let stats: Value = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(20_000), &json!(5_000)));
    gateway.audit();
}
