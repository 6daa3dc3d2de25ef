//! The configuration: what was typed ([`RawConfig`]) and what runs ([`Config`]).
//!
//! One TOML file; `envoy/tollwayd.toml` documents every value. Unknown fields are refused.
//! Secrets are never written into the file: it names an environment variable (`env:NAME`) or a
//! file (`file:PATH`). Everything is checked before a port is bound. Relative paths start at
//! the working directory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tollway_core::secret::SecretText;
use tollway_core::wire::LegacyKey;

mod authority;
mod discovery;
mod legacy;
mod lightning;
mod log;
mod node;
mod node_url;
mod payouts;
mod price_webhook;
mod rates;
mod sales;
mod secrets;
mod webhooks;
mod x402;

pub use crate::flood::FloodLimits;
pub use crate::ledger::Happening;
pub use authority::AuthorityConfig;
use authority::RawAuthority;
#[cfg(test)]
pub(crate) use authority::ed25519_key;
use discovery::RawDiscovery;
pub use discovery::{DiscoveryConfig, ENV_DISCOVERY};
use legacy::RawLegacyKey;
use lightning::RawLightning;
pub use lightning::{
    ENV_LIGHTNING_BACKEND, ENV_LIGHTNING_CERT, ENV_LIGHTNING_NETWORK, ENV_LIGHTNING_URL,
};
pub use log::{LogConfig, LogFormat, LogLevel};
pub use node::{
    BtcpayConfig, ClnConfig, LightningConfig, LnbitsConfig, LndConfig, Network, NodeConfig,
    NwcConfig, PhoenixdConfig, PoolNode,
};
pub use node_url::NodeUrl;
pub use payouts::{PayoutsConfig, SplitConfig, SplitReceiver};
use payouts::{RawPayouts, RawSplit};
pub use price_webhook::PriceWebhookConfig;
use price_webhook::RawPriceWebhook;
use rates::RawRates;
pub use rates::{PriceSource, RateSource, RatesConfig};
pub use sales::{Coupon, Gives, SalesConfig, Supply};
use sales::{RawCoupon, RawSupply};
use secrets::{RawSecret, secret};
use webhooks::RawWebhook;
pub use webhooks::WebhookConfig;
pub use x402::{Chain, EvmAddress, X402Config};
use x402::{RawX402, RawX402OverLightning};

/// Overrides `gate.listen`.
pub const ENV_GATE_LISTEN: &str = "TOLLWAYD_LISTEN";
/// Overrides `admin.listen`.
pub const ENV_ADMIN_LISTEN: &str = "TOLLWAYD_ADMIN_LISTEN";
/// Overrides `store.sqlite`.
pub const ENV_STORE: &str = "TOLLWAYD_STORE";
/// Overrides `lightning.simulated_file`.
pub const ENV_SIMULATED_FILE: &str = "TOLLWAYD_SIMULATED_FILE";

/// Reads environment variables; tests pass a table of their own.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The configuration as typed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    gate: RawDoor,
    admin: RawDoor,
    store: RawStore,
    #[serde(default)]
    lightning: RawLightning,
    #[serde(default)]
    challenges: FloodLimits,
    #[serde(default)]
    legacy_keys: Vec<RawLegacyKey>,
    rates: RawRates,
    price_webhook: Option<RawPriceWebhook>,
    x402: Option<RawX402>,
    x402_over_lightning: Option<RawX402OverLightning>,
    authority: Option<RawAuthority>,
    #[serde(default)]
    discovery: RawDiscovery,
    #[serde(default)]
    tier_credit: BTreeMap<String, u64>,
    #[serde(default)]
    coupons: Vec<RawCoupon>,
    #[serde(default)]
    supply: Vec<RawSupply>,
    #[serde(default)]
    webhooks: Vec<RawWebhook>,
    #[serde(default)]
    payouts: RawPayouts,
    #[serde(default)]
    splits: Vec<RawSplit>,
    #[serde(default)]
    log: LogConfig,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDoor {
    listen: Option<String>,
    token: RawSecret,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStore {
    sqlite: Option<PathBuf>,
    postgres: Option<RawSecret>,
    postgres_ca: Option<PathBuf>,
}

/// The configuration that runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the filter calls.
    pub gate: Door,
    /// Where the operator calls.
    pub admin: Door,
    /// Where the ledger is kept.
    pub store: Store,
    /// Which node makes the invoices, and how.
    pub lightning: LightningConfig,
    /// How many invoices may be asked for.
    pub challenges: FloodLimits,
    /// What other paywalls signed their tokens with.
    pub legacy_keys: Vec<LegacyKey>,
    /// What other money is worth.
    pub rates: RatesConfig,
    /// How requests are paid for with x402, if they may be.
    pub x402: Option<X402Config>,
    /// Where clients find the API, if x402 is taken over Lightning.
    pub x402_over_lightning: Option<reqwest::Url>,
    /// Who is told of payments and refunds.
    pub webhooks: Vec<WebhookConfig>,
    /// Whose certificate every purchase needs.
    pub authority: Option<AuthorityConfig>,
    /// Who gets a share of what is paid.
    pub payouts: Option<PayoutsConfig>,
    /// Who tells the prices that the filter does not know.
    pub price_webhook: Option<PriceWebhookConfig>,
    /// What machines are told of the prices.
    pub discovery: Option<DiscoveryConfig>,
    /// What changes a sale beside its price.
    pub sales: SalesConfig,
    /// The log.
    pub log: LogConfig,
}

/// Where the ledger is kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file that belongs to this process alone.
    Sqlite(PathBuf),
    /// A database that other replicas may use at the same time.
    Postgres(Postgres),
}

/// How a PostgreSQL is reached.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// A URL, or words as libpq knows them. It may hold a password.
    pub url: SecretText,
    /// The authorities that may vouch for the server, in PEM form; without it, the machine's.
    pub ca: Option<PathBuf>,
}

impl std::fmt::Display for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

/// A listener and the token its callers show.
#[derive(Clone, Debug)]
pub struct Door {
    /// The address to bind; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bearer token.
    pub token: SecretText,
}

/// Why a configuration was refused. The messages name the field, the fault and the remedy, and
/// never show a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}; pass the right file with --config")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The text is not TOML, or a field is unknown, missing or of the wrong type.
    #[error("{0}")]
    Syntax(String),
    /// A value is not usable.
    #[error("{field}: {problem}; {remedy}")]
    Value {
        /// The path of the field in the file, or the environment variable.
        field: &'static str,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
}

impl RawConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] or [`ConfigError::Syntax`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable {
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
        Self::parse(&text)
    }

    /// Parses the text of a file.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] with the field or the line and column.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let syntax = |message: &str| ConfigError::Syntax(message.trim().replace('\n', " "));
        let document =
            toml::Deserializer::parse(text).map_err(|error| syntax(&located(&error, text)))?;
        serde_path_to_error::deserialize(document).map_err(|error| {
            let field = error.path().to_string();
            let error = error.into_inner();
            let at = error.span().map_or(1, |span| line_of(text, span.start));
            syntax(&format!("line {at}, {field}: {}", error.message()))
        })
    }

    /// The configuration that runs: overrides applied, secrets fetched, values checked.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first field that is not usable.
    pub fn resolve(&self, env: Environment<'_>) -> Result<Config, ConfigError> {
        let gate = Door {
            listen: listen(&self.gate, GATE_FIELDS, env)?,
            token: secret(&self.gate.token, GATE_FIELDS.token, env)?,
        };
        let admin = Door {
            listen: listen(&self.admin, ADMIN_FIELDS, env)?,
            token: secret(&self.admin.token, ADMIN_FIELDS.token, env)?,
        };
        if gate.token == admin.token {
            return Err(ConfigError::Value {
                field: ADMIN_FIELDS.token,
                problem: "the same token as gate.token".to_owned(),
                remedy: "give the two doors different tokens".to_owned(),
            });
        }
        if gate.listen == admin.listen && gate.listen.port() != 0 {
            return Err(ConfigError::Value {
                field: ADMIN_FIELDS.listen,
                problem: format!("{} is gate.listen as well", admin.listen),
                remedy: "give the two doors different addresses".to_owned(),
            });
        }
        let store = self.resolve_store(env)?;
        let lightning = self.lightning.resolve(&store, env)?;
        let rates = self.rates.resolve()?;
        let x402 = self.x402.as_ref().map(|x402| x402.resolve(&rates, env)).transpose()?;
        let over_lightning = self.x402_over_lightning.as_ref();
        let x402_over_lightning = over_lightning.map(RawX402OverLightning::resolve).transpose()?;
        let x402_sells = x402.is_some() || x402_over_lightning.is_some();
        let resolve = |authority: &RawAuthority| authority.resolve(x402_sells);
        let authority = self.authority.as_ref().map(resolve).transpose()?;
        Ok(Config {
            gate,
            admin,
            payouts: payouts::resolve(&self.payouts, &self.splits, &lightning, &store, env)?,
            lightning,
            store,
            challenges: self.challenges,
            legacy_keys: legacy::resolve(&self.legacy_keys, env)?,
            rates,
            x402,
            x402_over_lightning,
            authority,
            webhooks: webhooks::resolve(&self.webhooks, env)?,
            discovery: self.discovery.resolve(env)?,
            sales: sales::resolve(&self.tier_credit, &self.coupons, &self.supply)?,
            price_webhook: self.price_webhook.as_ref().map(|it| it.resolve(env)).transpose()?,
            log: self.log,
        })
    }

    /// The store alone: an audit needs no tokens.
    ///
    /// # Errors
    /// [`ConfigError::Value`] if neither the file nor the environment names one, or two.
    pub fn resolve_store(&self, env: Environment<'_>) -> Result<Store, ConfigError> {
        if let Some(url) = &self.store.postgres {
            if self.store.sqlite.is_some() || env(ENV_STORE).is_some() {
                return Err(ConfigError::Value {
                    field: "store.postgres",
                    problem: "a file is named as well".to_owned(),
                    remedy: format!("keep one of store.postgres, store.sqlite and {ENV_STORE}"),
                });
            }
            let url = secret(url, "store.postgres", env)?;
            return Ok(Store::Postgres(Postgres { url, ca: self.store.postgres_ca.clone() }));
        }
        if self.store.postgres_ca.is_some() {
            return Err(ConfigError::Value {
                field: "store.postgres_ca",
                problem: "no database is named".to_owned(),
                remedy: "name one in store.postgres, or remove this field".to_owned(),
            });
        }
        let path = env(ENV_STORE).map(PathBuf::from).or_else(|| self.store.sqlite.clone());
        let path = path.filter(|path| !path.as_os_str().is_empty());
        path.map(Store::Sqlite).ok_or_else(|| ConfigError::Value {
            field: "store.sqlite",
            problem: "no path".to_owned(),
            remedy: format!("name the database file here or in {ENV_STORE}"),
        })
    }
}

/// How messages name the fields of one door.
#[derive(Clone, Copy)]
struct DoorFields {
    listen: &'static str,
    listen_env: &'static str,
    token: &'static str,
}

const GATE_FIELDS: DoorFields =
    DoorFields { listen: "gate.listen", listen_env: ENV_GATE_LISTEN, token: "gate.token" };
const ADMIN_FIELDS: DoorFields =
    DoorFields { listen: "admin.listen", listen_env: ENV_ADMIN_LISTEN, token: "admin.token" };

fn listen(
    door: &RawDoor,
    fields: DoorFields,
    env: Environment<'_>,
) -> Result<SocketAddr, ConfigError> {
    let (field, text) = match env(fields.listen_env) {
        Some(text) => (fields.listen_env, text),
        None => (fields.listen, door.listen.clone().unwrap_or_default()),
    };
    text.parse().map_err(|_| ConfigError::Value {
        field,
        problem: format!("expected an address and a port, but found {text:?}"),
        remedy: "write it like \"127.0.0.1:8403\"; a host name is not accepted".to_owned(),
    })
}

fn located(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(1, |span| line_of(text, span.start));
    format!("line {at}: {}", error.message())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
