//! A token that is in use all the time: its worker sets credit aside, and looks at the table of
//! leases less often. What it has set aside is nobody else's, and back with the next tick. And
//! two workers that ask for the same refill.

use serde_json::json;
use tollway_gate::exchange::Step;
use tollway_gate::host::CallReply;

use crate::leases::{Request, answer_gate, leased, open, posted, refill, second_worker};
use crate::world::{World, granted};

const PRICE_MSAT: u64 = 5_000;
const LEASE_MSAT: u64 = 2_000_000;
const BALANCE_MSAT: u64 = 500_000;

/// A gate whose token has a lease of 2,000 sats, of which 5 are under way.
fn busy() -> (World, Request) {
    let mut config = leased();
    config["services"][0]["lease_max_sats"] = json!(LEASE_MSAT / 1_000 + 5);
    let world = World::with(&config);
    let first = open(&world, LEASE_MSAT, BALANCE_MSAT);
    (world, first)
}

/// One more request, and whether the worker looked at the table for it.
fn one_more(world: &World) -> (Request, bool) {
    let request = Request::paid(world, "/api/joke");
    let looked = request.host.take_asked().contains(&"shared");
    (request, looked)
}

/// So many requests that are all delivered, and for which of them the worker looked.
fn delivered(world: &World, requests: u64) -> Vec<u64> {
    let mut looked_for = Vec::new();
    for number in 1..=requests {
        let (request, looked) = one_more(world);
        if looked {
            looked_for.push(number);
        }
        request.ends("200");
    }
    looked_for
}

#[test]
fn a_busy_token_is_looked_up_less_and_less_until_the_tick() {
    let (world, first) = busy();
    let all = BALANCE_MSAT + LEASE_MSAT - PRICE_MSAT;
    let mut looked_for = Vec::new();
    for number in 1..=60 {
        let (request, looked) = one_more(&world);
        assert_eq!(request.balance(), all - number * PRICE_MSAT, "as if nothing were set aside");
        if looked {
            looked_for.push(number);
        }
        request.ends("200");
    }
    // Eight by themselves; then for 8, 17 and 22 more: a sixteenth of what is left.
    assert_eq!(looked_for, [1, 2, 3, 4, 5, 6, 7, 8, 9, 18, 36, 59]);
    first.ends("200");
    let rows = posted(&world);
    let charges: Vec<_> = rows.iter().filter(|row| row["release"] == false).collect();
    assert_eq!(charges.len(), 1, "{rows:?}");
    assert_eq!(charges[0]["amount_msat"], 61 * PRICE_MSAT);
    assert_eq!(delivered(&world, 9), [1, 2, 3, 4, 5, 6, 7, 8, 9], "a tick begins anew");
}

#[test]
fn what_one_worker_set_aside_others_have_back_after_its_tick() {
    let (world, _first) = busy();
    delivered(&world, 9);
    let other = second_worker(&world);
    let all = BALANCE_MSAT + LEASE_MSAT - PRICE_MSAT;
    let (request, _) = one_more(&other);
    assert_eq!(request.balance(), all - 18 * PRICE_MSAT, "8 of them are set aside");
    request.ends("200");
    let (request, looked) = one_more(&world);
    assert!(!looked);
    assert_eq!(request.balance(), all - 10 * PRICE_MSAT, "of the other's it hears at the tick");
    request.ends("200");
    world.gate.tick(&world.host);
    let (request, _) = one_more(&other);
    assert_eq!(request.balance(), all - 12 * PRICE_MSAT);
}

#[test]
fn two_workers_never_spend_more_than_the_lease_has() {
    let (world, first) = busy();
    let other = second_worker(&world);
    let mut delivered = 0;
    let (mut mine, mut theirs) = (true, true);
    while mine || theirs {
        for (worker, goes_on) in [(&world, &mut mine), (&other, &mut theirs)] {
            if !*goes_on {
                continue;
            }
            let (request, step) = Request::new(worker, "/api/joke", &[]);
            *goes_on = step == Step::Continue;
            if *goes_on {
                delivered += PRICE_MSAT;
                request.ends("200");
            }
        }
    }
    first.ends("200");
    delivered += PRICE_MSAT;
    assert_eq!(delivered, LEASE_MSAT, "every sat of it, and no more");
    let charged = [posted(&world), posted(&other)].concat();
    let charged: u64 = charged.iter().map(|row| row["amount_msat"].as_u64().unwrap()).sum();
    assert_eq!(charged, delivered);
}

#[test]
fn what_is_set_aside_of_a_lease_that_runs_out_is_not_spent() {
    let (world, _first) = busy();
    delivered(&world, 9);
    // 30 s to spend; the requests themselves have 300 s to finish.
    world.host.advance_ms(30_001);
    let (_, step) = Request::new(&world, "/api/joke", &[]);
    assert_eq!(step, Step::Wait, "another hold is asked for");
}

#[test]
fn nothing_is_set_aside_of_a_lease_with_little_left() {
    let mut config = leased();
    config["services"][0]["lease_max_sats"] = json!(85);
    let world = World::with(&config);
    let _first = open(&world, 80_000, BALANCE_MSAT);
    assert_eq!(delivered(&world, 15), (1..=15).collect::<Vec<_>>());
}

#[test]
fn a_late_copy_of_a_refill_that_was_answered_ends_no_lease() {
    let mut config = leased();
    config["services"][0]["lease_max_sats"] = json!(100);
    let world = World::with(&config);
    let _first = open(&world, 20_000, BALANCE_MSAT);
    let _more = [0; 2].map(|_| one_more(&world));
    let asked = refill(&world);
    world.host.advance_ms(5_000);
    let other = second_worker(&world);
    let _last = one_more(&other);
    let copy = refill(&other);
    assert_eq!((copy.header(":path"), copy.json()), (asked.header(":path"), asked.json()));
    answer_gate(&world, &asked, &granted(60_000, BALANCE_MSAT - 40_000));
    // The lease has had another refill by the time the copy arrives.
    let refused = CallReply { status: Some(409), body: Vec::new() };
    answer_gate(&other, &copy, &refused);
    assert!(one_more(&other).1, "paid from the lease, without a call");
}
