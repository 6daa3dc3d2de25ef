//! A real Lightning network on loopback: btcd on regtest, and two lnd nodes with a channel.
//!
//! `make test-lightning` builds the two programs from their published Go modules. The payer has
//! most of the channel's money, the payee enough to pay a little back.

mod btcd;
mod lnd;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::{Guardian, StackError, root};

use btcd::Btcd;
pub use lnd::Lnd;

/// Names a directory with the programs `btcd` and `lnd` to use instead.
pub const ENV_DIR: &str = "TOLLWAY_TEST_LIGHTNING_DIR";

/// The size of the channel, and the payee's part of it.
const CHANNEL_SATS: u64 = 1_000_000;
const PAYEE_SATS: u64 = 200_000;
/// Coinbase outputs can be spent after 100 blocks; the first of these can be spent at once.
const BLOCKS_TO_MATURE: u32 = 101;
const BLOCKS_TO_OPEN: u32 = 6;

/// The network. It ends when this is dropped.
#[derive(Debug)]
pub struct Network {
    /// Has money.
    pub payer: Lnd,
    /// Gets paid.
    pub payee: Lnd,
    chain: Btcd,
    // Last, so that the logs outlive those who write them.
    _dir: TempDir,
}

impl Network {
    /// Whether the programs are there.
    ///
    /// # Errors
    /// One is missing; the message names the remedy.
    pub fn available() -> Result<(), StackError> {
        programs().map(drop)
    }

    /// Starts the chain and both nodes, and opens a channel from the payer to the payee.
    ///
    /// # Errors
    /// A program is missing, does not start, or does not become ready.
    pub async fn start() -> Result<Self, StackError> {
        let programs = programs()?;
        let dir = tempfile::Builder::new()
            .prefix("tollway-lightning-")
            .tempdir()
            .map_err(|error| StackError::new("create the network's directory", error))?;
        let guardian = Guardian::start()?;
        let mut chain = Btcd::start(&programs, dir.path(), &guardian).await?;
        let mut payer = Lnd::start("lnd-payer", &programs, dir.path(), &chain, &guardian).await?;
        let address = payer.address().await?;
        // A node whose chain goes away while its wallet catches up may never catch up again.
        payer.kill();
        chain.mine_to(&address).await?;
        chain.mine(BLOCKS_TO_MATURE).await?;
        payer.start_again().await?;
        let payee = Lnd::start("lnd-payee", &programs, dir.path(), &chain, &guardian).await?;
        let mut network = Self { payer, payee, chain, _dir: dir };
        network.open_channel().await?;
        Ok(network)
    }

    /// Adds blocks to the chain.
    ///
    /// # Errors
    /// The chain's node does not answer.
    pub async fn mine(&self, blocks: u32) -> Result<(), StackError> {
        self.chain.mine(blocks).await
    }

    async fn open_channel(&mut self) -> Result<(), StackError> {
        let payee = self.payee.info("synced_to_chain").await?;
        self.payer.info("synced_to_chain").await?;
        self.payer.wait_for_funds().await?;
        let key = text(&payee, "/identity_pubkey");
        self.payer.connect(&key, self.payee.peer_port()).await?;
        let bytes = hex::decode(&key).unwrap_or_default();
        let order = json!({
            "node_pubkey": base64(&bytes), "local_funding_amount": CHANNEL_SATS.to_string(),
            "push_sat": PAYEE_SATS.to_string(), "sat_per_vbyte": "2",
        });
        self.payer.post("/v1/channels", &order).await?;
        self.chain.mine(BLOCKS_TO_OPEN).await?;
        self.payee.wait_for_channel().await?;
        self.payer.wait_for_channel().await?;
        self.payer.wait_for_route(&key).await
    }
}

/// Where the two programs are.
///
/// # Errors
/// One is missing; the message names the remedy.
fn programs() -> Result<PathBuf, StackError> {
    let dir = match std::env::var_os(ENV_DIR) {
        Some(dir) => PathBuf::from(dir),
        None => root()?.join(".tools/lightning"),
    };
    for name in ["btcd", "lnd"] {
        if !dir.join(name).is_file() {
            let found = format!("no {name} in {}", dir.display());
            return Err(StackError::new("find the Lightning node", found)
                .with_remedy("Run `make test-lightning`, which builds it where Go is installed."));
        }
    }
    Ok(dir)
}

/// A directory for one program's files.
fn subdirectory(dir: &Path, name: &str) -> Result<PathBuf, StackError> {
    let path = dir.join(name);
    std::fs::create_dir_all(&path)
        .map_err(|error| StackError::new(format!("create the directory of {name}"), error))?;
    Ok(path)
}

/// A client of nodes that this process started on loopback. Their certificates sign themselves
/// as authorities, which the TLS library refuses in a server, even where one is pinned.
fn client() -> Result<reqwest::Client, StackError> {
    reqwest::Client::builder()
        .no_proxy()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .map_err(|error| StackError::new("build an HTTP client", error))
}

/// The body of a good answer, or what went wrong.
async fn answer(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let body = response.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {body}"));
    }
    serde_json::from_str(&body).map_err(|error| format!("{error}: {body}"))
}

/// A text in a JSON document, empty if there is none.
fn text(document: &Value, pointer: &str) -> String {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
