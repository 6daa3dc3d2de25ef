//! What a request costs by what it says, and requests that wait for their body.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::{LogField, Reply};
use tollway_gate::metrics::Decision;

use crate::leases::leased;
use crate::world::{World, body, config, granted};

/// The configuration with one more route, `/api/by`, of this price.
fn priced(mut config: Value, price: &Value) -> Value {
    let route = json!({"name": "by", "service": "demo", "match": {"path": "/api/by"},
                       "price": price});
    config["routes"].as_array_mut().unwrap().push(route);
    config
}

fn world(price: &Value) -> World {
    World::with(&priced(config(), price))
}

/// 9 sats for the model `large`, 2 for `small`; no other is sold.
fn by_model() -> Value {
    json!({"by": {"json": "model"},
           "values": {"large": {"sats": 9}, "small": {"sats": 2}, "tiny": "free"},
           "default": "deny"})
}

fn answer(step: Step) -> Reply {
    match step {
        Step::Answer(reply) => reply,
        step => panic!("expected an answer, but found {step:?}"),
    }
}

/// A request with a body that has not come yet.
fn post(world: &World, path: &str, more: &[(&str, &[u8])]) -> (Exchange, Step) {
    let mut headers: Vec<(&str, &[u8])> =
        vec![(":method", b"POST"), (":path", path.as_bytes()), (":authority", b"api.example.com")];
    headers.extend_from_slice(more);
    world.host.begin_request(&headers);
    let mut exchange = Exchange::new(Rc::clone(&world.gate));
    let step = exchange.request_headers(&world.host, false);
    (exchange, step)
}

/// The body comes, all of it at once.
fn send(world: &World, exchange: &mut Exchange, body: &[u8]) -> Step {
    world.host.set_request_body(body);
    exchange.request_body(&world.host, body.len(), true).unwrap()
}

#[test]
fn the_price_of_the_challenge_is_the_price_of_the_charge() {
    let world = world(&by_model());
    let credential = world.credential("demo");
    for (model, msat) in [("large", 9_000), ("small", 2_000)] {
        let text = json!({ "model": model }).to_string();
        let (mut unpaid, step) = post(&world, "/api/by", &[]);
        assert_eq!(step, Step::Wait);
        assert!(unpaid.is_held_back());
        world.assert_no_call();
        assert_eq!(send(&world, &mut unpaid, text.as_bytes()), Step::Wait);
        let (_, reply) = world.answer_challenge(&mut unpaid);
        assert_eq!(body(&reply)["priceMsat"], msat, "{model}");

        let paid = [("authorization", credential.as_bytes())];
        let (mut paid, _) = post(&world, "/api/by", &paid);
        assert_eq!(send(&world, &mut paid, text.as_bytes()), Step::Wait);
        let call = world.one_call("PUT", "/v1/holds/");
        assert_eq!(call.json()["amount_msat"], msat, "{model}");
        let step = paid.call_answered(&world.host, call.id, &granted(msat, 0));
        assert_eq!(step, Step::Continue);
        assert_eq!(
            world.host.upstream_header("x-toll-cost-msat").unwrap(),
            msat.to_string().as_bytes()
        );
    }
}

#[test]
fn a_body_is_priced_when_all_of_it_is_here_however_it_comes() {
    let world = world(&by_model());
    let text = br#"{"model": "large"}"#;
    for cut in 0..=text.len() {
        let (mut exchange, _) = post(&world, "/api/by", &[]);
        world.host.set_request_body(&text[..cut]);
        assert_eq!(exchange.request_body(&world.host, cut, false), Some(Step::Wait));
        assert!(exchange.is_held_back());
        world.assert_no_call();
        world.host.set_request_body(text);
        assert_eq!(exchange.request_body(&world.host, text.len(), true), Some(Step::Wait));
        assert_eq!(world.one_call("POST", "/v1/challenges").json()["amount_msat"], 20_000);
        assert_eq!(exchange.request_body(&world.host, text.len(), true), None);
    }
    // Trailers end a body too.
    let (mut exchange, _) = post(&world, "/api/by", &[]);
    world.host.set_request_body(text);
    assert_eq!(exchange.request_body(&world.host, text.len(), false), Some(Step::Wait));
    assert_eq!(exchange.request_trailers(&world.host), Some(Step::Wait));
    world.one_call("POST", "/v1/challenges");
    assert_eq!(exchange.request_trailers(&world.host), None);
}

#[test]
fn a_body_that_leaves_the_price_open_is_refused() {
    let world = world(&by_model());
    let deep = format!(r#"{{"model": "small", "x": {}1{}}}"#, "[".repeat(40), "]".repeat(40));
    for (text, status, code) in [
        (&br#"{"model": "small", "model": "large"}"#[..], 400, "price_field_repeated"),
        (br#"{"model": "small", "mode\u006c": "large"}"#, 400, "price_field_repeated"),
        (br#"{"model": "small", "Model": "large"}"#, 400, "price_field_repeated"),
        (br#"{"model": ["small"]}"#, 400, "price_field_malformed"),
        (br#"{"model": "small"} {"model": "large"}"#, 400, "price_field_malformed"),
        (br#"{"model": "small""#, 400, "price_field_malformed"),
        (b"model=small", 400, "price_field_malformed"),
        (b"\xff", 400, "price_field_malformed"),
        (b"", 400, "price_field_malformed"),
        (deep.as_bytes(), 400, "body_too_deep"),
        (br#"{"model": "huge"}"#, 403, "not_sold"),
        (b"{}", 403, "not_sold"),
    ] {
        let (mut exchange, _) = post(&world, "/api/by", &[]);
        let reply = answer(send(&world, &mut exchange, text));
        assert_eq!((reply.status, body(&reply)["code"].as_str()), (status, Some(code)), "{text:?}");
        assert_eq!(world.host.note_of(LogField::Reason), code);
        assert!(exchange.is_held_back());
    }
    // No body at all.
    let (_, step) = world.method("POST", "/api/by", &[]);
    assert_eq!(body(&answer(step))["code"], "price_field_malformed");
    world.assert_no_call();
    assert_eq!(world.host.count_of(Decision::Denied), 13);
}

#[test]
fn a_body_over_the_cap_is_refused_as_soon_as_that_is_known() {
    let mut config = priced(config(), &by_model());
    config["routes"].as_array_mut().unwrap().last_mut().unwrap()["body_bytes_max"] = json!(20);
    let world = World::with(&config);
    let long = |reply: &Reply| (reply.status, body(reply)["code"].clone());
    let expected = (413, json!("body_too_long"));

    let (_, step) = post(&world, "/api/by", &[("content-length", b"21")]);
    assert_eq!(long(&answer(step)), expected);
    let (mut exchange, step) = post(&world, "/api/by", &[("content-length", b"20")]);
    assert_eq!(step, Step::Wait);
    let step = exchange.request_body(&world.host, 21, false).unwrap();
    assert_eq!(long(&answer(step)), expected);
    let (mut exchange, _) = post(&world, "/api/by", &[]);
    let step = send(&world, &mut exchange, br#"{"model":    "tiny"}x"#);
    assert_eq!(long(&answer(step)), expected);
    let (mut exchange, _) = post(&world, "/api/by", &[]);
    assert_eq!(send(&world, &mut exchange, br#"{"model":    "tiny"}"#), Step::Continue);
}

#[test]
fn what_the_table_calls_free_passes_without_a_hold() {
    let world = world(&by_model());
    let (mut exchange, _) = post(&world, "/api/by", &[("x-toll-cost-msat", b"forged")]);
    assert_eq!(send(&world, &mut exchange, br#"{"model": "tiny"}"#), Step::Continue);
    assert!(!exchange.is_held_back());
    assert_eq!(world.host.upstream_header("x-toll-free").unwrap(), b"true");
    assert_eq!(world.host.upstream_header("x-toll-cost-msat"), None);
    world.assert_no_call();
}

#[test]
fn a_client_that_leaves_before_its_body_is_here_owes_nothing() {
    let world = world(&by_model());
    let (mut exchange, _) = post(&world, "/api/by", &[]);
    exchange.finished(&world.host);
    assert_eq!(world.host.count_of(Decision::Abandoned), 1);
    assert_eq!(exchange.request_body(&world.host, 5, true), None);
    world.assert_no_call();
}

#[test]
fn headers_and_parameters_need_no_body() {
    let table =
        |by: Value| json!({"by": by, "values": {"large": {"sats": 9}}, "default": {"sats": 2}});
    let world = world(&table(json!({"header": "x-model"})));
    for (headers, msat) in [
        (&[][..], 2_000),
        (&[("x-model", &b"large"[..])], 9_000),
        (&[("x-model", b"other")], 2_000),
    ] {
        let (mut exchange, _) = post(&world, "/api/by", headers);
        let (_, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(body(&reply)["priceMsat"], msat, "{headers:?}");
    }
    let twice: &[(&str, &[u8])] = &[("x-model", b"small"), ("x-model", b"large")];
    let reply = answer(post(&world, "/api/by", twice).1);
    assert_eq!((reply.status, &body(&reply)["code"]), (400, &json!("price_field_repeated")));

    let world = World::with(&priced(config(), &table(json!({"query": "model"}))));
    for (path, msat) in [("/api/by", 2_000), ("/api/by?model=l%61rge", 9_000)] {
        let (mut exchange, _) = post(&world, path, &[]);
        let (_, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(body(&reply)["priceMsat"], msat, "{path}");
    }
    let reply = answer(post(&world, "/api/by?model=a&model=large", &[]).1);
    assert_eq!((reply.status, &body(&reply)["code"]), (400, &json!("price_field_repeated")));
}

#[test]
fn a_lease_pays_requests_of_different_prices_and_a_dear_one_has_its_own_hold() {
    let table = json!({"by": {"query": "n"}, "default": {"sats": 2},
                       "values": {"5": {"sats": 5}, "21": {"sats": 21}}});
    let world = World::with(&priced(leased(), &table));
    let credential = world.credential("demo");
    let paid = |path| post(&world, path, &[("authorization", credential.as_bytes())]);
    let (mut first, step) = paid("/api/by");
    assert_eq!(step, Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(call.json()["min_msat"], 2_000);
    let opened = granted(call.json()["amount_msat"].as_u64().unwrap(), 100_000);
    assert_eq!(first.call_answered(&world.host, call.id, &opened), Step::Continue);
    world.host.begin_response(&[(":status", b"200")], false);
    first.response_headers(&world.host);
    first.response_body(&world.host, 0, true);
    first.finished(&world.host);

    let (_, step) = paid("/api/by?n=21");
    assert_eq!(step, Step::Wait);
    let call = world.one_call("PUT", "/v1/holds/");
    assert_eq!(
        (&call.json()["amount_msat"], &call.json()["min_msat"]),
        (&json!(21_000), &Value::Null)
    );
}

#[test]
fn an_announced_length_is_priced_without_the_body_and_another_is_counted() {
    let price = json!({"base": {"sats": 1}, "request_bytes": {"msat": 10, "per": 4}});
    let world = world(&price);
    let (mut exchange, step) = post(&world, "/api/by", &[("content-length", b"2000000")]);
    assert_eq!(step, Step::Wait);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["priceMsat"], 5_001_000);

    for length in [&[][..], &[("content-length", &b"many"[..])]] {
        let (mut exchange, step) = post(&world, "/api/by", length);
        assert_eq!(step, Step::Wait);
        world.assert_no_call();
        assert_eq!(send(&world, &mut exchange, b"12345"), Step::Wait);
        let (_, reply) = world.answer_challenge(&mut exchange);
        assert_eq!(body(&reply)["priceMsat"], 1_013);
    }
    let (mut exchange, _) = world.method("POST", "/api/by", &[]);
    let (_, reply) = world.answer_challenge(&mut exchange);
    assert_eq!(body(&reply)["priceMsat"], 1_000, "without a body");
    let (mut exchange, _) = post(&world, "/api/by", &[]);
    let step = exchange.request_body(&world.host, 65_537, false).unwrap();
    assert_eq!(answer(step).status, 413);
}

#[test]
fn a_credential_bought_before_pays_the_price_of_the_moment() {
    // The clock stands at Friday, 2027-01-15, 08:00 UTC.
    let price = json!({"windows": [{"days": ["fri"], "from": "08:00", "to": "09:00",
                                    "percent": 50}],
                       "otherwise": {"sats": 9}});
    let world = world(&price);
    let credential = world.credential("demo");
    for (after_ms, msat) in [(0, 4_500), (3_599_999, 4_500), (1, 9_000)] {
        world.host.advance_ms(after_ms);
        let renewed = crate::world::credential("demo", 1, crate::world::NOW_S + 10_000);
        let credential = if after_ms == 0 { &credential } else { &renewed };
        let (_, step) = world.get("/api/by", &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait);
        assert_eq!(world.one_call("PUT", "/v1/holds/").json()["amount_msat"], msat);
    }
}

#[test]
fn a_request_dearer_than_its_client_wants_is_answered_and_not_charged() {
    let world = World::new();
    let credential = world.credential("demo");
    let paid = ("authorization", credential.as_bytes());
    for more in [&[][..], &[paid]] {
        for (limit, expected) in [
            ("5000", None),
            ("9007199254740991", None),
            ("4999", Some((402, "max_cost_exceeded"))),
            ("0", Some((402, "max_cost_exceeded"))),
            ("", Some((400, "max_cost_malformed"))),
            ("-1", Some((400, "max_cost_malformed"))),
            ("+5000", Some((400, "max_cost_malformed"))),
            ("5e3", Some((400, "max_cost_malformed"))),
            ("9007199254740992", Some((400, "max_cost_malformed"))),
            ("99999999999999999999", Some((400, "max_cost_malformed"))),
        ] {
            let mut headers = vec![("x-toll-max-cost-msat", limit.as_bytes())];
            headers.extend_from_slice(more);
            let (_, step) = world.get("/api/joke", &headers);
            let Some((status, code)) = expected else {
                assert_eq!(step, Step::Wait, "{limit}");
                assert_eq!(world.host.take_calls().len(), 1);
                continue;
            };
            let reply = answer(step);
            assert_eq!((reply.status, body(&reply)["code"].as_str()), (status, Some(code)));
            if status == 402 {
                assert_eq!(crate::world::header(&reply, "x-toll-price-msat"), "5000");
                assert_eq!(crate::world::header(&reply, "www-authenticate"), "");
            }
            world.assert_no_call();
        }
    }
    let twice: &[(&str, &[u8])] =
        &[("x-toll-max-cost-msat", b"9000"), ("x-toll-max-cost-msat", b"9000"), paid];
    assert_eq!(answer(world.get("/api/joke", twice).1).status, 400);
    // What is free is not dear, and the header never reaches the upstream.
    assert_eq!(world.get("/", &[("x-toll-max-cost-msat", b"0")]).1, Step::Continue);
    assert_eq!(world.host.upstream_header("x-toll-max-cost-msat"), None);
}
