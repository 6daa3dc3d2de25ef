//! Maps whose keys are random already, so that nothing is gained by hashing them.

use std::hash::{BuildHasherDefault, Hasher};

/// For keys that end with eight bytes which no client can choose.
pub(crate) type Prehashed = BuildHasherDefault<LastBytes>;

/// The last eight bytes of the key.
#[derive(Debug, Default)]
pub(crate) struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            // The last byte decides about the place, the first of them is not wholly random.
            self.0 = u64::from_be_bytes(*last);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, Hash};

    use tollway_core::id::HoldId;

    use super::*;

    #[test]
    fn a_hold_s_random_end_and_a_hash_are_taken_as_they_are() {
        let end = 0x8182_8384_8586_8788;
        let hold = HoldId::from_bytes(0x0123_4567_89ab_7def_8182_8384_8586_8788_u128.to_be_bytes());
        assert_eq!(Prehashed::default().hash_one(hold), end);
        let mut hasher = LastBytes::default();
        end.hash(&mut hasher);
        assert_eq!(hasher.finish(), u64::from_be_bytes(end.to_ne_bytes()));
    }
}
