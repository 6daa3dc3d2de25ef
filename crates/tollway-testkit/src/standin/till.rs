//! What a stand-in sold, and what a test wants to go wrong.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use lightning_invoice::{Currency, InvoiceBuilder, PaymentSecret};
use tokio::sync::watch;
use tollway_core::payment::{PaymentHash, Preimage};

/// When an invoice was made that is over, since the Unix epoch.
const LONG_AGO: Duration = Duration::from_secs(1_500_000_000);

/// The invoices of a stand-in, in the order in which they were made.
#[derive(Debug)]
pub struct Till {
    inner: Mutex<Inner>,
    /// How many were paid.
    paid: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    sold: Vec<Sold>,
    /// Where each lies there.
    places: HashMap<String, usize>,
    lie: Option<Lie>,
    mischief: HashSet<Mischief>,
    look_ups: u64,
    rights: Option<Vec<String>>,
}

/// An invoice.
#[derive(Clone, Debug)]
pub(super) struct Sold {
    /// Its payment hash.
    pub(super) hash: PaymentHash,
    /// What proves its payment.
    pub(super) preimage: Preimage,
    /// The invoice itself.
    pub(super) bolt11: String,
    /// What it asks, in msat.
    pub(super) amount_msat: u64,
    /// What was paid, in msat.
    pub(super) received_msat: u64,
    /// What the payer sees.
    pub(super) description: String,
    /// What the maker wants to have kept.
    pub(super) note: String,
    /// When it was made, in Unix seconds.
    pub(super) made_at_s: u64,
    /// When it expires, in Unix seconds.
    pub(super) expires_at_s: u64,
    /// Its number among the paid ones, from 1; `None` while it is not paid.
    pub(super) settle_index: Option<u64>,
    /// It was called off. Time alone ends none.
    pub(super) over: bool,
}

/// An invoice to make.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    /// What it asks, in msat.
    pub(super) amount_msat: u64,
    /// What the payer sees.
    pub(super) description: String,
    /// What the maker wants to have kept.
    pub(super) note: String,
    /// How long it can be paid.
    pub(super) expiry_s: u64,
    /// The proof, if the maker chooses it.
    pub(super) preimage: Option<[u8; 32]>,
}

/// How an invoice differs from what was ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It asks 1 sat more.
    Amount,
    /// It asks what the payer likes.
    NoAmount,
    /// It lives a second longer.
    Later,
    /// It lives a second shorter.
    Sooner,
    /// It is for the main network.
    Network,
    /// It was over before it was handed out.
    Over,
    /// It is for another payment hash than the node says.
    Hash,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mischief {
    /// Every call gets 503.
    Down,
    /// The credential may do everything, also pay.
    Generous,
    /// BTCPay's store has lost its Lightning node.
    NoNode,
    /// No settlement is told of.
    Silent,
    /// Every settlement is told of twice, and every stream begins with the first.
    Repeating,
    /// Every other settlement is not told of, and the count goes on as if it had been.
    Skipping,
}

impl Default for Till {
    fn default() -> Self {
        Self { inner: Mutex::default(), paid: watch::Sender::new(0) }
    }
}

impl Till {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, invoices are made so.
    pub fn lie(&self, lie: Option<Lie>) {
        self.inner().lie = lie;
    }

    /// From now on, this goes wrong, or no longer.
    pub fn set(&self, mischief: Mischief, on: bool) {
        let mut inner = self.inner();
        if on {
            inner.mischief.insert(mischief);
        } else {
            inner.mischief.remove(&mischief);
        }
    }

    pub(super) fn is(&self, mischief: Mischief) -> bool {
        self.inner().mischief.contains(&mischief)
    }

    /// From now on, the credential has these rights, where a node gives them by name.
    pub fn grant(&self, rights: &[&str]) {
        self.inner().rights = Some(rights.iter().map(|&right| right.to_owned()).collect());
    }

    /// The rights that were granted, if a test did.
    pub(super) fn rights(&self) -> Option<Vec<String>> {
        self.inner().rights.clone()
    }

    /// Makes an invoice.
    ///
    /// # Errors
    /// The wish makes none, or there is no randomness.
    pub(super) fn make(&self, wish: Wish) -> Result<Sold, String> {
        let mut random = [[0; 32]; 2];
        random.iter_mut().try_for_each(|bytes| getrandom::fill(bytes)).map_err(text)?;
        let [random, secret] = random;
        let preimage = Preimage::from_bytes(wish.preimage.unwrap_or(random));
        let hash = preimage.payment_hash();
        let lie = self.inner().lie;
        let chain = if lie == Some(Lie::Network) { Currency::Bitcoin } else { Currency::Regtest };
        let amount_msat = wish.amount_msat + if lie == Some(Lie::Amount) { 1_000 } else { 0 };
        let expiry_s = match lie {
            Some(Lie::Later) => wish.expiry_s + 1,
            Some(Lie::Sooner) => wish.expiry_s.saturating_sub(1),
            _ => wish.expiry_s,
        };
        let secp = Secp256k1::new();
        let key = SecretKey::from_slice(&[7; 32]).map_err(text)?;
        let builder = InvoiceBuilder::new(chain)
            .description(wish.description.clone())
            .payment_hash(sha256::Hash::from_byte_array(*hash.as_bytes()))
            .payment_secret(PaymentSecret(secret));
        let builder = match lie {
            Some(Lie::Over) => builder.duration_since_epoch(LONG_AGO),
            _ => builder.current_timestamp(),
        };
        let builder =
            builder.expiry_time(Duration::from_secs(expiry_s)).min_final_cltv_expiry_delta(18);
        let sign = |message: &_| secp.sign_ecdsa_recoverable(message, &key);
        let invoice = match lie {
            Some(Lie::NoAmount) => builder.build_signed(sign),
            _ => builder.amount_milli_satoshis(amount_msat).build_signed(sign),
        };
        let invoice = invoice.map_err(|error| format!("{error:?}"))?;
        let made_at_s = invoice.duration_since_epoch().as_secs();
        let hash = match lie {
            Some(Lie::Hash) => Preimage::from_bytes(secret).payment_hash(),
            _ => hash,
        };
        let sold = Sold {
            hash,
            preimage,
            bolt11: invoice.to_string(),
            amount_msat: wish.amount_msat,
            received_msat: 0,
            description: wish.description,
            note: wish.note,
            made_at_s,
            expires_at_s: made_at_s + expiry_s,
            settle_index: None,
            over: false,
        };
        let mut inner = self.inner();
        let place = inner.sold.len();
        inner.places.insert(hash.to_hex(), place);
        inner.sold.push(sold.clone());
        Ok(sold)
    }

    /// Pays an invoice, with this much more than it asks; its proof, or `None` if it is not ours
    /// or is over.
    pub fn pay(&self, bolt11: &str, more_msat: u64) -> Option<Preimage> {
        let mut inner = self.inner();
        let count = inner.sold.iter().filter(|sold| sold.settle_index.is_some()).count();
        let next = u64::try_from(count).unwrap_or(u64::MAX) + 1;
        let sold = inner.sold.iter_mut().find(|sold| sold.bolt11 == bolt11 && !sold.over)?;
        let preimage = sold.preimage.clone();
        if sold.settle_index.is_none() {
            sold.settle_index = Some(next);
            sold.received_msat = sold.amount_msat + more_msat;
            drop(inner);
            self.paid.send_replace(next);
        }
        Some(preimage)
    }

    /// How many were paid.
    pub(super) fn paid(&self) -> u64 {
        *self.paid.borrow()
    }

    /// How many wait to be told of the next payment.
    pub fn listeners(&self) -> usize {
        self.paid.receiver_count()
    }

    /// Calls an invoice off.
    pub fn end(&self, hash: &PaymentHash) {
        let mut inner = self.inner();
        inner.sold.iter_mut().filter(|sold| sold.hash == *hash).for_each(|sold| sold.over = true);
    }

    /// How often it was asked about an invoice.
    pub fn look_ups(&self) -> u64 {
        self.inner().look_ups
    }

    pub(super) fn find(&self, hash: &str) -> Option<Sold> {
        let mut inner = self.inner();
        inner.look_ups += 1;
        let place = inner.places.get(&hash.to_ascii_lowercase()).copied()?;
        inner.sold.get(place).cloned()
    }

    /// All invoices, the oldest first.
    pub(super) fn all(&self) -> Vec<Sold> {
        self.inner().sold.clone()
    }

    /// The invoice whose payment hash begins so.
    pub(super) fn find_short(&self, start: &str) -> Option<Sold> {
        self.inner().sold.iter().find(|sold| sold.hash.to_hex().starts_with(start)).cloned()
    }

    /// The first invoice that was paid behind this place; waits for one.
    pub(super) async fn paid_after(&self, place: u64) -> Sold {
        let mut paid = self.paid.subscribe();
        loop {
            let next = {
                let inner = self.inner();
                let behind = |sold: &&Sold| sold.settle_index.is_some_and(|index| index > place);
                let heard = !inner.mischief.contains(&Mischief::Silent);
                let skipping = inner.mischief.contains(&Mischief::Skipping);
                let told = |sold: &&Sold| !skipping || sold.settle_index.is_some_and(is_even);
                let told = inner.sold.iter().filter(behind).filter(told);
                told.min_by_key(|sold| sold.settle_index).filter(|_| heard).cloned()
            };
            if let Some(sold) = next {
                return sold;
            }
            // The sender is ours, so it lives as long as we wait.
            let _ = paid.changed().await;
        }
    }
}

fn is_even(index: u64) -> bool {
    index.is_multiple_of(2)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
