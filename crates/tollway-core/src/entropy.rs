//! Randomness without a random device: a generator seeded from outside.
//!
//! The filter may not use a package for randomness, so `tollwayd` sends a fresh seed with every
//! keyring, from its operating system's generator, and the filter mixes in what its own host
//! gives. Output block n is `HMAC-SHA256(key, n)`; the key is replaced by a block of its own
//! after each draw, so that an earlier output cannot be computed from a later state.

use core::fmt;

use crate::hex_text::hex_bytes;
use crate::secret::hmac_sha256;

/// 32 bytes of fresh randomness that a generator starts from; as secret as what it feeds.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(redacted)")
    }
}

hex_bytes!(Seed);

/// A seeded generator of unpredictable bytes.
pub struct Entropy {
    key: [u8; 32],
}

impl Entropy {
    /// A generator for this seed; one seed gives one stream.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Self {
        Self { key: hmac_sha256(b"tollway-entropy", seed) }
    }

    /// Folds more seed material in; the state never becomes weaker.
    pub fn mix(&mut self, seed: &[u8]) {
        self.key = hmac_sha256(&self.key, seed);
    }

    /// The next 32 bytes.
    #[must_use]
    pub fn draw(&mut self) -> [u8; 32] {
        let output = hmac_sha256(&self.key, &[1]);
        self.key = hmac_sha256(&self.key, &[0]);
        output
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_and_a_seed_replays() {
        let mut a = Entropy::from_seed(b"seed");
        let mut b = Entropy::from_seed(b"seed");
        let first = a.draw();
        assert_eq!(first, b.draw());
        assert_ne!(first, a.draw());
    }

    #[test]
    fn mixing_changes_the_stream() {
        let mut a = Entropy::from_seed(b"seed");
        let mut b = Entropy::from_seed(b"seed");
        b.mix(b"more");
        assert_ne!(a.draw(), b.draw());
    }
}
