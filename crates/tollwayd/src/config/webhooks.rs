//! Who is told of payments and refunds.

use serde::Deserialize;
use tollway_core::secret::SecretText;
use url::Url;

use super::secrets::{RawSecret, secret};
use super::{ConfigError, Environment};
use crate::ledger::Happening;
use crate::outbound;

/// Every receiver is looked after on its own.
const WEBHOOKS_MAX: usize = 16;
/// Longer names spoil the log.
const NAME_BYTES_MAX: usize = 64;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebhook {
    name: String,
    url: String,
    secret: RawSecret,
    #[serde(default = "all")]
    events: Vec<Happening>,
    #[serde(default)]
    allow_private: bool,
}

fn all() -> Vec<Happening> {
    vec![Happening::Payment, Happening::TopUp, Happening::Refund]
}

/// A receiver of news.
#[derive(Clone)]
pub struct WebhookConfig {
    /// What logs, metrics and the outbox call it: its URL may hold a key.
    pub name: String,
    /// Where it listens.
    pub url: Url,
    /// What signs the news.
    pub secret: SecretText,
    /// What it is told of.
    pub events: Vec<Happening>,
    /// Whether the URL may lead into a private network.
    pub allow_private: bool,
}

impl std::fmt::Debug for WebhookConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookConfig").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Fetches the secrets and checks the addresses.
pub(super) fn resolve(
    raw: &[RawWebhook],
    env: Environment<'_>,
) -> Result<Vec<WebhookConfig>, ConfigError> {
    let webhooks: Vec<_> = raw.iter().map(|it| it.resolve(env)).collect::<Result<_, _>>()?;
    check_names("webhooks.name", webhooks.iter().map(|it| it.name.as_str()), WEBHOOKS_MAX)?;
    Ok(webhooks)
}

/// Names are kept in the store, and tell receivers apart there.
pub(super) fn check_names<'a>(
    field: &'static str,
    names: impl Iterator<Item = &'a str>,
    most: usize,
) -> Result<(), ConfigError> {
    let mut names: Vec<&str> = names.collect();
    let fits = |name: &str| {
        (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    if let Some(name) = names.iter().find(|name| !fits(name)) {
        let problem = format!("expected letters, digits and -_. alone, but found {name:?}");
        return Err(fault(field, problem, "shorten it to such a name"));
    }
    let number = names.len();
    names.sort_unstable();
    names.dedup();
    if names.len() < number || number > most {
        let problem = format!("expected each name once, and at most {most}");
        return Err(fault(field, problem, "give each one a name of its own"));
    }
    Ok(())
}

impl RawWebhook {
    fn resolve(&self, env: Environment<'_>) -> Result<WebhookConfig, ConfigError> {
        let url = self.url()?;
        if self.events.is_empty() {
            let problem = format!("{:?} is told of nothing", self.name);
            return Err(fault("webhooks.events", problem, "remove the field to tell it of all"));
        }
        Ok(WebhookConfig {
            name: self.name.clone(),
            url,
            secret: secret(&self.secret, "webhooks.secret", env)?,
            events: self.events.clone(),
            allow_private: self.allow_private,
        })
    }

    fn url(&self) -> Result<Url, ConfigError> {
        let refused = |refusal: outbound::Refusal| {
            // Not the address itself, which may hold a key.
            let problem = format!("{:?}: {refusal}", self.name);
            let remedy = "write its public https address, or set allow_private = true for a \
                          receiver in your own network";
            fault("webhooks.url", problem, remedy)
        };
        let url = Url::parse(&self.url).map_err(|_| refused(outbound::Refusal::Malformed))?;
        outbound::check(&url, self.allow_private).map_err(refused)?;
        Ok(url)
    }
}

pub(super) fn fault(field: &'static str, problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field, problem, remedy: remedy.to_owned() }
}
