//! Tokens of other paywalls through the real Envoy: accepted, credited once, and sold.

use std::path::Path;

use serde_json::json;
use tokio::task::JoinSet;
use tollway_core::compat::lightning_toll::{Bindings, Token};
use tollway_core::compat::toll_booth;
use tollway_core::payment::Preimage;
use tollway_core::secret::{RootKey, SecretText};
use tollway_testkit::stack::StackOptions;

use crate::clients::run;
use crate::harness::{Gateway, config, repository};

const SECRET: &str = "secret-of-the-old-lightning-toll";

/// A stack whose tollwayd takes the tokens of both packages, with this form of challenges.
async fn gateway(directory: &Path, profile: &str) -> Gateway {
    let mut filter = config();
    filter["accept_formats"] = json!(["l402", "lightning-toll", "toll-booth"]);
    filter["profile"] = profile.into();
    let secret = directory.join("secret");
    let root_key = directory.join("root-key");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::fs::write(&root_key, hex::encode([7; 32])).unwrap();
    let mut text = std::fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    for (format, file) in [("lightning-toll", &secret), ("toll-booth", &root_key)] {
        text += &format!(
            "\n[[legacy_keys]]\nformat = \"{format}\"\nsecret = \"file:{}\"\nservices = [\"demo\"]\n",
            file.display()
        );
    }
    let file = directory.join("tollwayd.toml");
    std::fs::write(&file, text).unwrap();
    let options = StackOptions {
        filter: Some(filter),
        tollwayd_config: Some(file),
        ..StackOptions::default()
    };
    Gateway::with(options).await
}

fn preimage(byte: u8) -> Preimage {
    Preimage::from_bytes([byte; 32])
}

/// What the old lightning-toll sold; the differential test holds it to the package's bytes.
fn lightning_toll(byte: u8, endpoint: &str) -> String {
    let bindings = Bindings { expires_at: 4_000_000_000, endpoint, method: "GET", ip: "" };
    let id = preimage(byte).payment_hash().to_hex();
    let token = Token::mint(&SecretText::new(SECRET.to_owned()), &id, &bindings);
    format!("L402 {}:{}", token.to_base64(), preimage(byte).reveal_hex())
}

/// What the old toll-booth sold.
fn toll_booth(byte: u8, credit_sats: u64) -> String {
    toll_booth_under(RootKey::from_bytes([7; 32]), byte, credit_sats)
}

fn toll_booth_under(key: RootKey, byte: u8, credit_sats: u64) -> String {
    let token = toll_booth::mint(&key, preimage(byte).payment_hash(), [byte; 32], credit_sats);
    format!("L402 {}:{}", toll_booth::to_base64(&token), preimage(byte).reveal_hex())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_tokens_are_spent_here_and_one_payment_opens_one_account() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), "l402").await;

    // A request's worth, whoever comes first.
    let credential = lightning_toll(1, "/api/joke");
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (http, credential) = (gateway.http.clone(), credential.clone());
        requests.spawn(async move { http.get("/api/joke", Some(&credential)).await });
    }
    let answers = requests.join_all().await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(served, 1, "{answers:?}");
    let refused = answers.iter().find(|answer| answer.status != 200).unwrap();
    assert_eq!((refused.status.as_u16(), &*refused.code()), (402, "insufficient_credit"));
    // The account is one like any other: it can be topped up, by our own token.
    let own = gateway.http.pay(refused).await;
    for credential in [&credential, &own] {
        assert_eq!(gateway.http.get("/api/joke", Some(credential)).await.status, 200);
    }

    // What it was sold with.
    let credential = toll_booth(2, 12);
    for (path, status, left) in
        [("/api/joke", 200, "7000"), ("/api/joke", 200, "2000"), ("/api/joke", 402, "2000")]
    {
        let answer = gateway.http.get(path, Some(&credential)).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("x-toll-balance-msat"), left);
    }

    // Bound to another path, another service, and forged.
    for (path, credential, code) in [
        ("/echo", lightning_toll(3, "/api/joke"), "wrong_endpoint"),
        ("/api/fortune", toll_booth(4, 50), "wrong_service"),
        ("/echo", toll_booth_under(RootKey::from_bytes([8; 32]), 4, 50), "signature_invalid"),
    ] {
        let answer = gateway.http.get(path, Some(&credential)).await;
        assert_eq!((answer.status.as_u16(), &*answer.code()), (402, code), "{path}");
    }
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 5_000 + 20_000 + 12_000);
    assert_eq!(stats["charged_msat"], 5_000 + 10_000 + 10_000);
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_profile_sells_tokens_that_its_clients_can_spend() {
    for (profile, price) in [("lightning-toll", "/api/joke"), ("toll-booth", "/api/joke")] {
        let directory = tempfile::tempdir().unwrap();
        let gateway = gateway(directory.path(), profile).await;
        let challenge = gateway.http.get(price, None).await;
        assert_eq!(challenge.status, 402);
        let body = challenge.json();
        let shown = if profile == "toll-booth" { &body["l402"] } else { &body };
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        let (invoice, macaroon) = (text("invoice"), text("macaroon"));
        let line = challenge.header("www-authenticate");
        assert!(line.starts_with("L402 ") && line.contains(&invoice) && line.contains(&macaroon));
        let preimage = gateway.http.preimage(&invoice).await;
        let credential = format!("L402 {macaroon}:{preimage}");
        for left in ["15000", "10000"] {
            let answer = gateway.http.get(price, Some(&credential)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("x-toll-balance-msat"), left);
        }
        let bad = gateway.http.get(price, Some("L402 garbage:00")).await;
        assert_eq!(bad.status, if profile == "lightning-toll" { 401 } else { 402 });
        assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 10_000);
        gateway.audit();
    }
}

/// The published client pays, and the published library and ours read each other's tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lightning_toll_s_own_client_and_tokens() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = gateway(directory.path(), "lightning-toll").await;
    let python = repository(".tools/venv/bin/python");
    let secret = [("TOLLWAY_OLD_SECRET", SECRET)];
    run(&gateway, &python.to_string_lossy(), "lightning_toll_client.py", &secret);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 20_000 + 5_000, "one payment, and one taken over");
    assert_eq!(stats["charged_msat"], 10_000 + 5_000);
    gateway.audit();
}
