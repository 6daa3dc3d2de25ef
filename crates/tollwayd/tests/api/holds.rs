//! Holds and postings over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::wire::{
    HOLDS_PER_BATCH_MAX, HoldRefusal, HoldReply, HoldRequest, Posting, PostingOutcome,
};

use crate::support::*;

#[tokio::test]
async fn the_whole_story_of_an_account() {
    let server = Server::start().await;
    let invoice = server.invoice(10_000, None).await;
    let paid = server.paid_invoice(&invoice).await;
    let id = new_id();
    let reply = server.hold(id, &paid, 5_000).await;
    let HoldReply::Granted { account, granted_msat, balance_msat, .. } = reply else {
        panic!("expected a grant, but found {reply:?}");
    };
    assert_eq!(account, paid.hash);
    assert_eq!((granted_msat.get(), balance_msat.get()), (5_000, 5_000));
    let charge = vec![posting(id, 0, 5_000, true)];
    assert_eq!(server.post(charge.clone()).await, [PostingOutcome::Posted]);
    assert_eq!(server.post(charge).await, [PostingOutcome::Posted], "a repeat is no charge");

    let exhausted = server.hold(new_id(), &paid, 6_000).await;
    let HoldReply::Refused { refusal, balance_msat, .. } = exhausted else {
        panic!("expected a refusal, but found {exhausted:?}");
    };
    assert_eq!((refusal, balance_msat.get()), (HoldRefusal::InsufficientCredit, 5_000));

    let top_up = server.invoice(7_000, Some(paid.hash)).await;
    let topped_up = server.paid_invoice(&top_up).await;
    let refunded = new_id();
    server.hold(refunded, &topped_up, 6_000).await;
    assert_eq!(server.post(vec![posting(refunded, 0, 0, true)]).await, [PostingOutcome::Posted]);

    let view = server.account(topped_up.hash).await;
    assert_eq!(view["account"], value(paid.hash));
    assert_eq!((&view["balance_msat"], &view["held_msat"]), (&json!(12_000), &json!(0)));
    let kinds: Vec<_> = view["entries"].as_array().unwrap().iter().map(|e| &e["kind"]).collect();
    assert_eq!(kinds, ["credit", "charge", "credit"]);
}

#[tokio::test]
async fn the_proof_alone_credits_a_payment_that_no_event_reported() {
    let server = Server::start().await;
    let invoice = server.invoice(1_000, None).await;
    let (server, twin) = server.twins().await;
    let paid = twin.paid_invoice(&invoice).await;
    let wrong = Paid { hash: invoice.payment_hash, preimage: Preimage::from_bytes([1; 32]) };
    let reply = server.hold(new_id(), &wrong, 1_000).await;
    let balance_msat = Msat::ZERO;
    let refusal = HoldRefusal::PaymentNotProven;
    assert_eq!(reply, HoldReply::Refused { refusal, balance_msat, resets_at: None, tier: None });
    assert_eq!(server.stats().await["credited_msat"], 0);
    let unknown = Paid { hash: PaymentHash::from_bytes([9; 32]), preimage: wrong.preimage };
    let reply = server.hold(new_id(), &unknown, 1_000).await;
    assert!(matches!(reply, HoldReply::Refused { refusal: HoldRefusal::UnknownPayment, .. }));
    assert!(matches!(server.hold(new_id(), &paid, 600).await, HoldReply::Granted { .. }));
    assert_eq!(server.stats().await["credited_msat"], 1_000);
}

#[tokio::test]
async fn a_hold_id_means_one_hold() {
    let server = Server::start().await;
    let paid = server.paid(10_000).await;
    let id = new_id();
    let request = hold_request(&paid, 4_000);
    let first = server.hold(id, &paid, 4_000).await;
    assert_eq!(server.hold(id, &paid, 4_000).await, first);
    let other = HoldRequest { ttl_ms: TTL_MS + 1, ..request.clone() };
    let conflict = problem(server.put_hold(id, &other).await).await;
    assert_eq!((conflict.status, conflict.code.as_str()), (409, "hold_conflict"));
    server.clock.advance_ms(TTL_MS);
    let ended = problem(server.put_hold(id, &request).await).await;
    assert_eq!((ended.status, ended.code.as_str()), (409, "hold_ended"));
    assert_eq!(server.post(vec![posting(id, 0, 1, true)]).await, [PostingOutcome::HoldExpired]);
    assert_eq!(server.account(paid.hash).await["available_msat"], 10_000);
}

fn budget(tag: u8) -> serde_json::Value {
    json!({"id": hex::encode([tag; 32]), "limit_msat": 7_000, "window": "day"})
}

fn budgets(number: u8) -> serde_json::Value {
    (1..=number).map(budget).collect()
}

#[tokio::test]
async fn a_budget_ends_with_its_day_and_survives_a_restart() {
    let server = Server::start().await;
    let paid = server.paid(10_000).await;
    let mut request = value(hold_request(&paid, 4_000));
    request["budgets"] = budgets(8);
    let ask = async |server: &Server| -> serde_json::Value {
        let call = server.call(Method::PUT, &format!("/v1/holds/{}", new_id())).json(&request);
        call.send().await.unwrap().json().await.unwrap()
    };
    assert_eq!(ask(&server).await["granted_msat"], 4_000);
    let server = server.restart().await;
    let refused = ask(&server).await;
    let midnight = (START_MS / 86_400_000 + 1) * 86_400;
    assert_eq!(
        refused,
        json!({"outcome": "refused", "refusal": "budget_exhausted", "balance_msat": 6_000,
               "resets_at": midnight})
    );
    server.clock.advance_ms(midnight * 1_000 - START_MS);
    assert_eq!(ask(&server).await["granted_msat"], 4_000);
}

#[tokio::test]
async fn hold_fields_are_checked_and_named() {
    let server = Server::start().await;
    let paid = server.paid(10_000).await;
    let good = value(hold_request(&paid, 1_000));
    let with = |field: &str, bad: serde_json::Value| {
        let mut body = good.clone();
        body[field] = bad;
        body
    };
    for (body, detail) in [
        (with("amount_msat", json!(0)), "amount_msat: expected at least 1, but found 0"),
        (with("ttl_ms", json!(0)), "ttl_ms: expected 1 to 86400000, but found 0"),
        (with("ttl_ms", json!(86_400_001)), "ttl_ms: expected 1 to 86400000, but found 86400001"),
        (with("ttl_ms", json!(u64::MAX)), "ttl_ms: expected 1 to 86400000"),
        (with("route", json!("")), "route: expected 1 to 128 bytes, but found 0"),
        (with("route", json!("x".repeat(129))), "route: expected 1 to 128 bytes, but found 129"),
        (with("payment_hash", json!("xyz")), "payment_hash: expected 64 hexadecimal digits"),
        (with("preimage", json!("canary")), "preimage: expected 64 hexadecimal digits"),
        (with("preimage", json!(77_777)), "preimage: expected a string"),
        (with("budgets", json!(vec![budget(1); 2])), "budgets: expected each id once"),
        (with("budgets", budgets(9)), "budgets: expected at most 8, but found 9"),
        (
            with("budgets", json!([{"id": "11".repeat(32), "limit_msat": 1, "window": "week"}])),
            "budgets[0].window: expected `hour`, `day`, `month`, `total` or a number of seconds",
        ),
        (with("id", json!(1)), "id: unknown field `id`, expected one of"),
        (json!({}), "the body: missing field `payment_hash`"),
        (json!([]), "the body: expected struct HoldRequest"),
        (json!("canary"), "the body: expected struct HoldRequest"),
    ] {
        let call = server.call(Method::PUT, &format!("/v1/holds/{}", new_id())).json(&body);
        let problem = problem(call.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_field"), "{body}");
        assert!(problem.detail.starts_with(detail), "{} for {body}", problem.detail);
        assert!(!problem.detail.contains("canary") && !problem.detail.contains("77777"));
    }
    let bad_id = server.call(Method::PUT, "/v1/holds/not-an-id").json(&good).send().await.unwrap();
    let problem = problem(bad_id).await;
    assert_eq!((problem.status, problem.code.as_str()), (400, "invalid_path"));
    assert_eq!(server.account(paid.hash).await["held_msat"], 0);
}

#[tokio::test]
async fn posting_batches_are_bounded_and_their_rows_named() {
    let server = Server::start().await;
    let paid = server.paid(1_000_000).await;
    let id = new_id();
    server.hold(id, &paid, 1_000_000).await;
    let rows: Vec<_> = (0..512).map(|seq| posting(id, seq, 10, false)).collect();
    assert_eq!(server.post(rows.clone()).await, vec![PostingOutcome::Posted; 512]);
    assert_eq!(server.post(Vec::new()).await, []);
    let mut bad = value(&rows[..3]);
    bad[2]["seq"] = json!(-1);
    let mut long_route = rows[..2].to_vec();
    long_route[1].route = "x".repeat(129);
    let mut many = rows;
    many.push(posting(id, 512, 10, false));
    for (postings, detail) in [
        (value(many), "postings: expected at most 512 rows, but found 513"),
        (value(long_route), "postings[1].route: expected 1 to 128 bytes, but found 129"),
        (bad, "postings[2].seq: expected u32"),
    ] {
        let body = json!({ "postings": postings });
        let call = server.call(Method::POST, "/v1/postings").json(&body);
        let problem = problem(call.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.detail.as_str()), (422, detail));
    }
    assert_eq!(server.stats().await["charged_msat"], 5_120, "a refused batch charges nothing");
}

/// Who prefers so is told of rows only where there is something to tell.
#[tokio::test]
async fn what_was_posted_as_it_was_is_said_in_a_word_to_who_prefers_it() {
    let server = Server::start().await;
    let paid = server.paid(1_000).await;
    let id = new_id();
    server.hold(id, &paid, 1_000).await;
    let rows = |rows: &[Posting]| json!({ "postings": value(rows) });
    let post = async |body: &Value, prefer: &str| -> Value {
        let call = server.call(Method::POST, "/v1/postings").header("prefer", prefer).json(body);
        expect(call.send().await.unwrap(), StatusCode::OK).await
    };
    let result = |outcome: &str, msat: u64| json!({"outcome": outcome, "charged_msat": msat});
    let both = rows(&[posting(id, 0, 10, false), posting(id, 1, 0, false)]);
    for prefer in ["return=minimal", "wait=5, return=minimal"] {
        let brief = post(&both, prefer).await;
        assert_eq!((&brief["outcomes"], &brief["posted"]), (&json!([]), &json!(2)));
    }
    let whole = post(&both, "return=representation").await;
    assert_eq!(whole["outcomes"], json!([result("posted", 10), result("posted", 0)]));
    assert_eq!(whole["posted"], Value::Null);
    assert!(whole["revision"].is_u64());
    for (row, expected) in [
        (posting(id, 0, 11, false), result("conflict", 0)),
        // More than the hold has: the customer pays what was held.
        (posting(id, 2, 5_000, false), result("posted", 990)),
    ] {
        let reply = post(&rows(&[posting(id, 1, 0, false), row]), "return=minimal").await;
        assert_eq!(reply["outcomes"], json!([result("posted", 0), expected]));
        assert_eq!(reply["posted"], Value::Null);
    }
}

#[tokio::test]
async fn a_restart_keeps_everything_a_customer_has() {
    let server = Server::start().await;
    let paid = server.paid(10_000).await;
    let waiting = server.invoice(3_000, None).await;
    let id = new_id();
    server.hold(id, &paid, 4_000).await;
    server.post(vec![posting(id, 0, 1_000, false)]).await;
    let call = |server: &Server| server.call(Method::GET, "/v1/keyring").send();
    let keys: serde_json::Value = expect(call(&server).await.unwrap(), StatusCode::OK).await;
    let before = server.account(paid.hash).await;

    let server = server.restart().await;
    assert_eq!(server.account(paid.hash).await, before);
    let after: serde_json::Value = expect(call(&server).await.unwrap(), StatusCode::OK).await;
    assert_eq!(after["keys"], keys["keys"]);
    let reply = server.hold(id, &paid, 4_000).await;
    assert!(
        matches!(reply, HoldReply::Granted { balance_msat, .. } if balance_msat.get() == 6_000)
    );
    assert_eq!(server.post(vec![posting(id, 0, 1_000, false)]).await, [PostingOutcome::Posted]);
    assert_eq!(server.account(paid.hash).await, before);
    // The invoice of the former life can still be paid.
    let late = server.paid_invoice(&waiting).await;
    assert!(matches!(server.hold(new_id(), &late, 3_000).await, HoldReply::Granted { .. }));
}

/// Several holds in one call mean what each means alone.
#[tokio::test]
async fn each_line_of_a_call_is_answered_as_if_it_came_alone() {
    let server = Server::start().await;
    let paid = server.paid(10_000).await;
    let ids = [new_id(), new_id(), new_id(), new_id()];
    let body = |amount| serde_json::to_string(&hold_request(&paid, amount)).unwrap();
    let lines = format!(
        "[\"{}\",{}]\n[\"{}\",{}]\n[\"no id\",{}]\n[\"{}\",{{}}]\n",
        ids[0],
        body(4_000),
        ids[1],
        body(0),
        body(1_000),
        ids[2],
    );
    let answers = server.hold_lines(&lines).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer[0].as_u64().unwrap()).collect();
    assert_eq!(statuses, [200, 422, 422, 422]);
    assert_eq!(answers[0][1]["granted_msat"], 4_000);
    assert_eq!(answers[1][1]["detail"], "amount_msat: expected at least 1, but found 0");
    assert!(answers[3][1]["detail"].as_str().unwrap().contains("missing field"), "{answers:?}");
    // The same again, as after a lost answer, changes nothing; by itself neither.
    assert_eq!(server.hold_lines(&lines).await[0], answers[0]);
    let alone = server.hold(ids[0], &paid, 4_000).await;
    assert_eq!(value(alone), answers[0][1]);
    assert_eq!(server.account(paid.hash).await["held_msat"], 4_000);
}

#[tokio::test]
async fn a_call_has_no_more_lines_than_it_may() {
    let server = Server::start().await;
    let paid = server.paid(1_000_000).await;
    let line = || {
        let body = serde_json::to_string(&hold_request(&paid, 1_000)).unwrap();
        format!("[\"{}\",{body}]\n", new_id())
    };
    let full: String = (0..HOLDS_PER_BATCH_MAX).map(|_| line()).collect();
    let answers = server.hold_lines(&full).await;
    assert!(answers.iter().all(|answer| answer[1]["outcome"] == "granted"), "{answers:?}");
    assert_eq!(server.account(paid.hash).await["held_msat"], 1_000 * HOLDS_PER_BATCH_MAX as u64);
    for text in [String::new(), "\n".to_owned(), full + &line()] {
        let refused = problem(server.post_hold_lines(&text).await).await;
        assert_eq!((refused.status, refused.code.as_str()), (422, "invalid_field"));
    }
}
