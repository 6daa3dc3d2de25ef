//! Coupons that travel with a purchase, and what is not sold although it has a price.

use serde_json::{Value, json};
use tollway_gate::exchange::Step;
use tollway_gate::host::{LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::leases::leased;
use crate::world::{NOW_S, World, body, granted, header, keyring_json, ok};

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_coupon_travels_with_the_question_for_an_invoice_and_no_further() {
    let world = World::new();
    let code = &[b'a'; 65][..];
    for (sent, told) in [
        (&[][..], Value::Null),
        (&[&b"LAUNCH"[..]], json!("LAUNCH")),
        (&[&b""[..]], json!("")),
        (&[&b"\xff"[..]], json!("")),
        (&[code], json!("")),
        // Which of the two?
        (&[&b"A"[..], &b"B"[..]], json!("")),
    ] {
        let headers: Vec<_> = sent.iter().map(|value| ("x-toll-coupon", *value)).collect();
        let (mut exchange, _) = world.get("/api/joke", &headers);
        let call = world.one_call("POST", "/v1/challenges");
        assert_eq!(call.json().get("coupon").cloned().unwrap_or_default(), told, "{sent:?}");
        // What the invoice asks is what the challenge says.
        let reply = ok(&json!({"outcome": "invoice", "payment_hash": hex::encode([5; 32]),
            "invoice": "lnbcrt1", "amount_msat": 16_000, "credit_msat": 20_000,
            "expires_at": NOW_S + 600}));
        let reply = answer(exchange.call_answered(&world.host, call.id, &reply));
        let body = body(&reply);
        assert_eq!((&body["amountSats"], &body["creditMsat"]), (&json!(16), &json!(20_000)));
    }
    let credential = world.credential("demo");
    let paid: [(&str, &[u8]); 2] =
        [("authorization", credential.as_bytes()), ("x-toll-coupon", b"LAUNCH")];
    let (mut exchange, _) = world.get("/api/joke", &paid);
    let call = world.one_call("PUT", "/v1/holds/");
    let step = exchange.call_answered(&world.host, call.id, &granted(5_000, 0));
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-coupon"), None);
}

#[test]
fn what_is_not_sold_is_a_conflict_with_its_reason() {
    let world = World::new();
    for (refusal, resets_at) in [
        ("coupon_unknown", None),
        ("coupon_not_for_this", None),
        ("coupon_expired", None),
        ("coupon_used_up", None),
        ("sold_out", None),
        ("sold_out", Some(NOW_S + 90)),
    ] {
        let (mut exchange, _) = world.get("/api/joke", &[("x-toll-coupon", b"X")]);
        let call = world.one_call("POST", "/v1/challenges");
        let mut reply = json!({"outcome": "refused", "refusal": refusal});
        if let Some(at) = resets_at {
            reply["resets_at"] = json!(at);
        }
        let reply = answer(exchange.call_answered(&world.host, call.id, &ok(&reply)));
        assert_eq!((reply.status, &body(&reply)["code"]), (409, &json!(refusal)));
        let wait = resets_at.map_or("", |_| "90");
        assert_eq!(header(&reply, "retry-after"), wait);
        assert_eq!(world.host.note_of(LogField::Reason), refusal);
    }
    assert_eq!(world.host.count_of(Decision::Denied), 6);
}

#[test]
fn a_call_of_what_is_sold_out_is_refused_and_nobody_is_asked_to_pay() {
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    let reply = ok(&json!({"outcome": "refused", "refusal": "sold_out", "balance_msat": 0,
                           "resets_at": NOW_S + 7}));
    let reply = answer(exchange.call_answered(&world.host, call.id, &reply));
    assert_eq!((reply.status, &body(&reply)["code"]), (409, &json!("sold_out")));
    assert_eq!(header(&reply, "retry-after"), "7");
    world.assert_no_call();
}

#[test]
fn calls_that_are_counted_place_holds_of_their_own_on_leased_routes() {
    let limited = |names: Value| {
        let mut keyring = keyring_json(1, &[1]);
        keyring["limited"] = names;
        let world = World::without_keys(&leased());
        world.answer_keyring(&keyring);
        let (_, call) = world.paid("/api/joke");
        call.json()["min_msat"].clone()
    };
    assert_eq!(limited(json!(["other", "joke"])), Value::Null);
    assert_eq!(limited(json!(["other"])), json!(5_000), "a lease");
}

#[test]
fn the_memo_says_what_was_asked_for() {
    let mut config = crate::world::config();
    config["routes"][0]["description"] = json!("{method} {path} {query.q}");
    let world = World::with(&config);
    let (mut exchange, _) = world.get("/api/joke?q=a%20b%0a", &[]);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(asked["memo"], "GET /api/joke a b");
    assert_eq!(body(&reply)["description"], "GET /api/joke a b");
}
