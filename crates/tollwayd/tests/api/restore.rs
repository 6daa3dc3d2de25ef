//! Payments that the ledger has lost: what the node says of them, and what comes of it.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tollway_core::payment::Preimage;
use tollway_core::wire::{HoldRefusal, HoldReply};

use crate::support::*;

/// Of Linux, for opening a pipe that perhaps nobody reads.
const O_NONBLOCK: i32 = 0o4000;
/// How long the server believes that a payment is none.
const UNPAID_MS: u64 = 10_000;
/// The same of one that the node waits for.
const OPEN_MS: u64 = 1_000;

/// Where the simulated node remembers.
fn memory(server: &Server) -> PathBuf {
    server.directory.path().join("tollwayd.db.node")
}

/// Buys with these fields beside those of an ordinary purchase, and has the ledger forget it
/// before it heard of the payment.
async fn bought_and_lost(server: &Server, amount: u64, more: Value) -> Paid {
    let mut body = challenge(amount, "jokes");
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let invoice = invoice(server.challenge(body).await).await;
    let paid = pay_silently(server, &invoice).await;
    let db = rusqlite::Connection::open(server.directory.path().join("tollwayd.db")).unwrap();
    let forget = "DELETE FROM invoices WHERE hex(payment_hash) = upper(?1)";
    assert_eq!(db.execute(forget, [paid.hash.to_string()]).unwrap(), 1);
    paid
}

async fn pay_silently(server: &Server, invoice: &Invoice) -> Paid {
    let call = server.client.post(format!("{}/sim/v1/pay", server.admin));
    let call = call.json(&json!({"invoice": invoice.invoice, "event": false}));
    let reply: Value = expect(call.send().await.unwrap(), StatusCode::OK).await;
    let preimage = reply["preimage"].as_str().unwrap().as_bytes();
    let preimage = Preimage::from_hex(preimage).unwrap();
    Paid { hash: invoice.payment_hash, preimage }
}

async fn assert_unknown(server: &Server, paid: &Paid) {
    match server.hold(new_id(), paid, 1_000).await {
        HoldReply::Refused { refusal: HoldRefusal::UnknownPayment, .. } => {}
        reply => panic!("expected an unknown payment, but found {reply:?}"),
    }
}

/// The account and its balance after a hold of 1,000 that is granted.
async fn assert_served(server: &Server, paid: &Paid) -> (Value, u64) {
    match server.hold(new_id(), paid, 1_000).await {
        HoldReply::Granted { account, balance_msat, .. } => (value(account), balance_msat.get()),
        reply => panic!("expected a grant, but found {reply:?}"),
    }
}

async fn assert_unavailable(server: &Server, paid: &Paid) {
    let response = server.put_hold(new_id(), &hold_request(paid, 1_000)).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let problem = problem(response).await;
    assert_eq!((problem.status, problem.code.as_str()), (503, "lightning_unavailable"));
}

async fn operator_reads(server: &Server, what: &str) -> Value {
    let call = server.admin(Method::GET, &format!("/admin/v1/{what}"));
    expect(call.send().await.unwrap(), StatusCode::OK).await
}

async fn assert_audit_clean(server: &Server) {
    assert_eq!(operator_reads(server, "audit").await["differences"], json!([]));
}

/// Changes what the node remembers.
fn rewrite(memory: &Path, change: impl Fn(&str) -> Option<String>) {
    let text = fs::read_to_string(memory).unwrap();
    let lines: Vec<String> = text.lines().filter_map(change).collect();
    fs::write(memory, lines.join("\n") + "\n").unwrap();
}

#[tokio::test]
async fn what_was_sold_comes_back_with_bonus_gift_and_lifetime() {
    let server = Server::start().await;
    let more = json!({"credit_msat": 11_000, "seed_msat": 500, "credit_ttl_s": 60});
    let paid = bought_and_lost(&server, 10_000, more).await;
    assert_eq!(assert_served(&server, &paid).await, (value(paid.hash), 10_500));
    assert_eq!(assert_served(&server, &paid).await.1, 9_500, "credited once");
    let invoice = operator_reads(&server, &format!("invoices/{}", paid.hash)).await;
    assert_eq!((&invoice["state"], &invoice["route"]), (&json!("settled"), &json!("joke")));
    assert_eq!(invoice["expires_at_ms"], START_MS + 600_000, "as the node knows it");
    let log = operator_reads(&server, "actions").await;
    let line = &log.as_array().unwrap()[0];
    assert_eq!((&line["kind"], &line["actor"]), (&json!("restore"), &json!("tollwayd")));
    assert_eq!((&line["account"], &line["amount_msat"]), (&value(paid.hash), &json!(10_000)));
    assert!(line["reason"].as_str().unwrap().ends_with("with its terms"), "{line}");
    assert_audit_clean(&server).await;
    server.clock.advance_ms(120_000);
    let refused = server.hold(new_id(), &paid, 1_000).await;
    assert!(matches!(refused, HoldReply::Refused { .. }), "its time is over: {refused:?}");
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn a_lost_top_up_pays_into_its_account_even_if_that_is_lost_too() {
    let server = Server::start().await;
    let first = server.paid(5_000).await;
    let second = bought_and_lost(&server, 3_000, json!({"top_up": first.hash})).await;
    assert_eq!(assert_served(&server, &second).await, (value(first.hash), 7_000));

    // Both are gone, and the newer credential is used first.
    let opened = server.invoice(5_000, None).await;
    let topped = server.invoice(3_000, Some(opened.payment_hash)).await;
    let [opened, topped] =
        [pay_silently(&server, &opened).await, pay_silently(&server, &topped).await];
    let db = rusqlite::Connection::open(server.directory.path().join("tollwayd.db")).unwrap();
    let forgotten = db.execute("DELETE FROM invoices WHERE settled_at_ms IS NULL", []).unwrap();
    assert_eq!(forgotten, 2);
    assert_eq!(assert_served(&server, &topped).await, (value(opened.hash), 2_000));
    assert_eq!(assert_served(&server, &opened).await, (value(opened.hash), 6_000));
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn a_lost_session_comes_back_without_credit() {
    let server = Server::start().await;
    let more = json!({"buys": "session", "credit_msat": 0});
    let paid = bought_and_lost(&server, 10_000, more).await;
    match server.hold(new_id(), &paid, 1).await {
        HoldReply::Refused { refusal: HoldRefusal::InsufficientCredit, balance_msat, .. } => {
            assert_eq!(balance_msat.get(), 0);
        }
        reply => panic!("expected no credit, but found {reply:?}"),
    }
    let account = server.account(paid.hash).await;
    assert_eq!((&account["charged_msat"], &account["balance_msat"]), (&json!(10_000), &json!(0)));
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn without_its_terms_a_payment_buys_what_was_paid() {
    for note in [json!(""), json!("{}"), json!("x".repeat(2_000)), json!(null)] {
        let server = Server::start().await;
        let first = server.paid(5_000).await;
        let more = json!({"credit_msat": 11_000, "top_up": first.hash});
        let paid = bought_and_lost(&server, 10_000, more).await;
        rewrite(&memory(&server), |line| {
            let Ok(mut json) = serde_json::from_str::<Value>(line) else { return None };
            if let Some(made) = json.get_mut("made") {
                made["note"] = note.as_str().unwrap_or(r#"{"credit_msat":1}"#).into();
            }
            Some(json.to_string())
        });
        assert_eq!(assert_served(&server, &paid).await, (value(paid.hash), 9_000));
        let log = operator_reads(&server, "actions").await;
        let reason = log[0]["reason"].as_str().unwrap();
        assert!(reason.ends_with("without bonus and top-up"), "{reason}");
        assert_audit_clean(&server).await;
    }
}

#[tokio::test]
async fn what_the_node_does_not_call_paid_stays_unknown_and_is_not_asked_again_at_once() {
    let server = Server::start().await;
    let paid = bought_and_lost(&server, 10_000, json!({})).await;
    let (memory, saved) = (memory(&server), server.directory.path().join("saved"));
    fs::copy(&memory, &saved).unwrap();
    type Change = fn(&str) -> Option<String>;
    let changes: [(&str, u64, Change); 4] = [
        ("open", OPEN_MS, |line| (!line.contains("\"paid\"")).then(|| line.to_owned())),
        ("unknown", UNPAID_MS, |_| None),
        ("too little", UNPAID_MS, |line| Some(line.replace("_msat\":10000}", "_msat\":9999}"))),
        ("unreadable", UNPAID_MS, |line| Some(line.replace("lnbcrt", "lnbc"))),
    ];
    for (name, believed_ms, change) in changes {
        rewrite(&memory, change);
        assert_ne!(fs::read(&memory).unwrap(), fs::read(&saved).unwrap(), "{name}");
        assert_unknown(&server, &paid).await;
        fs::copy(&saved, &memory).unwrap();
        server.clock.advance_ms(believed_ms - 1);
        assert_unknown(&server, &paid).await;
        server.clock.advance_ms(1);
    }
    rewrite(&memory, |line| (!line.contains("\"paid\"")).then(|| line.to_owned()));
    server.clock.advance_ms(600_000);
    assert_unknown(&server, &paid).await;
    server.clock.advance_ms(UNPAID_MS);
    fs::copy(&saved, &memory).unwrap();
    assert_eq!(assert_served(&server, &paid).await.1, 9_000);
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn what_was_overpaid_is_credited_in_full() {
    let server = Server::start().await;
    let paid = bought_and_lost(&server, 10_000, json!({})).await;
    rewrite(&memory(&server), |line| Some(line.replace("_msat\":10000}", "_msat\":10001}")));
    assert_eq!(assert_served(&server, &paid).await.1, 9_001);
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn a_node_that_is_down_costs_a_retry_and_only_the_proven_ask_it() {
    let server = Server::start().await;
    let paid = bought_and_lost(&server, 10_000, json!({})).await;
    let (memory, away) = (memory(&server), server.directory.path().join("away"));
    fs::rename(&memory, &away).unwrap();
    fs::create_dir(&memory).unwrap();
    assert_unavailable(&server, &paid).await;
    assert_unavailable(&server, &paid).await;
    let guess = Paid { hash: paid.hash, preimage: Preimage::from_bytes([7; 32]) };
    assert_unknown(&server, &guess).await;
    fs::remove_dir(&memory).unwrap();
    fs::rename(&away, &memory).unwrap();
    assert_eq!(assert_served(&server, &paid).await.1, 9_000);
}

#[tokio::test]
async fn a_slow_node_holds_up_nobody_else_and_its_answer_counts_when_it_comes() {
    let server = Server::start().await;
    let known = server.paid(50_000).await;
    let paid = bought_and_lost(&server, 10_000, json!({})).await;
    let memory = memory(&server);
    let remembered = fs::read(&memory).unwrap();
    // Who opens a pipe waits until somebody writes into it.
    fs::remove_file(&memory).unwrap();
    assert!(Command::new("mkfifo").arg(&memory).status().unwrap().success());
    assert_unavailable(&server, &paid).await;
    assert_served(&server, &known).await;
    tokio::task::spawn_blocking(move || fs::write(memory, remembered)).await.unwrap().unwrap();
    let begun = std::time::Instant::now();
    while operator_reads(&server, "actions").await == json!([]) {
        assert!(begun.elapsed().as_secs() < 60, "the node's answer was lost");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // The pipe would hold up a second look-up; none is needed.
    assert_eq!(assert_served(&server, &paid).await.1, 9_000);
}

#[tokio::test]
async fn a_crowd_with_one_lost_payment_credits_it_once() {
    let server = Server::start().await;
    let paid = bought_and_lost(&server, 100_000, json!({"credit_msat": 110_000})).await;
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let (doors, paid) = (server.doors.clone(), paid.clone());
        // A look-up may take too long on a busy machine; then the client comes again.
        crowd.spawn(async move {
            loop {
                let response = doors.put_hold(new_id(), &hold_request(&paid, 1_000)).await;
                if response.status() != StatusCode::SERVICE_UNAVAILABLE {
                    return expect::<HoldReply>(response, StatusCode::OK).await;
                }
            }
        });
    }
    let replies = crowd.join_all().await;
    assert!(replies.iter().all(|reply| matches!(reply, HoldReply::Granted { .. })), "{replies:?}");
    let view = server.account(paid.hash).await;
    assert_eq!((&view["balance_msat"], &view["held_msat"]), (&json!(110_000), &json!(32_000)));
    assert_audit_clean(&server).await;
}

#[tokio::test]
async fn a_node_that_hangs_is_asked_a_few_questions_at_a_time() {
    const LOOK_UPS_MAX: usize = 8;
    let server = Server::start().await;
    let mut lost = Vec::new();
    for _ in 0..LOOK_UPS_MAX + 5 {
        lost.push(bought_and_lost(&server, 10_000, json!({})).await);
    }
    let (memory, pipe) = (memory(&server), server.directory.path().join("pipe"));
    let remembered = fs::read(&memory).unwrap();
    fs::remove_file(&memory).unwrap();
    assert!(Command::new("mkfifo").arg(&memory).status().unwrap().success());
    let last = lost.pop().unwrap();
    let hanging = lost.iter().map(|paid| assert_unavailable(&server, paid));
    futures_util::future::join_all(hanging).await;

    // The node is well again, and what hangs on the pipe reads an empty memory from it.
    fs::rename(&memory, &pipe).unwrap();
    fs::write(&memory, remembered).unwrap();
    loop {
        // It fails where nobody reads any more, or not yet.
        let _ = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&pipe);
        let response = server.put_hold(new_id(), &hold_request(&last, 1_000)).await;
        if response.status() == StatusCode::OK {
            break;
        }
    }
    let mut refused = 0;
    for paid in &lost {
        let reply = server.hold(new_id(), paid, 1_000).await;
        refused += usize::from(matches!(reply, HoldReply::Refused { .. }));
    }
    assert!((1..=LOOK_UPS_MAX).contains(&refused), "{refused} look-ups hung at a time");
    server.clock.advance_ms(UNPAID_MS);
    for paid in &lost {
        assert_served(&server, paid).await;
    }
}

/// The requests beside it have nothing to do with that.
#[tokio::test]
async fn a_hold_for_which_the_node_is_asked_keeps_no_other_one_waiting() {
    let server = Server::start().await;
    let lost = bought_and_lost(&server, 10_000, json!({})).await;
    let known = server.paid(10_000).await;
    let (memory, pipe) = (memory(&server), server.directory.path().join("pipe"));
    let remembered = fs::read(&memory).unwrap();
    fs::remove_file(&memory).unwrap();
    assert!(Command::new("mkfifo").arg(&memory).status().unwrap().success());
    let line = |paid: &Paid| {
        let body = serde_json::to_string(&hold_request(paid, 1_000)).unwrap();
        format!("[\"{}\",{body}]\n", new_id())
    };
    let answers = server.hold_lines(&(line(&lost) + &line(&known))).await;
    assert_eq!(answers[0], json!([202, null]), "it is to be asked for alone");
    assert_eq!((&answers[1][0], &answers[1][1]["outcome"]), (&json!(200), &json!("granted")));

    fs::rename(&memory, &pipe).unwrap();
    fs::write(&memory, remembered).unwrap();
    until("the lost payment to be found", async || {
        // What still hangs on the pipe reads an empty memory from it, and believes it for a while.
        let _ = OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(&pipe);
        server.clock.advance_ms(UNPAID_MS);
        let response = server.put_hold(new_id(), &hold_request(&lost, 1_000)).await;
        let answered = response.status() == StatusCode::OK;
        let reply = if answered { Some(expect(response, StatusCode::OK).await) } else { None };
        matches!(reply, Some(HoldReply::Granted { .. })).then_some(())
    })
    .await;
}
