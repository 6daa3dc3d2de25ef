//! Holds, their extensions, and the keys they came with.

use serde_json::{Value, json};

use super::{Answer, Books};
use crate::shop::DAY_MS;

/// What a call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldAsk {
    pub(crate) payment_hash: String,
    pub(crate) min_msat: u64,
    pub(crate) amount_msat: u64,
    pub(crate) ttl_ms: u64,
    pub(crate) route: String,
    pub(crate) key: Option<String>,
}

/// A hold that was granted.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) account: String,
    pub(crate) ask: HoldAsk,
    pub(crate) granted_msat: u64,
    /// The grant, extensions, and what over-runs took beyond.
    pub(crate) amount_msat: u64,
    pub(crate) posted_msat: u64,
    pub(crate) ends_ms: u64,
    pub(crate) released: bool,
    pub(crate) extended: Option<(Extension, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) seq: u64,
    pub(crate) add_msat: u64,
    pub(crate) ttl_ms: u64,
}

/// The last request that came with a key.
#[derive(Clone, Debug)]
pub(crate) struct KeyRecord {
    pub(crate) fields: String,
    pub(crate) hold: String,
    pub(crate) ends_ms: u64,
    pub(crate) stored: Value,
}

impl Hold {
    pub(crate) fn is_live(&self, now_ms: u64) -> bool {
        !self.released && now_ms < self.ends_ms
    }
}

impl Books {
    /// A hold on a payment that is proven.
    pub(crate) fn hold(
        &mut self,
        now_ms: u64,
        id: &str,
        ask: HoldAsk,
        fields: &str,
    ) -> Result<Answer, String> {
        let account = self.account_of(&ask.payment_hash).ok_or("a hold on nothing")?;
        self.pass_time(&account, now_ms);
        if let Some(hold) = self.holds.get(id) {
            return Ok(if hold.ask != ask {
                problem(409, "hold_conflict")
            } else if hold.is_live(now_ms) {
                let left = self.available_msat(&account, now_ms);
                granted(&account, hold.granted_msat, left)
            } else {
                problem(409, "hold_ended")
            });
        }
        self.credit(&ask.payment_hash, now_ms)?;
        if self.accounts[&account].revoked {
            return Ok(refused("account_revoked", 0));
        }
        let available = self.available_msat(&account, now_ms);
        if let Some(key) = &ask.key
            && let Some(answer) = self.known_key(&account, key, fields, now_ms)
        {
            return Ok(answer);
        }
        if available < ask.min_msat {
            return Ok(refused("insufficient_credit", available));
        }
        let granted_msat = available.min(ask.amount_msat);
        if let Some(key) = &ask.key {
            let (fields, hold) = (fields.to_owned(), id.to_owned());
            let record = KeyRecord { fields, hold, ends_ms: now_ms + DAY_MS, stored: Value::Null };
            self.keys.insert((account.clone(), key.clone()), record);
        }
        let hold = Hold {
            account: account.clone(),
            granted_msat,
            amount_msat: granted_msat,
            posted_msat: 0,
            ends_ms: now_ms + ask.ttl_ms,
            released: false,
            extended: None,
            ask,
        };
        self.holds.insert(id.to_owned(), hold);
        Ok(granted(&account, granted_msat, available - granted_msat))
    }

    /// What a key of an earlier request says; `None` if the request may be charged.
    fn known_key(&self, account: &str, key: &str, fields: &str, now_ms: u64) -> Option<Answer> {
        let record = self.keys.get(&(account.to_owned(), key.to_owned()))?;
        let hold = &self.holds[&record.hold];
        let (live, charged) = (hold.is_live(now_ms), hold.posted_msat > 0);
        if now_ms >= record.ends_ms || (!live && !charged) {
            return None;
        }
        let available = self.available_msat(account, now_ms);
        if record.fields != fields {
            return Some(refused("idempotency_mismatch", available));
        }
        if live {
            return Some(refused("idempotency_in_flight", available));
        }
        let (status, mut body) = granted(account, 0, available);
        body["already_charged"] = json!(true);
        if !record.stored.is_null() {
            body["replay"] = record.stored.clone();
        }
        Some((status, body))
    }

    pub(crate) fn extend(&mut self, now_ms: u64, id: &str, asked: Extension) -> Answer {
        let Some(account) = self.holds.get(id).map(|hold| hold.account.clone()) else {
            return problem(404, "hold_unknown");
        };
        self.pass_time(&account, now_ms);
        let available = self.available_msat(&account, now_ms);
        let hold = self.holds.get_mut(id).expect("looked up before");
        match hold.extended {
            Some((before, total_msat)) if before == asked => {
                return granted(&account, total_msat, available);
            }
            Some((before, _)) if asked.seq <= before.seq => return problem(409, "hold_conflict"),
            _ if !hold.is_live(now_ms) => return problem(409, "hold_ended"),
            _ => {}
        }
        if self.accounts[&account].revoked {
            return refused("account_revoked", 0);
        }
        if available < asked.add_msat {
            return refused("insufficient_credit", available);
        }
        hold.amount_msat += asked.add_msat;
        hold.ends_ms = hold.ends_ms.max(now_ms + asked.ttl_ms);
        hold.extended = Some((asked, hold.amount_msat));
        granted(&account, hold.amount_msat, available - asked.add_msat)
    }
}

fn granted(account: &str, granted_msat: u64, balance_msat: u64) -> Answer {
    let body = json!({"outcome": "granted", "account": account, "granted_msat": granted_msat,
        "balance_msat": balance_msat});
    (200, body)
}

fn refused(refusal: &str, balance_msat: u64) -> Answer {
    (200, json!({"outcome": "refused", "refusal": refusal, "balance_msat": balance_msat}))
}

pub(super) fn problem(status: u16, code: &str) -> Answer {
    (status, json!(code))
}
