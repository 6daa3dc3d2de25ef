//! The bounds of the table and of what one worker knows: beyond them a request is exact.

use std::collections::HashMap;

use tollway_core::id::HoldId;

use super::slot::SLOT_BYTES;
use super::table::{BUCKETS, SLOTS_PER_BUCKET};
use super::tally::{EARNED_BYTES, TALLY_BYTES};
use super::*;
use crate::host::{CAS_ABSENT, Call, CallId, CasMismatch, NotSent, StreamId};
use crate::metrics::{CallKind, Decision, LeaseEvent};

const NOW_MS: u64 = 1_800_000_000_000;
const TTL_MS: u64 = 330_000;
/// The cache of credentials, as large as it is unless configured.
const CREDENTIALS_BYTES: usize = 8 << 20;
/// The module, its stack, and rows on their way to tollwayd.
const BESIDE_BYTES: usize = 2 << 20;
const WORKER_BYTES_MAX: usize = 32 << 20;

/// What workers share, and nothing else.
#[derive(Default)]
struct Shared(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl Host for Shared {
    fn now_ms(&self) -> u64 {
        NOW_MS
    }

    fn call(&self, _: &Call<'_>) -> Result<CallId, NotSent> {
        Err(NotSent)
    }

    fn pool(&self, _: HoldId, _: &[u8]) -> Option<CallId> {
        None
    }

    fn count(&self, _: Decision) {}

    fn record_call_ms(&self, _: CallKind, _: u64) {}

    fn count_lost_postings(&self, _: u64) {}

    fn count_lease(&self, _: LeaseEvent) {}

    fn count_shadow(&self, _: Decision) {}

    fn count_shadow_msat(&self, _: Decision, _: u64) {}

    fn shared(&self, key: &str) -> (Vec<u8>, u32) {
        self.0.borrow().get(key).cloned().unwrap_or((Vec::new(), CAS_ABSENT))
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), CasMismatch> {
        self.0.borrow_mut().insert(key.to_owned(), (value.to_owned(), version.wrapping_add(1)));
        Ok(())
    }

    fn end_stream(&self, _: StreamId) {}

    fn warn(&self, _: &str) {}
}

fn msat(msat: u64) -> Msat {
    Msat::new(msat).unwrap()
}

/// A token of this number in this bucket.
fn token(bucket: u16, number: u32) -> PaymentHash {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&bucket.to_be_bytes());
    bytes[2..6].copy_from_slice(&number.to_be_bytes());
    PaymentHash::from_bytes(bytes)
}

/// As good as random.
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A token in any bucket.
fn any_token(number: u32) -> PaymentHash {
    let [a, b, ..] = mixed(number.into()).to_be_bytes();
    token(u16::from_be_bytes([a, b]), number)
}

fn ask(token: PaymentHash, now_ms: u64) -> Ask {
    Ask { token, cost: msat(1_000), hold_ttl_ms: 300_000, lease_max: msat(40_000), now_ms }
}

/// A hold of ten requests for this token was granted.
fn opened(leases: &Leases, host: &Shared, token: PaymentHash, now_ms: u64) -> Opened {
    let mut id = [0; 16];
    id.copy_from_slice(&token.as_bytes()[..16]);
    let first = u64::from_be_bytes(*token.as_bytes().first_chunk().unwrap());
    id[8..].copy_from_slice(&mixed(first).to_be_bytes());
    let grant = Grant {
        hold: HoldId::from_bytes(id),
        account: token,
        granted: msat(10_000),
        balance: Msat::ZERO,
        asked_at_ms: now_ms,
        ttl_ms: TTL_MS,
    };
    leases.install(host, &ask(token, now_ms), &grant).0
}

fn pays(leases: &Leases, host: &Shared, token: PaymentHash, now_ms: u64) -> bool {
    matches!(leases.spend(host, &ask(token, now_ms)), Spend::Paid(_))
}

#[test]
fn a_full_bucket_leaves_a_new_hold_to_its_request_and_changes_no_lease_in_it() {
    let (leases, host) = (Leases::default(), Shared::default());
    for number in 0..8 {
        assert!(matches!(opened(&leases, &host, token(7, number), NOW_MS), Opened::New(_)));
    }
    let before = host.0.borrow().clone();
    assert!(matches!(opened(&leases, &host, token(7, 8), NOW_MS), Opened::Alone));
    assert_eq!(*host.0.borrow(), before);
    assert!(!pays(&leases, &host, token(7, 8), NOW_MS));
    for number in 0..8 {
        for _ in 0..9 {
            assert!(pays(&leases, &host, token(7, number), NOW_MS));
        }
        assert!(!pays(&leases, &host, token(7, number), NOW_MS), "ten requests in all");
        // Nor is there room for one lease that takes another's place.
        let again = opened(&leases, &host, token(7, number), NOW_MS);
        assert!(matches!(again, Opened::Alone), "{again:?}");
    }
    assert!(matches!(opened(&leases, &host, token(8, 0), NOW_MS), Opened::New(_)));
}

#[test]
fn leases_whose_holds_are_over_make_room_and_the_others_stay() {
    let (leases, host) = (Leases::default(), Shared::default());
    let later_ms = NOW_MS + 20_000;
    for number in 0..6 {
        opened(&leases, &host, token(7, number), NOW_MS);
    }
    for number in 6..8 {
        opened(&leases, &host, token(7, number), later_ms);
    }
    let last_ms = NOW_MS + TTL_MS - 1;
    assert!(matches!(opened(&leases, &host, token(7, 8), last_ms), Opened::Alone));
    let over_ms = last_ms + 1;
    assert!(matches!(opened(&leases, &host, token(7, 8), over_ms), Opened::New(_)));
    let (bucket, _) = host.0.borrow().values().next().cloned().unwrap();
    let left: Vec<_> =
        bucket.chunks(SLOT_BYTES).map(|it| Slot::decode(it).unwrap().token).collect();
    assert_eq!(left, [6, 7, 8].map(|number| token(7, number)));
    assert!(pays(&leases, &host, token(7, 8), over_ms));
}

#[test]
fn a_worker_that_knows_as_many_leases_as_it_may_spends_from_those_and_no_others() {
    let (leases, host) = (Leases::default(), Shared::default());
    let mut number = 0;
    while leases.known.borrow().len() < KNOWN_MAX {
        opened(&leases, &host, any_token(number), NOW_MS);
        number += 1;
    }
    let known = token(0, u32::MAX);
    assert!(matches!(opened(&leases, &host, known, NOW_MS), Opened::Alone));
    // Another worker has room, and its lease is not for this one.
    let other = Leases::default();
    let theirs = (0..=u16::MAX)
        .map(|bucket| token(bucket, u32::MAX))
        .find(|token| matches!(opened(&other, &host, *token, NOW_MS), Opened::New(_)));
    let theirs = theirs.unwrap();
    assert!(pays(&other, &host, theirs, NOW_MS));
    let before = host.0.borrow().clone();
    assert!(matches!(leases.spend(&host, &ask(theirs, NOW_MS)), Spend::Busy));
    assert_eq!(*host.0.borrow(), before);
    assert!(pays(&leases, &host, any_token(0), NOW_MS));
}

#[test]
fn the_table_never_grows_beyond_its_buckets_and_has_room_for_a_hundred_thousand() {
    let host = Shared::default();
    let mut exact = 0;
    for number in 0..300_000_u32 {
        // A worker knows fewer than the table holds.
        let leases = Leases::default();
        if matches!(opened(&leases, &host, any_token(number), NOW_MS), Opened::Alone) {
            exact += 1;
        }
        if number + 1 == 100_000 {
            assert!(exact < 200, "{exact} of 100,000 found their bucket full");
        }
    }
    assert!(exact > 40_000, "more than fit");
    let table = host.0.borrow();
    assert!((32_000..=usize::from(BUCKETS)).contains(&table.len()), "{} keys", table.len());
    let bytes: usize = table.values().map(|(bucket, _)| bucket.len()).sum();
    assert!(bytes <= usize::from(BUCKETS) * SLOTS_PER_BUCKET * SLOT_BYTES);
    assert!(table.values().all(|(bucket, _)| bucket.len() <= SLOTS_PER_BUCKET * SLOT_BYTES));
}

#[test]
fn what_a_worker_knows_of_leases_fits_its_memory() {
    /// An allocation's own word, and its place at the next multiple of two words.
    const fn allocated(bytes: usize) -> usize {
        (bytes + 4).next_multiple_of(8)
    }
    const COUNTERS: usize = 8;
    const POINTER: usize = 4;
    let tallies = KNOWN_MAX * allocated(TALLY_BYTES + COUNTERS);
    let rows = KNOWN_MAX * allocated(EARNED_BYTES);
    // These double when they grow, and are alive twice while they do.
    let places = KNOWN_MAX.next_power_of_two() * 3 / 2;
    assert!(KNOWN_MAX * 8 <= KNOWN_MAX.next_power_of_two() * 7, "else the map doubles once more");
    let (map, watch, dirty) = (places * (16 + POINTER + 1), places * 16, places * POINTER);
    let sum = tallies + rows + map + watch + dirty;
    println!("{tallies} + {rows} + {map} + {watch} + {dirty} = {sum} bytes");
    assert!(sum + CREDENTIALS_BYTES + BESIDE_BYTES <= WORKER_BYTES_MAX, "{sum}");
}
