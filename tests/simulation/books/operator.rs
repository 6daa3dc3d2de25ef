//! What an operator does.

use serde_json::json;

use super::holds::problem;
use super::{Answer, Books};

/// An act, all of it: a repeat with the same id and fields changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    /// "accounts", "tokens" or "invoices": what it is done to.
    pub(crate) whose: &'static str,
    /// The last part of its path.
    pub(crate) kind: &'static str,
    pub(crate) payment_hash: String,
    /// Zero for those without.
    pub(crate) amount_msat: u64,
}

impl Books {
    pub(crate) fn act(&mut self, now_ms: u64, id: &str, act: &Act) -> Answer {
        let done = (200, json!({"outcome": "done"}));
        if let Some(before) = self.acts.get(id) {
            return if before == act { done } else { problem(409, "action_conflict") };
        }
        if act.kind == "settle" {
            let invoice = self.invoices.get(&act.payment_hash);
            if invoice.is_some_and(|invoice| invoice.credited) {
                return problem(409, "already_credited");
            }
            if self.credit(&act.payment_hash, now_ms).is_err() {
                return problem(404, "subject_unknown");
            }
            self.acts.insert(id.to_owned(), act.clone());
            return done;
        }
        let name = self.account_of(&act.payment_hash).unwrap_or_default();
        self.pass_time(&name, now_ms);
        let session = self.is_session(&act.payment_hash);
        if session && act.kind == "revoke" {
            // It may run before its payment is known.
            self.accounts.entry(name.clone()).or_default();
        }
        let Some(account) = self.accounts.get_mut(&name) else {
            return problem(404, "subject_unknown");
        };
        match act.kind {
            "revoke" | "unrevoke" if act.whose == "tokens" => {
                let invoice = self.invoices.get_mut(&act.payment_hash).expect("it has an account");
                invoice.revoked = act.kind == "revoke";
            }
            "revoke" => account.revoked = true,
            "unrevoke" => account.revoked = false,
            _ if session => return problem(409, "session_has_no_credit"),
            "refund" if account.refunded_msat + act.amount_msat > account.charged_msat => {
                return problem(409, "exceeds_charges");
            }
            kind => {
                account.put(act.amount_msat, None);
                if kind == "refund" {
                    account.refunded_msat += act.amount_msat;
                }
                self.repay(&name, now_ms);
            }
        }
        self.acts.insert(id.to_owned(), act.clone());
        done
    }
}
