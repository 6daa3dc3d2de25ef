//! What a paid request costs, counted in what it asks of the proxy: each is a call out of the VM,
//! and one that returns bytes costs as much as five that do not (docs/adr/0012).

use serde_json::json;
use tollway_core::caveat::TIER_SESSION;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::ResponseTrouble;

use crate::world::{NOW_S, World, config, granted, preimage, tier_credential, token};

/// A paid request whose credential is in the cache, up to its hold.
fn presented(world: &World, credential: &str) -> Exchange {
    for _ in 0..2 {
        world.host.take_asked();
        let (mut exchange, step) =
            world.get("/api/joke", &[("authorization", credential.as_bytes())]);
        assert_eq!(step, Step::Wait);
        if world.host.count_of(tollway_gate::metrics::Decision::Ok) > 0 {
            return exchange;
        }
        let hold = world.one_call("PUT", "/v1/holds/");
        exchange.call_answered(&world.host, hold.id, &granted(5_000, 500_000));
    }
    panic!("the first request was not admitted");
}

/// The same, after its hold was granted.
fn admitted(world: &World) -> Exchange {
    let mut exchange = presented(world, &world.credential("demo"));
    let hold = world.one_call("PUT", "/v1/holds/");
    world.host.take_asked();
    assert_eq!(
        exchange.call_answered(&world.host, hold.id, &granted(5_000, 500_000)),
        Step::Continue
    );
    exchange
}

fn respond(world: &World, exchange: &mut Exchange, status: &[u8]) {
    world.host.begin_response(&[(":status", status)], false);
    exchange.response_headers(&world.host);
}

#[test]
fn a_paid_request_asks_for_no_more_than_this() {
    let world = World::new();
    presented(&world, &world.credential("demo"));
    assert_eq!(world.host.take_asked(), ["request_headers", "route", "now_ms", "call"]);

    let world = World::new();
    let mut exchange = admitted(&world);
    let mut expected = vec!["now_ms", "record_call_ms"];
    // The credential goes; account, cost and balance come.
    expected.push("set_request_header");
    expected.extend(["add_request_header"; 3]);
    expected.extend(["account", "count", "decision"]);
    assert_eq!(world.host.take_asked(), expected);

    respond(&world, &mut exchange, b"200");
    let mut expected = vec!["response_header"];
    // Cost and balance; then whether the upstream keeps caches out, and that they stay out.
    expected.extend(["set_response_header"; 2]);
    expected.extend(["response_header", "add_response_header"]);
    assert_eq!(world.host.take_asked(), expected);

    exchange.response_body(&world.host, 3, false);
    exchange.response_body(&world.host, 3, true);
    assert_eq!(world.host.take_asked(), [""; 0], "a body passes untouched");
    exchange.finished(&world.host);
    assert_eq!(world.host.take_asked(), ["cost_msat"]);
}

#[test]
fn a_request_that_a_lease_pays_for_asks_for_no_more_than_this() {
    let mut config = config();
    config["routes"][0]["spend"] = json!("leased");
    config["routes"][0]["lease_max_sats"] = json!(500);
    let world = World::with(&config);
    let mut exchange = presented(&world, &world.credential("demo"));
    let hold = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, hold.id, &granted(10_000, 500_000));
    world.host.take_asked();
    let credential = world.credential("demo");
    let (mut exchange, step) = world.get("/api/joke", &[("authorization", credential.as_bytes())]);
    assert_eq!(step, Step::Continue);
    // One look and one swap stand in for the call, its reply and their time.
    let mut expected = vec!["request_headers", "route", "now_ms", "shared", "set_shared"];
    expected.push("set_request_header");
    expected.extend(["add_request_header"; 3]);
    expected.extend(["account", "count", "decision"]);
    assert_eq!(world.host.take_asked(), expected);
    respond(&world, &mut exchange, b"200");
    exchange.response_body(&world.host, 3, true);
    world.host.take_asked();
    exchange.finished(&world.host);
    assert_eq!(world.host.take_asked(), ["cost_msat"], "nothing is shared at the end");
}

#[test]
fn a_session_asks_for_no_more_than_this() {
    let mut config = config();
    config["routes"][1]["mode"] = json!({"session": {"duration_s": 900}});
    let world = World::with(&config);
    let session = tier_credential("demo", TIER_SESSION, 1, NOW_S + 60);
    for _ in 0..2 {
        world.host.take_asked();
        world.get("/api/dear", &[("authorization", session.as_bytes())]);
    }
    let mut expected = vec!["request_headers", "route", "now_ms"];
    expected.push("set_request_header");
    expected.extend(["add_request_header"; 3]);
    expected.extend(["account", "cost_msat", "count", "decision"]);
    assert_eq!(world.host.take_asked(), expected);
}

#[test]
fn the_client_s_address_is_asked_for_only_where_the_token_names_one() {
    let world = World::new();
    let bound = token("demo", 0, 1, NOW_S + 60).attenuate(b"ip=203.0.113.7");
    let credential = format!("L402 {}:{}", bound.to_base64(), preimage().reveal_hex());
    presented(&world, &credential);
    let asked = world.host.take_asked();
    assert_eq!(asked, ["request_headers", "route", "now_ms", "client_address", "call"]);
}

/// The flags are asked for unless a whole answer that is no error has passed.
#[test]
fn what_went_wrong_is_asked_for_wherever_it_can_matter() {
    let asked = |status: &[u8], pass: &dyn Fn(&mut Exchange, &World)| {
        let world = World::new();
        let mut exchange = admitted(&world);
        respond(&world, &mut exchange, status);
        pass(&mut exchange, &world);
        world.host.set_trouble(ResponseTrouble { unreached: true, ..Default::default() });
        world.host.take_asked();
        exchange.finished(&world.host);
        let asked = world.host.take_asked().contains(&"response_trouble");
        (asked, world.posted()[0]["amount_msat"].as_u64().unwrap())
    };
    let cut_off = asked(b"200", &|exchange, world| exchange.response_body(&world.host, 3, false));
    assert_eq!(cut_off, (true, 0));
    let headers_alone = asked(b"200", &|_, _| ());
    assert_eq!(headers_alone, (true, 0));
    let whole = asked(b"200", &|exchange, world| exchange.response_body(&world.host, 3, true));
    assert_eq!(whole, (false, 5_000));
    let trailers = asked(b"200", &|exchange, world| {
        exchange.response_body(&world.host, 3, false);
        exchange.response_trailers();
    });
    assert_eq!(trailers, (false, 5_000));
    let error = asked(b"404", &|exchange, world| exchange.response_body(&world.host, 3, true));
    assert_eq!(error, (true, 0));
}
