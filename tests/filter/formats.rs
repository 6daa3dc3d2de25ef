//! Other paywalls' tokens and challenges at the gate, and the options of our own form.

use serde_json::{Value, json};
use tollway_core::compat::lightning_toll::{Bindings, Token};
use tollway_core::compat::toll_booth;
use tollway_core::secret::{RootKey, SecretText};
use tollway_gate::exchange::Step;
use tollway_gate::host::Reply;

use crate::world::{
    INVOICE, NOW_S, World, body, config, credential, granted, header, keyring_json, preimage,
};

const SECRET: &str = "canary-secret-of-the-old-system";

fn keyring() -> Value {
    let mut keyring = keyring_json(1, &[1]);
    keyring["legacy"] = json!([
        {"format": "lightning-toll", "secret": SECRET, "services": ["demo"]},
        {"format": "toll-booth", "secret": "07".repeat(32), "services": ["demo"]},
    ]);
    keyring
}

fn world(more: &Value) -> World {
    let mut config = config();
    for (name, value) in more.as_object().unwrap() {
        config["services"][0][name] = value.clone();
    }
    let world = World::without_keys(&config);
    world.answer_keyring(&keyring());
    world
}

fn json_credential(endpoint: &str) -> String {
    let bindings = Bindings { expires_at: NOW_S, endpoint, method: "GET", ip: "" };
    let id = preimage().payment_hash().to_hex();
    let token = Token::mint(&SecretText::new(SECRET.to_owned()), &id, &bindings);
    format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex())
}

fn toll_booth_credential() -> String {
    let key = RootKey::from_bytes([7; 32]);
    let token = toll_booth::mint(&key, preimage().payment_hash(), [9; 32], 77);
    format!("L402 {}:{}", toll_booth::to_base64(&token), preimage().reveal_hex())
}

/// The answer to a GET of the joke with this credential, where no hold is asked for.
fn answered(world: &World, credential: &str) -> Reply {
    let (mut exchange, step) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    match step {
        Step::Answer(reply) => reply,
        Step::Wait => world.answer_challenge(&mut exchange).1,
        Step::Continue | Step::Respond => panic!("the request passed"),
    }
}

#[test]
fn tokens_of_other_paywalls_wait_for_a_hold_that_says_what_they_are_worth() {
    let world = world(&json!({"accept_formats": ["l402", "lightning-toll", "toll-booth"]}));
    for (credential, worth) in [
        (json_credential("/api/joke"), json!(5_000)),
        (toll_booth_credential(), json!(77_000)),
        (credential("demo", 1, NOW_S + 60), Value::Null),
    ] {
        let (mut exchange, step) =
            world.get("/api/joke?x=1", &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait);
        let call = world.one_call("PUT", "/v1/holds/");
        assert_eq!(call.json()["import_msat"], worth, "{credential}");
        assert_eq!(call.json()["payment_hash"], preimage().payment_hash().to_hex());
        let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 0));
        assert_eq!(step, Step::Continue);
        assert_eq!(world.host.upstream_header("authorization"), None);
    }
}

#[test]
fn formats_are_accepted_where_the_configuration_says_so() {
    for (formats, json_accepted, booth_accepted) in [
        (json!(["l402"]), false, false),
        (json!(["l402", "lightning-toll"]), true, false),
        (json!(["l402", "toll-booth"]), false, true),
    ] {
        let world = world(&json!({"accept_formats": formats}));
        for (credential, accepted) in [
            (json_credential("/api/joke"), json_accepted),
            (toll_booth_credential(), booth_accepted),
        ] {
            if accepted {
                world.get("/api/joke", &[("authorization", credential.as_bytes())]);
                world.one_call("PUT", "/v1/holds/");
            } else {
                let reply = answered(&world, &credential);
                assert_eq!(reply.status, 402);
                assert_eq!(body(&reply)["code"], "format_not_accepted");
            }
        }
    }
    let silent = World::without_keys(&config());
    silent.answer_keyring(&keyring());
    assert_eq!(body(&answered(&silent, &toll_booth_credential()))["code"], "format_not_accepted");
}

#[test]
fn an_old_secret_is_good_for_its_services_only() {
    let mut config = config();
    config["accept_formats"] = json!(["l402", "lightning-toll", "toll-booth"]);
    let world = World::without_keys(&config);
    world.answer_keyring(&keyring());
    for credential in [json_credential("/api/odd"), toll_booth_credential()] {
        let (mut exchange, step) =
            world.get("/api/odd", &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait);
        assert_eq!(body(&world.answer_challenge(&mut exchange).1)["code"], "wrong_service");
    }
}

#[test]
fn what_left_the_keyring_opens_nothing_not_even_from_the_cache() {
    let world = world(&json!({"accept_formats": ["l402", "toll-booth"]}));
    let credential = toll_booth_credential();
    world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    world.one_call("PUT", "/v1/holds/");
    world.host.advance_ms(5_001);
    world.gate.tick(&world.host);
    let calls = world.host.take_calls();
    let call = calls.iter().find(|call| call.header(":path") == "/v1/keyring").unwrap();
    let reply = crate::world::ok(&keyring_json(1, &[1]));
    world.gate.call_answered(&world.host, call.id, &reply);
    assert_eq!(body(&answered(&world, &credential))["code"], "signature_invalid");
}

#[test]
fn the_profile_of_lightning_toll_sells_its_tokens() {
    let world = world(&json!({"profile": "lightning-toll", "credential_ttl_s": 3_600}));
    let (mut exchange, _) = world.get("/api/joke?lang=en", &[]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(reply.status, 402);
    assert_eq!(header(&reply, "content-type"), "application/json");
    let bindings =
        Bindings { expires_at: NOW_S + 3_600, endpoint: "/api/joke", method: "GET", ip: "" };
    let id = hex::encode([5; 32]);
    let token = Token::mint(&SecretText::new(SECRET.to_owned()), &id, &bindings).to_base64();
    let line = format!(r#"L402 invoice="{INVOICE}", macaroon="{token}""#);
    assert_eq!(header(&reply, "www-authenticate"), line);
    assert_eq!(body(&reply)["macaroon"], token);
    assert_eq!(body(&reply)["amountSats"], 20);
    // Our own tokens stay good.
    world.paid("/api/joke");
}

#[test]
fn the_profile_of_lightning_toll_says_what_is_wrong_without_a_challenge() {
    let world = world(&json!({"profile": "lightning-toll"}));
    let reply = answered(&world, &json_credential("/api/other"));
    assert_eq!(reply.status, 401);
    assert_eq!(header(&reply, "www-authenticate"), "");
    let error = "Endpoint mismatch: expected /api/other, got /api/joke";
    assert_eq!(body(&reply), json!({"error": error}));
    world.assert_no_call();
}

#[test]
fn the_profile_of_toll_booth_sells_its_tokens_and_tells_the_balance() {
    let world = world(&json!({"profile": "toll-booth"}));
    let (mut exchange, _) = world.get("/api/joke?lang=en", &[]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(reply.status, 402);
    let shown = &body(&reply)["l402"];
    let token = shown["macaroon"].as_str().unwrap();
    let line = format!(r#"L402 macaroon="{token}", invoice="{INVOICE}""#);
    assert_eq!(header(&reply, "www-authenticate"), line);
    assert_eq!(shown["route"], "/api/joke");
    assert_eq!(shown["amount_sats"], 20);

    let credential = toll_booth_credential();
    let headers = [("authorization", credential.as_bytes()), ("x-credit-balance", b"999")];
    let (mut exchange, _) = world.get("/api/joke", &headers);
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &granted(5_000, 15_999));
    assert_eq!(world.host.upstream_header("x-credit-balance").unwrap(), b"15");
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("x-credit-balance").unwrap(), "15");
}

#[test]
fn nobody_upstream_believes_a_balance_that_a_client_sent() {
    let world = World::new();
    world.get("/", &[("x-credit-balance", b"999"), ("x-free-remaining", b"9")]);
    assert_eq!(world.host.upstream_header("x-credit-balance"), None);
    assert_eq!(world.host.upstream_header("x-free-remaining"), None);
}

#[test]
fn a_profile_without_its_secret_is_our_fault() {
    for profile in ["lightning-toll", "toll-booth"] {
        let mut config = config();
        config["profile"] = profile.into();
        let world = World::with(&config);
        let (mut exchange, _) = world.get("/api/joke", &[]);
        let (_, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(reply.status, 503);
        let warnings = world.host.warnings();
        assert!(warnings.iter().any(|line| line.contains("legacy_keys")), "{warnings:?}");
    }
}

#[test]
fn time_is_sold_in_our_own_form() {
    let mut config = config();
    config["profile"] = "toll-booth".into();
    config["routes"][0]["mode"] = json!({"session": {"duration_s": 60}});
    let world = World::without_keys(&config);
    world.answer_keyring(&keyring());
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["code"], "payment_required");
    assert_eq!(body(&answered(&world, &toll_booth_credential()))["code"], "wrong_tier");
}

#[test]
fn options_of_our_own_challenge() {
    let world = world(&json!({"lsat_line": true, "token_parameter": true, "reject_status": 401}));
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(reply.status, 402, "nothing was shown, so nothing was rejected");
    let token = body(&reply)["macaroon"].as_str().unwrap().to_owned();
    let lines: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name == "www-authenticate")
        .map(|(_, line)| line.as_str())
        .collect();
    let lsat = format!(r#"LSAT macaroon="{token}", invoice="{INVOICE}""#);
    let l402 =
        format!(r#"L402 macaroon="{token}", invoice="{INVOICE}", version="0", token="{token}""#);
    assert_eq!(lines, [lsat, l402]);

    let reply = answered(&world, "L402 garbage:00");
    assert_eq!(reply.status, 401);
    assert_eq!(body(&reply)["status"], 401);
    assert!(header(&reply, "www-authenticate").starts_with("LSAT "));
}

#[test]
fn no_secret_of_an_old_system_is_shown() {
    let world = world(&json!({"profile": "lightning-toll"}));
    assert!(!format!("{:?}", world.gate).contains(SECRET));
    let reply = answered(&world, &json_credential("/api/other"));
    assert!(!format!("{reply:?}").contains(SECRET));
}
