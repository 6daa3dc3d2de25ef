use std::sync::Mutex;

use tollway_core::money::Msat;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::ledger::KeyBytes;
use crate::lightning::{Call, Events, MadeInvoice, Node, SettledInvoice, Simulated, SimulatedNode};

/// What a node does when it is asked for an invoice or for the word on one.
#[derive(Clone, Debug)]
enum Mood {
    Fine,
    Fault(NodeFault),
    Hangs,
    Says(Answer),
}

/// A node that makes real invoices, unless it is told to do something else.
#[derive(Debug)]
struct Moody {
    inner: Simulated,
    mood: Mutex<Mood>,
    asked: AtomicU64,
}

impl Moody {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> u64 {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

impl Node for Moody {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.mood.lock().unwrap().clone() {
            Mood::Fine | Mood::Says(_) => self.inner.create_invoice(order),
            Mood::Fault(fault) => Box::pin(std::future::ready(Err(fault))),
            Mood::Hangs => Box::pin(std::future::pending()),
        }
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        match self.mood.lock().unwrap().clone() {
            Mood::Fine => self.inner.look_up(hash),
            Mood::Fault(fault) => Box::pin(std::future::ready(Err(fault))),
            Mood::Hangs => Box::pin(std::future::pending()),
            Mood::Says(answer) => Box::pin(std::future::ready(Ok(answer))),
        }
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    fn name(&self) -> String {
        self.inner.name()
    }
}

const DEMO: For<'_> = For { service: "demo", route: "joke" };

/// A pool, its nodes, and the clock.
struct Bench {
    pool: Pool,
    nodes: Vec<Arc<Moody>>,
    clock: Arc<ManualClock>,
}

impl Bench {
    /// Nodes named by their letter, with a weight, services and routes.
    fn new(rows: &[(&str, u32, &[&str], &[&str])]) -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now_ms()));
        let (mut members, mut nodes) = (Vec::new(), Vec::new());
        for (at, (name, weight, services, routes)) in (0..).zip(rows) {
            let node = Arc::new(SimulatedNode::new(KeyBytes([at; 32]), None));
            let inner = Simulated { node, clock: clock.clone() };
            let mood = Mutex::new(Mood::Fine);
            let moody = Arc::new(Moody { inner, mood, asked: AtomicU64::new(0) });
            nodes.push(Arc::clone(&moody));
            let lightning = Lightning { node: moody, network: Network::Regtest };
            let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let config = PoolNode {
                name: Some((*name).to_owned()),
                weight: *weight,
                services: named(services),
                routes: named(routes),
                ..PoolNode::alone(NodeConfig::Simulated { file: None })
            };
            members.push(Arc::new(Member::new(&config, lightning, Some(Watch::new(false)))));
        }
        let (network, turn) = (Network::Regtest, AtomicU64::new(0));
        let pool = Pool { members, network, patience: Duration::from_millis(20), turn };
        Self { pool, nodes, clock }
    }

    async fn made(&self, what: For<'_>) -> Result<String, MakeError> {
        let order = InvoiceOrder {
            amount: Msat::new(1_000).unwrap(),
            memo: "m".to_owned(),
            note: String::new(),
            expiry_s: 600,
        };
        let made = self.pool.make_invoice(&order, what, &*self.clock).await;
        made.map(|(_invoice, node)| node.unwrap().to_owned())
    }

    /// Who makes the next invoices, a letter each.
    async fn makers(&self, what: For<'_>, invoices: usize) -> String {
        let mut makers = String::new();
        for _ in 0..invoices {
            makers += &self.made(what).await.unwrap();
        }
        makers
    }
}

#[tokio::test]
async fn each_node_has_its_share_and_one_without_weight_stands_in() {
    let bench = Bench::new(&[("a", 1, &[], &[]), ("b", 3, &[], &[]), ("c", 0, &[], &[])]);
    assert_eq!(bench.makers(DEMO, 8).await, "bbbabbba");
    assert_eq!(bench.nodes[2].asked(), 0);
    for node in &bench.nodes[..2] {
        node.set(Mood::Fault(NodeFault::Down));
    }
    assert_eq!(bench.makers(DEMO, 3).await, "ccc");
}

#[tokio::test]
async fn a_route_comes_before_its_service_and_what_is_named_is_for_nobody_else() {
    let rows: &[(&str, u32, &[&str], &[&str])] = &[
        ("a", 1, &[], &[]),
        ("b", 1, &["maps"], &[]),
        ("c", 1, &["maps"], &[]),
        ("d", 1, &[], &["tile"]),
    ];
    let bench = Bench::new(rows);
    let of = |service, route| For { service, route };
    assert_eq!(bench.makers(of("demo", "joke"), 2).await, "aa");
    assert_eq!(bench.makers(of("maps", "way"), 4).await, "bcbc");
    assert_eq!(bench.makers(of("maps", "tile"), 2).await, "dd");
    // The money of one is not made by another's node, whatever happens.
    bench.nodes[3].set(Mood::Fault(NodeFault::Down));
    assert_eq!(bench.made(of("maps", "tile")).await, Err(MakeError::Node(NodeFault::Down)));
    assert_eq!(bench.nodes[0].asked(), 2);
    let named = Bench::new(&[("a", 1, &["maps"], &[])]);
    assert_eq!(named.made(DEMO).await, Err(MakeError::Node(NodeFault::Refused)));
}

#[tokio::test]
async fn whatever_a_node_does_wrong_another_one_sells_and_the_wrong_one_is_asked_last() {
    let wrong = [
        (Mood::Fault(NodeFault::Down), 1),
        (Mood::Fault(NodeFault::Denied), 1),
        (Mood::Fault(NodeFault::Unreadable), 1),
        (Mood::Hangs, 1),
        // This order is not to its liking, the next one may be.
        (Mood::Fault(NodeFault::Refused), 4),
    ];
    for (mood, times) in wrong {
        let bench = Bench::new(&[("a", 1, &[], &[]), ("b", 1, &[], &[])]);
        bench.nodes[0].set(mood.clone());
        assert_eq!(bench.makers(DEMO, 8).await, "bbbbbbbb", "{mood:?}");
        assert_eq!(bench.nodes[0].asked(), times, "{mood:?}");
        // It is back, and the other one is not: its answer counts at once.
        bench.nodes[0].set(Mood::Fine);
        bench.nodes[1].set(Mood::Fault(NodeFault::Down));
        assert_eq!(bench.makers(DEMO, 2).await, "aa", "{mood:?}");
    }
}

#[tokio::test]
async fn a_node_that_answers_again_has_its_share_again() {
    let bench = Bench::new(&[("a", 1, &[], &[]), ("b", 1, &[], &[])]);
    bench.nodes[0].set(Mood::Fault(NodeFault::Down));
    assert_eq!(bench.makers(DEMO, 4).await, "bbbb");
    bench.nodes[0].set(Mood::Fine);
    assert_eq!(bench.makers(DEMO, 2).await, "bb", "nobody has asked it");
    bench.clock.advance_ms(5_000);
    assert!(bench.pool.members()[0].is_up(bench.clock.now_ms()).await);
    assert_eq!(bench.makers(DEMO, 4).await, "abab");
}

#[tokio::test]
async fn an_invoice_is_looked_for_where_it_was_made_or_everywhere() {
    let bench = Bench::new(&[("a", 1, &[], &[]), ("b", 1, &[], &[])]);
    let hash = PaymentHash::from_bytes([7; 32]);
    let paid = Answer::Settled(SettledInvoice {
        bolt11: "b".to_owned(),
        note: None,
        received: Msat::ZERO,
    });
    let down = Mood::Fault(NodeFault::Down);
    let says = |answer: &Answer| Mood::Says(answer.clone());
    for (a, b, node, expected) in [
        (says(&Answer::Open), says(&paid), Some("a"), Ok(Answer::Open)),
        (says(&Answer::Open), down.clone(), Some("a"), Ok(Answer::Open)),
        (Mood::Hangs, says(&Answer::Unknown), Some("b"), Ok(Answer::Unknown)),
        // A name that nobody has any more.
        (says(&Answer::Unknown), says(&paid), Some("old"), Ok(paid.clone())),
        (Mood::Hangs, says(&paid), None, Ok(paid.clone())),
        (says(&Answer::Unknown), says(&Answer::Open), None, Ok(Answer::Open)),
        (says(&Answer::Open), says(&Answer::Expired), None, Ok(Answer::Open)),
        (says(&Answer::Expired), says(&Answer::Unknown), None, Ok(Answer::Expired)),
        (says(&Answer::Unknown), says(&Answer::Unknown), None, Ok(Answer::Unknown)),
        // Who does not answer may be the one.
        (says(&Answer::Unknown), down.clone(), None, Err(NodeFault::Down)),
        (down, says(&Answer::Open), None, Err(NodeFault::Down)),
    ] {
        bench.nodes[0].set(a.clone());
        bench.nodes[1].set(b.clone());
        let found = bench.pool.look_up(&hash, node).await;
        assert_eq!(found, expected, "{a:?} {b:?} {node:?}");
    }
}

#[tokio::test]
async fn an_invoice_is_watched_at_its_node_or_at_all_that_may_have_made_it() {
    let bench = Bench::new(&[("a", 1, &[], &[]), ("b", 1, &[], &[])]);
    let hash = |tag| PaymentHash::from_bytes([tag; 32]);
    let invoice = |tag, node: Option<&str>| Unsettled {
        payment_hash: hash(tag),
        created_at_ms: 0,
        expires_at_ms: 600_000,
        node: node.map(str::to_owned),
    };
    bench.pool.watch(&invoice(1, Some("a")));
    bench.pool.catch_up(&invoice(2, Some("b")), 0);
    bench.pool.watch(&invoice(3, Some("old")));
    bench.pool.watch(&invoice(4, None));
    let due = || -> Vec<Vec<PaymentHash>> {
        let watches = bench.pool.members().iter().filter_map(|member| member.watch.as_ref());
        watches.map(|watch| watch.due(10_000, 9)).collect()
    };
    let (a, b) = (vec![hash(1), hash(3), hash(4)], vec![hash(2), hash(3), hash(4)]);
    assert_eq!(due(), [a, b]);
    assert!(bench.pool.hint(&hash(2), 0) && bench.pool.hint(&hash(4), 0));
    assert!(!bench.pool.hint(&hash(9), 0));
    bench.pool.forget(&hash(4));
    assert_eq!(due(), [vec![hash(1), hash(3)], vec![hash(2), hash(3)]]);
}
