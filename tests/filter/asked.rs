//! Prices that tollwayd asks the operator's service for.

use serde_json::{Value, json};
use tollway_gate::exchange::Step;
use tollway_gate::host::{CallReply, LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::world::{World, body, config, granted, ok, preimage};

fn world(change: impl FnOnce(&mut Value)) -> World {
    let mut config = config();
    let route = json!({"name": "quote", "service": "demo", "match": {"path": "/api/quote"},
                       "price": {"ask": [{"query": "size"}, {"header": "x-model"}]}});
    config["routes"].as_array_mut().unwrap().push(route);
    change(&mut config);
    World::with(&config)
}

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

#[test]
fn what_the_service_says_is_asked_for_and_charged() {
    let world = world(|_| {});
    let (mut unpaid, step) = world.get("/api/quote?size=a+b&x=1", &[("x-model", b"large")]);
    assert_eq!(step, Step::Wait);
    assert!(unpaid.is_held_back());
    let call = world.one_call("POST", "/v1/prices");
    assert_eq!(
        call.json(),
        json!({"route": "quote", "service": "demo", "method": "GET", "path": "/api/quote",
               "fields": [["query.size", "a b"], ["header.x-model", "large"]]})
    );
    assert_eq!(unpaid.call_answered(&world.host, call.id, &ok(&json!(7_001))), Step::Wait);
    let (_, reply) = world.answer_challenge(&mut unpaid);
    assert_eq!((reply.status, &body(&reply)["priceMsat"]), (402, &json!(7_001)));

    // Whose credential it is, is told with the question; what is charged is what it says then.
    let credential = world.credential("demo");
    let (mut paid, _) = world.get("/api/quote", &[("authorization", credential.as_bytes())]);
    let call = world.one_call("POST", "/v1/prices");
    let asked = call.json();
    assert_eq!(asked["paid"], preimage().payment_hash().to_hex());
    assert_eq!(asked["fields"], json!([["query.size", null], ["header.x-model", null]]));
    assert_eq!(paid.call_answered(&world.host, call.id, &ok(&json!(3_000))), Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(call.json()["amount_msat"], 3_000);
    let step = paid.call_answered(&world.host, call.id, &granted(3_000, 9));
    assert_eq!(step, Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-cost-msat").unwrap(), b"3000");
}

#[test]
fn without_an_answer_there_is_no_price() {
    let world = world(|_| {});
    for reply in [
        CallReply { status: None, body: Vec::new() },
        CallReply { status: Some(503), body: Vec::new() },
        ok(&json!({"price_msat": 5})),
        ok(&json!("5")),
        ok(&json!(-5)),
        ok(&json!(1.5)),
    ] {
        let (mut exchange, _) = world.get("/api/quote", &[]);
        let call = world.one_call("POST", "/v1/prices");
        let reply = answer(exchange.call_answered(&world.host, call.id, &reply));
        assert_eq!((reply.status, &body(&reply)["code"]), (503, &json!("payments_unavailable")));
    }
    // What is not sold, and a price of nothing, which no service may name.
    for price in [Value::Null, json!(0)] {
        let (mut exchange, _) = world.get("/api/quote", &[]);
        let call = world.one_call("POST", "/v1/prices");
        let reply = answer(exchange.call_answered(&world.host, call.id, &ok(&price)));
        assert_eq!((reply.status, &body(&reply)["code"]), (403, &json!("not_sold")));
        assert_eq!(world.host.note_of(LogField::Reason), "not_sold");
    }
    world.assert_no_call();
}

#[test]
fn a_request_with_two_readings_is_refused_before_anybody_is_asked() {
    let world = world(|_| {});
    let (_, step) = world.get("/api/quote?size=1&size=2", &[]);
    let reply = answer(step);
    assert_eq!((reply.status, &body(&reply)["code"]), (400, &json!("price_field_repeated")));
    world.assert_no_call();
}

#[test]
fn the_client_s_limit_and_its_departure_count_as_ever() {
    let world = world(|_| {});
    let credential = world.credential("demo");
    let limited: [(&str, &[u8]); 2] =
        [("authorization", credential.as_bytes()), ("x-toll-max-cost-msat", b"2999")];
    let (mut exchange, _) = world.get("/api/quote", &limited);
    let call = world.one_call("POST", "/v1/prices");
    let reply = answer(exchange.call_answered(&world.host, call.id, &ok(&json!(3_000))));
    assert_eq!((reply.status, &body(&reply)["code"]), (402, &json!("max_cost_exceeded")));

    let (mut exchange, _) = world.method("HEAD", "/api/quote", &[]);
    let call = world.one_call("POST", "/v1/prices");
    let reply = answer(exchange.call_answered(&world.host, call.id, &ok(&json!(3_000))));
    assert_eq!(crate::world::header(&reply, "x-toll-price-msat"), "3000");

    let (mut exchange, _) = world.get("/api/quote", &[]);
    let call = world.one_call("POST", "/v1/prices");
    exchange.finished(&world.host);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
    assert_eq!(exchange.call_answered(&world.host, call.id, &ok(&json!(1))), Step::Wait);
    world.assert_no_call();
}

#[test]
fn the_operator_s_choice_to_serve_for_free_holds_here_too() {
    let world = world(|config| config["failure_mode_allow"] = json!(true));
    let (mut exchange, _) = world.get("/api/quote", &[]);
    let call = world.one_call("POST", "/v1/prices");
    let lost = CallReply { status: None, body: Vec::new() };
    assert_eq!(exchange.call_answered(&world.host, call.id, &lost), Step::Continue);
    assert_eq!(world.host.count_of(Decision::FailureModeAllowed), 1);
}
