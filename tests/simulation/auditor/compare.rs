//! The books against what the ledger says of an account.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Auditor, Verdict, agree, number};

impl Auditor {
    /// The accounts to compare now.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// Compares one account with what the ledger says of it.
    pub(crate) fn compare(&mut self, name: &str, view: &Value, now_ms: u64) -> Verdict {
        self.books.pass_time(name, now_ms);
        self.entries(name, view)?;
        let account = self.books.accounts.get(name).cloned().unwrap_or_default();
        let balance = account.balance_msat();
        let held = self.books.held_msat(name, now_ms);
        for (field, expected) in [
            ("balance_msat", balance),
            ("held_msat", held),
            ("available_msat", balance - held),
            ("expiring_msat", account.expiring_msat()),
            ("debt_msat", account.debt_msat),
            ("charged_msat", account.charged_msat),
            ("refunded_msat", account.refunded_msat),
        ] {
            agree(&format!("{field} of {name}"), number(view, field), expected)?;
        }
        agree("revoked", view["revoked_at_ms"].is_u64(), account.revoked)
    }

    /// The balance is the sum of the entries, and every entry has its reason.
    fn entries(&self, name: &str, view: &Value) -> Verdict {
        let signed = |value: &Value| value["amount_msat"].as_i64().unwrap_or_default();
        let entries = view["entries"].as_array().ok_or(format!("no account {name}: {view}"))?;
        agree("entries shown", entries.len() as u64, number(view, "entries_total"))?;
        let sum: i64 = entries.iter().map(signed).sum();
        agree("sum of entries", sum, number(view, "balance_msat") as i64)?;
        let mut credits = BTreeSet::new();
        let mut earned = 0;
        let mut charges: BTreeMap<(String, u64), i64> = BTreeMap::new();
        for entry in entries {
            if let Some(hash) = entry["payment_hash"].as_str() {
                if entry["kind"] == "credit" && !credits.insert(hash) {
                    return Err(format!("{hash} was credited twice"));
                }
                if !self.books.paid.contains(hash) {
                    return Err(format!("credit for {hash}, which nobody paid"));
                }
            }
            if entry["kind"] == "session" {
                earned -= signed(entry);
            }
            if let Some(hold) = entry["hold"].as_str() {
                charges.insert((hold.to_owned(), number(entry, "seq")), -signed(entry));
            }
        }
        let sold = self.books.accounts.get(name).map_or(0, |account| account.earned_msat);
        agree(&format!("earned by a session, {name}"), earned, sold as i64)?;
        let of_account = |id: &String| self.books.holds[id].account == name;
        let counted = self.books.postings.iter().filter(|(key, _)| of_account(&key.0));
        let counted = counted.filter(|(_, posting)| posting.taken_msat > 0);
        let expected = counted.map(|(key, it)| (key.clone(), it.taken_msat as i64)).collect();
        agree("entries of charges", charges, expected)
    }
}
