//! What calls ask of the ledger, and whether it answers as the books say.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollway_testkit::fake_host::SentCall;

use super::{Auditor, Told, Verdict, agree, hold_path, number, text};
use crate::books::{Act, Extension, HoldAsk, Invoice, PostingAsk, TakeBack};
use crate::shop::{Mode, ROUTES};

/// A call, who sent it, and what the ledger told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processed<'a> {
    pub(crate) now_ms: u64,
    /// The request it was sent for.
    pub(crate) request: Option<usize>,
    pub(crate) call: &'a SentCall,
    pub(crate) status: u16,
    pub(crate) reply: &'a Value,
}

impl Auditor {
    /// `tollwayd` has done what a call asked, whether or not its reply arrives.
    pub(crate) fn processed(&mut self, it: Processed<'_>) -> Verdict {
        let asked = it.call.json();
        match (it.call.header(":path"), hold_path(it.call)) {
            ("/v1/keyring", _) => self.keyring(&it),
            ("/v1/challenges", _) => self.invoice(&it, &asked),
            ("/v1/allowances", _) => self.allowance(&it),
            ("/v1/postings", _) => self.postings(&it, &asked),
            (_, Some((id, more))) if more.is_empty() => self.hold(&it, &id, &asked),
            (_, Some((id, _))) => self.extension(&it, &id, &asked),
            (path, None) => Err(format!("{path} was answered {}: {}", it.status, it.reply)),
        }
    }

    /// An operator's act was answered.
    pub(crate) fn acted(
        &mut self,
        now_ms: u64,
        id: &str,
        act: &Act,
        (status, reply): (u16, &Value),
    ) -> Verdict {
        self.touch(&act.payment_hash);
        let expected = self.books.act(now_ms, id, act);
        self.answered_as(&format!("{} by an operator", act.kind), (status, reply), &expected)
    }

    /// Fewer tokens are revoked in one life than a keyring names.
    fn keyring(&self, it: &Processed<'_>) -> Verdict {
        agree("status of the keyring", it.status, 200)?;
        agree("revoked tokens", named(it.reply), self.books.revoked_tokens())
    }

    fn invoice(&mut self, it: &Processed<'_>, asked: &Value) -> Verdict {
        if it.status == 404 && it.reply["code"] == "top_up_unknown" {
            let seen = &mut self.requests[it.request.ok_or("a top-up of nobody")?];
            seen.told.push(Told::NoTopUp);
            let top_up = asked["top_up"].as_str().unwrap_or_default();
            let takes_none = self.books.is_token_revoked(top_up) || self.books.is_session(top_up);
            return agree("no top-up", takes_none, true);
        }
        if it.status != 200 {
            return Err(format!("a challenge was answered {}: {}", it.status, it.reply));
        }
        if it.reply["outcome"] == "limited" {
            return Ok(());
        }
        let hash = text(it.reply, "payment_hash");
        let account = match asked["top_up"].as_str() {
            Some(known) => self.books.account_of(known).ok_or("a top-up of nothing")?,
            None => hash.clone(),
        };
        let route = ROUTES.into_iter().find(|route| asked["route"] == route.name);
        let route = route.ok_or("an invoice for no route")?;
        // What the route promises, whatever the call says on its way.
        let amount_msat = number(it.reply, "amount_msat");
        let sales = [Some(route.sale), route.chosen];
        let sale = sales.into_iter().flatten().find(|sale| sale.amount_msat == amount_msat);
        let sale = sale.ok_or(format!("{} is sold for {amount_msat}", route.name))?;
        agree("credit of an invoice", number(it.reply, "credit_msat"), sale.credit_msat)?;
        let invoice = Invoice {
            seed_msat: if account == hash { sale.seed_msat } else { 0 },
            account,
            mode: route.mode,
            amount_msat,
            credit_msat: sale.credit_msat,
            ttl_ms: sale.ttl_ms,
            credited: false,
            revoked: false,
        };
        match self.books.invoices.get(&hash) {
            // A client that asks twice for the same is shown the same invoice.
            Some(known)
                if (&known.account, known.amount_msat, known.mode)
                    == (&invoice.account, amount_msat, route.mode) =>
            {
                Ok(())
            }
            Some(_) => Err(format!("{hash} was used for two invoices")),
            None if asked["top_up"].as_str().is_some_and(|it| self.books.is_token_revoked(it)) => {
                Err(format!("{hash} tops up by a revoked token"))
            }
            None => {
                self.books.invoices.insert(hash, invoice);
                Ok(())
            }
        }
    }

    fn allowance(&mut self, it: &Processed<'_>) -> Verdict {
        let seen = &mut self.requests[it.request.ok_or("a free request of nobody")?];
        let (route, network) = (seen.asked.route, seen.asked.network);
        let free = route.free.ok_or("a free request where nothing is free")?;
        let granted = it.reply["outcome"] == "granted";
        seen.told.push(if granted { Told::Free } else { Told::NotFree });
        let used = self.books.window(route, network, it.now_ms).used;
        if granted && used + free.cost > free.limit {
            return Err(format!("{network} had more than is free: {used} of {}", free.limit));
        }
        let expected = self.books.allowance(route, network, it.now_ms);
        self.answered_as("free request", (it.status, it.reply), &expected)
    }

    fn hold(&mut self, it: &Processed<'_>, id: &str, asked: &Value) -> Verdict {
        let amount_msat = number(asked, "amount_msat");
        let ask = HoldAsk {
            payment_hash: text(asked, "payment_hash"),
            min_msat: asked["min_msat"].as_u64().unwrap_or(amount_msat),
            amount_msat,
            ttl_ms: number(asked, "ttl_ms"),
            route: text(asked, "route"),
            key: asked["idempotency"]["key"].as_str().map(str::to_owned),
        };
        let fields = text(&asked["idempotency"], "fields");
        let giver = &asked["take_back"];
        let take_back = giver.is_object().then(|| TakeBack {
            hold: text(giver, "hold"),
            amount_msat: number(giver, "amount_msat"),
        });
        self.told.insert(ask.payment_hash.clone());
        self.touch(&ask.payment_hash);
        let expected = self.books.hold(it.now_ms, id, ask.clone(), &fields, take_back.as_ref())?;
        if let Some(request) = it.request {
            self.requests[request].told.extend(told(it.reply));
        }
        let granted = it.reply["outcome"] == "granted";
        if granted && expected.1["outcome"] != "granted" {
            let mode = self.books.invoices[&ask.payment_hash].mode;
            let how = if mode == Mode::SingleUse { "again, a token for one use" } else { "all" };
            return Err(format!("{amount_msat} were granted, {how}: {}", expected.1));
        }
        self.answered_as("hold", (it.status, it.reply), &expected)
    }

    fn extension(&mut self, it: &Processed<'_>, id: &str, asked: &Value) -> Verdict {
        let extension = Extension {
            seq: number(asked, "seq"),
            min_msat: asked["min_msat"].as_u64().unwrap_or(number(asked, "add_msat")),
            add_msat: number(asked, "add_msat"),
            ttl_ms: number(asked, "ttl_ms"),
        };
        let account = self.books.holds.get(id).map(|hold| hold.account.clone());
        self.touched.extend(account);
        let expected = self.books.extend(it.now_ms, id, extension);
        self.answered_as("extension", (it.status, it.reply), &expected)
    }

    fn postings(&mut self, it: &Processed<'_>, asked: &Value) -> Verdict {
        agree("status of postings", it.status, 200)?;
        let rows = asked["postings"].as_array().ok_or("postings without rows")?;
        let outcomes = results(it.reply, rows).ok_or("postings without outcomes")?;
        agree("outcomes", outcomes.len(), rows.len())?;
        for row in rows {
            let hold = self.books.holds.get(&text(row, "hold"));
            if let Some(account) = hold.map(|hold| hold.account.clone()) {
                self.books.pass_time(&account, it.now_ms);
                self.touched.insert(account);
            }
        }
        rows.iter().zip(&outcomes).try_for_each(|(row, outcome)| {
            let hold = self.books.holds.get(&text(row, "hold"));
            let revoked =
                hold.is_some_and(|hold| self.books.is_token_revoked(&hold.ask.payment_hash));
            agree("revoked, of a posting", outcome["revoked"] == true, revoked)?;
            let (outcome, charged) = (text(outcome, "outcome"), number(outcome, "charged_msat"));
            self.posting(it.now_ms, row, (&outcome, charged))
        })
    }

    fn posting(&mut self, now_ms: u64, row: &Value, told: (&str, u64)) -> Verdict {
        let (id, seq) = (text(row, "hold"), number(row, "seq"));
        let amount_msat = number(row, "amount_msat");
        if let Some(request) = self.holds.get(&id) {
            let seen = &mut self.requests[*request];
            if seen.owed_msat != Some(amount_msat) {
                return Err(format!("{amount_msat} charged, {:?} owed, hold {id}", seen.owed_msat));
            }
            seen.too_late |= told.0 == "hold_expired";
        }
        let ask = PostingAsk {
            amount_msat,
            route: text(row, "route"),
            release: row["release"] == true,
            overrun: row["overrun"].clone(),
        };
        let first = !self.books.postings.contains_key(&(id.clone(), seq));
        let expected = self.books.post(now_ms, (&id, seq), ask, &row["store"]);
        agree(&format!("posting {seq} of hold {id}"), told, expected)?;
        if first && told.0 == "posted" && told.1 > 0 { self.charged(now_ms, &id) } else { Ok(()) }
    }

    /// A request was charged. No other one was under the same key, while the key was known.
    fn charged(&mut self, now_ms: u64, id: &str) -> Verdict {
        let hold = &self.books.holds[id];
        let began_ms = hold.ends_ms - hold.ask.ttl_ms;
        if let Some(Mode::SingleUse) = self.books.invoices.get(&hold.account).map(|it| it.mode)
            && self.books.accounts[&hold.account].refunded_msat == 0
        {
            let uses = self.books.holds.values().filter(|it| it.account == hold.account);
            let charged = uses.filter(|it| it.posted_msat > 0).count();
            let gifts = self.books.acts.values().filter(|act| act.kind == "grant");
            let account = |act: &&Act| self.books.account_of(&act.payment_hash);
            let granted = gifts.filter(|act| account(act).as_ref() == Some(&hold.account)).count();
            if charged > 1 && granted == 0 {
                return Err(format!("a token for one use was used {charged} times"));
            }
        }
        let Some(key) = &hold.ask.key else { return Ok(()) };
        let charges = self.charged_keys.entry((hold.account.clone(), key.clone())).or_default();
        if charges.iter().any(|(other, until_ms)| other != id && began_ms < *until_ms) {
            return Err(format!("two charges under one key, at {now_ms}"));
        }
        charges.push((id.to_owned(), began_ms + crate::shop::DAY_MS));
        Ok(())
    }

    /// The status and the body, or the code of a problem.
    fn answered_as(
        &self,
        what: &str,
        (status, reply): (u16, &Value),
        expected: &(u16, Value),
    ) -> Verdict {
        let found = if status == 200 { reply } else { &reply["code"] };
        if (status, found) == (expected.0, &expected.1) {
            return Ok(());
        }
        Err(format!("{what}: expected {} {}, but found {status} {found}", expected.0, expected.1))
    }
}

/// The revoked tokens that a keyring names.
pub(super) fn named(keyring: &Value) -> BTreeSet<String> {
    let tokens = keyring["revoked"].as_array().into_iter().flatten();
    tokens.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn told(reply: &Value) -> Option<Told> {
    Some(match reply["outcome"].as_str() {
        Some("granted") if reply["already_charged"] == true => {
            Told::ChargedBefore(reply["replay"].clone())
        }
        Some("granted") => Told::Granted,
        Some(_) => Told::Refused(text(reply, "refusal")),
        None => return None,
    })
}

/// What became of each row, also where one word says it of all.
fn results(reply: &Value, rows: &[Value]) -> Option<Vec<Value>> {
    let posted = |row: &Value| json!({"outcome": "posted", "charged_msat": row["amount_msat"]});
    match reply["posted"].as_u64() {
        Some(count) => (count == rows.len() as u64).then(|| rows.iter().map(posted).collect()),
        None => reply["outcomes"].as_array().cloned(),
    }
}
