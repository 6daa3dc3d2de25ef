//! Which Lightning node, and how to reach it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nostr::nips::nip47::NostrWalletConnectUri;
use serde::Deserialize;
use tollway_core::secret::SecretText;

use super::node_url::NodeUrl;

/// The chain that invoices are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// Money.
    Bitcoin,
    /// The public test network.
    Testnet,
    /// The signed test network.
    Signet,
    /// A chain of one's own.
    Regtest,
    /// A chain of one's own, with btcd.
    Simnet,
}

/// The Lightning nodes that make the invoices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightningConfig {
    /// At least one.
    pub nodes: Vec<PoolNode>,
    /// The chain that their invoices must be for.
    pub network: Network,
    /// How long an invoice can be paid.
    pub invoice_expiry_s: u64,
    /// How long one of several nodes may take for an invoice before another is asked.
    pub failover_after: Duration,
}

/// A node, and what it makes invoices for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolNode {
    /// What its invoices are kept under; nothing if it is the only one.
    pub name: Option<String>,
    /// Which one, and how to reach it.
    pub node: NodeConfig,
    /// Its share of the invoices among the nodes beside it; 0 where it only stands in for others.
    pub weight: u32,
    /// The filter's services that it is for, alone or with others that name them.
    pub services: BTreeSet<String>,
    /// The filter's routes that it is for, before all services.
    pub routes: BTreeSet<String>,
}

impl PoolNode {
    /// A node without others.
    #[must_use]
    pub const fn alone(node: NodeConfig) -> Self {
        Self { name: None, node, weight: 1, services: BTreeSet::new(), routes: BTreeSet::new() }
    }
}

/// What it is called and what it is, without secrets.
impl std::fmt::Display for PoolNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, node, weight, .. } = self;
        match name {
            Some(name) => write!(f, "{name}: {node}, weight {weight}"),
            None => node.fmt(f),
        }
    }
}

/// Which node, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeConfig {
    /// The built-in node that pays on request: for demos and tests, never for money.
    Simulated {
        /// Where it remembers its invoices; without a file it does not.
        file: Option<PathBuf>,
    },
    /// LND over REST.
    Lnd(LndConfig),
    /// Core Lightning over clnrest.
    Cln(ClnConfig),
    /// A wallet of an LNbits.
    Lnbits(LnbitsConfig),
    /// phoenixd.
    Phoenixd(PhoenixdConfig),
    /// The Lightning node of a BTCPay store.
    Btcpay(BtcpayConfig),
    /// A wallet behind Nostr Wallet Connect.
    Nwc(NwcConfig),
}

/// LND over REST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LndConfig {
    /// Where it listens (`restlisten`).
    pub url: NodeUrl,
    /// The certificate to accept; without one, the public authorities decide.
    pub cert: Option<PathBuf>,
    /// In hexadecimal.
    pub macaroon: SecretText,
}

/// Core Lightning over clnrest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClnConfig {
    /// Where it listens (`clnrest-host`, `clnrest-port`).
    pub url: NodeUrl,
    /// The certificate or authority to accept; without one, the public authorities decide.
    pub cert: Option<PathBuf>,
    /// What it may be asked.
    pub rune: SecretText,
}

/// A wallet of an LNbits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LnbitsConfig {
    /// Where it listens.
    pub url: NodeUrl,
    /// The certificate to accept; without one, the public authorities decide.
    pub cert: Option<PathBuf>,
    /// The wallet's invoice key.
    pub api_key: SecretText,
    /// Where it says that something was paid: tollwayd's `/hooks/v1/lightning`, as it sees it.
    pub webhook: Option<NodeUrl>,
}

/// phoenixd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoenixdConfig {
    /// Where it listens.
    pub url: NodeUrl,
    /// The certificate to accept; without one, the public authorities decide.
    pub cert: Option<PathBuf>,
    /// `http-password-limited-access` of its `phoenix.conf`.
    pub password: SecretText,
    /// Where it says that something was paid: tollwayd's `/hooks/v1/lightning`, as it sees it.
    pub webhook: Option<NodeUrl>,
}

/// The Lightning node of a BTCPay store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BtcpayConfig {
    /// Where it listens.
    pub url: NodeUrl,
    /// The certificate to accept; without one, the public authorities decide.
    pub cert: Option<PathBuf>,
    /// A Greenfield API key.
    pub api_key: SecretText,
    /// The store's id.
    pub store: String,
    /// Whether the sales stand in the store's books, as its own invoices.
    pub store_invoices: bool,
    /// What its webhook signs with.
    pub webhook_secret: Option<SecretText>,
}

/// A wallet behind Nostr Wallet Connect.
#[derive(Clone, PartialEq, Eq)]
pub struct NwcConfig {
    /// The wallet's key, its relays, and the secret of the connection.
    pub(crate) uri: NostrWalletConnectUri,
}

impl std::fmt::Debug for NwcConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NwcConfig").field("wallet", &self.uri.public_key).finish_non_exhaustive()
    }
}

impl NodeConfig {
    /// The word for it in the configuration.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Simulated { .. } => "simulated",
            Self::Lnd(_) => "lnd",
            Self::Cln(_) => "cln",
            Self::Lnbits(_) => "lnbits",
            Self::Phoenixd(_) => "phoenixd",
            Self::Btcpay(_) => "btcpay",
            Self::Nwc(_) => "nwc",
        }
    }

    /// Where the simulated node remembers its invoices.
    pub(crate) fn simulated_file(&self) -> Option<&Path> {
        match self {
            Self::Simulated { file } => file.as_deref(),
            _ => None,
        }
    }

    /// What its webhook signs with, if it signs.
    #[must_use]
    pub const fn webhook_secret(&self) -> Option<&SecretText> {
        match self {
            Self::Btcpay(config) => config.webhook_secret.as_ref(),
            _ => None,
        }
    }

    /// Whether it makes invoices that live whole minutes alone.
    pub(crate) const fn counts_minutes(&self) -> bool {
        matches!(self, Self::Btcpay(BtcpayConfig { store_invoices: true, .. }))
    }

    /// Where it listens, if it is another process.
    #[must_use]
    pub const fn url(&self) -> Option<&NodeUrl> {
        match self {
            Self::Simulated { .. } | Self::Nwc(_) => None,
            Self::Lnd(LndConfig { url, .. })
            | Self::Cln(ClnConfig { url, .. })
            | Self::Lnbits(LnbitsConfig { url, .. })
            | Self::Phoenixd(PhoenixdConfig { url, .. })
            | Self::Btcpay(BtcpayConfig { url, .. }) => Some(url),
        }
    }
}

/// What it is and where, without secrets.
impl std::fmt::Display for NodeConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self, self.url()) {
            (Self::Simulated { file: Some(file) }, _) => write!(f, "simulated, {}", file.display()),
            (Self::Nwc(NwcConfig { uri }), _) => write!(f, "nwc, wallet {}", uri.public_key),
            (_, Some(url)) => write!(f, "{}, {url}", self.word()),
            (_, None) => f.write_str(self.word()),
        }
    }
}
