//! Many callers at once, over HTTP/1.1 and over one HTTP/2 connection.

use reqwest::Client;
use tokio::task::JoinSet;
use tollway_core::wire::HoldReply;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_first_uses_credit_once() {
    let server = Server::start().await;
    let invoice = server.invoice(6_400, None).await;
    let (server, twin) = server.twins().await;
    let paid = twin.paid_invoice(&invoice).await;
    assert_eq!(server.stats().await["credited_msat"], 0);
    // One in five comes as the node's event, at the same time as the proofs.
    let mut first_uses = JoinSet::new();
    for number in 0..80 {
        let (doors, paid, text) = (server.doors.clone(), paid.clone(), invoice.invoice.clone());
        first_uses.spawn(async move {
            if number % 5 == 0 {
                assert!(doors.pay(&text).await.status().is_success());
                None
            } else {
                Some(doors.hold(new_id(), &paid, 100).await)
            }
        });
    }
    let replies: Vec<_> = first_uses.join_all().await.into_iter().flatten().collect();
    assert_eq!(replies.len(), 64);
    assert!(replies.iter().all(|reply| matches!(reply, HoldReply::Granted { .. })));
    let view = server.account(paid.hash).await;
    assert_eq!(
        (view["balance_msat"].as_u64(), view["held_msat"].as_u64()),
        (Some(6_400), Some(6_400))
    );
    assert_eq!(view["entries_total"], 1);
    assert!(server.metrics().await.contains("\ntollwayd_settlements_total 1\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_balance_for_k_admits_exactly_k_of_200() {
    const K: usize = 41;
    let server = Server::start().await;
    let paid = server.paid(K as u64 * 100 + 99).await;
    // HTTP/2 with prior knowledge, as Envoy calls: all 200 on one connection.
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let doors = Doors { client, ..server.doors.clone() };
    let mut holds = JoinSet::new();
    for _ in 0..200 {
        let (doors, paid) = (doors.clone(), paid.clone());
        holds.spawn(async move { doors.hold(new_id(), &paid, 100).await });
    }
    let replies = holds.join_all().await;
    let granted = replies.iter().filter(|reply| matches!(reply, HoldReply::Granted { .. }));
    assert_eq!(granted.count(), K);
    assert_eq!(server.account(paid.hash).await["available_msat"], 99);
    let metrics = server.metrics().await;
    assert!(metrics.contains(&format!("tollwayd_holds_total{{outcome=\"granted\"}} {K}\n")));
    assert!(metrics.contains(&format!("tollwayd_open_holds {K}\n")));
    server.shutdown().await;
}
