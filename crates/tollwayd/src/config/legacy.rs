//! What other paywalls signed their tokens with, while their customers move here.

use serde::Deserialize;
use tollway_core::compat::{self, Format, LEGACY_KEYS_MAX, LEGACY_SECRET_BYTES_MAX};
use tollway_core::secret::SecretText;
use tollway_core::wire::LegacyKey;

use super::secrets::{RawSecret, TOKEN_BYTES_MIN, fetch};
use super::{ConfigError, Environment};

const FIELD: &str = "legacy_keys";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLegacyKey {
    format: RawFormat,
    secret: RawSecret,
    services: Vec<String>,
}

/// Our own format needs no secret of another.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RawFormat {
    LightningToll,
    TollBooth,
}

/// Fetches the secrets and checks each with the rules of its format.
pub(super) fn resolve(
    keys: &[RawLegacyKey],
    env: Environment<'_>,
) -> Result<Vec<LegacyKey>, ConfigError> {
    if keys.len() > LEGACY_KEYS_MAX {
        return Err(fault(
            format!("expected at most {LEGACY_KEYS_MAX} keys, but found {}", keys.len()),
            "take those out whose tokens have all expired",
        ));
    }
    keys.iter().map(|key| key.resolve(env)).collect()
}

impl RawLegacyKey {
    fn resolve(&self, env: Environment<'_>) -> Result<LegacyKey, ConfigError> {
        let secret = fetch(&self.secret, FIELD, env)?;
        // A file ends with a line break that belongs to nobody; spaces may belong to the secret.
        let secret = SecretText::new(secret.trim_end_matches(['\r', '\n']).to_owned());
        let (format, expected, remedy) = match self.format {
            RawFormat::LightningToll => (
                Format::LightningToll,
                format!("a secret of 1 to {LEGACY_SECRET_BYTES_MAX} bytes and services"),
                "write the secret of create_toll, and the names of the services that it is for",
            ),
            RawFormat::TollBooth => (
                Format::TollBooth,
                "a root key of 64 hexadecimal digits and services".to_owned(),
                "write toll-booth's root key, and the names of the services that it is for",
            ),
        };
        let key = LegacyKey { format, secret, services: self.services.clone() };
        if compat::LegacyKey::from_wire(&key).is_none() {
            return Err(fault(format!("expected {expected}, but found others"), remedy));
        }
        if key.secret.reveal().len() < TOKEN_BYTES_MIN {
            tracing::warn!(
                format = format.name(),
                "a secret in legacy_keys is short: whoever has one token can guess it and mint \
                 tokens; stop accepting the format as soon as you can"
            );
        }
        Ok(key)
    }
}

fn fault(problem: String, remedy: &str) -> ConfigError {
    ConfigError::Value { field: FIELD, problem, remedy: remedy.to_owned() }
}
