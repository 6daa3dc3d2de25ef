//! A share of what is paid goes on to a Lightning address, from the simulated wallet.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::routing::get;
use axum::{Json, Router};
use reqwest::Method;
use serde_json::{Value, json};
use tollway_testkit::standin::{Kind, Mischief, StandIn};
use tollwayd::clock::ManualClock;
use tollwayd::config::{Config, RawConfig};

use crate::support::*;

/// From here on, calls are counted and never answered.
const HANGS: usize = 1_000;

/// A Lightning address whose invoices another tollwayd makes.
#[derive(Clone)]
struct Address {
    url: String,
    doors: Doors,
    /// While it is above 0, it answers 500, and counts down.
    failures: Arc<AtomicUsize>,
    invoices: Arc<Mutex<Vec<String>>>,
}

impl Address {
    async fn start(doors: &Doors) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (failures, invoices) = (Arc::default(), Arc::default());
        let address = Self { url, doors: doors.clone(), failures, invoices };
        let router = Router::new()
            .route("/.well-known/lnurlp/ann", get(offer))
            .route("/cb", get(make))
            .with_state(address.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn invoices(&self) -> usize {
        self.invoices.lock().unwrap().len()
    }
}

async fn offer(State(address): State<Address>) -> (StatusCode, Json<Value>) {
    let callback = format!("{}/cb", address.url);
    let offer = json!({
        "tag": "payRequest", "callback": callback, "minSendable": 1_000, "maxSendable": 1_000_000,
        "metadata": "[]",
    });
    let left = address.failures.load(Ordering::SeqCst);
    if left >= HANGS {
        address.failures.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<()>().await;
    }
    if left > 0 {
        address.failures.store(left - 1, Ordering::SeqCst);
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(offer));
    }
    (StatusCode::OK, Json(offer))
}

async fn make(State(address): State<Address>, uri: Uri) -> Json<Value> {
    let amount = uri.query().unwrap().strip_prefix("amount=").unwrap().parse().unwrap();
    let invoice = address.doors.invoice(amount, None).await.invoice;
    address.invoices.lock().unwrap().push(invoice.clone());
    Json(json!({ "pr": invoice, "routes": [] }))
}

fn text(address: &str, more: &str) -> String {
    let example = include_str!("../../../../envoy/tollwayd.toml");
    format!(
        "{example}\n[[splits]]\nname = \"royalty\"\nbasis_points = 200\n\
         to = \"{address}/.well-known/lnurlp/ann\"\nallow_private = true\n{more}\n"
    )
}

fn config(directory: &Path, text: &str) -> Result<Config, String> {
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        "NODE_SECRET" => Some("0201036c6e6473757065722d7365637265742d7374616e642d696e".to_owned()),
        _ => None,
    };
    let raw = RawConfig::parse(text).map_err(|error| error.to_string())?;
    raw.resolve(&env).map_err(|error| error.to_string())
}

async fn paid_out(doors: &Doors, msat: u64) {
    let line = format!("tollwayd_paid_out_msat_total {msat}\n");
    until(&line, async || doors.metrics().await.contains(&line).then_some(())).await;
}

#[tokio::test]
async fn a_share_goes_to_a_lightning_address_once_and_leaves_a_line() {
    let receiver = Server::start().await;
    let address = Address::start(&receiver.doors).await;
    address.failures.store(1, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &text(&address.url, "")).unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let server = Server::start_with(directory, clock, config).await;
    let ready = async || {
        let url = format!("{}/readyz", server.gate);
        let reply = server.client.get(url).send().await.unwrap();
        reply.status().is_success().then_some(())
    };
    until("the wallet may pay", ready).await;
    // The address is down, and the credit does not wait for it.
    let paid = server.paid(1_049_000).await;
    assert!(matches!(
        server.hold(new_id(), &paid, 1_000).await,
        tollway_core::wire::HoldReply::Granted { .. }
    ));
    let delayed = "tollwayd_deliveries_total{outcome=\"delayed\"} 1\n";
    until(delayed, async || server.metrics().await.contains(delayed).then_some(())).await;
    server.clock.advance_ms(5_000);
    // 2 % of 1,049 sat is 20.98 sat.
    paid_out(&server, 20_000).await;
    let bolt11 = address.invoices.lock().unwrap()[0].clone();
    let made: lightning_invoice::SignedRawBolt11Invoice = bolt11.parse().unwrap();
    assert_eq!(made.raw_invoice().amount_pico_btc(), Some(200_000));
    let call = server.admin(Method::GET, "/admin/v1/actions");
    let actions: Value = expect(call.send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(
        (&actions[0]["kind"], &actions[0]["amount_msat"]),
        (&json!("payout"), &json!(20_000))
    );
    // A payment of which the share is too small, and a restart, pay nothing more.
    server.paid(10_000).await;
    let Stopped { directory, clock } = server.stop().await;
    clock.advance_ms(86_400_000);
    receiver.clock.advance_ms(86_400_000);
    let config = self::config(directory.path(), &text(&address.url, "")).unwrap();
    let server = Server::start_with(directory, clock, config).await;
    server.paid(500_000).await;
    paid_out(&server, 10_000).await;
    assert_eq!(address.invoices(), 2);
    server.shutdown().await;
    receiver.shutdown().await;
}

#[tokio::test]
async fn what_was_under_way_when_the_server_stopped_is_paid_once() {
    let receiver = Server::start().await;
    let address = Address::start(&receiver.doors).await;
    address.failures.store(HANGS, Ordering::SeqCst);
    let directory = tempfile::tempdir().unwrap();
    let config = |directory: &Path| self::config(directory, &text(&address.url, "")).unwrap();
    let clock = Arc::new(ManualClock::new(START_MS));
    let first = config(directory.path());
    let server = Server::start_with(directory, clock, first).await;
    server.paid(1_000_000).await;
    until("tried again", async || (address.failures.load(Ordering::SeqCst) > HANGS).then_some(()))
        .await;
    let Stopped { directory, clock } = server.stop().await;
    address.failures.store(0, Ordering::SeqCst);
    let second = config(directory.path());
    let server = Server::start_with(directory, clock, second).await;
    // It is left alone for twice the time that a try may take.
    for clock in [&server.clock, &receiver.clock] {
        clock.advance_ms(180_000);
    }
    paid_out(&server, 20_000).await;
    let Stopped { directory, .. } = server.stop().await;
    let node = directory.path().join("tollwayd.db.node");
    let sent = std::fs::read_to_string(node).unwrap().matches("\"sent\"").count();
    assert_eq!((sent, address.invoices()), (1, 1), "it left the wallet once");
    receiver.shutdown().await;
}

/// A server that pays out from a stand-in, whose words for the right to pay are LND's.
async fn paying_from(node: &StandIn) -> Server {
    let wallet = format!(
        "[payouts.wallet]\nbackend = \"lnd\"\nurl = \"{}\"\nmacaroon = \"env:NODE_SECRET\"\n\
         network = \"regtest\"",
        node.url()
    );
    let directory = tempfile::tempdir().unwrap();
    let config = config(directory.path(), &text("http://127.0.0.1:9", &wallet)).unwrap();
    Server::start_with(directory, Arc::new(ManualClock::new(START_MS)), config).await
}

#[tokio::test]
async fn a_credential_that_may_not_pay_is_not_ready() {
    let node = StandIn::start(Kind::Lnd).await.unwrap();
    let server = paying_from(&node).await;
    let generous = StandIn::start(Kind::Lnd).await.unwrap();
    generous.till.set(Mischief::Generous, true);
    let other = paying_from(&generous).await;
    let ready = async |server: &Server| {
        server.client.get(format!("{}/readyz", server.admin)).send().await.unwrap()
    };
    until("ready", async || ready(&other).await.status().is_success().then_some(())).await;
    // It was asked before the other one was.
    let refused = ready(&server).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(problem(refused).await.code, "payouts_denied");
    // Whoever asks all the same is sold to: shares wait in the outbox.
    server.paid(1_000_000).await;
    server.shutdown().await;
    other.shutdown().await;
}

#[test]
fn splits_are_checked_before_a_port_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let split = |more: &str| {
        let example = include_str!("../../../../envoy/tollwayd.toml");
        let text = format!("{example}\n[[splits]]\nname = \"a\"\n{more}\n");
        config(directory.path(), &text).map(drop)
    };
    let second = "[[splits]]\nname = \"b\"\nto = \"b@example.com\"\nroutes = [\"joke\"]\n";
    for (more, said) in [
        ("basis_points = 0\nto = \"a@example.com\"", "splits.basis_points: expected 1 to 10000"),
        ("basis_points = 1\nto = \"a\"", "splits.to: \"a\": expected an address"),
        ("basis_points = 1\nto = \"https://127.0.0.1/\"", "expected a public address"),
        ("basis_points = 1", "expected either to or wallet"),
        ("basis_points = 1\nto = \"a@example.com\"\nmin_sats = 0", "splits.max_sats"),
        ("basis_points = 1\nto = \"a@example.com\"\nmax_sats = 9", "splits.max_sats"),
        (
            &format!("basis_points = 5001\nto = \"a@example.com\"\n{second}basis_points = 5000"),
            "the shares of route \"joke\" are 10001 basis points",
        ),
        (
            "basis_points = 1\n[splits.wallet]\nbackend = \"simulated\"",
            "splits.wallet: \"a\": expected a node on the payer's chain",
        ),
        (
            "basis_points = 1\n[splits.wallet]\nbackend = \"lnbits\"",
            "splits.wallet: lightning.url: it is missing",
        ),
        (
            "basis_points = 1\nto = \"a@example.com\"\n[payouts.wallet]\nbackend = \"cln\"\n\
             url = \"http://127.0.0.1:1\"\nrune = \"env:NODE_SECRET\"",
            "payouts.wallet: tollwayd cannot pay with cln",
        ),
    ] {
        let error = split(more).unwrap_err();
        assert!(error.contains(said), "{more}: {error}");
    }
    let halves =
        format!("basis_points = 5000\nto = \"a@example.com\"\n{second}basis_points = 5000");
    assert_eq!(split(&halves), Ok(()));
}
