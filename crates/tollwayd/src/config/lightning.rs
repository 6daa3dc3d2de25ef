//! The Lightning node: which one, and how it is used.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, ENV_SIMULATED_FILE, Environment, Store};

/// A payer needs some time to pay.
const INVOICE_EXPIRY_S_MIN: u64 = 1;
/// One day: an unpaid invoice is an open promise at an old price.
const INVOICE_EXPIRY_S_MAX: u64 = 86_400;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLightning {
    backend: Backend,
    invoice_expiry_s: u64,
    simulated_file: Option<PathBuf>,
}

impl Default for RawLightning {
    fn default() -> Self {
        Self { backend: Backend::Simulated, invoice_expiry_s: 600, simulated_file: None }
    }
}

/// Which Lightning node makes the invoices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Backend {
    /// The built-in node that pays on request: for demos and tests, never for money.
    Simulated,
}

/// The Lightning node that makes the invoices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightningConfig {
    /// Which one.
    pub backend: Backend,
    /// How long an invoice can be paid.
    pub invoice_expiry_s: u64,
    /// Where the simulated node remembers its invoices; without a file it does not.
    pub simulated_file: Option<PathBuf>,
}

impl RawLightning {
    pub(super) fn resolve(
        &self,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<LightningConfig, ConfigError> {
        let expiry = self.invoice_expiry_s;
        if !(INVOICE_EXPIRY_S_MIN..=INVOICE_EXPIRY_S_MAX).contains(&expiry) {
            return Err(ConfigError::Value {
                field: "lightning.invoice_expiry_s",
                problem: format!(
                    "expected {INVOICE_EXPIRY_S_MIN} to {INVOICE_EXPIRY_S_MAX}, but found {expiry}"
                ),
                remedy: "600 is a good start".to_owned(),
            });
        }
        let named = env(ENV_SIMULATED_FILE).map(PathBuf::from);
        let named = named.or_else(|| self.simulated_file.clone());
        Ok(LightningConfig {
            backend: self.backend,
            invoice_expiry_s: expiry,
            simulated_file: named.or_else(|| beside(store)),
        })
    }
}

/// A file's neighbour; a database has none that all its replicas see.
fn beside(store: &Store) -> Option<PathBuf> {
    let Store::Sqlite(path) = store else { return None };
    let mut name = path.as_os_str().to_owned();
    name.push(".node");
    Some(PathBuf::from(name))
}
