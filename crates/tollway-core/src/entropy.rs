//! Randomness without a random device: a generator seeded from outside.
//!
//! The filter may not use a package for randomness, so `tollwayd` sends a fresh seed with every
//! keyring, from its operating system's generator, and the filter mixes in what its own host
//! gives. Output block n is `HMAC-SHA256(key, n)`, and block 0 is the next key. Eight blocks are
//! made at a time, because every call of the filter names a hold and needs ten bytes for it. What
//! was drawn is forgotten, so that an earlier output cannot be computed from a later state.

use core::fmt;

use crate::hex_text::hex_bytes;
use crate::secret::{HmacKey, hmac_sha256};

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

/// The bytes of eight blocks.
const POOL_BYTES: usize = 8 * 32;

/// A seeded generator of unpredictable bytes.
pub struct Entropy {
    key: [u8; 32],
    /// The first `left` bytes are still to be drawn, the last of them first.
    pool: [u8; POOL_BYTES],
    left: usize,
}

impl Entropy {
    /// A generator for this seed; one seed gives one stream.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Self {
        Self::from_key(hmac_sha256(b"tollway-entropy", seed))
    }

    /// Folds more seed material in; the state never becomes weaker. The next bytes hang on it.
    pub fn mix(&mut self, seed: &[u8]) {
        *self = Self::from_key(hmac_sha256(&self.key, seed));
    }

    /// The next bytes, at most 256 at a time.
    #[must_use]
    pub fn draw<const N: usize>(&mut self) -> [u8; N] {
        const { assert!(N <= POOL_BYTES, "no more than one pool at a time") }
        if self.left < N {
            self.fill();
        }
        let mut drawn = [0; N];
        let rest = self.pool.get_mut(..self.left).unwrap_or_default();
        if let Some((_, bytes)) = rest.split_last_chunk_mut() {
            core::mem::swap(&mut drawn, bytes);
            self.left -= N;
        }
        drawn
    }

    const fn from_key(key: [u8; 32]) -> Self {
        Self { key, pool: [0; POOL_BYTES], left: 0 }
    }

    fn fill(&mut self) {
        let key = HmacKey::new(&self.key);
        self.key = key.of(&[0]);
        for (block, number) in self.pool.as_chunks_mut().0.iter_mut().zip(1..) {
            *block = key.of(&[number]);
        }
        self.left = POOL_BYTES;
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn draws_differ_and_a_seed_replays() {
        let (mut a, mut b) = (Entropy::from_seed(b"seed"), Entropy::from_seed(b"seed"));
        let mut drawn = Vec::new();
        // More than two pools, in sizes that do not fit them.
        for _ in 0..60 {
            let bytes: [u8; 10] = a.draw();
            assert_eq!(bytes, b.draw());
            assert!(!drawn.contains(&bytes));
            drawn.push(bytes);
        }
        assert!(!drawn.contains(&[0; 10]));
    }

    #[test]
    fn a_pool_is_blocks_under_the_key_and_what_was_drawn_is_forgotten() {
        let mut entropy = Entropy::from_seed(b"seed");
        let key = hmac_sha256(b"tollway-entropy", b"seed");
        let blocks: Vec<[u8; 32]> = (1..=8).map(|n| hmac_sha256(&key, &[n])).collect();
        assert_eq!(entropy.draw::<256>(), *blocks.concat());
        assert_eq!(entropy.pool, [0; POOL_BYTES]);
        assert_eq!(entropy.key, hmac_sha256(&key, &[0]));
        // A rest that does not do is never given out twice.
        let most: [u8; 255] = entropy.draw();
        let next: [u8; 2] = entropy.draw();
        let blocks: Vec<[u8; 32]> = (1..=8).map(|n| hmac_sha256(&entropy.key, &[n])).collect();
        assert_ne!(most, [0; 255]);
        assert_ne!(next, [0; 2]);
        assert_ne!(entropy.draw::<32>(), blocks[7]);
    }

    #[test]
    fn mixing_changes_the_stream_at_once() {
        let (mut a, mut b) = (Entropy::from_seed(b"seed"), Entropy::from_seed(b"seed"));
        assert_eq!(a.draw::<10>(), b.draw::<10>());
        b.mix(b"more");
        assert_ne!(a.draw::<10>(), b.draw::<10>());
    }
}
