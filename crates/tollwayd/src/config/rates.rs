//! Rates of exchange: where they come from, and how long they hold.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;
use tollway_core::decimal::Decimal;
use tollway_core::rates::Currency;

use super::ConfigError;

/// Bounds of the settings in seconds: a rate of yesterday is none.
const AGE_S_MAX: u64 = 86_400;
/// The longest wait for an answer, in ms.
const TIMEOUT_MS_MAX: u64 = 30_000;
/// The most currencies: the gate fetches all of them every few seconds.
const SOURCES_MAX: usize = 32;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRates {
    max_age_s: u64,
    refresh_s: u64,
    timeout_ms: u64,
    source: Vec<RawSource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSource {
    currency: String,
    fixed: Option<String>,
    url: Option<String>,
    pointer: Option<String>,
}

impl Default for RawRates {
    fn default() -> Self {
        Self { max_age_s: 900, refresh_s: 60, timeout_ms: 2_000, source: Vec::new() }
    }
}

/// Where the rates of exchange come from.
#[derive(Clone, Debug)]
pub struct RatesConfig {
    /// How long a rate holds.
    pub max_age: Duration,
    /// How often the sources are asked.
    pub refresh: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// One for each currency.
    pub sources: Vec<RateSource>,
}

impl std::fmt::Display for RatesConfig {
    /// The currencies, without the addresses of their sources: one may hold a key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.sources.is_empty() {
            return f.write_str("(none)");
        }
        let codes: Vec<&str> = self.sources.iter().map(|source| source.currency.code()).collect();
        write!(f, "{}, for {} s", codes.join(", "), self.max_age.as_secs())
    }
}

/// Where the rate of one currency comes from.
#[derive(Clone, Debug)]
pub struct RateSource {
    /// The currency.
    pub currency: Currency,
    /// What says its price.
    pub price: PriceSource,
}

/// What says what a bitcoin costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PriceSource {
    /// The configuration.
    Fixed(String),
    /// A JSON document.
    Json {
        /// Where it is.
        url: Url,
        /// Where in it the price stands (RFC 6901).
        pointer: String,
    },
}

impl RawRates {
    pub(super) fn resolve(&self) -> Result<RatesConfig, ConfigError> {
        for (field, number, most) in [
            ("rates.max_age_s", self.max_age_s, AGE_S_MAX),
            ("rates.refresh_s", self.refresh_s, self.max_age_s),
            ("rates.timeout_ms", self.timeout_ms, TIMEOUT_MS_MAX),
        ] {
            if !(1..=most).contains(&number) {
                let problem = format!("expected 1 to {most}, but found {number}");
                let remedy = "a rate is asked for again before it ends; 900, 60 and 2000 are a \
                              good start"
                    .to_owned();
                return Err(ConfigError::Value { field, problem, remedy });
            }
        }
        let sources: Vec<_> =
            self.source.iter().map(RawSource::resolve).collect::<Result<_, _>>()?;
        let mut currencies: Vec<_> = sources.iter().map(|source| source.currency).collect();
        currencies.sort_unstable();
        currencies.dedup();
        if currencies.len() < sources.len() || sources.len() > SOURCES_MAX {
            return Err(fault(
                "rates.source",
                format!("expected each currency once, and at most {SOURCES_MAX}"),
                "keep one source for each",
            ));
        }
        Ok(RatesConfig {
            max_age: Duration::from_secs(self.max_age_s),
            refresh: Duration::from_secs(self.refresh_s),
            timeout: Duration::from_millis(self.timeout_ms),
            sources,
        })
    }
}

impl RawSource {
    fn resolve(&self) -> Result<RateSource, ConfigError> {
        let currency = Currency::parse(&self.currency).ok_or_else(|| {
            fault(
                "rates.source.currency",
                format!("expected three capital letters, but found {:?}", self.currency),
                "write it like \"USD\"",
            )
        })?;
        let price = match (&self.fixed, &self.url, &self.pointer) {
            (Some(fixed), None, None) => {
                let price = Decimal::parse(fixed).filter(|price| !price.is_zero());
                price.map(|_| PriceSource::Fixed(fixed.clone())).ok_or_else(|| {
                    fault(
                        "rates.source.fixed",
                        format!("expected the price of a bitcoin, but found {fixed:?}"),
                        "write it in digits, like \"64000.50\"",
                    )
                })?
            }
            (None, Some(url), Some(pointer)) => json(url, pointer)?,
            _ => {
                return Err(fault(
                    "rates.source.fixed",
                    "expected one source of the price".to_owned(),
                    "write \"fixed\", or \"url\" and \"pointer\"",
                ));
            }
        };
        Ok(RateSource { currency, price })
    }
}

fn json(url: &str, pointer: &str) -> Result<PriceSource, ConfigError> {
    let read = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = read.ok_or_else(|| {
        fault(
            "rates.source.url",
            "expected a URL of http or https, but found other text".to_owned(),
            "name the document that has the price",
        )
    })?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(fault(
            "rates.source.pointer",
            format!("expected a JSON pointer, but found {pointer:?}"),
            "write where the price stands, like \"/data/amount\"",
        ));
    }
    Ok(PriceSource::Json { url, pointer: pointer.to_owned() })
}

fn fault(field: &'static str, problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem, remedy: remedy.to_owned() }
}
