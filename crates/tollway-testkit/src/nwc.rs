//! A real Nostr relay with a real wallet service (NIP-47) on it.
//!
//! `make test-lightning` installs both from npm. The invoices of a wallet that sells come from a
//! [`StandIn`] for Core Lightning, where a test also pays them; one that pays is a wallet of a real
//! [`Lnbits`].

use std::path::PathBuf;

use tempfile::TempDir;

use crate::lnbits::Lnbits;
use crate::stack::{Guardian, Process, Program, StackError, free_port, root, until};
use crate::standin::{Kind, StandIn};

/// The keys of a wallet and of its client, which are nobody's.
const WALLET_SECRET: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const WALLET_KEY: &str = "4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa";
const CLIENT_SECRET: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const CLIENT_KEY: &str = "466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27";

/// How requests and answers are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// What older wallets know; it says nothing of others.
    Nip04,
    /// What newer ones offer beside it.
    Nip44,
}

/// A relay and a wallet that sells. They end when this is dropped.
#[derive(Debug)]
pub struct Wallet {
    /// The wallet's node.
    pub node: StandIn,
    service: Service,
}

/// A relay and a wallet that pays, from the money of an LNbits. They end when this is dropped.
#[derive(Debug)]
pub struct PayingWallet {
    service: Service,
}

#[derive(Debug)]
struct Service {
    port: u16,
    _process: Process,
    // Last, so that the log outlives who writes it.
    _dir: TempDir,
}

impl Wallet {
    /// Whether the packages are installed.
    ///
    /// # Errors
    /// They are not; the message names the remedy.
    pub fn available() -> Result<(), StackError> {
        service().map(drop)
    }

    /// Starts the relay and the wallet.
    ///
    /// # Errors
    /// A package is missing, or they do not become ready.
    pub async fn start(encryption: Encryption) -> Result<Self, StackError> {
        let node = StandIn::start(Kind::Cln)
            .await
            .map_err(|error| StackError::new("start the wallet's node", error))?;
        let service = Service::start("cln", &node.url(), node.credential, encryption).await?;
        Ok(Self { node, service })
    }

    /// What its owner gives to a client.
    #[must_use]
    pub fn connection(&self) -> String {
        self.service.connection()
    }
}

impl PayingWallet {
    /// Whether the packages are installed.
    ///
    /// # Errors
    /// They are not; the message names the remedy.
    pub fn available() -> Result<(), StackError> {
        service().map(drop)
    }

    /// Starts the relay, and the wallet of this LNbits that has money.
    ///
    /// # Errors
    /// A package is missing, or they do not become ready.
    pub async fn start(encryption: Encryption, host: &Lnbits) -> Result<Self, StackError> {
        let service = Service::start("lnbits", &host.url, &host.buyer_key, encryption).await?;
        Ok(Self { service })
    }

    /// What its owner gives to a client.
    #[must_use]
    pub fn connection(&self) -> String {
        self.service.connection()
    }
}

impl Service {
    async fn start(
        kind: &str,
        url: &str,
        credential: &str,
        encryption: Encryption,
    ) -> Result<Self, StackError> {
        let service = service()?;
        let dir = tempfile::Builder::new()
            .prefix("tollway-nwc-")
            .tempdir()
            .map_err(|error| StackError::new("create the directory of the relay", error))?;
        let port = free_port()?;
        let word = match encryption {
            Encryption::Nip04 => "nip04",
            Encryption::Nip44 => "nip44",
        };
        let program = Program {
            name: "nwc",
            path: &PathBuf::from("node"),
            args: vec![
                service.into(),
                port.to_string().into(),
                kind.into(),
                url.into(),
                credential.into(),
                WALLET_SECRET.into(),
                CLIENT_KEY.into(),
                word.into(),
            ],
            env: Vec::new(),
            log_dir: dir.path(),
        };
        let guardian = Guardian::start()?;
        let mut process = Process::start(program, &guardian)?;
        let said = dir.path().join("nwc.out.log");
        until("wait for the wallet", &mut process, async || {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            if said.contains("ready") { Ok(()) } else { Err("not ready".to_owned()) }
        })
        .await?;
        Ok(Self { port, _process: process, _dir: dir })
    }

    fn connection(&self) -> String {
        let relay = format!("ws%3A%2F%2F127.0.0.1%3A{}", self.port);
        format!("nostr+walletconnect://{WALLET_KEY}?relay={relay}&secret={CLIENT_SECRET}")
    }
}

/// The program, where its packages are installed.
fn service() -> Result<PathBuf, StackError> {
    let parts = root()?.join("tests/lightning/nwc");
    if parts.join("node_modules/@getalby/sdk").is_dir() {
        return Ok(parts.join("service.mjs"));
    }
    Err(StackError::new("find the wallet service", "no packages in tests/lightning/nwc")
        .with_remedy("Run `make test-lightning`, which installs them from npm."))
}
