//! Digests that tell texts apart without keeping them.

use core::fmt;

use alloc::string::String;

use sha2::{Digest as _, Sha256};

use crate::hex_text::{self, HexError, hex_serde};

/// SHA-256 of a list of byte strings.
///
/// It hides only what cannot be guessed: whoever keeps digests of short texts, such as client
/// addresses, keys them first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these parts, each with its length before it, so that ("ab", "c") and
    /// ("a", "bc") differ.
    ///
    /// ```
    /// use tollway_core::digest::Digest;
    ///
    /// assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
    /// ```
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Reads 64 hexadecimal digits, either case.
    ///
    /// # Errors
    /// [`HexError`] for any other text.
    pub fn from_hex(text: &[u8]) -> Result<Self, HexError> {
        hex_text::decode(text).map(Self)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 8 bytes as lowercase hexadecimal digits: enough to tell a few clients apart.
    #[must_use]
    pub fn short_hex(&self) -> String {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        hex::encode([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_text::write(&self.0, f)
    }
}

hex_serde!(Digest);
