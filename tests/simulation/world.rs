//! The scheduler: who acts next, what happens to each message, who dies.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use tollway_core::wire::HOLDS_PATH;
use tollway_gate::config::Config;
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallId, CallReply, Reply};
use tollway_testkit::fake_host::{FakeHost, SentCall};
use tollwayd::clock::ManualClock;

use crate::auditor::{Auditor, Shown, Verdict};
use crate::chance::Chance;
use crate::client::{Bill, Client};
use crate::companion::{Companion, Door, GATE_TOKEN};
use crate::flight::{Ending, Flight, ROUTES, RouteFacts, Stage};
use crate::mutation::{self, Mutation};

const START_MS: u64 = 1_800_000_000_000;
const CLIENTS: usize = 4;
/// Short, so that late messages meet holds that are over.
const HOLD_TTL_MS: u64 = 2_000;
/// Lines of a failed run that are shown.
const TRACE_SHOWN: usize = 60;
/// Rounds of the last settling; each carries every message that waits.
const ROUNDS_MAX: u32 = 200;
/// How often a client comes back at the end; far less is needed once nothing fails.
const TRIES_MAX: u32 = 20;

/// The gate's configuration; `flight::ROUTES` says the same to the auditor.
fn config() -> Value {
    let ttl_s = HOLD_TTL_MS / 1_000;
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo", "purchase": {"default_sats": 20}}],
        "routes": [
            {"name": "joke", "service": "demo", "match": {"path": "/api/joke"},
             "price_sats": 5, "hold_ttl_s": ttl_s},
            {"name": "strict", "service": "demo", "match": {"path": "/api/strict"},
             "price_sats": 3, "refund_on": [], "hold_ttl_s": ttl_s},
            {"name": "dear", "service": "demo", "match": {"path": "/api/dear"},
             "price_sats": 17, "hold_ttl_s": ttl_s}
        ],
        "unmatched": "deny",
        "tick_ms": 20,
        "keyring_refresh_s": 1
    })
}

/// Who sent a call and waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Gate,
    Request(usize),
}

/// What is on its way.
#[derive(Clone, Debug)]
enum Message {
    Call { vm: u32, caller: Caller, call: SentCall },
    Reply { vm: u32, caller: Caller, call: CallId, reply: CallReply },
    Upstream { vm: u32, request: usize },
}

/// What happened in one run, and in all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) trace: Vec<String>,
    counts: [u64; COUNTED.len()],
}

const COUNTED: [&str; 11] = [
    "requests",
    "served",
    "bills",
    "payments",
    "lost",
    "repeated",
    "companion deaths",
    "VM deaths",
    "key rotations",
    "late postings",
    "msat of operator's loss",
];

impl Summary {
    fn count(&mut self, what: &str, by: u64) {
        let at = COUNTED.iter().position(|name| *name == what).expect("a name of COUNTED");
        self.counts[at] += by;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, count) in self.counts.iter_mut().zip(other.counts) {
            *sum += count;
        }
    }

    /// A simulation in which nothing goes wrong proves little.
    pub(crate) fn assert_everything_happened(&self) {
        for (name, count) in COUNTED.iter().zip(self.counts) {
            assert!(count > 0, "no {name} in all seeds");
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = COUNTED
            .iter()
            .zip(self.counts)
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        f.write_str(&parts.join(", "))
    }
}

/// A broken invariant and the way there.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) violation: String,
    trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.trace.len().saturating_sub(TRACE_SHOWN);
        write!(f, "{}\n{}", self.trace[from..].join("\n"), self.violation)
    }
}

/// Everything there is.
pub(crate) struct World {
    chance: Chance,
    mutation: Option<Mutation>,
    clock: Arc<ManualClock>,
    /// Whether messages may still be lost and processes may die.
    faults: bool,
    companion: Companion,
    vm: u32,
    gate: Rc<Gate>,
    gate_host: FakeHost,
    /// Calls whose reply the gate still waits for.
    waiting: BTreeSet<(Caller, u32)>,
    flights: Vec<Flight>,
    messages: Vec<Message>,
    clients: Vec<Client>,
    auditor: Auditor,
    summary: Summary,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        Self {
            chance: Chance::new(seed),
            mutation,
            companion: Companion::start(Arc::clone(&clock)),
            clock,
            faults: true,
            vm: 0,
            gate: new_gate(seed, 0),
            gate_host: FakeHost::at(START_MS),
            waiting: BTreeSet::new(),
            flights: Vec::new(),
            messages: Vec::new(),
            clients: vec![Client::default(); CLIENTS],
            auditor: Auditor::default(),
            summary: Summary::default(),
        }
    }

    /// Lives for so many steps, then ends all faults and closes the books.
    pub(crate) fn run(mut self, steps: u32) -> Result<Summary, Failure> {
        let verdict = (0..steps)
            .try_for_each(|_| self.step().and_then(|()| self.compare()))
            .and_then(|()| self.settle());
        match verdict {
            Ok(()) => Ok(self.summary),
            Err(violation) => Err(Failure { violation, trace: self.summary.trace }),
        }
    }

    fn now_ms(&self) -> u64 {
        tollwayd::clock::Clock::now_ms(&*self.clock)
    }

    fn note(&mut self, line: String) {
        let at = self.now_ms() - START_MS;
        self.summary.trace.push(format!("{at:>7} ms  {line}"));
    }

    /// One thing happens.
    fn step(&mut self) -> Verdict {
        if !self.companion.is_up() && self.chance.one_in(10) {
            self.start_companion();
        }
        match self.chance.below(100) {
            0..=49 => self.carry_any(),
            50..=64 => self.request(),
            65..=76 => self.pay(),
            77..=86 => {
                self.tick();
                Ok(())
            }
            87..=93 => {
                let far = self.chance.one_in(12);
                let by_ms = self.chance.below(if far { 3_000 } else { 60 });
                self.clock.advance_ms(by_ms);
                Ok(())
            }
            94..=95 => self.leave(),
            96 => {
                self.kill_companion();
                Ok(())
            }
            98 if self.chance.one_in(3) => {
                self.kill_vm();
                Ok(())
            }
            _ => self.rotate_key(),
        }
    }

    /// The accounts that something happened to agree with the ledger.
    fn compare(&mut self) -> Verdict {
        if !self.companion.is_up() {
            return Ok(());
        }
        let accounts = self.auditor.take_touched();
        if accounts.is_empty() {
            return Ok(());
        }
        // Reading does not sweep expired holds; the writer does.
        self.companion.call(Door::Gate, "GET", "/readyz", None);
        accounts.iter().try_for_each(|account| {
            let path = format!("/admin/v1/accounts/{account}");
            let (_, view) = self.companion.call(Door::Admin, "GET", &path, None);
            self.auditor.compare(account, &view, self.now_ms())
        })
    }

    fn carry_any(&mut self) -> Verdict {
        if self.messages.is_empty() {
            return Ok(());
        }
        // Any of them: what was sent first need not arrive first.
        let at = self.chance.index(self.messages.len());
        let message = self.messages.swap_remove(at);
        if self.faults && self.chance.one_in(12) && !matches!(message, Message::Upstream { .. }) {
            self.messages.push(message.clone());
            self.summary.count("repeated", 1);
        }
        self.carry(message)
    }

    fn carry(&mut self, message: Message) -> Verdict {
        match message {
            Message::Call { vm, caller, call } => self.carry_call(vm, caller, call),
            Message::Reply { vm, caller, call, reply } => {
                self.carry_reply(vm, caller, call, &reply)
            }
            Message::Upstream { vm, request } => {
                self.upstream_answers(vm, request);
                Ok(())
            }
        }
    }

    fn carry_call(&mut self, vm: u32, caller: Caller, mut call: SentCall) -> Verdict {
        let id = call.id;
        let what = format!("{} of {caller:?}", kind(&call));
        let lost = self.faults && self.chance.one_in(12);
        if lost || !self.companion.is_up() {
            self.note(format!("{what}: lost"));
            self.summary.count("lost", u64::from(lost));
            let status = self.chance.pick(&[None, Some(503), Some(504)]);
            self.reply(vm, caller, id, status, &Value::Null);
            return Ok(());
        }
        let (status, reply) = match self.mutation {
            Some(mutation) => mutation.call(&self.companion, &mut call),
            None => mutation::carry(&self.companion, &call),
        };
        self.note(format!("{what}: {status} {}", outcome(&reply)));
        self.auditor.processed(self.now_ms(), &call, status, &reply)?;
        let late = reply["outcomes"].as_array().into_iter().flatten();
        self.summary.count(
            "late postings",
            late.filter(|row| row["outcome"] == "hold_expired").count() as u64,
        );
        if self.faults && self.chance.one_in(40) {
            // Between the commit and the reply.
            self.kill_companion();
            self.reply(vm, caller, id, None, &Value::Null);
        } else if self.faults && self.chance.one_in(12) {
            self.summary.count("lost", 1);
            self.reply(vm, caller, id, Some(504), &Value::Null);
        } else {
            self.reply(vm, caller, id, Some(status), &reply);
        }
        Ok(())
    }

    fn reply(&mut self, vm: u32, caller: Caller, call: CallId, status: Option<u16>, body: &Value) {
        let reply = CallReply { status, body: body.to_string().into_bytes() };
        self.messages.push(Message::Reply { vm, caller, call, reply });
    }

    fn carry_reply(&mut self, vm: u32, caller: Caller, call: CallId, reply: &CallReply) -> Verdict {
        // The proxy hears of each call once; a dead VM hears nothing.
        if vm != self.vm || !self.waiting.remove(&(caller, call.0)) {
            return Ok(());
        }
        match caller {
            Caller::Gate => {
                set_clock(&self.gate_host, self.now_ms());
                self.gate.call_answered(&self.gate_host, call, reply);
                self.collect(Caller::Gate);
                Ok(())
            }
            Caller::Request(request) => {
                let now_ms = self.now_ms();
                let flight = &mut self.flights[request];
                set_clock(&flight.host, now_ms);
                let step = flight.exchange.call_answered(&flight.host, call, reply);
                self.proceed(request, step)
            }
        }
    }

    /// A client asks for something.
    fn request(&mut self) -> Verdict {
        let client = self.chance.index(CLIENTS);
        let (shown, credential) = self.credential(client);
        let route = self.chance.pick(&ROUTES);
        self.ask(client, route, shown, credential)
    }

    fn ask(
        &mut self,
        client: usize,
        route: RouteFacts,
        shown: Shown,
        credential: Option<String>,
    ) -> Verdict {
        let request = self.flights.len();
        let host = FakeHost::at(self.now_ms());
        // All behind one address: only this tells them apart.
        let agent = format!("client/{client}");
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", b"GET"),
            (":path", route.path.as_bytes()),
            (":authority", b"api.example.com"),
            ("user-agent", agent.as_bytes()),
        ];
        if let Some(credential) = &credential {
            headers.push(("authorization", credential.as_bytes()));
        }
        host.begin_request(&headers);
        let exchange = Exchange::new(Rc::clone(&self.gate));
        self.flights.push(Flight {
            client,
            route,
            host,
            exchange,
            stage: Stage::Deciding,
            answered: None,
        });
        self.auditor.begins(client, route.price_msat, shown);
        self.summary.count("requests", 1);
        self.note(format!("request {request} of client {client}: {}, {shown:?}", route.path));
        let flight = &mut self.flights[request];
        let step = flight.exchange.request_headers(&flight.host);
        self.proceed(request, step)
    }

    /// What the client presents: nothing, something it bought at some time, or a forgery.
    fn credential(&mut self, client: usize) -> (Shown, Option<String>) {
        let bills = &self.clients[client].bills;
        if !bills.is_empty() && self.chance.one_in(15) {
            return (Shown::Forged, Some(bills[0].forged_credential()));
        }
        let paid = self.clients[client].paid();
        if paid.is_empty() || self.chance.one_in(10) {
            return (Shown::Nothing, None);
        }
        let bill = &self.clients[client].bills[self.chance.pick(&paid)];
        (Shown::Genuine, bill.credential())
    }

    /// Does what the gate says about a request.
    fn proceed(&mut self, request: usize, step: Step) -> Verdict {
        self.collect(Caller::Request(request));
        match step {
            Step::Wait => Ok(()),
            Step::Continue => {
                let flight = &mut self.flights[request];
                flight.stage = Stage::Upstream;
                let account = flight.host.upstream_header("x-toll-account").unwrap_or_default();
                self.messages.push(Message::Upstream { vm: self.vm, request });
                self.note(format!("request {request}: upstream"));
                self.auditor.admitted(request, &String::from_utf8_lossy(&account))
            }
            Step::Answer(reply) => self.answered(request, &reply),
        }
    }

    fn answered(&mut self, request: usize, reply: &Reply) -> Verdict {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code = body["code"].as_str().unwrap_or_default();
        self.note(format!("request {request}: {} {code}", reply.status));
        let flight = &mut self.flights[request];
        flight.abandon();
        flight.answered = Some(reply.status);
        if reply.status == 402 {
            let bill = Bill::read(&body).ok_or("a 402 without an invoice")?;
            self.clients[flight.client].bills.push(bill);
            self.summary.count("bills", 1);
        }
        self.auditor.answered(request, reply.status, code)
    }

    fn upstream_answers(&mut self, vm: u32, request: usize) {
        if vm != self.vm || self.flights[request].stage != Stage::Upstream {
            return;
        }
        let ending = self.chance.pick(&Ending::ALL);
        let now_ms = self.now_ms();
        let flight = &mut self.flights[request];
        set_clock(&flight.host, now_ms);
        flight.respond(ending);
        let owed_msat = ending.owed_msat(flight.route);
        self.auditor.ended(request, owed_msat);
        self.summary.count("served", u64::from(owed_msat > 0));
        self.note(format!("request {request}: {ending:?}"));
        if self.faults && self.chance.one_in(60) {
            // The client has its answer, and the posting dies unqueued.
            self.kill_vm();
            return;
        }
        self.flights[request].finish(ending);
    }

    /// A client goes away while the gate decides.
    fn leave(&mut self) -> Verdict {
        let deciding: Vec<usize> = (0..self.flights.len())
            .filter(|at| self.flights[*at].stage == Stage::Deciding)
            .collect();
        if !deciding.is_empty() {
            let request = self.chance.pick(&deciding);
            self.note(format!("request {request}: its client leaves"));
            self.flights[request].abandon();
            self.auditor.ended(request, 0);
        }
        Ok(())
    }

    /// A client pays a bill at the node; the event or the proof may get lost on the way.
    fn pay(&mut self) -> Verdict {
        let client = self.chance.index(CLIENTS);
        let unpaid = self.clients[client].unpaid();
        if unpaid.is_empty() || !self.companion.is_up() {
            return Ok(());
        }
        let bill = self.chance.pick(&unpaid);
        let (event, proof_lost) = (self.chance.one_in(2), self.chance.one_in(6));
        self.pay_bill(client, bill, event, proof_lost && self.faults)
    }

    fn pay_bill(&mut self, client: usize, bill: usize, event: bool, proof_lost: bool) -> Verdict {
        let order = json!({"invoice": self.clients[client].bills[bill].invoice, "event": event});
        let order = order.to_string();
        let (status, reply) =
            self.companion.call(Door::Admin, "POST", "/sim/v1/pay", Some(order.as_bytes()));
        self.note(format!("client {client} pays bill {bill}, event {event}: {status}"));
        if status != 200 {
            return Err(format!("a payment was answered {status}: {reply}"));
        }
        self.summary.count("payments", 1);
        let bill = &mut self.clients[client].bills[bill];
        if !proof_lost {
            bill.preimage = reply["preimage"].as_str().map(str::to_owned);
        }
        self.auditor.paid(&bill.payment_hash, event)
    }

    fn tick(&mut self) {
        set_clock(&self.gate_host, self.now_ms());
        self.gate.tick(&self.gate_host);
        self.collect(Caller::Gate);
    }

    /// Takes over the calls that the gate has sent.
    fn collect(&mut self, caller: Caller) {
        let host = match caller {
            Caller::Gate => &self.gate_host,
            Caller::Request(request) => &self.flights[request].host,
        };
        for call in host.take_calls() {
            if let Caller::Request(request) = caller {
                self.auditor.sent(request, &call);
            }
            self.waiting.insert((caller, call.id.0));
            self.messages.push(Message::Call { vm: self.vm, caller, call });
        }
    }

    fn kill_companion(&mut self) {
        if !self.companion.is_up() {
            return;
        }
        self.note("tollwayd dies".to_owned());
        self.summary.count("companion deaths", 1);
        self.companion.crash();
    }

    fn start_companion(&mut self) {
        if let Some(mutation) = self.mutation.filter(|_| !self.companion.is_up()) {
            mutation.restart(&self.companion);
        }
        self.companion.restart();
    }

    /// The VM traps, or Envoy dies: every request in it is gone, and what it had not reported.
    fn kill_vm(&mut self) {
        self.note("the VM dies".to_owned());
        self.summary.count("VM deaths", 1);
        self.auditor.vm_died();
        self.vm += 1;
        self.gate = new_gate(self.chance.below(u64::MAX), self.vm);
        self.gate_host = FakeHost::at(self.now_ms());
        self.waiting.clear();
        for flight in &mut self.flights {
            flight.stage = Stage::Over;
        }
    }

    fn rotate_key(&mut self) -> Verdict {
        if self.companion.is_up() && self.chance.one_in(4) {
            self.note("the key rotates".to_owned());
            self.summary.count("key rotations", 1);
            let (status, reply) =
                self.companion.call(Door::Admin, "POST", "/admin/v1/keys/rotate", None);
            if status != 200 {
                return Err(format!("a rotation was answered {status}: {reply}"));
            }
        }
        Ok(())
    }

    /// No more faults: every message arrives, every client gets its proofs and spends once more,
    /// every hold ends. Then all accounts are compared, and every request is accounted for.
    fn settle(&mut self) -> Verdict {
        self.faults = false;
        self.start_companion();
        self.drain()?;
        for client in 0..CLIENTS {
            for bill in self.clients[client].unpaid() {
                if self.auditor.books.paid.contains(&self.clients[client].bills[bill].payment_hash)
                {
                    self.pay_bill(client, bill, false, false)?;
                }
            }
            for bill in self.clients[client].paid() {
                let credential = self.clients[client].bills[bill].credential();
                self.spend_once_more(client, credential)?;
            }
        }
        self.clock.advance_ms(HOLD_TTL_MS + 1);
        self.drain()?;
        let accounts = self.auditor.books.accounts();
        self.companion.call(Door::Gate, "GET", "/readyz", None);
        for account in accounts {
            let path = format!("/admin/v1/accounts/{account}");
            let (_, view) = self.companion.call(Door::Admin, "GET", &path, None);
            self.auditor.compare(&account, &view, self.now_ms())?;
            if view["held_msat"] != 0 {
                return Err(format!("a hold of {account} never ended: {view}"));
            }
        }
        let uncredited = self
            .auditor
            .books
            .paid
            .iter()
            .find(|hash| !self.auditor.books.invoices[*hash].credited);
        if let Some(hash) = uncredited {
            return Err(format!("{hash} was paid and never credited"));
        }
        let lost = self.auditor.close(CLIENTS)?;
        self.summary.count("msat of operator's loss", lost);
        Ok(())
    }

    /// As a client does that is told to come back: until the gate has decided.
    fn spend_once_more(&mut self, client: usize, credential: Option<String>) -> Verdict {
        for _ in 0..TRIES_MAX {
            let request = self.flights.len();
            self.ask(client, ROUTES[0], Shown::Genuine, credential.clone())?;
            self.drain()?;
            if self.flights[request].answered != Some(503) {
                return Ok(());
            }
        }
        Err(format!("a paid request of client {client} never got an answer but 503"))
    }

    /// Carries everything, in turns with ticks, until nothing is on its way.
    fn drain(&mut self) -> Verdict {
        for _ in 0..ROUNDS_MAX {
            let messages = std::mem::take(&mut self.messages);
            let idle = messages.is_empty();
            messages.into_iter().try_for_each(|message| self.carry(message))?;
            // Longer than the pauses after failures, shorter than a hold's life.
            self.clock.advance_ms(100);
            self.tick();
            self.compare()?;
            let reporting = self.messages.iter().any(|message| match message {
                Message::Call { call, .. } => call.header(":path") != "/v1/keyring",
                _ => true,
            });
            let busy = self.flights.iter().any(|flight| flight.stage != Stage::Over);
            if idle && !reporting && !busy {
                return Ok(());
            }
        }
        Err("the messages never end".to_owned())
    }
}

fn new_gate(seed: u64, vm: u32) -> Rc<Gate> {
    let env = |name: &str| (name == "TOLLWAY_GATE_TOKEN").then(|| GATE_TOKEN.to_owned());
    let config = Config::parse(config().to_string().as_bytes(), &env).unwrap();
    Rc::new(Gate::new(config, format!("{seed} {vm}").as_bytes()))
}

fn set_clock(host: &FakeHost, now_ms: u64) {
    let before = tollway_gate::host::Host::now_ms(host);
    host.advance_ms(now_ms.saturating_sub(before));
}

/// The kind of a call, for the trace: ids and secrets differ from run to run.
fn kind(call: &SentCall) -> &str {
    let path = call.header(":path");
    if path.starts_with(HOLDS_PATH) { HOLDS_PATH } else { path }
}

fn outcome(reply: &Value) -> String {
    let words = ["outcome", "refusal", "code", "outcomes"].map(|name| &reply[name]);
    words.iter().filter(|word| !word.is_null()).map(|word| word.to_string()).collect()
}
