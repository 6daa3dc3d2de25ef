//! Somebody who uses the ledger's doors in full, as gates do not yet: holds between a least and a
//! most, extensions, charges in parts, over-runs. Its calls travel as badly as all others.

use serde_json::{Value, json};
use tollway_gate::host::CallId;
use tollway_testkit::fake_host::SentCall;

use super::{Message, World};
use crate::vm::Caller;

/// What the tenants remember: the holds they asked for, and their last calls.
#[derive(Debug, Default)]
pub(super) struct Tenants {
    holds: Vec<Tenancy>,
    calls: Vec<SentCall>,
}

#[derive(Clone, Debug)]
struct Tenancy {
    id: String,
    payment_hash: String,
    postings: u64,
    extensions: u64,
}

impl World {
    /// One call: a new one, or one that was sent before.
    pub(super) fn tenant_acts(&mut self) {
        let calls = &self.tenants.calls;
        if !calls.is_empty() && self.chance.one_in(6) {
            let call = calls[self.chance.index(calls.len())].clone();
            self.send_of_tenant(call);
            return;
        }
        let call = if self.tenants.holds.is_empty() || self.chance.one_in(3) {
            self.new_tenancy()
        } else {
            // Of late ones, which may live.
            let from = self.tenants.holds.len().saturating_sub(3);
            let at = from + self.chance.index(self.tenants.holds.len() - from);
            let call = match self.chance.one_in(3) {
                true => self.extension(at),
                false => self.part(at),
            };
            Some(call)
        };
        if let Some(call) = call {
            self.tenants.calls.push(call.clone());
            self.send_of_tenant(call);
        }
    }

    fn new_tenancy(&mut self) -> Option<SentCall> {
        let bought = self.bought();
        let credit = |(client, at): &(usize, usize)| {
            let bill = &self.clients[*client].bills[*at];
            ["demo", "brief"].contains(&bill.route.service)
        };
        let bought: Vec<_> = bought.into_iter().filter(credit).collect();
        if bought.is_empty() {
            return None;
        }
        let (client, at) = self.chance.pick(&bought);
        let bill = &self.clients[client].bills[at];
        let (hash, preimage) = (bill.payment_hash.clone(), bill.preimage.clone());
        let min_msat = 1_000 + self.chance.below(4_000);
        let mut order = json!({
            "payment_hash": hash, "preimage": preimage,
            "min_msat": min_msat, "amount_msat": min_msat + self.chance.below(9_000),
            "ttl_ms": 500 + self.chance.below(3_000), "route": "lease"
        });
        if let Some(hold) = self.giver(&hash) {
            order["take_back"] = json!({"hold": hold, "amount_msat": self.chance.below(9_000)});
        }
        let id = self.next_id();
        let payment_hash = hash;
        let tenancy = Tenancy { id: id.clone(), payment_hash, postings: 0, extensions: 0 };
        self.tenants.holds.push(tenancy);
        Some(call("PUT", format!("/v1/holds/{id}"), &order))
    }

    /// Whose credit a new hold takes back: mostly another one's for the same payment.
    fn giver(&mut self, payment_hash: &str) -> Option<String> {
        let holds = &self.tenants.holds;
        let of_payment = |hold: &&Tenancy| hold.payment_hash == payment_hash;
        let near = holds.iter().rev().find(of_payment).or(holds.last())?.id.clone();
        match self.chance.below(6) {
            0 => None,
            1 => Some(self.tenants.holds[self.chance.index(self.tenants.holds.len())].id.clone()),
            _ => Some(near),
        }
    }

    fn extension(&mut self, at: usize) -> SentCall {
        let add_msat = self.chance.below(12_000);
        let min_msat = self.chance.one_in(2).then(|| self.chance.below(add_msat + 1));
        let ttl_ms = 500 + self.chance.below(3_000);
        // Now and then the number of one that was made before.
        let back = u64::from(self.chance.one_in(6));
        let hold = &mut self.tenants.holds[at];
        let seq = hold.extensions.saturating_sub(back);
        hold.extensions += 1 - back;
        let mut order = json!({"seq": seq, "add_msat": add_msat, "ttl_ms": ttl_ms});
        if let Some(min_msat) = min_msat {
            order["min_msat"] = json!(min_msat);
        }
        call("POST", format!("/v1/holds/{}/extensions", hold.id), &order)
    }

    fn part(&mut self, at: usize) -> SentCall {
        let overrun = self.chance.pick(&[None, Some(0), Some(5_000)]);
        let amount_msat = self.chance.below(12_000);
        let release = self.chance.one_in(4);
        let back = u64::from(self.chance.one_in(6));
        let hold = &mut self.tenants.holds[at];
        let seq = hold.postings.saturating_sub(back);
        hold.postings += 1 - back;
        let mut row = json!({"hold": hold.id, "seq": seq, "amount_msat": amount_msat,
            "route": "lease", "release": release});
        match overrun {
            None => {}
            Some(0) => row["overrun"] = json!("debit_rest"),
            Some(limit_msat) => row["overrun"] = json!({"debt": {"limit_msat": limit_msat}}),
        }
        call("POST", "/v1/postings".to_owned(), &json!({"postings": [row]}))
    }

    fn send_of_tenant(&mut self, call: SentCall) {
        self.messages.push(Message::Call { life: u32::MAX, caller: Caller::Tenant, call });
    }
}

fn call(method: &str, path: String, body: &Value) -> SentCall {
    SentCall {
        id: CallId(0),
        cluster: "tollwayd".to_owned(),
        headers: vec![(":method".to_owned(), method.to_owned()), (":path".to_owned(), path)],
        body: body.to_string().into_bytes(),
        timeout_ms: 2_000,
    }
}
