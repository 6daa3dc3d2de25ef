//! The gate's keys.

use tollway_core::digest::Digest;
use tollway_core::id::KeyId;

use super::{Contradiction, Decided, Engine};
use crate::ledger::KeyBytes;
use crate::ledger::rows::{Action, ActionKind, MasterKey};

impl Engine {
    pub(in crate::ledger) fn rotate_key(&mut self, secret: &KeyBytes) -> Decided<KeyId> {
        let newest = self.newest_key().map_or(0, KeyId::get);
        let id = newest.checked_add(1).map(KeyId::new).ok_or(Contradiction("no key id is left"))?;
        let created_at_ms = self.now_ms;
        self.set.actions.put(Action {
            id: action_of(secret),
            kind: ActionKind::RotateKey,
            actor: "operator".to_owned(),
            reason: String::new(),
            subject: None,
            account: None,
            amount_msat: None,
            key_id: Some(id),
            tier: None,
            at_ms: self.now_ms,
        });
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

/// The id of a rotation in the audit log: a digest of the key, which tells nothing of it.
fn action_of(secret: &KeyBytes) -> [u8; 16] {
    let digest = Digest::of(&[b"rotation", &secret.0]);
    let mut id = [0; 16];
    id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    id
}
