//! Several nodes, stand-ins for real ones: who sells, who takes over, and who is asked.

use std::path::Path;
use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tollway_core::payment::PaymentHash;
use tollway_core::wire::HoldReply;
use tollway_testkit::standin::{Kind, Mischief, StandIn};
use tollwayd::clock::{Clock, ManualClock, SystemClock};
use tollwayd::config::{Config, RawConfig};
use tollwayd::{App, RunningServer};

use crate::lookups::{bare, sold};
use crate::settlement::audited;
use crate::support::*;

/// A server that sells with an LND and a phoenixd, and a clock that tests move.
struct Shop {
    directory: tempfile::TempDir,
    lnd: StandIn,
    phoenixd: StandIn,
    clock: Arc<ManualClock>,
    running: RunningServer,
    doors: Doors,
}

fn config(directory: &Path, lnd: &StandIn, phoenixd: &StandIn, of_phoenixd: &str) -> Config {
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        "TOLLWAYD_LIGHTNING_NETWORK" => Some("regtest".to_owned()),
        "LND" => Some(lnd.credential.to_owned()),
        "PHOENIXD" => Some(phoenixd.credential.to_owned()),
        _ => None,
    };
    let shipped = include_str!("../../../../envoy/tollwayd.toml");
    let text = shipped.replace("backend = \"simulated\"", "failover_after_ms = 5000");
    assert_ne!(text, shipped);
    let text = format!(
        "{text}\n[[lightning.nodes]]\nname = \"berlin\"\nbackend = \"lnd\"\nurl = \"{}\"\n\
         macaroon = \"env:LND\"\n\
         [[lightning.nodes]]\nname = \"paris\"\nbackend = \"phoenixd\"\nurl = \"{}\"\n\
         password = \"env:PHOENIXD\"\n{of_phoenixd}\n",
        lnd.url(),
        phoenixd.url(),
    );
    RawConfig::parse(&text).unwrap().resolve(&env).unwrap()
}

impl Shop {
    async fn open(of_phoenixd: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lnd = StandIn::start(Kind::Lnd).await.unwrap();
        let phoenixd = StandIn::start(Kind::Phoenixd).await.unwrap();
        let clock = Arc::new(ManualClock::new(SystemClock.now_ms()));
        let config = config(directory.path(), &lnd, &phoenixd, of_phoenixd);
        let running = App::start(config, clock.clone()).await.unwrap();
        let (gate, admin) = (running.gate_addr().to_string(), running.admin_addr().to_string());
        let doors = Doors::new(&gate, &admin, reqwest::Client::new());
        Self { directory, lnd, phoenixd, clock, running, doors }
    }

    async fn view(&self, hash: PaymentHash) -> Value {
        let path = format!("/admin/v1/invoices/{hash}");
        let call = self.doors.admin(reqwest::Method::GET, &path);
        expect(call.send().await.unwrap(), StatusCode::OK).await
    }

    /// The node that made an invoice.
    async fn maker(&self, invoice: &Invoice) -> String {
        self.view(invoice.payment_hash).await["node"].as_str().unwrap().to_owned()
    }

    async fn count(&self, metric: &str) -> u64 {
        let metrics = self.doors.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {metric} in {metrics}")).parse().unwrap()
    }

    async fn until_settled(&self, settlements: u64) {
        let settled = async || self.count("tollwayd_settlements_total").await >= settlements;
        until("settled", async || settled().await.then_some(())).await;
    }

    async fn balance(&self, invoice: &Invoice) -> u64 {
        self.doors.account(invoice.payment_hash).await["balance_msat"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn a_node_that_dies_is_stood_in_for_and_what_was_paid_at_it_is_credited_once_it_is_back() {
    let mut shop = Shop::open("weight = 0").await;
    let before = shop.doors.invoice(3_000, None).await;
    assert_eq!(shop.maker(&before).await, "berlin");
    shop.lnd.till.set(Mischief::Down, true);
    let during = shop.doors.invoice(5_000, None).await;
    assert_eq!(shop.maker(&during).await, "paris");
    // Its invoices are looked up although another node answers nothing.
    shop.phoenixd.till.pay(&during.invoice, 0).unwrap();
    shop.clock.advance_ms(1_000);
    shop.until_settled(1).await;
    assert_eq!(shop.balance(&during).await, 5_000);

    shop.lnd.till.pay(&before.invoice, 0).unwrap();
    shop.lnd.till.set(Mischief::Repeating, true);
    shop.lnd.till.set(Mischief::Down, false);
    shop.lnd = shop.lnd.restart(Kind::Lnd).await.unwrap();
    shop.clock.advance_ms(60_000);
    shop.until_settled(2).await;
    assert_eq!(shop.balance(&before).await, 3_000);
    // It answers, so that it sells again; its stream begins with the first payment once more.
    let url = format!("{}/readyz", shop.doors.admin);
    let ready: Value =
        expect(shop.doors.client.get(&url).send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(ready["node"], "ok");
    let after = shop.doors.invoice(7_000, None).await;
    assert_eq!(shop.maker(&after).await, "berlin");
    shop.lnd.till.pay(&after.invoice, 0).unwrap();
    shop.until_settled(3).await;
    assert_eq!(shop.count("tollwayd_credited_msat_total").await, 15_000);
    audited(shop.directory.path(), shop.running).await;
}

#[tokio::test]
async fn who_paid_at_a_node_that_is_down_waits_and_who_paid_at_another_is_served() {
    let shop = Shop::open("services = [\"maps\"]").await;
    let demo = sold(&shop.doors, "lookup").await;
    let mut order = challenge(10_000, "tiles");
    (order["service"], order["proof"]) = (json!("maps"), json!("lookup"));
    let maps = invoice(shop.doors.challenge(order.clone()).await).await;
    assert_eq!(
        (shop.maker(&demo).await, shop.maker(&maps).await),
        ("berlin".into(), "paris".into())
    );
    shop.lnd.till.set(Mischief::Down, true);
    shop.phoenixd.till.set(Mischief::Silent, true);
    shop.phoenixd.till.pay(&maps.invoice, 0).unwrap();
    let asked = shop.doors.put_hold(new_id(), &bare(demo.payment_hash)).await;
    assert_eq!(problem(asked).await.code, "lightning_unavailable");
    let asked = shop.doors.put_hold(new_id(), &bare(maps.payment_hash)).await;
    let reply: HoldReply = expect(asked, StatusCode::OK).await;
    assert!(matches!(reply, HoldReply::Granted { .. }), "{reply:?}");

    let ready = async |base: &str| {
        let response = shop.doors.client.get(format!("{base}/readyz")).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json::<Value>().await.unwrap())
    };
    shop.clock.advance_ms(5_000);
    let (status, body) = ready(&shop.doors.admin).await;
    assert_eq!((status, &body["node"]), (200, &json!("partly")));
    assert_eq!(ready(&shop.doors.gate).await.1["node"], "partly");
    // One's money never comes in at the other.
    shop.phoenixd.till.set(Mischief::Down, true);
    let refused = problem(shop.doors.challenge(order).await).await;
    assert_eq!((refused.status, refused.code.as_str()), (503, "node_unavailable"));
    shop.clock.advance_ms(5_000);
    let (status, body) = ready(&shop.doors.admin).await;
    assert_eq!((status, &body["code"]), (503, &json!("lightning_unavailable")));
    assert_eq!(ready(&shop.doors.gate).await.1["node"], "down");
}

#[tokio::test]
async fn no_node_says_what_became_of_another_s_invoice() {
    let shop = Shop::open("services = [\"maps\"]").await;
    let mut order = challenge(5_000, "tiles");
    order["service"] = json!("maps");
    let maps = invoice(shop.doors.challenge(order).await).await;
    assert_eq!(shop.maker(&maps).await, "paris");
    shop.phoenixd.till.set(Mischief::Silent, true);
    // Its clock stands still, so that it is not asked; the payer gives the preimage away.
    let preimage = shop.phoenixd.till.pay(&maps.invoice, 0).unwrap();
    let forged = json!({
        "value_msat": "5000",
        "expiry": "600",
        "memo": "",
        "r_preimage": base64(&hex::decode(preimage.reveal_hex()).unwrap()),
    });
    let url = format!("{}/v1/invoices", shop.lnd.url());
    let call = shop.doors.client.post(url).header("grpc-metadata-macaroon", shop.lnd.credential);
    let forged: Value = expect(call.json(&forged).send().await.unwrap(), StatusCode::OK).await;
    shop.lnd.till.pay(forged["payment_request"].as_str().unwrap(), 0).unwrap();
    // Behind it in the same stream.
    let own = shop.doors.invoice(3_000, None).await;
    shop.lnd.till.pay(&own.invoice, 0).unwrap();
    shop.until_settled(1).await;
    assert_eq!(shop.balance(&own).await, 3_000);
    assert_eq!(shop.view(maps.payment_hash).await["state"], "open");
    shop.clock.advance_ms(1_000);
    shop.until_settled(2).await;
    assert_eq!(shop.balance(&maps).await, 5_000);
    let gauge = "tollwayd_node_up{backend=\"phoenixd\",node=\"paris\"}";
    assert_eq!(shop.count(gauge).await, 1);
    audited(shop.directory.path(), shop.running).await;
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
