//! The service of the operator's own that tells prices.

use std::time::Duration;

use serde::Deserialize;
use tollway_core::money::Msat;
use tollway_core::secret::SecretText;

use super::node_url::NodeUrl;
use super::secrets::{RawSecret, secret};
use super::{ConfigError, Environment};

/// The filter waits for the answer, and its client with it.
const TIMEOUT_MS_MAX: u64 = 30_000;
/// A price of yesterday is none.
const CACHE_S_MAX: u64 = 86_400;
/// Some ten MiB.
const CACHE_ENTRIES_MAX: usize = 100_000;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPriceWebhook {
    url: String,
    secret: RawSecret,
    max_msat: u64,
    #[serde(default = "one")]
    min_msat: u64,
    #[serde(default = "timeout_ms")]
    timeout_ms: u64,
    #[serde(default)]
    cache_s: u64,
    #[serde(default = "cache_entries")]
    cache_entries: usize,
    #[serde(default)]
    tell_account: bool,
}

fn one() -> u64 {
    1
}

fn timeout_ms() -> u64 {
    1_000
}

fn cache_entries() -> usize {
    10_000
}

/// Where prices are asked for, and within which bounds they are believed.
#[derive(Clone, Debug)]
pub struct PriceWebhookConfig {
    /// Where the service listens.
    pub url: NodeUrl,
    /// What signs the questions.
    pub secret: SecretText,
    /// The least price.
    pub min: Msat,
    /// The highest price.
    pub max: Msat,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long an answer holds; zero for no longer than the request that asked.
    pub cache: Duration,
    /// How many answers are kept.
    pub cache_entries: usize,
    /// Whether the service is told who pays.
    pub tell_account: bool,
}

impl RawPriceWebhook {
    pub(super) fn resolve(&self, env: Environment<'_>) -> Result<PriceWebhookConfig, ConfigError> {
        let url = NodeUrl::parse(&self.url).map_err(|error| {
            // Not the address itself, which may hold a key.
            fault("price_webhook.url", error.to_string(), NodeUrl::REMEDY)
        })?;
        let (min, max) = (amount(self.min_msat), amount(self.max_msat));
        let (Some(min), Some(max)) = (min, max.filter(|max| Some(*max) >= min)) else {
            let problem = format!("expected min_msat {} to max_msat", self.min_msat.max(1));
            let remedy = "write the least and the highest price that you would ask for a request";
            return Err(fault("price_webhook.max_msat", problem, remedy));
        };
        for (field, number, range) in [
            ("price_webhook.timeout_ms", self.timeout_ms, 1..=TIMEOUT_MS_MAX),
            ("price_webhook.cache_s", self.cache_s, 0..=CACHE_S_MAX),
        ] {
            if !range.contains(&number) {
                let (least, most) = range.into_inner();
                let problem = format!("expected {least} to {most}, but found {number}");
                return Err(fault(field, problem, "1000 and 60 are a good start"));
            }
        }
        if !(1..=CACHE_ENTRIES_MAX).contains(&self.cache_entries) {
            let found = self.cache_entries;
            let problem = format!("expected 1 to {CACHE_ENTRIES_MAX}, but found {found}");
            return Err(fault(
                "price_webhook.cache_entries",
                problem,
                "cache_s = 0 keeps no answers",
            ));
        }
        Ok(PriceWebhookConfig {
            url,
            secret: secret(&self.secret, "price_webhook.secret", env)?,
            min,
            max,
            timeout: Duration::from_millis(self.timeout_ms),
            cache: Duration::from_secs(self.cache_s),
            cache_entries: self.cache_entries,
            tell_account: self.tell_account,
        })
    }
}

fn amount(msat: u64) -> Option<Msat> {
    Msat::new(msat).filter(|amount| *amount > Msat::ZERO)
}

fn fault(field: &'static str, problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem, remedy: remedy.to_owned() }
}
