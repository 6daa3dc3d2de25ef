//! What happens to messages: they get lost, come twice, late, and in another order.

use serde_json::Value;
use tollway_core::wire::HOLDS_PATH;
use tollway_gate::host::{CallId, CallReply};
use tollway_testkit::fake_host::SentCall;

use super::{Message, World};
use crate::auditor::{Processed, Verdict};
use crate::flight::Stage;
use crate::mutation;
use crate::vm::{Caller, set_clock};

impl World {
    pub(super) fn carry_any(&mut self) -> Verdict {
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

    pub(super) fn carry(&mut self, message: Message) -> Verdict {
        match message {
            Message::Call { life, caller, call } => self.carry_call(life, caller, call),
            Message::Reply { life, caller, call, reply } => {
                self.carry_reply(life, caller, call, &reply)
            }
            Message::Upstream { life, request } => {
                self.upstream_answers(life, request);
                Ok(())
            }
        }
    }

    fn carry_call(&mut self, life: u32, caller: Caller, call: SentCall) -> Verdict {
        let id = call.id;
        let what = format!("{} of {caller:?}", kind(&call));
        let lost = self.faults && self.chance.one_in(12);
        if lost || !self.companion.is_up() {
            self.note(format!("{what}: lost"));
            self.summary.count("lost", u64::from(lost));
            let status = self.chance.pick(&[None, Some(503), Some(504)]);
            self.reply(life, caller, id, CallReply { status, body: Vec::new() });
            return Ok(());
        }
        let calls = call.apart();
        let mut replies = Vec::new();
        for call in &calls {
            replies.push(self.carry_one(&what, caller, call)?);
        }
        let reply = call.replied(&replies);
        if self.faults && self.chance.one_in(40) {
            // Between the commit and the reply.
            self.summary.count("replies lost to a death", 1);
            self.kill_companion();
            self.reply(life, caller, id, CallReply { status: None, body: Vec::new() });
        } else if self.faults && self.chance.one_in(12) {
            self.summary.count("lost", 1);
            self.reply(life, caller, id, CallReply { status: Some(504), body: Vec::new() });
        } else {
            self.reply(life, caller, id, reply);
        }
        Ok(())
    }

    /// Has the companion answer what is asked, and the auditor hear of it.
    fn carry_one(
        &mut self,
        what: &str,
        caller: Caller,
        call: &SentCall,
    ) -> Result<(u16, Value), String> {
        let (status, reply) = match self.mutation {
            Some(mutation) => mutation.call(&self.companion, call),
            None => mutation::carry(&self.companion, call),
        };
        self.note(format!("{what}: {status} {}", outcome(&reply)));
        let request = match caller {
            Caller::Request(request) => Some(request),
            Caller::Gate(_) | Caller::Tenant => None,
        };
        let (now_ms, reply_to) = (self.now_ms(), &reply);
        self.auditor.processed(Processed { now_ms, request, call, status, reply: reply_to })?;
        self.count_outcomes(call, &reply);
        Ok((status, reply))
    }

    fn count_outcomes(&mut self, call: &SentCall, reply: &Value) {
        let rows = reply["outcomes"].as_array().into_iter().flatten();
        let late = rows.clone().filter(|row| row["outcome"] == "hold_expired").count();
        self.summary.count("late postings", late as u64);
        let revoked = rows.filter(|row| row["revoked"] == true).count();
        self.summary.count("postings of revoked accounts", revoked as u64);
        self.summary.count("postings answered in a word", u64::from(reply["posted"].is_u64()));
        let asked = call.json();
        let row = &asked["postings"][0];
        let over = !row["overrun"].is_null()
            && reply["outcomes"][0]["charged_msat"].as_u64() > Some(0)
            && !row["release"].is_null();
        self.summary.count("over-runs", u64::from(over));
        // Down to the least: nothing is left.
        let part = asked["add_msat"].is_u64()
            && asked["min_msat"].is_u64()
            && reply["outcome"] == "granted"
            && reply["balance_msat"] == 0;
        self.summary.count("extensions by the rest", u64::from(part));
        let counted = match (reply["outcome"].as_str(), reply["refusal"].as_str()) {
            (Some("granted"), _) if call.header(":path").ends_with("/extensions") => "extensions",
            (_, Some("idempotency_in_flight")) => "keys in flight",
            (_, Some("idempotency_mismatch")) => "keys mismatched",
            (_, Some("account_revoked")) => "requests of revoked accounts",
            (Some("exhausted"), _) => "free tiers used up",
            (Some("invoice"), _) if asked["top_up"].is_string() => "top-ups",
            _ if reply["code"] == "top_up_unknown" => "top-ups refused",
            _ => return,
        };
        self.summary.count(counted, 1);
    }

    fn reply(&mut self, life: u32, caller: Caller, call: CallId, reply: CallReply) {
        self.messages.push(Message::Reply { life, caller, call, reply });
    }

    fn carry_reply(
        &mut self,
        life: u32,
        caller: Caller,
        call: CallId,
        reply: &CallReply,
    ) -> Verdict {
        // The proxy hears of each call once; a dead VM hears nothing.
        let Some(gate) = self.vms.iter().position(|vm| vm.life == life) else { return Ok(()) };
        if !self.vms[gate].waiting.remove(&(caller, call.0)) {
            return Ok(());
        }
        self.hear_of_revocations(gate, caller, reply);
        let reply = &self.mutation.map_or_else(|| reply.clone(), |fault| fault.heard(reply));
        let now_ms = self.now_ms();
        match caller {
            Caller::Tenant => Ok(()),
            Caller::Gate(_) => {
                let vm = &self.vms[gate];
                set_clock(&vm.host, now_ms);
                vm.gate.call_answered(&vm.host, call, reply);
                let calls = vm.host.take_calls();
                self.send(caller, gate, calls)
            }
            Caller::Request(request) => {
                let flight = &mut self.flights[request];
                set_clock(&flight.host, now_ms);
                let step = flight.exchange.call_answered(&flight.host, call, reply);
                self.proceed(request, step)
            }
        }
    }

    /// The auditor hears what a gate is told of revoked tokens, unless nobody waits for it.
    fn hear_of_revocations(&mut self, gate: usize, caller: Caller, reply: &CallReply) {
        let over = |request: usize| self.flights[request].stage == Stage::Over;
        if reply.status != Some(200) || matches!(caller, Caller::Request(it) if over(it)) {
            return;
        }
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if body["revoked"].is_array() {
            self.auditor.heard(gate, &body);
        }
    }

    /// Takes over the calls that a gate has sent.
    pub(super) fn send(&mut self, caller: Caller, gate: usize, calls: Vec<SentCall>) -> Verdict {
        for call in calls {
            if let Caller::Request(request) = caller {
                self.auditor.sent(request, &call)?;
            }
            let vm = &mut self.vms[gate];
            vm.waiting.insert((caller, call.id.0));
            self.messages.push(Message::Call { life: vm.life, caller, call });
        }
        Ok(())
    }
}

/// The kind of a call, for the trace: ids and secrets differ from run to run.
fn kind(call: &SentCall) -> &str {
    let path = call.header(":path");
    match path.strip_prefix(HOLDS_PATH) {
        Some(rest) if rest.ends_with("/extensions") => "extensions",
        Some(_) => HOLDS_PATH,
        None => path,
    }
}

/// What a reply says, without ids and secrets.
pub(super) fn outcome(reply: &Value) -> String {
    let words = ["outcome", "refusal", "code", "outcomes", "granted_msat", "balance_msat"];
    let words = words.map(|name| &reply[name]);
    words.iter().filter(|word| !word.is_null()).map(|word| format!("{word} ")).collect()
}
