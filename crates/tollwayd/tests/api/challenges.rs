//! Invoices, and the simulated payments that settle them.

use std::time::Duration;

use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};
use serde_json::json;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::support::*;

#[tokio::test]
async fn an_invoice_carries_what_was_asked() {
    let server = Server::start().await;
    let memo = "10 jokes \u{2014} \"quoted\"\r\nand more";
    let reply = invoice(server.challenge(challenge(21_500, memo)).await).await;
    let invoice: Bolt11Invoice = reply.invoice.parse().unwrap();
    assert_eq!(invoice.currency(), Currency::Regtest);
    assert_eq!(invoice.amount_milli_satoshis(), Some(21_500));
    assert_eq!(invoice.expiry_time(), Duration::from_secs(600));
    assert_eq!(invoice.payment_hash().to_string(), reply.payment_hash.to_hex());
    assert_eq!(reply.amount_msat, Msat::new(21_500).unwrap());
    assert_eq!(reply.expires_at, START_MS / 1_000 + 600);
    match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(found) => assert_eq!(found.as_inner().0, memo),
        Bolt11InvoiceDescriptionRef::Hash(_) => panic!("expected a direct description"),
    }
}

#[tokio::test]
async fn two_challenges_never_share_a_payment() {
    let server = Server::start().await;
    let (one, two) = (server.invoice(1_000, None).await, server.invoice(1_000, None).await);
    assert_ne!(one.payment_hash, two.payment_hash);
    assert_ne!(one.invoice, two.invoice);
}

#[tokio::test]
async fn amounts_are_checked_at_both_ends() {
    let server = Server::start().await;
    for amount in [1, Msat::MAX.get()] {
        assert_eq!(server.invoice(amount, None).await.amount_msat.get(), amount);
    }
    for (amount, problem_says) in [
        ("0", "amount_msat: expected at least 1, but found 0"),
        ("9007199254740992", "amount_msat: expected at most 9007199254740991 msat"),
        ("18446744073709551615", "amount_msat: expected at most 9007199254740991 msat"),
        ("18446744073709551616", "amount_msat: expected u64"),
        ("-1", "amount_msat: expected u64"),
        ("1.5", "amount_msat: expected u64"),
        ("1e308", "amount_msat: expected u64"),
        ("\"1000\"", "amount_msat: expected u64"),
        ("null", "amount_msat: expected u64"),
    ] {
        let body = format!(
            r#"{{"route":"joke","service":"demo","amount_msat":{amount},"credit_msat":1,"memo":""}}"#
        );
        let call = server.call(reqwest::Method::POST, "/v1/challenges");
        let call = call.header("content-type", "application/json").body(body);
        let problem = problem(call.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_field"), "{amount}");
        assert_eq!(problem.detail, problem_says, "{amount}");
    }
}

#[tokio::test]
async fn a_session_buys_no_credit() {
    let server = Server::start().await;
    let session = |amount: u64, field: &str, value: serde_json::Value| {
        let mut body = challenge(amount, "");
        body["buys"] = json!("session");
        body["credit_msat"] = json!(0);
        body[field] = value;
        body
    };
    for (field, value) in [
        ("credit_msat", json!(5_000)),
        ("seed_msat", json!(1)),
        ("credit_ttl_s", json!(60)),
        ("top_up", json!(PaymentHash::from_bytes([7; 32]))),
    ] {
        let problem = problem(server.challenge(session(5_000, field, value)).await).await;
        assert_eq!((problem.status, problem.code.as_str()), (422, "invalid_field"));
        let detail = format!("{field}: expected none for a session, but found one");
        assert_eq!(problem.detail, detail);
    }
    let sold = invoice(server.challenge(session(5_000, "buys", json!("session"))).await).await;
    let paid = server.paid_invoice(&sold).await;
    let view = server.account(paid.hash).await;
    assert_eq!((&view["balance_msat"], &view["charged_msat"]), (&json!(0), &json!(5_000)));
    let mut top_up = challenge(1, "");
    top_up["top_up"] = json!(paid.hash);
    assert_eq!(problem(server.challenge(top_up).await).await.code, "top_up_unknown");
    let path = format!("/admin/v1/accounts/{}/grant", paid.hash);
    let body = json!({"id": new_id(), "actor": "ann", "reason": "kind", "amount_msat": 1});
    let grant = server.admin(reqwest::Method::POST, &path).json(&body).send().await.unwrap();
    let refused = problem(grant).await;
    assert_eq!((refused.status, refused.code.as_str()), (409, "session_has_no_credit"));
}

#[tokio::test]
async fn a_top_up_of_nothing_known_is_refused() {
    let server = Server::start().await;
    let unknown = PaymentHash::from_bytes([7; 32]);
    let mut body = challenge(1, "");
    body["top_up"] = json!(unknown);
    let problem = problem(server.challenge(body).await).await;
    assert_eq!((problem.status, problem.code.as_str()), (404, "top_up_unknown"));
    assert_eq!(server.stats().await["invoices_open"], 0);
}

#[tokio::test]
async fn a_top_up_above_the_largest_balance_is_refused() {
    let server = Server::start().await;
    let paid = server.paid(Msat::MAX.get()).await;
    let mut body = challenge(1, "");
    body["top_up"] = json!(paid.hash);
    let problem = problem(server.challenge(body).await).await;
    assert_eq!((problem.status, problem.code.as_str()), (409, "balance_limit"));
}

#[tokio::test]
async fn paying_twice_proves_the_same_and_credits_once() {
    let server = Server::start().await;
    let invoice = server.invoice(5_000, None).await;
    let first = server.paid_invoice(&invoice).await;
    let second = server.paid_invoice(&invoice).await;
    assert_eq!(first.preimage, second.preimage);
    assert_eq!(server.stats().await["credited_msat"], 5_000);
}

#[tokio::test]
async fn only_a_live_invoice_of_this_node_is_paid() {
    let server = Server::start().await;
    let other = Server::start().await;
    let foreign = other.invoice(1_000, None).await.invoice;
    let expired = server.invoice(1_000, None).await.invoice;
    server.clock.advance_ms(600_000);
    for (invoice, status, code) in [
        (foreign.as_str(), 404, "invoice_not_ours"),
        (expired.as_str(), 410, "invoice_expired"),
        ("lnbcrt1notaninvoice", 422, "invoice_malformed"),
        ("", 422, "invoice_malformed"),
    ] {
        let problem = problem(server.pay(invoice).await).await;
        assert_eq!((problem.status, problem.code.as_str()), (status, code), "{invoice}");
        assert!(invoice.is_empty() || !problem.detail.contains(invoice), "{}", problem.detail);
    }
    assert_eq!(server.stats().await["credited_msat"], 0);
}
