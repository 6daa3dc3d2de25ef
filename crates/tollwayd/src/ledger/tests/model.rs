//! A random life of the ledger against a model that shares no code with it.
//!
//! The model keeps plain numbers in maps and looks at the clock itself. After every step the
//! answers agree, the sums agree, and the audit finds nothing.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tollway_core::wire::TakeBack;

use super::*;

/// How long every extension makes a hold live.
const EXTENSION_MS: u64 = 40;

/// Few names, so that repeats, conflicts and races for credit happen often.
#[derive(Clone, Debug)]
enum Step {
    Invoice { tag: u8, amount: u64, top_up: Option<u8> },
    Session { tag: u8, amount: u64 },
    Settle { tag: u8 },
    Hold { id: u128, tag: u8, amount: u64, ttl_ms: u64, proven: bool, back: (u128, u64) },
    Extend { id: u128, seq: u32, min: u64, add: u64 },
    Post { id: u128, seq: u32, amount: u64, release: bool },
    Wait { ms: u64 },
    Sweep,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let tag = 1..6_u8;
    let id = 1..8_u128;
    prop_oneof![
        3 => (tag.clone(), 1..100_u64, proptest::option::of(tag.clone()))
            .prop_map(|(tag, amount, top_up)| Step::Invoice { tag, amount, top_up }),
        1 => (tag.clone(), 1..100_u64).prop_map(|(tag, amount)| Step::Session { tag, amount }),
        2 => tag.clone().prop_map(|tag| Step::Settle { tag }),
        6 => (id.clone(), tag, 1..40_u64, prop_oneof![Just(50_u64), Just(80)], any::<u8>(),
              (id.clone(), 0..30_u64))
            .prop_map(|(id, tag, amount, ttl_ms, luck, back)| Step::Hold {
                id, tag, amount: amount / 10 * 10 + 1, ttl_ms, proven: luck > 20, back,
            }),
        3 => (id.clone(), 0..4_u32, 0..3_u64, 0..20_u64)
            .prop_map(|(id, seq, min, more)| Step::Extend {
                id, seq, min: min * 5, add: min * 5 + more,
            }),
        6 => (id, 0..3_u32, 0..4_u64, any::<bool>())
            .prop_map(|(id, seq, amount, release)| Step::Post {
                id, seq, amount: amount * 7, release,
            }),
        2 => (1..60_u64).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug, Default)]
struct Model {
    now_ms: u64,
    /// Tag of the invoice -> (account, amount, settled). An account is the tag that opened it.
    invoices: BTreeMap<u8, (u8, u64, bool)>,
    balances: BTreeMap<u8, u64>,
    /// Tags whose payment buys time.
    sessions: BTreeSet<u8>,
    holds: BTreeMap<u128, ModelHold>,
    postings: BTreeMap<(u128, u32), (u64, bool)>,
}

#[derive(Debug)]
struct ModelHold {
    tag: u8,
    amount: u64,
    ttl_ms: u64,
    /// What extensions added, less what others took back.
    more: u64,
    less: u64,
    posted: u64,
    ends_ms: u64,
    released: bool,
    /// Number, least, asked, and what the hold had in all after it.
    extended: Option<(u32, u64, u64, u64)>,
}

impl ModelHold {
    fn rest(&self) -> u64 {
        self.amount + self.more - self.less - self.posted
    }
}

impl Model {
    fn live(&self, hold: &ModelHold) -> bool {
        !hold.released && self.now_ms < hold.ends_ms
    }

    fn held(&self, account: u8) -> u64 {
        let of_account = |hold: &&ModelHold| self.invoices[&hold.tag].0 == account;
        self.holds
            .values()
            .filter(of_account)
            .filter(|hold| self.live(hold))
            .map(ModelHold::rest)
            .sum()
    }

    fn available(&self, account: u8) -> u64 {
        self.balances[&account] - self.held(account)
    }

    fn invoice(&mut self, tag: u8, amount: u64, top_up: Option<u8>) -> InvoiceOutcome {
        if self.invoices.contains_key(&tag) {
            return InvoiceOutcome::HashTaken;
        }
        let account = match top_up {
            None => tag,
            Some(into) => match self.invoices.get(&into) {
                Some((account, _, _)) if !self.sessions.contains(&into) => *account,
                _ => return InvoiceOutcome::TopUpUnknown,
            },
        };
        self.invoices.insert(tag, (account, amount, false));
        self.balances.entry(account).or_default();
        InvoiceOutcome::Stored
    }

    fn settle(&mut self, tag: u8) -> SettleOutcome {
        match self.invoices.get_mut(&tag) {
            None => SettleOutcome::Unknown,
            Some((_, _, true)) => SettleOutcome::AlreadyCredited,
            Some((account, amount, settled)) => {
                *settled = true;
                if !self.sessions.contains(&tag) {
                    *self.balances.get_mut(account).unwrap() += *amount;
                }
                SettleOutcome::Credited
            }
        }
    }

    fn hold(
        &mut self,
        (id, tag, amount, ttl_ms): (u128, u8, u64, u64),
        proven: bool,
        (from, back): (u128, u64),
    ) -> HoldOutcome {
        let Some((account, _, _)) = self.invoices.get(&tag).copied() else {
            return refused(HoldRefusal::UnknownPayment, 0);
        };
        if !proven {
            return refused(HoldRefusal::PaymentNotProven, 0);
        }
        if let Some(hold) = self.holds.get(&id) {
            return if (hold.tag, hold.amount, hold.ttl_ms) != (tag, amount, ttl_ms) {
                HoldOutcome::Conflict
            } else if self.live(hold) {
                granted(hash(account), amount, self.available(account))
            } else {
                HoldOutcome::Ended
            };
        }
        self.settle(tag);
        let gives = self.holds.get(&from).filter(|hold| self.live(hold));
        let gives = gives.filter(|hold| self.invoices[&hold.tag].0 == account);
        let back = gives.map_or(0, |hold| back.min(hold.rest()));
        if self.available(account) + back < amount {
            return refused(HoldRefusal::InsufficientCredit, self.available(account));
        }
        if back > 0 {
            self.holds.get_mut(&from).unwrap().less += back;
        }
        let hold = ModelHold {
            tag,
            amount,
            ttl_ms,
            more: 0,
            less: 0,
            posted: 0,
            ends_ms: self.now_ms + ttl_ms,
            released: false,
            extended: None,
        };
        self.holds.insert(id, hold);
        granted(hash(account), amount, self.available(account))
    }

    fn extend(&mut self, id: u128, seq: u32, (min, add): (u64, u64)) -> ExtendOutcome {
        let Some(hold) = self.holds.get(&id) else { return ExtendOutcome::Unknown };
        let (account, live) = (self.invoices[&hold.tag].0, self.live(hold));
        let free = self.available(account);
        let answer = |outcome| match outcome {
            HoldOutcome::Answered(reply) => ExtendOutcome::Answered(reply),
            _ => panic!("grants and refusals are answers"),
        };
        match hold.extended {
            Some((last, its_min, its_add, total)) if seq <= last => {
                if (seq, min, add) != (last, its_min, its_add) {
                    return ExtendOutcome::Conflict;
                }
                return answer(granted(hash(account), total, free));
            }
            _ if !live => return ExtendOutcome::Ended,
            _ => {}
        }
        let grant = free.min(add);
        if grant < min {
            return answer(refused(HoldRefusal::InsufficientCredit, free));
        }
        let hold = self.holds.get_mut(&id).unwrap();
        hold.more += grant;
        hold.ends_ms = hold.ends_ms.max(self.now_ms + EXTENSION_MS);
        let total = hold.rest() + hold.posted;
        hold.extended = Some((seq, min, add, total));
        answer(granted(hash(account), total, free - grant))
    }

    fn post(&mut self, id: u128, seq: u32, amount: u64, release: bool) -> PostingOutcome {
        if let Some(before) = self.postings.get(&(id, seq)) {
            return if *before == (amount, release) {
                PostingOutcome::Posted
            } else {
                PostingOutcome::Conflict
            };
        }
        let Some(hold) = self.holds.get(&id) else { return PostingOutcome::HoldUnknown };
        if hold.released {
            return PostingOutcome::HoldReleased;
        }
        if !self.live(hold) {
            return PostingOutcome::HoldExpired;
        }
        // More than the hold has is the operator's loss.
        let charged = amount.min(hold.rest());
        self.postings.insert((id, seq), (amount, release));
        let account = self.invoices[&hold.tag].0;
        let hold = self.holds.get_mut(&id).unwrap();
        hold.posted += charged;
        hold.released = release;
        *self.balances.get_mut(&account).unwrap() -= charged;
        PostingOutcome::Posted
    }
}

async fn run(mut bench: Bench, model: &mut Model, step: Step) -> Bench {
    match step {
        Step::Invoice { tag, amount, top_up } => {
            let found = bench.ledger.open_invoice(invoice(tag, amount, top_up.map(hash))).await;
            assert_eq!(found, Ok(model.invoice(tag, amount, top_up)));
        }
        Step::Session { tag, amount } => {
            let invoice = super::sessions::session(tag, amount);
            let found = bench.ledger.open_invoice(invoice).await;
            let expected = model.invoice(tag, amount, None);
            if expected == InvoiceOutcome::Stored {
                model.sessions.insert(tag);
            }
            assert_eq!(found, Ok(expected));
        }
        Step::Settle { tag } => {
            assert_eq!(bench.ledger.settle(Settlement::of(hash(tag))).await, Ok(model.settle(tag)));
        }
        Step::Hold { id, tag, amount, ttl_ms, proven, back } => {
            let take_back = Some(TakeBack { hold: hold_id(back.0), amount_msat: msat(back.1) });
            let order = HoldOrder { ttl_ms, proven, take_back, ..order(id, hash(tag), amount) };
            let expected = model.hold((id, tag, amount, ttl_ms), proven, back);
            assert_eq!(bench.ledger.hold(order).await, Ok(expected));
        }
        Step::Extend { id, seq, min, add } => {
            let (min_add, ttl_ms) = ((min, add), EXTENSION_MS);
            let order =
                ExtendOrder { id: hold_id(id), seq, min: msat(min), add: msat(add), ttl_ms };
            let expected = model.extend(id, seq, min_add);
            assert_eq!(bench.ledger.extend(order).await, Ok(expected));
        }
        Step::Post { id, seq, amount, release } => {
            let expected = model.post(id, seq, amount, release);
            let found = bench.post(vec![posting(id, seq, amount, release)]).await;
            assert_eq!(found, Ok(vec![expected]));
        }
        Step::Wait { ms } => {
            model.now_ms += ms;
            bench.clock.advance_ms(ms);
        }
        Step::Sweep => bench.ledger.sweep().await.unwrap(),
        Step::Restart => bench = bench.reopen().await,
    }
    bench
}

async fn compare(bench: &Bench, model: &Model) {
    bench.ledger.sweep().await.unwrap();
    for (account, balance) in &model.balances {
        assert_eq!(bench.sums(hash(*account)).await, (*balance, model.held(*account)));
    }
    let open = model.holds.values().filter(|hold| model.live(hold)).count();
    assert_eq!(bench.metrics.ledger.open_holds.get(), i64::try_from(open).unwrap());
    bench.assert_audit_clean().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        live(async || Bench::sqlite().await, steps);
    }

    #[test]
    fn the_engine_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..90)) {
        live(async || Bench::memory().await, steps);
    }
}

fn live(bench: impl AsyncFn() -> Bench, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut bench = bench().await;
        let mut model = Model { now_ms: START_MS, ..Model::default() };
        for step in steps {
            bench = run(bench, &mut model, step).await;
            compare(&bench, &model).await;
        }
    });
}
