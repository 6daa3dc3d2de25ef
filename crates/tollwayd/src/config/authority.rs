//! Whose certificates a purchase needs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::ConfigError;
use super::webhooks::fault;

/// Keys of the authority that may vouch at the same time.
const KEYS_MAX: usize = 8;
/// A clock may be so far off.
const LEEWAY_S_MAX: u64 = 300;
/// What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAuthority {
    public_keys: Vec<String>,
    operator_id: String,
    audience: Option<String>,
    #[serde(default = "leeway_s")]
    leeway_s: u64,
}

const fn leeway_s() -> u64 {
    30
}

/// Whose certificates a purchase needs.
#[derive(Clone, Debug)]
pub struct AuthorityConfig {
    /// Ed25519 keys; any of them may vouch.
    pub keys: Vec<[u8; 32]>,
    /// Whom a certificate has to be for.
    pub operator_id: String,
    /// The audience that it has to name.
    pub audience: Option<String>,
    /// How far clocks may be apart.
    pub leeway_s: u64,
}

impl RawAuthority {
    /// `others_sell`: what is sold on rails that know no certificates would be sold without.
    pub(super) fn resolve(&self, others_sell: bool) -> Result<AuthorityConfig, ConfigError> {
        if others_sell {
            let problem = "x402 would sell without certificates".to_owned();
            return Err(fault("authority", problem, "remove [x402], or [authority]"));
        }
        let keys: Option<Vec<_>> = self.public_keys.iter().map(|key| ed25519_key(key)).collect();
        let keys = keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len())).ok_or_else(|| {
            let problem = format!("expected 1 to {KEYS_MAX} Ed25519 public keys in PEM form");
            fault("authority.public_keys", problem, "copy -----BEGIN PUBLIC KEY----- and the rest")
        })?;
        if self.operator_id.is_empty() {
            let problem = "it is empty".to_owned();
            return Err(fault(
                "authority.operator_id",
                problem,
                "write the authority's name for you",
            ));
        }
        if self.leeway_s > LEEWAY_S_MAX {
            let problem = format!("expected at most {LEEWAY_S_MAX}, but found {}", self.leeway_s);
            return Err(fault("authority.leeway_s", problem, "set the clock, and write 30"));
        }
        Ok(AuthorityConfig {
            keys,
            operator_id: self.operator_id.clone(),
            audience: self.audience.clone(),
            leeway_s: self.leeway_s,
        })
    }
}

/// The key of a PEM text; `None` for other text and other kinds of keys.
pub(crate) fn ed25519_key(pem: &str) -> Option<[u8; 32]> {
    let text = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?;
    let text = text.strip_suffix("-----END PUBLIC KEY-----")?;
    let text: String = text.split_ascii_whitespace().collect();
    let der = STANDARD.decode(text).ok()?;
    der.strip_prefix(&ED25519_PREFIX)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rail_without_certificates_cannot_stand_beside_an_authority() {
        let pem = "-----BEGIN PUBLIC KEY-----\n\
                   MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                   -----END PUBLIC KEY-----";
        let raw = RawAuthority {
            public_keys: vec![pem.to_owned()],
            operator_id: "shop".to_owned(),
            audience: None,
            leeway_s: leeway_s(),
        };
        assert_eq!(raw.resolve(false).unwrap().operator_id, "shop");
        let found = raw.resolve(true).unwrap_err().to_string();
        assert!(found.starts_with("authority: x402 would sell without certificates"), "{found}");
    }
}
