//! Requests whose cost shows only with the response.

use serde_json::{Value, json};
use tollway_gate::exchange::Exchange;
use tollway_gate::host::{LogField, ResponseTrouble};

use crate::world::{World, config};

const HEADER: &str = "x-toll-actual-cost-msat";

/// A world whose joke costs 5000 msat by estimate and has this meter.
fn world(meter: &Value, more: &[(&str, Value)]) -> World {
    let mut config = config();
    config["routes"][0]["meter"] = meter.clone();
    for (name, value) in more {
        config["routes"][0][*name] = value.clone();
    }
    World::with(&config)
}

/// An admitted request with 15,000 msat left, and a response with these headers.
fn answered(world: &World, headers: &[(&str, &[u8])]) -> Exchange {
    let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
    let mut all: Vec<(&str, &[u8])> = vec![(":status", b"200")];
    all.extend_from_slice(headers);
    world.host.begin_response(&all, false);
    exchange.response_headers(&world.host);
    exchange
}

fn pass(world: &World, exchange: &mut Exchange, bytes: usize, end: bool) {
    world.host.set_response_body(&vec![b'x'; bytes]);
    exchange.response_body(&world.host, bytes, end);
}

#[test]
fn the_upstream_says_what_it_cost_within_bounds() {
    let meter = json!({"header": HEADER, "max_msat": 8_000});
    for (told, charged, balance) in [
        (Some("0"), 0, 20_000),
        (Some("1"), 1, 19_999),
        (Some("5000"), 5_000, 15_000),
        (Some(" 7999 "), 7_999, 12_001),
        (Some("8001"), 8_000, 12_000),
        (Some("99999999999999999999999999"), 8_000, 12_000),
        (Some("0000000000000000000000000012"), 12, 19_988),
        // What cannot be read leaves the estimate.
        (None, 5_000, 15_000),
        (Some(""), 5_000, 15_000),
        (Some("-1"), 5_000, 15_000),
        (Some("+1"), 5_000, 15_000),
        (Some("1.5"), 5_000, 15_000),
        (Some("1, 2"), 5_000, 15_000),
        (Some("0x10"), 5_000, 15_000),
    ] {
        let world = world(&meter, &[("overrun", json!("debit_rest"))]);
        let headers: Vec<(&str, &[u8])> =
            told.iter().map(|told| (HEADER, told.as_bytes())).collect();
        let mut exchange = answered(&world, &headers);
        let shown = |name| world.host.client_header(name);
        assert_eq!(shown(HEADER), None, "{told:?}");
        assert_eq!(shown("x-toll-cost-msat"), Some(charged.to_string()), "{told:?}");
        assert_eq!(shown("x-toll-balance-msat"), Some(balance.to_string()), "{told:?}");
        pass(&world, &mut exchange, 3, true);
        exchange.finished(&world.host);
        assert_eq!(world.host.note_of(LogField::CostMsat), charged.to_string());
        let row = &world.posted()[0];
        assert_eq!((&row["amount_msat"], &row["overrun"]), (&json!(charged), &json!("debit_rest")));
    }
}

#[test]
fn another_header_can_be_named_and_the_estimate_is_the_most_without_a_maximum() {
    let world = world(&json!({"header": "x-compute-msat"}), &[]);
    let mut exchange = answered(&world, &[("x-compute-msat", b"6000"), (HEADER, b"1")]);
    assert_eq!(world.host.client_header("x-compute-msat"), None);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 5_000);
}

#[test]
fn bytes_and_started_seconds_are_charged_as_they_passed() {
    let meter = json!({"base_msat": 100, "response_mb_msat": 1_000_000, "second_msat": 50,
                       "max_msat": 100_000});
    for (pieces, elapsed_ms, charged) in [
        (&[][..], 0, 150),
        (&[1][..], 999, 151),
        (&[400, 600][..], 1_000, 1_150),
        (&[1000][..], 1_001, 1_200),
        (&[60_000, 60_000][..], 0, 100_000),
    ] {
        let world = world(&meter, &[]);
        let mut exchange = answered(&world, &[]);
        let shown = |name| world.host.client_header(name);
        assert_eq!(shown("x-toll-cost-msat"), None, "nobody knows yet");
        assert_eq!(shown("x-toll-held-msat").unwrap(), "5000");
        assert_eq!(shown("x-toll-balance-msat").unwrap(), "15000");
        for bytes in pieces {
            pass(&world, &mut exchange, *bytes, false);
        }
        world.host.advance_ms(elapsed_ms);
        exchange.response_body(&world.host, 0, true);
        exchange.finished(&world.host);
        assert_eq!(world.posted()[0]["amount_msat"], charged, "{pieces:?} in {elapsed_ms} ms");
    }
}

#[test]
fn a_client_that_leaves_pays_for_what_had_passed() {
    let world = world(&json!({"response_mb_msat": 1_000_000, "max_msat": 90_000}), &[]);
    let mut exchange = answered(&world, &[]);
    pass(&world, &mut exchange, 700, false);
    exchange.finished(&world.host);
    assert_eq!(world.posted()[0]["amount_msat"], 700);
}

#[test]
fn what_is_refunded_costs_nothing_whatever_the_meter_says() {
    let reset = ResponseTrouble { reset: true, ..ResponseTrouble::default() };
    for (meter, more, status, trouble) in [
        (json!({"header": HEADER}), ("overrun", json!("cap")), &b"503"[..], Default::default()),
        (json!({"header": HEADER}), ("charge_on", json!(["2xx"])), b"304", Default::default()),
        (json!({"second_msat": 9}), ("overrun", json!("cap")), b"200", reset),
    ] {
        let world = world(&meter, &[more]);
        let mut exchange = world.admitted("/api/joke", 5_000, 15_000);
        world.host.begin_response(&[(":status", status), (HEADER, b"4000")], false);
        world.host.set_trouble(trouble);
        exchange.response_headers(&world.host);

        exchange.finished(&world.host);
        assert_eq!(world.posted()[0]["amount_msat"], 0, "{meter}");
    }
}
