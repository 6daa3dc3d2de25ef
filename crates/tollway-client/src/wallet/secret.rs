//! Text that is worth money.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A wallet's credential. `Debug` never shows it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a text, without the white space around it that files end with.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text, for the one place that must send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// A header with it.
    pub(crate) fn header(
        &self,
        expected: &'static str,
    ) -> Result<reqwest::header::HeaderValue, super::WalletError> {
        let value = reqwest::header::HeaderValue::from_str(&self.0);
        let mut value = value.map_err(|_| super::WalletError::BadSetting { expected })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}
