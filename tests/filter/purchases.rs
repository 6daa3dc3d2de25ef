//! What an invoice sells, by the service's terms and the client's choice.

use serde_json::{Value, json};
use tollway_gate::exchange::Step;
use tollway_gate::host::{CallReply, GrpcStatus, LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{World, body, config, header, ok, refused};

fn shop() -> World {
    let mut config = config();
    config["services"][0] = json!({
        "name": "demo",
        "purchase": {"default_sats": 20, "min_sats": 10, "max_sats": 1_000,
                     "bonus": [{"from_sats": 100, "add_percent": 10}]},
        "seed_sats": 3,
        "credit_ttl_s": 604_800
    });
    config["routes"][2]["mode"] = json!("single_use");
    config["routes"][2]["price_msat"] = json!(4_500);
    config["routes"][2].as_object_mut().unwrap().remove("price_sats");
    World::with(&config)
}

/// What the gate asks for, for a client that chooses this.
fn asked(world: &World, path: &str, chosen: &str) -> Value {
    let (_, step) = world.get(path, &[("x-toll-purchase-sats", chosen.as_bytes())]);
    assert_eq!(step, Step::Wait, "{chosen}");
    world.one_call("POST", "/v1/challenges").json()
}

fn refusal(world: &World, path: &str, headers: &[(&str, &[u8])]) -> Reply {
    match world.get(path, headers).1 {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn a_larger_purchase_buys_its_bonus_and_the_body_says_so() {
    let world = shop();
    let asked_100 = asked(&world, "/api/joke", "100");
    assert_eq!(
        (&asked_100["amount_msat"], &asked_100["credit_msat"]),
        (&100_000.into(), &110_000.into())
    );
    assert_eq!(
        (&asked_100["seed_msat"], &asked_100["credit_ttl_s"]),
        (&3_000.into(), &604_800.into())
    );
    let asked_99 = asked(&world, "/api/joke", "99");
    assert_eq!(
        (&asked_99["amount_msat"], &asked_99["credit_msat"]),
        (&99_000.into(), &99_000.into())
    );

    let (mut exchange, _) = world.get("/api/joke", &[("x-toll-purchase-sats", b"1000")]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["amountSats"], 1_000);
    assert_eq!(body(&reply)["creditMsat"], 1_100_000);
    assert_eq!(body(&reply)["priceMsat"], 5_000);
}

#[test]
fn a_purchase_outside_the_limits_is_refused_and_costs_no_call() {
    let world = shop();
    for (path, chosen, limits) in [
        ("/api/joke", "9", "from 10 to 1000"),
        ("/api/joke", "1001", "from 10 to 1000"),
        ("/api/dear", "49", "from 50 to 1000"),
        ("/api/joke", "many", "from 10 to 1000"),
        ("/api/joke", "", "from 10 to 1000"),
        // One request, one price: there is nothing to choose.
        ("/api/strict", "20", "from 5 to 5"),
    ] {
        let reply = refusal(&world, path, &[("x-toll-purchase-sats", chosen.as_bytes())]);
        assert_eq!(reply.status, 400, "{chosen}");
        let body = body(&reply);
        assert_eq!(body["code"], "purchase_not_sold", "{chosen}");
        assert!(body["detail"].as_str().unwrap().contains(limits), "{body}");
        world.assert_no_call();
    }
    let twice: &[(&str, &[u8])] =
        &[("x-toll-purchase-sats", b"20"), ("x-toll-purchase-sats", b"20")];
    assert_eq!(refusal(&world, "/api/joke", twice).status, 400);
    assert_eq!(world.host.count_of(Decision::Denied), 7);
    let grpc: &[(&str, &[u8])] =
        &[("x-toll-purchase-sats", b"1"), ("content-type", b"application/grpc")];
    let reply = refusal(&world, "/api/joke", grpc);
    assert_eq!(reply.grpc, Some((GrpcStatus::InvalidArgument, "purchase_not_sold")));
}

#[test]
fn a_client_that_is_admitted_buys_nothing() {
    let world = shop();
    let credential = world.credential("demo");
    let headers: &[(&str, &[u8])] =
        &[("authorization", credential.as_bytes()), ("x-toll-purchase-sats", b"nonsense")];
    assert_eq!(world.get("/api/joke", headers).1, Step::Wait);
    world.one_call("PUT", "/v1/holds/");
}

#[test]
fn a_top_up_gets_the_bonus_but_no_second_seed() {
    let world = shop();
    let credential = world.credential("demo");
    let (mut exchange, _) = world.get(
        "/api/joke",
        &[("authorization", credential.as_bytes()), ("x-toll-purchase-sats", b"200")],
    );
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &refused("insufficient_credit", 0));
    let (asked, _) = world.answer_challenge(&mut exchange);
    assert!(asked["top_up"].is_string());
    assert_eq!(asked["credit_msat"], 220_000);
    assert_eq!(asked.get("seed_msat"), None);
}

#[test]
fn a_top_up_can_be_asked_for_while_there_is_credit_and_the_request_goes_nowhere() {
    let world = shop();
    let credential = world.credential("demo");
    let (mut exchange, step) = world.get(
        "/api/joke",
        &[
            ("authorization", credential.as_bytes()),
            ("x-toll-top-up", b"1"),
            ("x-toll-purchase-sats", b"200"),
        ],
    );
    assert_eq!(step, Step::Wait);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert!(asked["top_up"].is_string());
    assert_eq!((&asked["amount_msat"], asked.get("seed_msat")), (&200_000.into(), None));
    assert_eq!(body(&reply)["code"], "top_up");

    // Without a credential it is a purchase like any other, and a bad one is told.
    let (mut exchange, _) = world.get("/api/joke", &[("x-toll-top-up", b"1")]);
    assert_eq!(world.answer_challenge(&mut exchange).0.get("top_up"), None);
}

#[test]
fn a_token_that_takes_no_top_up_is_offered_a_new_one_and_passes_nothing() {
    let mut config = config();
    config["failure_mode_allow"] = true.into();
    let world = World::with(&config);
    let credential = world.credential("demo");
    let top_up = [("authorization", credential.as_bytes()), ("x-toll-top-up", &b"1"[..])];
    let (mut exchange, _) = world.get("/api/joke", &top_up);
    let call = world.one_call("POST", "/v1/challenges");
    assert!(call.json()["top_up"].is_string());
    let refused = CallReply { status: Some(404), ..ok(&json!({"code": "top_up_unknown"})) };
    assert_eq!(exchange.call_answered(&world.host, call.id, &refused), Step::Wait);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(asked.get("top_up"), None);
    assert_eq!(body(&reply)["code"], "no_top_up");
    // A purchase that was not for an account's sake has no such answer.
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let call = world.one_call("POST", "/v1/challenges");
    assert_eq!(exchange.call_answered(&world.host, call.id, &refused), Step::Continue);
}

#[test]
fn a_token_for_one_request_costs_its_price_and_is_not_topped_up() {
    let world = shop();
    let (mut exchange, _) = world.get("/api/strict", &[]);
    let (asked, reply) = world.answer_challenge(&mut exchange);
    // Whole sats: the half sat more is in the account and in the price of the next request.
    assert_eq!((&asked["amount_msat"], &asked["credit_msat"]), (&5_000.into(), &5_000.into()));
    assert_eq!((asked.get("seed_msat"), asked.get("credit_ttl_s")), (None, None));
    assert!(header(&reply, "www-authenticate").starts_with("L402 "));

    let (mut exchange, call) = world.paid("/api/strict");
    assert_eq!(call.json()["amount_msat"], 4_500);
    exchange.call_answered(&world.host, call.id, &refused("insufficient_credit", 500));
    let (asked, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(asked.get("top_up"), None);
    assert_eq!(asked["amount_msat"], 5_000);
    assert_eq!(body(&reply)["code"], "credential_used");
    assert_eq!(body(&reply).get("balanceMsat"), None);
    assert_eq!(world.host.note_of(LogField::Reason), "credential_used");
}

#[test]
fn a_low_balance_is_told_before_the_account_is_empty() {
    let mut config = config();
    config["services"][0]["low_balance_sats"] = json!(40);
    config["routes"][2]["mode"] = json!("single_use");
    let world = World::with(&config);
    for (path, price_msat, balance_msat, low) in [
        // The service's own threshold is the higher one.
        ("/api/joke", 5_000, 40_000, None),
        ("/api/joke", 5_000, 39_999, Some("40000")),
        // Five more requests are.
        ("/api/dear", 50_000, 250_000, None),
        ("/api/dear", 50_000, 249_999, Some("250000")),
        ("/api/strict", 5_000, 0, None),
    ] {
        let mut exchange = world.admitted(path, price_msat, balance_msat);
        world.host.begin_response(&[(":status", b"200")], false);
        exchange.response_headers(&world.host);
        let told = world.host.client_header("x-toll-low-balance");
        assert_eq!(told.as_deref(), low, "{path} {balance_msat}");
        exchange.finished(&world.host);
    }
    // What a refund returns counts.
    let mut exchange = world.admitted("/api/joke", 5_000, 35_000);
    world.host.begin_response(&[(":status", b"500")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("x-toll-low-balance"), None);
}

#[test]
fn a_certificate_goes_to_tollwayd_and_its_refusal_to_the_client() {
    let world = shop();
    let headers: &[(&str, &[u8])] = &[("x-toll-certificate", b"e30.e30.c2ln")];
    let (mut exchange, step) = world.get("/api/joke", headers);
    assert_eq!(step, Step::Wait);
    let call = world.one_call("POST", "/v1/challenges");
    assert_eq!(call.json()["certificate"], "e30.e30.c2ln");
    let refused = CallReply { status: Some(403), body: b"{}".to_vec() };
    let step = exchange.call_answered(&world.host, call.id, &refused);
    let Step::Answer(reply) = step else { panic!("expected an answer, but found {step:?}") };
    assert_eq!((reply.status, &body(&reply)["code"]), (403, &json!("certificate_refused")));
    assert_eq!(world.host.count_of(Decision::Denied), 1);
    let unreadable: &[(&str, &[u8])] = &[("x-toll-certificate", b"\xff")];
    let (_, step) = world.get("/api/joke", unreadable);
    assert_eq!(step, Step::Wait);
}
