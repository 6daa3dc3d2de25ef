//! Refills of several leases that are due with the same tick: one call, and each its own answer.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_core::caveat::TIER_CREDITS;
use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::keyring::Keyring;
use tollway_core::payment::Preimage;
use tollway_core::wire::{EXTENSIONS_PATH, HOLDS_PER_BATCH_MAX};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::CallReply;
use tollway_testkit::fake_host::{FakeHost, SentCall};

use crate::leases::{answer_gate, leased};
use crate::world::{INVOICE, NOW_S, World, granted, keyring_json};

/// The `Authorization` value of the nth customer.
fn credential(n: u8) -> String {
    let preimage = Preimage::from_bytes([n; 32]);
    let ring = serde_json::from_value(keyring_json(1, &[1])).unwrap();
    let terms = ChallengeTerms {
        location: "tollway",
        payment_hash: preimage.payment_hash(),
        service: "demo",
        tier: TIER_CREDITS,
        valid_until: NOW_S + 600,
        random: [n; 32],
    };
    let challenge = Challenge::mint(&Keyring::from_reply(&ring).unwrap(), terms, INVOICE).unwrap();
    format!("L402 {}:{}", challenge.macaroon().to_base64(), preimage.reveal_hex())
}

/// A request of this customer, and what becomes of it at once.
fn request(world: &World, n: u8) -> (FakeHost, Exchange, Step) {
    let host = world.host.beside();
    host.begin_request(&[
        (":method", b"GET"),
        (":path", b"/api/joke"),
        (":authority", b"api.example.com"),
        ("authorization", credential(n).as_bytes()),
    ]);
    let mut exchange = Exchange::new(Rc::clone(&world.gate));
    let step = exchange.request_headers(&host, true);
    (host, exchange, step)
}

/// One that is served, for whose hold the ledger grants this where it is asked.
fn served(world: &World, n: u8, granted_msat: u64) {
    let (host, mut exchange, mut step) = request(world, n);
    if step == Step::Wait {
        let call = host.take_calls().remove(0);
        step = exchange.call_answered(&host, call.id, &granted(granted_msat, 200_000));
    }
    assert_eq!(step, Step::Continue);
    host.begin_response(&[(":status", b"200")], false);
    exchange.response_headers(&host);
    exchange.finished(&host);
}

/// A gate whose customers have a lease each, which is spent and to be refilled.
fn spent(customers: u8) -> World {
    let world = World::with(&leased());
    for n in 1..=customers {
        for amount in [5_000, 10_000, 0] {
            served(&world, n, amount);
        }
    }
    world
}

/// The calls of the tick that ask for more.
fn refills(world: &World) -> Vec<SentCall> {
    world.gate.tick(&world.host);
    let mut calls = world.host.take_calls();
    calls.retain(|call| call.header(":path").contains("extensions"));
    calls
}

fn lines(call: &SentCall) -> Vec<(String, Value)> {
    assert_eq!((call.header(":method"), call.header(":path")), ("POST", EXTENSIONS_PATH));
    let text = str::from_utf8(&call.body).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn reply(lines: &[(u16, Value)]) -> CallReply {
    let lines = lines.iter().map(|(status, body)| format!("[{status},{body}]\n"));
    CallReply { status: Some(200), body: lines.collect::<String>().into_bytes() }
}

fn grant(total_msat: u64) -> (u16, Value) {
    let reply = granted(total_msat, 180_000);
    (200, serde_json::from_slice(&reply.body).unwrap())
}

#[test]
fn refills_of_one_tick_share_a_call_and_each_hears_its_own_answer() {
    let world = spent(4);
    let calls = refills(&world);
    assert_eq!(calls.len(), 1, "{calls:?}");
    let lines = lines(&calls[0]);
    assert_eq!(lines.len(), 4);
    for (_, asked) in &lines {
        assert_eq!((&asked["seq"], &asked["min_msat"]), (&json!(0), &json!(5_000)));
    }
    let ids: std::collections::HashSet<_> = lines.iter().map(|(hold, _)| hold).collect();
    assert_eq!(ids.len(), 4);
    let refused =
        json!({"outcome": "refused", "refusal": "insufficient_credit", "balance_msat": 0});
    let answers = [grant(30_000), (404, Value::Null), (200, refused), (503, Value::Null)];
    answer_gate(&world, &calls[0], &reply(&answers));
    // The first has credit; of the second the ledger knows nothing any more, the others have none.
    let steps: Vec<_> = (1..=4).map(|n| request(&world, n).2).collect();
    assert_eq!(steps, [Step::Continue, Step::Wait, Step::Wait, Step::Wait]);
    // Nobody answered for the fourth. It is asked for again, by itself and in the same words.
    world.host.advance_ms(1_000);
    let again = refills(&world);
    assert_eq!(again.len(), 1, "{again:?}");
    assert!(again[0].header(":path").ends_with(&format!("{}/extensions", lines[3].0)));
    assert_eq!(again[0].json(), lines[3].1);
    answer_gate(&world, &again[0], &granted(30_000, 180_000));
    assert_eq!(request(&world, 4).2, Step::Continue);
}

#[test]
fn a_reply_that_is_not_one_to_every_line_is_an_answer_to_none() {
    let no_door = CallReply { status: Some(404), body: b"{}".to_vec() };
    let gone = (410, Value::Null);
    for wrong in [
        CallReply { status: None, body: Vec::new() },
        // Of a tollwayd that has no such door: no word on any hold.
        no_door,
        reply(&[gone.clone(), gone.clone()]),
        reply(&[gone.clone(), gone.clone(), gone.clone(), gone]),
        CallReply { status: Some(200), body: b"{\"outcome\":\"granted\"}".to_vec() },
    ] {
        let world = spent(3);
        let calls = refills(&world);
        let asked = lines(&calls[0]);
        answer_gate(&world, &calls[0], &wrong);
        assert_eq!(refills(&world), [], "not at once");
        world.host.advance_ms(1_000);
        let again = refills(&world);
        assert_eq!(lines(&again[0]), asked, "{wrong:?}");
        answer_gate(&world, &again[0], &reply(&[grant(30_000), grant(30_000), grant(30_000)]));
        for n in 1..=3 {
            assert_eq!(request(&world, n).2, Step::Continue);
        }
    }
}

#[test]
fn a_call_has_no_more_lines_than_it_may() {
    let most = u8::try_from(HOLDS_PER_BATCH_MAX).unwrap();
    let world = spent(2 * most + 1);
    let calls = refills(&world);
    let sizes: Vec<_> = calls[..2].iter().map(|call| lines(call).len()).collect();
    assert_eq!(sizes, [HOLDS_PER_BATCH_MAX; 2]);
    assert_eq!(calls.len(), 3);
    assert!(calls[2].header(":path").starts_with("/v1/holds/"), "one travels as it would alone");
}
