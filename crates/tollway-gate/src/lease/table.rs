//! The table of leases in the proxy's shared data.
//!
//! The proxy never frees a key, so the keys are few and fixed: buckets, each with a handful of
//! records. A token belongs to the bucket that its payment hash names, which is random and not
//! for a client to choose. The key says the version of the records; a filter of another version
//! has a table of its own, and its leases end in the ledger.

use tollway_core::payment::PaymentHash;

use super::slot::{SLOT_BYTES, Slot};
use crate::host::{CasMismatch, Host};

/// Enough that a hundred thousand live leases rarely meet in one bucket.
const BUCKETS: u16 = 1 << 15;
/// A full table is 32,768 buckets of 8 records: 47 MB.
const SLOTS_PER_BUCKET: usize = 8;
/// How often a change is tried while others change the same bucket.
pub(super) const TRIES: u32 = 8;
/// The same where no request waits for it.
pub(super) const TRIES_BETWEEN: u32 = 64;

/// What is to become of a record.
pub(super) enum Change {
    Leave,
    Put(Slot),
    Remove,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edited {
    /// It was put or removed.
    Done,
    /// It was left as it is.
    Left,
    /// There is no room for one more.
    Full,
    /// Others were faster each time.
    Contended,
}

/// Changes the record of a token in one step. `change` sees it as it is, and is asked again
/// whenever another worker was faster.
pub(super) fn edit(
    host: &impl Host,
    token: &PaymentHash,
    tries: u32,
    change: &mut dyn FnMut(Option<Slot>) -> Change,
) -> Edited {
    let mut key = *b"tollway.lease.1.0000";
    let Some(key) = name_bucket(&mut key, token) else { return Edited::Full };
    for _ in 0..tries {
        let (mut bucket, cas) = host.shared(key);
        if bucket.len() % SLOT_BYTES != 0 || bucket.len() > SLOT_BYTES * SLOTS_PER_BUCKET {
            // Not ours; a table of this version is nothing but records.
            bucket.clear();
        }
        let place = find(&mut bucket, token);
        let slot = place.as_deref().and_then(Slot::decode);
        match (change(slot), place) {
            (Change::Leave, _) | (Change::Remove, None) => return Edited::Left,
            (Change::Put(slot), Some(place)) => place.copy_from_slice(&slot.encode()),
            (Change::Put(slot), None) => {
                if !make_room(&mut bucket, slot.opened_at_ms) {
                    return Edited::Full;
                }
                bucket.extend_from_slice(&slot.encode());
            }
            (Change::Remove, Some(_)) => remove(&mut bucket, token),
        }
        if host.set_shared(key, &bucket, cas) != Err(CasMismatch) {
            return Edited::Done;
        }
    }
    Edited::Contended
}

/// Writes the bucket's number over the zeros at the key's end.
fn name_bucket<'k>(key: &'k mut [u8; 20], token: &PaymentHash) -> Option<&'k str> {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let [high, low, ..] = *token.as_bytes();
    let bucket = u16::from_be_bytes([high, low]) % BUCKETS;
    for (at, digit) in key.iter_mut().rev().take(4).enumerate() {
        *digit = *DIGITS.get(usize::from(bucket >> (4 * at)) & 15)?;
    }
    core::str::from_utf8(key).ok()
}

fn find<'b>(bucket: &'b mut [u8], token: &PaymentHash) -> Option<&'b mut [u8]> {
    bucket
        .chunks_exact_mut(SLOT_BYTES)
        .find(|record| Slot::token_of(record) == Some(token.as_bytes()))
}

/// Whether one more record fits, once those that are over are gone.
fn make_room(bucket: &mut Vec<u8>, now_ms: u64) -> bool {
    keep(bucket, |record| !Slot::is_over(record, now_ms));
    bucket.len() < SLOT_BYTES * SLOTS_PER_BUCKET
}

fn remove(bucket: &mut Vec<u8>, token: &PaymentHash) {
    keep(bucket, |record| Slot::token_of(record) != Some(token.as_bytes()));
}

fn keep(bucket: &mut Vec<u8>, wanted: impl Fn(&[u8]) -> bool) {
    let kept = bucket.chunks_exact(SLOT_BYTES).filter(|record| wanted(record));
    *bucket = kept.flatten().copied().collect();
}
