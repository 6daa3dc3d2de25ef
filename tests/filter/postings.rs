//! What a finished request costs, and how the charge travels.

use serde_json::{Value, json};
use tollway_gate::host::{CallReply, ResponseTrouble};
use tollway_testkit::fake_host::SentCall;

use crate::leases::leased;
use crate::world::{World, ok, outcome};

const RESET: ResponseTrouble = ResponseTrouble { unreached: false, reset: true, timeout: false };
const TIMEOUT: ResponseTrouble = ResponseTrouble { unreached: false, reset: false, timeout: true };
const UNREACHED: ResponseTrouble =
    ResponseTrouble { unreached: true, reset: false, timeout: false };

/// How a response ends for a request on a route.
struct Case {
    path: &'static str,
    /// `None`: the stream ended before there was a response.
    status: Option<&'static str>,
    local: bool,
    trouble: ResponseTrouble,
    charged_msat: u64,
}

#[test]
fn only_what_was_delivered_is_charged() {
    let fine = ResponseTrouble::default();
    let case = |path, status, local, trouble, charged_msat| Case {
        path,
        status,
        local,
        trouble,
        charged_msat,
    };
    for (name, case) in [
        ("success", case("/api/joke", Some("200"), false, fine, 5_000)),
        ("the upstream's own 404", case("/api/joke", Some("404"), false, fine, 5_000)),
        ("the upstream's own 500", case("/api/joke", Some("500"), false, fine, 0)),
        ("a timeout", case("/api/joke", Some("504"), true, TIMEOUT, 0)),
        ("a reset", case("/api/joke", Some("503"), true, RESET, 0)),
        ("no answer at all", case("/api/joke", None, false, fine, 0)),
        ("another filter's 429", case("/api/joke", Some("429"), true, fine, 0)),
        ("no refunds: the upstream's 500", case("/api/strict", Some("500"), false, fine, 5_000)),
        ("no refunds: a timeout", case("/api/strict", Some("504"), true, TIMEOUT, 5_000)),
        ("no refunds: a reset", case("/api/strict", Some("503"), true, RESET, 5_000)),
        ("no refunds, but unreached", case("/api/strict", Some("503"), true, UNREACHED, 0)),
        ("no refunds, but no answer", case("/api/strict", None, false, fine, 0)),
        ("no refunds, another filter's 403", case("/api/strict", Some("403"), true, fine, 0)),
    ] {
        let world = World::new();
        let mut exchange = world.admitted(case.path, 5_000, 15_000);
        world.host.set_trouble(case.trouble);
        if let Some(status) = case.status {
            world.host.begin_response(&[(":status", status.as_bytes())], case.local);
            exchange.response_headers(&world.host);
            let shown = |header: &str| world.host.client_header(header).unwrap();
            assert_eq!(shown("x-toll-cost-msat"), case.charged_msat.to_string(), "{name}");
            let balance = 15_000 + 5_000 - case.charged_msat;
            assert_eq!(shown("x-toll-balance-msat"), balance.to_string(), "{name}");
        }
        exchange.finished(&world.host);
        let rows = world.posted();
        assert_eq!(rows.len(), 1, "{name}");
        assert_eq!(rows[0]["amount_msat"], case.charged_msat, "{name}");
        assert_eq!(rows[0]["release"], true, "{name}");
        assert_eq!(rows[0]["seq"], 0, "{name}");
    }
}

#[test]
fn a_response_that_breaks_off_is_refunded_although_it_began_well() {
    let world = World::new();
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    world.host.set_trouble(RESET);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 0);
}

#[test]
fn paid_responses_are_private_and_readable_by_scripts() {
    let world = World::new();
    let credential = world.credential("demo");
    let (mut exchange, _) = world.get(
        "/api/joke",
        &[("authorization", credential.as_bytes()), ("origin", b"https://app.example")],
    );
    let call = world.one_call("PUT", "/v1/holds/");
    exchange.call_answered(&world.host, call.id, &crate::world::granted(5_000, 0));
    let headers: &[(&str, &[u8])] =
        &[(":status", b"200"), ("cache-control", b"public, max-age=60")];
    world.host.begin_response(headers, false);
    exchange.response_headers(&world.host);
    assert_eq!(world.host.client_header("cache-control").unwrap(), "private, max-age=60");
    let exposed = world.host.client_header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("X-Toll-Balance-Msat"), "{exposed}");
}

#[test]
fn the_gate_s_own_answer_is_never_charged() {
    let world = World::new();
    let (mut exchange, _) = world.get("/api/joke", &[]);
    let (_, _) = world.answer_challenge(&mut exchange);
    world.host.begin_response(&[(":status", b"402")], true);
    exchange.response_headers(&world.host);
    exchange.finished(&world.host);
    assert_eq!(world.host.client_header("x-toll-cost-msat"), None);
    world.gate.tick(&world.host);
    world.assert_no_call();
}

#[test]
fn an_end_that_is_told_twice_is_charged_once() {
    let world = World::new();
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    exchange.finished(&world.host);
    exchange.finished(&world.host);
    assert_eq!(world.posted().len(), 1);
}

#[test]
fn postings_wait_for_tollwayd_and_travel_unchanged() {
    let world = World::new();
    for _ in 0..3 {
        let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
        world.host.begin_response(&[(":status", b"200")], false);
        exchange.response_headers(&world.host);
        exchange.finished(&world.host);
    }
    world.gate.tick(&world.host);
    let first = world.one_call("POST", "/v1/postings");
    let sent: Value = first.json();
    assert_eq!(sent["postings"].as_array().unwrap().len(), 3);

    // While the batch is under way nothing else is sent.
    world.gate.tick(&world.host);
    world.assert_no_call();

    let lost = CallReply { status: Some(503), body: Vec::new() };
    world.gate.call_answered(&world.host, first.id, &lost);
    world.gate.tick(&world.host);
    world.assert_no_call();
    world.host.advance_ms(2_000);
    world.gate.tick(&world.host);
    let again = world.one_call("POST", "/v1/postings");
    assert_eq!(again.json(), sent, "the same rows, so that the ledger can tell");
    let outcomes = vec![outcome("posted", &json!(5_000)); 3];
    world.gate.call_answered(&world.host, again.id, &ok(&json!({"outcomes": outcomes})));
    world.gate.tick(&world.host);
    world.assert_no_call();
    assert_eq!(world.host.lost_postings(), 0);
}

#[test]
fn postings_that_came_too_late_are_counted_as_lost() {
    let world = World::new();
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    world.host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&world.host);
    exchange.finished(&world.host);
    world.gate.tick(&world.host);
    let call = world.one_call("POST", "/v1/postings");
    let reply = ok(&json!({"outcomes": [outcome("hold_expired", &json!(0))]}));
    world.gate.call_answered(&world.host, call.id, &reply);
    assert_eq!(world.host.lost_postings(), 1);
    world.gate.tick(&world.host);
    world.assert_no_call();
}

/// Says this of the one release that the next tick sends.
fn release_is(world: &World, hold: &SentCall, said: &str) {
    world.gate.tick(&world.host);
    let call = world.one_call("POST", "/v1/postings");
    let rows = call.json()["postings"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(hold.header(":path").ends_with(rows[0]["hold"].as_str().unwrap()), "{rows:?}");
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["release"]), (&json!(0), &json!(true)));
    let reply = ok(&json!({"outcomes": [outcome(said, &json!(0))]}));
    world.gate.call_answered(&world.host, call.id, &reply);
    world.gate.tick(&world.host);
    world.assert_no_call();
}

#[test]
fn a_release_that_overtakes_its_hold_is_sent_again_until_the_hold_has_come() {
    // By an exact request, and by the one that asked for a lease.
    for mut config in [crate::world::config(), leased()] {
        config["keyring_refresh_s"] = json!(300);
        let left = |world: &World| {
            let (mut exchange, hold) = world.paid("/api/joke");
            exchange.finished(&world.host);
            hold
        };
        let world = World::with(&config);
        let hold = left(&world);
        release_is(&world, &hold, "hold_unknown");
        world.host.advance_ms(1_999);
        world.gate.tick(&world.host);
        world.assert_no_call();
        world.host.advance_ms(1);
        release_is(&world, &hold, "hold_unknown");
        world.host.advance_ms(2_000);
        release_is(&world, &hold, "posted");
        world.host.advance_ms(60_000);
        world.gate.tick(&world.host);
        world.assert_no_call();

        // A hold that never comes is not waited for for ever.
        let world = World::with(&config);
        let hold = left(&world);
        for _ in 0..5 {
            release_is(&world, &hold, "hold_unknown");
            world.host.advance_ms(2_000);
        }
        world.gate.tick(&world.host);
        world.assert_no_call();
        assert_eq!(world.host.lost_postings(), 0, "nobody owes anything");
    }
}

#[test]
fn nothing_but_a_release_whose_hold_is_unknown_is_sent_again() {
    for (status, said) in [("200", "hold_unknown"), ("500", "hold_expired"), ("500", "posted")] {
        let world = World::new();
        let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
        world.host.begin_response(&[(":status", status.as_bytes())], false);
        exchange.response_headers(&world.host);
        exchange.finished(&world.host);
        world.gate.tick(&world.host);
        let call = world.one_call("POST", "/v1/postings");
        let reply = ok(&json!({"outcomes": [outcome(said, &json!(0))]}));
        world.gate.call_answered(&world.host, call.id, &reply);
        world.host.advance_ms(60_000);
        world.gate.tick(&world.host);
        let calls = world.host.take_calls();
        assert!(calls.iter().all(|call| call.header(":path") != "/v1/postings"), "{said}");
        assert_eq!(world.host.lost_postings(), u64::from(status == "200"), "{said}");
    }
}
