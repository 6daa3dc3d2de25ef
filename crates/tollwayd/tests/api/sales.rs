//! Purchases, free requests, extensions and repeats, through the doors.

use reqwest::Method;
use serde_json::{Value, json};
use tollway_core::money::Msat;
use tollway_core::wire::{
    AllowanceReply, ChallengeReply, EXTENSIONS_PATH, HOLDS_PER_BATCH_MAX, HoldReply, HoldRequest,
    Overrun, PostingReply, TakeBack,
};

use crate::support::*;

fn from(address: &str, fingerprint: &str, amount: u64) -> Value {
    let mut body = challenge(amount, "jokes");
    body["client"] = json!({"address": address, "fingerprint": fingerprint});
    body
}

#[tokio::test]
async fn the_same_client_shares_an_invoice_and_another_behind_its_address_does_not() {
    let server = Server::start().await;
    let ask = async |body| invoice(server.challenge(body).await).await.payment_hash;
    let first = ask(from("192.0.2.1", "a", 1_000)).await;
    assert_eq!(ask(from("192.0.2.1", "a", 1_000)).await, first);
    assert_ne!(ask(from("192.0.2.1", "b", 1_000)).await, first);
    assert_ne!(ask(from("192.0.2.1", "a", 2_000)).await, first);
    assert_ne!(ask(from("192.0.2.2", "a", 1_000)).await, first);
    let refused = problem(server.challenge(from("192.0.2.1:80", "a", 1)).await).await;
    assert_eq!(refused.detail, "client.address: expected an IP address without a port");
}

#[tokio::test]
async fn a_flood_is_limited_and_never_costs_a_payer_his_credit() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let mut limited = 0;
    for amount in 1..=80 {
        let response = server.challenge(from("192.0.2.1", "a", amount)).await;
        match expect(response, reqwest::StatusCode::OK).await {
            ChallengeReply::Limited { retry_after_s } => {
                assert!(retry_after_s > 0);
                limited += 1;
            }
            ChallengeReply::Invoice { .. } => {}
            reply @ ChallengeReply::Refused { .. } => panic!("unexpected: {reply:?}"),
        }
    }
    assert_eq!(limited, 20);
    invoice(server.challenge(from("192.0.2.9", "a", 1)).await).await;
    assert!(matches!(server.hold(new_id(), &paid, 5_000).await, HoldReply::Granted { .. }));
}

#[tokio::test]
async fn a_client_has_its_free_requests_per_network_and_plan() {
    let server = Server::start().await;
    let ask = async |address: &str, plan: &str| {
        let body = json!({
            "plan": plan,
            "route": "joke",
            "client": {"address": address, "ipv4_prefix": 24, "ipv6_prefix": 48},
            "quota": {"requests": {"cost": 1, "limit": 2}},
            "window": "day",
        });
        let call = server.call(Method::POST, "/v1/allowances").json(&body);
        call.send().await.unwrap()
    };
    let granted = async |address: &str, plan: &str| match expect(
        ask(address, plan).await,
        reqwest::StatusCode::OK,
    )
    .await
    {
        AllowanceReply::Granted { remaining, .. } => Some(remaining),
        AllowanceReply::Exhausted { .. } => None,
    };
    assert_eq!(granted("192.0.2.1", "demo").await, Some(1));
    assert_eq!(granted("192.0.2.254", "demo").await, Some(0), "one network is one client");
    assert_eq!(granted("::ffff:192.0.2.7", "demo").await, None);
    assert_eq!(granted("192.0.3.1", "demo").await, Some(1));
    assert_eq!(granted("192.0.2.1", "demo/joke").await, Some(1));
    assert_eq!(server.stats().await["endpoints"]["joke"]["free"], 4);
    let refused = problem(ask("somewhere", "demo").await).await;
    assert_eq!((refused.status, refused.code.as_str()), (422, "invalid_field"));
}

#[tokio::test]
async fn a_hold_is_extended_and_an_overrun_says_what_it_charged() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let id = new_id();
    server.hold(id, &paid, 1_000).await;
    let extend = async |id, body: Value| {
        let path = format!("/v1/holds/{id}/extensions");
        server.call(Method::POST, &path).json(&body).send().await.unwrap()
    };
    for _ in 0..2 {
        let body = json!({"seq": 0, "add_msat": 500, "ttl_ms": TTL_MS});
        let reply = expect(extend(id, body).await, reqwest::StatusCode::OK).await;
        assert!(matches!(
            reply,
            HoldReply::Granted { granted_msat, .. } if granted_msat.get() == 1_500
        ));
    }
    let other = json!({"seq": 0, "add_msat": 501, "ttl_ms": TTL_MS});
    assert_eq!(problem(extend(id, other).await).await.code, "hold_conflict");
    let unknown = json!({"seq": 0, "add_msat": 1, "ttl_ms": TTL_MS});
    assert_eq!(problem(extend(new_id(), unknown).await).await.code, "hold_unknown");
    let mut row = posting(id, 0, 2_000, true);
    row.overrun = Overrun::DebitRest;
    let call = server.call(Method::POST, "/v1/postings").json(&json!({"postings": [row]}));
    let reply: PostingReply = expect(call.send().await.unwrap(), reqwest::StatusCode::OK).await;
    assert_eq!(reply.outcomes[0].charged_msat.get(), 2_000);
}

/// More of several holds in one call means what more of each means alone.
#[tokio::test]
async fn several_holds_are_extended_line_by_line() {
    let server = Server::start().await;
    let (rich, poor) = (server.paid(50_000).await, server.paid(1_500).await);
    let (first, second) = (new_id(), new_id());
    server.hold(first, &rich, 1_000).await;
    server.hold(second, &poor, 1_000).await;
    let more = |seq| format!("{{\"seq\":{seq},\"add_msat\":4000,\"ttl_ms\":{TTL_MS}}}");
    let unknown = new_id();
    let lines = format!(
        "[\"{first}\",{}]\n[\"{second}\",{}]\n[\"{unknown}\",{}]\n[\"{first}\",{{\"seq\":1}}]\n",
        more(0),
        more(0),
        more(0),
    );
    let answers = server.lines(EXTENSIONS_PATH, &lines).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer[0].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 200, 404, 422]);
    assert_eq!(answers[0][1]["granted_msat"], 5_000);
    assert_eq!(answers[1][1]["refusal"], "insufficient_credit");
    assert_eq!(answers[2][1]["code"], "hold_unknown");
    assert!(answers[3][1]["detail"].as_str().unwrap().contains("missing field"), "{answers:?}");
    // The same again, as after a lost answer, adds nothing; by itself neither.
    assert_eq!(server.lines(EXTENSIONS_PATH, &lines).await[0], answers[0]);
    let alone = server.call(Method::POST, &format!("/v1/holds/{first}/extensions"));
    let alone = alone.header("content-type", "application/json").body(more(0));
    let alone: Value = expect(alone.send().await.unwrap(), reqwest::StatusCode::OK).await;
    assert_eq!(alone, answers[0][1]);
    assert_eq!(server.account(rich.hash).await["held_msat"], 5_000);
    for text in [String::new(), lines.repeat(HOLDS_PER_BATCH_MAX / 4 + 1)] {
        let refused = server.call(Method::POST, EXTENSIONS_PATH).body(text).send().await.unwrap();
        let refused = problem(refused).await;
        assert_eq!((refused.status, refused.code.as_str()), (422, "invalid_field"));
    }
}

#[tokio::test]
async fn a_hold_takes_from_another_and_an_extension_what_is_there() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let (first, second) = (new_id(), new_id());
    server.hold(first, &paid, 4_500).await;
    let take_back = Some(TakeBack { hold: first, amount_msat: Msat::new(3_000).unwrap() });
    let request = HoldRequest { take_back, ..hold_request(&paid, 2_500) };
    for _ in 0..2 {
        let reply: HoldReply =
            expect(server.put_hold(second, &request).await, reqwest::StatusCode::OK).await;
        assert!(matches!(
            reply,
            HoldReply::Granted { balance_msat, .. } if balance_msat.get() == 1_000
        ));
    }
    let path = format!("/v1/holds/{first}/extensions");
    let extend =
        async |body: Value| server.call(Method::POST, &path).json(&body).send().await.unwrap();
    let body = json!({"seq": 0, "add_msat": 1_500, "min_msat": 1_501, "ttl_ms": TTL_MS});
    let fault = problem(extend(body).await).await;
    assert!((fault.status, &*fault.code) == (422, "invalid_field"), "{}", fault.detail);
    let body = json!({"seq": 0, "add_msat": 1_500, "min_msat": 100, "ttl_ms": TTL_MS});
    let reply: Value = expect(extend(body).await, reqwest::StatusCode::OK).await;
    assert_eq!((&reply["granted_msat"], &reply["balance_msat"]), (&json!(2_500), &json!(0)));
}
