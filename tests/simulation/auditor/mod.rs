//! The auditor: watches the wires, keeps [books](crate::books) of its own, and compares.
//!
//! It knows what clients paid, what they showed, which requests reached the upstream and how they
//! ended. It shares no code with the ledger and asks it only through the operator's doors.

mod calls;
mod compare;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tollway_testkit::fake_host::SentCall;

pub(crate) use calls::Processed;
pub(crate) use requests::{Marks, Why};

use crate::books::Books;
use crate::shop::{Mode, RouteFacts};

/// What broke, in words.
pub(crate) type Verdict = Result<(), String>;

/// What a request showed at the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// A token for this service, and until when it is good.
    Genuine {
        payment_hash: String,
        valid_until_s: u64,
    },
    /// A token for something else.
    Foreign,
    Forged,
}

/// What the ledger said to the call of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Granted,
    /// With the response that was stored, or `Null`.
    ChargedBefore(Value),
    Refused(String),
    Free,
    NotFree,
    NoTopUp,
}

/// What a client asks.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) gate: usize,
    pub(crate) network: &'static str,
    pub(crate) route: RouteFacts,
    pub(crate) shown: Shown,
    /// It chose how much to buy.
    pub(crate) chooses: bool,
    pub(crate) tops_up: bool,
}

impl Asked {
    fn names_one_of(&self, tokens: &BTreeSet<String>) -> bool {
        match &self.shown {
            Shown::Genuine { payment_hash, .. } => tokens.contains(payment_hash),
            Shown::Nothing | Shown::Foreign | Shown::Forged => false,
        }
    }
}

/// One request, as the auditor saw it.
#[derive(Clone, Debug)]
struct Seen {
    asked: Asked,
    began_ms: u64,
    hold: Option<String>,
    /// To each copy of its calls; the gate hears the first that arrives.
    told: Vec<Told>,
    /// What its customer owes, once that is settled.
    owed_msat: Option<u64>,
    /// The VM died with it, or with its posting.
    orphaned: bool,
    /// Its gate had been told that its token is revoked, at some time of its life.
    revoked: bool,
    /// The ledger was told of the charge after the hold had expired.
    too_late: bool,
}

/// The auditor.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    pub(crate) books: Books,
    requests: Vec<Seen>,
    /// Which request a hold is for; the tenants' are for none.
    holds: BTreeMap<String, usize>,
    /// Charged holds: by account and key, and when the key was new.
    charged_keys: BTreeMap<(String, String), Vec<(String, u64)>>,
    /// What each gate was told of revoked tokens at last.
    revoked: BTreeMap<usize, BTreeSet<String>>,
    /// Payments that were reported to the ledger, or proven to it.
    told: BTreeSet<String>,
    /// Accounts that something happened to since the last comparison.
    touched: BTreeSet<String>,
}

impl Auditor {
    /// A request begins; its number is the next one.
    pub(crate) fn begins(&mut self, asked: Asked, began_ms: u64) {
        let told = self.revoked.get(&asked.gate);
        self.requests.push(Seen {
            revoked: told.is_some_and(|tokens| asked.names_one_of(tokens)),
            asked,
            began_ms,
            hold: None,
            told: Vec::new(),
            owed_msat: None,
            orphaned: false,
            too_late: false,
        });
    }

    /// A gate hears what a keyring says.
    pub(crate) fn heard(&mut self, gate: usize, keyring: &Value) {
        let tokens = calls::named(keyring);
        for seen in self.requests.iter_mut().filter(|seen| seen.owed_msat.is_none()) {
            seen.revoked |= seen.asked.gate == gate && seen.asked.names_one_of(&tokens);
        }
        self.revoked.insert(gate, tokens);
    }

    /// The gate sends a call for this request.
    pub(crate) fn sent(&mut self, request: usize, call: &SentCall) -> Verdict {
        let seen = &mut self.requests[request];
        if let Some((id, _)) = hold_path(call) {
            self.holds.insert(id.clone(), request);
            seen.hold = Some(id);
        }
        let route = seen.asked.route;
        let asked = call.json();
        if call.header(":path") == "/v1/challenges" {
            let chosen = route.chosen.filter(|_| seen.asked.chooses).unwrap_or(route.sale);
            let topped_up = asked["top_up"].is_string();
            let seed_msat = if topped_up { 0 } else { chosen.seed_msat };
            agree("price of an invoice", number(&asked, "amount_msat"), chosen.amount_msat)?;
            agree("credit of an invoice", number(&asked, "credit_msat"), chosen.credit_msat)?;
            agree("seed of an invoice", asked["seed_msat"].as_u64().unwrap_or(0), seed_msat)?;
            let buys = asked["buys"].as_str().unwrap_or("credit");
            let session = matches!(route.mode, Mode::Session(_));
            agree("what an invoice buys", buys, if session { "session" } else { "credit" })?;
            let ttl_ms = asked["credit_ttl_s"].as_u64().map(|seconds| seconds * 1_000);
            return agree("life of credit", ttl_ms, chosen.ttl_ms);
        }
        Ok(())
    }

    /// The node was paid; `told` if the ledger heard of it.
    pub(crate) fn paid(&mut self, payment_hash: &str, told: bool, now_ms: u64) -> Verdict {
        self.books.paid.insert(payment_hash.to_owned());
        if told {
            self.told.insert(payment_hash.to_owned());
            self.books.credit(payment_hash, now_ms)?;
            self.touch(payment_hash);
        }
        Ok(())
    }

    fn touch(&mut self, payment_hash: &str) {
        self.touched.extend(self.books.account_of(payment_hash));
    }
}

fn agree<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: expected {expected:?}, but found {found:?}"))
}

/// The hold that a call is about, and what follows it in the path.
fn hold_path(call: &SentCall) -> Option<(String, String)> {
    let rest = call.header(":path").strip_prefix("/v1/holds/")?;
    let (id, more) = rest.split_once('/').unwrap_or((rest, ""));
    Some((id.to_owned(), more.to_owned()))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(u64::MAX)
}
