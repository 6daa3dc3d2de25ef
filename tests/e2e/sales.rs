//! The ways to pay: a chosen amount, one request, a session; and a request that comes again.

use reqwest::Method;
use serde_json::{Value, json};
use tollway_core::macaroon::Macaroon;
use tollway_core::payment::Preimage;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Answer, Gateway, config, eventually};
use crate::snippets;

async fn with(change: impl FnOnce(&mut Value)) -> Gateway {
    let mut filter = config();
    change(&mut filter);
    Gateway::with(StackOptions { filter: Some(filter), ..StackOptions::default() }).await
}

/// A route of [`config`] by its name.
fn route<'a>(filter: &'a mut Value, name: &str) -> &'a mut Value {
    let routes = filter["routes"].as_array_mut().unwrap();
    routes.iter_mut().find(|route| route["name"] == name).unwrap()
}

async fn choose(gateway: &Gateway, path: &str, sats: &str, credential: Option<&str>) -> Answer {
    let mut request = gateway.http.request(Method::GET, path);
    request = request.header("x-toll-purchase-sats", sats);
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    gateway.http.send(request).await
}

#[tokio::test]
async fn a_client_chooses_how_much_to_buy_and_gets_the_bonus_and_the_seed() {
    let gateway = snippets::gateway("purchase").await;
    let refused = choose(&gateway, "/v1/joke", "1001", None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (400, "purchase_not_sold".into()));

    let challenge = choose(&gateway, "/v1/joke", "100", None).await;
    assert_eq!(challenge.status, 402);
    assert_eq!(challenge.json()["amountSats"], 100);
    assert_eq!(challenge.json()["creditMsat"], 110_000);
    let credential = gateway.http.pay(&challenge).await;
    let answer = gateway.http.get("/v1/joke", Some(&credential)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.number("x-toll-balance-msat"), 110_000 + 2_000 - 5_000);
    assert_eq!(answer.header("x-toll-low-balance"), "");
    for left in (47_000..=102_000).rev().step_by(5_000) {
        let answer = gateway.http.get("/v1/joke", Some(&credential)).await;
        assert_eq!(answer.number("x-toll-balance-msat"), left);
        assert_eq!(answer.header("x-toll-low-balance").is_empty(), left >= 50_000, "{left}");
    }
    gateway.ledger_at_rest().await;
    gateway.audit();

    // Tokens and credit end; credit that ends soon is gone soon.
    let token = credential.strip_prefix("L402 ").unwrap().split(':').next().unwrap();
    let token = Macaroon::from_base64(token.as_bytes()).unwrap();
    assert!(token.caveats().any(|text| text.starts_with(b"demo_valid_until=")));
    let soon = |filter: &mut Value| filter["services"][0]["credit_ttl_s"] = json!(1);
    let gateway = snippets::with("purchase", soon).await;
    let credential = gateway.http.buy("/v1/joke").await;
    eventually("the credit has ended", async || {
        let answer = gateway.http.get("/v1/joke", Some(&credential)).await;
        // The seed does not end with what was bought.
        (answer.status == 402 && answer.json()["balanceMsat"] == 2_000).then_some(())
    })
    .await;
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test]
async fn a_token_for_one_request_serves_one() {
    let gateway = with(|filter| route(filter, "joke")["mode"] = json!("single_use")).await;
    let challenge = gateway.http.get("/api/joke", None).await;
    assert_eq!(challenge.json()["amountSats"], 5);
    let credential = gateway.http.pay(&challenge).await;
    assert_eq!(gateway.http.get("/api/joke", Some(&credential)).await.status, 200);
    let again = gateway.http.get("/api/joke", Some(&credential)).await;
    assert_eq!((again.status.as_u16(), again.code()), (402, "credential_used".into()));
    let next = gateway.http.pay(&again).await;
    assert_eq!(gateway.http.get("/api/joke", Some(&next)).await.status, 200);
    assert_eq!(gateway.http.get("/api/joke", Some(&credential)).await.status, 402);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 2);
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test]
async fn a_session_is_unlimited_until_it_ends_and_needs_no_tollwayd() {
    let mut gateway =
        with(|filter| route(filter, "joke")["mode"] = json!({"session": {"duration_s": 10}})).await;
    let credit = gateway.http.buy("/echo").await;
    let session = gateway.http.buy("/api/joke").await;
    for (path, credential) in [("/api/joke", &credit), ("/echo", &session)] {
        let answer = gateway.http.get(path, Some(credential)).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (402, "wrong_tier".into()), "{path}");
    }
    gateway.stack.kill_tollwayd();
    for _ in 0..5 {
        let answer = gateway.http.get("/api/joke", Some(&session)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-toll-tier"), "session");
        assert_eq!(answer.number("x-toll-cost-msat"), 0);
    }
    crate::harness::eventually("the session has ended", async || {
        // Its time is over; the answer to that would be a challenge, for which tollwayd is gone.
        (gateway.http.get("/api/joke", Some(&session)).await.status == 503).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_is_earned_at_once_and_ends_when_it_is_revoked() {
    let gateway =
        with(|filter| route(filter, "joke")["mode"] = json!({"session": {"duration_s": 600}}))
            .await;
    let revoked = gateway.http.buy("/api/joke").await;
    let other = gateway.http.buy("/api/joke").await;
    let stats = gateway.http.stats().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(10_000), &json!(10_000)));
    assert_eq!(stats["balance_msat"], 0);
    gateway.audit();
    let get = async |session: &str| gateway.http.get("/api/joke", Some(session)).await;
    assert_eq!(get(&revoked).await.status, 200);
    let preimage = Preimage::from_hex(revoked.rsplit(':').next().unwrap().as_bytes()).unwrap();
    let account = preimage.payment_hash().to_hex();
    assert_eq!(gateway.http.act(1, &account, "revoke").await.status, 200);
    let ended = crate::harness::eventually("the revoked session has ended", async || {
        let answer = get(&revoked).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((ended.status.as_u16(), ended.code()), (402, "account_revoked".into()));
    assert_eq!(get(&other).await.status, 200);
    let next = gateway.http.pay(&ended).await;
    assert_eq!(get(&next).await.status, 200, "a new payment opens a new account");
    assert_eq!(gateway.http.act(2, &account, "unrevoke").await.status, 200);
    crate::harness::eventually("the session goes on", async || {
        (get(&revoked).await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_request_that_comes_again_is_charged_once_and_its_answer_given_again() {
    let gateway = with(|filter| {
        route(filter, "echo")["idempotency"] = json!("replay");
        route(filter, "status")["idempotency"] = json!("charge_once");
    })
    .await;
    let credential = gateway.http.buy("/echo").await;
    let send = async |path: &str, key: &str, body: &str| {
        let request = gateway.http.request(Method::POST, path).body(body.to_owned());
        let request = request.header("authorization", &credential).header("idempotency-key", key);
        let answer = gateway.http.send(request).await;
        gateway.ledger_at_rest().await;
        answer
    };
    let first = send("/echo?a=1", "order-1", "one").await;
    assert_eq!((first.status.as_u16(), first.number("x-toll-cost-msat")), (200, 1_000));
    let second = send("/echo?a=1", "order-1", "one").await;
    assert_eq!((second.status.as_u16(), second.number("x-toll-cost-msat")), (200, 0));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.header("content-type"), first.header("content-type"));
    assert_eq!(second.body, first.body);
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), 1);
    let other = send("/echo?a=2", "order-1", "one").await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "idempotency_mismatch".into()));

    // What failed may be tried again under its key, and what was charged is not charged again.
    assert_eq!(send("/status/503", "order-2", "").await.number("x-toll-cost-msat"), 0);
    assert_eq!(send("/status/503", "order-2", "").await.status, 503);
    assert_eq!(send("/status/201", "order-3", "").await.number("x-toll-cost-msat"), 1_000);
    assert_eq!(send("/status/201", "order-3", "").await.number("x-toll-cost-msat"), 0);
    for (path, hits) in [("/status/503", 2), ("/status/201", 2)] {
        assert_eq!(gateway.stack.upstream().hits().of(path), hits, "{path}");
    }

    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["charged_msat"], 2_000);
    gateway.audit();
}

#[tokio::test]
async fn free_requests_are_counted_by_an_address_that_cannot_be_forged() {
    let gateway = snippets::gateway("free-tier").await;
    let forged = async |address: &str| {
        let request = gateway.http.request(Method::GET, "/v1/search");
        gateway.http.send(request.header("x-forwarded-for", address)).await
    };
    for remaining in [1, 0] {
        let answer = forged(&format!("198.51.100.{remaining}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.number("x-toll-free-remaining"), remaining);
        assert!(answer.number("x-toll-free-reset") > 0);
        assert_eq!(answer.json()["headers"]["x-toll-free"], "true");
    }
    let third = forged("198.51.100.77").await;
    assert_eq!((third.status.as_u16(), third.code()), (402, "free_tier_exhausted".into()));
    // Bad credentials never fall back to what is free, and paid ones never use it up.
    assert_eq!(gateway.http.get("/v1/search", Some("L402 x:y")).await.status, 402);
    let credential = gateway.http.pay(&third).await;
    let paid = gateway.http.get("/v1/search", Some(&credential)).await;
    assert_eq!((paid.status.as_u16(), paid.number("x-toll-cost-msat")), (200, 1_000));
    assert_eq!(paid.header("x-toll-free-remaining"), "");
    assert_eq!(gateway.stack.upstream().hits().of("/v1/search"), 3);
    // By price, two requests of 2 sats out of 5.
    for status in [200, 200, 402] {
        assert_eq!(gateway.http.get("/v1/quote", None).await.status, status);
    }
}

#[tokio::test]
async fn a_balance_that_runs_low_is_announced() {
    let gateway = with(|filter| {
        filter["services"][0]["low_balance_sats"] = json!(12);
    })
    .await;
    let credential = gateway.http.buy("/api/joke").await;
    let first = gateway.http.get("/api/joke", Some(&credential)).await;
    assert_eq!(
        (first.number("x-toll-balance-msat"), first.header("x-toll-low-balance")),
        (15_000, "25000")
    );
}

#[tokio::test]
async fn a_client_that_only_asks_is_held_up_and_disturbs_nobody_s_credit() {
    let gateway = with(|filter| {
        filter["services"][0]["purchase"]["max_sats"] = json!(10_000);
    })
    .await;
    let credential = gateway.http.buy("/api/joke").await;
    // Who asks the same again gets the same invoice, as long as it is not paid.
    let one = choose(&gateway, "/api/joke", "30", None).await;
    let same = choose(&gateway, "/api/joke", "30", None).await;
    assert_eq!(one.json()["invoice"], same.json()["invoice"]);

    let mut limited = None;
    for sats in 100..500 {
        let answer = choose(&gateway, "/api/joke", &sats.to_string(), None).await;
        if answer.status != 402 {
            limited = Some(answer);
            break;
        }
    }
    let limited = limited.unwrap();
    assert_eq!(limited.status, 429, "{limited:?}");
    assert!(limited.number("retry-after") >= 1);
    assert_eq!(limited.header("www-authenticate"), "");
    assert!(gateway.decided("limited").await >= 1);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 0);
    assert_eq!(gateway.http.get("/api/joke", Some(&credential)).await.status, 200);
}
