//! Invoices: what the filter asks for, and what it gets.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::{FieldMissing, RailTerms, SaleRefusal};
use crate::money::Msat;
use crate::payment::PaymentHash;

/// Asks for an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The route that is to be paid for, as named in the filter's configuration.
    pub route: String,
    /// The service that the route belongs to.
    pub service: String,
    /// What the invoice asks.
    pub amount_msat: Msat,
    /// What the payment buys.
    #[serde(default, skip_serializing_if = "Buys::is_credit")]
    pub buys: Buys,
    /// How much credit the payment buys, a bonus included; never less than `amount_msat`, and
    /// zero for a session.
    pub credit_msat: Msat,
    /// Credit that a new account gets on top, once, when its first payment settles.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub seed_msat: Msat,
    /// How long the credit of this payment lasts from its settlement, in seconds; without it the
    /// credit does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit_ttl_s: Option<u64>,
    /// The invoice's description, shown by the payer's wallet.
    pub memo: String,
    /// The payment hash of a verified credential whose account is to be topped up; without it
    /// the payment opens a new account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<PaymentHash>,
    /// What will be asked of those who spend what this invoice buys.
    #[serde(default, skip_serializing_if = "Proof::is_preimage")]
    pub proof: Proof,
    /// The payment hash of a verified credential whose payment has not arrived: if its invoice is
    /// open and sells the same, the answer is that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PaymentHash>,
    /// Who asks. Without it only the limits of all clients together apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientKey>,
    /// On which other rails the request may be paid; none without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<RailTerms>,
    /// What an authority has certified for this purchase, as the client sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The coupon that the client shows, at most [`COUPON_BYTES_MAX`](super::COUPON_BYTES_MAX)
    /// bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coupon: Option<String>,
}

/// What a payment buys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buys {
    /// Credit on an account, for holds to spend.
    #[default]
    Credit,
    /// Time: the payment is earned when it settles, and leaves no credit. Such a payment opens
    /// an account of its own, which nothing tops up.
    Session,
}

impl Buys {
    /// Whether it is credit.
    #[must_use]
    pub const fn is_credit(&self) -> bool {
        matches!(self, Self::Credit)
    }
}

/// What a client must show to spend what a payment buys. Each is content with what the ones before
/// it ask for. An invoice keeps the one that it was sold under.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// The token and the preimage.
    #[default]
    Preimage,
    /// The token. Whether it is paid is looked up.
    Lookup,
    /// The payment hash, which is no secret. Whether it is paid is looked up.
    Hash,
}

impl Proof {
    /// Whether the preimage must be shown.
    #[must_use]
    pub const fn is_preimage(&self) -> bool {
        matches!(self, Self::Preimage)
    }
}

/// Tells clients apart, so that one that asks again and again gets one invoice and two people
/// behind one address get two. An invoice is shared only between requests that are equal in all
/// fields of the [`ChallengeRequest`] but its `other`: the route's name keeps one payment from
/// buying both credit and a session. `tollwayd` keeps the address under a keyed hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientKey {
    /// The client's address as the proxy trusts it, without a port.
    pub address: String,
    /// A short hash of the client's `User-Agent`; see [`crate::digest::Digest::short_hex`].
    pub fingerprint: String,
}

/// The answer to a [`ChallengeRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", try_from = "FlatReply")]
pub enum ChallengeReply {
    /// An invoice that waits for its payment.
    Invoice {
        /// The invoice's payment hash; the macaroon of the challenge commits to it.
        payment_hash: PaymentHash,
        /// The BOLT 11 invoice.
        invoice: String,
        /// What the invoice asks.
        amount_msat: Msat,
        /// The credit that its payment buys; zero for a session.
        credit_msat: Msat,
        /// When the invoice can no longer be paid, Unix time in seconds.
        expires_at: u64,
    },
    /// The client asks for too many invoices.
    Limited {
        /// When it may ask again, in seconds from now.
        retry_after_s: u64,
    },
    /// It is not sold now, or not for this coupon.
    Refused {
        /// Why.
        refusal: SaleRefusal,
        /// When to ask again, Unix time in seconds; without it no time helps.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resets_at: Option<u64>,
    },
}

/// A [`ChallengeReply`] as it travels: read once, see [`HoldReply`](super::HoldReply).
#[derive(Deserialize)]
struct FlatReply {
    outcome: FlatOutcome,
    payment_hash: Option<PaymentHash>,
    invoice: Option<String>,
    amount_msat: Option<Msat>,
    credit_msat: Option<Msat>,
    expires_at: Option<u64>,
    retry_after_s: Option<u64>,
    refusal: Option<SaleRefusal>,
    resets_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlatOutcome {
    Invoice,
    Limited,
    Refused,
}

impl TryFrom<FlatReply> for ChallengeReply {
    type Error = FieldMissing;

    fn try_from(flat: FlatReply) -> Result<Self, FieldMissing> {
        Ok(match flat.outcome {
            FlatOutcome::Invoice => Self::Invoice {
                payment_hash: flat.payment_hash.ok_or(FieldMissing)?,
                invoice: flat.invoice.ok_or(FieldMissing)?,
                amount_msat: flat.amount_msat.ok_or(FieldMissing)?,
                credit_msat: flat.credit_msat.ok_or(FieldMissing)?,
                expires_at: flat.expires_at.ok_or(FieldMissing)?,
            },
            FlatOutcome::Limited => {
                Self::Limited { retry_after_s: flat.retry_after_s.ok_or(FieldMissing)? }
            }
            FlatOutcome::Refused => Self::Refused {
                refusal: flat.refusal.ok_or(FieldMissing)?,
                resets_at: flat.resets_at,
            },
        })
    }
}

fn is_zero(amount: &Msat) -> bool {
    *amount == Msat::ZERO
}
