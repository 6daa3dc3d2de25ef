//! Challenges, credentials and holds: what is asked for and what it buys.

use serde_json::json;
use tollway_gate::exchange::Step;
use tollway_gate::host::{CallReply, LogField};
use tollway_gate::metrics::Decision;

use crate::world::{
    INVOICE, NOW_S, World, body, config, credential, granted, header, keyring_json, ok, preimage,
    refused,
};

/// The fingerprint of a client that sends no User-Agent.
const NO_USER_AGENT: &str = "af5570f5a1810b7a";

#[test]
fn the_first_request_gets_a_challenge_that_can_be_paid() {
    let world = World::new();
    let (mut exchange, step) = world.get("/api/joke", &[]);
    assert_eq!(step, Step::Wait);
    assert!(exchange.is_held_back());
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(
        asked,
        json!({
            "route": "joke",
            "service": "demo",
            "amount_msat": 20_000,
            "credit_msat": 20_000,
            "memo": "a joke",
            "client": {"address": "203.0.113.7", "fingerprint": NO_USER_AGENT}
        })
    );

    assert_eq!(reply.status, 402);
    let body = body(&reply);
    let line =
        format!(r#"L402 macaroon="{}", invoice="{INVOICE}""#, body["macaroon"].as_str().unwrap());
    assert_eq!(header(&reply, "www-authenticate"), line);
    assert_eq!(header(&reply, "content-type"), "application/problem+json");
    assert_eq!(header(&reply, "cache-control"), "no-store");
    assert_eq!(header(&reply, "access-control-allow-origin"), "*");
    assert!(header(&reply, "access-control-expose-headers").contains("WWW-Authenticate"));
    assert_eq!(body["status"], 402);
    assert_eq!(body["code"], "payment_required");
    assert_eq!(body["invoice"], INVOICE);
    assert_eq!(body["amountSats"], 20);
    assert_eq!(body["priceMsat"], 5_000);
    assert_eq!(body["paymentHash"], hex::encode([5; 32]));
    assert_eq!(body["description"], "a joke");
    assert_eq!(body["expiresAt"], NOW_S + 31_536_000);
    assert_eq!(body["invoiceExpiresAt"], NOW_S + 600);
    assert!(exchange.is_held_back(), "an answered request never goes on");
    assert_eq!(world.host.count_of(Decision::Challenged), 1);
    assert_eq!(world.host.note_of(LogField::Decision), "challenged");
    assert_eq!(world.host.note_of(LogField::Reason), "payment_required");
}

#[test]
fn the_invoice_is_for_the_purchase_but_never_below_the_price() {
    let world = World::new();
    for (path, amount_msat) in [("/api/joke", 20_000), ("/api/dear", 50_000), ("/api/odd", 2_000)] {
        world.get(path, &[]);
        let asked = world.one_call("POST", "/v1/challenges").json();
        assert_eq!(asked["amount_msat"], amount_msat, "{path}");
    }
}

#[test]
fn a_paid_request_waits_for_its_hold_and_then_passes() {
    let world = World::new();
    let both = format!("{}, Bearer app-token", world.credential("demo"));
    let (mut exchange, step) = world.get(
        "/api/joke?lang=en",
        &[("authorization", both.as_bytes()), ("x-toll-balance-msat", b"999")],
    );
    assert_eq!(step, Step::Wait);
    assert!(exchange.is_held_back());
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(
        call.json(),
        json!({
            "payment_hash": preimage().payment_hash().to_hex(),
            "preimage": preimage().reveal_hex(),
            "amount_msat": 5_000,
            "ttl_ms": 300_000,
            "route": "joke"
        })
    );

    let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000));
    assert_eq!(step, Step::Continue);
    assert!(!exchange.is_held_back());
    let upstream = |name| world.host.upstream_header(name).unwrap_or_default();
    assert_eq!(upstream("authorization"), b"Bearer app-token");
    assert_eq!(upstream("x-toll-account"), preimage().payment_hash().to_hex().as_bytes());
    assert_eq!(upstream("x-toll-cost-msat"), b"5000");
    assert_eq!(upstream("x-toll-balance-msat"), b"15000");
    assert_eq!(world.host.count_of(Decision::Ok), 1);
    assert_eq!(world.host.note_of(LogField::Account), preimage().payment_hash().to_hex());
}

#[test]
fn every_request_gets_a_hold_of_its_own() {
    let world = World::new();
    let (_, first) = world.paid("/api/joke");
    let (_, second) = world.paid("/api/joke");
    assert_ne!(first.header(":path"), second.header(":path"));
}

#[test]
fn an_exhausted_account_is_offered_a_top_up_of_itself() {
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    let step = exchange.call_answered(&world.host, call.id, &refused("insufficient_credit", 3_000));
    assert_eq!(step, Step::Wait);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["top_up"], preimage().payment_hash().to_hex());
    assert_eq!(reply.status, 402);
    assert_eq!(body(&reply)["code"], "insufficient_credit");
    assert_eq!(body(&reply)["balanceMsat"], 3_000);
    assert_eq!(header(&reply, "x-toll-balance-msat"), "3000");
    assert_eq!(world.host.count_of(Decision::Invalid), 0, "nothing is wrong with the credential");
}

#[test]
fn other_refusals_open_a_new_account() {
    for (refusal, code) in [
        ("unknown_payment", "payment_unknown"),
        ("payment_not_proven", "payment_not_proven"),
        ("account_revoked", "account_revoked"),
    ] {
        let world = World::new();
        let (mut exchange, call) = world.paid("/api/joke");
        exchange.call_answered(&world.host, call.id, &refused(refusal, 0));
        let (asked, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(asked.get("top_up"), None);
        assert_eq!(body(&reply)["code"], code);
    }
}

#[test]
fn bad_credentials_get_a_fresh_challenge_and_a_reason() {
    let good = credential("demo", 1, NOW_S + 60);
    let macaroon = good.strip_prefix("L402 ").unwrap().split(':').next().unwrap();
    let wrong_preimage = format!("L402 {macaroon}:{}", "00".repeat(32));
    let unpaid = format!("L402 {macaroon}:");
    // One character in the middle of the caveats.
    let flipped = if &macaroon[120..121] == "A" { "B" } else { "A" };
    let tampered = format!(
        "L402 {}{flipped}{}:{}",
        &macaroon[..120],
        &macaroon[121..],
        preimage().reveal_hex()
    );
    let mut signature = macaroon.as_bytes().to_vec();
    let last = signature.len() - 4;
    signature[last] = if signature[last] == b'A' { b'B' } else { b'A' };
    let signature =
        format!("L402 {}:{}", String::from_utf8(signature).unwrap(), preimage().reveal_hex());
    let two = format!("{good}, {}", credential("demo", 1, NOW_S + 61));
    for (credential, code) in [
        (wrong_preimage, "preimage_mismatch"),
        (unpaid, "preimage_missing"),
        (tampered, "signature_invalid"),
        (signature, "signature_invalid"),
        (credential("demo", 2, NOW_S + 60), "key_unknown"),
        (credential("demo", 1, NOW_S - 1), "credential_expired"),
        (credential("other", 1, NOW_S + 60), "wrong_service"),
        (two, "credentials_conflict"),
        ("L402 garbage".into(), "credential_malformed"),
    ] {
        let world = World::new();
        let (mut exchange, step) =
            world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait, "{code}");
        if code == "key_unknown" {
            let step = world.answer_fresh_keys(&mut exchange, &keyring_json(1, &[1]));
            assert_eq!(step, Step::Wait, "{code}");
        }
        let (asked, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(asked.get("top_up"), None, "{code}");
        assert_eq!(reply.status, 402, "{code}");
        assert_eq!(body(&reply)["code"], code);
        assert!(
            !body(&reply).to_string().contains(&preimage().reveal_hex()),
            "{code}: echoes the credential"
        );
        assert_eq!(world.host.count_of(Decision::Invalid), 1, "{code}");
    }
}

#[test]
fn the_same_credential_twice_counts_as_one() {
    let world = World::new();
    let l402 = world.credential("demo");
    let lsat = l402.replacen("L402", "LSAT", 1);
    let (_, step) = world.get(
        "/api/joke",
        &[("authorization", lsat.as_bytes()), ("authorization", l402.as_bytes())],
    );
    assert_eq!(step, Step::Wait);
    world.one_call("PUT", "/v1/holds/");
}

#[test]
fn a_cached_credential_is_still_judged_by_its_caveats() {
    let world = World::new();
    let credential = credential("demo", 1, NOW_S + 60);
    let header: &[(&str, &[u8])] = &[("authorization", credential.as_bytes())];
    world.get("/api/joke", header);
    world.one_call("PUT", "/v1/holds/");
    world.get("/api/odd", header);
    world.one_call("POST", "/v1/challenges");
    assert_eq!(world.host.note_of(LogField::Reason), "wrong_service");
    world.host.advance_ms(61_000);
    world.get("/api/joke", header);
    assert_eq!(world.host.note_of(LogField::Reason), "credential_expired");
}

#[test]
fn a_key_that_left_the_ring_opens_nothing_from_the_cache_either() {
    let world = World::new();
    let credential = world.credential("demo");
    let header: &[(&str, &[u8])] = &[("authorization", credential.as_bytes())];
    world.get("/api/joke", header);
    world.one_call("PUT", "/v1/holds/");

    let rotate = |current, keys: &[u8]| {
        world.host.advance_ms(world.gate.config().keyring_refresh_ms);
        world.gate.tick(&world.host);
        world.answer_keyring(&keyring_json(current, keys));
    };
    // Rotation keeps the old key for a while; new tokens are minted with the new one.
    rotate(2, &[1, 2]);
    let credential = self::credential("demo", 1, NOW_S + 3_600);
    let header: &[(&str, &[u8])] = &[("authorization", credential.as_bytes())];
    world.get("/api/joke", header);
    world.one_call("PUT", "/v1/holds/");

    rotate(2, &[2]);
    let (mut exchange, _) = world.get("/api/joke", header);
    world.answer_fresh_keys(&mut exchange, &keyring_json(2, &[2]));
    world.one_call("POST", "/v1/challenges");
    assert_eq!(world.host.note_of(LogField::Reason), "key_unknown");
}

#[test]
fn a_key_that_another_worker_knew_first_is_fetched_before_anything_is_refused() {
    let world = World::new();
    let credential = credential("demo", 2, NOW_S + 60);
    let header: &[(&str, &[u8])] = &[("authorization", credential.as_bytes())];
    let (mut exchange, step) = world.get("/api/joke", header);
    assert_eq!(step, Step::Wait);
    assert!(exchange.is_held_back());
    let step = world.answer_fresh_keys(&mut exchange, &keyring_json(2, &[1, 2]));
    assert_eq!(step, Step::Wait);
    world.one_call("PUT", "/v1/holds/");
    // From now on every request knows the key, and the old one still verifies.
    for key in [2, 1] {
        let credential = self::credential("demo", key, NOW_S + 61);
        world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        world.one_call("PUT", "/v1/holds/");
    }
}

#[test]
fn without_the_keys_of_now_nobody_is_asked_to_pay_again() {
    let credential = credential("demo", 2, NOW_S + 60);
    let header: &[(&str, &[u8])] = &[("authorization", credential.as_bytes())];
    for reply in [
        CallReply { status: None, body: Vec::new() },
        CallReply { status: Some(503), body: Vec::new() },
        ok(&json!({"current": 3, "keys": []})),
    ] {
        let world = World::new();
        let (mut exchange, _) = world.get("/api/joke", header);
        let call = world.one_call("GET", "/v1/keyring");
        match exchange.call_answered(&world.host, call.id, &reply) {
            Step::Answer(answer) => assert_eq!(answer.status, 503),
            step => panic!("expected an answer, but found {step:?}"),
        }
        // The keys that were there are still good.
        world.paid("/api/joke");
    }
    let world = World::new();
    world.host.set_cluster_gone(true);
    let (_, step) = world.get("/api/joke", header);
    assert!(matches!(step, Step::Answer(answer) if answer.status == 503));
    world.host.set_cluster_gone(false);
    let (mut exchange, _) = world.get("/api/joke", header);
    exchange.finished(&world.host);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
}

#[test]
fn a_small_cache_forgets_and_verifies_again() {
    let mut small = config();
    small["cache"] = json!({"entries_max": 2, "bytes_max": 4096});
    let world = World::with(&small);
    for n in 0..20 {
        let credential = credential("demo", 1, NOW_S + 60 + n % 5);
        world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        world.one_call("PUT", "/v1/holds/");
    }
}
