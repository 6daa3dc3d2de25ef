//! The questions to the ledger and its answers. They know no database.

use serde::{Deserialize, Serialize};
use tollway_core::budget::TokenBudget;
use tollway_core::digest::Digest;
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{
    Buys, HoldReply, HoldRequest, IdempotencyKey, Proof, SaleRefusal, TakeBack, Window,
};

use super::OnRail;
use super::stocks::{CouponOrder, StockOrder};

/// An invoice to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    /// What it asks.
    pub(crate) amount: Msat,
    pub(crate) buys: Buys,
    /// The credit it buys, at least the amount: the rest is a bonus. None for a session.
    pub(crate) credit: Msat,
    /// What it adds if it is the first credit of its account.
    pub(crate) seed: Msat,
    /// How long the credit lives; for ever without it.
    pub(crate) credit_ttl_ms: Option<u64>,
    pub(crate) route: String,
    pub(crate) expires_at_ms: u64,
    /// A payment hash that pays into the account to top up; without it the invoice opens a new
    /// account, named by its own payment hash.
    pub(crate) top_up: Option<PaymentHash>,
    /// What will be asked of those who spend what it buys.
    pub(crate) proof: Proof,
    /// Who asked.
    pub(crate) asker: Option<Asker>,
    /// What was shown to be allowed to buy.
    pub(crate) certificate: Option<Certificate>,
    /// What it is cheaper by, or brings more.
    pub(crate) coupon: Option<CouponOrder>,
    /// The node that made it, where there are several.
    pub(crate) node: Option<String>,
}

/// What is good for one purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    pub(crate) id: Digest,
    /// When nobody takes it any more.
    pub(crate) expires_at_ms: u64,
}

impl NewInvoice {
    /// Whose repeats share it. Where the token alone is enough, two tokens of one payment would
    /// be one payment for two.
    pub(super) fn offer(&self) -> Option<[u8; 32]> {
        self.asker.filter(|_| self.proof.is_preimage()).map(|asker| asker.offer)
    }
}

/// Who asks for an invoice, known only by keyed hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// The client.
    pub(crate) client: [u8; 32],
    /// The client, its fingerprint and what it asks for. Within a short time the same asker
    /// gets the same invoice.
    pub(crate) offer: [u8; 32],
}

/// An invoice that waits for its payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    pub(crate) amount: Msat,
    pub(crate) credit: Msat,
    pub(crate) expires_at_ms: u64,
}

impl From<&NewInvoice> for OpenInvoice {
    fn from(invoice: &NewInvoice) -> Self {
        Self {
            payment_hash: invoice.payment_hash,
            bolt11: invoice.bolt11.clone(),
            amount: invoice.amount,
            credit: invoice.credit,
            expires_at_ms: invoice.expires_at_ms,
        }
    }
}

/// What became of a [`NewInvoice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InvoiceOutcome {
    /// It is on disk.
    Stored,
    /// The same asker has an unpaid one for the same; the new one is forgotten.
    Shared(OpenInvoice),
    /// The certificate was used for another invoice.
    CertificateUsed,
    /// The payment hash was used before: the node repeated itself.
    HashTaken,
    /// It is not sold, and the new invoice is forgotten.
    Refused(SaleRefusal),
    /// Nothing pays into the account that was to be topped up.
    TopUpUnknown,
    /// The credit would lift the balance above [`Msat::MAX`].
    BalanceLimit,
}

/// What an invoice sells, and to which account. Nodes keep it as JSON, for years.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Terms {
    /// The account that it tops up; without it the payment opens one.
    pub(crate) account: Option<PaymentHash>,
    /// Notes of credit say nothing here, like those that were made before there was a choice.
    #[serde(default, skip_serializing_if = "Buys::is_credit")]
    pub(crate) buys: Buys,
    #[serde(default, skip_serializing_if = "Proof::is_preimage")]
    pub(crate) proof: Proof,
    #[serde(rename = "credit_msat")]
    pub(crate) credit: Msat,
    #[serde(rename = "seed_msat")]
    pub(crate) seed: Msat,
    pub(crate) credit_ttl_ms: Option<u64>,
    pub(crate) route: String,
}

/// A paid invoice that the ledger has lost, from what the node knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LostInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    /// What it asked.
    pub(crate) amount: Msat,
    /// What was really paid.
    pub(crate) received: Msat,
    /// What it promised, where the node kept that. Without it the payment buys what was paid,
    /// for an account of its own.
    pub(crate) terms: Option<Terms>,
    /// Another paywall sold it: the ledger never had it.
    pub(crate) imported: bool,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
}

impl LostInvoice {
    /// The id of its line in the audit log.
    pub(crate) fn action(&self) -> [u8; 16] {
        let digest = Digest::of(&[b"restored invoice", self.payment_hash.as_bytes()]);
        let mut id = [0; 16];
        id.iter_mut().zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
        id
    }
}

/// A payment that is known to have arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settlement {
    pub(crate) payment_hash: PaymentHash,
    /// What was really paid, where the node says so; more than asked is credited in full.
    pub(crate) received: Option<Msat>,
    /// How far the reporter has come: saved with the credit or not at all.
    pub(crate) cursor: Option<(String, u64)>,
}

impl Settlement {
    /// A payment without further news.
    pub(crate) fn of(payment_hash: PaymentHash) -> Self {
        Self { payment_hash, received: None, cursor: None }
    }
}

/// What became of a [`Settlement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettleOutcome {
    /// The account was credited now.
    Credited,
    /// The account was credited before.
    AlreadyCredited,
    /// No invoice has this payment hash.
    Unknown,
    /// The credit would lift the balance above [`Msat::MAX`]; nothing was credited.
    BalanceLimit,
}

/// A hold to grant. The proof was judged before, so that no preimage enters the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HoldOrder {
    pub(crate) id: HoldId,
    pub(crate) payment_hash: PaymentHash,
    /// What was shown; nothing, if that was another preimage.
    pub(crate) shown: Option<Proof>,
    /// Less than this is refused.
    pub(crate) min: Msat,
    /// No more than this is granted.
    pub(crate) amount: Msat,
    pub(crate) ttl_ms: u64,
    pub(crate) route: String,
    pub(crate) once: Option<IdempotencyKey>,
    /// What a live hold of the account gives up for this one. No part of what a repeat is
    /// compared by: the store does not keep it, and a repeat takes nothing.
    pub(crate) take_back: Option<TakeBack>,
    /// What the token may spend, the outermost first.
    pub(crate) budgets: Vec<TokenBudget>,
    /// The rail that the proof came on; none for L402. No part of what a repeat is compared by:
    /// whoever was granted the hold claimed the payment for its rail.
    pub(crate) rail: Option<OnRail>,
    /// What the amount was reckoned for. No part of what a repeat is compared by: what was
    /// granted stays granted when the tier changes.
    pub(crate) tier: Option<Tier>,
    /// What it takes one call of. No part of what a repeat is compared by: the operator may have
    /// changed it meanwhile.
    pub(crate) supply: Option<StockOrder>,
}

impl HoldOrder {
    /// Judges the proof and leaves it behind.
    pub(crate) fn new(id: HoldId, request: HoldRequest) -> Self {
        Self {
            id,
            shown: match &request.preimage {
                _ if request.hash_alone => Some(Proof::Hash),
                None => Some(Proof::Lookup),
                Some(preimage) => preimage.proves(&request.payment_hash).then_some(Proof::Preimage),
            },
            payment_hash: request.payment_hash,
            min: request.min_msat.unwrap_or(request.amount_msat),
            amount: request.amount_msat,
            ttl_ms: request.ttl_ms,
            route: request.route,
            once: request.idempotency,
            take_back: request.take_back,
            budgets: request.budgets,
            rail: None,
            tier: request.tier,
            supply: None,
        }
    }
}

/// The answer to a [`HoldOrder`].
///
/// A repeat with the same fields gets `granted_msat` as first granted; `balance_msat` is always
/// the balance of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HoldOutcome {
    /// Granted or refused.
    Answered(HoldReply),
    /// A hold with this id and other fields exists.
    Conflict,
    /// A hold with this id and these fields was released or has expired; it grants nothing more.
    Ended,
    /// The payment is proven, but its credit would lift the balance above [`Msat::MAX`].
    BalanceLimit,
}

/// More credit, or more time, for an open hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendOrder {
    pub(crate) id: HoldId,
    /// Counts the extensions of one hold; a repeat of the last one gets its answer.
    pub(crate) seq: u32,
    /// No more than this is added.
    pub(crate) add: Msat,
    /// Less than this is refused.
    pub(crate) min: Msat,
    /// The hold lives at least this long from now.
    pub(crate) ttl_ms: u64,
}

/// The answer to an [`ExtendOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ExtendOutcome {
    /// Granted, with what the hold now has in all, or refused.
    Answered(HoldReply),
    /// This extension, or a later one, was made with other fields.
    Conflict,
    /// The hold was released or has expired.
    Ended,
    /// No such hold.
    Unknown,
}

/// One use of a free tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowanceOrder {
    /// The client under today's secret.
    pub(crate) client: [u8; 32],
    /// The client under the secrets of the days before, on which its window may have begun.
    pub(crate) before: Vec<[u8; 32]>,
    pub(crate) window: Window,
    /// How much is free in one window: requests or msat.
    pub(crate) limit: u64,
    /// What this use costs of it.
    pub(crate) cost: u64,
    /// The route that is free.
    pub(crate) route: String,
}

/// A master key's bytes, on their way to or from the store.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct KeyBytes(pub(crate) [u8; 32]);

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyBytes(redacted)")
    }
}

/// Why the ledger did not answer. Nothing was changed, as far as the caller may conclude: a
/// repeat with the same ids is safe and finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LedgerError {
    /// The queue is full.
    #[error("the ledger's queue is full")]
    Busy,
    /// The writer has stopped.
    #[error("the ledger has stopped")]
    Stopped,
    /// The database failed.
    #[error("the store failed: {0}")]
    Store(StoreFault),
}

/// How the database failed, without its words: they go to the log, not to callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreFault {
    /// A rule of the schema was about to be broken; the change was undone.
    #[error("a rule of the schema refused the change")]
    Constraint,
    /// The file is damaged or is no database, or its rows contradict each other.
    #[error("the database is damaged")]
    Corrupt,
    /// The disk is full.
    #[error("the disk is full")]
    Full,
    /// Reading or writing failed.
    #[error("reading or writing the database failed")]
    Io,
    /// Anything else.
    #[error("unexpected database error")]
    Other,
    /// The file or its file system is read-only.
    #[error("the database is read-only")]
    ReadOnly,
}
