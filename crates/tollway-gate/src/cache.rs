//! The cache of verified credentials: bounded in entries and bytes.
//!
//! Keyed by the exact bytes of the headers that carried the credential, so that a hit spares the
//! parsing too. A look-up hashes them where they stand and copies nothing. It remembers only that
//! a token is genuine and paid for; what its caveats allow is asked again on every request. Two
//! generations stand in for an exact order of use: when the young one is full it becomes the old
//! one, and an old entry that is used moves back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::rc::Rc;

use tollway_core::credential::VerifiedCredential;
use tollway_core::header_block::HeaderBlock;

use crate::config::CacheLimits;
use crate::prehashed::Prehashed;

/// The headers that can carry a credential.
const CARRIERS: [&str; 3] = ["authorization", "macaroon", "grpc-metadata-macaroon"];
/// So many bytes at a credential's end tell it from others: the preimage stands there, in
/// hexadecimal digits, and before it the end of the macaroon's signature.
const TELLING_BYTES: usize = 80;
/// What an entry costs beside its key: the verified credential and the map's own slots.
const ENTRY_BYTES: usize = 512;

/// A credential that was verified, and what of `Authorization` is not ours.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) credential: Rc<VerifiedCredential>,
    pub(crate) authorization_rest: Option<Vec<u8>>,
}

/// The headers of one request that can carry a credential, each with the number of its name; at
/// least one.
pub(crate) struct Carriers<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Carriers<'a> {
    /// Those of this request; `None` when it has none.
    pub(crate) fn of(headers: &'a HeaderBlock) -> Option<Self> {
        let number = |name| CARRIERS.iter().position(|carrier| name == carrier.as_bytes());
        let carriers =
            headers.iter().filter_map(|(name, value)| Some((number(name)? as u8, value)));
        let carriers: Vec<_> = carriers.collect();
        (!carriers.is_empty()).then_some(Self(carriers))
    }

    fn equals(&self, key: &[(u8, Vec<u8>)]) -> bool {
        let pairs = self.0.iter().zip(key);
        let mut same =
            pairs.map(|((tag, value), (known, bytes))| tag == known && equal(bytes, value));
        self.0.len() == key.len() && same.all(|same| same)
    }
}

/// Two that differ elsewhere are alike here, and [`Carriers::equals`] tells.
impl Hash for Carriers<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for (tag, value) in &self.0 {
            (tag, value.len()).hash(state);
            state.write(value.last_chunk::<TELLING_BYTES>().map_or(value, |end| end));
        }
    }
}

/// Whether the bytes are the same, eight at a time: in a VM, the standard library compares them
/// one by one.
fn equal(one: &[u8], other: &[u8]) -> bool {
    let ((ones, one_rest), (others, other_rest)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    one.len() == other.len()
        && ones.iter().zip(others).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
        && one_rest == other_rest
}

/// What is kept of one credential.
#[derive(Debug)]
struct Kept {
    key: Box<[(u8, Vec<u8>)]>,
    known: Known,
}

impl Kept {
    fn bytes(&self) -> usize {
        self.key.iter().map(|(_, value)| value.len()).sum::<usize>().saturating_add(ENTRY_BYTES)
    }
}

/// Entries by the hash of their carriers; of two that are alike, the later one takes the place. The
/// hash is keyed, so that nobody can make one like another's without its signature and preimage.
type Generation = HashMap<u64, Kept, Prehashed>;

/// The cache.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    limits: CacheLimits,
    hasher: RandomState,
    young: Generation,
    old: Generation,
    young_bytes: usize,
}

impl CredentialCache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            hasher: RandomState::new(),
            young: HashMap::default(),
            old: HashMap::default(),
            young_bytes: 0,
        }
    }

    pub(crate) fn find(&mut self, carriers: &Carriers<'_>) -> Option<Known> {
        let hash = self.hasher.hash_one(carriers);
        if let Some(kept) = self.young.get(&hash).filter(|kept| carriers.equals(&kept.key)) {
            return Some(kept.known.clone());
        }
        let Entry::Occupied(old) = self.old.entry(hash) else { return None };
        if !carriers.equals(&old.get().key) {
            return None;
        }
        let kept = old.remove();
        let known = kept.known.clone();
        self.keep(hash, kept);
        Some(known)
    }

    pub(crate) fn insert(&mut self, carriers: &Carriers<'_>, known: Known) {
        let key = carriers.0.iter().map(|(tag, value)| (*tag, value.to_vec())).collect();
        self.keep(self.hasher.hash_one(carriers), Kept { key, known });
    }

    fn keep(&mut self, hash: u64, kept: Kept) {
        let bytes = kept.bytes();
        // Each generation gets half of the limits.
        let entries_max = self.limits.entries_max / 2;
        let bytes_max = self.limits.bytes_max / 2;
        if bytes > bytes_max || entries_max == 0 {
            return;
        }
        if self.young.len() >= entries_max || self.young_bytes.saturating_add(bytes) > bytes_max {
            self.old = core::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        let replaced = self.young.insert(hash, kept).map_or(0, |kept| kept.bytes());
        self.young_bytes = self.young_bytes.saturating_add(bytes).saturating_sub(replaced);
    }

    /// Forgets everything: the keyring changed.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.young_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_same_only_if_all_are() {
        let bytes: Vec<u8> = (0..=40).collect();
        for len in 0..bytes.len() {
            let one = &bytes[..len];
            assert!(equal(one, one));
            assert!(!equal(one, &bytes[..len + 1]) && !equal(&bytes[..len + 1], one));
            for at in 0..len {
                let mut other = one.to_vec();
                other[at] ^= 0x80;
                assert!(!equal(one, &other), "{at} of {len}");
            }
        }
    }

    /// What a look-up does not hash is compared all the same.
    #[test]
    fn carriers_that_differ_anywhere_are_others() {
        let value = |head: &str| [head.as_bytes(), &[b'x'; 2 * TELLING_BYTES]].concat();
        let list = |name: &str, head: &str| HeaderBlock::from([(name, value(head))]);
        let known = list("authorization", "a");
        let key: Vec<_> =
            Carriers::of(&known).unwrap().0.iter().map(|(t, v)| (*t, v.to_vec())).collect();
        assert!(Carriers::of(&known).unwrap().equals(&key));
        let twice =
            HeaderBlock::from([("authorization", value("a")), ("authorization", value("a"))]);
        for other in [list("authorization", "b"), list("macaroon", "a"), twice] {
            assert!(!Carriers::of(&other).unwrap().equals(&key));
        }
        let none: &[(u8, Vec<u8>)] = &[];
        assert!(!Carriers::of(&known).unwrap().equals(none));
        let state = RandomState::new();
        let hash = |list: &HeaderBlock| state.hash_one(Carriers::of(list).unwrap());
        assert_ne!(hash(&known), hash(&list("macaroon", "a")));
    }
}
