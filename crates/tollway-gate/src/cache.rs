//! The cache of verified credentials: bounded in entries and bytes.
//!
//! Keyed by the exact bytes of the headers that carried the credential, so that a hit spares the
//! parsing too. It remembers only that a token is genuine and paid for; what its caveats allow
//! is asked again on every request. Two generations stand in for an exact order of use: when the
//! young one is full it becomes the old one, and an old entry that is used moves back.

use std::collections::HashMap;
use std::rc::Rc;

use tollway_core::credential::VerifiedCredential;

use crate::config::CacheLimits;
use crate::host::HeaderList;

/// The headers that can carry a credential.
const CARRIERS: [&str; 3] = ["authorization", "macaroon", "grpc-metadata-macaroon"];
/// What an entry costs beside its key: the verified credential and the map's own slots.
const ENTRY_BYTES: usize = 512;

/// A credential that was verified, and what of `Authorization` is not ours.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) credential: Rc<VerifiedCredential>,
    pub(crate) authorization_rest: Option<Vec<u8>>,
}

/// The cache.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    limits: CacheLimits,
    young: HashMap<Vec<u8>, Known>,
    old: HashMap<Vec<u8>, Known>,
    young_bytes: usize,
}

impl CredentialCache {
    pub(crate) fn new(limits: CacheLimits) -> Self {
        Self { limits, young: HashMap::new(), old: HashMap::new(), young_bytes: 0 }
    }

    /// The key of the request's carriers; `None` when it carries none.
    pub(crate) fn key(headers: &HeaderList) -> Option<Vec<u8>> {
        let mut key = Vec::new();
        for (name, value) in headers {
            if let Some(tag) = CARRIERS.iter().position(|carrier| name == carrier) {
                key.push(tag as u8);
                key.extend_from_slice(&(value.len() as u64).to_be_bytes());
                key.extend_from_slice(value);
            }
        }
        (!key.is_empty()).then_some(key)
    }

    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Known> {
        if let Some(known) = self.young.get(key) {
            return Some(known.clone());
        }
        let (key, known) = self.old.remove_entry(key)?;
        self.insert(key, known.clone());
        Some(known)
    }

    pub(crate) fn insert(&mut self, key: Vec<u8>, known: Known) {
        let bytes = key.len().saturating_add(ENTRY_BYTES);
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
        if self.young.insert(key, known).is_none() {
            self.young_bytes = self.young_bytes.saturating_add(bytes);
        }
    }

    /// Forgets everything: the keyring changed.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
        self.young_bytes = 0;
    }
}
