//! Routes that do not ask for the preimage: what is asked of the ledger instead.

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_gate::exchange::Step;
use tollway_gate::metrics::Decision;

use crate::world::{NOW_S, World, body, config, granted, preimage, refused, token};

/// The usual configuration with another service beside, which asks for this proof.
fn with_proof(proof: &str) -> World {
    let mut config = config();
    config["services"][0]["proof"] = json!(proof);
    config["services"][0]["spend"] = json!("leased");
    config["services"][0]["lease_max_sats"] = json!(20);
    config["routes"].as_array_mut().unwrap().push(json!({
        "name": "hour", "service": "demo", "match": {"path": "/api/hour"}, "price_sats": 5,
        "mode": {"session": {"duration_s": 60}}
    }));
    World::with(&config)
}

fn bare_token() -> String {
    token("demo", TIER_CREDITS, 1, NOW_S + 60).to_base64()
}

fn hash() -> String {
    preimage().payment_hash().to_hex()
}

fn bare_forms() -> [String; 3] {
    let (token, hash) = (bare_token(), hash());
    [
        format!("L402 {token}"),
        format!("L402 {token}:"),
        format!(r#"L402 macaroon="{token}", payment_hash="{hash}""#),
    ]
}

fn hash_alone() -> String {
    format!(r#"L402 payment_hash="{}""#, hash())
}

/// The hold that a request with this credential asks for.
fn held(world: &World, credential: &str) -> Value {
    let (mut exchange, step) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    assert_eq!(step, Step::Wait, "{credential}");
    let call = world.one_call("PUT", "/v1/holds/");
    let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000));
    assert_eq!(step, Step::Continue, "{credential}");
    assert_eq!(world.host.upstream_header("authorization"), None, "it is ours alone");
    call.json()
}

/// What a request with this credential is told, and what the invoice was asked for.
fn turned_away(world: &World, path: &str, credential: &str) -> (String, Value) {
    let (mut exchange, step) = world.get(path, &[("authorization", credential.as_bytes())]);
    assert_eq!(step, Step::Wait, "{credential}");
    let (asked, reply) = world.answer_challenge(&mut exchange);
    (body(&reply)["code"].as_str().unwrap().to_owned(), asked)
}

#[test]
fn a_token_without_its_preimage_asks_the_ledger_for_every_request() {
    for proof in ["lookup", "payment_hash_alone"] {
        let world = with_proof(proof);
        for credential in bare_forms() {
            for _ in 0..2 {
                let exact = json!({"payment_hash": hash(), "amount_msat": 5_000,
                                   "ttl_ms": 300_000, "route": "joke"});
                assert_eq!(held(&world, &credential), exact, "no lease: it is judged each time");
            }
        }
        let whole = world.credential("demo");
        let (_, step) = world.get("/api/joke", &[("authorization", whole.as_bytes())]);
        assert_eq!(step, Step::Wait);
        let lease = world.one_call("PUT", "/v1/holds/").json();
        assert_eq!(lease["preimage"], preimage().reveal_hex());
        assert_eq!(lease["min_msat"], 5_000, "who proves it may lease");
    }
}

#[test]
fn a_hash_opens_only_where_the_operator_insists() {
    for proof in ["preimage", "lookup"] {
        let world = with_proof(proof);
        let (code, asked) = turned_away(&world, "/api/joke", &hash_alone());
        assert_eq!(code, "preimage_missing");
        let sold_under = if proof == "preimage" { Value::Null } else { json!(proof) };
        assert_eq!(asked.get("proof").cloned().unwrap_or_default(), sold_under);
        assert_eq!(world.host.count_of(Decision::Invalid), 1);
    }
    let world = with_proof("payment_hash_alone");
    let asked = held(&world, &hash_alone());
    assert_eq!(asked["hash_alone"], true);
    let proven = format!("{}, preimage=\"{}\"", hash_alone(), preimage().reveal_hex());
    assert_eq!(held(&world, &proven)["hash_alone"], true, "no token says what it is good for");
    let (_, step) = world.get("/api/joke", &[]);
    assert_eq!(step, Step::Wait);
    assert_eq!(world.one_call("POST", "/v1/challenges").json()["proof"], "hash");
}

#[test]
fn sessions_top_ups_and_other_services_need_the_preimage() {
    for proof in ["lookup", "payment_hash_alone"] {
        let world = with_proof(proof);
        for credential in bare_forms() {
            let (code, asked) = turned_away(&world, "/api/hour", &credential);
            assert_eq!(code, "preimage_missing");
            assert_eq!(asked.get("proof"), None, "a session is admitted by its preimage");
            let (code, _) = turned_away(&world, "/api/odd", &credential);
            assert_eq!(code, "preimage_missing", "the other service did not ask for less");
        }
        let mut bare = bare_forms().to_vec();
        bare.extend((proof == "payment_hash_alone").then(hash_alone));
        for credential in bare {
            let top_up = [("authorization", credential.as_bytes()), ("x-toll-top-up", b"1")];
            let (mut exchange, step) = world.get("/api/joke", &top_up);
            assert_eq!(step, Step::Wait);
            let (asked, reply) = world.answer_challenge(&mut exchange);
            assert_eq!(body(&reply)["code"], "preimage_missing");
            assert_eq!(asked.get("top_up"), None, "its payer would spend from the account");
        }
    }
}

#[test]
fn a_payment_that_has_not_arrived_is_asked_for_again_by_its_own_invoice() {
    let world = with_proof("lookup");
    let credential = format!("L402 {}", bare_token());
    let (mut exchange, _) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &refused("payment_pending", 0));
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!((&asked["pending"], &asked["proof"]), (&json!(hash()), &json!("lookup")));
    assert_eq!(asked.get("top_up"), None);
    assert_eq!((reply.status, &body(&reply)["code"]), (402, &json!("payment_pending")));
    assert_eq!(world.host.count_of(Decision::Invalid), 0, "nothing is wrong with the token");
}

#[test]
fn a_named_hash_must_be_the_tokens() {
    let world = with_proof("lookup");
    let other = format!(r#"L402 macaroon="{}", payment_hash="{}""#, bare_token(), "00".repeat(32));
    assert_eq!(turned_away(&world, "/api/joke", &other).0, "credentials_conflict");
}
