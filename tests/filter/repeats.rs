//! Requests that come again under their idempotency key, and costs above what was held.

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, GrpcStatus, Reply};
use tollway_gate::metrics::Decision;
use tollway_testkit::fake_host::SentCall;

use crate::world::{World, body, config, granted, header, ok, preimage, refused};

fn with_keys(idempotency: &str) -> World {
    let mut config = config();
    config["routes"][0]["idempotency"] = json!(idempotency);
    World::with(&config)
}

/// A paid request with this key that waits for its hold.
fn keyed(world: &World, key: &[u8], more: &[(&str, &[u8])]) -> (Exchange, SentCall) {
    let credential = world.credential("demo");
    let mut headers: Vec<(&str, &[u8])> =
        vec![("authorization", credential.as_bytes()), ("idempotency-key", key)];
    headers.extend_from_slice(more);
    let (exchange, step) = world.method("POST", "/api/joke?lang=en", &headers);
    assert_eq!(step, Step::Wait);
    (exchange, world.one_call("PUT", "/v1/holds/"))
}

fn charged_before(replay: &Value) -> CallReply {
    ok(&json!({"outcome": "granted", "account": preimage().payment_hash().to_hex(),
               "granted_msat": 0, "balance_msat": 15_000, "already_charged": true,
               "replay": replay}))
}

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

/// A keyed request that was admitted, answered with these headers and parts of a body, and what
/// was stored of it.
fn stored(
    world: &World,
    more: &[(&str, &[u8])],
    headers: &[(&str, &[u8])],
    parts: &[&[u8]],
) -> Value {
    let (mut exchange, call) = keyed(world, b"k", more);
    assert_eq!(
        exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000)),
        Step::Continue
    );
    world.host.begin_response(headers, false);
    exchange.response_headers(&world.host);
    for (at, part) in parts.iter().enumerate() {
        world.host.set_response_body(part);
        exchange.response_body(&world.host, part.len(), at + 1 == parts.len());
    }
    exchange.finished(&world.host);
    world.posted()[0]["store"].clone()
}

#[test]
fn a_key_names_the_request_and_nothing_of_it_travels() {
    let world = with_keys("charge_once");
    let sent = |key: &[u8], more: &[(&str, &[u8])]| {
        let call = keyed(&world, key, more).1;
        assert!(!String::from_utf8_lossy(&call.body).contains("canary-key"));
        call.json()["idempotency"].clone()
    };
    let first = sent(b"canary-key", &[]);
    assert_eq!(first["key"].as_str().unwrap().len(), 64);
    assert_eq!(sent(b"canary-key", &[("accept", b"*/*")]), first);
    assert_ne!(sent(b"canary-key-2", &[])["key"], first["key"]);
    assert_eq!(sent(b"canary-key-2", &[])["fields"], first["fields"]);
    assert_ne!(sent(b"canary-key", &[("content-length", b"3")])["fields"], first["fields"]);

    let credential = world.credential("demo");
    let headers: &[(&str, &[u8])] =
        &[("authorization", credential.as_bytes()), ("idempotency-key", b"canary-key")];
    for (method, path) in [("PUT", "/api/joke?lang=en"), ("POST", "/api/joke?lang=de")] {
        world.method(method, path, headers);
        let call = world.one_call("PUT", "/v1/holds/");
        assert_ne!(call.json()["idempotency"]["fields"], first["fields"], "{method} {path}");
    }
    // Elsewhere the header is the application's own.
    world.method("POST", "/api/dear", headers);
    assert_eq!(world.one_call("PUT", "/v1/holds/").json().get("idempotency"), None);
    world.method("POST", "/api/joke", &headers[..1]);
    assert_eq!(world.one_call("PUT", "/v1/holds/").json().get("idempotency"), None);
}

#[test]
fn a_key_that_is_none_is_refused_without_a_call() {
    let world = with_keys("replay");
    let credential = world.credential("demo");
    let long = [b'k'; 256];
    for keys in [&[&b""[..]][..], &[b"a b"], &[b"\xff"], &[b"a\x7f"], &[&long], &[b"a", b"a"]] {
        let mut headers: Vec<(&str, &[u8])> = vec![("authorization", credential.as_bytes())];
        headers.extend(keys.iter().map(|key| ("idempotency-key", *key)));
        let reply = answer(world.get("/api/joke", &headers).1);
        assert_eq!(reply.status, 400, "{keys:?}");
        assert_eq!(body(&reply)["code"], "idempotency_key_malformed");
        world.assert_no_call();
    }
    keyed(&world, &long[..255], &[]);
}

#[test]
fn a_request_that_was_charged_before_passes_for_nothing() {
    for (mode, replay) in [
        ("charge_once", json!(null)),
        ("replay", json!(null)),
        // The route replays no longer.
        ("charge_once", json!({"status": 200, "content_type": "", "body_base64": ""})),
    ] {
        let world = with_keys(mode);
        let (mut exchange, call) = keyed(&world, b"k", &[]);
        let reply = charged_before(&replay);
        assert_eq!(exchange.call_answered(&world.host, call.id, &reply), Step::Continue);
        assert_eq!(world.host.upstream_header("x-toll-cost-msat").unwrap(), b"0");
        assert_eq!(world.host.upstream_header("authorization"), None);
        world.host.begin_response(&[(":status", b"200")], false);
        exchange.response_headers(&world.host);
        assert_eq!(world.host.client_header("x-toll-cost-msat").unwrap(), "0");
        assert_eq!(world.host.client_header("x-toll-balance-msat").unwrap(), "15000");
        exchange.finished(&world.host);
        world.gate.tick(&world.host);
        world.assert_no_call();
        assert_eq!(world.host.count_of(Decision::Ok), 1);
    }
}

#[test]
fn a_stored_response_is_given_again() {
    let world = with_keys("replay");
    let (mut exchange, call) = keyed(&world, b"k", &[]);
    let stored = json!({"status": 201, "content_type": "text/plain", "body_base64": "aGEh/w=="});
    let reply = answer(exchange.call_answered(&world.host, call.id, &charged_before(&stored)));
    assert_eq!(reply.status, 201);
    assert_eq!(reply.body, b"ha!\xff");
    assert_eq!(header(&reply, "content-type"), "text/plain");
    assert_eq!(header(&reply, "idempotent-replayed"), "true");
    assert_eq!(header(&reply, "x-toll-cost-msat"), "0");
    assert_eq!(header(&reply, "x-toll-balance-msat"), "15000");
    assert_eq!(header(&reply, "cache-control"), "no-store");
    assert_eq!(world.host.count_of(Decision::Replayed), 1);
    exchange.finished(&world.host);
    world.gate.tick(&world.host);
    world.assert_no_call();
}

#[test]
fn a_stored_response_that_is_damaged_is_a_503() {
    for stored in [
        json!({"status": 500, "content_type": "", "body_base64": ""}),
        json!({"status": 200, "content_type": "a\r\nset-cookie: x", "body_base64": ""}),
        json!({"status": 200, "content_type": "", "body_base64": "!"}),
    ] {
        let world = with_keys("replay");
        let (mut exchange, call) = keyed(&world, b"k", &[]);
        let reply = answer(exchange.call_answered(&world.host, call.id, &charged_before(&stored)));
        assert_eq!(reply.status, 503, "{stored}");
    }
}

#[test]
fn repeats_that_come_too_early_or_with_other_fields_are_refused() {
    for (refusal, status, code, grpc) in [
        ("idempotency_in_flight", 409, "idempotency_in_flight", GrpcStatus::Aborted),
        ("idempotency_mismatch", 422, "idempotency_mismatch", GrpcStatus::InvalidArgument),
    ] {
        let world = with_keys("charge_once");
        let (mut exchange, call) = keyed(&world, b"k", &[]);
        let reply = answer(exchange.call_answered(&world.host, call.id, &refused(refusal, 0)));
        assert_eq!((reply.status, body(&reply)["code"].as_str()), (status, Some(code)));
        assert_eq!(header(&reply, "retry-after").is_empty(), status != 409);
        assert_eq!(world.host.count_of(Decision::Denied), 1);
        let (mut exchange, call) = keyed(&world, b"k", &[("content-type", b"application/grpc")]);
        let reply = answer(exchange.call_answered(&world.host, call.id, &refused(refusal, 0)));
        assert_eq!(reply.grpc, Some((grpc, code)));
        exchange.finished(&world.host);
        world.gate.tick(&world.host);
        world.assert_no_call();

        // Nobody asked: tollwayd is not what it should be.
        let (mut exchange, call) = world.paid("/api/dear");
        let reply = answer(exchange.call_answered(&world.host, call.id, &refused(refusal, 0)));
        assert_eq!(reply.status, 503);
    }
    let world = with_keys("charge_once");
    let (mut exchange, call) = world.paid("/api/dear");
    let reply = charged_before(&json!(null));
    assert_eq!(answer(exchange.call_answered(&world.host, call.id, &reply)).status, 503);
    assert_eq!(world.posted()[0]["amount_msat"], 0, "whatever was held is given back");
}

#[test]
fn a_small_success_is_stored_as_it_passes() {
    let world = with_keys("replay");
    let ok: &[(&str, &[u8])] = &[(":status", b"201"), ("content-type", b"text/plain")];
    assert_eq!(
        stored(&world, &[], ok, &[b"ha", b"", b"!\xff", b""]),
        json!({"status": 201, "content_type": "text/plain", "body_base64": "aGEh/w=="})
    );
    let empty = json!({"status": 204, "content_type": "", "body_base64": ""});
    assert_eq!(stored(&world, &[], &[(":status", b"204")], &[b""]), empty);
    let largest = vec![b'x'; 16 * 1024];
    assert!(stored(&world, &[], ok, &[&largest]).is_object());
    let with_keys_only = with_keys("charge_once");
    assert_eq!(stored(&with_keys_only, &[], ok, &[b"ha!"]), json!(null));
}

#[test]
fn what_cannot_be_given_again_is_not_stored() {
    let world = with_keys("replay");
    let large = vec![b'x'; 16 * 1024];
    let grpc: &[(&str, &[u8])] = &[("content-type", b"application/grpc")];
    for (name, more, headers, parts) in [
        ("too long", &[][..], &[(":status", &b"200"[..])][..], &[&large[..], b"x"][..]),
        ("no success", &[], &[(":status", b"404")], &[b"x"]),
        ("a part", &[], &[(":status", b"206")], &[b"x"]),
        ("coded", &[], &[(":status", b"200"), ("content-encoding", b"gzip")], &[b"x"]),
        ("no end was seen", &[], &[(":status", b"200")], &[]),
        ("an odd type", &[], &[(":status", b"200"), ("content-type", b"a\xff")], &[b"x"]),
        ("refunded", &[], &[(":status", b"500")], &[b"x"]),
        ("gRPC", grpc, &[(":status", b"200")], &[b"x"]),
    ] {
        assert_eq!(stored(&world, more, headers, parts), json!(null), "{name}");
    }
}

#[test]
fn a_route_s_word_on_over_runs_travels_with_its_postings() {
    for (overrun, sent) in [
        (json!("cap"), None),
        (json!("debit_rest"), Some(json!("debit_rest"))),
        (json!({"debt_sats": 7}), Some(json!({"debt": {"limit_msat": 7_000}}))),
    ] {
        let mut config = config();
        config["routes"][0]["overrun"] = overrun;
        let world = World::with(&config);
        let mut exchange = world.admitted("/api/joke", 5_000, 0);
        world.host.begin_response(&[(":status", b"200")], false);
        exchange.response_headers(&world.host);
        exchange.finished(&world.host);
        assert_eq!(world.posted()[0].get("overrun"), sent.as_ref());
    }
}
