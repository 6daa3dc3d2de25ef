//! The scheduler: who acts next, and who dies.

mod carry;
mod operator;
mod requests;
mod settle;
mod tenant;

use std::sync::Arc;

use serde_json::{Value, json};
use tollway_gate::host::{CallId, CallReply};
use tollway_testkit::fake_host::SentCall;
use tollwayd::clock::{Clock, ManualClock};

use crate::auditor::{Auditor, Verdict};
use crate::books::Act;
use crate::chance::Chance;
use crate::client::{ADDRESSES, Client};
use crate::companion::{Companion, Door, Keeper};
use crate::flight::{Flight, Stage};
use crate::mutation::Mutation;
use crate::shop;
use crate::summary::{Failure, Summary};
use crate::vm::{Caller, Vm, set_clock};

/// An hour before midnight, UTC, so that days end within a run.
const START_MS: u64 = 20_834 * shop::DAY_MS - 3_600_000;
const CLIENTS: usize = ADDRESSES.len();
const GATES: usize = 2;

/// What is on its way.
#[derive(Clone, Debug)]
enum Message {
    Call { life: u32, caller: Caller, call: SentCall },
    Reply { life: u32, caller: Caller, call: CallId, reply: CallReply },
    Upstream { life: u32, request: usize },
}

/// Everything there is.
pub(crate) struct World {
    chance: Chance,
    mutation: Option<Mutation>,
    clock: Arc<ManualClock>,
    /// Whether messages may still be lost and processes may die.
    faults: bool,
    companion: Companion,
    vms: Vec<Vm>,
    lives: u32,
    flights: Vec<Flight>,
    messages: Vec<Message>,
    clients: Vec<Client>,
    tenants: tenant::Tenants,
    /// Requests that clients named by a key.
    keyed: Vec<requests::Order>,
    /// With their ids.
    acts: Vec<(String, Act)>,
    ids: u128,
    auditor: Auditor,
    summary: Summary,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, keeper: Keeper) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        let mut chance = Chance::new(seed);
        let config = shop::config();
        let gates = u32::try_from(GATES).unwrap();
        let mut vm = |life| Vm::start(&config, chance.below(u64::MAX), life, START_MS);
        let vms = (0..gates).map(&mut vm).collect();
        Self {
            vms,
            lives: gates,
            chance,
            mutation,
            companion: Companion::start(keeper, Arc::clone(&clock)),
            clock,
            faults: true,
            flights: Vec::new(),
            messages: Vec::new(),
            clients: vec![Client::default(); CLIENTS],
            tenants: tenant::Tenants::default(),
            keyed: Vec::new(),
            acts: Vec::new(),
            ids: 0,
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
        self.clock.now_ms()
    }

    fn note(&mut self, line: String) {
        let at = self.now_ms() - START_MS;
        self.summary.trace.push(format!("{at:>9} ms  {line}"));
    }

    /// An id in the form of a UUID that nobody else uses.
    fn next_id(&mut self) -> String {
        self.ids += 1;
        let digits = format!("{:032x}", 0xface_u128 << 112 | self.ids);
        let part = |from: usize, to: usize| &digits[from..to];
        [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
    }

    /// One thing happens.
    fn step(&mut self) -> Verdict {
        if !self.companion.is_up() && self.chance.one_in(10) {
            self.start_companion();
        }
        match self.chance.below(100) {
            0..=47 => self.carry_any()?,
            48..=59 => self.request()?,
            60..=62 => self.repeat()?,
            63..=73 => self.pay()?,
            74..=82 => {
                let gate = self.chance.index(GATES);
                self.tick(gate)?;
            }
            83..=88 => self.pass_time(),
            89..=92 => self.tenant_acts(),
            93..=94 => self.operator_acts()?,
            95 => self.leave(),
            96 => self.kill_companion(),
            97 if self.chance.one_in(3) => {
                let gate = self.chance.index(GATES);
                self.kill_vm(gate);
            }
            _ => self.rotate_key()?,
        }
        Ok(())
    }

    /// A moment, a while, or seldom so long that days end.
    fn pass_time(&mut self) {
        let by_ms = match self.chance.below(48) {
            0 => {
                self.summary.count("jumps of the clock", 1);
                self.chance.below(shop::DAY_MS * 3 / 2)
            }
            1..=5 => self.chance.below(3_000),
            _ => self.chance.below(60),
        };
        self.clock.advance_ms(by_ms);
    }

    /// The accounts that something happened to agree with the ledger.
    fn compare(&mut self) -> Verdict {
        if !self.companion.is_up() {
            return Ok(());
        }
        let accounts = self.auditor.take_touched();
        accounts.iter().try_for_each(|account| self.compare_account(account).map(|_| ()))
    }

    fn compare_account(&mut self, account: &str) -> Result<Value, String> {
        if self.auditor.books.is_overdue(account, self.now_ms()) || self.chance.one_in(10) {
            self.knock(account)?;
        }
        if let Some(mutation) = self.mutation {
            mutation.looked_at(&self.companion);
        }
        let path = format!("/admin/v1/accounts/{account}");
        let (_, view) = self.companion.call(Door::Admin, "GET", &path, None);
        self.auditor.compare(account, &view, self.now_ms())?;
        let several = self.auditor.books.ending_lots(account) > 1;
        self.summary.count("looks at several lots that end", u64::from(several));
        Ok(view)
    }

    /// A call that proves nothing gets nothing. But reading ends nothing that is over, and a call
    /// that names the account does.
    fn knock(&mut self, account: &str) -> Verdict {
        let knock = json!({"payment_hash": account, "preimage": "5a".repeat(32),
            "amount_msat": 1, "ttl_ms": 1, "route": "knock"});
        let path = format!("/v1/holds/{}", self.next_id());
        let body = knock.to_string();
        let (_, reply) = self.companion.call(Door::Gate, "PUT", &path, Some(body.as_bytes()));
        if reply["refusal"] == "payment_not_proven" {
            return Ok(());
        }
        Err(format!("a forged proof of {account} was answered {reply}"))
    }

    fn tick(&mut self, gate: usize) -> Verdict {
        let vm = &self.vms[gate];
        set_clock(&vm.host, self.clock.now_ms());
        vm.gate.tick(&vm.host);
        let calls = vm.host.take_calls();
        self.send(Caller::Gate(gate), gate, calls)
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
    fn kill_vm(&mut self, gate: usize) {
        self.note(format!("the VM of gate {gate} dies"));
        self.summary.count("VM deaths", 1);
        self.auditor.vm_died(gate);
        let seed = self.chance.below(u64::MAX);
        self.vms[gate] = Vm::start(&shop::config(), seed, self.lives, self.now_ms());
        self.lives += 1;
        for flight in self.flights.iter_mut().filter(|flight| flight.gate == gate) {
            flight.stage = Stage::Over;
        }
    }
}
