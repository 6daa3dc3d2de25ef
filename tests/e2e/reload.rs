//! A new configuration while requests flow; a bad one changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tollway_testkit::stack::{Listeners, StackOptions};

use crate::harness::{Gateway, config, eventually};

fn watched() -> StackOptions {
    let mut config = config();
    config["services"][0]["purchase"]["default_sats"] = json!(100_000);
    StackOptions { filter: Some(config), listeners: Listeners::Watched, ..StackOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_price_changes_under_load_and_every_request_pays_the_old_or_the_new() {
    let mut gateway = Gateway::with(watched()).await;
    let credential = gateway.http.buy("/echo").await;
    let done = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (http, credential, done) =
            (gateway.http.clone(), credential.clone(), Arc::clone(&done));
        clients.push(tokio::spawn(async move {
            let mut costs = Vec::new();
            while !done.load(Ordering::SeqCst) {
                let answer = http.get("/echo", Some(&credential)).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                costs.push(answer.number("x-toll-cost-msat"));
            }
            costs
        }));
    }
    for price_sats in [2, 3, 4] {
        let mut next = watched().filter.unwrap();
        next["routes"][1]["price_sats"] = json!(price_sats);
        gateway.stack.reload_filter(next).await.unwrap();
        eventually("new connections pay the new price", async || {
            let answer = gateway.http.fresh().get("/echo", Some(&credential)).await;
            // A new VM has no keys for a moment.
            (answer.status == 200 && answer.number("x-toll-cost-msat") == price_sats * 1_000)
                .then_some(())
        })
        .await;
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        let costs = client.await.unwrap();
        assert!(!costs.is_empty());
        assert!(costs.iter().all(|cost| [1_000, 2_000, 3_000, 4_000].contains(cost)));
    }
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_its_path_and_the_old_one_serves_on() {
    let mut gateway = Gateway::with(watched()).await;
    let mut typo = watched().filter.unwrap();
    let price = typo["routes"][1].as_object_mut().unwrap().remove("price_sats").unwrap();
    typo["routes"][1]["price_sat"] = price;
    let error = gateway.stack.reload_filter(typo).await.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    assert!(gateway.stack.log("envoy").contains("routes[1].price_sat:"), "{error}");
    let credential = gateway.http.buy("/echo").await;
    assert_eq!(gateway.http.get("/echo", Some(&credential)).await.status, 200);
}
