//! Free tiers: what a client has before it must pay.

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{NOW_S, World, body, config, header, ok, preimage};

fn with_free_tier() -> Value {
    let mut config = config();
    config["services"][0]["free_tier"] = json!({"requests": 3});
    config["routes"][1]["free_tier"] =
        json!({"sats": 60, "window": "1h", "ipv4_prefix": 32, "ipv6_prefix": 64});
    config
}

fn granted(remaining: u64) -> CallReply {
    ok(&json!({"outcome": "granted", "remaining": remaining, "resets_at": NOW_S + 100}))
}

fn exhausted() -> CallReply {
    ok(&json!({"outcome": "exhausted", "resets_at": NOW_S + 100}))
}

/// An unpaid request that asks for its allowance, and what it asks.
fn asking(world: &World, path: &str) -> (Exchange, tollway_testkit::fake_host::SentCall) {
    let (exchange, step) = world.get(path, &[]);
    assert_eq!(step, Step::Wait);
    assert!(exchange.is_held_back());
    (exchange, world.one_call("POST", "/v1/allowances"))
}

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_free_request_passes_and_says_what_is_left() {
    let world = World::with(&with_free_tier());
    let (mut exchange, call) = asking(&world, "/api/joke");
    assert_eq!(
        call.json(),
        json!({
            "plan": "demo",
            "route": "joke",
            "client": {"address": "203.0.113.7", "ipv4_prefix": 24, "ipv6_prefix": 48},
            "quota": {"requests": {"cost": 1, "limit": 3}},
            "window": "day"
        })
    );
    assert_eq!(exchange.call_answered(&world.host, call.id, &granted(2)), Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-free").unwrap(), b"true");
    assert_eq!(world.host.upstream_header("x-toll-account"), None);

    world.host.begin_response(&[(":status", b"200"), ("cache-control", b"public")], false);
    exchange.response_headers(&world.host);
    let client = |name| world.host.client_header(name).unwrap();
    assert_eq!(client("x-toll-free-remaining"), "2");
    assert_eq!(client("x-toll-free-reset"), (NOW_S + 100).to_string());
    assert_eq!(client("cache-control"), "private");
    assert_eq!(world.host.client_header("x-toll-cost-msat"), None);
    exchange.finished(&world.host);
    world.gate.tick(&world.host);
    world.assert_no_call();
    assert_eq!(world.host.count_of(Decision::Free), 1);
    assert_eq!(world.host.note_of(LogField::Reason), "free_tier");
}

#[test]
fn a_route_s_own_free_tier_counts_apart_and_by_price() {
    let world = World::with(&with_free_tier());
    let (_, call) = asking(&world, "/api/dear");
    assert_eq!(
        call.json(),
        json!({
            "plan": "demo/dear",
            "route": "dear",
            "client": {"address": "203.0.113.7", "ipv4_prefix": 32, "ipv6_prefix": 64},
            "quota": {"msat": {"cost": 50_000, "limit": 60_000}},
            "window": {"rolling": {"seconds": 3_600}}
        })
    );
}

#[test]
fn what_is_used_up_is_to_be_paid() {
    let world = World::with(&with_free_tier());
    let (mut exchange, call) = asking(&world, "/api/joke");
    assert_eq!(exchange.call_answered(&world.host, call.id, &exhausted()), Step::Wait);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["amount_msat"], 20_000);
    assert_eq!(reply.status, 402);
    assert_eq!(body(&reply)["code"], "free_tier_exhausted");
    let detail = body(&reply)["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(&(NOW_S + 100).to_string()), "{detail}");
}

#[test]
fn only_who_presents_nothing_has_something_free() {
    let world = World::with(&with_free_tier());
    let credential = world.credential("demo");
    let unpaid = credential.replace(&preimage().reveal_hex(), &"00".repeat(32));
    for bad in [unpaid.as_str(), "L402 garbage", "LSAT x:y"] {
        assert_eq!(world.get("/api/joke", &[("authorization", bad.as_bytes())]).1, Step::Wait);
        world.one_call("POST", "/v1/challenges");
    }
    world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    world.one_call("PUT", "/v1/holds/");
    // The application's own authorization is no credential of ours.
    world.get("/api/joke", &[("authorization", b"Bearer app-token")]);
    let call = world.one_call("POST", "/v1/allowances");
    assert!(!String::from_utf8_lossy(&call.body).contains("app-token"));
}

#[test]
fn an_application_s_authorization_reaches_the_upstream_of_a_free_request() {
    let world = World::with(&with_free_tier());
    let (mut exchange, _) = world
        .get("/api/joke", &[("authorization", b"Bearer app-token"), ("x-toll-free", b"forged")]);
    let call = world.one_call("POST", "/v1/allowances");
    exchange.call_answered(&world.host, call.id, &granted(0));
    assert_eq!(world.host.upstream_header("authorization").unwrap(), b"Bearer app-token");
    assert_eq!(world.host.upstream_header("x-toll-free").unwrap(), b"true");
}

#[test]
fn a_client_without_an_address_has_nothing_free() {
    let world = World::with(&with_free_tier());
    world.host.set_client_address(None);
    // What the client says of itself is not asked.
    world.get("/api/joke", &[("x-forwarded-for", b"192.0.2.1"), ("x-real-ip", b"192.0.2.1")]);
    world.one_call("POST", "/v1/challenges");
}

#[test]
fn a_price_probe_takes_nothing() {
    let world = World::with(&with_free_tier());
    assert_eq!(answer(world.method("HEAD", "/api/joke", &[]).1).status, 402);
    world.assert_no_call();
}

#[test]
fn an_allowance_without_an_answer_is_a_503() {
    for reply in [
        CallReply { status: None, body: Vec::new() },
        CallReply { status: Some(500), body: Vec::new() },
        CallReply { status: Some(200), body: b"{}".to_vec() },
        ok(&json!({"outcome": "granted", "remaining": -1, "resets_at": 0})),
    ] {
        let world = World::with(&with_free_tier());
        let (mut exchange, call) = asking(&world, "/api/joke");
        let reply = answer(exchange.call_answered(&world.host, call.id, &reply));
        assert_eq!(reply.status, 503);
        assert_eq!(header(&reply, "retry-after"), "1");
        assert_eq!(world.host.count_of(Decision::Error), 1);
        assert!(exchange.is_held_back());
    }
    let world = World::with(&with_free_tier());
    world.host.set_cluster_gone(true);
    assert_eq!(answer(world.get("/api/joke", &[]).1).status, 503);
}

#[test]
fn a_client_that_leaves_while_it_is_asked_for_is_counted() {
    let world = World::with(&with_free_tier());
    let (mut exchange, call) = asking(&world, "/api/joke");
    exchange.finished(&world.host);
    assert_eq!(exchange.call_answered(&world.host, call.id, &granted(2)), Step::Wait);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
}
