//! The invoices that wait for their payment, and when the node is asked about each.
//!
//! A node that tells of settlements is asked rarely, one that does not more often: at first every
//! second, then ever more slowly, a last time some minutes after the expiry, because a payment
//! that was on its way may still arrive. How many are asked about is bounded, in memory and in
//! calls at a time; whoever pays loses nothing by it, since the preimage proves the payment at
//! once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tollway_core::payment::PaymentHash;

use crate::ledger::Unsettled;

/// Invoices that are watched; beyond it, a new one is not.
const WATCHED_MAX: usize = 100_000;
/// No invoice is asked about more often.
const PAUSE_MS_MIN: u64 = 1_000;
/// And none less often, before it expires.
const PAUSE_MS_MAX: u64 = 60_000;
/// How soon after the expiry the node is asked: it may be a little behind.
const EXPIRED_MS: u64 = 5_000;
/// How long after the expiry a payment that was on its way may still arrive.
pub(crate) const LATE_MS: u64 = 600_000;

/// What is watched.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The pause before the first look-up of an invoice.
    first_pause_ms: u64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    invoices: HashMap<PaymentHash, Watched>,
    /// When each is due.
    due: BTreeSet<(u64, [u8; 32])>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    created_at_ms: u64,
    expires_at_ms: u64,
    due_at_ms: u64,
    /// When it was last asked about.
    asked_at_ms: u64,
}

/// What a look-up means for the invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is settled, or of no use.
    Done,
    /// It is not paid.
    Unpaid,
    /// The node, or the ledger, did not answer.
    Unanswered,
}

impl Watch {
    /// `told` says whether the node tells of settlements by itself.
    pub(crate) fn new(told: bool) -> Self {
        let first_pause_ms = if told { PAUSE_MS_MAX } else { PAUSE_MS_MIN };
        Self { first_pause_ms, open: Mutex::default() }
    }

    /// Watches a new invoice.
    pub(crate) fn add(&self, invoice: &Unsettled) {
        let due_at_ms = invoice.created_at_ms.saturating_add(self.first_pause_ms);
        self.open().insert(invoice, due_at_ms);
    }

    /// Watches an invoice that may have been paid while nobody watched.
    pub(crate) fn catch_up(&self, invoice: &Unsettled, now_ms: u64) {
        self.open().insert(invoice, now_ms);
    }

    /// Somebody says that this one is paid: it is asked about soon, if it is one of ours.
    pub(crate) fn hint(&self, hash: &PaymentHash, now_ms: u64) -> bool {
        let mut open = self.open();
        let Some(mut watched) = open.remove(hash) else { return false };
        let soonest = watched.asked_at_ms.saturating_add(PAUSE_MS_MIN).max(now_ms);
        watched.due_at_ms = watched.due_at_ms.min(soonest);
        open.put(*hash, watched);
        true
    }

    /// It was settled by other means.
    pub(crate) fn forget(&self, hash: &PaymentHash) {
        self.open().remove(hash);
    }

    /// The invoices that are due, the longest waiting first. They stay watched.
    pub(crate) fn due(&self, now_ms: u64, max: usize) -> Vec<PaymentHash> {
        let open = self.open();
        let due = open.due.range(..=(now_ms, [u8::MAX; 32])).take(max);
        due.map(|(_, hash)| PaymentHash::from_bytes(*hash)).collect()
    }

    /// Plans the next look-up.
    pub(crate) fn saw(&self, hash: &PaymentHash, seen: Seen, now_ms: u64) {
        let mut open = self.open();
        let Some(mut watched) = open.remove(hash) else { return };
        watched.asked_at_ms = now_ms;
        let next = match seen {
            Seen::Done => None,
            Seen::Unanswered => Some(now_ms.saturating_add(PAUSE_MS_MIN.saturating_mul(5))),
            Seen::Unpaid => watched.next(now_ms, self.first_pause_ms),
        };
        if let Some(due_at_ms) = next {
            open.put(*hash, Watched { due_at_ms, ..watched });
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// When to ask again; `None` once nothing can arrive any more.
    fn next(&self, now_ms: u64, pause_ms_min: u64) -> Option<u64> {
        let expired = self.expires_at_ms.saturating_add(EXPIRED_MS);
        let late = self.expires_at_ms.saturating_add(LATE_MS);
        if now_ms >= late {
            return None;
        }
        if now_ms >= expired {
            return Some(late);
        }
        let age_ms = now_ms.saturating_sub(self.created_at_ms);
        let pause_ms = (age_ms / 4).clamp(pause_ms_min, PAUSE_MS_MAX);
        Some(now_ms.saturating_add(pause_ms).min(expired))
    }
}

impl Open {
    fn insert(&mut self, invoice: &Unsettled, due_at_ms: u64) {
        let Unsettled { payment_hash, created_at_ms, expires_at_ms, .. } = *invoice;
        if self.invoices.len() >= WATCHED_MAX || self.invoices.contains_key(&payment_hash) {
            return;
        }
        let watched = Watched { created_at_ms, expires_at_ms, due_at_ms, asked_at_ms: 0 };
        self.put(payment_hash, watched);
    }

    fn put(&mut self, hash: PaymentHash, watched: Watched) {
        self.due.insert((watched.due_at_ms, *hash.as_bytes()));
        self.invoices.insert(hash, watched);
    }

    fn remove(&mut self, hash: &PaymentHash) -> Option<Watched> {
        let watched = self.invoices.remove(hash)?;
        self.due.remove(&(watched.due_at_ms, *hash.as_bytes()));
        Some(watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice(tag: u8, created_at_ms: u64) -> Unsettled {
        let payment_hash = PaymentHash::from_bytes([tag; 32]);
        let expires_at_ms = created_at_ms + 600_000;
        Unsettled { payment_hash, created_at_ms, expires_at_ms, node: None }
    }

    /// The times at which an invoice is asked about that nobody pays, in seconds.
    fn asked_at_s(watch: &Watch, hash: &PaymentHash) -> Vec<u64> {
        let mut asked = Vec::new();
        for now_ms in (0..2_000_000).step_by(100) {
            if watch.due(now_ms, 1).contains(hash) {
                asked.push(now_ms / 1_000);
                watch.saw(hash, Seen::Unpaid, now_ms);
            }
        }
        asked
    }

    #[test]
    fn an_unpaid_invoice_is_asked_about_ever_more_slowly_and_a_last_time_when_it_is_over() {
        let hash = invoice(1, 0).payment_hash;
        let watch = Watch::new(false);
        watch.add(&invoice(1, 0));
        let asked = asked_at_s(&watch, &hash);
        assert_eq!(asked[..5], [1, 2, 3, 4, 5]);
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] <= 60 || pair[1] == 1_200));
        assert!(asked.len() < 40, "{asked:?}");
        assert_eq!(asked[asked.len() - 2..], [605, 1_200]);
        assert!(watch.open().invoices.is_empty() && watch.open().due.is_empty());
        let told = Watch::new(true);
        told.add(&invoice(1, 0));
        assert_eq!(asked_at_s(&told, &hash)[..3], [60, 120, 180]);
    }

    #[test]
    fn hints_make_ours_due_once_a_second_and_no_others() {
        let watch = Watch::new(true);
        let hash = invoice(1, 0).payment_hash;
        watch.add(&invoice(1, 0));
        assert!(!watch.hint(&PaymentHash::from_bytes([9; 32]), 10));
        assert_eq!(watch.due(50, 9), []);
        assert!(watch.hint(&hash, 50));
        assert_eq!(watch.due(1_000, 9), [hash]);
        watch.saw(&hash, Seen::Unpaid, 1_000);
        for now_ms in 1_000..1_100 {
            assert!(watch.hint(&hash, now_ms));
        }
        assert_eq!(watch.due(1_999, 9), []);
        assert_eq!(watch.due(2_000, 9), [hash]);
        watch.saw(&hash, Seen::Done, 2_000);
        assert!(!watch.hint(&hash, 3_000));
    }

    #[test]
    fn what_was_not_answered_stays_due_and_what_is_missed_comes_first() {
        let watch = Watch::new(false);
        (0..3).for_each(|tag| watch.add(&invoice(tag, 10_000)));
        watch.catch_up(&invoice(7, 0), 500);
        let hash = |tag| invoice(tag, 0).payment_hash;
        assert_eq!(watch.due(11_000, 2), [hash(7), hash(0)]);
        watch.saw(&hash(7), Seen::Unanswered, 11_000);
        assert_eq!(watch.due(15_999, 9), [hash(0), hash(1), hash(2)]);
        (0..3).for_each(|tag| watch.forget(&hash(tag)));
        assert_eq!(watch.due(16_000, 9), [hash(7)]);
    }

    #[test]
    fn what_is_watched_is_bounded() {
        let watch = Watch::new(false);
        for number in 0..=u32::try_from(WATCHED_MAX).unwrap() {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let payment_hash = PaymentHash::from_bytes(bytes);
            watch.add(&Unsettled { payment_hash, ..invoice(0, 0) });
        }
        assert_eq!(watch.open().invoices.len(), WATCHED_MAX);
    }
}
