//! What the gate keeps of the ledger: its keys, and the tokens that were revoked last.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tollway_core::digest::Digest;
use tollway_core::id::KeyId;
use tollway_core::payment::PaymentHash;

use super::engine::ask::RotateKey;
use super::reads::Query;
use super::rows::MasterKey;
use super::{AdminAct, AdminOrder, AdminOutcome, KeyBytes, Ledger, LedgerError, StoreFault};

/// How old the number may be that postings tell. What other processes change is known so late.
const REVISION_KEPT_MS: u64 = 1_000;

/// The keys of the gate, oldest first, the last one mints; and what was revoked.
#[derive(Clone, Debug)]
pub(crate) struct Keyring {
    pub(crate) current: KeyId,
    pub(crate) keys: Vec<(KeyId, KeyBytes)>,
    /// The newest revoked tokens, those that opened an account first.
    pub(crate) revoked: Vec<PaymentHash>,
}

impl Keyring {
    /// Names this state. Made of the data alone, so that all who read the same say the same;
    /// never 0, which says nothing.
    pub(crate) fn revision(&self) -> u64 {
        let keys: Vec<[u8; 4]> = self.keys.iter().map(|(id, _)| id.get().to_be_bytes()).collect();
        let current = self.current.get().to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![b"keyring", &current];
        parts.extend(keys.iter().map(<[u8; 4]>::as_slice));
        parts.push(b"revoked");
        parts.extend(self.revoked.iter().map(|hash| &hash.as_bytes()[..]));
        let digest = Digest::of(&parts);
        let number = digest.as_bytes().iter().take(8);
        number.fold(0, |number, byte| number << 8 | u64::from(*byte)).max(1)
    }
}

/// The revision as it was read last, so that postings tell it without a look at the store.
#[derive(Debug, Default)]
pub(super) struct LastRevision(Mutex<Read>);

#[derive(Clone, Copy, Debug, Default)]
struct Read {
    /// 0 before the first one.
    number: u64,
    /// When the newest read began; `None` to have the next one begin at once.
    began_at_ms: Option<u64>,
    /// How many reads have begun, and which of them gave the number.
    begun: u64,
    known: u64,
}

impl LastRevision {
    fn lock(&self) -> MutexGuard<'_, Read> {
        // A number and its age: whoever panicked left a good pair.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number, if no new look is due.
    fn fresh(&self, now_ms: u64) -> Option<u64> {
        let read = self.lock();
        let age_ms = read.began_at_ms.and_then(|began_ms| now_ms.checked_sub(began_ms));
        age_ms.is_some_and(|age_ms| age_ms < REVISION_KEPT_MS).then_some(read.number)
    }

    fn number(&self) -> u64 {
        self.lock().number
    }

    /// A look at the store begins; gives its ticket.
    fn begin(&self, now_ms: u64) -> u64 {
        let mut read = self.lock();
        read.begun += 1;
        read.began_at_ms = Some(now_ms);
        read.begun
    }

    /// What the look of this ticket found. One that began earlier may end later, and is not
    /// believed then.
    fn found(&self, ticket: u64, number: u64) {
        let mut read = self.lock();
        if ticket > read.known {
            read.known = ticket;
            read.number = number;
        }
    }

    fn forget(&self) {
        self.lock().began_at_ms = None;
    }
}

impl Ledger {
    /// The keys of the gate that are not retired, and the newest revocations.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn keyring(&self) -> Result<Keyring, LedgerError> {
        let ticket = self.revision.begin(self.clock.now_ms());
        let rows = self.reader.rows(Query::<MasterKey>::all()).await?;
        let good = rows.into_iter().filter(|key| key.retired_at_ms.is_none());
        let keys: Vec<_> = good.map(|key| (key.id, key.secret)).collect();
        let (current, _) = keys.last().ok_or(LedgerError::Store(StoreFault::Corrupt))?;
        let revoked = self.reader.revoked().await?;
        let keyring = Keyring { current: *current, keys, revoked };
        self.revision.found(ticket, keyring.revision());
        Ok(keyring)
    }

    /// The keys of the gate that are not retired, oldest first.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn keys(&self) -> Result<Vec<KeyBytes>, LedgerError> {
        let rows = self.reader.rows(Query::<MasterKey>::all()).await?;
        let good = rows.into_iter().filter(|key| key.retired_at_ms.is_none());
        Ok(good.map(|key| key.secret).collect())
    }

    /// The [`Keyring::revision`] of now, as this process knows it: after its own changes at once,
    /// after those of others within about a second. It says what it knew while the store cannot
    /// be read, and 0 if it never knew.
    pub(crate) async fn revision(&self) -> u64 {
        if let Some(number) = self.revision.fresh(self.clock.now_ms()) {
            return number;
        }
        if let Err(error) = self.keyring().await {
            tracing::debug!(%error, "the revision of the keyring is not known");
        }
        self.revision.number()
    }

    /// Does what an operator orders, and writes it into the audit log.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn administer(&self, order: AdminOrder) -> Result<AdminOutcome, LedgerError> {
        let gate_must_know = match order.act {
            AdminAct::Revoke(_)
            | AdminAct::Unrevoke(_)
            | AdminAct::RevokeToken(_)
            | AdminAct::UnrevokeToken(_)
            | AdminAct::RetireKey(_) => true,
            AdminAct::Refund(..)
            | AdminAct::Grant(..)
            | AdminAct::Settle(..)
            | AdminAct::Tier(..) => false,
        };
        let outcome = self.queue.ask(order).await;
        if gate_must_know {
            self.revision.forget();
        }
        outcome
    }

    /// Adds a key that mints from now on; older keys keep verifying.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn rotate_key(&self, secret: KeyBytes) -> Result<KeyId, LedgerError> {
        let rotated = self.queue.ask(RotateKey(secret)).await;
        self.revision.forget();
        rotated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(current: u32, keys: &[u32], revoked: &[u8]) -> u64 {
        let key = |id: &u32| (KeyId::new(*id), KeyBytes([7; 32]));
        let keyring = Keyring {
            current: KeyId::new(current),
            keys: keys.iter().map(key).collect(),
            revoked: revoked.iter().map(|tag| PaymentHash::from_bytes([*tag; 32])).collect(),
        };
        keyring.revision()
    }

    #[test]
    fn every_state_has_its_number() {
        let states = [
            keyring(1, &[1], &[]),
            keyring(1, &[1, 2], &[]),
            keyring(2, &[1, 2], &[]),
            keyring(2, &[2], &[]),
            keyring(2, &[2], &[1]),
            keyring(2, &[2], &[2]),
            keyring(2, &[2], &[2, 1]),
            keyring(2, &[2], &[1, 2]),
        ];
        let numbers: std::collections::BTreeSet<u64> = states.into_iter().collect();
        assert_eq!(numbers.len(), states.len());
        assert!(!numbers.contains(&0));
        assert_eq!(keyring(2, &[1, 2], &[3]), keyring(2, &[1, 2], &[3]));
    }

    #[test]
    fn a_look_that_began_before_a_newer_one_is_not_believed_after_it() {
        let revision = LastRevision::default();
        assert_eq!(revision.fresh(5_000), None);
        let (early, late) = (revision.begin(5_000), revision.begin(5_001));
        revision.found(late, 22);
        revision.found(early, 11);
        assert_eq!((revision.number(), revision.fresh(6_000)), (22, Some(22)));
        assert_eq!(revision.fresh(6_001), None, "too old");
        assert_eq!(revision.fresh(5_000), None, "the clock was set back");
        // A change of our own during a look: what the look finds is not trusted to be new.
        let look = revision.begin(7_000);
        revision.forget();
        revision.found(look, 33);
        assert_eq!((revision.number(), revision.fresh(7_000)), (33, None));
    }
}
