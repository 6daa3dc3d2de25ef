//! Coupons and supplies through the real Envoy.

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{Answer, Gateway};
use crate::snippets;

/// A coupon for another route, too.
const ELSEWHERE: &str = "
[[coupons]]
code = \"ELSEWHERE\"
percent_off = 20
routes = [\"health\"]
";

async fn buy(gateway: &Gateway, coupon: &str) -> Answer {
    let request = gateway.http.request(Method::GET, "/v1/items");
    gateway.http.send(request.header("x-toll-coupon", coupon)).await
}

#[tokio::test]
async fn a_coupon_lowers_what_an_invoice_asks_until_it_is_used_up() {
    let lines = snippets::tollwayd("coupons") + ELSEWHERE;
    let (gateway, _dir) = snippets::with_tollwayd("classes", &lines).await;
    let challenge = buy(&gateway, "LAUNCH").await;
    assert_eq!(challenge.status, 402);
    let body = challenge.json();
    assert_eq!((&body["amountSats"], &body["creditMsat"]), (&json!(800), &json!(1_000_000)));
    let credential = gateway.http.pay(&challenge).await;
    let answer = gateway.http.get("/v1/items", Some(&credential)).await;
    assert_eq!((answer.status.as_u16(), answer.number("x-toll-balance-msat")), (200, 999_000));
    // A top-up of the same account uses it again, and then nobody does.
    let request = gateway.http.request(Method::GET, "/v1/items");
    let request = request.header("authorization", &credential).header("x-toll-top-up", "1");
    let top_up = gateway.http.send(request.header("x-toll-coupon", "LAUNCH")).await;
    assert_eq!((top_up.status.as_u16(), &top_up.json()["amountSats"]), (402, &json!(800)));
    gateway.http.pay(&top_up).await;
    for (coupon, code) in [
        ("LAUNCH", "coupon_used_up"),
        ("NONE", "coupon_unknown"),
        ("ELSEWHERE", "coupon_not_for_this"),
    ] {
        let refused = buy(&gateway, coupon).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (409, code.to_owned()));
    }
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(
        (&stats["credited_msat"], &stats["charged_msat"]),
        (&json!(2_000_000), &json!(1_000))
    );
    assert_eq!(gateway.http.admin("stocks").await[0]["used"], 2);
    gateway.audit();
}

#[tokio::test]
async fn a_route_sells_as_many_calls_as_there_are_to_many_at_once() {
    let lines = snippets::tollwayd("supply");
    let (gateway, _dir) = snippets::with_tollwayd("classes", &lines).await;
    let credential = gateway.http.buy("/v1/items").await;
    let mut calls = JoinSet::new();
    for _ in 0..64 {
        let (http, credential) = (gateway.http.clone(), credential.clone());
        calls.spawn(async move {
            let request =
                http.request(Method::POST, "/v1/items").header("authorization", credential);
            http.send(request).await
        });
    }
    let answers = calls.join_all().await;
    let with = |status: u16| answers.iter().filter(|it| it.status.as_u16() == status).count();
    assert_eq!((with(200), with(409)), (5, 59));
    let refused = answers.iter().find(|it| it.status == 409).unwrap();
    assert_eq!(refused.code(), "sold_out");
    gateway.ledger_at_rest().await;
    let request = gateway.http.request(Method::POST, "/v1/items");
    let late = gateway.http.send(request.header("authorization", &credential)).await;
    assert_eq!((late.status.as_u16(), late.code()), (409, "sold_out".to_owned()));
    // Nobody is asked to pay for what is not there; other routes sell on.
    let request = gateway.http.request(Method::POST, "/v1/items");
    let unpaid = gateway.http.send(request).await;
    assert_eq!((unpaid.status.as_u16(), unpaid.code()), (409, "sold_out".to_owned()));
    assert_eq!(gateway.http.get("/v1/items", Some(&credential)).await.status, 200);
    assert_eq!(gateway.stack.upstream().hits().of("/v1/items"), 6);
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 5 * 5_000 + 1_000);
    gateway.audit();
}

#[tokio::test]
async fn an_invoice_says_what_was_asked_for() {
    let gateway = snippets::gateway("memo").await;
    let challenge = gateway.http.get("/v1/search?q=cheap%20flights%0d%0a", None).await;
    assert_eq!(challenge.status, 402);
    let body = challenge.json();
    let expected = "GET /v1/search: cheap flights";
    assert_eq!(body["description"], expected);
}
