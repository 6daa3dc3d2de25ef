//! Caveats that the operator has written into tokens, and tiers that they or clients name.

use serde_json::{Value, json};
use tollway_core::macaroon::Macaroon;
use tollway_gate::exchange::{Exchange, Step};

use crate::world::{World, body, config, granted, header, ok, preimage};

/// A world that mints a plan for all, and a tier on one route whose price follows it.
fn world() -> World {
    let mut config = config();
    config["services"][0]["mint_caveats"] = json!({"plan": "pro", "region": "eu west"});
    let price = json!({"by": "tier", "values": {"gold": {"sats": 1}, "fast": {"sats": 9}},
                       "default": {"sats": 5}});
    let routes = config["routes"].as_array_mut().unwrap();
    routes.push(json!({"name": "tiered", "service": "demo", "match": {"path": "/api/tiered"},
                       "price": price, "mint_caveats": {"tier": "gold"}, "tier_wish": ["fast"]}));
    routes.push(json!({"name": "plain", "service": "demo", "match": {"path": "/api/plain"},
                       "price": price, "mint_caveats": {}}));
    World::with(&config)
}

/// The token that is sold for this path, and its price.
fn bought(world: &World, path: &str, more: &[(&str, &[u8])]) -> (Macaroon, Value) {
    let (mut exchange, step) = world.get(path, more);
    assert_eq!(step, Step::Wait);
    let call = world.one_call("POST", "/v1/challenges");
    let invoice = json!({"outcome": "invoice",
        "payment_hash": preimage().payment_hash().to_hex(), "invoice": "lnbcrt210n1qqqqtest",
        "amount_msat": call.json()["amount_msat"], "credit_msat": call.json()["credit_msat"],
        "expires_at": 1_900_000_000});
    let Step::Answer(reply) = exchange.call_answered(&world.host, call.id, &ok(&invoice)) else {
        panic!("expected a challenge");
    };
    assert!(header(&reply, "www-authenticate").starts_with("L402 "));
    let body = body(&reply);
    let token = Macaroon::from_base64(body["macaroon"].as_str().unwrap().as_bytes()).unwrap();
    (token, body["priceMsat"].clone())
}

/// A request with this token, and what it is held for.
fn held(world: &World, path: &str, token: &Macaroon, more: &[(&str, &[u8])]) -> (Exchange, u64) {
    let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
    let mut headers: Vec<(&str, &[u8])> = vec![("authorization", credential.as_bytes())];
    headers.extend_from_slice(more);
    let (mut exchange, _) = world.get(path, &headers);
    let call = world.one_call("PUT", "/v1/holds/");
    let cost = call.json()["amount_msat"].as_u64().unwrap();
    assert_eq!(
        exchange.call_answered(&world.host, call.id, &granted(cost, 10_000)),
        Step::Continue
    );
    (exchange, cost)
}

fn told(world: &World, name: &str) -> Option<String> {
    world.host.upstream_header(name).map(|value| String::from_utf8(value).unwrap())
}

#[test]
fn what_the_operator_wrote_reaches_the_upstream_and_what_a_client_says_does_not() {
    let world = world();
    let (token, _) = bought(&world, "/api/joke", &[]);
    let texts: Vec<_> = token.caveats().map(|text| String::from_utf8_lossy(text)).collect();
    assert_eq!(texts[2..], ["plan = pro", "region = eu west"]);
    let forged: [(&str, &[u8]); 2] =
        [("x-toll-caveat-plan", b"free"), ("x-toll-caveat-role", b"admin")];
    // It may be narrowed, and says the same on every route of its service.
    let narrower = token.clone().attenuate(b"method=GET");
    for (path, token) in [("/api/joke", &token), ("/api/plain", &token), ("/api/joke", &narrower)] {
        held(&world, path, token, &forged);
        assert_eq!(told(&world, "x-toll-caveat-plan").as_deref(), Some("pro"));
        assert_eq!(told(&world, "x-toll-caveat-region").as_deref(), Some("eu west"));
        assert_eq!(told(&world, "x-toll-caveat-role"), None);
        assert_eq!(told(&world, "x-toll-tier"), None);
    }
    held(&world, "/api/joke", &bought(&world, "/api/plain", &[]).0, &forged);
    assert_eq!(told(&world, "x-toll-caveat-plan"), None);
}

#[test]
fn what_a_holder_adds_refuses_the_token() {
    let world = world();
    let (minted, _) = bought(&world, "/api/joke", &[]);
    let (plain, _) = bought(&world, "/api/plain", &[]);
    for token in [minted, plain] {
        for added in ["role = admin", "plan = pro", "tier = gold", "region = eu west", "plan=pro"] {
            let token = token.clone().attenuate(added.as_bytes());
            let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
            let (mut exchange, _) =
                world.get("/api/joke", &[("authorization", credential.as_bytes())]);
            let (_, reply) = world.answer_challenge(&mut exchange);
            assert_eq!(body(&reply)["code"], "caveat_unknown", "{added}");
        }
    }
}

#[test]
fn a_minted_tier_decides_the_price_until_the_account_has_one() {
    let world = world();
    let (token, price) = bought(&world, "/api/tiered", &[]);
    assert_eq!(price, 5_000, "who shows no token has no tier");
    // On another route of the service too.
    for path in ["/api/tiered", "/api/plain"] {
        let (_, cost) = held(&world, path, &token, &[]);
        assert_eq!(cost, 1_000);
        assert_eq!(told(&world, "x-toll-tier").as_deref(), Some("gold"));
        assert_eq!(told(&world, "x-toll-caveat-tier").as_deref(), Some("gold"));
    }
    // The ledger is told what the account is taken to be, and knows better.
    let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
    let (mut exchange, _) = world.get("/api/plain", &[("authorization", credential.as_bytes())]);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!((&call.json()["amount_msat"], &call.json()["tier"]), (&json!(1_000), &json!("")));
    let other = json!({"outcome": "refused", "refusal": "tier_differs", "balance_msat": 9,
                       "tier": "fast"});
    assert_eq!(exchange.call_answered(&world.host, call.id, &ok(&other)), Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(
        (&call.json()["amount_msat"], &call.json()["tier"]),
        (&json!(9_000), &json!("fast"))
    );
}

#[test]
fn a_client_chooses_a_tier_only_where_it_is_offered() {
    let world = world();
    let fast: [(&str, &[u8]); 1] = [("x-toll-tier", b"fast")];
    let (token, price) = bought(&world, "/api/tiered", &fast);
    assert_eq!(price, 9_000);
    let (_, cost) = held(&world, "/api/tiered", &token, &fast);
    assert_eq!((cost, told(&world, "x-toll-tier").as_deref()), (9_000, Some("fast")));
    // Elsewhere it is a word of the client's, which goes no further.
    let (_, cost) = held(&world, "/api/plain", &bought(&world, "/api/plain", &[]).0, &fast);
    assert_eq!((cost, told(&world, "x-toll-tier")), (5_000, None));
    for odd in [
        &[("x-toll-tier", &b"gold"[..])][..],
        &[("x-toll-tier", b"")],
        &[("x-toll-tier", b"FAST")],
        &[("x-toll-tier", b"fast"), ("x-toll-tier", b"fast")],
    ] {
        let (_, step) = world.get("/api/tiered", odd);
        let Step::Answer(reply) = step else { panic!("{odd:?}: {step:?}") };
        assert_eq!((reply.status, &body(&reply)["code"]), (400, &json!("tier_not_offered")));
    }
    world.assert_no_call();
}
