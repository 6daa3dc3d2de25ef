//! Prices that hang on what the ledger knows: the account's tier, and rates of exchange.

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField};
use tollway_gate::metrics::Decision;

use crate::world::{NOW_S, World, body, config, granted, header, keyring_json, ok, preimage};

fn priced(price: Value) -> Value {
    let mut config = config();
    let joke = config["routes"][0].as_object_mut().unwrap();
    joke.remove("price_sats");
    joke.insert("price".into(), price);
    config
}

fn by_tier() -> World {
    let values = json!({"gold": {"sats": 2}, "platinum": {"sats": 9}});
    World::with(&priced(json!({"by": "tier", "values": values, "default": {"sats": 5}})))
}

fn differs(tier: &str) -> CallReply {
    ok(&json!({"outcome": "refused", "refusal": "tier_differs", "balance_msat": 0, "tier": tier}))
}

fn granted_to(tier: &str, msat: u64) -> CallReply {
    let account = preimage().payment_hash().to_hex();
    ok(&json!({"outcome": "granted", "account": account, "granted_msat": msat,
               "balance_msat": 7_000, "tier": tier}))
}

/// A paid request, with the tier and the amount that its hold names.
fn asked(world: &World) -> (Exchange, tollway_testkit::fake_host::SentCall, Value) {
    let (exchange, call) = world.paid("/api/joke");
    let hold = call.json();
    let terms = json!([hold["tier"], hold["amount_msat"]]);
    (exchange, call, terms)
}

fn upstream(world: &World, name: &str) -> String {
    String::from_utf8(world.host.upstream_header(name).unwrap_or_default()).unwrap()
}

#[test]
fn the_ledger_says_the_tier_and_the_request_pays_its_price() {
    let world = by_tier();
    let (mut exchange, call, terms) = asked(&world);
    assert_eq!(terms, json!(["", 5_000]), "nothing is known yet");
    assert_eq!(exchange.call_answered(&world.host, call.id, &differs("gold")), Step::Wait);
    let again = world.one_call("PUT", "/v1/holds/");
    assert_ne!(again.header(":path"), call.header(":path"));
    assert_eq!(
        (&again.json()["tier"], &again.json()["amount_msat"]),
        (&json!("gold"), &json!(2_000))
    );
    let step = exchange.call_answered(&world.host, again.id, &granted_to("gold", 2_000));
    assert_eq!(step, Step::Continue);
    assert_eq!(upstream(&world, "x-toll-tier"), "gold");
    assert_eq!(upstream(&world, "x-toll-cost-msat"), "2000");
    // The next one needs no second call, until the tier is another one or none.
    let (mut exchange, call, terms) = asked(&world);
    assert_eq!(terms, json!(["gold", 2_000]));
    exchange.call_answered(&world.host, call.id, &differs(""));
    let again = world.one_call("PUT", "/v1/holds/");
    assert_eq!((&again.json()["tier"], &again.json()["amount_msat"]), (&json!(""), &json!(5_000)));
    exchange.call_answered(&world.host, again.id, &granted(5_000, 0));
    assert_eq!(upstream(&world, "x-toll-tier"), "", "a client's own word does not pass either");
    assert_eq!(asked(&world).2, json!(["", 5_000]));
}

#[test]
fn a_tier_without_a_price_of_its_own_pays_the_default() {
    let world = by_tier();
    let (mut exchange, call, _) = asked(&world);
    exchange.call_answered(&world.host, call.id, &differs("silver"));
    let again = world.one_call("PUT", "/v1/holds/");
    assert_eq!(
        (&again.json()["tier"], &again.json()["amount_msat"]),
        (&json!("silver"), &json!(5_000))
    );
}

#[test]
fn a_ledger_that_never_agrees_is_our_fault() {
    let world = by_tier();
    let (mut exchange, mut call, _) = asked(&world);
    for tier in ["gold", "platinum", "gold"] {
        assert_eq!(exchange.call_answered(&world.host, call.id, &differs(tier)), Step::Wait);
        call = world.one_call("PUT", "/v1/holds/");
    }
    let step = exchange.call_answered(&world.host, call.id, &differs("platinum"));
    let Step::Answer(reply) = step else { panic!("{step:?}") };
    assert_eq!(reply.status, 503);
    // Where nobody asked for a tier, such a refusal is no answer.
    let world = World::new();
    let (mut exchange, call) = world.paid("/api/joke");
    let Step::Answer(reply) = exchange.call_answered(&world.host, call.id, &differs("gold")) else {
        panic!("an answer")
    };
    assert_eq!(reply.status, 503);
}

#[test]
fn the_price_of_the_tier_counts_for_caveats_and_challenges_too() {
    let world = by_tier();
    let preimage = preimage();
    let token = crate::world::token("demo", 0, 1, NOW_S + 60).attenuate(b"max_cost_msat=5000");
    let credential = format!("L402 {}:{}", token.to_base64(), preimage.reveal_hex());
    let (mut exchange, _) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &differs("platinum"));
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["code"], "cost_too_high");
    assert_eq!(body(&reply)["priceMsat"], 9_000);
    // Who shows nothing is asked for the default.
    let (mut exchange, _) = world.get("/api/joke", &[("x-toll-tier", b"gold")]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["priceMsat"], 5_000);
}

#[test]
fn on_a_leased_route_a_tier_is_checked_hold_by_hold_and_told_of_leases() {
    let mut config = priced(json!({"by": "tier", "values": {"gold": {"sats": 2}},
                                   "default": {"sats": 5}}));
    config["services"][0]["spend"] = json!("leased");
    config["services"][0]["lease_max_sats"] = json!(50);
    let world = World::with(&config);
    let (_, _, terms) = asked(&world);
    assert_eq!(terms, json!(["", 5_000]));
    // Another route of the service is leased, and tells the tier that came with the grant.
    let (mut exchange, call) = world.paid("/api/strict");
    assert!(call.json().get("min_msat").is_some(), "a lease");
    let amount = call.json()["amount_msat"].as_u64().unwrap();
    let step = exchange.call_answered(&world.host, call.id, &granted_to("gold", amount));
    assert_eq!((step, upstream(&world, "x-toll-tier")), (Step::Continue, "gold".to_owned()));
}

/// A keyring with this price of a bitcoin in dollars.
fn keyring(per_bitcoin: &str, expires_at: u64) -> Value {
    let mut keyring = keyring_json(1, &[1]);
    keyring["rates"] =
        json!([{"currency": "USD", "per_bitcoin": per_bitcoin, "expires_at": expires_at}]);
    keyring
}

fn in_dollars(keyring: &Value) -> World {
    let price = json!({"fiat": {"amount": "0.002", "currency": "USD"}});
    let world = World::without_keys(&priced(price));
    world.answer_keyring(keyring);
    world
}

#[test]
fn a_price_in_dollars_follows_the_rate_and_ends_with_it() {
    let world = in_dollars(&keyring("64000", NOW_S + 10));
    let (_, call) = world.paid("/api/joke");
    assert_eq!(call.json()["amount_msat"], 3_125);
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(
        (&body(&reply)["priceMsat"], &asked["amount_msat"]),
        (&json!(3_125), &json!(20_000))
    );
    world.host.advance_ms(9_999);
    world.gate.tick(&world.host);
    world.answer_keyring(&keyring("32000.5", NOW_S + 10));
    assert_eq!(world.paid("/api/joke").1.json()["amount_msat"], 6_250);
    // The rate ends before the keys are fetched again, or there is no newer one.
    world.host.advance_ms(1);
    let credential = world.credential("demo");
    for headers in [&[][..], &[("authorization", credential.as_bytes())]] {
        let (_, step) = world.get("/api/joke", headers);
        let Step::Answer(reply) = step else { panic!("{step:?}") };
        assert_eq!((reply.status, header(&reply, "retry-after")), (503, "1"));
        assert_eq!(body(&reply)["code"], "payments_unavailable");
        assert_eq!(world.host.note_of(LogField::Reason), "rate_unknown");
    }
    world.assert_no_call();
    assert_eq!(world.host.count_of(Decision::Error), 2);
    // Prices in sats know nothing of it.
    world.paid("/api/dear");
}

#[test]
fn rates_that_cannot_be_read_are_no_keyring() {
    let world = in_dollars(&keyring("64000", NOW_S + 10));
    world.host.advance_ms(6_000);
    world.gate.tick(&world.host);
    world.answer_keyring(&keyring("-1", NOW_S + 99));
    assert_eq!(world.paid("/api/joke").1.json()["amount_msat"], 3_125, "the old one holds");
}
