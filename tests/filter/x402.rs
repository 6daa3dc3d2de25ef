//! x402: a payment is reserved before the upstream is reached, and settled before anything of its
//! answer leaves.

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField, Reply};
use tollway_gate::metrics::Decision;
use tollway_testkit::fake_host::SentCall;

use crate::world::{World, body, config, header, invoice, ok, preimage};

const SIGNED: (&str, &[u8]) = ("payment-signature", b"eyJ4IjoxfQ==");
const WITHIN_MS: u64 = 22_000;

fn world() -> World {
    let mut config = config();
    config["services"][0]["x402"] = json!(true);
    World::with(&config)
}

fn granted(more: &Value) -> CallReply {
    let account = preimage().payment_hash().to_hex();
    let mut reply = json!({"outcome": "granted", "account": account, "granted_msat": 5_000,
                           "balance_msat": 0});
    reply.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ok(&reply)
}

/// A request that is on its way to the upstream with a payment that was only reserved.
fn reserved(world: &World) -> Exchange {
    let (mut exchange, step) = world.get("/api/joke", &[SIGNED]);
    assert_eq!(step, Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    let reply = granted(&json!({"settle_within_ms": WITHIN_MS}));
    assert_eq!(exchange.call_answered(&world.host, call.id, &reply), Step::Continue);
    exchange
}

/// The upstream has answered well, and its answer waits.
fn settling(world: &World) -> (Exchange, SentCall) {
    let mut exchange = reserved(world);
    world.host.begin_response(&[(":status", b"200")], false);
    assert_eq!(exchange.response_headers(&world.host), Step::Wait);
    exchange.response_body(&world.host, 0, true);
    assert!(!exchange.is_held_back(), "the request's body may go on");
    assert_eq!(world.host.client_header("x-toll-cost-msat"), None, "nothing is told yet");
    let call = world.one_call("PUT", "/v1/holds/");
    (exchange, call)
}

/// There is no hold to end.
fn nothing_posted(world: &World) {
    world.gate.tick(&world.host);
    world.assert_no_call();
}

fn answered(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_payment_is_settled_before_the_answer_leaves() {
    let world = world();
    let (mut exchange, call) = settling(&world);
    for name in ["payment-signature", "x-payment"] {
        assert_eq!(world.host.upstream_header(name), None, "{name}");
    }
    assert!(call.header(":path").ends_with("/settlement"), "{}", call.header(":path"));
    assert_eq!(call.timeout_ms, WITHIN_MS);
    let asked = json!({"rail": "x402", "credential": "eyJ4IjoxfQ==", "service": "demo",
                       "route": "joke", "amount_msat": 5_000, "ttl_ms": 300_000});
    assert_eq!(call.json(), asked);
    let reply = granted(&json!({"headers": [["payment-response", "eyJyIjoxfQ=="]]}));
    assert_eq!(exchange.call_answered(&world.host, call.id, &reply), Step::Respond);
    assert_eq!(world.host.client_header("payment-response").unwrap(), "eyJyIjoxfQ==");
    assert_eq!(world.host.client_header("x-toll-cost-msat").unwrap(), "5000");
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 5_000);
}

#[test]
fn an_error_of_the_upstream_is_never_settled() {
    let world = world();
    for status in [&b"404"[..], b"503"] {
        let mut exchange = reserved(&world);
        world.host.begin_response(&[(":status", status)], false);
        assert_eq!(exchange.response_headers(&world.host), Step::Continue);
        exchange.response_body(&world.host, 0, true);
        assert_eq!(world.host.client_header("x-toll-cost-msat").unwrap(), "0");
        exchange.finished(&world.host);
        assert_eq!(world.host.note_of(LogField::CostMsat), "0");
        nothing_posted(&world);
    }
}

#[test]
fn a_stream_that_breaks_before_the_answer_is_never_settled() {
    let world = world();
    let mut exchange = reserved(&world);
    exchange.finished(&world.host);
    nothing_posted(&world);
}

#[test]
fn in_shadow_a_payment_is_reserved_and_never_settled() {
    let mut config = config();
    config["services"][0]["x402"] = json!(true);
    config["shadow"] = json!(true);
    let world = World::with(&config);
    let mut exchange = reserved(&world);
    assert_eq!(world.host.upstream_header("payment-signature"), None);
    world.host.begin_response(&[(":status", b"200")], false);
    assert_eq!(exchange.response_headers(&world.host), Step::Continue, "its answer leaves");
    exchange.response_body(&world.host, 0, true);
    for name in ["x-toll-cost-msat", "payment-response"] {
        assert_eq!(world.host.client_header(name), None, "{name}");
    }
    exchange.finished(&world.host);
    assert_eq!(world.host.shadow_of(Decision::Ok), (1, 5_000));
    nothing_posted(&world);
}

#[test]
fn what_is_not_settled_gives_nothing_away() {
    let world = world();
    let (mut exchange, call) = settling(&world);
    let reply = ok(&json!({"outcome": "refused", "refusal": "payment_not_proven",
        "balance_msat": 0, "problem": "verification-failed", "detail": "So it is.",
        "headers": [["payment-response", "eyJyIjowfQ=="], ["set-cookie", "a=b"]]}));
    let reply = answered(exchange.call_answered(&world.host, call.id, &reply));
    assert_eq!((reply.status, header(&reply, "payment-response")), (402, "eyJyIjowfQ=="));
    assert_eq!(header(&reply, "set-cookie"), "", "nothing else is added");
    assert_eq!(body(&reply)["code"], "payment_not_settled");
    exchange.finished(&world.host);
    nothing_posted(&world);
}

#[test]
fn what_is_not_known_is_503_and_never_402() {
    for reply in [
        CallReply { status: None, body: Vec::new() },
        CallReply { status: Some(503), body: Vec::new() },
        CallReply { status: Some(200), body: b"{}".to_vec() },
    ] {
        let world = world();
        let (mut exchange, call) = settling(&world);
        let answer = answered(exchange.call_answered(&world.host, call.id, &reply));
        assert_eq!((answer.status, header(&answer, "retry-after")), (503, "1"), "{reply:?}");
        exchange.finished(&world.host);
        let posted = world.posted();
        assert_eq!(posted.len(), 1, "what may be held is given back");
        assert_eq!((&posted[0]["amount_msat"], &posted[0]["release"]), (&json!(0), &json!(true)));
    }
    let world = world();
    let mut exchange = reserved(&world);
    world.host.begin_response(&[(":status", b"200")], false);
    world.host.set_cluster_gone(true);
    assert_eq!(answered(exchange.response_headers(&world.host)).status, 503);
    exchange.finished(&world.host);
    world.host.set_cluster_gone(false);
    nothing_posted(&world);
}

#[test]
fn a_client_that_leaves_while_it_is_settled_gets_its_credit_back() {
    let world = world();
    let (mut exchange, _) = settling(&world);
    exchange.finished(&world.host);
    let posted = world.posted();
    assert_eq!((&posted[0]["amount_msat"], &posted[0]["release"]), (&json!(0), &json!(true)));
}

#[test]
fn a_payment_that_was_settled_before_needs_no_more() {
    let world = world();
    let (mut exchange, _) = world.get("/api/joke", &[("x-payment", b"eyJ4IjoxfQ==")]);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(exchange.call_answered(&world.host, call.id, &granted(&json!({}))), Step::Continue);
    assert_eq!(world.host.upstream_header("x-payment"), None);
    world.host.begin_response(&[(":status", b"200")], false);
    assert_eq!(exchange.response_headers(&world.host), Step::Continue);
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 5_000);
}

#[test]
fn a_challenge_has_the_offer_of_tollwayd_in_its_header_and_body() {
    let world = world();
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let call = world.one_call("POST", "/v1/challenges");
    let asked = call.json();
    assert_eq!(asked["other"], json!({"x402": true, "price_msat": 5_000}));
    let mut reply: Value = serde_json::from_slice(&invoice(&asked).body).unwrap();
    reply["headers"] = json!([["payment-required", "eyJyIjoxfQ=="]]);
    reply["members"] = json!("\"x402Version\":1,\"accepts\":[{\"payTo\":\"0x1\"}]");
    let reply = answered(exchange.call_answered(&world.host, call.id, &ok(&reply)));
    assert_eq!((reply.status, header(&reply, "payment-required")), (402, "eyJyIjoxfQ=="));
    let told = body(&reply);
    assert_eq!((&told["x402Version"], &told["accepts"][0]["payTo"]), (&json!(1), &json!("0x1")));
    assert_eq!(told["code"], "payment_required");
}

#[test]
fn two_payments_are_refused_and_none_is_looked_at_where_x402_is_off() {
    let world = world();
    let credential = world.credential("demo");
    let own = ("authorization", credential.as_bytes());
    for headers in [&[SIGNED, ("x-payment", b"eyJ4IjoxfQ==")][..], &[SIGNED, own]] {
        let (mut exchange, step) = world.get("/api/joke", headers);
        assert_eq!(step, Step::Wait);
        let (_, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(reply.status, 402);
    }
    let off = World::with(&config());
    let (mut exchange, _) = off.get("/api/joke", &[SIGNED]);
    let (asked, _) = off.answer_challenge(&mut exchange);
    assert_eq!(asked["other"], Value::Null);
}
