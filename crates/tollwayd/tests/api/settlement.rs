//! Payments that a node knows of before anybody shows a preimage, on stand-ins for real nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tollway_core::wire::HoldReply;
use tollway_testkit::standin::{Kind, Mischief, STORE, StandIn};
use tollwayd::clock::{Clock, ManualClock, SystemClock};
use tollwayd::config::{Config, RawConfig};
use tollwayd::{App, RunningServer};

use crate::support::*;

const HOOK_SECRET: &str = "canary-hook-secret-10ab";

/// What docs/lightning.md asks of a key for invoices of the store, and of the node.
const BTCPAY_RIGHTS: [&str; 3] = [
    "btcpay.store.cancreateinvoice:StandInStore",
    "btcpay.store.canviewinvoices:StandInStore",
    "btcpay.store.canviewlightninginvoice:StandInStore",
];
const BTCPAY_MAKE: &str = "btcpay.store.cancreatelightninginvoice:StandInStore";

const KINDS: [Kind; 4] = [Kind::Lnd, Kind::Cln, Kind::Phoenixd, Kind::Btcpay];

/// A server whose invoices come from a stand-in, and a clock that tests move.
pub(crate) struct Shop {
    directory: tempfile::TempDir,
    kind: Kind,
    pub(crate) node: StandIn,
    pub(crate) clock: Arc<ManualClock>,
    running: RunningServer,
    pub(crate) doors: Doors,
}

/// The example's text with this node.
fn text(kind: Kind) -> String {
    let fields = match kind {
        Kind::Lnd => "backend = \"lnd\"\nmacaroon = \"env:NODE_SECRET\"".to_owned(),
        Kind::Cln => "backend = \"cln\"\nrune = \"env:NODE_SECRET\"".to_owned(),
        Kind::Phoenixd => "backend = \"phoenixd\"\npassword = \"env:NODE_SECRET\"".to_owned(),
        Kind::Btcpay => {
            format!(
                "backend = \"btcpay\"\napi_key = \"env:NODE_SECRET\"\nstore = \"{STORE}\"\n\
                 store_invoices = true\nwebhook_secret = \"env:HOOK_SECRET\""
            )
        }
    };
    include_str!("../../../../envoy/tollwayd.toml")
        .replace("backend = \"simulated\"", &fields)
        .replace("all_per_second = 500", "all_per_second = 100000")
}

fn config(directory: &std::path::Path, kind: Kind, node: &StandIn) -> Config {
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        "TOLLWAYD_LIGHTNING_URL" => Some(node.url()),
        "TOLLWAYD_LIGHTNING_NETWORK" => Some("regtest".to_owned()),
        "NODE_SECRET" => Some(node.credential.to_owned()),
        "HOOK_SECRET" => Some(HOOK_SECRET.to_owned()),
        _ => None,
    };
    RawConfig::parse(&text(kind)).unwrap().resolve(&env).unwrap()
}

async fn serve(
    directory: &std::path::Path,
    kind: Kind,
    node: &StandIn,
    clock: &Arc<ManualClock>,
) -> (RunningServer, Doors) {
    let running = App::start(config(directory, kind, node), clock.clone()).await.unwrap();
    let (gate, admin) = (running.gate_addr().to_string(), running.admin_addr().to_string());
    (running, Doors::new(&gate, &admin, reqwest::Client::new()))
}

impl Shop {
    pub(crate) async fn open(kind: Kind) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let node = StandIn::start(kind).await.unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now_ms()));
        let (running, doors) = serve(directory.path(), kind, &node, &clock).await;
        Self { directory, kind, node, clock, running, doors }
    }

    /// Stops the server, does something meanwhile, and starts it again.
    async fn closed(self, meanwhile: impl FnOnce(&StandIn)) -> Self {
        let Self { directory, kind, node, clock, running, .. } = self;
        running.shutdown().await.unwrap();
        meanwhile(&node);
        let (running, doors) = serve(directory.path(), kind, &node, &clock).await;
        Self { directory, kind, node, clock, running, doors }
    }

    /// A counter of this server, since it started.
    pub(crate) async fn count(&self, metric: &str) -> u64 {
        let metrics = self.doors.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric}")).parse().unwrap()
    }

    /// The node is asked how it is beside everything else, and not again while the clock stands.
    pub(crate) async fn until_gauged(&self) {
        let gauge = "tollwayd_node_inbound_msat{";
        until(gauge, async || self.doors.metrics().await.contains(gauge).then_some(())).await;
    }

    pub(crate) async fn settlements(&self) -> u64 {
        self.count("tollwayd_settlements_total").await
    }

    pub(crate) async fn until_settled(&self, settlements: u64) -> Duration {
        let begun = Instant::now();
        let what = format!("{:?}: {settlements} settlements", self.kind);
        until(&what, async || (self.settlements().await >= settlements).then_some(())).await;
        begun.elapsed()
    }

    async fn invoice_state(&self, invoice: &Invoice) -> String {
        let path = format!("/admin/v1/invoices/{}", invoice.payment_hash);
        let response = self.doors.admin(reqwest::Method::GET, &path).send().await.unwrap();
        let view: serde_json::Value = response.json().await.unwrap();
        view["state"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn balance(&self, invoice: &Invoice) -> u64 {
        self.doors.account(invoice.payment_hash).await["balance_msat"].as_u64().unwrap()
    }

    pub(crate) async fn audited(self) {
        audited(self.directory.path(), self.running).await;
    }
}

/// Stops a server, and its books agree.
pub(crate) async fn audited(directory: &std::path::Path, running: RunningServer) {
    let path = directory.join("tollwayd.toml");
    let store = directory.join("tollwayd.db");
    let text = include_str!("../../../../envoy/tollwayd.toml")
        .replace("\"tollwayd.db\"", &format!("\"{}\"", store.display()));
    std::fs::write(&path, text).unwrap();
    running.shutdown().await.unwrap();
    let audit = std::process::Command::new(env!("CARGO_BIN_EXE_tollwayd"))
        .args(["audit", "--config"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stdout));
}

#[tokio::test]
async fn a_payment_is_credited_before_its_preimage_is_shown_and_spent_after_that() {
    for kind in KINDS {
        let shop = Shop::open(kind).await;
        let invoice = shop.doors.invoice(21_000, None).await;
        let preimage = shop.node.till.pay(&invoice.invoice, 1_000).unwrap();
        // Who is told, hears it; who is not, asks after a second.
        shop.clock.advance_ms(1_000);
        shop.until_settled(1).await;
        assert_eq!(shop.balance(&invoice).await, 22_000, "{kind:?}: what was paid, not asked");
        let paid = Paid { hash: invoice.payment_hash, preimage };
        let HoldReply::Granted { balance_msat, .. } =
            shop.doors.hold(new_id(), &paid, 21_000).await
        else {
            panic!("{kind:?}: expected a hold");
        };
        assert_eq!(balance_msat.get(), 1_000);
        shop.audited().await;
    }
}

#[tokio::test]
async fn a_session_is_booked_when_its_payment_arrives() {
    let shop = Shop::open(Kind::Cln).await;
    let mut body = challenge(5_000, "a day");
    body["buys"] = json!("session");
    body["credit_msat"] = json!(0);
    let invoice = invoice(shop.doors.challenge(body).await).await;
    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    shop.until_settled(1).await;
    assert_eq!(shop.count("tollwayd_charged_msat_total").await, 5_000);
    assert_eq!(shop.balance(&invoice).await, 0);
    shop.audited().await;
}

#[tokio::test]
async fn a_thousand_payments_of_a_downtime_are_credited_once() {
    for kind in [Kind::Lnd, Kind::Phoenixd] {
        let shop = Shop::open(kind).await;
        let ask = |_| shop.doors.invoice(21_000, None);
        let invoices = stream::iter(0..1_000).map(ask).buffer_unordered(64);
        let invoices: Vec<Invoice> = invoices.collect().await;
        let shop = shop
            .closed(|node| {
                for invoice in &invoices {
                    node.till.pay(&invoice.invoice, 0).unwrap();
                }
            })
            .await;
        let took = shop.until_settled(1_000).await;
        println!("{kind:?}: 1,000 payments credited {took:?} after the start");
        assert_eq!(shop.count("tollwayd_credited_msat_total").await, 21_000_000);
        let balances = stream::iter(&invoices).map(|invoice| shop.balance(invoice));
        let balances: Vec<u64> = balances.buffer_unordered(64).collect().await;
        assert_eq!(balances, vec![21_000; 1_000]);
        // Whoever looks again, finds nothing to do.
        let shop = shop.closed(|_node| {}).await;
        let last = shop.doors.invoice(1_000, None).await;
        shop.node.till.pay(&last.invoice, 0).unwrap();
        shop.clock.advance_ms(1_000);
        shop.until_settled(1).await;
        assert_eq!(shop.count("tollwayd_credited_msat_total").await, 1_000);
        shop.audited().await;
    }
}

#[tokio::test]
async fn a_node_that_repeats_itself_credits_nothing_twice() {
    let shop = Shop::open(Kind::Lnd).await;
    shop.node.till.set(Mischief::Repeating, true);
    let shop = shop.closed(|_node| {}).await;
    for _ in 0..20 {
        let invoice = shop.doors.invoice(3_000, None).await;
        shop.node.till.pay(&invoice.invoice, 0).unwrap();
    }
    shop.until_settled(20).await;
    let shop = shop.closed(|_node| {}).await;
    // The stream begins with the first payment again; this one comes behind all of them.
    let last = shop.doors.invoice(1_000, None).await;
    shop.node.till.pay(&last.invoice, 0).unwrap();
    shop.until_settled(1).await;
    assert_eq!(shop.count("tollwayd_credited_msat_total").await, 1_000);
    shop.audited().await;
}

#[tokio::test]
async fn what_a_node_skips_is_found_by_asking_and_credited_once() {
    for kind in [Kind::Lnd, Kind::Cln] {
        let shop = Shop::open(kind).await;
        shop.node.till.set(Mischief::Skipping, true);
        let listens = async || (shop.node.till.listeners() > 0).then_some(());
        until("followed", listens).await;
        let mut invoices = Vec::new();
        for _ in 0..10 {
            invoices.push(shop.doors.invoice(3_000, None).await);
            let last = invoices.last().unwrap();
            shop.node.till.pay(&last.invoice, 0).unwrap();
        }
        // The clock stands still, so that nobody asks: every other one is heard of.
        shop.until_settled(5).await;
        let (skipped, told) = (&invoices[8], &invoices[9]);
        let state = async |invoice: &Invoice| shop.invoice_state(invoice).await;
        assert_eq!((state(skipped).await, state(told).await), ("open".into(), "settled".into()));
        // Its place in the count is behind all ten, also for the next start, which asks at once.
        let shop = shop.closed(|_node| {}).await;
        shop.until_settled(5).await;
        assert_eq!(shop.count("tollwayd_credited_msat_total").await, 15_000, "{kind:?}");
        for invoice in &invoices {
            assert_eq!(shop.balance(invoice).await, 3_000);
        }
        // One that is skipped while tollwayd runs is asked about when its time comes.
        let last = shop.doors.invoice(1_000, None).await;
        shop.node.till.pay(&last.invoice, 0).unwrap();
        shop.clock.advance_ms(60_000);
        shop.until_settled(6).await;
        assert_eq!(shop.count("tollwayd_credited_msat_total").await, 16_000);
        shop.audited().await;
    }
}

#[tokio::test]
async fn a_node_that_tells_of_nothing_is_asked() {
    for kind in [Kind::Lnd, Kind::Cln] {
        let shop = Shop::open(kind).await;
        shop.node.till.set(Mischief::Silent, true);
        let (paid, open) =
            (shop.doors.invoice(3_000, None).await, shop.doors.invoice(1, None).await);
        shop.node.till.pay(&paid.invoice, 0).unwrap();
        shop.clock.advance_ms(60_000);
        shop.until_settled(1).await;
        assert_eq!(shop.balance(&paid).await, 3_000);
        assert_eq!(shop.count("tollwayd_credited_msat_total").await, 3_000, "not {}", open.invoice);
    }
}

#[tokio::test]
async fn a_hint_is_looked_up_and_never_believed() {
    let shop = Shop::open(Kind::Phoenixd).await;
    let hint = async |body: String| {
        let url = format!("{}/hooks/v1/lightning", shop.doors.gate);
        shop.doors.client.post(url).body(body).send().await.unwrap().status().as_u16()
    };
    let invoice = shop.doors.invoice(3_000, None).await;
    let hash = invoice.payment_hash;
    let words = json!({"type": "payment_received", "paymentHash": hash, "amountSat": 1_000_000});
    shop.until_gauged().await;
    let before = shop.node.till.look_ups();
    assert_eq!(hint(words.to_string()).await, 204);
    until("asked", async || (shop.node.till.look_ups() > before).then_some(())).await;
    assert_eq!(shop.settlements().await, 0, "it is not paid");
    // Neither repeats nor other people's hashes cost the node anything.
    let asked = shop.node.till.look_ups();
    for tag in 0..50_u8 {
        assert_eq!(hint(words.to_string()).await, 204);
        let other = hex::encode([tag; 32]);
        assert_eq!(hint(format!("{{\"payment_hash\":\"{other}\"}}")).await, 204);
        assert_eq!(hint("garbage".to_owned()).await, 204);
    }
    assert_eq!(shop.node.till.look_ups(), asked);
    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    shop.clock.advance_ms(1_000);
    shop.until_settled(1).await;
    assert_eq!(shop.balance(&invoice).await, 3_000);
}

/// What BTCPay's webhook says of a payment of the store's invoice, and its signature under this
/// secret.
fn btcpay_says(bolt11: &str, secret: &str) -> (String, String) {
    let body = json!({
        "deliveryId": "D", "webhookId": "W", "originalDeliveryId": "D", "isRedelivery": false,
        "type": "InvoicePaymentSettled", "timestamp": 1_700_000_000, "storeId": STORE,
        "invoiceId": "I", "afterExpiration": false, "paymentMethodId": "BTC-LN",
        "payment": {
            "id": "P", "receivedDate": 1_700_000_000, "value": "1", "fee": "0",
            "status": "Settled", "destination": bolt11,
        },
    })
    .to_string();
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&body);
    (body, format!("sha256={}", hex::encode(mac.finalize().into_bytes())))
}

#[tokio::test]
async fn btcpay_s_webhook_is_a_hint_if_it_is_signed_and_is_never_believed() {
    let shop = Shop::open(Kind::Btcpay).await;
    let hint = async |(body, signature): (String, String)| {
        let url = format!("{}/hooks/v1/lightning", shop.doors.gate);
        let call = shop.doors.client.post(url).header("BTCPay-Sig", signature).body(body);
        assert_eq!(call.send().await.unwrap().status().as_u16(), 204);
    };
    let invoice = shop.doors.invoice(3_000, None).await;
    let before = shop.node.till.look_ups();
    hint(btcpay_says(&invoice.invoice, HOOK_SECRET)).await;
    until("asked", async || (shop.node.till.look_ups() > before).then_some(())).await;
    assert_eq!(shop.settlements().await, 0, "it is not paid");
    // It was asked now, and may be asked again in a second. Until then the clock stands still.
    shop.node.till.pay(&invoice.invoice, 0).unwrap();
    shop.clock.advance_ms(1_000);
    shop.until_settled(1).await;
    // Nothing is due at once but what a signature names.
    let (one, two) = (shop.doors.invoice(5_000, None).await, shop.doors.invoice(7_000, None).await);
    shop.node.till.pay(&one.invoice, 0).unwrap();
    shop.node.till.pay(&two.invoice, 0).unwrap();
    hint(btcpay_says(&one.invoice, "canary-hook-secret-10ac")).await;
    let (body, _) = btcpay_says(&one.invoice, HOOK_SECRET);
    hint((body, "sha256=00".to_owned())).await;
    hint(btcpay_says(&two.invoice, HOOK_SECRET)).await;
    shop.until_settled(2).await;
    assert_eq!(shop.balance(&two).await, 7_000);
    assert_eq!(shop.count("tollwayd_credited_msat_total").await, 10_000);
    shop.clock.advance_ms(1_000);
    shop.until_settled(3).await;
    shop.audited().await;
}

#[tokio::test]
async fn a_node_that_restarts_is_followed_again() {
    for kind in KINDS {
        let mut shop = Shop::open(kind).await;
        let open = shop.doors.invoice(3_000, None).await;
        shop.node.till.set(Mischief::Down, true);
        let refused = problem(shop.doors.challenge(challenge(1_000, "m")).await).await;
        assert_eq!((refused.status, refused.code.as_str()), (503, "node_unavailable"));
        shop.node.till.set(Mischief::Down, false);
        shop.node = shop.node.restart(kind).await.unwrap();
        shop.node.till.pay(&open.invoice, 0).unwrap();
        // Far enough for a node that tells of nothing while nobody listens.
        shop.clock.advance_ms(1_000);
        shop.until_settled(1).await;
        assert_eq!(shop.balance(&open).await, 3_000);
    }
}

/// What `check-lightning` says of a stand-in, and how it ends.
async fn checked(kind: Kind, node: &StandIn, secret: &str) -> (String, Option<i32>) {
    checked_with(&text(kind), node, secret).await
}

async fn checked_with(text: &str, node: &StandIn, secret: &str) -> (String, Option<i32>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tollwayd.toml");
    std::fs::write(&path, text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollwayd"));
    command.args(["check-lightning", "--config"]).arg(&path);
    command.env("TOLLWAYD_LIGHTNING_URL", node.url()).env("NODE_SECRET", secret);
    command.env("TOLLWAYD_LIGHTNING_NETWORK", "regtest").env("HOOK_SECRET", HOOK_SECRET);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    for words in [&output.stdout, &output.stderr] {
        assert!(!String::from_utf8_lossy(words).contains(secret));
    }
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[tokio::test]
async fn check_lightning_names_what_is_missing_and_what_is_too_much() {
    for kind in KINDS {
        let node = StandIn::start(kind).await.unwrap();
        node.till.grant(&BTCPAY_RIGHTS);
        let (said, code) = checked(kind, &node, node.credential).await;
        let checks = if kind == Kind::Btcpay { 6 } else { 5 };
        assert_eq!((code, said.matches(" ok:").count()), (Some(0), checks), "{kind:?}: {said}");
        node.till.set(Mischief::Generous, true);
        let (said, code) = checked(kind, &node, node.credential).await;
        assert!(said.contains("rights       FAULT: the credential can spend"), "{said}");
        assert_eq!(code, Some(1));
        node.till.set(Mischief::Generous, false);
        let (said, code) = checked(kind, &node, "0200112233445566778899").await;
        assert!(said.contains("invoice      FAULT: the Lightning node refuses this"), "{said}");
        assert_eq!(code, Some(1));
        node.till.set(Mischief::Down, true);
        let (said, _) = checked(kind, &node, node.credential).await;
        assert!(said.contains("invoice      FAULT: the Lightning node does not answer"), "{said}");
    }
}

/// A key of BTCPay says itself what it may do: what is missing, and what is too much.
#[tokio::test]
async fn check_lightning_reads_the_permissions_of_a_key_of_btcpay() {
    let node = StandIn::start(Kind::Btcpay).await.unwrap();
    let of_store = text(Kind::Btcpay);
    let of_node =
        of_store.replace("store_invoices = true\nwebhook_secret = \"env:HOOK_SECRET\"", "");
    let ok = "btcpay.store.cancreatelightninginvoice, btcpay.store.canviewlightninginvoice";
    let ok = format!("permissions  ok: it has: {ok}\n");
    for (text, granted, says, code) in [
        (&of_node, vec![BTCPAY_MAKE], ok.as_str(), 0),
        (&of_store, BTCPAY_RIGHTS.to_vec(), "permissions  ok: it has: btcpay.store.cancreatei", 0),
        (
            &of_node,
            vec![BTCPAY_RIGHTS[2]],
            "FAULT: it has: btcpay.store.canviewlightninginvoice; \
             missing: btcpay.store.cancreatelightninginvoice; make a key as docs/lightning.md says",
            1,
        ),
        (
            &of_store,
            vec![BTCPAY_RIGHTS[0], BTCPAY_RIGHTS[2]],
            "missing: btcpay.store.canviewinvoices; make",
            1,
        ),
        (
            &of_node,
            vec![BTCPAY_MAKE, "btcpay.server.canmodifyserversettings"],
            "; too broad: btcpay.server.canmodifyserversettings; make",
            1,
        ),
        (&of_store, vec!["unrestricted"], "; too broad: unrestricted; make", 1),
        (
            &of_node,
            vec!["btcpay.store.cancreatelightninginvoice"],
            "; too broad: btcpay.store.cancreatelightninginvoice for every store; make",
            1,
        ),
    ] {
        node.till.grant(&granted);
        let (said, ended) = checked_with(text, &node, node.credential).await;
        assert!(said.contains(says), "{granted:?}: {said}");
        assert_eq!(ended, Some(code), "{granted:?}: {said}");
    }
    // What is missing stops the invoice too, and a key that BTCPay does not know has no rights.
    node.till.grant(&[]);
    let (said, _) = checked_with(&of_node, &node, node.credential).await;
    assert!(said.contains("invoice      FAULT: the Lightning node refuses this"), "{said}");
    let (said, _) = checked_with(&of_node, &node, "0200112233445566778899").await;
    assert!(said.contains("permissions  FAULT: the Lightning node refuses this"), "{said}");
}

#[tokio::test]
async fn check_lightning_says_whether_the_wallet_of_the_splits_may_pay() {
    let node = StandIn::start(Kind::Lnd).await.unwrap();
    let splits = "\n[[splits]]\nname = \"ann\"\nbasis_points = 200\nto = \"ann@example.com\"\n";
    let both = text(Kind::Lnd) + splits;
    let (said, code) = checked_with(&both, &node, node.credential).await;
    let denied = "rights       FAULT: the credential may not pay, which [[splits]] needs";
    assert!(said.contains("payouts      lnd, http://") && said.contains(denied), "{said}");
    assert_eq!(code, Some(1));
    node.till.set(Mischief::Generous, true);
    let (said, code) = checked_with(&both, &node, node.credential).await;
    assert!(
        said.contains("rights       ok: the credential may pay, as [[splits]] needs"),
        "{said}"
    );
    assert_eq!((code, said.matches("rights ").count()), (Some(0), 1), "{said}");
}
