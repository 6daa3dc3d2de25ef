//! The gate's keys.

use tollway_core::id::KeyId;

use super::{Contradiction, Decided, Engine};
use crate::ledger::KeyBytes;
use crate::ledger::rows::MasterKey;

impl Engine {
    pub(in crate::ledger) fn rotate_key(&mut self, secret: &KeyBytes) -> Decided<KeyId> {
        let newest = self.newest_key().map_or(0, KeyId::get);
        let id = newest.checked_add(1).map(KeyId::new).ok_or(Contradiction("no key id is left"))?;
        let created_at_ms = self.now_ms;
        self.set.keys.put(MasterKey {
            id,
            secret: secret.clone(),
            created_at_ms,
            retired_at_ms: None,
        });
        Ok(id)
    }

    pub(super) fn newest_key(&self) -> Option<KeyId> {
        self.set.keys.iter().map(|key| key.id).max()
    }
}
