//! A random life of the ledger against a model that shares no code with it.
//!
//! The model keeps plain numbers in maps and looks at the clock itself: credit lies in lots, no
//! balance is stored, and a hold is over when its time is over. After every step the answers
//! agree, the sums agree, and the audit finds nothing. The same lives are lived on every store.

mod books;

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tollway_core::digest::Digest;
use tollway_core::wire::{IdempotencyKey, PostingResult, StoredResponse, TakeBack, Window};

use super::*;
use books::{Model, ModelExtension};

/// Lives on PostgreSQL; each is compared with the model, as those in memory are.
const POSTGRES_LIVES: u64 = 20;

/// Few names, so that repeats, conflicts and races for credit happen often.
#[derive(Clone, Debug)]
enum Step {
    Invoice {
        tag: u8,
        amount: u64,
        bonus: u64,
        seed: u64,
        /// Of the credit.
        ttl_ms: Option<u64>,
        top_up: Option<u8>,
    },
    Session {
        tag: u8,
        amount: u64,
    },
    Settle {
        tag: u8,
        received: Option<u64>,
    },
    Hold(HoldStep),
    Extend {
        id: u128,
        seq: u32,
        min: u64,
        add: u64,
        ttl_ms: u64,
    },
    Post {
        id: u128,
        seq: u32,
        amount: u64,
        release: bool,
        overrun: Option<u64>,
        store: bool,
    },
    Free {
        client: u8,
        day: bool,
        cost: u64,
    },
    Act {
        id: u8,
        kind: u8,
        tag: u8,
        amount: u64,
    },
    Wait {
        ms: u64,
    },
    Sweep,
    Restart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct HoldStep {
    id: u128,
    tag: u8,
    min: u64,
    amount: u64,
    ttl_ms: u64,
    proven: bool,
    /// The key, and the fields of its request.
    key: Option<(u8, u8)>,
    /// The hold that gives, and how much at most; an id that no hold has stands for a live hold
    /// of the same account, so that credit often moves.
    back: Option<(u128, u64)>,
}

fn step() -> impl Strategy<Value = Step> {
    let tag = 1..6_u8;
    let id = 1..8_u128;
    let ttl = prop_oneof![Just(50_u64), Just(80), Just(200)];
    let hold = (
        (id.clone(), tag.clone(), 1..4_u64, 0..3_u64),
        (ttl.clone(), any::<u8>(), proptest::option::of((1..3_u8, 1..3_u8))),
        proptest::option::of((1..20_u128, 0..50_u64)),
    );
    let invoice = (tag.clone(), 1..100_u64, 0..9_u64, 0..9_u64, proptest::option::of(10..100_u64));
    prop_oneof![
        3 => (invoice, proptest::option::of(tag.clone())).prop_map(
            |((tag, amount, bonus, seed, ttl_ms), top_up)| Step::Invoice {
                tag, amount, bonus, seed, ttl_ms, top_up,
            }
        ),
        1 => (tag.clone(), 1..100_u64).prop_map(|(tag, amount)| Step::Session { tag, amount }),
        2 => (tag.clone(), proptest::option::of(1..120_u64))
            .prop_map(|(tag, received)| Step::Settle { tag, received }),
        7 => hold.prop_map(|((id, tag, tens, more), (ttl_ms, luck, key), back)| {
            let (min, amount) = (tens * 10, (tens + more) * 10);
            Step::Hold(HoldStep { id, tag, min, amount, ttl_ms, proven: luck > 20, key, back })
        }),
        4 => ((id.clone(), 0..3_u32, 0..2_u64), 0..2_u64, ttl).prop_map(
            |((id, seq, min), more, ttl_ms)| Step::Extend {
                id, seq, min: min * 9, add: (min + more) * 9, ttl_ms,
            }
        ),
        6 => ((id, 0..3_u32, 0..8_u64), any::<bool>(), 0..4_u64, any::<bool>()).prop_map(
            |((id, seq, amount), release, overrun, store)| Step::Post {
                id, seq, amount: amount * 7, release, store,
                // None is a cap, 0 the rest of the account, more is debt.
                overrun: overrun.checked_sub(1).map(|limit| limit * 15),
            }
        ),
        2 => (1..3_u8, any::<bool>(), 1..4_u64)
            .prop_map(|(client, day, cost)| Step::Free { client, day, cost }),
        2 => (1..9_u8, 0..7_u8, tag, 1..30_u64)
            .prop_map(|(id, kind, tag, amount)| Step::Act { id, kind, tag, amount }),
        3 => prop_oneof![8 => 1..60_u64, 1 => Just(86_400_000)].prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Restart),
    ]
}

fn keyed((key, fields): (u8, u8)) -> IdempotencyKey {
    IdempotencyKey { key: Digest::of(&[&[key]]), fields: Digest::of(&[&[fields]]) }
}

fn stored(id: u128, seq: u32) -> StoredResponse {
    StoredResponse::new(200, b"", format!("{id} {seq}").as_bytes()).unwrap()
}

fn overrun_of(limit: Option<u64>) -> Overrun {
    match limit {
        None => Overrun::Cap,
        Some(0) => Overrun::DebitRest,
        Some(limit) => Overrun::Debt { limit_msat: msat(limit) },
    }
}

fn act_of(kind: u8, tag: u8, amount: u64) -> AdminAct {
    match kind {
        0 => AdminAct::Refund(hash(tag), msat(amount)),
        1 => AdminAct::Grant(hash(tag), msat(amount)),
        2 => AdminAct::Revoke(hash(tag)),
        3 => AdminAct::Unrevoke(hash(tag)),
        4 => AdminAct::RevokeToken(hash(tag)),
        5 => AdminAct::UnrevokeToken(hash(tag)),
        _ => AdminAct::Settle(hash(tag), Some(msat(amount))),
    }
}

async fn run(bench: Bench, model: &mut Model, step: Step) -> Bench {
    match step {
        Step::Invoice { tag, amount, bonus, seed, ttl_ms, top_up } => {
            let order = NewInvoice {
                credit: msat(amount + bonus),
                seed: msat(seed),
                credit_ttl_ms: ttl_ms,
                ..invoice(tag, amount, top_up.map(hash))
            };
            let expected = model.invoice(tag, (amount, amount + bonus, seed), ttl_ms, top_up);
            assert_eq!(bench.ledger.open_invoice(order).await, Ok(expected));
        }
        Step::Session { tag, amount } => {
            let expected = model.session(tag, amount);
            let order = sessions::session(tag, amount);
            assert_eq!(bench.ledger.open_invoice(order).await, Ok(expected));
        }
        Step::Settle { tag, received } => {
            let received_msat = received.map(msat);
            let settlement = Settlement { received: received_msat, ..Settlement::of(hash(tag)) };
            let expected = model.settle(tag, received);
            assert_eq!(bench.ledger.settle(settlement).await, Ok(expected));
        }
        Step::Hold(mut step) => {
            step.back = step.back.map(|(giver, most)| (model.giver(step.tag, giver), most));
            let HoldStep { id, tag, min, amount, ttl_ms, proven, key, back } = step;
            let take = |(id, most)| TakeBack { hold: hold_id(id), amount_msat: msat(most) };
            let order = HoldOrder {
                ttl_ms,
                shown: proven.then_some(Proof::Preimage),
                min: msat(min),
                once: key.map(keyed),
                take_back: back.map(take),
                ..order(id, hash(tag), amount)
            };
            let expected = model.hold(&step);
            assert_eq!(bench.ledger.hold(order).await, Ok(expected));
        }
        Step::Extend { id, seq, min, add, ttl_ms } => {
            let order =
                ExtendOrder { id: hold_id(id), seq, add: msat(add), min: msat(min), ttl_ms };
            let expected = model.extend(id, ModelExtension { seq, min, add, ttl_ms });
            assert_eq!(bench.ledger.extend(order).await, Ok(expected));
        }
        Step::Post { id, seq, amount, release, overrun, store } => {
            let row = Posting {
                overrun: overrun_of(overrun),
                store: store.then(|| stored(id, seq)),
                ..posting(id, seq, amount, release)
            };
            let (outcome, charged) = model.post((id, seq), (amount, release, overrun), store);
            let revoked = model.is_hold_revoked(id);
            let expected = PostingResult { outcome, charged_msat: msat(charged), revoked };
            assert_eq!(bench.ledger.post(vec![row]).await, Ok(vec![expected]));
        }
        Step::Free { client, day, cost } => {
            let (window, limit) = match day {
                true => (Window::Day, 5),
                false => (Window::Rolling { seconds: 1 }, 4),
            };
            let client = client * 2 + u8::from(day);
            let (before, route) = (Vec::new(), "joke".to_owned());
            let order = AllowanceOrder { client: [client; 32], before, window, limit, cost, route };
            let expected = model.free(client, day, limit, cost);
            assert_eq!(bench.ledger.allowance(order).await, Ok(expected));
        }
        Step::Act { id, kind, tag, amount } => {
            let (actor, reason) = ("ada".to_owned(), "a model".to_owned());
            let act = act_of(kind, tag, amount);
            let order = AdminOrder { id: [id; 16], actor, reason, act };
            let expected = model.act(id, act, (kind, tag, amount));
            assert_eq!(bench.ledger.administer(order).await, Ok(expected));
        }
        Step::Wait { ms } => {
            model.now_ms += ms;
            bench.clock.advance_ms(ms);
        }
        Step::Sweep => bench.ledger.sweep().await.unwrap(),
        Step::Restart => return bench.reopen().await,
    }
    bench
}

async fn compare(bench: &Bench, model: &mut Model) {
    bench.ledger.sweep().await.unwrap();
    for name in model.names() {
        // Reading ends nothing that is over, and the sweeper comes later where holds protected
        // it; a call that names the account ends it, whatever it proves.
        let knock = HoldOrder { shown: None, ..order(1_000, hash(name), 1) };
        let refusal = refused(HoldRefusal::PaymentNotProven, 0);
        assert_eq!(bench.ledger.hold(knock).await, Ok(refusal));
        let view = bench.ledger.account(hash(name)).await.unwrap().unwrap();
        let found = [
            view.balance_msat,
            view.held_msat,
            view.expiring_msat,
            view.debt_msat,
            view.charged_msat,
            view.refunded_msat,
        ];
        assert_eq!(found.map(Msat::get), model.sums(name), "balance, held, expiring, debt, ...");
        assert_eq!(view.revoked_at_ms.is_some(), model.is_revoked(name));
    }
    let named = bench.ledger.keyring().await.unwrap().revoked.into_iter().collect();
    assert_eq!(model.revoked_tokens().into_iter().map(hash).collect::<HashSet<_>>(), named);
    let open = i64::try_from(model.open_holds()).unwrap();
    assert_eq!(bench.metrics.ledger.open_holds.get(), open);
    bench.assert_audit_clean().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..60)) {
        runtime().block_on(async { live(Bench::sqlite().await, steps).await });
    }

    #[test]
    fn the_engine_agrees_with_the_model(steps in proptest::collection::vec(step(), 1..120)) {
        runtime().block_on(async { live(Bench::memory().await, steps).await });
    }
}

/// The same lives each time: in memory, in a file and in a database every answer is the model's.
#[test]
fn every_store_gives_the_answers_of_the_model() {
    runtime().block_on(async {
        for life in 0..POSTGRES_LIVES {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&life.to_le_bytes());
            let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
            let mut runner = TestRunner::new_with_rng(Config::default(), rng);
            let lives = proptest::collection::vec(step(), 40);
            let steps = lives.new_tree(&mut runner).unwrap().current();
            live(Bench::memory().await, steps.clone()).await;
            live(Bench::sqlite().await, steps.clone()).await;
            let Some(bench) = postgres::bench().await else { return };
            live(bench, steps).await;
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn live(mut bench: Bench, steps: Vec<Step>) {
    let mut model = Model::at(START_MS);
    for step in steps {
        bench = run(bench, &mut model, step).await;
        compare(&bench, &mut model).await;
    }
}
