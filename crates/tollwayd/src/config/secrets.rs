//! Secrets, which the file only refers to: `env:NAME` or `file:PATH`.

use serde::Deserialize;
use tollway_core::secret::SecretText;

use super::{ConfigError, Environment};

/// A shorter token could be guessed.
pub(super) const TOKEN_BYTES_MIN: usize = 16;
/// An HTTP header carries this much everywhere.
const TOKEN_BYTES_MAX: usize = 1_024;

/// Kept apart from plain text, so that a token typed here by mistake is not shown.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub(super) struct RawSecret(pub(super) String);

impl std::fmt::Debug for RawSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RawSecret(redacted)")
    }
}

/// Follows a reference to a secret.
pub(super) fn fetch(
    reference: &RawSecret,
    field: &'static str,
    env: Environment<'_>,
) -> Result<String, ConfigError> {
    let value = |problem: String, remedy: &str| ConfigError::Value {
        field,
        problem,
        remedy: remedy.to_owned(),
    };
    match reference.0.split_once(':') {
        Some(("env", name)) => env(name).ok_or_else(|| {
            value(
                format!("environment variable {name} is not set"),
                "set it, for example to the output of `openssl rand -hex 32`",
            )
        }),
        Some(("file", path)) => std::fs::read_to_string(path).map_err(|error| {
            value(format!("cannot read {path}: {error}"), "create it or name another file")
        }),
        _ => Err(value(
            "expected a reference, but found the secret itself".to_owned(),
            "write \"env:NAME\" or \"file:PATH\" and replace that secret",
        )),
    }
}

/// A secret of our own making: a token.
pub(super) fn secret(
    reference: &RawSecret,
    field: &'static str,
    env: Environment<'_>,
) -> Result<SecretText, ConfigError> {
    let value = |problem: String, remedy: &str| ConfigError::Value {
        field,
        problem,
        remedy: remedy.to_owned(),
    };
    let text = fetch(reference, field, env)?;
    let text = text.trim();
    if !(TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&text.len()) {
        return Err(value(
            format!(
                "expected {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} bytes, but found {}",
                text.len()
            ),
            "use the output of `openssl rand -hex 32`",
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(value(
            "expected visible ASCII characters without spaces".to_owned(),
            "use the output of `openssl rand -hex 32`",
        ));
    }
    Ok(SecretText::new(text.to_owned()))
}
