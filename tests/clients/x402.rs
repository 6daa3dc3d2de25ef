//! Clients of x402: they sign transfers of a token, the published facilitator carries them to a
//! chain that runs here, and the chain is asked what arrived.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tollway_testkit::stack::{Stack, StackOptions, root};

use super::{Row, ledger_at_rest, repository, rows_of_with};

const MARKET: &str = "tests/clients/matrix/x402";
/// What a row says: on this rail every request is a payment of its own.
pub(crate) const PAID: &str = "paid 2, served 2";
/// 5 sats at 64,000 dollars a bitcoin, in millionths of a dollar.
const UNITS: u64 = 3_200;

/// A chain with a token, and a facilitator before it. They end when this is dropped.
struct Market {
    child: Child,
    says: Value,
}

impl Market {
    fn open() -> Self {
        let mut child = Command::new("node")
            .arg(repository(MARKET).join("market.mjs"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let says =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the market said {line:?}"));
        Self { child, says }
    }

    fn text(&self, key: &str) -> &str {
        self.says[key].as_str().unwrap()
    }

    /// What the seller has, by the chain.
    async fn earned(&self) -> u64 {
        let url = format!("{}/balance", self.text("url"));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        answer["seller"].as_str().unwrap().parse().unwrap()
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        // Its standard input ends, and so does it, with its chain.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Why there can be no market here.
pub(crate) fn missing() -> Option<String> {
    let chain = repository(MARKET).join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
    (!chain.is_file())
        .then(|| format!("no {}; its npm package is for Linux on x86-64", chain.display()))
}

/// Both published clients, in both versions of the protocol.
pub(crate) async fn rows() -> Vec<Row> {
    let market = Market::open();
    let folder = tempfile::tempdir().unwrap();
    let config = tollwayd_config(&market, folder.path());
    let stack = Stack::start(StackOptions {
        filter: Some(filter()),
        tollwayd_config: Some(config),
        ..StackOptions::default()
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let buyer = [("TOLLWAY_BUYER", market.text("buyer"))];
    let mut rows = rows_of_with(&stack, Path::new("node"), "x402/client.mjs", &buyer).await;
    let python = repository(".tools/clients/bin/python");
    rows.extend(rows_of_with(&stack, &python, "x402_client.py", &buyer).await);

    for row in &rows {
        assert_eq!(row.result, PAID, "{} {}", row.client, row.rail);
    }
    let requests = 2 * u64::try_from(rows.len()).unwrap();
    let stats = ledger_at_rest(&stack).await;
    assert_eq!(stats["credited_msat"], requests * 5_000);
    assert_eq!(stats["charged_msat"], requests * 5_000);
    assert_eq!(stack.upstream().hits().of("/api/joke"), requests);
    assert_eq!(market.earned().await, requests * UNITS, "by the chain");
    rows
}

fn tollwayd_config(market: &Market, folder: &Path) -> PathBuf {
    let shipped = std::fs::read_to_string(root().unwrap().join("envoy/tollwayd.toml")).unwrap();
    let more = format!(
        "\n[[rates.source]]\ncurrency = \"USD\"\nfixed = \"64000\"\n[x402]\n\
         facilitator = \"{}\"\npublic_url = \"https://jokes.example.com\"\n\
         network = \"eip155:84532\"\npay_to = \"{}\"\nasset = \"{}\"\nasset_name = \"USDC\"\n\
         asset_version = \"2\"\ncurrency = \"USD\"\n",
        market.text("url"),
        market.text("seller"),
        market.text("token"),
    );
    let path = folder.join("tollwayd.toml");
    std::fs::write(&path, shipped + &more).unwrap();
    path
}

fn filter() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 30_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo", "purchase": {"default_sats": 20}, "x402": true}],
        "routes": [{"name": "joke", "service": "demo", "price_sats": 5,
                    "match": {"path": "/api/joke"}}],
        "unmatched": "deny",
        "tick_ms": 20,
    })
}
