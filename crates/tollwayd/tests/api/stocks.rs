//! What changes a sale beside its price, over HTTP: coupons, supplies, the credit of tiers.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::wire::{ChallengeReply, HoldRefusal, HoldReply, SaleRefusal};
use tollwayd::clock::ManualClock;

use crate::support::*;

const LINES: &str = "
[tier_credit]
gold = 150
[[coupons]]
code = \"LAUNCH\"
percent_off = 20
max_uses = 1
expires_at = 1700000060
[[supply]]
name = \"seats\"
routes = [\"joke\"]
calls = 1
per = \"hour\"
";

async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let config = config_with(directory.path(), LINES);
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

fn shows(coupon: &str, route: &str) -> Value {
    let mut body = challenge(10_000, "m");
    (body["coupon"], body["route"]) = (json!(coupon), json!(route));
    body
}

fn terms(reply: &ChallengeReply) -> (u64, u64) {
    match reply {
        ChallengeReply::Invoice { amount_msat, credit_msat, .. } => {
            (amount_msat.get(), credit_msat.get())
        }
        reply => panic!("expected an invoice, but found {reply:?}"),
    }
}

#[tokio::test]
async fn a_coupon_is_honoured_until_it_is_used_up_or_its_time_is_over() {
    let server = server().await;
    let refusal = async |coupon: &str| match expect(
        server.challenge(shows(coupon, "time")).await,
        StatusCode::OK,
    )
    .await
    {
        ChallengeReply::Refused { refusal, resets_at: None } => refusal,
        reply => panic!("expected a refusal, but found {reply:?}"),
    };
    assert_eq!(refusal("launch").await, SaleRefusal::CouponUnknown);
    let reply = expect(server.challenge(shows("LAUNCH", "time")).await, StatusCode::OK).await;
    assert_eq!(terms(&reply), (8_000, 10_000));
    assert_eq!(refusal("LAUNCH").await, SaleRefusal::CouponUsedUp);
    server.clock.advance_ms(60_000);
    assert_eq!(refusal("LAUNCH").await, SaleRefusal::CouponExpired);
    let long = problem(server.challenge(shows(&"x".repeat(65), "time")).await).await;
    assert_eq!((long.status, long.code.as_str()), (422, "invalid_field"));
    let stocks: Value =
        expect(server.admin(Method::GET, "/admin/v1/stocks").send().await.unwrap(), StatusCode::OK)
            .await;
    assert_eq!((&stocks[0]["name"], &stocks[0]["used"]), (&json!("coupon LAUNCH"), &json!(1)));
    server.shutdown().await;
}

#[tokio::test]
async fn what_is_sold_out_is_neither_served_nor_offered() {
    let server = server().await;
    let paid = server.paid(10_000).await;
    let first = new_id();
    assert!(matches!(server.hold(first, &paid, 10).await, HoldReply::Granted { .. }));
    let ends = START_MS / 3_600_000 * 3_600 + 3_600;
    match server.hold(new_id(), &paid, 10).await {
        HoldReply::Refused { refusal: HoldRefusal::SoldOut, resets_at, .. } => {
            assert_eq!(resets_at, Some(ends));
        }
        reply => panic!("expected a refusal, but found {reply:?}"),
    }
    let offer: ChallengeReply =
        expect(server.challenge(challenge(10_000, "m")).await, StatusCode::OK).await;
    let refusal = SaleRefusal::SoldOut;
    assert_eq!(offer, ChallengeReply::Refused { refusal, resets_at: Some(ends) });
    server.post(vec![posting(first, 0, 0, true)]).await;
    let offer = expect(server.challenge(challenge(10_000, "m")).await, StatusCode::OK).await;
    assert_eq!(terms(&offer), (10_000, 10_000));
    let keyring: Value =
        expect(server.call(Method::GET, "/v1/keyring").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(keyring["limited"], json!(["joke"]));
    server.shutdown().await;
}

#[tokio::test]
async fn an_account_of_a_tier_gets_more_credit_for_its_money() {
    let server = server().await;
    let paid = server.paid(10_000).await;
    let mut top_up = challenge(10_000, "m");
    top_up["route"] = json!("time");
    top_up["top_up"] = json!(paid.hash);
    let offer = expect(server.challenge(top_up.clone()).await, StatusCode::OK).await;
    assert_eq!(terms(&offer), (10_000, 10_000), "it has no tier yet");
    let act = json!({"id": "01890a5d-ac96-774b-bcce-b302099a8001", "actor": "ann",
                     "reason": "a test", "tier": "gold"});
    let path = format!("/admin/v1/accounts/{}/tier", paid.hash);
    assert_eq!(server.admin(Method::POST, &path).json(&act).send().await.unwrap().status(), 200);
    let offer = expect(server.challenge(top_up).await, StatusCode::OK).await;
    assert_eq!(terms(&offer), (10_000, 15_000));
    let ChallengeReply::Invoice { invoice, .. } = offer else { panic!("an invoice") };
    assert_eq!(server.pay(&invoice).await.status(), 200);
    assert_eq!(server.account(paid.hash).await["balance_msat"], 25_000);
    server.shutdown().await;
}
