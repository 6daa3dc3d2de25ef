//! The auditor: watches the wires, keeps books of its own, and compares.
//!
//! It knows what clients paid, which requests reached the upstream and how they ended. It shares
//! no code with the ledger and asks it only through the operator's doors.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tollway_testkit::fake_host::SentCall;

use crate::books::{Books, Hold, Invoice};

/// What broke, in words.
pub(crate) type Verdict = Result<(), String>;

/// What a request showed at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    Genuine,
    Forged,
}

/// One request, as the auditor saw it.
#[derive(Clone, Debug)]
struct Seen {
    client: usize,
    price_msat: u64,
    shown: Shown,
    hold: Option<String>,
    /// `tollwayd` refused its hold.
    refused: bool,
    /// What its customer owes, once that is settled.
    owed_msat: Option<u64>,
    /// The VM died with it, or with its posting.
    orphaned: bool,
    /// The ledger was told of the charge after the hold had expired.
    too_late: bool,
}

/// The auditor.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    pub(crate) books: Books,
    requests: Vec<Seen>,
    /// Which request a hold is for.
    holds: BTreeMap<String, usize>,
    /// Accounts that something happened to since the last comparison.
    touched: BTreeSet<String>,
}

impl Auditor {
    /// A request begins; its number is the next one.
    pub(crate) fn begins(&mut self, client: usize, price_msat: u64, shown: Shown) {
        self.requests.push(Seen {
            client,
            price_msat,
            shown,
            hold: None,
            refused: false,
            owed_msat: None,
            orphaned: false,
            too_late: false,
        });
    }

    /// The gate sends a call for this request.
    pub(crate) fn sent(&mut self, request: usize, call: &SentCall) {
        if let Some(id) = hold_id(call) {
            self.holds.insert(id.clone(), request);
            self.requests[request].hold = Some(id);
        }
    }

    /// The node was paid; `told` if the ledger heard of it.
    pub(crate) fn paid(&mut self, payment_hash: &str, told: bool) -> Verdict {
        self.books.paid.insert(payment_hash.to_owned());
        if told {
            self.books.credit(payment_hash)?;
            self.touch(payment_hash);
        }
        Ok(())
    }

    /// The gate lets a request go to the upstream.
    pub(crate) fn admitted(&self, request: usize, account: &str) -> Verdict {
        let seen = &self.requests[request];
        let hold = seen.hold.as_ref().and_then(|id| self.books.holds.get(id));
        match hold {
            Some(hold) if hold.amount_msat == seen.price_msat && hold.account == account => Ok(()),
            _ => Err(format!("request {request} reached the upstream without its hold")),
        }
    }

    /// The gate answers a request itself.
    pub(crate) fn answered(&mut self, request: usize, status: u16, code: &str) -> Verdict {
        let seen = &mut self.requests[request];
        seen.owed_msat = Some(0);
        let justified = match (status, code) {
            (503, "payments_unavailable") => true,
            (402, "payment_required") => seen.shown == Shown::Nothing,
            (402, "insufficient_credit") => seen.refused,
            (402, _) => seen.shown == Shown::Forged,
            (429, _) => seen.shown != Shown::Genuine || seen.refused,
            _ => false,
        };
        if justified {
            return Ok(());
        }
        Err(format!("request {request} ({:?}) was answered {status} {code}", seen.shown))
    }

    /// A request is over; its customer owes this.
    pub(crate) fn ended(&mut self, request: usize, owed_msat: u64) {
        self.requests[request].owed_msat = Some(owed_msat);
    }

    /// The VM dies. What it had not reported by now is never reported by it.
    pub(crate) fn vm_died(&mut self) {
        for seen in &mut self.requests {
            let reported =
                seen.hold.as_ref().is_some_and(|hold| self.books.charges.contains_key(hold));
            seen.orphaned |= !reported;
            // Without an end nothing is owed: the client has no answer.
            seen.owed_msat.get_or_insert(0);
        }
    }

    /// `tollwayd` has done what a call asked, whether or not its reply arrives.
    pub(crate) fn processed(
        &mut self,
        now_ms: u64,
        call: &SentCall,
        status: u16,
        reply: &Value,
    ) -> Verdict {
        match (call.header(":path"), status) {
            ("/v1/keyring", 200) => Ok(()),
            ("/v1/challenges", 200) => self.invoice(&call.json(), reply),
            ("/v1/postings", 200) => self.postings(now_ms, &call.json(), reply),
            (_, 200) => self.hold(now_ms, call, reply),
            // A repeat of a hold call may come when the hold has ended.
            (_, 409) => self.ended_hold(now_ms, call, reply),
            (path, status) => Err(format!("{path} was answered {status}: {reply}")),
        }
    }

    fn invoice(&mut self, asked: &Value, reply: &Value) -> Verdict {
        if reply["outcome"] == "limited" {
            return Ok(());
        }
        let hash = text(reply, "payment_hash");
        let account = match asked["top_up"].as_str() {
            Some(known) => self.books.account_of(known).ok_or("a top-up of nothing")?,
            None => hash.clone(),
        };
        let amount_msat = number(reply, "credit_msat");
        let invoice = Invoice { account, amount_msat, credited: false };
        match self.books.invoices.get(&hash) {
            // A client that asks twice for the same is shown the same invoice.
            Some(known) if known.account == invoice.account && known.amount_msat == amount_msat => {
                Ok(())
            }
            Some(_) => Err(format!("{hash} was used for two invoices")),
            None => {
                self.books.invoices.insert(hash, invoice);
                Ok(())
            }
        }
    }

    fn hold(&mut self, now_ms: u64, call: &SentCall, reply: &Value) -> Verdict {
        let (id, asked) = (hold_id(call).ok_or("an unknown call")?, call.json());
        let paid_with = text(&asked, "payment_hash");
        let amount_msat = number(&asked, "amount_msat");
        let account = self.books.account_of(&paid_with).ok_or("a hold on nothing")?;
        self.books.credit(&paid_with)?;
        self.touch(&paid_with);
        let known = self.books.holds.get(&id).cloned();
        let available = self.books.available_msat(&account, now_ms)?;
        if reply["outcome"] == "refused" {
            self.requests[self.holds[&id]].refused = true;
            if reply["refusal"] != "insufficient_credit" || available >= amount_msat {
                return Err(format!("{reply} to a hold of {amount_msat} of {available}"));
            }
            return agree("balance of a refusal", number(reply, "balance_msat"), available);
        }
        let left = match known {
            Some(hold) if hold.is_live(now_ms) => available,
            Some(_) => return Err(format!("hold {id} was granted after its end")),
            None => {
                let ends_ms = now_ms + number(&asked, "ttl_ms");
                let hold = Hold { account: account.clone(), amount_msat, ends_ms, released: false };
                self.books.holds.insert(id, hold);
                let left = available.checked_sub(amount_msat);
                left.ok_or(format!("{amount_msat} of {available} were granted"))?
            }
        };
        agree("account of a grant", text(reply, "account"), account)?;
        agree("amount of a grant", number(reply, "granted_msat"), amount_msat)?;
        agree("balance of a grant", number(reply, "balance_msat"), left)
    }

    fn ended_hold(&self, now_ms: u64, call: &SentCall, reply: &Value) -> Verdict {
        let hold = hold_id(call).and_then(|id| self.books.holds.get(&id));
        match hold {
            Some(hold) if reply["code"] == "hold_ended" && !hold.is_live(now_ms) => Ok(()),
            _ => Err(format!("{} was answered {reply}", call.header(":path"))),
        }
    }

    fn postings(&mut self, now_ms: u64, asked: &Value, reply: &Value) -> Verdict {
        let rows = asked["postings"].as_array().ok_or("postings without rows")?;
        let outcomes = reply["outcomes"].as_array().ok_or("postings without outcomes")?;
        agree("outcomes", outcomes.len(), rows.len())?;
        rows.iter().zip(outcomes).try_for_each(|(row, outcome)| {
            let (outcome, charged) = (text(outcome, "outcome"), number(outcome, "charged_msat"));
            self.posting(now_ms, row, (&outcome, charged))
        })
    }

    fn posting(&mut self, now_ms: u64, row: &Value, told: (&str, u64)) -> Verdict {
        let (id, amount_msat) = (text(row, "hold"), number(row, "amount_msat"));
        let seen = &mut self.requests[self.holds[&id]];
        if seen.owed_msat != Some(amount_msat) {
            return Err(format!("{amount_msat} charged, {:?} owed, hold {id}", seen.owed_msat));
        }
        let Some(hold) = self.books.holds.get_mut(&id) else {
            // Its call is lost or late: a release of nothing.
            return agree("posting of no hold", (told, amount_msat), (("hold_unknown", 0), 0));
        };
        self.touched.insert(hold.account.clone());
        if self.books.charges.contains_key(&id) {
            return agree("repeated posting", told, ("posted", amount_msat));
        }
        if !hold.is_live(now_ms) {
            seen.too_late = true;
            return agree("posting after the end", told, ("hold_expired", 0));
        }
        hold.released = true;
        self.books.charges.insert(id, amount_msat);
        agree("posting", told, ("posted", amount_msat))
    }

    fn touch(&mut self, payment_hash: &str) {
        self.touched.extend(self.books.account_of(payment_hash));
    }

    /// The accounts to compare now.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// Compares one account with what the ledger says of it.
    pub(crate) fn compare(&self, account: &str, view: &Value, now_ms: u64) -> Verdict {
        let signed = |value: &Value| value["amount_msat"].as_i64().unwrap_or_default();
        let entries = view["entries"].as_array().ok_or(format!("no account {account}: {view}"))?;
        let sum: i64 = entries.iter().map(signed).sum();
        let balance = number(view, "balance_msat");
        agree("sum of entries", sum, balance as i64)?;
        let mut credits = BTreeSet::new();
        for entry in entries {
            if let Some(hash) = entry["payment_hash"].as_str() {
                if !credits.insert(hash) {
                    return Err(format!("{hash} was credited twice"));
                }
                if !self.books.paid.contains(hash) {
                    return Err(format!("credit for {hash}, which nobody paid"));
                }
            }
            if let Some(hold) = entry["hold"].as_str() {
                let charged = self.books.charges.get(hold).map(|amount| -(*amount as i64));
                agree("entry of a charge", Some(signed(entry)), charged)?;
            }
        }
        let expected = self.books.balance_msat(account);
        agree(&format!("balance of {account}"), balance, expected)?;
        let held = self.books.held_msat(account, now_ms);
        agree("held", number(view, "held_msat"), held)?;
        agree("available", number(view, "available_msat"), expected - held)
    }

    /// All messages have arrived and all holds are over: nothing is open, nothing is lost beyond
    /// what dead VMs and late postings explain. Returns the operator's loss.
    pub(crate) fn close(&self, clients: usize) -> Result<u64, String> {
        let mut lost_msat = 0;
        let mut paid_by = vec![0; clients];
        for (number, seen) in self.requests.iter().enumerate() {
            let owed = seen.owed_msat.ok_or(format!("request {number} never ended"))?;
            let charge = seen.hold.as_ref().and_then(|hold| self.books.charges.get(hold));
            let charged = charge.copied().unwrap_or(0);
            paid_by[seen.client] += charged;
            if charged == owed {
                continue;
            }
            if charged > owed || !(seen.orphaned || seen.too_late) {
                return Err(format!("request {number} owed {owed} and was charged {charged}"));
            }
            lost_msat += owed;
        }
        agree("all charges", paid_by.iter().sum::<u64>(), self.books.charges.values().sum())?;
        Ok(lost_msat)
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, but found {found:?}"))
}

fn hold_id(call: &SentCall) -> Option<String> {
    call.header(":path").strip_prefix("/v1/holds/").map(str::to_owned)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(u64::MAX)
}
