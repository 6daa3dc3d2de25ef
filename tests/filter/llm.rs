//! Requests to language models: held by estimate, charged by the usage in the response.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};

use crate::world::{World, config, granted};

/// What most requests here are held for: 100 tokens of answer at 12 msat, and the prompt.
const MAX_TOKENS: u64 = 100;

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/llm");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn cases() -> Value {
    serde_json::from_slice(&fixture("cases.json")).unwrap()
}

/// A model whose rates are those of the fixtures.
fn price(provider: &str) -> Value {
    let rates = cases()["rates_msat_per_million"].clone();
    let rate = |class: &str| rates[class].clone();
    json!({"llm": {"provider": provider, "max_tokens_default": MAX_TOKENS, "models": {"m": {
        "input_msat": rate("input"), "cached_msat": rate("cached"),
        "cache_write_msat": rate("cache_write"), "output_msat": rate("output"),
        "reasoning_msat": rate("reasoning")}}}})
}

/// A world with one more route, which sells this.
fn world(price: &Value) -> World {
    let mut config = config();
    config["routes"].as_array_mut().unwrap().push(json!({
        "name": "llm", "service": "demo", "match": {"path_prefix": "/v1"}, "price": price,
        "overrun": "debit_rest"
    }));
    World::with(&config)
}

/// A request that was admitted, and what was set aside for it.
fn admitted(world: &World, path: &str, body: &str) -> (Exchange, u64) {
    let credential = world.credential("demo");
    let length = body.len().to_string();
    world.host.begin_request(&[
        (":method", b"POST"),
        (":path", path.as_bytes()),
        (":authority", b"api.example.com"),
        ("authorization", credential.as_bytes()),
        ("accept-encoding", b"gzip, br"),
        ("content-length", length.as_bytes()),
    ]);
    let mut exchange = Exchange::new(Rc::clone(&world.gate));
    assert_eq!(exchange.request_headers(&world.host, false), Step::Wait);
    world.host.set_request_body(body.as_bytes());
    assert_eq!(exchange.request_body(&world.host, body.len(), true), Some(Step::Wait));
    let call = world.one_call("PUT", "/v1/holds/");
    let held = call.json()["amount_msat"].as_u64().unwrap();
    let step = exchange.call_answered(&world.host, call.id, &granted(held, 1_000_000));
    assert_eq!(step, Step::Continue);
    (exchange, held)
}

fn respond(world: &World, exchange: &mut Exchange, headers: &[(&str, &[u8])]) {
    world.host.begin_response(headers, false);
    exchange.response_headers(&world.host);
}

/// The response passes in pieces of this size; gives what the client gets.
fn pass(world: &World, exchange: &mut Exchange, body: &[u8], piece: usize, end: bool) -> Vec<u8> {
    let mut client = Vec::new();
    for part in body.chunks(piece) {
        world.host.set_response_body(part);
        exchange.response_body(&world.host, part.len(), false);
        client.extend(world.host.client_body());
    }
    if end {
        world.host.set_response_body(b"");
        exchange.response_body(&world.host, 0, true);
        client.extend(world.host.client_body());
    }
    client
}

fn charged(world: &World, mut exchange: Exchange) -> Value {
    exchange.finished(&world.host);
    let rows = world.posted();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["overrun"], "debit_rest");
    rows[0]["amount_msat"].clone()
}

#[test]
fn every_fixture_is_charged_its_exact_cost_or_the_estimate() {
    for case in cases()["cases"].as_array().unwrap() {
        let provider = case["provider"].as_str().unwrap();
        let (path, request) = match provider {
            "gemini" => ("/v1/models/m:streamGenerateContent?alt=sse", "{}"),
            _ => ("/v1/any", "{\"model\":\"m\",\"max_tokens\":50}"),
        };
        let body = fixture(case["file"].as_str().unwrap());
        for piece in [1, 7, 1_000, body.len()] {
            let world = world(&price(provider));
            let (mut exchange, held) = admitted(&world, path, request);
            assert_eq!(world.host.upstream_header("accept-encoding"), None);
            respond(&world, &mut exchange, &[(":status", b"200")]);
            assert_eq!(world.host.client_header("x-toll-held-msat").unwrap(), held.to_string());
            let end = case["complete"].as_bool().unwrap();
            assert_eq!(pass(&world, &mut exchange, &body, piece, end), body, "nothing changes");
            let expected = case["cost_msat"].as_u64().unwrap_or(held);
            assert_eq!(charged(&world, exchange), expected, "{case} in pieces of {piece}");
        }
    }
}

#[test]
fn the_estimate_is_of_the_longest_answer_and_the_prompt() {
    let world = world(&price("openai_chat"));
    let body = "{\"model\":\"m\",\"max_tokens\":50}";
    // 29 bytes are 8 tokens of prompt; the dearest classes are written caches and thoughts.
    assert_eq!(body.len(), 29);
    assert_eq!(admitted(&world, "/v1/any", body).1, 50 * 12 + 8 * 5 / 2);
}

#[test]
fn who_leaves_early_pays_the_estimate_and_who_got_nothing_pays_nothing() {
    let stream = fixture("openai_chat_stream.sse");
    let world = world(&price("openai_chat"));
    for (bytes, pays) in [(0, false), (1, true), (500, true)] {
        let (mut exchange, held) = admitted(&world, "/v1/any", "{\"model\":\"m\"}");
        respond(&world, &mut exchange, &[(":status", b"200")]);
        pass(&world, &mut exchange, &stream[..bytes], 10, false);
        assert_eq!(charged(&world, exchange), if pays { held } else { 0 }, "{bytes} bytes");
    }
}

#[test]
fn what_cannot_be_read_costs_the_estimate_and_a_provider_s_refusal_nothing() {
    let usage = fixture("openai_chat.json");
    let refusal = b"{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}";
    for (status, coding, body, cost) in [
        (&b"200"[..], &b"gzip"[..], &usage[..], None),
        (b"200", b"identity", &usage, Some(3_940)),
        (b"400", b"", refusal, Some(0)),
        (b"429", b"", refusal, Some(0)),
        (b"400", b"", &usage, Some(3_940)),
        (b"500", b"", &usage, Some(0)),
    ] {
        let world = world(&price("openai_chat"));
        let (mut exchange, held) = admitted(&world, "/v1/any", "{\"model\":\"m\"}");
        let mut headers: Vec<(&str, &[u8])> = vec![(":status", status)];
        if !coding.is_empty() {
            headers.push(("content-encoding", coding));
        }
        respond(&world, &mut exchange, &headers);
        assert_eq!(pass(&world, &mut exchange, body, 64, true), body);
        assert_eq!(charged(&world, exchange), cost.unwrap_or(held), "{status:?} {coding:?}");
    }
}

#[test]
fn usage_is_asked_for_and_hidden_from_who_did_not_ask() {
    let stream = fixture("openai_chat_stream.sse");
    let text = String::from_utf8(stream.clone()).unwrap();
    let usage_chunk = text.split_inclusive("\n\n").find(|event| event.contains("\"choices\":[]"));
    let without = text.replace(usage_chunk.unwrap(), "");
    for (ask, request, asks, hidden) in [
        (true, json!({"model": "m", "stream": true}), true, true),
        (true, json!({"model": "m", "stream": true, "stream_options": {}}), true, true),
        (
            true,
            json!({"model": "m", "stream": true, "stream_options": {"include_usage": true}}),
            true,
            false,
        ),
        (true, json!({"model": "m"}), false, false),
        (false, json!({"model": "m", "stream": true}), false, false),
    ] {
        for piece in [1, 100, stream.len()] {
            let mut price = price("openai_chat");
            price["llm"]["ask_for_usage"] = json!(ask);
            let world = world(&price);
            let body = request.to_string();
            let (mut exchange, _) = admitted(&world, "/v1/any", &body);
            let upstream = world.host.upstream_body();
            let length = world.host.upstream_header("content-length").unwrap();
            assert_eq!(length, upstream.len().to_string().into_bytes());
            let seen: Value = serde_json::from_slice(&upstream).unwrap();
            assert_eq!(seen["stream_options"]["include_usage"] == true, asks, "{request}");
            assert_eq!((&seen["model"], &seen["stream"]), (&request["model"], &request["stream"]));
            respond(&world, &mut exchange, &[(":status", b"200"), ("content-length", b"9999")]);
            assert_eq!(world.host.client_header("content-length").is_none(), hidden);
            let client = pass(&world, &mut exchange, &stream, piece, true);
            let expected = if hidden { &without } else { &text };
            assert_eq!(String::from_utf8(client).unwrap(), *expected, "{request} {piece}");
            assert_eq!(charged(&world, exchange), 3_940);
        }
    }
}

#[test]
fn an_unknown_model_is_not_sold_and_nothing_is_asked_for_it() {
    let world = world(&price("openai_chat"));
    for (body, status) in [
        ("{\"model\":\"other\"}", 403),
        ("{\"model\":\"m\",\"model\":\"m\"}", 400),
        ("{\"messages\":[]}", 400),
        ("no json", 400),
    ] {
        world.host.begin_request(&[
            (":method", b"POST"),
            (":path", b"/v1/any"),
            (":authority", b"api.example.com"),
        ]);
        let mut exchange = Exchange::new(Rc::clone(&world.gate));
        assert_eq!(exchange.request_headers(&world.host, false), Step::Wait);
        world.host.set_request_body(body.as_bytes());
        match exchange.request_body(&world.host, body.len(), true) {
            Some(Step::Answer(reply)) => assert_eq!(reply.status, status, "{body}"),
            step => panic!("{body}: {step:?}"),
        }
        world.assert_no_call();
    }
}
