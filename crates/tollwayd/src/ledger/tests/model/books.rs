//! The model: what every question must be answered.

use std::collections::BTreeMap;

use tollway_core::wire::AllowanceReply;

use super::super::*;
use super::{HoldStep, stored};

const DAY_MS: u64 = 86_400_000;

/// What a row of a posting asks: amount, release, over-run.
type Row = (u64, bool, Option<u64>);

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) now_ms: u64,
    invoices: BTreeMap<u8, ModelInvoice>,
    /// By the tag that opened it, from its first credit on.
    accounts: BTreeMap<u8, ModelAccount>,
    holds: BTreeMap<u128, ModelHold>,
    postings: BTreeMap<(u128, u32), (Row, u64)>,
    /// By account and key.
    keys: BTreeMap<(u8, u8), ModelKey>,
    /// By client: used, end.
    windows: BTreeMap<u8, (u64, u64)>,
    acts: BTreeMap<u8, AdminAct>,
}

#[derive(Clone, Debug)]
struct ModelInvoice {
    account: u8,
    /// It buys time.
    session: bool,
    amount: u64,
    credit: u64,
    seed: u64,
    ttl_ms: Option<u64>,
    settled: bool,
    revoked: bool,
}

#[derive(Clone, Debug, Default)]
struct ModelAccount {
    /// What is left, and when it ends.
    lots: Vec<(u64, u64)>,
    debt: u64,
    charged: u64,
    refunded: u64,
    revoked: bool,
}

#[derive(Clone, Debug)]
struct ModelKey {
    fields: u8,
    hold: u128,
    ends_ms: u64,
    /// The posting whose response is given again.
    response: Option<u32>,
}

#[derive(Clone, Debug)]
struct ModelHold {
    step: HoldStep,
    account: u8,
    granted: u64,
    /// With what was added, and without what others took back.
    amount: u64,
    posted: u64,
    ends_ms: u64,
    released: bool,
    /// The last one, and what the hold had in all after it.
    extension: Option<(ModelExtension, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModelExtension {
    pub(super) seq: u32,
    pub(super) min: u64,
    pub(super) add: u64,
    pub(super) ttl_ms: u64,
}

impl ModelAccount {
    fn balance(&self) -> u64 {
        self.lots.iter().map(|lot| lot.0).sum()
    }

    fn take(&mut self, mut amount: u64) {
        self.lots.sort_by_key(|lot| lot.1);
        for lot in &mut self.lots {
            let part = amount.min(lot.0);
            lot.0 -= part;
            amount -= part;
        }
        assert_eq!(amount, 0, "the model spends more than there is");
    }
}

impl Model {
    pub(super) fn at(now_ms: u64) -> Self {
        Self { now_ms, ..Self::default() }
    }

    pub(super) fn names(&self) -> Vec<u8> {
        self.invoices.iter().filter(|(tag, it)| **tag == it.account).map(|(tag, _)| *tag).collect()
    }

    pub(super) fn is_revoked(&self, account: u8) -> bool {
        self.accounts.get(&account).is_some_and(|it| it.revoked)
    }

    /// Whether a token is revoked, by itself or with its account.
    fn is_token_revoked(&self, tag: u8) -> bool {
        let of = |it: &ModelInvoice| it.revoked || self.is_revoked(it.account);
        self.invoices.get(&tag).is_some_and(of)
    }

    pub(super) fn is_hold_revoked(&self, id: u128) -> bool {
        self.holds.get(&id).is_some_and(|hold| self.is_token_revoked(hold.step.tag))
    }

    /// Every revoked token, and those of revoked accounts: one that only tops up is none of theirs
    /// before it is paid.
    pub(super) fn revoked_tokens(&self) -> Vec<u8> {
        let of_account = |tag: u8, it: &ModelInvoice| {
            (tag == it.account || it.settled) && self.is_revoked(it.account)
        };
        let named = self.invoices.iter().filter(|(tag, it)| it.revoked || of_account(**tag, it));
        named.map(|(tag, _)| *tag).collect()
    }

    pub(super) fn open_holds(&self) -> usize {
        self.holds.values().filter(|hold| self.live(hold)).count()
    }

    /// Balance, held, expiring, debt, charged, refunded.
    pub(super) fn sums(&mut self, account: u8) -> [u64; 6] {
        self.pass_time(account);
        let held = self.held(account);
        let it = self.accounts.get(&account).cloned().unwrap_or_default();
        let expiring = it.lots.iter().filter(|lot| lot.1 < u64::MAX).map(|lot| lot.0).sum();
        [it.balance(), held, expiring, it.debt, it.charged, it.refunded]
    }

    fn live(&self, hold: &ModelHold) -> bool {
        !hold.released && self.now_ms < hold.ends_ms
    }

    fn held(&self, account: u8) -> u64 {
        let of_account = |hold: &&ModelHold| hold.account == account;
        let live = self.holds.values().filter(of_account).filter(|hold| self.live(hold));
        live.map(|hold| hold.amount - hold.posted).sum()
    }

    fn available(&self, account: u8) -> u64 {
        self.accounts.get(&account).map_or(0, ModelAccount::balance) - self.held(account)
    }

    /// Ends what is over, but for what live holds were promised.
    fn pass_time(&mut self, account: u8) {
        let (mut promised, now_ms) = (self.held(account), self.now_ms);
        let Some(account) = self.accounts.get_mut(&account) else { return };
        account.lots.sort_by_key(|lot| lot.1);
        for lot in account.lots.iter_mut().filter(|lot| lot.1 <= now_ms) {
            lot.0 = lot.0.min(promised);
            promised -= lot.0;
        }
    }

    fn credit(&mut self, name: u8, amount: u64, ends_ms: u64) {
        self.accounts.entry(name).or_default().lots.push((amount, ends_ms));
        let available = self.available(name);
        let account = self.accounts.get_mut(&name).unwrap();
        let repaid = account.debt.min(available);
        account.debt -= repaid;
        account.charged += repaid;
        account.take(repaid);
    }

    pub(super) fn invoice(
        &mut self,
        tag: u8,
        (amount, credit, seed): (u64, u64, u64),
        ttl_ms: Option<u64>,
        top_up: Option<u8>,
    ) -> InvoiceOutcome {
        if self.invoices.contains_key(&tag) {
            return InvoiceOutcome::HashTaken;
        }
        let account = match top_up {
            None => tag,
            Some(into) => match self.invoices.get(&into) {
                Some(known) if !known.session && !self.is_token_revoked(into) => known.account,
                _ => return InvoiceOutcome::TopUpUnknown,
            },
        };
        let (session, settled, revoked) = (false, false, false);
        let made =
            ModelInvoice { account, session, amount, credit, seed, ttl_ms, settled, revoked };
        self.invoices.insert(tag, made);
        InvoiceOutcome::Stored
    }

    pub(super) fn session(&mut self, tag: u8, amount: u64) -> InvoiceOutcome {
        let outcome = self.invoice(tag, (amount, 0, 0), None, None);
        if outcome == InvoiceOutcome::Stored {
            self.invoices.get_mut(&tag).unwrap().session = true;
        }
        outcome
    }

    pub(super) fn settle(&mut self, tag: u8, received: Option<u64>) -> SettleOutcome {
        let Some(invoice) = self.invoices.get_mut(&tag) else { return SettleOutcome::Unknown };
        if invoice.settled {
            return SettleOutcome::AlreadyCredited;
        }
        invoice.settled = true;
        let invoice = invoice.clone();
        if invoice.session {
            let account = self.accounts.entry(invoice.account).or_default();
            account.charged += invoice.amount.max(received.unwrap_or(0));
            return SettleOutcome::Credited;
        }
        self.pass_time(invoice.account);
        let first = !self.accounts.contains_key(&invoice.account);
        let seed = if first { invoice.seed } else { 0 };
        let paid = invoice.amount.max(received.unwrap_or(0)).max(invoice.credit);
        let ends_ms = invoice.ttl_ms.map_or(u64::MAX, |ttl_ms| self.now_ms + ttl_ms);
        self.credit(invoice.account, paid + seed, ends_ms);
        SettleOutcome::Credited
    }

    pub(super) fn hold(&mut self, step: &HoldStep) -> HoldOutcome {
        let Some(account) = self.invoices.get(&step.tag).map(|invoice| invoice.account) else {
            return refused(HoldRefusal::UnknownPayment, 0);
        };
        if !step.proven {
            return refused(HoldRefusal::PaymentNotProven, 0);
        }
        self.pass_time(account);
        if let Some(hold) = self.holds.get(&step.id) {
            let key = |step: &HoldStep| step.key.map(|(key, _)| key);
            let same = |one: &HoldStep, other: &HoldStep| {
                (one.tag, one.min, one.amount, one.ttl_ms, key(one))
                    == (other.tag, other.min, other.amount, other.ttl_ms, key(other))
            };
            return if !same(&hold.step, step) {
                HoldOutcome::Conflict
            } else if self.live(hold) {
                granted(hash(account), hold.granted, self.available(account))
            } else {
                HoldOutcome::Ended
            };
        }
        self.settle(step.tag, None);
        if self.is_token_revoked(step.tag) {
            return refused(HoldRefusal::AccountRevoked, 0);
        }
        let available = self.available(account);
        if let Some(answer) = step.key.and_then(|key| self.known_key(account, key)) {
            return answer;
        }
        let given = self.given(account, step.back);
        let free = self.available_after(account, given);
        if free < step.min {
            return refused(HoldRefusal::InsufficientCredit, available);
        }
        if let Some((giver, _)) = step.back.filter(|_| given > 0) {
            self.holds.get_mut(&giver).unwrap().amount -= given;
            self.pass_time(account);
        }
        let amount = free.min(step.amount);
        if let Some((key, fields)) = step.key {
            let ends_ms = self.now_ms + DAY_MS;
            let record = ModelKey { fields, hold: step.id, ends_ms, response: None };
            self.keys.insert((account, key), record);
        }
        let hold = ModelHold {
            account,
            granted: amount,
            amount,
            posted: 0,
            ends_ms: self.now_ms + step.ttl_ms,
            released: false,
            extension: None,
            step: step.clone(),
        };
        self.holds.insert(step.id, hold);
        granted(hash(account), amount, free - amount)
    }

    /// This hold or, where there is none, the first live one of the same account.
    pub(super) fn giver(&self, tag: u8, id: u128) -> u128 {
        let account = self.invoices.get(&tag).map(|invoice| invoice.account);
        let near = self.holds.iter().find(|(_, it)| Some(it.account) == account && self.live(it));
        near.filter(|_| !self.holds.contains_key(&id)).map_or(id, |(near, _)| *near)
    }

    /// What a live hold of this account gives up.
    fn given(&self, account: u8, back: Option<(u128, u64)>) -> u64 {
        let Some((giver, most)) = back else { return 0 };
        let giver = self.holds.get(&giver).filter(|it| it.account == account && self.live(it));
        giver.map_or(0, |hold| most.min(hold.amount - hold.posted))
    }

    /// What is free once so much is no longer held: what is over, and held no more, ends.
    fn available_after(&self, account: u8, given: u64) -> u64 {
        let Some(it) = self.accounts.get(&account) else { return 0 };
        let held = self.held(account) - given;
        let over = it.lots.iter().filter(|lot| lot.1 <= self.now_ms).map(|lot| lot.0);
        it.balance() - held - over.sum::<u64>().saturating_sub(held)
    }

    fn known_key(&self, account: u8, (key, asked): (u8, u8)) -> Option<HoldOutcome> {
        let record = self.keys.get(&(account, key))?;
        let hold = &self.holds[&record.hold];
        if self.now_ms >= record.ends_ms || (!self.live(hold) && hold.posted == 0) {
            return None;
        }
        let available = self.available(account);
        if record.fields != asked {
            return Some(refused(HoldRefusal::IdempotencyMismatch, available));
        }
        if self.live(hold) {
            return Some(refused(HoldRefusal::IdempotencyInFlight, available));
        }
        Some(HoldOutcome::Answered(HoldReply::Granted {
            account: hash(account),
            granted_msat: Msat::ZERO,
            balance_msat: msat(available),
            tier: Tier::NONE,
            already_charged: true,
            replay: record.response.map(|seq| stored(record.hold, seq)),
        }))
    }

    pub(super) fn extend(&mut self, id: u128, asked: ModelExtension) -> ExtendOutcome {
        let Some(account) = self.holds.get(&id).map(|hold| hold.account) else {
            return ExtendOutcome::Unknown;
        };
        self.pass_time(account);
        let available = self.available(account);
        let answered = |outcome: HoldOutcome| match outcome {
            HoldOutcome::Answered(reply) => ExtendOutcome::Answered(reply),
            other => panic!("no answer to an extension: {other:?}"),
        };
        let (now_ms, live) = (self.now_ms, self.live(&self.holds[&id]));
        let revoked = self.is_hold_revoked(id);
        let hold = self.holds.get_mut(&id).unwrap();
        match hold.extension {
            Some((before, total)) if before == asked => {
                return answered(granted(hash(account), total, available));
            }
            Some((before, _)) if asked.seq <= before.seq => return ExtendOutcome::Conflict,
            _ if !live => return ExtendOutcome::Ended,
            _ if revoked => return answered(refused(HoldRefusal::AccountRevoked, 0)),
            _ if available < asked.min => {
                return answered(refused(HoldRefusal::InsufficientCredit, available));
            }
            _ => {}
        }
        let added = available.min(asked.add);
        hold.amount += added;
        hold.ends_ms = hold.ends_ms.max(now_ms + asked.ttl_ms);
        hold.extension = Some((asked, hold.amount));
        answered(granted(hash(account), hold.amount, available - added))
    }

    pub(super) fn post(
        &mut self,
        (id, seq): (u128, u32),
        row: Row,
        store: bool,
    ) -> (PostingOutcome, u64) {
        let Some(hold) = self.holds.get(&id).cloned() else {
            return (PostingOutcome::HoldUnknown, 0);
        };
        self.pass_time(hold.account);
        if let Some((before, charged)) = self.postings.get(&(id, seq)) {
            return match *before == row {
                true => (PostingOutcome::Posted, *charged),
                false => (PostingOutcome::Conflict, 0),
            };
        }
        if hold.released {
            return (PostingOutcome::HoldReleased, 0);
        }
        if !self.live(&hold) {
            return (PostingOutcome::HoldExpired, 0);
        }
        let (amount, release, overrun) = row;
        let available = self.available(hold.account);
        let account = self.accounts.get_mut(&hold.account).unwrap();
        let held = amount.min(hold.amount - hold.posted);
        let beyond = if overrun.is_some() { (amount - held).min(available) } else { 0 };
        let room = overrun.unwrap_or(0).saturating_sub(account.debt);
        let owed = (amount - held - beyond).min(room);
        account.take(held + beyond);
        account.charged += held + beyond;
        account.debt += owed;
        let entry = self.holds.get_mut(&id).unwrap();
        entry.amount += beyond;
        entry.posted += held + beyond;
        entry.released = release;
        if let Some((key, _)) = hold.step.key
            && let Some(record) = self.keys.get_mut(&(hold.account, key))
            && (record.hold, store, held + beyond > 0) == (id, true, true)
        {
            record.response = Some(seq);
        }
        self.postings.insert((id, seq), (row, held + beyond + owed));
        (PostingOutcome::Posted, held + beyond + owed)
    }

    pub(super) fn free(&mut self, client: u8, day: bool, limit: u64, cost: u64) -> AllowanceReply {
        let known = self.windows.get(&client).copied();
        let (used, ends_ms) = known.filter(|window| self.now_ms < window.1).unwrap_or_else(|| {
            let day_ends_ms = self.now_ms - self.now_ms % DAY_MS + DAY_MS;
            (0, if day { day_ends_ms } else { self.now_ms + 1_000 })
        });
        let resets_at = ends_ms.div_ceil(1_000);
        if used + cost > limit {
            return AllowanceReply::Exhausted { resets_at };
        }
        self.windows.insert(client, (used + cost, ends_ms));
        AllowanceReply::Granted { remaining: limit - used - cost, resets_at }
    }

    pub(super) fn act(
        &mut self,
        id: u8,
        act: AdminAct,
        (kind, tag, amount): (u8, u8, u64),
    ) -> AdminOutcome {
        if let Some(before) = self.acts.get(&id) {
            return if *before == act { AdminOutcome::Done } else { AdminOutcome::Conflict };
        }
        if kind == 6 {
            let outcome = match self.settle(tag, Some(amount)) {
                SettleOutcome::Credited => AdminOutcome::Done,
                SettleOutcome::AlreadyCredited => AdminOutcome::AlreadyCredited,
                SettleOutcome::Unknown => AdminOutcome::Unknown,
                SettleOutcome::BalanceLimit => AdminOutcome::BalanceLimit,
            };
            if outcome == AdminOutcome::Done {
                self.acts.insert(id, act);
            }
            return outcome;
        }
        let name = self.invoices.get(&tag).map_or(0, |invoice| invoice.account);
        self.pass_time(name);
        let session = self.invoices.get(&tag).is_some_and(|invoice| invoice.session);
        if session && [2, 4].contains(&kind) {
            // It may run before its payment is known.
            self.accounts.entry(name).or_default();
        }
        let Some(account) = self.accounts.get_mut(&name) else { return AdminOutcome::Unknown };
        match kind {
            0 | 1 if session => return AdminOutcome::HasNoCredit,
            0 if account.refunded + amount > account.charged => {
                return AdminOutcome::ExceedsCharges;
            }
            0 => {
                account.refunded += amount;
                self.credit(name, amount, u64::MAX);
            }
            1 => self.credit(name, amount, u64::MAX),
            2 | 3 => account.revoked = kind == 2,
            kind => self.invoices.get_mut(&tag).unwrap().revoked = kind == 4,
        }
        self.acts.insert(id, act);
        AdminOutcome::Done
    }
}
