//! Sessions: time instead of credit.

use serde_json::{Value, json};
use tollway_core::caveat::{TIER_CREDITS, TIER_SESSION};
use tollway_core::keyring::KEYS_MAX;
use tollway_core::macaroon::Macaroon;
use tollway_core::wire::REVOKED_TOKENS_MAX;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::LogField;
use tollway_gate::metrics::Decision;

use crate::world::{
    NOW_S, World, body, config, header, keyring_json, ok, outcome, preimage, tier_credential, token,
};

fn with_session() -> World {
    let mut config = config();
    config["routes"][1]["mode"] = json!({"session": {"duration_s": 900}});
    World::with(&config)
}

fn session(valid_until: u64) -> String {
    tier_credential("demo", TIER_SESSION, 1, valid_until)
}

/// A keyring that names these revoked tokens.
fn revoking(revision: u64, revoked: &[String]) -> Value {
    let mut keyring = keyring_json(1, &[1]);
    keyring["revoked"] = json!(revoked);
    keyring["revision"] = revision.into();
    keyring
}

fn refresh(world: &World, keyring: &Value) {
    world.host.advance_ms(world.gate.config().keyring_refresh_ms);
    world.gate.tick(&world.host);
    world.answer_keyring(keyring);
}

fn get(world: &World, path: &str, credential: &str) -> (Exchange, Step) {
    world.get(path, &[("authorization", credential.as_bytes())])
}

#[test]
fn a_session_is_sold_at_its_price_and_ends_with_its_time() {
    let world = with_session();
    let (mut exchange, _) = world.get("/api/dear", &[]);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!((&asked["amount_msat"], &asked["credit_msat"]), (&50_000.into(), &0.into()));
    assert_eq!(asked["buys"], "session");
    let body = body(&reply);
    assert_eq!(body["expiresAt"], NOW_S + 900);
    assert_eq!(body.get("creditMsat"), None, "it buys time, not credit");
    let token = Macaroon::from_base64(body["macaroon"].as_str().unwrap().as_bytes()).unwrap();
    assert_eq!(token.caveats().next().unwrap(), b"services=demo:1");
    assert!(header(&reply, "www-authenticate").starts_with("L402 macaroon=\""));
}

#[test]
fn a_session_admits_without_a_call_until_it_expires() {
    let world = with_session();
    let credential = session(NOW_S + 60);
    for _ in 0..3 {
        let (mut exchange, step) = get(&world, "/api/dear", &credential);
        assert_eq!(step, Step::Continue);
        assert!(!exchange.is_held_back());
        let upstream = |name| world.host.upstream_header(name);
        assert_eq!(upstream("authorization"), None);
        assert_eq!(upstream("x-toll-tier").unwrap(), b"session");
        assert_eq!(upstream("x-toll-cost-msat").unwrap(), b"0");
        let account = preimage().payment_hash().to_hex();
        assert_eq!(upstream("x-toll-account").unwrap(), account.as_bytes());

        world.host.begin_response(&[(":status", b"200")], false);
        exchange.response_headers(&world.host);
        let client = |name| world.host.client_header(name).unwrap();
        assert_eq!(
            (client("x-toll-cost-msat"), client("x-toll-tier")),
            ("0".into(), "session".into())
        );
        assert_eq!(client("cache-control"), "private");
        exchange.finished(&world.host);
        world.gate.tick(&world.host);
        world.assert_no_call();
    }
    assert_eq!(world.host.count_of(Decision::Ok), 3);
    world.host.advance_ms(60_000);
    assert_eq!(get(&world, "/api/dear", &credential).1, Step::Wait);
    world.one_call("POST", "/v1/challenges");
    assert_eq!(world.host.note_of(LogField::Reason), "credential_expired");
}

#[test]
fn credit_opens_no_session_and_a_session_spends_no_credit() {
    let world = with_session();
    for (path, credential) in [
        ("/api/dear", tier_credential("demo", TIER_CREDITS, 1, NOW_S + 60)),
        ("/api/joke", session(NOW_S + 60)),
        ("/api/dear", tier_credential("demo", 2, 1, NOW_S + 60)),
        ("/api/joke", tier_credential("demo", 2, 1, NOW_S + 60)),
    ] {
        let (mut exchange, step) = get(&world, path, &credential);
        assert_eq!(step, Step::Wait, "{path}");
        let (asked, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(body(&reply)["code"], "wrong_tier", "{path}");
        assert_eq!(asked.get("top_up"), None, "{path}");
    }
    assert_eq!(world.host.count_of(Decision::Invalid), 4);
    let other = tier_credential("other", TIER_SESSION, 1, NOW_S + 60);
    assert_eq!(get(&world, "/api/dear", &other).1, Step::Wait);
    assert_eq!(world.host.note_of(LogField::Reason), "wrong_service");
}

#[test]
fn a_session_needs_its_keys() {
    let mut config = config();
    config["routes"][1]["mode"] = json!({"session": {"duration_s": 900}});
    let world = World::without_keys(&config);
    world.host.take_calls();
    let (_, step) = get(&world, "/api/dear", &session(NOW_S + 60));
    assert!(matches!(step, Step::Answer(reply) if reply.status == 503));
}

#[test]
fn a_session_s_requests_cost_nothing_and_its_holder_may_narrow_it() {
    let world = with_session();
    for (caveat, step) in [
        (&b"max_cost_msat=0"[..], Step::Continue),
        (b"services=demo:1", Step::Continue),
        (b"method=POST", Step::Wait),
        (b"services=demo:0", Step::Wait),
    ] {
        let token = token("demo", TIER_SESSION, 1, NOW_S + 60).attenuate(caveat);
        let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
        assert_eq!(get(&world, "/api/dear", &credential).1, step);
    }
    // Nor does a caveat turn credit into a session.
    let token = token("demo", TIER_CREDITS, 1, NOW_S + 60).attenuate(b"services=demo:1");
    let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
    assert_eq!(get(&world, "/api/dear", &credential).1, Step::Wait);
    assert_eq!(world.host.note_of(LogField::Reason), "caveat_widens");
}

#[test]
fn a_revoked_session_ends_with_the_next_keyring_and_may_come_back() {
    let world = with_session();
    let credential = session(NOW_S + 3_600);
    let this = preimage().payment_hash().to_hex();
    // Of 64 hexadecimal digits each, on both sides of it.
    let mut others: Vec<_> = (0..=254_u8).map(|n| hex::encode([n; 32])).collect();
    refresh(&world, &revoking(1, &others));
    assert_eq!(get(&world, "/api/dear", &credential).1, Step::Continue);
    others.insert(7, this);
    refresh(&world, &revoking(2, &others));
    for _ in 0..2 {
        let (mut exchange, step) = get(&world, "/api/dear", &credential);
        assert_eq!(step, Step::Wait);
        let (asked, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(body(&reply)["code"], "account_revoked");
        assert_eq!(asked.get("top_up"), None, "a new payment opens a new account");
        assert_eq!(world.host.note_of(LogField::Reason), "account_revoked");
    }
    refresh(&world, &revoking(3, &[]));
    assert_eq!(get(&world, "/api/dear", &credential).1, Step::Continue);
}

#[test]
fn news_of_a_revocation_beside_postings_fetches_the_keyring_with_the_next_tick() {
    let world = with_session();
    refresh(&world, &revoking(7, &[]));
    let answered = |revision: Option<u64>| {
        world.admitted("/api/joke", 5_000, 0).finished(&world.host);
        world.gate.tick(&world.host);
        let call = world.one_call("POST", "/v1/postings");
        let mut reply = json!({"outcomes": [outcome("posted", &0.into())]});
        if let Some(revision) = revision {
            reply["revision"] = revision.into();
        }
        world.gate.call_answered(&world.host, call.id, &ok(&reply));
        world.gate.tick(&world.host);
    };
    for nothing_new in [Some(7), Some(0), None] {
        answered(nothing_new);
        world.assert_no_call();
    }
    answered(Some(8));
    world.answer_keyring(&revoking(8, &[preimage().payment_hash().to_hex()]));
    assert_eq!(get(&world, "/api/dear", &session(NOW_S + 60)).1, Step::Wait);
    assert_eq!(world.host.note_of(LogField::Reason), "account_revoked");
    world.one_call("POST", "/v1/challenges");
    answered(Some(8));
    world.assert_no_call();
}

#[test]
fn the_largest_keyring_is_read() {
    let world = with_session();
    let ids: Vec<u8> = (1..=u8::try_from(KEYS_MAX).unwrap()).collect();
    let mut keyring = keyring_json(1, &ids);
    for (key, id) in keyring["keys"].as_array_mut().unwrap().iter_mut().zip(0..) {
        key["id"] = (u32::MAX - id).into();
    }
    keyring["current"] = u32::MAX.into();
    keyring["revision"] = u64::MAX.into();
    let mut revoked = vec![preimage().payment_hash().to_hex()];
    revoked.extend((1..REVOKED_TOKENS_MAX).map(|n| format!("{n:064x}")));
    keyring["revoked"] = json!(revoked);
    keyring["keys"].as_array_mut().unwrap().pop();
    keyring["keys"].as_array_mut().unwrap().push(keyring_json(1, &[1])["keys"][0].clone());
    refresh(&world, &keyring);
    assert_eq!(get(&world, "/api/dear", &session(NOW_S + 60)).1, Step::Wait);
    assert_eq!(world.host.note_of(LogField::Reason), "account_revoked");
}
