//! What happens before any money is asked for: routes, free pages, preflights, paths.

use serde_json::json;
use tollway_gate::exchange::Step;
use tollway_gate::host::{GrpcStatus, LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{World, body, config, header};

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn an_unmatched_request_is_denied_without_a_call() {
    let world = World::new();
    let (exchange, step) = world.get("/unknown", &[]);
    let reply = answer(step);
    assert_eq!(reply.status, 403);
    assert_eq!(body(&reply)["code"], "route_not_found");
    assert!(exchange.is_held_back());
    world.assert_no_call();
    assert_eq!(world.host.count_of(Decision::Denied), 1);
}

#[test]
fn unmatched_free_and_unmatched_priced_do_as_they_say() {
    let mut free = config();
    free["unmatched"] = json!("free");
    let world = World::with(&free);
    assert_eq!(world.get("/unknown", &[]).1, Step::Continue);

    let mut priced = config();
    priced["unmatched"] = json!({"service": "demo", "price_sats": 1});
    let world = World::with(&priced);
    assert_eq!(world.get("/unknown", &[]).1, Step::Wait);
    world.one_call("POST", "/v1/challenges");
}

#[test]
fn a_free_route_passes_and_keeps_secrets_from_the_upstream() {
    let world = World::new();
    let credential = world.credential("demo");
    let both = format!("{credential}, Bearer app-token");
    let (exchange, step) = world.get(
        "/?page=1",
        &[
            ("authorization", both.as_bytes()),
            ("macaroon", b"0201"),
            ("grpc-metadata-macaroon", b"0201"),
            ("x-toll-account", b"forged"),
            ("x-toll-free", b"forged"),
        ],
    );
    assert_eq!(step, Step::Continue);
    assert!(!exchange.is_held_back());
    assert_eq!(world.host.upstream_header("authorization").unwrap(), b"Bearer app-token");
    for gone in ["macaroon", "grpc-metadata-macaroon", "x-toll-account"] {
        assert_eq!(world.host.upstream_header(gone), None, "{gone}");
    }
    assert_eq!(world.host.upstream_header("x-toll-free").unwrap(), b"true");
    assert_eq!(world.host.count_of(Decision::Free), 1);
    world.assert_no_call();
}

#[test]
fn an_application_s_own_authorization_is_left_alone() {
    let world = World::new();
    let digest = br#"Digest username="a, b", uri="/x""#;
    world.get("/", &[("authorization", digest)]);
    assert_eq!(world.host.upstream_header("authorization").unwrap(), digest);
}

#[test]
fn a_path_that_is_not_normal_is_refused_before_it_is_matched() {
    let world = World::new();
    for path in ["/api//joke", "/api/%2e%2e/joke", "/api/j%6fke", "/a/../api/joke", "\\api", "*"] {
        let reply = answer(world.get(path, &[]).1);
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(body(&reply)["code"], "path_not_normal", "{path}");
    }
    world.assert_no_call();
}

#[test]
fn head_names_the_price_without_an_invoice() {
    let world = World::new();
    let reply = answer(world.method("HEAD", "/api/odd", &[]).1);
    assert_eq!(reply.status, 402);
    assert_eq!(header(&reply, "x-toll-price-msat"), "1500");
    assert_eq!(header(&reply, "x-l402-price-sats"), "2");
    assert_eq!(header(&reply, "www-authenticate"), "");
    assert_eq!(header(&reply, "cache-control"), "no-store");
    assert_eq!(reply.body, b"");
    world.assert_no_call();
}

#[test]
fn a_preflight_passes_without_its_secrets_or_is_answered() {
    let preflight: &[(&str, &[u8])] = &[
        ("origin", b"https://app.example"),
        ("access-control-request-method", b"GET"),
        ("access-control-request-headers", b"authorization"),
        ("x-toll-account", b"forged"),
    ];
    let world = World::new();
    assert_eq!(world.method("OPTIONS", "/api/joke", preflight).1, Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-account"), None);

    let mut answering = config();
    answering["preflight"] = json!("answer");
    let world = World::with(&answering);
    let reply = answer(world.method("OPTIONS", "/api/joke", preflight).1);
    assert_eq!(reply.status, 204);
    assert_eq!(header(&reply, "access-control-allow-origin"), "*");
    assert_eq!(header(&reply, "access-control-allow-methods"), "GET");
    assert_eq!(header(&reply, "access-control-allow-headers"), "authorization");
}

#[test]
fn a_plain_options_request_is_priced_like_any_other() {
    let world = World::new();
    assert_eq!(world.method("OPTIONS", "/api/joke", &[]).1, Step::Wait);
    world.one_call("POST", "/v1/challenges");
}

#[test]
fn grpc_callers_get_grpc_answers() {
    let world = World::new();
    let grpc: &[(&str, &[u8])] = &[("content-type", b"application/grpc+proto")];
    let (mut exchange, _) = world.method("POST", "/api/joke", grpc);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(reply.grpc, Some((GrpcStatus::Internal, "payment required")));
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body, b"");
    assert!(header(&reply, "www-authenticate").starts_with("L402 macaroon=\""));

    let denied = answer(world.method("POST", "/unknown", grpc).1);
    assert_eq!(denied.grpc, Some((GrpcStatus::PermissionDenied, "no route matches")));
}

#[test]
fn hostile_header_bytes_are_only_bytes() {
    let world = World::new();
    for value in [&b"L402 \xff\xfe"[..], b"\xff", b"L40\xc3\xa9", b"L402 ", b"L402 :", b"", b","] {
        for name in ["authorization", "macaroon", "x-toll-x", "content-type", "origin"] {
            let (_, step) = world.get("/api/joke", &[(name, value)]);
            assert_eq!(step, Step::Wait, "{name}: {value:?}");
            world.one_call("POST", "/v1/challenges");
        }
    }
    let long = vec![b'A'; 64 * 1024];
    let value = [b"L402 ".as_slice(), &long].concat();
    let (_, step) = world.get("/api/joke", &[("authorization", &value)]);
    assert_eq!(step, Step::Wait);
    assert_eq!(world.host.note_of(LogField::Reason), "credential_too_long");
}

#[test]
fn a_request_without_pseudo_headers_is_refused() {
    let world = World::new();
    assert_eq!(answer(world.request(&[]).1).status, 400);
}
