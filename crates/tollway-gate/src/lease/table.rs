//! The table of leases in the proxy's shared data.
//!
//! The proxy never frees a key, so the keys are few and fixed: buckets, each with a handful of
//! records. A token belongs to the bucket that its payment hash names, which is random and not
//! for a client to choose. The key says the version of the records; a filter of another version
//! has a table of its own, and its leases end in the ledger.

use tollway_core::eight_hex_digits;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::slot::{Pending, SLOT_BYTES, Slot, sum};
use crate::host::{CasMismatch, Host};

/// Enough that a hundred thousand live leases rarely meet in one bucket.
pub(super) const BUCKETS: u16 = 1 << 15;
/// A full table is 32,768 buckets of 8 records: 47 MB.
pub(super) const SLOTS_PER_BUCKET: usize = 8;
/// How often a change is tried while others change the same bucket.
pub(super) const TRIES: u32 = 8;
/// The same where no request waits for it.
pub(super) const TRIES_BETWEEN: u32 = 64;

/// Which record of a token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which {
    /// The one that can be spent.
    Live,
    /// The one of this hold.
    Of(HoldId),
}

/// What is to become of a record.
pub(super) enum Change {
    Leave,
    Put(Slot),
    /// The record stays as this until its last request has ended; the second one is live.
    Replace(Slot, Slot),
    Remove,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edited {
    /// It was changed.
    Done,
    /// It was left as it is.
    Left,
    /// There is no room for one more.
    Full,
    /// Others were faster each time.
    Contended,
}

/// Changes a record of a token in one step. `change` sees it as it is, and what the token's ended
/// leases have not posted; it is asked again whenever another worker was faster.
pub(super) fn edit(
    host: &impl Host,
    (token, which): (&PaymentHash, Which),
    tries: u32,
    change: &mut dyn FnMut(Option<Slot>, Msat) -> Change,
) -> Edited {
    let mut key = *b"tollway.lease.1.0000";
    let Some(key) = name_bucket(&mut key, token) else { return Edited::Full };
    for _ in 0..tries {
        let (mut bucket, cas) = host.shared(key);
        if bucket.len() % SLOT_BYTES != 0 || bucket.len() > SLOT_BYTES * SLOTS_PER_BUCKET {
            // Not ours; a table of this version is nothing but records.
            bucket.clear();
        }
        let (found, elsewhere) = find(&mut bucket, token, which);
        let (slot, place) = found.map_or((None, None), |(slot, place)| (Some(slot), Some(place)));
        match (change(slot, elsewhere), place) {
            (Change::Leave, _) | (Change::Remove, None) => return Edited::Left,
            (Change::Put(slot), Some(place)) => place.copy_from_slice(&slot.encode()),
            (Change::Put(slot) | Change::Replace(_, slot), None) => {
                if !add(&mut bucket, &slot) {
                    return Edited::Full;
                }
            }
            (Change::Replace(old, new), Some(place)) => {
                place.copy_from_slice(&old.encode());
                if !add(&mut bucket, &new) {
                    return Edited::Full;
                }
            }
            (Change::Remove, Some(place)) => {
                // All zeros are nobody's, and over for long.
                place.fill(0);
                make_room(&mut bucket, &mut |slot| slot.expires_at_ms > 0);
            }
        }
        if host.set_shared(key, &bucket, cas) != Err(CasMismatch) {
            return Edited::Done;
        }
    }
    Edited::Contended
}

/// Writes the bucket's number over the zeros at the key's end.
fn name_bucket<'k>(key: &'k mut [u8; 20], token: &PaymentHash) -> Option<&'k str> {
    let [high, low, ..] = *token.as_bytes();
    let bucket = u32::from(u16::from_be_bytes([high, low]) % BUCKETS);
    let [.., a, b, c, d] = eight_hex_digits(bucket.to_be_bytes());
    *key.last_chunk_mut()? = [a, b, c, d];
    core::str::from_utf8(key).ok()
}

fn find<'b>(
    bucket: &'b mut [u8],
    token: &PaymentHash,
    which: Which,
) -> (Option<(Slot, &'b mut [u8])>, Msat) {
    let (mut found, mut elsewhere) = (None, Msat::ZERO);
    for record in bucket.chunks_exact_mut(SLOT_BYTES) {
        let Some(slot) = Slot::of_token(record, token) else { continue };
        if slot.pending == Pending::End {
            elsewhere = sum(elsewhere, slot.unposted());
        }
        let wanted = match which {
            Which::Live => slot.pending != Pending::End,
            Which::Of(hold) => slot.hold == hold,
        };
        if wanted {
            found = Some((slot, record));
        }
    }
    (found, elsewhere)
}

/// Adds a record, if there is room once those are gone whose holds the ledger has ended.
fn add(bucket: &mut Vec<u8>, slot: &Slot) -> bool {
    let full = SLOT_BYTES * SLOTS_PER_BUCKET;
    if bucket.len() >= full {
        make_room(bucket, &mut |old| old.expires_at_ms > slot.opened_at_ms);
    }
    let fits = bucket.len() < full;
    if fits {
        bucket.extend_from_slice(&slot.encode());
    }
    fits
}

/// Keeps the records that are wanted.
fn make_room(bucket: &mut Vec<u8>, wanted: &mut dyn FnMut(&Slot) -> bool) {
    let mut kept = Vec::with_capacity(bucket.len());
    for record in bucket.chunks_exact(SLOT_BYTES) {
        if Slot::decode(record).is_some_and(|slot| wanted(&slot)) {
            kept.extend_from_slice(record);
        }
    }
    *bucket = kept;
}
