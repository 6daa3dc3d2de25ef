//! Postings: what is charged, and from where.

use serde_json::Value;

use super::Books;

/// A row as it was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PostingAsk {
    pub(crate) amount_msat: u64,
    pub(crate) route: String,
    pub(crate) release: bool,
    pub(crate) overrun: Value,
}

/// A row that was counted.
#[derive(Clone, Debug)]
pub(crate) struct Posting {
    pub(crate) ask: PostingAsk,
    /// From the balance, now.
    pub(crate) taken_msat: u64,
    /// From credit to come.
    pub(crate) owed_msat: u64,
}

impl Books {
    /// The outcome of a row, and what it charged.
    pub(crate) fn post(
        &mut self,
        now_ms: u64,
        (id, seq): (&str, u64),
        ask: PostingAsk,
        store: &Value,
    ) -> (&'static str, u64) {
        if let Some(before) = self.postings.get(&(id.to_owned(), seq)) {
            return if before.ask == ask {
                ("posted", before.taken_msat + before.owed_msat)
            } else {
                ("conflict", 0)
            };
        }
        let Some(hold) = self.holds.get(id) else { return ("hold_unknown", 0) };
        if hold.released {
            return ("hold_released", 0);
        }
        if !hold.is_live(now_ms) {
            return ("hold_expired", 0);
        }
        let name = hold.account.clone();
        let free_msat = self.available_msat(&name, now_ms);
        let account = self.accounts.get_mut(&name).expect("a hold has an account");
        let hold = self.holds.get_mut(id).expect("looked up before");
        let held_msat = ask.amount_msat.min(hold.rest_msat());
        let over_msat = ask.amount_msat - held_msat;
        let debt_limit_msat = ask.overrun["debt"]["limit_msat"].as_u64();
        let beyond_msat = match (&ask.overrun, debt_limit_msat) {
            (Value::Null, _) => 0,
            _ => over_msat.min(free_msat),
        };
        let room_msat = debt_limit_msat.unwrap_or(0).saturating_sub(account.debt_msat);
        let owed_msat = (over_msat - beyond_msat).min(room_msat);
        let taken_msat = held_msat + beyond_msat;
        account.take(taken_msat);
        account.charged_msat += taken_msat;
        account.debt_msat += owed_msat;
        hold.amount_msat += beyond_msat;
        hold.posted_msat += taken_msat;
        hold.released = ask.release;
        if let Some(key) = &hold.ask.key
            && taken_msat > 0
            && !store.is_null()
            && let Some(record) = self.keys.get_mut(&(name, key.clone()))
            && record.hold == id
        {
            record.stored = store.clone();
        }
        self.postings.insert((id.to_owned(), seq), Posting { ask, taken_msat, owed_msat });
        ("posted", taken_msat + owed_msat)
    }
}
