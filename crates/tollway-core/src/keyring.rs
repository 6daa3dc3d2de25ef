//! The keys that the gate mints and verifies with.
//!
//! New tokens are minted with the current key; the others still verify the tokens that were
//! minted before a rotation. Taking a key out of the ring revokes every token minted with it.

use alloc::vec::Vec;
use core::fmt;

use crate::compat::{LEGACY_KEYS_MAX, LegacyKey};
use crate::id::KeyId;
use crate::secret::MasterKey;
use crate::wire::KeyringReply;

/// The most keys in one ring: a daily rotation whose tokens live for two months.
pub const KEYS_MAX: usize = 64;

/// A ring of master keys that always has a current one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    current: (KeyId, MasterKey),
    /// Few enough to be looked through; a map would be a seventieth of the whole filter.
    previous: Vec<(KeyId, MasterKey)>,
    legacy: Vec<LegacyKey>,
}

impl Keyring {
    /// Reads the ring that `tollwayd` serves.
    ///
    /// # Errors
    /// [`KeyringError`] if the ring is empty, larger than [`KEYS_MAX`], has one id twice, or
    /// lacks its current key, or has keys of other
    /// paywalls that are none, or more than [`LEGACY_KEYS_MAX`].
    pub fn from_reply(reply: &KeyringReply) -> Result<Self, KeyringError> {
        if reply.keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        if reply.keys.len() > KEYS_MAX {
            return Err(KeyringError::TooManyKeys);
        }
        let mut keys: Vec<(KeyId, MasterKey)> = Vec::new();
        for key in &reply.keys {
            if keys.iter().any(|(id, _)| *id == key.id) {
                return Err(KeyringError::DuplicateId);
            }
            keys.push((key.id, key.secret.clone()));
        }
        let current = keys.iter().position(|(id, _)| *id == reply.current);
        let (_, current) = keys.remove(current.ok_or(KeyringError::NoCurrentKey)?);
        if reply.legacy.len() > LEGACY_KEYS_MAX {
            return Err(KeyringError::TooManyKeys);
        }
        let legacy = reply.legacy.iter().map(LegacyKey::from_wire).collect::<Option<_>>();
        let legacy = legacy.ok_or(KeyringError::BadLegacyKey)?;
        Ok(Self { current: (reply.current, current), previous: keys, legacy })
    }

    /// The key that new tokens are minted with, and its id.
    #[must_use]
    pub const fn current(&self) -> (KeyId, &MasterKey) {
        (self.current.0, &self.current.1)
    }

    /// What other paywalls signed their tokens with, in the operator's order.
    #[must_use]
    pub fn legacy(&self) -> &[LegacyKey] {
        &self.legacy
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&MasterKey> {
        if id == self.current.0 {
            return Some(&self.current.1);
        }
        self.previous.iter().find(|(known, _)| *known == id).map(|(_, key)| key)
    }
}

/// Why a reply is not a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyringError {
    /// No keys at all.
    Empty,
    /// More than [`KEYS_MAX`] keys, or more than [`LEGACY_KEYS_MAX`] of other paywalls.
    TooManyKeys,
    /// One id names two keys.
    DuplicateId,
    /// The current id names no key.
    NoCurrentKey,
    /// A key of another paywall that no format of theirs has.
    BadLegacyKey,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("expected at least one key, but found none"),
            Self::TooManyKeys => write!(f, "expected at most {KEYS_MAX} keys, but found more"),
            Self::DuplicateId => f.write_str("expected every key id once, but found one twice"),
            Self::NoCurrentKey => {
                f.write_str("expected the current key in the ring, but found only others")
            }
            Self::BadLegacyKey => {
                f.write_str("expected the secret of a known format, but found another")
            }
        }
    }
}

impl core::error::Error for KeyringError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Seed;
    use crate::wire::KeyringKey;

    fn reply(current: u32, ids: &[u32]) -> KeyringReply {
        let keys = ids
            .iter()
            .map(|id| KeyringKey {
                id: KeyId::new(*id),
                secret: MasterKey::from_bytes([*id as u8; 32]),
            })
            .collect();
        KeyringReply {
            current: KeyId::new(current),
            keys,
            seed: Seed::from_bytes([0; 32]),
            revoked: Vec::new(),
            legacy: Vec::new(),
            revision: 0,
            rates: Vec::new(),
            limited: Vec::new(),
        }
    }

    #[test]
    fn ok_current_and_previous_keys_are_found_by_id() {
        let ring = Keyring::from_reply(&reply(2, &[1, 2, 3])).unwrap();
        assert_eq!(ring.current(), (KeyId::new(2), &MasterKey::from_bytes([2; 32])));
        for id in [1, 2, 3] {
            assert_eq!(ring.get(KeyId::new(id)), Some(&MasterKey::from_bytes([id as u8; 32])));
        }
        assert_eq!(ring.get(KeyId::new(4)), None);
    }

    #[test]
    fn err_rings_without_exactly_one_key_per_id_and_a_current_one() {
        let too_many: Vec<u32> = (0..=KEYS_MAX as u32).collect();
        for (current, ids, expected) in [
            (1, &[][..], KeyringError::Empty),
            (1, &too_many, KeyringError::TooManyKeys),
            (1, &[1, 2, 1], KeyringError::DuplicateId),
            (4, &[1, 2, 3], KeyringError::NoCurrentKey),
        ] {
            assert_eq!(Keyring::from_reply(&reply(current, ids)), Err(expected));
        }
    }
}
