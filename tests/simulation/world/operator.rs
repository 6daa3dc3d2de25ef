//! What operators do while everything runs.

use serde_json::json;

use super::World;
use super::carry::outcome;
use crate::auditor::Verdict;
use crate::books::Act;
use crate::companion::Door;

impl World {
    /// An operator refunds, grants, revokes, or lets spend again; sometimes the same twice.
    pub(super) fn operator_acts(&mut self) -> Verdict {
        let bought = self.bought();
        if bought.is_empty() || !self.companion.is_up() {
            return Ok(());
        }
        let (client, bill) = self.chance.pick(&bought);
        let act = Act {
            // Accounts are revoked seldom, and not for ever.
            whose: self.chance.pick(&["accounts", "accounts", "tokens"]),
            kind: self
                .chance
                .pick(&["refund", "refund", "grant", "settle", "revoke", "unrevoke", "unrevoke"]),
            payment_hash: self.clients[client].bills[bill].payment_hash.clone(),
            amount_msat: 1_000 * (1 + self.chance.below(4)),
        };
        let act = match act.kind {
            "refund" | "grant" => Act { whose: "accounts", ..act },
            "settle" => Act { whose: "invoices", amount_msat: 0, ..act },
            _ => Act { amount_msat: 0, ..act },
        };
        let again = self.chance.one_in(4) && !self.acts.is_empty();
        let (id, act) = match again {
            false => (self.next_id(), act),
            true => {
                let (id, before) = self.acts[self.chance.index(self.acts.len())].clone();
                (id, if self.chance.one_in(2) { before } else { act })
            }
        };
        self.acts.push((id.clone(), act.clone()));
        self.act(&id, &act)
    }

    fn act(&mut self, id: &str, act: &Act) -> Verdict {
        let mut order = json!({"id": id, "actor": "ada", "reason": "a simulation"});
        if act.amount_msat > 0 {
            order["amount_msat"] = json!(act.amount_msat);
        }
        let path = format!("/admin/v1/{}/{}/{}", act.whose, act.payment_hash, act.kind);
        let body = order.to_string();
        let (status, reply) =
            self.companion.call(Door::Admin, "POST", &path, Some(body.as_bytes()));
        if let Some(mutation) = self.mutation.filter(|_| status == 200) {
            let other_id = self.next_id();
            mutation.acted(&self.companion, &path, &order, &other_id);
        }
        self.note(format!("an operator: {} {}: {}", act.kind, act.amount_msat, outcome(&reply)));
        self.summary.count("operator's acts", u64::from(status == 200));
        let alone = status == 200 && act.whose == "tokens" && act.kind == "revoke";
        self.summary.count("tokens revoked alone", u64::from(alone));
        let settled = status == 200 && act.kind == "settle";
        self.summary.count("payments settled by hand", u64::from(settled));
        self.auditor.acted(self.now_ms(), id, act, (status, &reply))
    }

    /// Every bill that can be presented.
    pub(super) fn bought(&self) -> Vec<(usize, usize)> {
        let of =
            |client: usize| self.clients[client].paid().into_iter().map(move |at| (client, at));
        (0..self.clients.len()).flat_map(of).collect()
    }

    pub(super) fn rotate_key(&mut self) -> Verdict {
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
}
