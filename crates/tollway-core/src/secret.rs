//! Keys that never show themselves: no `Display`, and a `Debug` that says nothing.

use alloc::string::String;
use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::hex_text::hex_bytes;

/// HMAC-SHA256 of `message` under `key`.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so there is always one.
    let mac = Hmac::<Sha256>::new_from_slice(key).ok();
    mac.map_or([0; 32], |mac| mac.chain_update(message).finalize().into_bytes().into())
}

/// A key of the keyring: every token's own root key is derived from it, so that verifying a
/// token needs no look-up.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey([u8; 32]);

impl MasterKey {
    /// The root key of the token with this identifier: `HMAC-SHA256(master key, identifier)`.
    #[must_use]
    pub fn root_key(&self, identifier: &[u8]) -> RootKey {
        RootKey(hmac_sha256(&self.0, identifier))
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(redacted)")
    }
}

hex_bytes!(MasterKey);

/// The root key of one macaroon, or of all that toll-booth mints.
#[derive(Clone, PartialEq, Eq)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// The key that signs, as libmacaroons derives it:
    /// `HMAC-SHA256("macaroons-key-generator", root key)`.
    #[must_use]
    pub(crate) fn signing_key(&self) -> [u8; 32] {
        hmac_sha256(b"macaroons-key-generator", &self.0)
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(redacted)")
    }
}

hex_bytes!(RootKey);

/// Text that must not be shown: a token read from a configuration, or another paywall's secret
/// on its way to the gate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecretText(String);

impl SecretText {
    /// Wraps the text.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one place that must send or compare it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let shown = alloc::format!(
            "{:?} {:?} {:?}",
            MasterKey::from_bytes([7; 32]),
            RootKey::from_bytes([7; 32]),
            SecretText::new("canary".into())
        );
        assert_eq!(shown, "MasterKey(redacted) RootKey(redacted) SecretText(redacted)");
    }

    #[test]
    fn signing_key_is_derived_as_the_published_library_does() {
        let root: [u8; 32] = core::array::from_fn(|i| i as u8);
        assert_eq!(
            hex::encode(RootKey::from_bytes(root).signing_key()),
            "7a48333781979c470801d9e308c78e75f4de306c63cb9435b16e84d60192417d"
        );
    }
}
