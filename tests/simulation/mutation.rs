//! Deliberate faults between the gate and `tollwayd`: each must be caught by the auditor.

use std::path::PathBuf;

use serde_json::{Value, json};
use tollway_testkit::fake_host::SentCall;

use crate::companion::{Companion, Door};

/// One way to break the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// A payment is credited a second time, behind everybody's back.
    CreditsTwice,
    /// A hold that was refused is told as granted.
    GrantsEverything,
    /// A hold is refused though there is credit.
    RefusesCredit,
    /// Charges and releases are swallowed and told as counted.
    DropsPostings,
    /// A refund is turned into a charge.
    ChargesRefunds,
    /// After a crash an older state of the store comes back.
    ForgetsCommits,
}

impl Mutation {
    pub(crate) const ALL: [Self; 6] = [
        Self::CreditsTwice,
        Self::GrantsEverything,
        Self::RefusesCredit,
        Self::DropsPostings,
        Self::ChargesRefunds,
        Self::ForgetsCommits,
    ];

    /// What the auditor may say of it.
    pub(crate) const fn violations(self) -> &'static [&'static str] {
        match self {
            Self::CreditsTwice => &["which nobody paid", "balance of"],
            Self::GrantsEverything => &["were granted", "without its hold"],
            Self::RefusesCredit => &["refused"],
            Self::DropsPostings => &["balance of", "sum of entries", "held"],
            Self::ChargesRefunds => &["owed"],
            Self::ForgetsCommits => {
                &["balance of", "no account", "held", "hold_unknown", "unknown_payment", "404"]
            }
        }
    }

    /// Carries a call as this fault would: possibly changed, dropped, or done twice.
    pub(crate) fn call(self, companion: &Companion, call: &mut SentCall) -> (u16, Value) {
        let is_postings = call.header(":path") == "/v1/postings";
        let is_hold = call.header(":path").starts_with("/v1/holds/");
        match self {
            Self::DropsPostings if is_postings => {
                let told =
                    |row: &Value| json!({"outcome": "posted", "charged_msat": row["amount_msat"]});
                let asked = call.json();
                let rows: Vec<Value> =
                    asked["postings"].as_array().into_iter().flatten().map(told).collect();
                return (200, json!({"outcomes": rows}));
            }
            Self::ChargesRefunds if is_postings => {
                let mut batch = call.json();
                for row in batch["postings"].as_array_mut().into_iter().flatten() {
                    if row["amount_msat"] == 0 {
                        row["amount_msat"] = json!(1);
                    }
                }
                call.body = batch.to_string().into_bytes();
            }
            _ => {}
        }
        let (status, mut reply) = carry(companion, call);
        let granted = reply["outcome"] == "granted";
        match self {
            Self::CreditsTwice if is_hold && granted => credit_again(companion, &call.json()),
            Self::GrantsEverything if is_hold && status == 200 && !granted => {
                let asked = call.json();
                reply = json!({"outcome": "granted", "account": asked["payment_hash"],
                    "granted_msat": asked["amount_msat"], "balance_msat": 0});
            }
            Self::RefusesCredit if is_hold && granted => {
                reply = json!({"outcome": "refused", "refusal": "insufficient_credit",
                    "balance_msat": 0});
            }
            _ => {}
        }
        (status, reply)
    }

    /// Before `tollwayd` comes back: its store may not be what it was.
    pub(crate) fn restart(self, companion: &Companion) {
        if self != Self::ForgetsCommits {
            return;
        }
        let (now, before) = (companion.store(), older(companion));
        if before.exists() {
            std::fs::copy(&before, &now).unwrap();
        } else {
            std::fs::copy(&now, &before).unwrap();
        }
    }
}

/// Carries a call as it is.
pub(crate) fn carry(companion: &Companion, call: &SentCall) -> (u16, Value) {
    let body = (!call.body.is_empty()).then_some(call.body.as_slice());
    companion.call(Door::Gate, call.header(":method"), call.header(":path"), body)
}

fn older(companion: &Companion) -> PathBuf {
    companion.store().with_extension("older")
}

/// A second credit for the same purchase, by an invoice that nobody ordered.
fn credit_again(companion: &Companion, hold: &Value) {
    let order = json!({"route": "joke", "service": "demo", "amount_msat": 20_000,
        "credit_msat": 20_000, "memo": "",
        "top_up": hold["payment_hash"]});
    let order = order.to_string();
    let (_, made) = companion.call(Door::Gate, "POST", "/v1/challenges", Some(order.as_bytes()));
    let pay = json!({"invoice": made["invoice"]}).to_string();
    companion.call(Door::Admin, "POST", "/sim/v1/pay", Some(pay.as_bytes()));
}
