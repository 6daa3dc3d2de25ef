//! The Lightning node: which one, and how it is used.

mod pool;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nostr::nips::nip47::NostrWalletConnectUri;
use serde::Deserialize;
use tollway_core::secret::SecretText;

use super::node::{
    BtcpayConfig, ClnConfig, LightningConfig, LnbitsConfig, LndConfig, Network, NodeConfig,
    NwcConfig, PhoenixdConfig, PoolNode,
};
use super::node_url::NodeUrl;
use super::{
    ConfigError, ENV_SIMULATED_FILE, Environment, PayoutsConfig, RawConfig, RawSecret, Store,
    payouts, secret,
};

/// Overrides `lightning.backend`.
pub const ENV_LIGHTNING_BACKEND: &str = "TOLLWAYD_LIGHTNING_BACKEND";
/// Overrides `lightning.url`.
pub const ENV_LIGHTNING_URL: &str = "TOLLWAYD_LIGHTNING_URL";
/// Overrides `lightning.cert`.
pub const ENV_LIGHTNING_CERT: &str = "TOLLWAYD_LIGHTNING_CERT";
/// Overrides `lightning.network`.
pub const ENV_LIGHTNING_NETWORK: &str = "TOLLWAYD_LIGHTNING_NETWORK";

/// A payer needs some time to pay.
const INVOICE_EXPIRY_S_MIN: u64 = 1;
/// One day: an unpaid invoice is an open promise at an old price.
const INVOICE_EXPIRY_S_MAX: u64 = 86_400;
/// Without a word.
const INVOICE_EXPIRY_S: u64 = 600;
/// A macaroon with many caveats is about 1 KiB.
const MACAROON_BYTES_MAX: usize = 4_096;

/// One node with its fields, or what several have in common and each of them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLightning {
    backend: Option<Backend>,
    invoice_expiry_s: Option<u64>,
    network: Option<Network>,
    simulated_file: Option<PathBuf>,
    url: Option<String>,
    cert: Option<PathBuf>,
    macaroon: Option<RawSecret>,
    rune: Option<RawSecret>,
    api_key: Option<RawSecret>,
    password: Option<RawSecret>,
    store: Option<String>,
    connection: Option<RawSecret>,
    webhook_url: Option<String>,
    store_invoices: Option<bool>,
    webhook_secret: Option<RawSecret>,
    nodes: Vec<RawLightning>,
    failover_after_ms: Option<u64>,
    // Of one among several.
    name: Option<String>,
    weight: Option<u32>,
    services: BTreeSet<String>,
    routes: BTreeSet<String>,
}

/// Which kind of node makes the invoices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Backend {
    #[default]
    Simulated,
    Lnd,
    Cln,
    Lnbits,
    Phoenixd,
    Btcpay,
    Nwc,
}

impl RawLightning {
    pub(super) fn resolve(
        &self,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<LightningConfig, ConfigError> {
        let mut raw = self.clone();
        raw.override_by(env)?;
        let invoice_expiry_s = raw.expiry()?;
        let config = if raw.nodes.is_empty() {
            let (node, network) = raw.resolve_one(store, env)?;
            let nodes = vec![PoolNode::alone(node)];
            let failover_after = pool::FAILOVER_AFTER;
            LightningConfig { nodes, network, invoice_expiry_s, failover_after }
        } else {
            raw.resolve_pool(invoice_expiry_s, store, env)?
        };
        if invoice_expiry_s % 60 != 0 && config.nodes.iter().any(|it| it.node.counts_minutes()) {
            let problem = "invoices of a BTCPay store live whole minutes";
            return Err(value("lightning.invoice_expiry_s", problem, "600 is a good start"));
        }
        Ok(config)
    }

    /// One node, and its chain.
    pub(super) fn resolve_one(
        &self,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<(NodeConfig, Network), ConfigError> {
        self.check_is_one()?;
        let mut left = self.clone();
        let node = left.take_node(store, env)?;
        if let Some(field) = left.left() {
            // Perhaps half a change of backends.
            let problem =
                format!("lightning.backend is \"{}\", which has no such field", node.word());
            return Err(value(field, &problem, "remove it, or choose the backend it belongs to"));
        }
        let network = match (&node, self.network) {
            (NodeConfig::Simulated { .. }, None | Some(Network::Regtest)) => Network::Regtest,
            (NodeConfig::Simulated { .. }, Some(_)) => {
                let problem = "the simulated node makes regtest invoices only";
                return Err(value("lightning.network", problem, "remove it"));
            }
            (_, network) => network.unwrap_or(Network::Bitcoin),
        };
        Ok((node, network))
    }

    fn expiry(&self) -> Result<u64, ConfigError> {
        let expiry = self.invoice_expiry_s.unwrap_or(INVOICE_EXPIRY_S);
        if (INVOICE_EXPIRY_S_MIN..=INVOICE_EXPIRY_S_MAX).contains(&expiry) {
            return Ok(expiry);
        }
        let problem = format!(
            "expected {INVOICE_EXPIRY_S_MIN} to {INVOICE_EXPIRY_S_MAX}, but found {expiry}"
        );
        Err(value("lightning.invoice_expiry_s", &problem, "600 is a good start"))
    }

    fn override_by(&mut self, env: Environment<'_>) -> Result<(), ConfigError> {
        if let Some(word) = env(ENV_LIGHTNING_BACKEND) {
            self.backend = Some(word_of(ENV_LIGHTNING_BACKEND, &word)?);
        }
        if let Some(word) = env(ENV_LIGHTNING_NETWORK) {
            self.network = Some(word_of(ENV_LIGHTNING_NETWORK, &word)?);
        }
        self.url = env(ENV_LIGHTNING_URL).or_else(|| self.url.take());
        self.cert = env(ENV_LIGHTNING_CERT).map(PathBuf::from).or_else(|| self.cert.take());
        let file = env(ENV_SIMULATED_FILE).map(PathBuf::from);
        // What names a file for the simulated node in general does not choose it.
        if self.nodes.is_empty() && self.is_simulated() {
            self.simulated_file = file.or_else(|| self.simulated_file.take());
        }
        Ok(())
    }

    /// Takes the fields of the backend out.
    fn take_node(
        &mut self,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<NodeConfig, ConfigError> {
        let backend = self.backend.take().unwrap_or_default();
        if backend == Backend::Simulated {
            let file = self.simulated_file.take().or_else(|| beside(store));
            return Ok(NodeConfig::Simulated { file });
        }
        if backend == Backend::Nwc {
            let uri = connection(self.connection.take(), env)?;
            return Ok(NodeConfig::Nwc(NwcConfig { uri }));
        }
        let url = self.url.take().ok_or_else(|| missing("lightning.url"))?;
        let url = NodeUrl::parse(&url)
            .map_err(|error| value("lightning.url", &error.to_string(), NodeUrl::REMEDY))?;
        let cert = self.cert.take();
        Ok(match backend {
            Backend::Simulated | Backend::Nwc | Backend::Lnd => {
                let macaroon = macaroon(self.macaroon.take(), env)?;
                NodeConfig::Lnd(LndConfig { url, cert, macaroon })
            }
            Backend::Cln => {
                let rune = credential(self.rune.take(), "lightning.rune", env)?;
                NodeConfig::Cln(ClnConfig { url, cert, rune })
            }
            Backend::Lnbits => {
                let api_key = credential(self.api_key.take(), "lightning.api_key", env)?;
                let webhook = self.take_webhook()?;
                NodeConfig::Lnbits(LnbitsConfig { url, cert, api_key, webhook })
            }
            Backend::Phoenixd => {
                let password = credential(self.password.take(), "lightning.password", env)?;
                let webhook = self.take_webhook()?;
                NodeConfig::Phoenixd(PhoenixdConfig { url, cert, password, webhook })
            }
            Backend::Btcpay => {
                let api_key = credential(self.api_key.take(), "lightning.api_key", env)?;
                let store = store_id(self.store.take())?;
                let store_invoices = self.store_invoices.take().unwrap_or(false);
                let secret = |it| secret(&it, "lightning.webhook_secret", env);
                let webhook_secret = self.webhook_secret.take().map(secret).transpose()?;
                NodeConfig::Btcpay(BtcpayConfig {
                    url,
                    cert,
                    api_key,
                    store,
                    store_invoices,
                    webhook_secret,
                })
            }
        })
    }

    fn take_webhook(&mut self) -> Result<Option<NodeUrl>, ConfigError> {
        let url = self.webhook_url.take().map(|url| NodeUrl::parse(&url)).transpose();
        url.map_err(|error| value("lightning.webhook_url", &error.to_string(), NodeUrl::REMEDY))
    }

    fn is_simulated(&self) -> bool {
        self.backend.unwrap_or_default() == Backend::Simulated
    }

    /// A node's field that nothing was made of.
    fn left(&self) -> Option<&'static str> {
        let left = [
            ("lightning.backend", self.backend.is_some()),
            ("lightning.simulated_file", self.simulated_file.is_some()),
            ("lightning.url", self.url.is_some()),
            ("lightning.cert", self.cert.is_some()),
            ("lightning.macaroon", self.macaroon.is_some()),
            ("lightning.rune", self.rune.is_some()),
            ("lightning.api_key", self.api_key.is_some()),
            ("lightning.password", self.password.is_some()),
            ("lightning.store", self.store.is_some()),
            ("lightning.connection", self.connection.is_some()),
            ("lightning.webhook_url", self.webhook_url.is_some()),
            ("lightning.store_invoices", self.store_invoices.is_some()),
            ("lightning.webhook_secret", self.webhook_secret.is_some()),
        ];
        left.into_iter().find(|(_, is_left)| *is_left).map(|(field, _)| field)
    }
}

impl RawConfig {
    /// The Lightning nodes, and the wallet that pays, alone: to check them needs no tokens and no
    /// store.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first field that is not usable.
    pub fn resolve_lightning(
        &self,
        env: Environment<'_>,
    ) -> Result<(LightningConfig, Option<PayoutsConfig>), ConfigError> {
        let store = self.resolve_store(env)?;
        let lightning = self.lightning.resolve(&store, env)?;
        let payouts = payouts::resolve(&self.payouts, &self.splits, &lightning, &store, env)?;
        Ok((lightning, payouts))
    }
}

fn value(field: &'static str, problem: &str, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem: problem.to_owned(), remedy: remedy.to_owned() }
}

fn missing(field: &'static str) -> ConfigError {
    value(field, "it is missing", "docs/lightning.md has a recipe for every backend")
}

/// A word of the configuration, from the environment.
fn word_of<T: serde::de::DeserializeOwned>(
    field: &'static str,
    word: &str,
) -> Result<T, ConfigError> {
    let word = serde_json::Value::String(word.to_owned());
    serde_json::from_value(word)
        .map_err(|error| value(field, &error.to_string(), "choose one of these"))
}

fn credential(
    reference: Option<RawSecret>,
    field: &'static str,
    env: Environment<'_>,
) -> Result<SecretText, ConfigError> {
    let reference = reference.ok_or_else(|| missing(field))?;
    secret(&reference, field, env).map_err(|error| match error {
        ConfigError::Value { field, problem, .. } => {
            value(field, &problem, "write \"env:NAME\" or \"file:PATH\", with the node's own text")
        }
        other => other,
    })
}

/// The file of a macaroon is binary, as LND writes it; an environment variable, or a text file,
/// has it in hexadecimal.
fn macaroon(reference: Option<RawSecret>, env: Environment<'_>) -> Result<SecretText, ConfigError> {
    const FIELD: &str = "lightning.macaroon";
    let reference = reference.ok_or_else(|| missing(FIELD))?;
    let remedy = "write \"file:PATH\" with LND's invoice.macaroon, or \"env:NAME\" with its hex";
    let bytes = match reference.0.split_once(':') {
        Some(("env", name)) => env(name).map(String::into_bytes).ok_or_else(|| {
            value(FIELD, &format!("environment variable {name} is not set"), remedy)
        })?,
        Some(("file", path)) => std::fs::read(Path::new(path))
            .map_err(|error| value(FIELD, &format!("cannot read {path}: {error}"), remedy))?,
        _ => {
            let problem = "expected a reference, but found the secret itself";
            return Err(value(FIELD, problem, remedy));
        }
    };
    let text = bytes.trim_ascii();
    let is_hex = !text.is_empty() && text.iter().all(u8::is_ascii_hexdigit);
    let hex = if is_hex { String::from_utf8_lossy(text).into_owned() } else { hex::encode(&bytes) };
    // The binary form of every macaroon begins with its version.
    if !hex.starts_with("02") || hex.len() > 2 * MACAROON_BYTES_MAX || hex.len() % 2 != 0 {
        return Err(value(FIELD, "expected a macaroon, but found something else", remedy));
    }
    Ok(SecretText::new(hex))
}

/// What a wallet's owner hands out: the wallet's key, relays and a secret.
fn connection(
    reference: Option<RawSecret>,
    env: Environment<'_>,
) -> Result<NostrWalletConnectUri, ConfigError> {
    const FIELD: &str = "lightning.connection";
    let text = credential(reference, FIELD, env)?;
    NostrWalletConnectUri::parse(text.reveal()).map_err(|_| {
        let problem = "expected nostr+walletconnect://KEY?relay=...&secret=..., but found another";
        value(FIELD, problem, "make a connection in the wallet and copy all of it")
    })
}

/// It becomes a part of a path.
fn store_id(id: Option<String>) -> Result<String, ConfigError> {
    let id = id.ok_or_else(|| missing("lightning.store"))?;
    if (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(id);
    }
    let problem = format!("expected letters and digits, but found {id:?}");
    Err(value("lightning.store", &problem, "copy the id from the store's settings"))
}

/// A file's neighbour; a database has none that all its replicas see.
fn beside(store: &Store) -> Option<PathBuf> {
    let Store::Sqlite(path) = store else { return None };
    let mut name = path.as_os_str().to_owned();
    name.push(".node");
    Some(PathBuf::from(name))
}

#[cfg(test)]
mod tests;
