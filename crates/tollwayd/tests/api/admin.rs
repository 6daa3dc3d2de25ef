//! The operator's doors and the keyring they rotate.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tollway_core::wire::KeyringReply;

use crate::support::*;

async fn keyring(doors: &Doors) -> KeyringReply {
    let response = doors.call(Method::GET, "/v1/keyring").send().await.unwrap();
    assert_eq!(response.headers()["cache-control"], "no-store");
    expect(response, StatusCode::OK).await
}

#[tokio::test]
async fn rotation_needs_no_restart_and_every_reply_has_a_fresh_seed() {
    let server = Server::start().await;
    let before = keyring(&server).await;
    assert_eq!((before.current, before.keys.len()), (before.keys[0].id, 1));
    let response = server.admin(Method::POST, "/admin/v1/keys/rotate").send().await.unwrap();
    let rotated: Value = expect(response, StatusCode::OK).await;
    let after = keyring(&server).await;
    assert_eq!(value(after.current), rotated["current"]);
    assert_eq!(after.keys.len(), 2);
    assert_eq!(after.keys[0], before.keys[0], "the old key keeps verifying");
    assert_ne!(after.keys[1].secret, before.keys[0].secret);
    assert_ne!(before.seed, after.seed);
}

#[tokio::test]
async fn two_stores_never_share_a_key() {
    let (one, two) = (Server::start().await, Server::start().await);
    assert_ne!(keyring(&one).await.keys[0].secret, keyring(&two).await.keys[0].secret);
}

#[tokio::test]
async fn an_account_is_found_by_any_hash_that_pays_into_it() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    let top_up = server.invoice(1_000, Some(paid.hash)).await;
    assert_eq!(server.account(top_up.payment_hash).await, server.account(paid.hash).await);
    for (hash, status, code) in [
        ("0".repeat(64), 404, "account_unknown"),
        ("xyz".to_owned(), 400, "invalid_path"),
        ("%ff".to_owned(), 400, "invalid_path"),
    ] {
        let call = server.admin(Method::GET, &format!("/admin/v1/accounts/{hash}"));
        let problem = problem(call.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.code.as_str()), (status, code));
    }
}

#[tokio::test]
async fn stats_add_up() {
    let server = Server::start().await;
    let paid = server.paid(5_000).await;
    server.invoice(1_000, None).await;
    let id = new_id();
    server.hold(id, &paid, 2_000).await;
    server.post(vec![posting(id, 0, 500, false)]).await;
    let stats = server.stats().await;
    for (field, expected) in [
        ("invoices_open", 1),
        ("invoices_settled", 1),
        ("holds_open", 1),
        ("credited_msat", 5_000),
        ("charged_msat", 500),
        ("held_msat", 1_500),
        ("balance_msat", 4_500),
    ] {
        assert_eq!(stats[field], expected, "{field} of {stats}");
    }
}
