//! The main job with real nodes: the `tollway` command pays through the real Envoy, and tollwayd
//! sells with a node of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tollway_testkit::lnbits::Lnbits;
use tollway_testkit::nwc::{Encryption, PayingWallet};
use tollway_testkit::stack::{Parts, Stack, StackOptions, root};
use tollway_testkit::standin::{Kind, StandIn};

use super::{missing, network};

const PATIENCE: Duration = Duration::from_secs(60);

/// A seller's stack, and a customer with a folder and a wallet of their own.
pub(crate) struct Market {
    pub(crate) stack: Stack,
    folder: TempDir,
}

impl Market {
    /// The demo's configuration, selling with this node.
    pub(crate) async fn open(lightning: &str) -> Self {
        Self::open_with(lightning, "").await
    }

    /// The same with more lines at the end of tollwayd's configuration.
    pub(crate) async fn open_with(lightning: &str, more: &str) -> Self {
        Self::open_behind(None, lightning, more).await
    }

    /// The same behind another configuration of the filter.
    async fn open_behind(filter: Option<Value>, lightning: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let shipped = std::fs::read_to_string(root().unwrap().join("envoy/tollwayd.toml")).unwrap();
        let config = shipped.replacen("backend = \"simulated\"", lightning, 1);
        assert_ne!(config, shipped);
        let path = folder.path().join("tollwayd.toml");
        std::fs::write(&path, config + more).unwrap();
        let options =
            StackOptions { filter, tollwayd_config: Some(path), ..StackOptions::default() };
        let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        Self { stack, folder }
    }

    async fn command(&self, args: &[&str]) -> Output {
        let program = Parts::locate().unwrap().tollwayd.with_file_name("tollway");
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    /// Runs to a good end and returns the JSON that it printed.
    async fn json(&self, args: &[&str]) -> Value {
        let output = self.command(&[args, &["--json"]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.json(&["get", &format!("{}{path}", self.stack.gateway_url())]).await
    }

    pub(crate) async fn stats(&self) -> Value {
        self.admin("stats").await
    }

    async fn admin(&self, path: &str) -> Value {
        let request = reqwest::Client::new()
            .get(format!("{}/admin/v1/{path}", self.stack.admin_url()))
            .bearer_auth(self.stack.admin_token());
        request.send().await.unwrap().json().await.unwrap()
    }

    /// A challenge's invoice, and the node that made it.
    async fn sold_by(&self, path: &str) -> (String, Value) {
        let url = format!("{}{path}", self.stack.gateway_url());
        let challenge: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let hash = challenge["paymentHash"].as_str().unwrap();
        let node = self.admin(&format!("invoices/{hash}")).await["node"].clone();
        (challenge["invoice"].as_str().unwrap().to_owned(), node)
    }

    /// A folder's file with a wallet's secret.
    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The story: refused, paid, prepaid, run dry, topped up, and the books agree.
    async fn story(&self) {
        let stats = self.stats().await;
        assert_eq!(stats["credited_msat"], 0);
        for _ in 0..3 {
            self.get("/api/joke").await;
        }
        let stats = self.stats().await;
        assert_eq!(stats["credited_msat"], 20_000, "one payment buys many calls: {stats}");
        // 5 sats are left, a fortune costs 10: the command tops the account up.
        self.get("/api/fortune").await;
        eventually(async || self.stats().await["charged_msat"] == 25_000).await;
        assert_eq!(self.stats().await["credited_msat"], 40_000);
    }
}

pub(crate) async fn eventually(mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn words(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How tollwayd sells with the payee's node.
pub(crate) fn lnd(network: &tollway_testkit::nodes::Network) -> String {
    format!(
        "backend = \"lnd\"\nnetwork = \"regtest\"\nurl = \"{}\"\ncert = \"{}\"\n\
         macaroon = \"file:{}\"",
        network.payee.url(),
        network.payee.certificate().display(),
        network.payee.macaroon("invoice").display(),
    )
}

/// How tollwayd sells with the wallet of an LNbits that has an invoice key. Its FakeWallet makes
/// invoices of the real chain that only its own wallets can pay.
fn lnbits(host: &Lnbits) -> String {
    let key = host.key_file("invoice-key", &host.invoice_key).unwrap();
    format!("backend = \"lnbits\"\nurl = \"{}\"\napi_key = \"file:{}\"", host.url, key.display())
}

async fn lnd_wallet(market: &Market, network: &tollway_testkit::nodes::Network) {
    let (url, cert) = (network.payer.url(), network.payer.certificate());
    let macaroon = network.payer.macaroon("admin");
    let place = ["wallet", "add", "node", "lnd", "--url", &url];
    let keys = ["--macaroon-file", words(&macaroon), "--cert-file", words(&cert)];
    let added = market.command(&[&place[..], &keys[..]].concat()).await;
    assert!(added.status.success(), "{added:?}");
}

#[tokio::test]
async fn one_lnd_sells_through_envoy_and_another_pays() {
    let Some(network) = network().await else { return };
    let market = Market::open(&lnd(&network)).await;
    lnd_wallet(&market, &network).await;
    market.story().await;
}

#[tokio::test]
async fn lnbits_sells_through_envoy_and_another_wallet_pays() {
    if let Err(reason) = Lnbits::available() {
        return missing(&reason);
    }
    let host = Lnbits::start(None).await.unwrap();
    let market = Market::open(&lnbits(&host)).await;
    let admin = market.secret("admin-key", &host.buyer_key);
    let place = ["wallet", "add", "buyer", "lnbits", "--url", &host.url];
    let added = market.command(&[&place[..], &["--key-file", words(&admin)]].concat()).await;
    assert!(added.status.success(), "{added:?}");
    market.story().await;
}

/// tollwayd sells with an LNbits, and the command pays with a wallet that it only knows by its
/// relay.
#[tokio::test]
async fn lnbits_sells_through_envoy_and_a_wallet_behind_a_relay_pays() {
    if let Err(reason) = Lnbits::available().and(PayingWallet::available()) {
        return missing(&reason);
    }
    let host = Lnbits::start(None).await.unwrap();
    let service = PayingWallet::start(Encryption::Nip44, &host).await.unwrap();
    let market = Market::open(&lnbits(&host)).await;
    let link = market.secret("link", &service.connection());
    let add = ["wallet", "add", "phone", "nwc", "--link-file", words(&link)];
    let added = market.command(&add).await;
    assert!(added.status.success(), "{added:?}");
    let checked = market.command(&["wallet", "check"]).await;
    assert!(checked.status.success(), "{checked:?}");
    market.story().await;
}

/// What was paid while tollwayd was down is credited when it is back: without the payer showing
/// any proof, or by the proof, where the node cannot say it.
#[tokio::test]
async fn what_was_paid_at_lnd_while_tollwayd_was_down_is_credited_once_with_its_proof_or_without() {
    let Some(mut network) = network().await else { return };
    let mut market = Market::open(&lnd(&network)).await;
    let url = format!("{}/api/joke", market.stack.gateway_url());
    let challenge: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
    market.stack.kill_tollwayd();
    network.payer.pay(challenge["invoice"].as_str().unwrap()).await.unwrap();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    let credited = async || market.stats().await["credited_msat"] == 20_000;
    eventually(credited).await;

    // The next one is credited by its proof alone: the node is dead by then, and tells nothing.
    let url = format!("{}/api/joke", market.stack.gateway_url());
    let challenge: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
    market.stack.kill_tollwayd();
    let preimage = network.payer.pay(challenge["invoice"].as_str().unwrap()).await.unwrap();
    network.payee.kill();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    let credential = format!("L402 {}:{preimage}", challenge["macaroon"].as_str().unwrap());
    let call = reqwest::Client::new().get(&url).header("authorization", credential);
    assert_eq!(call.send().await.unwrap().status().as_u16(), 200);
    assert_eq!(market.stats().await["credited_msat"], 40_000);

    // The node comes back: what it repeats changes nothing, and it sells again.
    network.payee.start_again().await.unwrap_or_else(|error| panic!("{error}"));
    network.payee.wait_for_channel().await.unwrap_or_else(|error| panic!("{error}"));
    network.payer.wait_for_channel().await.unwrap_or_else(|error| panic!("{error}"));
    lnd_wallet(&market, &network).await;
    market.get("/api/joke").await;
    let stats = market.stats().await;
    assert_eq!((&stats["credited_msat"], &stats["payments"]), (&60_000.into(), &3.into()));
}

/// The payer's wallet shows no preimage: the token alone is served once the node says it is paid.
#[tokio::test]
async fn a_token_without_its_preimage_is_served_once_lnd_says_that_it_is_paid() {
    let Some(network) = network().await else { return };
    let shipped = std::fs::read(root().unwrap().join("envoy/filter.json")).unwrap();
    let mut filter: Value = serde_json::from_slice(&shipped).unwrap();
    filter["services"][0]["proof"] = "lookup".into();
    let market = Market::open_behind(Some(filter), &lnd(&network), "").await;
    let url = format!("{}/api/joke", market.stack.gateway_url());
    let challenge: Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
    let token = format!("L402 {}", challenge["macaroon"].as_str().unwrap());
    let http = reqwest::Client::new();
    let ask = async || {
        let call = http.get(&url).header("authorization", &token).send().await.unwrap();
        (call.status().as_u16(), call.json::<Value>().await.unwrap())
    };
    let (status, pending) = ask().await;
    assert_eq!((status, &pending["code"]), (402, &"payment_pending".into()), "{pending}");
    assert_eq!(pending["invoice"], challenge["invoice"], "the same again");
    network.payer.pay(challenge["invoice"].as_str().unwrap()).await.unwrap();
    eventually(async || ask().await.0 == 200).await;
    assert_eq!(ask().await.0, 200);
    assert_eq!(market.stats().await["payments"], 1);
}

/// The node falls silent with a payment on its way, dies, and comes back: the payment arrives, and
/// is credited without anybody showing a proof.
#[tokio::test]
async fn a_payment_that_is_under_way_while_the_node_restarts_is_credited_once() {
    let Some(mut network) = network().await else { return };
    let market = Market::open(&lnd(&network)).await;
    let challenge = reqwest::get(format!("{}/api/joke", market.stack.gateway_url()));
    let challenge: Value = challenge.await.unwrap().json().await.unwrap();
    network.payee.pause();
    let payer = &network.payer;
    let payee = &mut network.payee;
    let restart = async {
        payer.wait_for_payment_under_way().await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(market.stats().await["credited_msat"], 0);
        payee.kill();
        payee.start_again().await.unwrap_or_else(|error| panic!("{error}"));
    };
    let invoice = challenge["invoice"].as_str().unwrap();
    let (paid, ()) = tokio::join!(payer.pay(invoice), restart);
    paid.unwrap_or_else(|error| panic!("{error}"));
    eventually(async || market.stats().await["credited_msat"] == 20_000).await;
    lnd_wallet(&market, &network).await;
    market.get("/api/joke").await;
    assert_eq!(market.stats().await["payments"], 2, "each once");
}

/// An lnd and an LNbits sell together. The lnd dies with a paid invoice that nobody was told of.
#[tokio::test]
async fn an_lnd_that_died_is_stood_in_for_and_its_paid_invoice_is_credited_once() {
    let Some(mut network) = network().await else { return };
    if let Err(reason) = Lnbits::available() {
        return missing(&reason);
    }
    // It takes invoices of this chain from a stand-in, where the test pays them.
    let standin = StandIn::start(Kind::Cln).await.unwrap();
    let host = Lnbits::start(Some((Kind::Cln, &standin))).await.unwrap();
    let lnd = lnd(&network).replace("network = \"regtest\"\n", "");
    let nodes = format!(
        "\n[[lightning.nodes]]\nname = \"berlin\"\n{lnd}\n\
         [[lightning.nodes]]\nname = \"paris\"\nweight = 0\n{}\n",
        lnbits(&host)
    );
    let mut market = Market::open_with("network = \"regtest\"", &nodes).await;
    let (paid, node) = market.sold_by("/api/joke").await;
    assert_eq!(node, "berlin");
    market.stack.kill_tollwayd();
    network.payer.pay(&paid).await.unwrap();
    network.payee.kill();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));

    let (other, node) = market.sold_by("/api/fortune").await;
    assert_eq!(node, "paris");
    standin.till.pay(&other, 0).unwrap();
    eventually(async || market.stats().await["credited_msat"] == 20_000).await;

    network.payee.start_again().await.unwrap_or_else(|error| panic!("{error}"));
    eventually(async || market.stats().await["credited_msat"] == 40_000).await;
    // What it repeats changes nothing, and it sells again.
    market.stack.kill_tollwayd();
    market.stack.start_tollwayd().await.unwrap_or_else(|error| panic!("{error}"));
    let (last, node) = market.sold_by("/api/time").await;
    assert_eq!(node, "berlin");
    network.payee.wait_for_channel().await.unwrap_or_else(|error| panic!("{error}"));
    network.payer.wait_for_channel().await.unwrap_or_else(|error| panic!("{error}"));
    network.payer.pay(&last).await.unwrap();
    eventually(async || market.stats().await["credited_msat"] == 60_000).await;
    assert_eq!(market.stats().await["payments"], 3);
}

#[tokio::test]
async fn a_macaroon_that_may_not_make_invoices_is_named() {
    let Some(network) = network().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(root().unwrap().join("envoy/tollwayd.toml")).unwrap();
    let weak = lnd(&network).replace("invoice.macaroon", "readonly.macaroon");
    let path = folder.path().join("tollwayd.toml");
    std::fs::write(&path, shipped.replacen("backend = \"simulated\"", &weak, 1)).unwrap();
    let output = Command::new(Parts::locate().unwrap().tollwayd)
        .args(["check-lightning", "--config", words(&path)])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("permission"), "{said}");
}
