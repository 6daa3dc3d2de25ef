//! Clients that ask for one invoice after the other.

use serde_json::json;
use tollway_gate::exchange::Step;
use tollway_gate::host::{GrpcStatus, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{World, body, header, ok};

fn limited(world: &World, more: &[(&str, &[u8])]) -> Reply {
    let (mut exchange, step) = world.get("/api/joke", more);
    assert_eq!(step, Step::Wait);
    let call = world.one_call("POST", "/v1/challenges");
    let reply = ok(&json!({"outcome": "limited", "retry_after_s": 17}));
    match exchange.call_answered(&world.host, call.id, &reply) {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_client_that_asks_for_too_many_invoices_is_told_to_wait() {
    let world = World::new();
    let reply = limited(&world, &[]);
    assert_eq!(reply.status, 429);
    assert_eq!(body(&reply)["code"], "too_many_challenges");
    assert_eq!(header(&reply, "retry-after"), "17");
    assert_eq!(header(&reply, "www-authenticate"), "");
    assert_eq!(world.host.count_of(Decision::Limited), 1);
    assert_eq!(world.host.count_of(Decision::Challenged), 0);
    assert_eq!(world.host.warnings(), [""; 0], "tollwayd is well");

    let reply = limited(&world, &[("content-type", b"application/grpc")]);
    assert_eq!(reply.grpc, Some((GrpcStatus::ResourceExhausted, "too many unpaid invoices")));
}

#[test]
fn a_challenge_says_who_asks_and_two_behind_one_address_differ() {
    let world = World::new();
    let asked = |more: &[(&str, &[u8])]| {
        world.get("/api/joke", more);
        world.one_call("POST", "/v1/challenges").json()["client"].clone()
    };
    let curl = asked(&[("user-agent", b"curl/8.0")]);
    assert_eq!(curl, json!({"address": "203.0.113.7", "fingerprint": "9ac5d6bca0dc24f5"}));
    assert_eq!(asked(&[("user-agent", b"curl/8.0"), ("accept", b"*/*")]), curl);
    assert_ne!(asked(&[("user-agent", b"wget")])["fingerprint"], curl["fingerprint"]);
    assert_ne!(asked(&[("user-agent", b"\xff\x00")])["fingerprint"], curl["fingerprint"]);

    world.host.set_client_address(None);
    assert_eq!(asked(&[]), json!(null));
    world.host.set_client_address(Some(&"x".repeat(65)));
    assert_eq!(asked(&[]), json!(null));
}
