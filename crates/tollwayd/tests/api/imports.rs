//! Credit of other paywalls' tokens, taken over once.

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use tollway_core::compat::Format;
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use tollway_core::secret::SecretText;
use tollway_core::wire::{HoldRefusal, HoldReply, HoldRequest, KeyringReply, LegacyKey};
use tollwayd::clock::ManualClock;

use crate::support::*;

fn legacy_keys() -> Vec<LegacyKey> {
    let secret = SecretText::new("canary-secret-of-the-old-system".to_owned());
    vec![LegacyKey { format: Format::LightningToll, secret, services: vec!["demo".to_owned()] }]
}

async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let mut config = config(directory.path());
    config.legacy_keys = legacy_keys();
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

/// A payment that no ledger of ours knows.
fn foreign(byte: u8) -> Paid {
    let preimage = Preimage::from_bytes([byte; 32]);
    Paid { hash: preimage.payment_hash(), preimage }
}

fn importing(paid: &Paid, amount: u64, worth: u64) -> HoldRequest {
    HoldRequest { import_msat: Msat::new(worth), ..hold_request(paid, amount) }
}

async fn hold(doors: &Doors, request: HoldRequest) -> HoldReply {
    expect(doors.put_hold(new_id(), &request).await, reqwest::StatusCode::OK).await
}

const UNKNOWN: HoldReply = HoldReply::Refused {
    refusal: HoldRefusal::UnknownPayment,
    balance_msat: Msat::ZERO,
    resets_at: None,
    tier: None,
};

#[tokio::test]
async fn the_keys_travel_with_the_keyring() {
    let server = server().await;
    let call = server.call(reqwest::Method::GET, "/v1/keyring").send().await.unwrap();
    let keyring: KeyringReply = expect(call, reqwest::StatusCode::OK).await;
    assert_eq!(keyring.legacy, legacy_keys());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_foreign_payment_opens_an_account_once_whoever_comes_first() {
    let server = server().await;
    for round in 1..=8 {
        let paid = foreign(round);
        let mut uses = JoinSet::new();
        for _ in 0..16 {
            let (doors, paid) = (server.doors.clone(), paid.clone());
            uses.spawn(async move { hold(&doors, importing(&paid, 300, 1_000)).await });
        }
        let replies = uses.join_all().await;
        let granted = replies.iter().filter(|reply| matches!(reply, HoldReply::Granted { .. }));
        assert_eq!(granted.count(), 3, "{replies:?}");
        let view = server.account(paid.hash).await;
        assert_eq!((&view["balance_msat"], &view["entries_total"]), (&json!(1_000), &json!(1)));
    }
    assert!(server.metrics().await.contains("\ntollwayd_settlements_total 8\n"));
}

#[tokio::test]
async fn a_later_word_about_its_worth_changes_nothing() {
    let server = server().await;
    let paid = foreign(1);
    assert!(matches!(hold(&server, importing(&paid, 400, 1_000)).await, HoldReply::Granted { .. }));
    let reply = hold(&server, importing(&paid, 700, 9_000_000)).await;
    let HoldReply::Refused { refusal, balance_msat, .. } = reply else { panic!("{reply:?}") };
    assert_eq!((refusal, balance_msat.get()), (HoldRefusal::InsufficientCredit, 600));
    // A restart forgets nothing, and neither do the keys have to stay.
    let server = server.restart().await;
    let reply = hold(&server, importing(&paid, 700, 9_000_000)).await;
    assert!(matches!(reply, HoldReply::Refused { refusal: HoldRefusal::InsufficientCredit, .. }));
}

#[tokio::test]
async fn a_payment_of_ours_is_worth_what_it_was_sold_for() {
    let server = server().await;
    let paid = server.paid(1_000).await;
    let reply = hold(&server, importing(&paid, 2_000, 9_000)).await;
    assert!(matches!(reply, HoldReply::Refused { refusal: HoldRefusal::InsufficientCredit, .. }));
}

#[tokio::test]
async fn nothing_is_taken_over_unproven_unasked_or_unwanted() {
    let server = server().await;
    let wrong = Paid { hash: foreign(1).hash, preimage: Preimage::from_bytes([2; 32]) };
    assert_eq!(hold(&server, importing(&wrong, 1, 1_000)).await, UNKNOWN);
    assert_eq!(hold(&server, hold_request(&foreign(1), 1)).await, UNKNOWN);
    assert_eq!(hold(&server, importing(&foreign(1), 1, 0)).await, UNKNOWN);
    let plain = Server::start().await;
    assert_eq!(hold(&plain, importing(&foreign(1), 1, 1_000)).await, UNKNOWN);
    for doors in [&server, &plain] {
        assert_eq!(doors.stats().await["credited_msat"], 0);
    }
}
