//! What clients do: ask, pay, repeat, leave.

use std::rc::Rc;

use serde_json::{Value, json};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::host::Reply;
use tollway_testkit::fake_host::FakeHost;

use super::{CLIENTS, GATES, Message, World};
use crate::auditor::{Asked, Marks, Shown, Verdict, Why};
use crate::client::{ADDRESSES, Bill, NETWORKS};
use crate::companion::Door;
use crate::flight::{Ending, Flight, Stage};
use crate::shop::{CHOSEN_SATS, Keys, Mode, ROUTES, RouteFacts};
use crate::vm::{Caller, set_clock};

/// What a client puts into its request.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) client: usize,
    pub(super) route: RouteFacts,
    pub(super) shown: Shown,
    pub(super) credential: Option<String>,
    pub(super) chooses: bool,
    /// It wants more credit before what it has is spent.
    pub(super) tops_up: bool,
    pub(super) key: Option<&'static str>,
    pub(super) query: &'static str,
}

impl World {
    /// A client asks for something.
    pub(super) fn request(&mut self) -> Verdict {
        let client = self.chance.index(CLIENTS);
        let route = self.chance.pick(&ROUTES);
        let (shown, credential) = self.credential(client, route);
        let keyed = route.keys != Keys::Ignored && self.chance.one_in(2);
        let order = Order {
            client,
            route,
            shown,
            credential,
            chooses: route.chosen.is_some() && self.chance.one_in(3),
            tops_up: self.chance.one_in(12),
            key: keyed.then(|| self.chance.pick(&["one", "two"])),
            query: if self.chance.one_in(6) { "?other" } else { "" },
        };
        // Who names a request expects to repeat it, perhaps with other fields.
        if order.key.is_some() && order.credential.is_some() {
            self.keyed.push(order.clone());
        }
        self.ask(order)
    }

    /// A client repeats a request under its key: before the first has ended, or long after.
    pub(super) fn repeat(&mut self) -> Verdict {
        if self.keyed.is_empty() {
            return self.request();
        }
        let from = self.keyed.len().saturating_sub(4);
        let mut order = self.keyed[from + self.chance.index(self.keyed.len() - from)].clone();
        if self.chance.one_in(5) {
            order.query = "?more";
        }
        self.ask(order)
    }

    pub(super) fn ask(&mut self, order: Order) -> Verdict {
        let Order { client, route, shown, credential, chooses, tops_up, key, query } = order;
        let request = self.flights.len();
        let gate = self.chance.index(GATES);
        let now_ms = self.now_ms();
        let host = FakeHost::at(match self.mutation {
            Some(mutation) => mutation.clock_of_gates(now_ms),
            None => now_ms,
        });
        host.set_client_address(Some(ADDRESSES[client]));
        // Two share an address' network: this tells them apart where money is asked.
        let agent = format!("client/{client}");
        let path = format!("{}{query}", route.path);
        let mut headers: Vec<(&str, &[u8])> = vec![
            (":method", b"GET"),
            (":path", path.as_bytes()),
            (":authority", b"api.example.com"),
            ("user-agent", agent.as_bytes()),
        ];
        if let Some(credential) = &credential {
            headers.push(("authorization", credential.as_bytes()));
        }
        if let Some(key) = key {
            headers.push(("idempotency-key", key.as_bytes()));
        }
        if chooses {
            headers.push(("x-toll-purchase-sats", CHOSEN_SATS.as_bytes()));
        }
        if tops_up {
            headers.push(("x-toll-top-up", b"1"));
        }
        host.begin_request(&headers);
        let exchange = Exchange::new(Rc::clone(&self.vms[gate].gate));
        self.flights.push(Flight {
            client,
            gate,
            route,
            why: None,
            host,
            exchange,
            stage: Stage::Deciding,
            answered: None,
        });
        let sort = match shown {
            Shown::Nothing => "nothing",
            Shown::Genuine { .. } => "a token",
            Shown::Foreign => "another service's token",
            Shown::Forged => "a forged token",
        };
        self.note(format!(
            "request {request} of client {client} at gate {gate}: {path}, {sort}, key {key:?}"
        ));
        let network = NETWORKS[client];
        self.auditor.begins(Asked { gate, network, route, shown, chooses, tops_up }, now_ms);
        self.summary.count("requests", 1);
        let flight = &mut self.flights[request];
        let step = flight.exchange.request_headers(&flight.host, true);
        self.proceed(request, step)
    }

    /// What the client presents: nothing, something it bought at some time, or a forgery.
    fn credential(&mut self, client: usize, route: RouteFacts) -> (Shown, Option<String>) {
        let bills = &self.clients[client].bills;
        if !bills.is_empty() && self.chance.one_in(20) {
            return (Shown::Forged, Some(bills[0].forged_credential()));
        }
        let opens = !self.chance.one_in(25);
        let fitting = self.clients[client].paid_for(route.service, opens);
        // Where something is free, more come without.
        let without = if route.free.is_some() { 2 } else { 10 };
        if fitting.is_empty() || self.chance.one_in(without) {
            return (Shown::Nothing, None);
        }
        let bill = &self.clients[client].bills[self.chance.pick(&fitting)];
        let shown = if opens { bill.shown() } else { Shown::Foreign };
        (shown, bill.credential())
    }

    /// Does what the gate says about a request.
    pub(super) fn proceed(&mut self, request: usize, step: Step) -> Verdict {
        let calls = self.flights[request].host.take_calls();
        let gate = self.flights[request].gate;
        self.send(Caller::Request(request), gate, calls)?;
        match step {
            Step::Wait => Ok(()),
            Step::Continue | Step::Respond => {
                let flight = &mut self.flights[request];
                flight.stage = Stage::Upstream;
                let header = |name| {
                    let value = flight.host.upstream_header(name).unwrap_or_default();
                    String::from_utf8_lossy(&value).into_owned()
                };
                let marks = Marks {
                    account: header("x-toll-account"),
                    cost_msat: header("x-toll-cost-msat").parse().ok(),
                    free: header("x-toll-free") == "true",
                };
                let why = self.auditor.admitted(request, &marks)?;
                self.flights[request].why = Some(why);
                match why {
                    Why::Hold => {}
                    Why::Repeat => self.summary.count("repeats for nothing", 1),
                    Why::Session => self.summary.count("session requests", 1),
                    Why::Free => self.summary.count("free requests", 1),
                }
                self.messages.push(Message::Upstream { life: self.vms[gate].life, request });
                self.note(format!("request {request}: upstream, {why:?}"));
                Ok(())
            }
            Step::Answer(reply) => self.answered(request, &reply),
        }
    }

    fn answered(&mut self, request: usize, reply: &Reply) -> Verdict {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code = body["code"].as_str().unwrap_or_default();
        self.note(format!("request {request}: {} {code}", reply.status));
        let now_s = self.now_ms() / 1_000;
        let flight = &mut self.flights[request];
        flight.abandon();
        flight.answered = Some(reply.status);
        let flight_mode = flight.route.mode;
        if reply.status == 402 {
            let bill = Bill::read(&body, flight.route).ok_or("a 402 without an invoice")?;
            if let Mode::Session(duration_s) = bill.route.mode
                && bill.valid_until_s != now_s + duration_s
            {
                return Err(format!("a session was sold until {}", bill.valid_until_s));
            }
            let chosen = bill.route.chosen.is_some_and(|sale| sale.amount_msat == bill.amount_msat);
            self.summary.count("bills by choice", u64::from(chosen));
            self.clients[flight.client].bills.push(bill);
            self.summary.count("bills", 1);
        }
        match code {
            "account_revoked" if matches!(flight_mode, Mode::Session(_)) => {
                self.summary.count("revoked sessions", 1);
            }
            "credential_used" => self.summary.count("tokens used up", 1),
            "credential_expired" => self.summary.count("sessions over", 1),
            _ => {}
        }
        self.summary.count("repeats replayed", u64::from(reply.status == 200));
        self.auditor.answered(request, reply.status, code, &reply.body)
    }

    pub(super) fn upstream_answers(&mut self, life: u32, request: usize) {
        let gate = self.flights[request].gate;
        if life != self.vms[gate].life || self.flights[request].stage != Stage::Upstream {
            return;
        }
        let ending = self.chance.pick(&Ending::ALL);
        let now_ms = self.now_ms();
        let flight = &mut self.flights[request];
        set_clock(&flight.host, now_ms);
        flight.respond(ending, &format!("the answer to request {request}"));
        let owed_msat = ending.owed_msat(flight.route, flight.why);
        let single = owed_msat > 0 && flight.route.mode == Mode::SingleUse;
        self.auditor.ended(request, owed_msat);
        self.summary.count("served", u64::from(owed_msat > 0));
        self.summary.count("single uses", u64::from(single));
        self.note(format!("request {request}: {ending:?}"));
        if self.faults && self.chance.one_in(60) {
            // The client has its answer, and the posting dies unqueued.
            self.kill_vm(gate);
            return;
        }
        self.flights[request].finish(ending);
    }

    /// A client goes away while the gate decides.
    pub(super) fn leave(&mut self) {
        let deciding: Vec<usize> = (0..self.flights.len())
            .filter(|at| self.flights[*at].stage == Stage::Deciding)
            .collect();
        if !deciding.is_empty() {
            let request = self.chance.pick(&deciding);
            self.note(format!("request {request}: its client leaves"));
            self.flights[request].abandon();
            self.auditor.ended(request, 0);
        }
    }

    /// A client pays a bill at the node; the event or the proof may get lost on the way.
    pub(super) fn pay(&mut self) -> Verdict {
        let client = self.chance.index(CLIENTS);
        let unpaid = self.clients[client].unpaid();
        if unpaid.is_empty() || !self.companion.is_up() {
            return Ok(());
        }
        // Often what was asked for last, as a client does that waits for its answer.
        let newest = self.chance.one_in(2);
        let bill = if newest { unpaid[unpaid.len() - 1] } else { self.chance.pick(&unpaid) };
        let proof_lost = self.faults && self.chance.one_in(6);
        // Of one of the two the ledger hears, or the money is gone.
        let event = proof_lost || self.chance.one_in(2);
        self.pay_bill(client, bill, event, proof_lost)
    }

    pub(super) fn pay_bill(
        &mut self,
        client: usize,
        bill: usize,
        event: bool,
        proof_lost: bool,
    ) -> Verdict {
        let now_ms = self.now_ms();
        let bill_paid = &mut self.clients[client].bills[bill];
        let order = json!({"invoice": bill_paid.invoice, "event": event}).to_string();
        let (status, reply) =
            self.companion.call(Door::Admin, "POST", "/sim/v1/pay", Some(order.as_bytes()));
        if status == 410 {
            bill_paid.dead = true;
        } else if status != 200 {
            return Err(format!("a payment was answered {status}: {reply}"));
        }
        if !proof_lost {
            bill_paid.preimage = reply["preimage"].as_str().map(str::to_owned);
        }
        let hash = bill_paid.payment_hash.clone();
        self.note(format!("client {client} pays bill {bill}, event {event}: {status}"));
        if status == 410 {
            return Ok(());
        }
        self.summary.count("payments", 1);
        self.auditor.paid(&hash, event, now_ms)
    }
}
