//! Requests that share a hold: when a call is needed, what is reported, who gets what back.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_core::wire::POSTINGS_PATH;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::CallReply;
use tollway_gate::metrics::LeaseEvent;
use tollway_testkit::fake_host::{FakeHost, SentCall};

use crate::world::{World, config, granted, ok, outcome, preimage, refused};

/// The routes of most tests, paid from leases of up to 45 sats; a dear request is not.
pub(crate) fn leased() -> Value {
    let mut config = config();
    for field in ["spend", "lease_max_sats", "exact_above_sats"] {
        config["services"][0][field] = match field {
            "spend" => json!("leased"),
            "lease_max_sats" => json!(45),
            _ => json!(20),
        };
    }
    config
}

/// A request of one worker, on a host of its own.
pub(crate) struct Request {
    pub(crate) host: FakeHost,
    exchange: Exchange,
}

impl Request {
    /// A paid request for this path, and what becomes of it at once.
    pub(crate) fn new(world: &World, path: &str, more: &[(&str, &[u8])]) -> (Self, Step) {
        let host = world.host.beside();
        let credential = world.credential("demo");
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", b"GET"),
            (":path", path.as_bytes()),
            (":authority", b"api.example.com"),
            ("authorization", credential.as_bytes()),
        ];
        headers.extend_from_slice(more);
        host.begin_request(&headers);
        let mut exchange = Exchange::new(Rc::clone(&world.gate));
        let step = exchange.request_headers(&host, true);
        (Self { host, exchange }, step)
    }

    /// One that needs a call.
    fn asking(world: &World, path: &str) -> (Self, SentCall) {
        let (request, step) = Self::new(world, path, &[]);
        assert_eq!(step, Step::Wait);
        let call = request.one_call();
        (request, call)
    }

    /// One that a lease pays for.
    pub(crate) fn paid(world: &World, path: &str) -> Self {
        let (request, step) = Self::new(world, path, &[]);
        assert_eq!(step, Step::Continue);
        assert_eq!(request.host.take_calls(), []);
        request
    }

    /// One that waits for another's call.
    fn parked(world: &World, path: &str) -> Self {
        let (request, step) = Self::new(world, path, &[]);
        assert_eq!(step, Step::Wait);
        assert_eq!(request.host.take_calls(), []);
        assert_eq!(request.exchange.parked_for(), Some(preimage().payment_hash()));
        request
    }

    fn one_call(&self) -> SentCall {
        let mut calls = self.host.take_calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }

    fn answer(&mut self, call: &SentCall, reply: &CallReply) -> Step {
        self.exchange.call_answered(&self.host, call.id, reply)
    }

    /// Has tollwayd refuse the hold until the gate does something else, and returns that call.
    fn refused_for_good(&mut self, call: &SentCall, balance_msat: u64) -> SentCall {
        let reply = refused("insufficient_credit", balance_msat);
        assert_eq!(self.answer(call, &reply), Step::Wait);
        // Holds that another request made superfluous may be on their way back.
        while self.exchange.parked_for().is_some() {
            assert_eq!(self.exchange.woken(&self.host, true), Step::Wait);
            let again = self.one_call();
            assert_eq!(self.answer(&again, &reply), Step::Wait);
        }
        self.one_call()
    }

    pub(crate) fn balance(&self) -> u64 {
        let value = self.host.upstream_header("x-toll-balance-msat").unwrap();
        String::from_utf8(value).unwrap().parse().unwrap()
    }

    pub(crate) fn ends(mut self, status: &str) {
        self.host.begin_response(&[(":status", status.as_bytes())], false);
        self.exchange.response_headers(&self.host);
        self.exchange.finished(&self.host);
        assert_eq!(self.host.take_calls(), [], "a stream's end calls nobody");
    }
}

/// A gate whose token has a lease of this size of which 5 sats are under way.
fn with_lease(lease_msat: u64, balance_msat: u64) -> (World, Request) {
    let world = World::with(&leased());
    let request = open(&world, lease_msat, balance_msat);
    (world, request)
}

pub(crate) fn open(world: &World, lease_msat: u64, balance_msat: u64) -> Request {
    // The first lease is for one request; those that wait make the next one larger.
    let (mut first, call) = Request::asking(world, "/api/joke");
    let waiting: Vec<Request> =
        (0..lease_msat / 5_000).map(|_| Request::parked(world, "/api/joke")).collect();
    assert_eq!(first.answer(&call, &granted(5_000, balance_msat)), Step::Continue);
    first.ends("500");
    drop(waiting);
    let (mut request, call) = Request::asking(world, "/api/joke");
    assert_eq!(call.json()["amount_msat"], lease_msat);
    assert_eq!(request.answer(&call, &granted(lease_msat, balance_msat)), Step::Continue);
    request
}

/// What the gate's tick sends, by path.
fn tick(world: &World) -> Vec<SentCall> {
    world.gate.tick(&world.host);
    world.host.take_calls()
}

pub(crate) fn answer_gate(world: &World, call: &SentCall, reply: &CallReply) {
    world.gate.call_answered(&world.host, call.id, reply);
}

/// Has all postings of a tick posted, in as few words as the gate prefers, and returns their rows.
pub(crate) fn posted(world: &World) -> Vec<Value> {
    let calls = tick(world);
    let Some(call) = calls.iter().find(|call| call.header(":path") == POSTINGS_PATH) else {
        return Vec::new();
    };
    let rows = call.json()["postings"].as_array().unwrap().clone();
    assert_eq!(call.header("prefer"), "return=minimal");
    answer_gate(world, call, &ok(&json!({"outcomes": [], "posted": rows.len()})));
    rows
}

/// The refill that the tick asks for.
pub(crate) fn refill(world: &World) -> SentCall {
    let mut calls = tick(world);
    calls.retain(|call| call.header(":path").ends_with("/extensions"));
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

#[test]
fn a_lease_begins_with_one_request_and_grows_with_use() {
    let world = World::with(&leased());
    let (mut asked, mut granted_msat, mut balance) = (Vec::new(), 0, 200_000);
    for _ in 0..30 {
        let (mut request, step) = Request::new(&world, "/api/joke", &[]);
        if step == Step::Wait {
            let call = request.one_call();
            let body = call.json();
            assert_eq!(body["min_msat"], 5_000, "one request is enough");
            assert_eq!(body["ttl_ms"], 330_000, "30 s to spend, 300 s to finish");
            granted_msat = body["amount_msat"].as_u64().unwrap();
            asked.push(granted_msat);
            balance -= granted_msat;
            assert_eq!(request.answer(&call, &granted(granted_msat, balance)), Step::Continue);
        }
        request.ends("200");
        for call in tick(&world) {
            let body = call.json();
            if let Some(add) = body["add_msat"].as_u64() {
                asked.push(add);
                granted_msat += add;
                balance -= add;
                answer_gate(&world, &call, &granted(granted_msat, balance));
            } else {
                let rows = body["postings"].as_array().unwrap().iter();
                let rows: Vec<_> = rows.map(|row| outcome("posted", &row["amount_msat"])).collect();
                answer_gate(&world, &call, &ok(&json!({"outcomes": rows})));
            }
        }
    }
    assert_eq!(asked[..3], [5_000, 10_000, 20_000], "{asked:?}");
    assert_eq!(
        asked.iter().max(),
        Some(&35_000),
        "45 sats, of which 10 are left or not posted: {asked:?}"
    );
    assert!(asked.iter().rev().take(3).is_sorted(), "half of the credit that is left: {asked:?}");
}

#[test]
fn a_paid_request_needs_no_call_and_shows_what_is_left() {
    let (world, first) = with_lease(20_000, 50_000);
    assert_eq!(first.balance(), 65_000, "what the account has and the lease has left");
    let second = Request::paid(&world, "/api/joke");
    assert_eq!(second.balance(), 60_000);
    assert_eq!(second.host.upstream_header("authorization"), None);
    let account = preimage().payment_hash().to_hex();
    assert_eq!(second.host.upstream_header("x-toll-account").unwrap(), account.as_bytes());
}

#[test]
fn what_was_earned_is_one_row_for_each_lease_and_route() {
    let (world, first) = with_lease(40_000, 50_000);
    let requests = ["/api/joke", "/api/strict", "/api/joke"].map(|p| Request::paid(&world, p));
    first.ends("200");
    requests.into_iter().for_each(|request| request.ends("200"));
    let rows: Vec<Value> =
        posted(&world).into_iter().filter(|row| row["release"] == false).collect();
    let earned: Vec<_> =
        rows.iter().map(|row| (row["route"].clone(), row["amount_msat"].clone())).collect();
    assert_eq!(earned, [(json!("joke"), json!(15_000)), (json!("strict"), json!(5_000))]);
    assert_eq!((&rows[0]["requests"], &rows[1]["requests"]), (&json!(3), &Value::Null), "1 if not");
    assert_eq!(rows[0]["hold"], rows[1]["hold"]);
    assert_ne!(rows[0]["seq"], rows[1]["seq"]);
    assert_eq!(posted(&world), Vec::<Value>::new());
}

#[test]
fn what_was_refunded_can_be_spent_again_after_the_tick() {
    let (world, first) = with_lease(15_000, 0);
    first.ends("500");
    let second = Request::paid(&world, "/api/joke");
    posted(&world);
    second.ends("500");
    posted(&world);
    for _ in 0..2 {
        Request::paid(&world, "/api/joke").ends("200");
    }
}

#[test]
fn an_idle_lease_is_given_back_once_nothing_of_it_is_under_way() {
    let (world, first) = with_lease(20_000, 0);
    posted(&world);
    world.host.advance_ms(6_000);
    assert_eq!(posted(&world), Vec::<Value>::new(), "a request is under way");
    let host = world.host.beside();
    let first = Request { host, ..first };
    first.ends("200");
    let rows = posted(&world);
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["release"]), (&json!(5_000), &json!(false)));
    posted(&world);
    world.host.advance_ms(6_000);
    let rows = posted(&world);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["release"]), (&json!(0), &json!(true)));
    assert_eq!(rows[0]["route"], "(lease)", "no request of a route was refunded");
    assert_eq!(world.host.shared_data().values(), Vec::<Vec<u8>>::new());
    assert_eq!(world.host.lease_count_of(LeaseEvent::Returned), 1);
    world.host.advance_ms(60_000);
    assert_eq!(posted(&world), Vec::<Value>::new());
    Request::asking(&world, "/api/joke");
}

#[test]
fn a_lease_is_not_given_back_before_every_charge_is_posted() {
    let (world, first) = with_lease(20_000, 0);
    first.ends("200");
    let calls = tick(&world);
    let lost = calls.iter().find(|call| call.header(":path") == POSTINGS_PATH).unwrap();
    world.host.advance_ms(6_000);
    answer_gate(&world, lost, &CallReply { status: None, body: Vec::new() });
    for _ in 0..3 {
        world.host.advance_ms(1_000);
        let calls = tick(&world);
        for call in calls.iter().filter(|call| call.header(":path") == POSTINGS_PATH) {
            let rows = call.json()["postings"].as_array().unwrap().clone();
            let ends = rows.iter().filter(|row| row["release"] == true).count();
            assert_eq!(
                ends, 1,
                "the lease that was replaced, whose request was refunded: {rows:?}"
            );
            answer_gate(&world, call, &CallReply { status: Some(503), body: Vec::new() });
        }
    }
}

#[test]
fn a_lease_is_refilled_before_it_is_dry_and_spent_meanwhile() {
    let (world, _first) = with_lease(20_000, 200_000);
    // The lease before it, whose request was refunded, is forgotten.
    posted(&world);
    let _second = Request::paid(&world, "/api/joke");
    let _third = Request::paid(&world, "/api/joke");
    let call = refill(&world);
    let body = call.json();
    assert_eq!((&body["seq"], &body["ttl_ms"]), (&json!(0), &json!(330_000)));
    assert_eq!(body["add_msat"], 25_000, "45 sats, of which 20 are left or not posted yet");
    assert_eq!(body["min_msat"], 5_000);
    assert!(tick(&world).is_empty(), "asked once");
    answer_gate(&world, &call, &granted(45_000, 175_000));
    let requests: Vec<Request> = (0..4).map(|_| Request::paid(&world, "/api/joke")).collect();
    assert_eq!(requests.last().unwrap().balance(), 185_000);
    requests.into_iter().for_each(|request| request.ends("200"));
    posted(&world);
    posted(&world);
    let _next = Request::paid(&world, "/api/joke");
    let next = refill(&world);
    assert_eq!(next.json()["seq"], 1);
}

#[test]
fn what_is_not_posted_yet_counts_against_the_maximum() {
    let (world, first) = with_lease(40_000, 200_000);
    let more = [0; 7].map(|_| Request::paid(&world, "/api/joke"));
    let asks = |amount: u64, min: Value| {
        let (request, call) = Request::asking(&world, "/api/joke");
        let body = call.json();
        assert_eq!((&body["amount_msat"], &body["min_msat"]), (&json!(amount), &min));
        (request, call)
    };
    // 40 sats of this lease and 5 of the one before it are spent and not posted: 45 in all.
    asks(5_000, Value::Null);
    posted(&world);
    let (mut last, call) = asks(5_000, json!(5_000));
    assert_eq!(last.answer(&call, &granted(5_000, 195_000)), Step::Continue);
    asks(5_000, Value::Null);
    // Once all of it is posted there is room again.
    for request in more.into_iter().chain([first, last]) {
        request.ends("200");
    }
    posted(&world);
    posted(&world);
    asks(10_000, json!(5_000));
}

#[test]
fn a_lease_that_ran_dry_and_is_posted_makes_room_for_the_next_one() {
    let (world, first) = with_lease(40_000, 200_000);
    let more = [0; 7].map(|_| Request::paid(&world, "/api/joke"));
    more.into_iter().chain([first]).for_each(|request| request.ends("200"));
    assert!(!posted(&world).is_empty());
    let (mut next, call) = Request::asking(&world, "/api/joke");
    let amount = call.json()["amount_msat"].as_u64().unwrap();
    assert!(amount >= 10_000, "{amount}");
    assert_eq!(next.answer(&call, &granted(amount, 200_000 - amount)), Step::Continue);
    let _ = Request::paid(&world, "/api/joke");
}

#[test]
fn a_refill_whose_answer_was_lost_is_asked_for_in_the_same_words() {
    let (world, _first) = with_lease(10_000, 200_000);
    let other = second_worker(&world);
    let _second = Request::paid(&world, "/api/joke");
    let call = refill(&world);
    answer_gate(&world, &call, &CallReply { status: None, body: Vec::new() });
    world.host.advance_ms(300);
    let again = refill(&world);
    assert_eq!((again.header(":path"), again.json()), (call.header(":path"), call.json()));
    // This worker dies; the next one that spends takes over what it finds written.
    answer_gate(&world, &again, &granted(10_000 + 20_000, 180_000));
    let _ = Request::paid(&other, "/api/joke");
    assert_eq!(Request::paid(&other, "/api/joke").balance(), 190_000);
}

/// Another worker of the same proxy.
pub(crate) fn second_worker(world: &World) -> World {
    let other = World::with(&leased());
    World { host: world.host.beside(), gate: other.gate }
}

#[test]
fn two_workers_spend_one_lease_and_number_their_rows_apart() {
    let (world, first) = with_lease(20_000, 0);
    let other = second_worker(&world);
    let second = Request::paid(&other, "/api/joke");
    let _third = Request::paid(&world, "/api/joke");
    let _fourth = Request::new(&other, "/api/joke", &[]);
    first.ends("200");
    second.ends("200");
    let (mine, theirs) = (posted(&world), posted(&other));
    let charge = |rows: &[Value]| rows.iter().find(|row| row["release"] == false).cloned();
    let (mine, theirs) = (charge(&mine).unwrap(), charge(&theirs).unwrap());
    assert_eq!(mine["hold"], theirs["hold"]);
    assert_ne!(mine["seq"], theirs["seq"]);
}

#[test]
fn requests_of_one_worker_share_the_call_that_opens_a_lease() {
    let world = World::with(&leased());
    let (mut first, call) = Request::asking(&world, "/api/joke");
    let mut others: Vec<Request> = (0..4).map(|_| Request::parked(&world, "/api/joke")).collect();
    assert_eq!(first.answer(&call, &granted(5_000, 95_000)), Step::Continue);
    assert_eq!(world.gate.take_decided(), [preimage().payment_hash()]);
    // One request's worth was asked for, so the next one asks for all that wait.
    for other in &mut others {
        assert_eq!(other.exchange.woken(&other.host, false), Step::Wait);
        assert_eq!(other.host.take_calls(), [], "not from another stream's callback");
    }
    let [leader, rest @ ..] = &mut others[..] else { unreachable!() };
    assert_eq!(leader.exchange.woken(&leader.host, true), Step::Wait);
    let call = leader.one_call();
    assert_eq!(call.json()["amount_msat"], 20_000);
    for other in &mut *rest {
        assert_eq!(other.exchange.woken(&other.host, true), Step::Wait);
        assert_eq!(other.host.take_calls(), []);
    }
    assert_eq!(leader.answer(&call, &granted(20_000, 75_000)), Step::Continue);
    for other in rest {
        assert_eq!(other.exchange.woken(&other.host, false), Step::Continue);
        assert!(!other.exchange.is_held_back());
    }
}

#[test]
fn those_who_wait_for_a_client_that_left_ask_themselves() {
    let world = World::with(&leased());
    let (mut first, _) = Request::asking(&world, "/api/joke");
    let mut second = Request::parked(&world, "/api/joke");
    first.exchange.finished(&first.host);
    assert!(!world.gate.is_opening(&preimage().payment_hash()));
    assert_eq!(second.exchange.woken(&second.host, true), Step::Wait);
    let call = second.one_call();
    assert_eq!(second.answer(&call, &granted(5_000, 0)), Step::Continue);
}

#[test]
fn those_who_wait_for_a_lease_that_is_refused_learn_it_from_holds_of_their_own() {
    let world = World::with(&leased());
    let (mut first, call) = Request::asking(&world, "/api/joke");
    let mut second = Request::parked(&world, "/api/joke");
    assert_eq!(first.answer(&call, &refused("insufficient_credit", 0)), Step::Wait);
    assert_eq!(first.one_call().header(":path"), "/v1/challenges");
    for _ in 0..2 {
        assert_eq!(second.exchange.woken(&second.host, true), Step::Wait);
        let call = second.one_call();
        assert_eq!(second.answer(&call, &refused("insufficient_credit", 0)), Step::Wait);
        let next = second.host.take_calls();
        if next.first().is_some_and(|call| call.header(":path") == "/v1/challenges") {
            return;
        }
    }
    panic!("the second request was never told to pay");
}

#[test]
fn what_must_be_exact_is_exact() {
    let mut config = leased();
    config["routes"][0]["idempotency"] = json!("charge_once");
    config["routes"][2]["mode"] = json!("single_use");
    let world = World::with(&config);
    for (path, more) in [
        ("/api/joke", &[("idempotency-key", &b"k"[..])][..]),
        ("/api/dear", &[]),
        ("/api/strict", &[]),
    ] {
        let (request, step) = Request::new(&world, path, more);
        assert_eq!(step, Step::Wait, "{path}");
        let call = request.one_call();
        assert_eq!(call.json()["min_msat"], Value::Null, "{path}");
        assert_eq!(call.json()["ttl_ms"], 300_000, "{path}");
    }
    assert_eq!(world.host.shared_data().writes(), 0);
}

#[test]
fn a_request_that_could_not_be_reported_in_time_is_not_paid_from_a_lease() {
    let (world, _first) = with_lease(40_000, 0);
    world.host.advance_ms(30_000);
    Request::paid(&world, "/api/joke");
    let (world, _first) = with_lease(40_000, 0);
    world.host.advance_ms(30_001);
    let (_, call) = Request::asking(&world, "/api/joke");
    assert_eq!(call.json()["min_msat"], 5_000, "a lease of its own");
}

#[test]
fn a_lease_in_use_is_given_more_time_before_it_needs_more_credit() {
    let (world, _first) = with_lease(40_000, 500_000);
    world.host.advance_ms(15_001);
    let _second = Request::paid(&world, "/api/joke");
    let call = refill(&world);
    assert_eq!(call.json()["add_msat"], 0);
    assert_eq!(call.json()["min_msat"], Value::Null);
    answer_gate(&world, &call, &granted(35_000, 500_000));
    world.host.advance_ms(29_000);
    let _third = Request::paid(&world, "/api/joke");
}

#[test]
fn a_lease_that_the_ledger_has_ended_is_spent_by_nobody() {
    for reply in [
        CallReply { status: Some(404), body: Vec::new() },
        CallReply { status: Some(409), body: Vec::new() },
        refused("account_revoked", 0),
    ] {
        let (world, _first) = with_lease(15_000, 500_000);
        let _second = Request::paid(&world, "/api/joke");
        let call = refill(&world);
        answer_gate(&world, &call, &reply);
        Request::asking(&world, "/api/joke");
    }
}

#[test]
fn a_posting_that_tells_of_a_revocation_ends_the_lease() {
    let (world, first) = with_lease(20_000, 0);
    first.ends("200");
    let calls = tick(&world);
    let call = calls.iter().find(|call| call.header(":path") == POSTINGS_PATH).unwrap();
    let rows = call.json()["postings"].as_array().unwrap().len();
    let row = json!({"outcome": "posted", "charged_msat": 5_000, "revoked": true});
    answer_gate(&world, call, &ok(&json!({"outcomes": vec![row; rows]})));
    let (mut request, call) = Request::asking(&world, "/api/joke");
    assert_eq!(request.answer(&call, &refused("account_revoked", 0)), Step::Wait);
    assert_eq!(request.one_call().header(":path"), "/v1/challenges");
    // Other tokens of the account may need what it has left.
    let released = posted(&world);
    assert!(released.iter().any(|row| row["release"] == true), "{released:?}");
}

#[test]
fn a_lease_that_has_ended_is_given_back_with_the_last_news_of_it() {
    let (world, first) = with_lease(20_000, 0);
    let second = Request::paid(&world, "/api/joke");
    first.ends("200");
    second.ends("200");
    // Nobody else has a part of the lease, so what was posted can wait for the next request.
    posted(&world);
    world.host.advance_ms(3_000);
    let other = second_worker(&world);
    Request::paid(&other, "/api/joke").ends("200");
    let calls = tick(&other);
    let call = calls.iter().find(|call| call.header(":path") == POSTINGS_PATH).unwrap();
    let row = json!({"outcome": "posted", "charged_msat": 5_000, "revoked": true});
    answer_gate(&other, call, &ok(&json!({"outcomes": [row]})));
    assert_eq!(posted(&other), Vec::<Value>::new(), "the first worker has not told what it knows");
    world.host.advance_ms(2_500);
    let rows = posted(&world);
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!((&rows[0]["amount_msat"], &rows[0]["release"]), (&json!(0), &json!(true)));
}

#[test]
fn records_of_another_version_are_as_if_they_were_not_there() {
    for garbage in [&b"x"[..], &[0; 178], &[0xff; 178], &[0xff; 178 * 9], &[]] {
        let (world, first) = with_lease(20_000, 50_000);
        world.host.shared_data().overwrite_all(garbage);
        let (mut second, call) = Request::asking(&world, "/api/joke");
        assert_eq!(second.answer(&call, &granted(5_000, 45_000)), Step::Continue);
        // What is still under way is reported all the same.
        first.ends("200");
        assert!(posted(&world).iter().any(|row| row["amount_msat"] == 5_000));
    }
}

#[test]
fn a_crowded_bucket_makes_a_request_exact_and_never_free() {
    let (world, _first) = with_lease(20_000, 50_000);
    world.host.shared_data().conflict_next(8);
    let (mut request, call) = Request::asking(&world, "/api/joke");
    assert_eq!(call.json()["min_msat"], Value::Null);
    assert_eq!(request.answer(&call, &granted(5_000, 45_000)), Step::Continue);
    request.ends("200");
    let rows = posted(&world);
    let exact = rows.iter().find(|row| row["amount_msat"] == 5_000).unwrap();
    assert_eq!((&exact["release"], &exact["seq"]), (&json!(true), &json!(0)));
}

#[test]
fn the_lease_of_the_faster_worker_pays_and_the_other_hold_goes_back() {
    let world = World::with(&leased());
    let other = second_worker(&world);
    let (mut slow, slow_call) = Request::asking(&world, "/api/joke");
    let _waits = Request::parked(&world, "/api/joke");
    let (mut fast, fast_call) = Request::asking(&other, "/api/joke");
    assert_eq!(fast.answer(&fast_call, &granted(5_000, 90_000)), Step::Continue);
    fast.ends("500");
    posted(&other);
    assert_eq!(slow.answer(&slow_call, &granted(5_000, 85_000)), Step::Continue);
    let rows = posted(&world);
    let path = slow_call.header(":path");
    assert_eq!(rows.len(), 1);
    assert!(path.ends_with(rows[0]["hold"].as_str().unwrap()), "{path} {rows:?}");
    assert_eq!(rows[0]["amount_msat"], 0);
    assert_eq!(rows[0]["route"], "(lease)", "no request of the route was refunded");
}

#[test]
fn credit_on_lease_pays_for_a_dear_request_that_the_rest_cannot() {
    let (world, _first) = with_lease(40_000, 30_000);
    let (mut dear, call) = Request::asking(&world, "/api/dear");
    assert_eq!(dear.answer(&call, &refused("insufficient_credit", 30_000)), Step::Wait);
    let again = dear.one_call();
    let body = again.json();
    assert_eq!(body["amount_msat"], 50_000);
    assert_eq!(body["take_back"]["amount_msat"], 20_000);
    // While it is on its way, nobody spends it: 40, 5 under way, 20 to be taken.
    let _three = [0; 3].map(|_| Request::paid(&world, "/api/joke"));
    let (_fourth, step) = Request::new(&world, "/api/joke", &[]);
    assert_eq!(step, Step::Wait);
    assert_eq!(dear.answer(&again, &granted(50_000, 0)), Step::Continue);
    assert_eq!(world.host.lease_count_of(LeaseEvent::TakenBack), 0, "counted on its own host");
    assert_eq!(dear.host.lease_count_of(LeaseEvent::TakenBack), 1);
    dear.ends("200");
}

#[test]
fn credit_that_was_not_taken_back_after_all_can_be_spent_or_waits_for_the_end() {
    // The ledger refused: it has moved nothing, and all of it can be spent.
    let (world, _first) = with_lease(40_000, 30_000);
    let (mut dear, call) = Request::asking(&world, "/api/dear");
    dear.answer(&call, &refused("insufficient_credit", 30_000));
    let again = dear.one_call();
    assert_eq!(dear.refused_for_good(&again, 0).header(":path"), "/v1/challenges");
    let _seven = [0; 7].map(|_| Request::paid(&world, "/api/joke"));

    // No answer: it may be gone, so nobody spends it here.
    let (world, _first) = with_lease(40_000, 30_000);
    let (mut dear, call) = Request::asking(&world, "/api/dear");
    dear.answer(&call, &refused("insufficient_credit", 30_000));
    let again = dear.one_call();
    let lost = CallReply { status: None, body: Vec::new() };
    assert!(matches!(dear.answer(&again, &lost), Step::Answer(reply) if reply.status == 503));
    let _three = [0; 3].map(|_| Request::paid(&world, "/api/joke"));
    let (_fourth, step) = Request::new(&world, "/api/joke", &[]);
    assert_eq!(step, Step::Wait);
}

#[test]
fn a_customer_who_cannot_pay_is_told_of_the_credit_on_lease_too() {
    let (world, _first) = with_lease(20_000, 10_000);
    let (mut dear, call) = Request::asking(&world, "/api/dear");
    let call = dear.refused_for_good(&call, 10_000);
    let invoice = crate::world::invoice(&call.json());
    let Step::Answer(reply) = dear.answer(&call, &invoice) else { panic!("no answer") };
    assert_eq!(crate::world::body(&reply)["balanceMsat"], 25_000);
}

#[test]
fn a_dear_request_waits_while_its_lease_waits_for_a_refill() {
    let (world, _first) = with_lease(20_000, 30_000);
    let _more = [0; 2].map(|_| Request::paid(&world, "/api/joke"));
    let call = refill(&world);
    let (mut dear, hold) = Request::asking(&world, "/api/dear");
    assert_eq!(dear.answer(&hold, &refused("insufficient_credit", 12_000)), Step::Wait);
    assert!(dear.exchange.parked_for().is_some());
    answer_gate(&world, &call, &granted(33_000, 12_000));
    assert_eq!(dear.exchange.woken(&dear.host, true), Step::Wait);
    let hold = dear.one_call();
    assert_eq!(dear.answer(&hold, &refused("insufficient_credit", 32_000)), Step::Wait);
    assert_eq!(dear.one_call().json()["take_back"]["amount_msat"], 18_000);
}

/// Fills every bucket that is in use with this token's leases under other names.
fn fill_buckets(world: &World) {
    let record = world.host.shared_data().values().remove(0);
    let strangers = (1..=8_u8).flat_map(|stranger| {
        let mut record = record[..178].to_vec();
        record[..32].fill(stranger);
        record
    });
    world.host.shared_data().overwrite_all(&strangers.collect::<Vec<u8>>());
}

#[test]
fn a_full_bucket_makes_a_request_exact_and_loses_nothing() {
    let (world, first) = with_lease(20_000, 50_000);
    fill_buckets(&world);
    let before = world.host.shared_data().values();
    let (mut alone, call) = Request::asking(&world, "/api/joke");
    assert_eq!(alone.answer(&call, &granted(5_000, 45_000)), Step::Continue);
    assert_eq!(alone.host.lease_count_of(LeaseEvent::Bypassed), 1);
    assert_eq!(world.host.shared_data().values(), before, "nobody's lease is touched");
    alone.ends("200");
    // What was under way when its lease went is reported all the same.
    first.ends("200");
    let rows = posted(&world);
    let charged: Vec<_> = rows.iter().filter(|row| row["amount_msat"] == 5_000).collect();
    assert_eq!(charged.len(), 2, "{rows:?}");
    let path = call.header(":path");
    let exact = charged.iter().find(|row| path.ends_with(row["hold"].as_str().unwrap())).unwrap();
    assert_eq!((&exact["release"], &exact["seq"]), (&json!(true), &json!(0)));

    // Those who wait are not left waiting for a lease that cannot be.
    let (mut leader, call) = Request::asking(&world, "/api/joke");
    let mut second = Request::parked(&world, "/api/joke");
    assert_eq!(leader.answer(&call, &granted(5_000, 40_000)), Step::Continue);
    let mut calls = 0;
    while second.exchange.is_held_back() {
        calls += 1;
        assert_eq!(second.exchange.woken(&second.host, true), Step::Wait);
        let call = second.one_call();
        assert_eq!(second.answer(&call, &granted(5_000, 35_000)), Step::Continue);
    }
    assert_eq!(calls, 1);
}

#[test]
fn a_bucket_has_room_again_once_its_holds_are_over() {
    let (world, _first) = with_lease(20_000, 50_000);
    fill_buckets(&world);
    world.host.advance_ms(330_000);
    // The token of other tests has ended meanwhile.
    let host = world.host.beside();
    let credential = crate::world::credential("demo", 1, crate::world::NOW_S + 1_000);
    let ask = || {
        host.begin_request(&[
            (":method", b"GET"),
            (":path", b"/api/joke"),
            (":authority", b"api.example.com"),
            ("authorization", credential.as_bytes()),
        ]);
        let mut exchange = Exchange::new(Rc::clone(&world.gate));
        let step = exchange.request_headers(&host, true);
        (exchange, step)
    };
    let (mut leader, step) = ask();
    assert_eq!(step, Step::Wait);
    let (_, second) = ask();
    assert_eq!(second, Step::Wait);
    let call = host.take_calls().remove(0);
    leader.call_answered(&host, call.id, &granted(5_000, 45_000));
    assert_eq!(host.lease_count_of(LeaseEvent::Opened), 1);
    let table = world.host.shared_data().values();
    assert_eq!(table.iter().map(Vec::len).collect::<Vec<_>>(), [178], "one record is left");
}
