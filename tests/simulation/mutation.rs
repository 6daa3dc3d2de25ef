//! Deliberate faults between the gate and `tollwayd`, one at least for each rule: each must be
//! caught by the auditor, who sees what the gates and operators sent.

use std::path::PathBuf;

use serde_json::{Value, json};
use tollway_gate::host::CallReply;
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
    /// What is left under a token for one use is granted again.
    ReusesTokens,
    /// A session opens the gate after its time.
    ProlongsSessions,
    /// A used up free tier goes on.
    GivesEverythingFree,
    /// A request's idempotency key is lost on its way.
    ForgetsKeys,
    /// The response for repeats is lost on its way.
    StoresNothing,
    /// A promised bonus is not credited.
    KeepsTheBonus,
    /// A new account gets no gift.
    KeepsTheSeed,
    /// Credit that should end stays.
    CreditNeverEnds,
    /// Credit that ends last was spent first.
    SpendsNewestFirst,
    /// A top-up opens another account.
    TopsUpAnother,
    /// A hold is extended twice.
    ExtendsTwice,
    /// A hold gets less than it asked for, down to its least, though there is more.
    GrantsTheLeast,
    /// An extension gets no more than its least, though there is more.
    ExtendsByTheLeast,
    /// What a new hold is to take from another one stays there.
    TakesNothingBack,
    /// What a new hold takes from another one is taken twice.
    TakesBackTwice,
    /// What a request cost beyond its hold is the operator's loss, whatever the row says.
    CapsOverRuns,
    /// An operator's refund is paid twice.
    RefundsTwice,
    /// A revoked account goes on spending.
    IgnoresRevocation,
    /// Answers to postings do not say that the operator revoked the account.
    HidesRevokedAccounts,
    /// The keyring names no revoked token.
    HidesRevokedTokens,
    /// A gate was told that a session is revoked, and does not mind.
    OpensRevokedSessions,
    /// A session's payment becomes credit.
    SellsSessionsAsCredit,
    /// Some gates never learn of a rotation.
    HidesNewKeys,
}

impl Mutation {
    pub(crate) const ALL: [Self; 29] = [
        Self::CreditsTwice,
        Self::GrantsEverything,
        Self::RefusesCredit,
        Self::DropsPostings,
        Self::ChargesRefunds,
        Self::ForgetsCommits,
        Self::ReusesTokens,
        Self::ProlongsSessions,
        Self::GivesEverythingFree,
        Self::ForgetsKeys,
        Self::StoresNothing,
        Self::KeepsTheBonus,
        Self::KeepsTheSeed,
        Self::CreditNeverEnds,
        Self::SpendsNewestFirst,
        Self::TopsUpAnother,
        Self::ExtendsTwice,
        Self::GrantsTheLeast,
        Self::ExtendsByTheLeast,
        Self::TakesNothingBack,
        Self::TakesBackTwice,
        Self::CapsOverRuns,
        Self::RefundsTwice,
        Self::IgnoresRevocation,
        Self::HidesRevokedAccounts,
        Self::HidesRevokedTokens,
        Self::OpensRevokedSessions,
        Self::SellsSessionsAsCredit,
        Self::HidesNewKeys,
    ];

    /// What the auditor may say of it.
    pub(crate) const fn violations(self) -> &'static [&'static str] {
        match self {
            Self::CreditsTwice => &["which nobody paid", "_msat of"],
            Self::GrantsEverything | Self::IgnoresRevocation => {
                &["were granted", "without its hold"]
            }
            Self::RefusesCredit => &["but found 200 {\"balance_msat\":0,\"outcome\":\"refused\""],
            // Or a row is told as counted whose hold nobody knows, or has no room for it.
            Self::DropsPostings => &["_msat of", "entries", "posting 0 of"],
            Self::ChargesRefunds | Self::CapsOverRuns => &["posting"],
            Self::ForgetsCommits => &[
                "_msat of",
                "no account",
                "hold_unknown",
                "unknown_payment",
                "404",
                "subject_unknown",
                "free request",
            ],
            Self::ReusesTokens => &["a token for one use"],
            Self::ProlongsSessions => &["a session was served"],
            Self::GivesEverythingFree => &["had more than is free"],
            Self::ForgetsKeys => &["were granted", "under one key", "already_charged"],
            Self::StoresNothing => &["replay"],
            Self::KeepsTheBonus => &["credit of an invoice"],
            Self::KeepsTheSeed => &["_msat of", "balance_msat"],
            Self::CreditNeverEnds | Self::SpendsNewestFirst => &["_msat of", "balance_msat"],
            Self::TopsUpAnother => &["_msat of", "balance_msat", "no account"],
            Self::ExtendsTwice => &["_msat of", "hold", "extension"],
            Self::GrantsTheLeast => &["granted_msat"],
            Self::ExtendsByTheLeast => &["extension: expected 200"],
            Self::TakesNothingBack => &["hold: expected 200", "_msat of"],
            Self::TakesBackTwice => &["_msat of"],
            Self::RefundsTwice => &["_msat of"],
            Self::HidesRevokedAccounts => &["revoked, of a posting"],
            Self::HidesRevokedTokens => &["revoked tokens"],
            Self::OpensRevokedSessions => &["a revoked session was served"],
            Self::SellsSessionsAsCredit => &["earned by a session"],
            Self::HidesNewKeys => &["402 key_unknown"],
        }
    }

    /// Carries a call as this fault would: possibly changed, dropped, or done twice.
    pub(crate) fn call(self, companion: &Companion, call: &SentCall) -> (u16, Value) {
        if self == Self::DropsPostings && call.header(":path") == "/v1/postings" {
            let told =
                |row: &Value| json!({"outcome": "posted", "charged_msat": row["amount_msat"]});
            let asked = call.json();
            let rows: Vec<Value> =
                asked["postings"].as_array().into_iter().flatten().map(told).collect();
            return (200, json!({"outcomes": rows}));
        }
        let mut changed = call.clone();
        if !call.body.is_empty() {
            let mut body = call.json();
            self.change(call.header(":path"), &mut body);
            changed.body = body.to_string().into_bytes();
        }
        let (status, mut reply) = carry(companion, &changed);
        self.change_reply(companion, call, &mut reply);
        (status, reply)
    }

    /// Changes what was answered, or does more than was asked.
    fn change_reply(self, companion: &Companion, call: &SentCall, reply: &mut Value) {
        let granted = reply["outcome"] == "granted";
        let is_extension = call.header(":path").ends_with("/extensions");
        let is_hold = call.header(":path").starts_with("/v1/holds/") && !is_extension;
        match self {
            Self::CreditsTwice if is_hold && granted => credit_again(companion, &call.json()),
            Self::TakesBackTwice if is_hold && granted => take_back_again(companion, call),
            Self::ExtendsTwice if is_extension && granted => {
                let (mut again, mut more) = (call.clone(), call.json());
                more["seq"] = json!(more["seq"].as_u64().unwrap_or_default() + 1_000);
                again.body = more.to_string().into_bytes();
                carry(companion, &again);
            }
            Self::SellsSessionsAsCredit if call.json()["buys"] == "session" => {
                reply["credit_msat"] = json!(0);
            }
            Self::HidesRevokedTokens if reply["revoked"].is_array() => reply["revoked"] = json!([]),
            Self::HidesRevokedAccounts => {
                let rows = reply.get_mut("outcomes").and_then(Value::as_array_mut);
                let rows = rows.into_iter().flatten().filter_map(Value::as_object_mut);
                rows.for_each(|row| drop(row.remove("revoked")));
            }
            Self::RefusesCredit if is_hold && granted => {
                *reply = json!({"outcome": "refused", "refusal": "insufficient_credit",
                    "balance_msat": 0});
            }
            Self::GivesEverythingFree if reply["outcome"] == "exhausted" => {
                reply["outcome"] = json!("granted");
                reply["remaining"] = json!(0);
            }
            Self::HidesNewKeys if reply["current"].is_u64() && call.id.0 % 3 == 1 => {
                reply["current"] = json!(1);
                let keys = reply["keys"].as_array_mut();
                keys.into_iter().for_each(|keys| keys.retain(|key| key["id"] == 1));
            }
            _ if is_hold && self.grants(&call.json(), reply) => {
                let asked = call.json();
                *reply = json!({"outcome": "granted", "account": asked["payment_hash"],
                    "granted_msat": asked["amount_msat"], "balance_msat": 0});
            }
            _ => {}
        }
    }

    /// Changes what a gate hears, after everybody else has heard it.
    pub(crate) fn heard(self, reply: &CallReply) -> CallReply {
        let mut body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if self != Self::OpensRevokedSessions || !body["revoked"].is_array() {
            return reply.clone();
        }
        body["revoked"] = json!([]);
        CallReply { body: body.to_string().into_bytes(), ..reply.clone() }
    }

    /// Whether a refused hold is told as granted.
    fn grants(self, asked: &Value, reply: &Value) -> bool {
        reply["outcome"] == "refused"
            && match self {
                Self::GrantsEverything => true,
                Self::ReusesTokens => asked["route"] == "once",
                Self::IgnoresRevocation => reply["refusal"] == "account_revoked",
                _ => false,
            }
    }

    /// Changes what is asked.
    fn change(self, path: &str, body: &mut Value) {
        let drop = |body: &mut Value, name: &str| {
            body.as_object_mut().and_then(|fields| fields.remove(name));
        };
        match self {
            Self::ForgetsKeys => drop(body, "idempotency"),
            Self::KeepsTheBonus if path == "/v1/challenges" => {
                body["credit_msat"] = body["amount_msat"].clone();
            }
            Self::KeepsTheSeed => drop(body, "seed_msat"),
            Self::CreditNeverEnds => drop(body, "credit_ttl_s"),
            Self::TopsUpAnother => drop(body, "top_up"),
            Self::SellsSessionsAsCredit if body["buys"] == "session" => {
                body["credit_msat"] = body["amount_msat"].clone();
                drop(body, "buys");
            }
            Self::TakesNothingBack => drop(body, "take_back"),
            Self::ExtendsByTheLeast if body["add_msat"].is_u64() && body["min_msat"].is_u64() => {
                body["add_msat"] = body["min_msat"].clone();
            }
            Self::GrantsTheLeast if body["amount_msat"].is_u64() && body["min_msat"].is_u64() => {
                body["amount_msat"] = body["min_msat"].clone();
            }
            _ => {}
        }
        let rows = body.get_mut("postings").and_then(Value::as_array_mut);
        for row in rows.into_iter().flatten() {
            match self {
                Self::ChargesRefunds if row["amount_msat"] == 0 => row["amount_msat"] = json!(1),
                Self::StoresNothing => drop(row, "store"),
                Self::CapsOverRuns => drop(row, "overrun"),
                _ => {}
            }
        }
    }

    /// After an operator's act that was done: perhaps it is done again, under another id.
    pub(crate) fn acted(self, companion: &Companion, path: &str, order: &Value, other_id: &str) {
        if self == Self::RefundsTwice && path.ends_with("/refund") {
            let mut order = order.clone();
            order["id"] = json!(other_id);
            let order = order.to_string();
            companion.call(Door::Admin, "POST", path, Some(order.as_bytes()));
        }
    }

    /// Before the auditor looks at an account.
    pub(crate) fn looked_at(self, companion: &Companion) {
        if self == Self::SpendsNewestFirst {
            swap_lots(companion);
        }
    }

    /// What the gates take for the time when a request comes.
    pub(crate) const fn clock_of_gates(self, now_ms: u64) -> u64 {
        match self {
            Self::ProlongsSessions => now_ms - 60_000,
            _ => now_ms,
        }
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
    let (prefer, method, path) =
        (call.header("prefer"), call.header(":method"), call.header(":path"));
    companion.call_preferring(prefer, Door::Gate, method, path, body)
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

/// Another hold takes the same back, and is gone at once.
fn take_back_again(companion: &Companion, call: &SentCall) {
    let mut order = call.json();
    if order["take_back"].is_null() {
        return;
    }
    let path = call.header(":path").replacen("face", "fade", 1);
    order["amount_msat"] = json!(1);
    order["min_msat"] = json!(1);
    let release = json!({"postings": [{"hold": path.rsplit('/').next(), "seq": 0,
        "amount_msat": 0, "route": order["route"], "release": true}]});
    for (method, path, body) in [("PUT", path.as_str(), order), ("POST", "/v1/postings", release)] {
        companion.call(Door::Gate, method, path, Some(body.to_string().as_bytes()));
    }
}

/// As if one msat of what was spent had come from the lot that ends later.
fn swap_lots(companion: &Companion) {
    let store = rusqlite::Connection::open(companion.store()).unwrap();
    store.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    store
        .execute_batch(
            "CREATE TEMP TABLE pairs AS
               SELECT account, one.n AS first, other.n AS last
               FROM tranches one JOIN tranches other USING (account)
               WHERE one.expires_at_ms < other.expires_at_ms
                 AND one.remaining_msat > 0 AND other.remaining_msat > 0
               GROUP BY account;
             UPDATE tranches SET remaining_msat = remaining_msat + 1
               WHERE (account, n) IN (SELECT account, first FROM pairs);
             UPDATE tranches SET remaining_msat = remaining_msat - 1
               WHERE (account, n) IN (SELECT account, last FROM pairs);",
        )
        .unwrap();
}
