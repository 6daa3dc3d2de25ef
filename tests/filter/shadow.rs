//! Shadow mode: the same decisions, counted apart, and none of them enforced.

use serde_json::{Value, json};
use tollway_core::wire::PLAN_IN_SHADOW;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField};
use tollway_gate::metrics::Decision;

use crate::world::{World, config, ok, preimage, refused};

fn shadowed() -> Value {
    let mut config = config();
    config["shadow"] = json!(true);
    config["routes"][1]["shadow"] = json!(false);
    config
}

/// What was counted and logged: the decision, its count, its sum; and the line of the log.
fn met(world: &World, decision: Decision) -> (u64, u64, String) {
    let (count, sum) = world.host.shadow_of(decision);
    assert_eq!(world.host.note_of(LogField::Decision), "shadowed");
    assert_eq!(world.host.note_of(LogField::Shadow), decision.name());
    (count, sum, world.host.note_of(LogField::ShadowCostMsat))
}

#[test]
fn an_unpaid_request_passes_and_no_invoice_is_made() {
    let world = World::with(&shadowed());
    for (method, at) in [("GET", 1), ("HEAD", 2)] {
        let (exchange, step) = world.method(method, "/api/joke", &[("x-toll-cost-msat", b"1")]);
        assert_eq!(step, Step::Continue);
        assert!(!exchange.is_held_back());
        world.assert_no_call();
        assert_eq!(met(&world, Decision::Challenged), (at, at * 5_000, "5000".to_owned()));
        assert_eq!(world.host.upstream_header("x-toll-free").as_deref(), Some(&b"true"[..]));
        assert_eq!(world.host.upstream_header("x-toll-cost-msat"), None);
    }
    assert_eq!(world.host.count_of(Decision::Shadowed), 2);
    assert_eq!(world.host.count_of(Decision::Challenged), 0);
}

#[test]
fn what_would_be_refused_passes() {
    let world = World::with(&shadowed());
    for (path, decision) in [("/unknown", Decision::Denied), ("/a//b", Decision::Denied)] {
        let (_, step) = world.get(path, &[]);
        assert_eq!(step, Step::Continue, "{path}");
        met(&world, decision);
    }
    let bad = [("x-toll-purchase-sats", &b"none"[..])];
    assert_eq!(world.get("/api/joke", &bad).1, Step::Continue);
    assert_eq!(met(&world, Decision::Denied), (3, 0, String::new()));
    let (_, step) = world.get("/api/joke", &[("authorization", b"L402 AAAA:BBBB")]);
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.shadow_of(Decision::Invalid), (1, 0));
    assert_eq!(world.host.upstream_header("authorization"), None, "no credential leaves");
    assert_eq!(world.get("/", &[]).1, Step::Continue);
    met(&world, Decision::Free);
}

#[test]
fn a_paid_request_is_held_for_and_not_charged() {
    let world = World::with(&shadowed());
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    assert_eq!(world.host.upstream_header("x-toll-account"), None);
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("x-toll-cost-msat"), None);
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    assert_eq!(met(&world, Decision::Ok), (1, 5_000, "5000".to_owned()));
    assert_eq!(world.host.note_of(LogField::CostMsat), "");
    let rows = world.posted();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["route"]), (&json!(0), &json!("(lease)")));
    assert_eq!(rows[0]["release"], json!(true));
}

#[test]
fn what_the_ledger_refuses_or_does_not_answer_passes() {
    let world = World::with(&shadowed());
    let refused = refused("insufficient_credit", 0);
    let lost = CallReply { status: None, body: Vec::new() };
    for (reply, decision) in [(refused, Decision::Challenged), (lost, Decision::Error)] {
        let (mut exchange, call) = world.paid("/api/joke");
        let step = exchange.call_answered(&world.host, call.id, &reply);
        assert_eq!(step, Step::Continue);
        met(&world, decision);
        world.assert_no_call();
    }
}

#[test]
fn free_requests_use_nothing_up() {
    let mut config = shadowed();
    config["routes"][0]["free_tier"] = json!({"requests": 1});
    let world = World::with(&config);
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let call = world.one_call("POST", "/v1/allowances");
    assert_eq!(call.json()["plan"], format!("{PLAN_IN_SHADOW}demo/joke"));
    let reply = ok(&json!({"outcome": "exhausted", "resets_at": 1}));
    assert_eq!(exchange.call_answered(&world.host, call.id, &reply), Step::Continue);
    met(&world, Decision::Challenged);
}

#[test]
fn a_route_may_be_enforced_among_others_in_shadow_and_the_other_way_round() {
    let world = World::with(&shadowed());
    assert_eq!(world.get("/api/dear", &[]).1, Step::Wait, "its invoice is asked for");
    let mut config = config();
    config["routes"][0]["shadow"] = json!(true);
    let world = World::with(&config);
    assert_eq!(world.get("/api/joke", &[]).1, Step::Continue);
    assert!(matches!(world.get("/unknown", &[]).1, Step::Answer(_)));
}

fn with_payment() -> World {
    let mut config = shadowed();
    config["services"][0]["payment_scheme"] = json!(true);
    World::with(&config)
}

/// A request with a credential of the scheme `Payment`, and what tollwayd says to it.
fn on_rail(world: &World, more: &Value) -> (Exchange, Step) {
    let (mut exchange, _) = world.get("/api/joke", &[("authorization", b"Payment eyJ4IjoxfQ")]);
    let call = world.one_call("PUT", "/v1/holds/");
    assert!(call.header(":path").ends_with("/rail"), "{}", call.header(":path"));
    let mut reply = json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
                           "granted_msat": 5_000, "balance_msat": 7_000,
                           "headers": [["payment-receipt", "eyJyIjoxfQ"]]});
    reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let step = exchange.call_answered(&world.host, call.id, &ok(&reply));
    (exchange, step)
}

#[test]
fn a_request_paid_on_another_rail_is_held_for_and_not_charged() {
    let world = with_payment();
    let (mut exchange, step) = on_rail(&world, &json!({}));
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-free").as_deref(), Some(&b"true"[..]));
    assert_eq!(world.host.upstream_header("authorization"), None);
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("payment-receipt"), None, "nothing was taken");
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    assert_eq!(met(&world, Decision::Ok), (1, 5_000, "5000".to_owned()));
    let rows = world.posted();
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["release"]), (&json!(0), &json!(true)));
}

#[test]
fn what_a_client_does_with_its_own_money_is_answered_and_reaches_no_upstream() {
    let world = with_payment();
    let closed = json!({"granted_msat": 0, "already_charged": true,
                        "replay": {"status": 200, "content_type": "application/json",
                                   "body_base64": "eyJzdGF0dXMiOiJvayJ9"}});
    let (mut exchange, step) = on_rail(&world, &closed);
    let Step::Answer(answer) = step else { panic!("expected an answer, but found {step:?}") };
    assert_eq!((answer.status, answer.body.as_slice()), (200, &br#"{"status":"ok"}"#[..]));
    assert!(exchange.is_held_back(), "nothing of the request goes on");
    exchange.finished(&world.host);
    assert_eq!(world.host.shadow_of(Decision::Replayed), (1, 0));
    assert_eq!(world.host.count_of(Decision::Shadowed), 1);
    world.assert_no_call();
}
