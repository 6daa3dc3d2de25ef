//! Requests that last longer than their holds, or cost more than these.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{CallReply, LogField, ResponseTrouble, StreamId};
use tollway_testkit::fake_host::SentCall;

use crate::world::{self, NOW_S, World, config, granted, ok, preimage, refused};

const TTL_MS: u64 = 10_000;
/// Of the meter, for each byte.
const RATE_MSAT: u64 = 1_000;

/// A world whose joke costs a sat per byte, 5 by estimate and 100 at most.
fn metered(more: &[(&str, Value)]) -> World {
    let meter = json!({"response_mb_msat": RATE_MSAT * 1_000_000, "max_msat": 100_000});
    let mut all = vec![("meter", meter), ("overrun", json!("debit_rest"))];
    all.extend_from_slice(more);
    world(&all)
}

fn world(fields: &[(&str, Value)]) -> World {
    let mut config = config();
    config["routes"][0]["hold_ttl_s"] = json!(TTL_MS / 1_000);
    for (name, value) in fields {
        config["routes"][0][*name] = value.clone();
    }
    World::with(&config)
}

/// A world whose metered joke ends with its credit.
fn ending(more: &[(&str, Value)]) -> World {
    let mut all = vec![("when_credit_ends", json!("end"))];
    all.extend_from_slice(more);
    metered(&all)
}

/// An admitted request and a response that has begun.
fn begun(world: &World, headers: &[(&str, &[u8])]) -> Exchange {
    world.host.set_id(7);
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    let mut all: Vec<(&str, &[u8])> = vec![(":status", b"200")];
    all.extend_from_slice(headers);
    world.host.begin_response(&all, false);
    exchange.response_headers(&world.host);
    exchange
}

fn begun_events(world: &World) -> Exchange {
    begun(world, &[("content-type", b"text/event-stream; charset=utf-8"), ("content-length", b"9")])
}

/// A part passes; gives what the client gets of it.
fn pass(world: &World, exchange: &mut Exchange, part: &str) -> String {
    world.host.set_response_body(part.as_bytes());
    exchange.response_body(&world.host, part.len(), false);
    String::from_utf8(world.host.client_body()).unwrap()
}

/// The calls of one tick that are no keyring's.
fn tick(world: &World) -> Vec<SentCall> {
    world.gate.tick(&world.host);
    let mut calls = world.host.take_calls();
    calls.retain(|call| call.header(":path") != "/v1/keyring");
    calls
}

/// The extension that the next tick asks for.
fn extension(world: &World) -> SentCall {
    let mut calls = tick(world);
    assert_eq!(calls.len(), 1, "{calls:?}");
    let call = calls.remove(0);
    assert_eq!(call.header(":method"), "POST");
    let path = call.header(":path");
    assert!(path.starts_with("/v1/holds/") && path.ends_with("/extensions"), "{path}");
    call
}

fn answer(world: &World, call: &SentCall, reply: &CallReply) {
    world.gate.call_answered(&world.host, call.id, reply);
}

fn ask(seq: u32, add_msat: u64) -> Value {
    json!({"seq": seq, "add_msat": add_msat, "min_msat": 0, "ttl_ms": TTL_MS})
}

const NO_REPLY: CallReply = CallReply { status: None, body: Vec::new() };

fn status(status: u16) -> CallReply {
    CallReply { status: Some(status), body: Vec::new() }
}

#[test]
fn a_hold_lives_as_long_as_its_request_and_is_charged_once() {
    let world = world(&[]);
    let mut exchange = begun(&world, &[]);
    for seq in 0..5 {
        world.host.advance_ms(TTL_MS / 2 - 1);
        assert_eq!(tick(&world), [], "there is time left");
        world.host.advance_ms(1);
        let call = extension(&world);
        assert_eq!(call.json(), ask(seq, 0));
        assert_eq!(tick(&world), [], "one is under way");
        answer(&world, &call, &granted(5_000, 15_000));
        assert_eq!(tick(&world), []);
    }
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    drop(exchange);
    let rows = world.posted();
    assert_eq!((rows.len(), &rows[0]["amount_msat"]), (1, &json!(5_000)));
    assert_eq!((&rows[0]["seq"], &rows[0]["release"]), (&json!(0), &json!(true)));
    world.host.advance_ms(TTL_MS);
    assert_eq!(tick(&world), [], "nothing is kept that has ended");
}

#[test]
fn a_lost_answer_is_asked_for_again_in_the_same_words() {
    let world = metered(&[]);
    let mut exchange = begun(&world, &[]);
    pass(&world, &mut exchange, "xxxx");
    let first = extension(&world);
    assert_eq!(first.json(), ask(0, 5_000));
    let mut last = first.clone();
    for lost in [NO_REPLY, status(503), status(401), ok(&json!({"outcome": "what?"})), NO_REPLY] {
        answer(&world, &last, &lost);
        assert_eq!(tick(&world), [], "after a pause");
        world.host.advance_ms(200);
        // More is needed by now, but the words stay.
        pass(&world, &mut exchange, "x");
        last = extension(&world);
        assert_eq!((last.json(), last.header(":path")), (first.json(), first.header(":path")));
    }
    // The one that is answered counts, whichever was the first.
    answer(&world, &last, &granted(10_000, 10_000));
    let next = extension(&world);
    assert_eq!(next.json(), ask(1, 10_000));
    // An answer that comes late is none.
    answer(&world, &first, &granted(99_000, 0));
    answer(&world, &next, &granted(20_000, 0));
    assert_eq!(tick(&world), []);
    exchange.finished(&world.host);
    let amounts: Vec<_> = world.posted().iter().map(|row| row["amount_msat"].clone()).collect();
    assert_eq!(amounts, [9_000]);
}

#[test]
fn a_call_that_cannot_be_sent_is_tried_again() {
    let world = world(&[]);
    let exchange = begun(&world, &[]);
    world.host.advance_ms(TTL_MS / 2);
    world.host.set_cluster_gone(true);
    assert_eq!(tick(&world), []);
    world.host.set_cluster_gone(false);
    assert_eq!(tick(&world), []);
    world.host.advance_ms(200);
    assert_eq!(extension(&world).json(), ask(0, 0));
    drop(exchange);
}

#[test]
fn credit_is_added_before_it_runs_dry_up_to_what_the_request_can_cost() {
    let world = metered(&[]);
    let mut exchange = begun(&world, &[]);
    pass(&world, &mut exchange, "xxx");
    assert_eq!(tick(&world), [], "less than three quarters are used");
    let mut capacity = 5_000;
    for (seq, part, add) in [(0, 1, 5_000), (1, 4, 10_000), (2, 70, 58_000), (3, 1, 22_000)] {
        pass(&world, &mut exchange, &"x".repeat(part));
        let call = extension(&world);
        assert_eq!(call.json(), ask(seq, add), "{capacity}");
        capacity += add;
        answer(&world, &call, &granted(capacity, 0));
    }
    assert_eq!(capacity, 100_000);
    pass(&world, &mut exchange, &"x".repeat(50));
    assert_eq!(tick(&world), [], "it costs no more than this");
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 100_000);
}

#[test]
fn what_was_promised_to_be_the_most_is_not_raised() {
    let world = metered(&[("overrun", json!("cap"))]);
    let mut exchange = begun(&world, &[]);
    pass(&world, &mut exchange, "xxxxxxxxx");
    assert_eq!(tick(&world), []);
    // It lives on all the same.
    world.host.advance_ms(TTL_MS / 2);
    let call = extension(&world);
    assert_eq!(call.json(), ask(0, 0));
    answer(&world, &call, &granted(5_000, 15_000));
    exchange.finished(&world.host);
    // The ledger caps it.
    assert_eq!(world.posted()[0]["amount_msat"], 9_000);
    assert_eq!(world.host.take_ended(), []);
}

#[test]
fn without_credit_a_stream_goes_on_unless_the_route_says_otherwise() {
    let world = metered(&[]);
    let mut exchange = begun_events(&world);
    pass(&world, &mut exchange, "xxxxxxxxx\n\n");
    answer(&world, &extension(&world), &granted(7_000, 0));
    assert_eq!(tick(&world), [], "it asks again after a while");
    assert_eq!(pass(&world, &mut exchange, "data: x\n\n"), "data: x\n\n");
    world.host.advance_ms(1_000);
    let call = extension(&world);
    assert_eq!(call.json(), ask(1, 13_000));
    answer(&world, &call, &granted(7_000, 0));
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 20_000);
    assert_eq!(world.host.take_ended(), []);
}

#[test]
fn a_stream_of_events_ends_with_one_that_says_why() {
    let world = ending(&[]);
    let mut exchange = begun_events(&world);
    assert_eq!(world.host.client_header("content-length"), None);
    assert_eq!(pass(&world, &mut exchange, "data: x\n\ndata"), "data: x\n\ndata");
    answer(&world, &extension(&world), &granted(12_000, 0));
    assert_eq!(tick(&world), [], "what is held is used up first");
    // The last event that was paid for is whole, and nothing of the next one passes.
    let last = pass(&world, &mut exchange, ": y\n");
    assert_eq!(last, ": y\n");
    let last = pass(&world, &mut exchange, "data: z\n\ndata: more\n\n");
    let (paid, event) = last.split_at("data: z\n\n".len());
    assert_eq!(paid, "data: z\n\n");
    let data = event.strip_prefix("event: error\ndata: ").unwrap().strip_suffix("\n\n").unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (&data["type"], &data["error"]["code"]),
        (&json!("error"), &json!("credit_exhausted"))
    );
    assert!(data["error"]["message"].as_str().unwrap().contains("used up"));
    assert_eq!(pass(&world, &mut exchange, "data: more\n\n"), "");
    // Then it is cut off, once.
    assert_eq!(world.host.take_ended(), []);
    assert_eq!(tick(&world), []);
    assert_eq!(world.host.take_ended(), [StreamId(7)]);
    assert_eq!(tick(&world), []);
    assert_eq!(world.host.take_ended(), []);

    // Our own cut is no failure of the upstream.
    world.host.set_trouble(ResponseTrouble { reset: true, ..ResponseTrouble::default() });
    exchange.finished(&world.host);
    assert_eq!(world.host.note_of(LogField::Reason), "credit_exhausted");
    assert_eq!(world.host.note_of(LogField::CostMsat), "12000");
    assert_eq!(world.posted()[0]["amount_msat"], 12_000, "what was delivered after it is not");
}

#[test]
fn what_is_no_plain_stream_of_events_is_cut_off() {
    let event_stream: (&str, &[u8]) = ("content-type", b"text/event-stream");
    for headers in [&[][..], &[event_stream, ("content-encoding", b"gzip")][..]] {
        let world = ending(&[("overrun", json!("cap"))]);
        let mut exchange = begun(&world, headers);
        pass(&world, &mut exchange, "xxxx\n");
        assert_eq!(pass(&world, &mut exchange, "xxxx\n\n"), "xxxx\n\n", "{headers:?}");
        assert_eq!(tick(&world), []);
        assert_eq!(world.host.take_ended(), [StreamId(7)], "{headers:?}");
        world.host.set_trouble(ResponseTrouble { reset: true, ..ResponseTrouble::default() });
        exchange.finished(&world.host);
        assert_eq!(world.posted()[0]["amount_msat"], 5_000);
    }
}

#[test]
fn a_silent_stream_that_costs_by_the_second_ends_too() {
    let meter = json!({"second_msat": 1_000, "max_msat": 100_000});
    let world = ending(&[("meter", meter)]);
    let mut exchange = begun_events(&world);
    pass(&world, &mut exchange, "data: x\n\n");
    world.host.advance_ms(4_000);
    answer(&world, &extension(&world), &granted(6_000, 0));
    assert_eq!(world.host.take_ended(), []);
    world.host.advance_ms(2_000);
    tick(&world).iter().for_each(|call| answer(&world, call, &granted(6_000, 0)));
    assert_eq!(world.host.take_ended(), [], "an event may come that could be the last");
    world.host.advance_ms(5_000);
    tick(&world);
    assert_eq!(world.host.take_ended(), [StreamId(7)]);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 6_000);
}

#[test]
fn a_top_up_in_time_keeps_the_stream_alive() {
    let world = ending(&[]);
    let mut exchange = begun_events(&world);
    pass(&world, &mut exchange, "xxxx");
    answer(&world, &extension(&world), &granted(6_000, 0));
    world.host.advance_ms(1_000);
    pass(&world, &mut exchange, "x");
    answer(&world, &extension(&world), &granted(12_000, 40_000));
    assert_eq!(pass(&world, &mut exchange, "xxx\n\n"), "xxx\n\n");
    assert_eq!(world.host.take_ended(), []);
}

#[test]
fn a_client_s_limit_bounds_what_is_charged_and_ends_the_stream_where_the_route_says_so() {
    for (end, ended) in [("go_on", 0), ("end", 1)] {
        let world = metered(&[("when_credit_ends", json!(end))]);
        let token = world::token("demo", TIER_CREDITS, 1, NOW_S + 60);
        let token = token.attenuate(b"max_cost_msat=9000").attenuate(b"max_cost_msat = 80000");
        let credential = format!("L402 {}:{}", token.to_base64(), preimage().reveal_hex());
        let plain = world.credential("demo");
        for (credential, limit, most) in [
            (&plain, "8000", 8_000),
            (&plain, "5000", 5_000),
            (&credential, "90000", 9_000),
            (&credential, "6000", 6_000),
        ] {
            let (mut exchange, _) = world.get(
                "/api/joke",
                &[
                    ("authorization", credential.as_bytes()),
                    ("x-toll-max-cost-msat", limit.as_bytes()),
                ],
            );
            let call = world.one_call("PUT", "/v1/holds/");
            exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000));
            world.host.begin_response(&[(":status", b"200")], false);
            exchange.response_headers(&world.host);
            pass(&world, &mut exchange, "xxxx");
            for call in tick(&world) {
                assert_eq!(call.json(), ask(0, most - 5_000), "no more than the limit");
                answer(&world, &call, &granted(most, 0));
            }
            assert_eq!(world.host.take_ended(), []);
            pass(&world, &mut exchange, "xxxxxxxxxx");
            assert_eq!(tick(&world), []);
            assert_eq!(world.host.take_ended().len(), ended);
            exchange.finished(&world.host);
            let reason = if ended == 1 { "max_cost_exceeded" } else { "" };
            assert_eq!(world.host.note_of(LogField::Reason), reason);
            assert_eq!(world.posted()[0]["amount_msat"], most);
        }
    }
}

#[test]
fn a_client_s_limit_bounds_what_the_upstream_says() {
    let name = "x-toll-actual-cost-msat";
    let world = metered(&[("meter", json!({"header": name, "max_msat": 50_000}))]);
    let credential = world.credential("demo");
    let more: [(&str, &[u8]); 2] =
        [("authorization", credential.as_bytes()), ("x-toll-max-cost-msat", b"6000")];
    let (mut exchange, _) = world.get("/api/joke", &more);
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &granted(5_000, 15_000));
    world.host.begin_response(&[(":status", b"200"), (name, b"40000")], false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("x-toll-cost-msat").unwrap(), "6000");
    assert_eq!(world.host.client_header("x-toll-balance-msat").unwrap(), "14000");
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 6_000);
}

#[test]
fn a_revoked_account_ends_its_streams_whatever_the_route_says() {
    let world = world(&[]);
    let mut exchange = begun_events(&world);
    pass(&world, &mut exchange, "data: x\n\n");
    world.host.advance_ms(TTL_MS / 2);
    answer(&world, &extension(&world), &refused("account_revoked", 0));
    assert_eq!(tick(&world), []);
    assert_eq!(world.host.take_ended(), [StreamId(7)]);
    exchange.finished(&world.host);
    assert_eq!(world.host.note_of(LogField::Reason), "account_revoked");
    assert_eq!(world.posted()[0]["amount_msat"], 5_000);
}

#[test]
fn a_hold_that_the_ledger_has_ended_is_not_asked_for_again() {
    for (fields, ended) in
        [(&[][..], &[][..]), (&[("when_credit_ends", json!("end"))][..], &[StreamId(7)][..])]
    {
        let world = world(fields);
        let exchange = begun(&world, &[]);
        world.host.advance_ms(TTL_MS);
        answer(&world, &extension(&world), &status(410));
        world.host.advance_ms(TTL_MS);
        assert_eq!(tick(&world), []);
        assert_eq!(world.host.take_ended(), ended);
        drop(exchange);
    }
}

#[test]
fn a_stream_that_ends_while_it_is_extended_is_charged_once() {
    let world = metered(&[]);
    let mut exchange = begun(&world, &[]);
    pass(&world, &mut exchange, "xxxx");
    let call = extension(&world);
    exchange.response_body(&world.host, 0, true);
    exchange.finished(&world.host);
    drop(exchange);
    let mut calls = tick(&world);
    let rows = calls.remove(0).json()["postings"].as_array().unwrap().clone();
    assert_eq!((rows.len(), &rows[0]["amount_msat"], calls.len()), (1, &json!(4_000), 0));
    answer(&world, &call, &granted(10_000, 0));
    answer(&world, &call, &NO_REPLY);
    world.host.advance_ms(TTL_MS);
    assert!(tick(&world).iter().all(|call| call.header(":path") == "/v1/postings"));
}

#[test]
fn usage_of_a_model_adds_credit_as_it_is_reported() {
    let models = json!({"m": {"input_msat": 1_000_000, "output_msat": 1_000_000}});
    let llm = json!({"llm": {"provider": "gemini", "models": models, "max_tokens_default": 5_000}});
    let mut config = config();
    config["routes"].as_array_mut().unwrap().push(json!({
        "name": "llm", "service": "demo", "match": {"path_prefix": "/v1"}, "price": llm,
        "overrun": "debit_rest"
    }));
    let world = World::with(&config);
    let credential = world.credential("demo");
    let path = "/v1/models/m:streamGenerateContent?alt=sse";
    world.host.begin_request(&[
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", b"api.example.com"),
        ("authorization", credential.as_bytes()),
    ]);
    let mut exchange = Exchange::new(Rc::clone(&world.gate));
    assert_eq!(exchange.request_headers(&world.host, false), Step::Wait);
    world.host.set_request_body(b"{}");
    assert_eq!(exchange.request_body(&world.host, 2, true), Some(Step::Wait));
    let call = world.one_call("PUT", "/v1/holds/");
    let held = call.json()["amount_msat"].as_u64().unwrap();
    exchange.call_answered(&world.host, call.id, &granted(held, 1_000_000));
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    let mut event = |tokens: u64| {
        let usage = json!({"promptTokenCount": 1, "candidatesTokenCount": tokens});
        pass(&world, &mut exchange, &format!("data: {}\n\n", json!({"usageMetadata": usage})));
    };
    event(held / 2);
    assert_eq!(tick(&world), []);
    event(held);
    let call = extension(&world);
    assert_eq!(call.json()["add_msat"], held);
    answer(&world, &call, &granted(held * 2, 0));
    assert_eq!(tick(&world), []);
}
