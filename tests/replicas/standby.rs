//! The primary dies under load; its synchronous standby takes over and knows all that was said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollway_core::wire::{HoldReply, PostingOutcome, PostingResult};
use tollway_testkit::stack::Replica;

use crate::doors::{Doors, Paid, charge, new_id};
use crate::harness::{Gateway, config, eventually};
use crate::{postgres, two_on};

const CLIENTS: usize = 8;
const PRICE_MSAT: u64 = 1_000;
const BOUGHT_MSAT: u64 = 100_000_000;
/// Holds that are granted before the death and posted after it.
const LEFT_OPEN: usize = 20;
/// Charges before the death, and again after it.
const CHARGES_MIN: u64 = 100;

/// A charge that was acknowledged.
type Charged = (tollway_core::id::HoldId, PostingResult);

/// Holds and posts until told to stop; returns what was acknowledged.
async fn spend(
    doors: Doors,
    paid: Paid,
    charges: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Vec<Charged> {
    let mut charged = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let id = new_id();
        let granted = doors.hold(id, &paid, PRICE_MSAT).await;
        assert!(matches!(granted, HoldReply::Granted { .. }), "{granted:?}");
        let posted = doors.post(charge(id, 0, PRICE_MSAT, true)).await;
        assert_eq!(posted.outcome, PostingOutcome::Posted, "a granted hold is known");
        charged.push((id, posted));
        charges.fetch_add(1, Ordering::SeqCst);
    }
    charged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_synchronous_standby_loses_nothing_that_was_acknowledged() {
    let Some(mut primary) = postgres().await else { return };
    let (primary_, standby) = tokio::task::spawn_blocking(move || {
        let standby = primary.synchronous_standby().unwrap();
        (primary, standby)
    })
    .await
    .unwrap();
    primary = primary_;
    let url = primary.url_with(&standby).unwrap();
    let gateway = Gateway::with(two_on(&url, config())).await;
    let doors = [Replica::First, Replica::Second].map(|it| Doors::of(&gateway.stack, it));
    let paid = doors[0].buy(&gateway.http, BOUGHT_MSAT).await;

    let mut open = Vec::new();
    for at in 0..LEFT_OPEN {
        let id = new_id();
        open.push((id, doors[at % 2].hold(id, &paid, PRICE_MSAT).await));
    }
    let (charges, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|at| {
            let doors = doors[at % 2].clone();
            tokio::spawn(spend(doors, paid.clone(), Arc::clone(&charges), Arc::clone(&stop)))
        })
        .collect();
    let more = async |charges: &AtomicU64| {
        let until = charges.load(Ordering::SeqCst) + CHARGES_MIN;
        eventually("some more is charged", async || {
            (charges.load(Ordering::SeqCst) >= until).then_some(())
        })
        .await;
        charges.load(Ordering::SeqCst)
    };
    let before = more(&charges).await;
    let (primary, standby) = tokio::task::spawn_blocking(move || {
        primary.kill().unwrap();
        standby.promote().unwrap();
        (primary, standby)
    })
    .await
    .unwrap();
    more(&charges).await;
    stop.store(true, Ordering::SeqCst);
    let mut charged = Vec::new();
    for client in clients {
        charged.extend(client.await.unwrap());
    }
    println!("{before} charges before the death, {} in all", charged.len());

    // The same ids again, at both replicas: the first answers, and no charge.
    for (at, (id, posted)) in charged.iter().enumerate() {
        let again = doors[at % 2].post(charge(*id, 0, PRICE_MSAT, true)).await;
        assert_eq!(again, *posted);
    }
    for (at, (id, granted)) in open.iter().enumerate() {
        let again = doors[(at + 1) % 2].hold(*id, &paid, PRICE_MSAT).await;
        let (
            HoldReply::Granted { account: was, granted_msat: then, .. },
            HoldReply::Granted { account, granted_msat, .. },
        ) = (granted, &again)
        else {
            panic!("{granted:?}, and then {again:?}");
        };
        assert_eq!((account, granted_msat), (was, then));
        let posted = doors[at % 2].post(charge(*id, 0, PRICE_MSAT, true)).await;
        assert_eq!(posted.outcome, PostingOutcome::Posted);
    }
    let total = (charged.len() + LEFT_OPEN) as u64 * PRICE_MSAT;
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], BOUGHT_MSAT);
    assert_eq!(stats["charged_msat"], total, "exactly what was acknowledged");
    gateway.audit();
    drop((primary, standby));
}
