//! What the store promises.

use std::fs;

use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};

use super::records::{CREDENTIALS_PER_ORIGIN_MAX, Contents, Proof};
use super::*;
use crate::budget::{DAY_S, Limit};
use crate::token::Scheme;

/// 21 sats; it has expired, which nobody here minds.
const INVOICE: &str = "lnbc210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2vesdq8w3jhxaqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsxqrrsscqpj9qypqsqtt0v9fge9c9tw92h7uj47v3vw4c68u8lvjfxg28w69tpc70lh99xzlg3e5uwvfefweschgul7zpna3qgw8kw0xrh5n3d754l9rl5yxcpy4ys7h";
const PREIMAGE: &[u8] = b"107661134f21fc7c02223d50ab9eb3600bc3ffc3712423a1e47bb1f9a9dbf55f";

fn token(name: &str) -> Token {
    Token::macaroon(name).unwrap()
}

fn challenge(name: &str) -> Challenge {
    Challenge::new(Scheme::L402, token(name), INVOICE).unwrap()
}

fn preimage() -> Preimage {
    Preimage::from_hex(PREIMAGE).unwrap()
}

fn purchase(path: &str, now_s: u64) -> Purchase {
    let origin = "http://a".to_owned();
    Purchase { origin, host: "a".into(), path: path.into(), now_s }
}

fn store() -> (tempfile::TempDir, CredentialStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = CredentialStore::at(folder.path().join("a/b/credentials.json"));
    (folder, store)
}

fn begin(store: &CredentialStore, name: &str, path: &str) -> Credential {
    let budget = Budget::default();
    store.begin(&purchase(path, 1_000), &challenge(name), &budget).unwrap().unwrap()
}

fn buy(store: &CredentialStore, name: &str, path: &str, succeeded: &[Token]) -> Credential {
    let paid = begin(store, name, path).paid(preimage());
    store.settle("http://a", &paid, Msat::ZERO, succeeded).unwrap();
    paid
}

#[test]
fn keeps_credentials_by_origin_bought_last_first() {
    for store in [store().1, CredentialStore::in_memory()] {
        assert_eq!(store.load("http://a").unwrap(), []);
        let jokes = buy(&store, "m1", "/jokes", &[]);
        let time = buy(&store, "m2", "/time", &[]);
        assert_eq!(store.load("http://a").unwrap(), [time, jokes]);
        assert_eq!(store.load("http://b").unwrap(), []);
    }
}

#[test]
fn a_paid_credential_replaces_its_pending_form_and_those_it_succeeds() {
    let (_folder, store) = store();
    let old = buy(&store, "m1", "/jokes", &[]);
    let other = buy(&store, "m2", "/time", &[]);
    let pending = begin(&store, "m3", "/jokes");
    assert_eq!(store.load("http://a").unwrap(), [pending.clone(), other.clone(), old]);
    let paid = pending.paid(preimage());
    // The other one was tried too, but it is for another path.
    let tried = [token("m1"), token("m2")];
    store.settle("http://a", &paid, Msat::ZERO, &tried).unwrap();
    assert_eq!(store.load("http://a").unwrap(), [paid, other]);
}

#[test]
fn what_was_certainly_not_paid_is_forgotten_and_counts_no_more() {
    let (_folder, store) = store();
    let pending = begin(&store, "m1", "/jokes");
    assert_eq!(store.payments().unwrap().len(), 1);
    store.abandon("http://a", &pending).unwrap();
    assert_eq!((store.load("http://a").unwrap(), store.payments().unwrap()), (vec![], vec![]));
}

#[test]
fn forgets_the_first_bought_beyond_the_bound_but_no_open_payment() {
    let (_folder, store) = store();
    let open = begin(&store, "open", "/");
    for n in 0..=CREDENTIALS_PER_ORIGIN_MAX {
        buy(&store, &format!("m{n}"), &format!("/{n}"), &[]);
    }
    let kept = store.load("http://a").unwrap();
    assert_eq!(kept.len(), CREDENTIALS_PER_ORIGIN_MAX + 1);
    assert!(kept.contains(&open) && kept.iter().all(|credential| credential.token != token("m0")));
}

#[test]
fn the_budget_counts_what_was_begun_and_what_was_paid_with_its_fee() {
    let (_folder, store) = store();
    let budget = Budget::per_request_sats(100).per_day_sats(64);
    let ask = |store: &CredentialStore, now_s| {
        store.begin(&purchase("/", now_s), &challenge("m"), &budget).unwrap()
    };
    let first = ask(&store, 1_000).unwrap().paid(preimage());
    store.settle("http://a", &first, Msat::from_sats(2).unwrap(), &[]).unwrap();
    ask(&store, 1_000).unwrap();
    let over = ask(&store, 1_000).unwrap_err();
    assert_eq!((over.limit, over.spent.to_sats_rounded_up()), (Limit::Day, 44));
    ask(&store, 1_000 + DAY_S).unwrap();
}

#[test]
fn old_payments_are_forgotten_and_those_of_today_are_not() {
    let mut contents = Contents::default();
    let budget = Budget::default();
    for at in 0..1_500 {
        contents.begin(&purchase("/", at), &challenge("m"), &budget).unwrap();
    }
    assert_eq!(contents.payments().len(), 1_500);
    contents.begin(&purchase("/", 2 * DAY_S), &challenge("m"), &budget).unwrap();
    let kept = contents.payments();
    assert_eq!((kept.len(), kept[0].at_s), (1_001, 500));
}

#[test]
fn remembers_where_a_credential_served_and_what_is_left() {
    let (_folder, store) = store();
    let paid = buy(&store, "m", "/jokes/1", &[]);
    store.served("http://a", &paid.token, "/jokes/2", Some(Msat::ZERO)).unwrap();
    let kept = &store.load("http://a").unwrap()[0];
    assert_eq!(kept.paths, ["/jokes/2", "/jokes/1"]);
    assert_eq!(store.credentials().unwrap()[0].balance, Some(Msat::ZERO));
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, store) = store();
    buy(&store, "m", "/", &[]);
    let path = store.path().unwrap();
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let folder = path.parent().unwrap();
    assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn changes_at_the_same_time_lose_nothing() {
    let (_folder, store) = store();
    let path = store.path().unwrap().to_owned();
    std::thread::scope(|scope| {
        for n in 0..8_u8 {
            let path = path.clone();
            // Stores of their own, as other processes have.
            scope.spawn(move || {
                buy(&CredentialStore::at(path), &format!("m{n}"), &format!("/{n}"), &[]);
            });
        }
    });
    assert_eq!(store.load("http://a").unwrap().len(), 8);
    assert_eq!(store.payments().unwrap().len(), 8);
}

#[tokio::test]
async fn one_buys_at_a_time_between_stores_that_share_a_file() {
    let (_folder, store) = store();
    let other = CredentialStore::at(store.path().unwrap().to_owned());
    let held = store.purchase("http://a", "jokes").await.unwrap();
    let mut waiting = Box::pin(other.purchase("http://a", "jokes"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(held);
    waiting.await.unwrap();
}

#[tokio::test]
async fn whoever_bought_a_credential_uses_it_first() {
    let (_folder, store) = store();
    let paid = buy(&store, "m", "/", &[]);
    let other = CredentialStore::at(store.path().unwrap().to_owned());
    let first = store.claim(paid.clone()).unwrap().unwrap();
    for store in [&store, &other] {
        assert!(store.usable(paid.clone()).unwrap().is_none());
    }
    let mut here = Box::pin(store.after_first_use(paid.clone()));
    let mut there = Box::pin(other.after_first_use(paid.clone()));
    assert!(futures_util::poll!(&mut here).is_pending());
    assert!(futures_util::poll!(&mut there).is_pending());
    drop(first);
    here.await.unwrap();
    there.await.unwrap();
    // From now on it is for everybody at once.
    let _one = store.usable(paid.clone()).unwrap().unwrap();
    assert!(other.usable(paid).unwrap().is_some());
}

#[test]
fn what_a_process_that_died_had_for_itself_is_free() {
    let (_folder, store) = store();
    let paid = buy(&store, "m", "/", &[]);
    let hash = paid.payment_hash().unwrap();
    let left = store.path().unwrap().with_extension(format!("using-{hash}.lock"));
    fs::write(&left, "").unwrap();
    assert!(store.usable(paid).unwrap().is_some());
    assert!(!left.exists());
}

#[test]
fn a_foreign_file_is_refused_and_left_alone() {
    let (_folder, store) = store();
    let path = store.path().unwrap();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for text in ["{", "[]", r#"{"version":1,"origins":{},"payments":[]}"#] {
        fs::write(path, text).unwrap();
        assert!(matches!(store.load("o"), Err(StoreError::Malformed { .. })), "{text}");
        let forget = store.forget("o", &token("m"));
        assert!(matches!(forget, Err(StoreError::Malformed { .. })), "{text}");
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn the_state_folder_follows_the_xdg_specification() {
    let at = |vars: &[(&str, &str)]| {
        let find = |name: &str| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        let store = CredentialStore::in_state_folder(find).ok()?;
        store.path().map(Path::to_owned)
    };
    let xdg = ("XDG_STATE_HOME", "/s");
    let home = ("HOME", "/h");
    assert_eq!(at(&[xdg, home]).unwrap(), Path::new("/s/tollway/credentials.json"));
    assert_eq!(
        at(&[("XDG_STATE_HOME", "s"), home]).unwrap(),
        Path::new("/h/.local/state/tollway/credentials.json")
    );
    assert_eq!(at(&[]), None);
}

#[test]
fn debug_shows_no_preimage() {
    let proof = Proof::Preimage(Preimage::from_bytes([0x42; 32]));
    let paid = Credential { proof, ..begin(&CredentialStore::in_memory(), "m", "/") };
    let shown = format!("{paid:?}");
    assert!(!shown.contains("4242") && shown.contains("redacted"), "{shown}");
    assert_eq!(
        paid.payment_hash(),
        Some(
            PaymentHash::from_hex(
                b"425ed4e4a36b30ea21b90e21c712c649e8214c29b7eaf68089d1039c6e55384c"
            )
            .unwrap()
        )
    );
}
