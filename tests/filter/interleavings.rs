//! Two workers, one table of leases, and every order of events that chance finds: what is charged
//! is what was delivered, and no hold is spent beyond what was granted.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Value, json};
use tollway_gate::config::Config;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallId, CallReply};
use tollway_gate::metrics::LeaseEvent;
use tollway_testkit::fake_host::{FakeHost, SentCall};

use crate::leases::leased;
use crate::world::{GATE_TOKEN, NOW_MS, credential, keyring_json, ok, preimage};

const SEEDS: u64 = 100;
const STEPS: u32 = 500;
/// Some accounts run dry, some never do.
const CREDITS_MSAT: [u64; 3] = [200_000, 900_000, 90_000_000];
/// Of those that never run dry; the leases of the others have up to 45 sats.
const LARGE_LEASE_SATS: u64 = 2_000;
/// At most so many requests come in a row now and then.
const BURST: u64 = 60;
const ROUTES: [(&str, u64); 3] =
    [("/api/joke", 5_000), ("/api/strict", 5_000), ("/api/dear", 50_000)];

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Debug)]
struct Hold {
    amount: u64,
    posted: u64,
    open: bool,
    expires_at_ms: u64,
    extension: Option<(Value, u64)>,
    postings: BTreeMap<u64, u64>,
}

/// A ledger of one account, written from docs/ledger.md and sharing no code with tollwayd's.
#[derive(Debug)]
struct Ledger {
    available: u64,
    charged: u64,
    /// The token is revoked for now.
    revoked: bool,
    holds: BTreeMap<String, Hold>,
}

impl Ledger {
    fn expire(&mut self, now_ms: u64) {
        for hold in self.holds.values_mut() {
            if hold.open && hold.expires_at_ms <= now_ms {
                hold.open = false;
                self.available += hold.amount - hold.posted;
            }
        }
    }

    fn answer(&mut self, call: &SentCall, now_ms: u64) -> (u16, Value) {
        self.expire(now_ms);
        let body = call.json();
        let path = call.header(":path");
        match path.split('/').collect::<Vec<_>>()[..] {
            [_, _, "holds", id] => (200, self.hold(id, &body, now_ms)),
            [_, _, "holds", id, "extensions"] => self.extend(id, &body, now_ms),
            [_, _, "postings"] => {
                let rows = body["postings"].as_array().unwrap();
                let outcomes: Vec<_> = rows.iter().map(|row| self.post(row)).collect();
                (200, json!({"outcomes": outcomes}))
            }
            [_, _, "challenges"] => (503, Value::Null),
            ref other => panic!("{other:?}"),
        }
    }

    fn granted(&self, granted: u64) -> Value {
        let account = preimage().payment_hash().to_hex();
        json!({"outcome": "granted", "account": account, "granted_msat": granted,
               "balance_msat": self.available})
    }

    fn refused(&self) -> Value {
        let refusal = if self.revoked { "account_revoked" } else { "insufficient_credit" };
        json!({"outcome": "refused", "refusal": refusal,
               "balance_msat": self.available})
    }

    fn hold(&mut self, id: &str, body: &Value, now_ms: u64) -> Value {
        let amount = body["amount_msat"].as_u64().unwrap();
        let min = body["min_msat"].as_u64().unwrap_or(amount);
        let mut available = self.available;
        let from = body["take_back"]["hold"].as_str().map(str::to_owned);
        let mut taken = 0;
        if let Some(giver) = from.as_ref().and_then(|id| self.holds.get(id)).filter(|h| h.open) {
            let rest = giver.amount - giver.posted;
            taken = body["take_back"]["amount_msat"].as_u64().unwrap().min(rest);
            available += taken;
        }
        let grant = amount.min(available);
        if grant < min || self.revoked {
            return self.refused();
        }
        if let Some(giver) = from.and_then(|id| self.holds.get_mut(&id)) {
            giver.amount -= taken;
        }
        self.available = available - grant;
        let expires_at_ms = now_ms + body["ttl_ms"].as_u64().unwrap();
        let (postings, extension) = (BTreeMap::new(), None);
        let hold =
            Hold { amount: grant, posted: 0, open: true, expires_at_ms, extension, postings };
        assert!(self.holds.insert(id.to_owned(), hold).is_none(), "an id twice");
        self.granted(grant)
    }

    fn extend(&mut self, id: &str, body: &Value, now_ms: u64) -> (u16, Value) {
        let available = self.available;
        let Some(hold) = self.holds.get_mut(id) else { return (404, Value::Null) };
        let seq = body["seq"].as_u64();
        if let Some((before, total)) = &hold.extension
            && before["seq"].as_u64() >= seq
        {
            let total = *total;
            let same = before == body;
            return if same { (200, self.granted(total)) } else { (409, Value::Null) };
        }
        if !hold.open {
            return (410, Value::Null);
        }
        let add = body["add_msat"].as_u64().unwrap();
        let min = body["min_msat"].as_u64().unwrap_or(add);
        let add = add.min(available);
        if add < min || self.revoked {
            return (200, self.refused());
        }
        hold.amount += add;
        hold.expires_at_ms = hold.expires_at_ms.max(now_ms + body["ttl_ms"].as_u64().unwrap());
        hold.extension = Some((body.clone(), hold.amount));
        let total = hold.amount;
        self.available -= add;
        (200, self.granted(total))
    }

    fn post(&mut self, row: &Value) -> Value {
        let revoked = self.revoked;
        let said = |outcome| {
            let charged = &row["amount_msat"];
            json!({"outcome": outcome, "charged_msat": charged, "revoked": revoked})
        };
        let amount = row["amount_msat"].as_u64().unwrap();
        let seq = row["seq"].as_u64().unwrap();
        let Some(hold) = self.holds.get_mut(row["hold"].as_str().unwrap()) else {
            assert_eq!(amount, 0, "a charge of a hold that never was: {row}");
            return said("hold_unknown");
        };
        if let Some(before) = hold.postings.get(&seq) {
            assert_eq!(*before, amount, "one number for two rows: {row}");
            return said("posted");
        }
        if !hold.open {
            return said("hold_released");
        }
        assert!(hold.posted + amount <= hold.amount, "beyond what was granted: {row} {hold:?}");
        hold.posted += amount;
        hold.postings.insert(seq, amount);
        self.charged += amount;
        if row["release"] == true {
            hold.open = false;
            self.available += hold.amount - hold.posted;
        }
        said("posted")
    }
}

struct Flight {
    host: FakeHost,
    exchange: Exchange,
    price_msat: u64,
    admitted: bool,
}

struct Worker {
    host: FakeHost,
    gate: Rc<Gate>,
    flights: Vec<Flight>,
}

impl Worker {
    fn new(host: FakeHost, seed: u64, credit: u64) -> Self {
        let env = |_: &str| Some(GATE_TOKEN.to_owned());
        let mut config = leased();
        if credit == CREDITS_MSAT[2] {
            config["services"][0]["lease_max_sats"] = json!(LARGE_LEASE_SATS);
        }
        let config = Config::parse(config.to_string().as_bytes(), &env).unwrap();
        let gate = Rc::new(Gate::new(config, &seed.to_be_bytes()));
        gate.tick(&host);
        let call = host.take_calls().remove(0);
        gate.call_answered(&host, call.id, &ok(&keyring_json(1, &[1])));
        Self { host, gate, flights: Vec::new() }
    }
}

/// Which call of whom: a worker's gate, or one of its requests.
struct Message {
    worker: usize,
    life: u32,
    flight: Option<usize>,
    call: CallId,
    body: Result<SentCall, CallReply>,
}

struct World {
    chance: Chance,
    ledger: Ledger,
    workers: Vec<Worker>,
    lives: Vec<u32>,
    messages: Vec<Message>,
    now_ms: u64,
    credit: u64,
    delivered: u64,
    faults: bool,
    kills: u32,
    seen: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let credit = CREDITS_MSAT[(seed / 3 % 3) as usize];
        let first = Worker::new(FakeHost::at(NOW_MS), seed, credit);
        let second = Worker::new(first.host.beside(), seed ^ 1, credit);
        let ledger =
            Ledger { available: credit, charged: 0, revoked: false, holds: BTreeMap::new() };
        Self {
            chance: Chance(seed),
            ledger,
            workers: vec![first, second],
            lives: vec![0, 0],
            messages: Vec::new(),
            now_ms: NOW_MS,
            credit,
            delivered: 0,
            faults: true,
            kills: 0,
            seen: BTreeMap::new(),
        }
    }

    fn step(&mut self, kills: bool) {
        let worker = self.chance.below(2) as usize;
        if self.faults && self.chance.one_in(4) {
            let conflicts = self.chance.below(12) as u32;
            self.workers[0].host.shared_data().conflict_next(conflicts);
        }
        match self.chance.below(100) {
            0..=2 => self.burst(worker),
            3..=29 => self.request(worker),
            30..=64 => self.carry(),
            65..=84 => self.upstream(worker),
            85..=94 => self.tick(worker),
            95..=98 => {
                let far = self.chance.one_in(20);
                let by_ms = self.chance.below(if far { 16_000 } else { 300 });
                self.advance(by_ms);
            }
            _ if kills && self.chance.one_in(4) => self.kill(worker),
            // Seldom revoked, and not for long.
            _ if self.chance.one_in(if self.ledger.revoked { 1 } else { 6 }) => {
                self.ledger.revoked = !self.ledger.revoked;
                *self.seen.entry("revoked").or_default() += 1;
            }
            _ => {}
        }
        self.workers[0].host.shared_data().conflict_next(0);
    }

    fn advance(&mut self, by_ms: u64) {
        self.now_ms += by_ms;
        for worker in &self.workers {
            worker.host.advance_ms(by_ms);
            worker.flights.iter().for_each(|flight| flight.host.advance_ms(by_ms));
        }
    }

    /// Requests in a row, until one has to wait.
    fn burst(&mut self, worker: usize) {
        for _ in 0..BURST {
            self.request(worker);
            if !self.workers[worker].flights.last().is_some_and(|flight| flight.admitted) {
                break;
            }
        }
        // What they ask for is answered before long, so that the lease can grow.
        (0..BURST).for_each(|_| self.carry());
    }

    fn request(&mut self, worker: usize) {
        let (path, price_msat) =
            ROUTES[if self.chance.one_in(12) { 2 } else { self.chance.below(2) as usize }];
        let host = self.workers[worker].host.beside();
        let credential = credential("demo", 1, NOW_MS / 1_000 + 10_000);
        host.begin_request(&[
            (":method", b"GET"),
            (":path", path.as_bytes()),
            (":authority", b"api.example.com"),
            ("authorization", credential.as_bytes()),
        ]);
        let mut exchange = Exchange::new(Rc::clone(&self.workers[worker].gate));
        let step = exchange.request_headers(&host, true);
        if step == Step::Continue && !host.take_asked().contains(&"shared") {
            *self.seen.entry("paid from what was set aside").or_default() += 1;
        }
        let at = self.workers[worker].flights.len();
        self.workers[worker].flights.push(Flight { host, exchange, price_msat, admitted: false });
        self.proceed(worker, at, step);
    }

    fn proceed(&mut self, worker: usize, at: usize, step: Step) {
        let flight = &mut self.workers[worker].flights[at];
        match step {
            Step::Continue | Step::Respond => flight.admitted = true,
            Step::Answer(_) => flight.exchange.finished(&flight.host),
            Step::Wait => {}
        }
        let calls = flight.host.take_calls();
        self.send(worker, Some(at), calls);
    }

    fn send(&mut self, worker: usize, flight: Option<usize>, calls: Vec<SentCall>) {
        let life = self.lives[worker];
        for call in calls {
            if call.header(":path") != "/v1/keyring" {
                let id = call.id;
                self.messages.push(Message { worker, life, flight, call: id, body: Ok(call) });
            }
        }
    }

    /// Any message: what was sent first need not arrive first.
    fn carry(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let at = self.chance.below(self.messages.len() as u64) as usize;
        let Message { worker, life, flight, call, body } = self.messages.swap_remove(at);
        let none = CallReply { status: None, body: Vec::new() };
        match body {
            Ok(sent) => {
                let lost = self.faults && self.chance.one_in(12);
                let reply = if lost {
                    none
                } else {
                    let calls = sent.apart();
                    let each = calls.iter().map(|call| self.ledger.answer(call, self.now_ms));
                    let reply = sent.replied(&each.collect::<Vec<_>>());
                    let lost = self.faults && self.chance.one_in(12);
                    if lost { none } else { reply }
                };
                self.messages.push(Message { worker, life, flight, call, body: Err(reply) });
            }
            Err(reply) if self.lives[worker] == life => self.answer(worker, flight, call, &reply),
            Err(_) => {}
        }
    }

    fn answer(&mut self, worker: usize, flight: Option<usize>, call: CallId, reply: &CallReply) {
        let Some(at) = flight else {
            let Worker { host, gate, .. } = &self.workers[worker];
            gate.call_answered(host, call, reply);
            let calls = host.take_calls();
            return self.send(worker, None, calls);
        };
        let flight = &mut self.workers[worker].flights[at];
        let step = flight.exchange.call_answered(&flight.host, call, reply);
        self.proceed(worker, at, step);
        let decided = self.workers[worker].gate.take_decided();
        for at in 0..self.workers[worker].flights.len() {
            let parked = self.workers[worker].flights[at].exchange.parked_for();
            if parked.is_some_and(|token| decided.contains(&token)) {
                self.wake(worker, at, false);
            }
        }
    }

    fn wake(&mut self, worker: usize, at: usize, may_call: bool) {
        let flight = &mut self.workers[worker].flights[at];
        let step = flight.exchange.woken(&flight.host, may_call);
        self.proceed(worker, at, step);
    }

    fn tick(&mut self, worker: usize) {
        let token = preimage().payment_hash();
        for at in 0..self.workers[worker].flights.len() {
            let parked = self.workers[worker].flights[at].exchange.parked_for().is_some();
            if parked && !self.workers[worker].gate.is_opening(&token) {
                *self.seen.entry("woken by the tick").or_default() += 1;
                self.wake(worker, at, true);
            }
        }
        let Worker { host, gate, .. } = &self.workers[worker];
        gate.tick(host);
        let calls = host.take_calls();
        self.send(worker, None, calls);
    }

    /// A request ends: delivered, refunded, or left by its client.
    fn upstream(&mut self, worker: usize) {
        let flights = &mut self.workers[worker].flights;
        if flights.is_empty() {
            return;
        }
        let at = self.chance.below(flights.len() as u64) as usize;
        if self.faults && self.chance.one_in(10) {
            let flight = &mut flights[at];
            flight.exchange.finished(&flight.host);
            flight.admitted = false;
        } else if std::mem::take(&mut flights[at].admitted) {
            self.deliver(worker, at);
        }
    }

    fn deliver(&mut self, worker: usize, at: usize) {
        let failed = self.faults && self.chance.one_in(5);
        let flight = &mut self.workers[worker].flights[at];
        let status: &[u8] = if failed { b"500" } else { b"200" };
        flight.host.begin_response(&[(":status", status)], false);
        flight.exchange.response_headers(&flight.host);
        flight.exchange.finished(&flight.host);
        let cost = flight.host.client_header("x-toll-cost-msat").unwrap();
        self.delivered += cost.parse::<u64>().unwrap();
        assert!(cost == "0" || cost == flight.price_msat.to_string());
    }

    fn kill(&mut self, worker: usize) {
        self.lives[worker] += 1;
        self.kills += 1;
        let host = self.workers[worker].host.beside();
        let seed = self.chance.next();
        self.workers[worker] = Worker::new(host, seed, self.credit);
    }

    /// Everything arrives and everything ends.
    fn settle(&mut self) {
        self.faults = false;
        for _ in 0..1_200 {
            while !self.messages.is_empty() {
                self.carry();
            }
            for worker in 0..2 {
                for at in 0..self.workers[worker].flights.len() {
                    if std::mem::take(&mut self.workers[worker].flights[at].admitted) {
                        self.deliver(worker, at);
                    }
                }
                self.tick(worker);
            }
            self.advance(50);
        }
        assert!(self.messages.is_empty());
        for worker in &self.workers {
            for event in LeaseEvent::ALL {
                let hosts = worker.flights.iter().map(|flight| &flight.host).chain([&worker.host]);
                let count: u64 = hosts.map(|host| host.lease_count_of(event)).sum();
                *self.seen.entry(event.name()).or_default() += count;
            }
            let stuck = worker.flights.iter().filter(|f| f.exchange.parked_for().is_some());
            assert_eq!(stuck.count(), 0, "requests that wait for ever");
            assert_eq!(worker.host.lost_postings(), 0, "charges that the ledger did not take");
        }
    }
}

fn play(seed: u64, kills: bool, seen: &mut BTreeMap<&'static str, u64>) {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step(kills);
        let held: u64 =
            world.ledger.holds.values().filter(|h| h.open).map(|h| h.amount - h.posted).sum();
        let all = world.ledger.available + world.ledger.charged + held;
        assert_eq!(all, world.credit, "the test's own ledger");
    }
    world.settle();
    let World { mut ledger, credit, delivered, now_ms, kills, seen: counts, .. } = world;
    if kills == 0 {
        assert_eq!(ledger.charged, delivered, "charged what was delivered");
        let open: Vec<_> = ledger.holds.values().filter(|hold| hold.open).collect();
        assert!(open.is_empty(), "credit that nobody gives back: {open:?}");
    } else {
        assert!(ledger.charged <= delivered, "charged more than was delivered");
    }
    // What nobody gave back returns by itself.
    ledger.expire(now_ms + 400_000);
    assert_eq!(ledger.available + ledger.charged, credit);
    for (what, count) in counts {
        *seen.entry(what).or_default() += count;
    }
    *seen.entry("kills").or_default() += u64::from(kills);
    *seen.entry("msat lost with workers").or_default() += delivered - ledger.charged;
}

#[test]
fn no_order_of_events_charges_anything_but_what_was_delivered() {
    let mut seen: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let done = std::panic::catch_unwind(|| {
            let mut seen = BTreeMap::new();
            play(seed, seed % 3 == 0, &mut seen);
            seen
        });
        let Ok(one) = done else { panic!("seed {seed}") };
        for (what, count) in one {
            *seen.entry(what).or_default() += count;
        }
    }
    println!("{seen:?}");
    for (what, count) in &seen {
        assert!(*count > 0, "no {what} in all seeds");
    }
    assert_eq!(seen.len(), LeaseEvent::ALL.len() + 5, "{seen:?}");
}
