//! When tollwayd, the proxy or the client lets the gate down. Unsure means deny.

use proptest::prelude::*;
use serde_json::json;
use tollway_gate::exchange::Step;
use tollway_gate::host::{CallId, CallReply, GrpcStatus, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{GATE_TOKEN, World, body, config, granted, header, keyring_json, ok, preimage};

fn reply(status: u16, body: &str) -> CallReply {
    CallReply { status: Some(status), body: body.into() }
}

/// Everything that is not an answer of tollwayd to a hold.
fn no_answers() -> Vec<(&'static str, CallReply)> {
    vec![
        ("no reply", CallReply { status: None, body: Vec::new() }),
        ("the proxy's own 503", reply(503, "no healthy upstream")),
        ("a timeout", reply(504, "")),
        ("a refused gate token", reply(401, "{}")),
        ("a server error", reply(500, "{}")),
        ("a conflict", reply(409, "{}")),
        ("a redirect", reply(302, "")),
        ("an empty body", reply(200, "")),
        ("not JSON", reply(200, "<html>")),
        ("cut JSON", reply(200, r#"{"outcome":"granted","acc"#)),
        ("another outcome", reply(200, r#"{"outcome":"maybe","balance_msat":1}"#)),
        (
            "a refusal unknown here",
            reply(200, r#"{"outcome":"refused","refusal":"x","balance_msat":0}"#),
        ),
        ("less than asked", granted(4_999, 0)),
        ("more than asked", granted(5_001, 0)),
        ("an endless body", reply(200, &" ".repeat(70_000))),
    ]
}

fn answered(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_hold_without_an_answer_is_a_503_and_is_released() {
    for (name, fault) in no_answers() {
        let world = World::new();
        let (mut exchange, call) = world.paid("/api/joke");
        let reply = answered(exchange.call_answered(&world.host, call.id, &fault));
        assert_eq!(reply.status, 503, "{name}");
        assert_eq!(header(&reply, "retry-after"), "1", "{name}");
        assert_eq!(body(&reply)["code"], "payments_unavailable", "{name}");
        assert_eq!(header(&reply, "www-authenticate"), "", "{name}: never a new invoice");
        assert!(exchange.is_held_back(), "{name}");
        assert_eq!(world.host.count_of(Decision::Error), 1, "{name}");
        assert_eq!(world.host.count_of(Decision::Ok), 0, "{name}");

        // The hold may stand all the same, so its release travels.
        let rows = world.posted();
        assert_eq!(rows.len(), 1, "{name}");
        assert_eq!(rows[0]["hold"], call.header(":path").strip_prefix("/v1/holds/").unwrap());
        assert_eq!(rows[0]["amount_msat"], 0, "{name}");
    }
}

#[test]
fn a_challenge_without_an_answer_is_a_503() {
    let faults = no_answers().into_iter().filter(|(_, fault)| fault.status != Some(200)).chain([
        ("not JSON", reply(200, "<html>")),
        ("an invoice that would break the header",
         ok(&json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]), "invoice": "lnbc\" x",
                    "amount_msat": 5000, "credit_msat": 5000,
                    "expires_at": 1}))),
    ]);
    for (name, fault) in faults {
        let world = World::new();
        let (mut exchange, _) = world.get("/api/joke", &[]);
        let call = world.one_call("POST", "/v1/challenges");
        let reply = answered(exchange.call_answered(&world.host, call.id, &fault));
        assert_eq!(reply.status, 503, "{name}");
        assert_eq!(world.host.count_of(Decision::Error), 1, "{name}");
    }
}

#[test]
fn priced_routes_wait_for_the_keyring_and_free_ones_do_not() {
    let world = World::without_keys(&config());
    assert_eq!(answered(world.get("/api/joke", &[]).1).status, 503);
    assert_eq!(world.get("/", &[]).1, Step::Continue);
    let call = world.one_call("GET", "/v1/keyring");
    let nonsense = ok(&json!({"current": 3, "keys": [], "seed": "00"}));
    world.gate.call_answered(&world.host, call.id, &nonsense);
    assert_eq!(answered(world.get("/api/joke", &[]).1).status, 503);

    world.host.advance_ms(1_000);
    world.gate.tick(&world.host);
    world.answer_keyring(&keyring_json(1, &[1]));
    assert_eq!(world.get("/api/joke", &[]).1, Step::Wait);
}

#[test]
fn a_keyring_that_cannot_be_refreshed_keeps_serving() {
    let world = World::new();
    world.host.advance_ms(world.gate.config().keyring_refresh_ms);
    world.gate.tick(&world.host);
    let call = world.one_call("GET", "/v1/keyring");
    world.gate.call_answered(&world.host, call.id, &reply(503, ""));
    world.paid("/api/joke");
}

#[test]
fn a_cluster_that_is_gone_is_a_503_and_one_line_in_the_log() {
    let world = World::new();
    world.host.set_cluster_gone(true);
    let credential = world.credential("demo");
    for _ in 0..3 {
        let paid = world.get("/api/joke", &[("authorization", credential.as_bytes())]).1;
        assert_eq!(answered(paid).status, 503);
        assert_eq!(answered(world.get("/api/joke", &[]).1).status, 503);
        world.gate.tick(&world.host);
    }
    assert_eq!(world.host.warnings().len(), 1, "{:?}", world.host.warnings());
    world.host.set_cluster_gone(false);
    world.admitted("/api/joke", 5_000, 0);
    assert_eq!(world.host.warnings().len(), 2, "{:?}", world.host.warnings());
}

#[test]
fn failure_mode_allow_lets_requests_pass_and_counts_them() {
    let mut open = config();
    open["failure_mode_allow"] = json!(true);
    let world = World::with(&open);
    let (mut exchange, call) = world.paid("/api/joke");
    let step = exchange.call_answered(&world.host, call.id, &reply(503, ""));
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("authorization"), None);
    assert_eq!(world.host.upstream_header("x-toll-account"), None);
    assert_eq!(world.host.count_of(Decision::FailureModeAllowed), 1);

    // A refusal is not a failure.
    let (mut exchange, call) = world.paid("/api/joke");
    let refusal = crate::world::refused("insufficient_credit", 0);
    assert_eq!(exchange.call_answered(&world.host, call.id, &refusal), Step::Wait);
}

#[test]
fn grpc_callers_are_told_in_grpc() {
    let world = World::without_keys(&config());
    let (_, step) = world.get("/api/joke", &[("content-type", b"application/grpc")]);
    let reply = answered(step);
    assert_eq!(reply.grpc, Some((GrpcStatus::Unavailable, "payments cannot be checked now")));
    assert_eq!(header(&reply, "retry-after"), "1");
}

#[test]
fn a_client_that_left_gets_its_hold_back() {
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    exchange.finished(&world.host);
    let rows = world.posted();
    assert_eq!(rows[0]["hold"], call.header(":path").strip_prefix("/v1/holds/").unwrap());
    assert_eq!(rows[0]["amount_msat"], 0);
    assert_eq!(rows[0]["release"], true);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
}

#[test]
fn a_reply_to_another_call_decides_nothing() {
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    let other = CallId(call.id.0 + 1);
    assert_eq!(exchange.call_answered(&world.host, other, &granted(5_000, 0)), Step::Wait);
    assert!(exchange.is_held_back());
    let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 0));
    assert_eq!(step, Step::Continue);
    // Nor does a reply that comes twice.
    assert_eq!(exchange.call_answered(&world.host, call.id, &granted(5_000, 0)), Step::Wait);
    assert!(!exchange.is_held_back());
}

#[test]
fn no_secret_is_ever_written_or_answered() {
    let world = World::new();
    let secrets = [GATE_TOKEN.to_owned(), preimage().reveal_hex(), hex::encode([1; 32])];
    let mut shown = String::new();
    for (_, fault) in no_answers() {
        let (mut exchange, call) = world.paid("/api/joke");
        shown += &format!("{:?}", exchange.call_answered(&world.host, call.id, &fault));
        shown += &format!("{exchange:?}");
    }
    shown += &format!("{:?} {:?}", world.host.warnings(), world.gate);
    for secret in secrets {
        assert!(!shown.contains(&secret));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever a client sends, a priced route lets nothing pass without a grant.
    #[test]
    fn no_bytes_open_the_gate(
        names in prop::collection::vec(0_usize..6, 0..5),
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 5),
        replies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 3),
    ) {
        const NAMES: [&str; 6] = ["authorization", "macaroon", "grpc-metadata-macaroon",
            "x-toll-account", "content-type", "origin"];
        let world = World::new();
        let good = world.credential("demo");
        let mut headers: Vec<(&str, &[u8])> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            headers.push((NAMES[*name], &values[at]));
        }
        if values[0].first().is_some_and(|byte| byte % 2 == 0) {
            headers.push(("authorization", good.as_bytes()));
        }
        let (mut exchange, mut step) = world.get("/api/joke", &headers);
        for body in replies {
            prop_assert!(step != Step::Continue);
            for call in world.host.take_calls() {
                let reply = CallReply { status: Some(200), body: body.clone() };
                step = exchange.call_answered(&world.host, call.id, &reply);
            }
        }
        prop_assert!(exchange.is_held_back());
    }
}
