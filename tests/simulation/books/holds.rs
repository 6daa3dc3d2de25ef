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

/// What another hold is to give, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakeBack {
    pub(crate) hold: String,
    pub(crate) amount_msat: u64,
}

/// A hold that was granted.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) account: String,
    pub(crate) ask: HoldAsk,
    pub(crate) granted_msat: u64,
    /// The grant, extensions, and what over-runs took beyond.
    pub(crate) amount_msat: u64,
    /// What others took back.
    pub(crate) given_msat: u64,
    pub(crate) posted_msat: u64,
    pub(crate) ends_ms: u64,
    pub(crate) released: bool,
    pub(crate) extended: Option<(Extension, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extension {
    pub(crate) seq: u64,
    pub(crate) min_msat: u64,
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

    /// What is left to post.
    pub(crate) fn rest_msat(&self) -> u64 {
        self.amount_msat - self.given_msat - self.posted_msat
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
        take_back: Option<&TakeBack>,
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
        if self.is_token_revoked(&ask.payment_hash) {
            return Ok(refused("account_revoked", 0));
        }
        let available = self.available_msat(&account, now_ms);
        if let Some(key) = &ask.key
            && let Some(answer) = self.known_key(&account, key, fields, now_ms)
        {
            return Ok(answer);
        }
        let Some(free) = self.take_back(now_ms, &account, take_back, ask.min_msat) else {
            return Ok(refused("insufficient_credit", available));
        };
        let granted_msat = free.min(ask.amount_msat);
        if let Some(key) = &ask.key {
            let (fields, hold) = (fields.to_owned(), id.to_owned());
            let record = KeyRecord { fields, hold, ends_ms: now_ms + DAY_MS, stored: Value::Null };
            self.keys.insert((account.clone(), key.clone()), record);
        }
        let hold = Hold {
            account: account.clone(),
            granted_msat,
            amount_msat: granted_msat,
            given_msat: 0,
            posted_msat: 0,
            ends_ms: now_ms + ask.ttl_ms,
            released: false,
            extended: None,
            ask,
        };
        self.holds.insert(id.to_owned(), hold);
        Ok(granted(&account, granted_msat, free - granted_msat))
    }

    /// Moves credit out of a live hold of the account. Returns what is free then; nothing has
    /// moved where that is less than the least.
    fn take_back(
        &mut self,
        now_ms: u64,
        account: &str,
        asked: Option<&TakeBack>,
        min_msat: u64,
    ) -> Option<u64> {
        let before = self.accounts.get(account)?.clone();
        if let Some(asked) = asked
            && let Some(giver) = self.holds.get_mut(&asked.hold)
            && giver.account == account
            && giver.is_live(now_ms)
        {
            let part_msat = asked.amount_msat.min(giver.rest_msat());
            giver.given_msat += part_msat;
            self.pass_time(account, now_ms);
            if self.available_msat(account, now_ms) < min_msat {
                let giver = self.holds.get_mut(&asked.hold)?;
                giver.given_msat -= part_msat;
                self.accounts.insert(account.to_owned(), before);
            }
        }
        let free = self.available_msat(account, now_ms);
        (free >= min_msat).then_some(free)
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
        let revoked = self.is_token_revoked(&self.holds[id].ask.payment_hash);
        let hold = self.holds.get_mut(id).expect("looked up before");
        match hold.extended {
            Some((before, total_msat)) if before == asked => {
                return granted(&account, total_msat, available);
            }
            Some((before, _)) if asked.seq <= before.seq => return problem(409, "hold_conflict"),
            _ if !hold.is_live(now_ms) => return problem(409, "hold_ended"),
            _ => {}
        }
        if revoked {
            return refused("account_revoked", 0);
        }
        if available < asked.min_msat {
            return refused("insufficient_credit", available);
        }
        let added_msat = available.min(asked.add_msat);
        hold.amount_msat += added_msat;
        hold.ends_ms = hold.ends_ms.max(now_ms + asked.ttl_ms);
        let total_msat = hold.amount_msat - hold.given_msat;
        hold.extended = Some((asked, total_msat));
        granted(&account, total_msat, available - added_msat)
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
