//! Where the prices are read from that machines are told.

use std::path::PathBuf;

use serde::Deserialize;

use super::{ConfigError, Environment};

/// Overrides `discovery.filter_config`.
pub const ENV_DISCOVERY: &str = "TOLLWAYD_DISCOVERY";
/// A title is a line.
const TITLE_BYTES_MAX: usize = 200;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDiscovery {
    filter_config: Option<PathBuf>,
    title: Option<String>,
}

/// The file with the filter's configuration, and what the API is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryConfig {
    /// The filter's own file, or one of Envoy, Istio or Envoy Gateway that has it inside.
    pub filter_config: PathBuf,
    /// What the documents call the API.
    pub title: String,
}

impl RawDiscovery {
    pub(super) fn resolve(
        &self,
        env: Environment<'_>,
    ) -> Result<Option<DiscoveryConfig>, ConfigError> {
        let title = self.title.clone().unwrap_or_else(|| "API".to_owned());
        if !(1..=TITLE_BYTES_MAX).contains(&title.len()) || title.contains(char::is_control) {
            return Err(ConfigError::Value {
                field: "discovery.title",
                problem: format!("expected one line of 1 to {TITLE_BYTES_MAX} bytes"),
                remedy: "shorten it".to_owned(),
            });
        }
        let file = env(ENV_DISCOVERY).map(PathBuf::from).or_else(|| self.filter_config.clone());
        let file = file.filter(|file| !file.as_os_str().is_empty());
        Ok(file.map(|filter_config| DiscoveryConfig { filter_config, title }))
    }
}
