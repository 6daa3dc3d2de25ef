//! The JSON that the filter and `tollwayd` exchange. Typed once, here, for both ends.
//!
//! Amounts are integers in msat, times are Unix times, hashes and keys are hexadecimal text.
//! Unknown fields are refused on the way in to `tollwayd`; the filter ignores fields it does
//! not know in a reply, so that a newer `tollwayd` can serve an older filter.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::entropy::Seed;
use crate::id::{HoldId, KeyId};
use crate::money::Msat;
use crate::payment::{PaymentHash, Preimage};
use crate::secret::MasterKey;

/// Where the filter asks for an invoice: `POST`.
pub const CHALLENGES_PATH: &str = "/v1/challenges";
/// Where the filter sets credit aside: `PUT {HOLDS_PATH}/{hold id}`.
pub const HOLDS_PATH: &str = "/v1/holds";
/// Where the filter reports charges and releases: `POST`.
pub const POSTINGS_PATH: &str = "/v1/postings";
/// Where the filter fetches its keys: `GET`.
pub const KEYRING_PATH: &str = "/v1/keyring";

/// The most rows one [`PostingBatch`] may carry.
pub const POSTINGS_PER_BATCH_MAX: usize = 512;
/// The longest life a hold may ask for: one day.
pub const HOLD_TTL_MS_MAX: u64 = 86_400_000;
/// The longest route name, in bytes.
pub const ROUTE_NAME_BYTES_MAX: usize = 128;
/// The longest invoice memo, in bytes (BOLT 11 fits 639 in its description field).
pub const MEMO_BYTES_MAX: usize = 639;

/// Asks for an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// The route that is to be paid for, as named in the filter's configuration.
    pub route: String,
    /// How much credit to sell.
    pub amount_msat: Msat,
    /// The invoice's description, shown by the payer's wallet.
    pub memo: String,
    /// The payment hash of a verified credential whose account is to be topped up; without it
    /// the payment opens a new account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_up: Option<PaymentHash>,
}

/// An invoice that waits for its payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChallengeReply {
    /// The invoice's payment hash; the macaroon of the challenge commits to it.
    pub payment_hash: PaymentHash,
    /// The BOLT 11 invoice.
    pub invoice: String,
    /// The amount the invoice asks and the credit its payment buys.
    pub amount_msat: Msat,
    /// When the invoice can no longer be paid, Unix time in seconds.
    pub expires_at: u64,
}

/// Asks to set credit aside. The id stands in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The payment hash of the credential; `tollwayd` knows which account it pays into.
    pub payment_hash: PaymentHash,
    /// Proof of that payment. `tollwayd` checks it again and credits the payment once.
    pub preimage: Preimage,
    /// How much to set aside.
    pub amount_msat: Msat,
    /// How long the hold lives unless it is released before, at most [`HOLD_TTL_MS_MAX`].
    pub ttl_ms: u64,
    /// The route that is to be paid for.
    pub route: String,
}

/// The answer to a [`HoldRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum HoldReply {
    /// The credit is set aside.
    Granted {
        /// The account, named by the payment hash that opened it.
        account: PaymentHash,
        /// How much was set aside.
        granted_msat: Msat,
        /// What the account can still spend beside its live holds.
        balance_msat: Msat,
    },
    /// Nothing was set aside.
    Refused {
        /// Why; the first reason that applies in the order of [`HoldRefusal`].
        refusal: HoldRefusal,
        /// What the account can still spend beside its live holds; zero where there is none.
        balance_msat: Msat,
    },
}

/// Why a hold was refused, in order of precedence. A refusal is not remembered: the same id may
/// succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldRefusal {
    /// No invoice with this payment hash is known.
    UnknownPayment,
    /// The preimage does not belong to the payment hash.
    PaymentNotProven,
    /// The account cannot cover the amount.
    InsufficientCredit,
}

/// Charges and releases, in the order they happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingBatch {
    /// The rows, at most [`POSTINGS_PER_BATCH_MAX`].
    pub postings: Vec<Posting>,
}

/// A part of a hold that becomes revenue; identified by hold and sequence number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posting {
    /// The hold.
    pub hold: HoldId,
    /// Counts the postings of one hold from 0.
    pub seq: u32,
    /// What is charged; zero for a refund.
    pub amount_msat: Msat,
    /// The route that earned it.
    pub route: String,
    /// Whether the hold ends here and its rest returns to the account.
    pub release: bool,
}

/// One outcome per row of the batch, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingReply {
    /// The outcomes.
    pub outcomes: Vec<PostingOutcome>,
}

/// What became of a posting. None of them changes when the same row is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostingOutcome {
    /// Counted, now or when the same row first came.
    Posted,
    /// A row with this hold and sequence, but other fields, was counted before.
    Conflict,
    /// No such hold: it was never granted.
    HoldUnknown,
    /// The hold had expired; its credit is back with the customer and nothing is charged.
    HoldExpired,
    /// The hold was released before.
    HoldReleased,
    /// More than the hold still has; nothing is charged.
    ExceedsHold,
}

/// The keys of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringReply {
    /// The key that new tokens are minted with.
    pub current: KeyId,
    /// The current key and those that still verify older tokens.
    pub keys: Vec<KeyringKey>,
    /// Fresh randomness for the filter, another with every reply.
    pub seed: Seed,
}

/// One key of the keyring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringKey {
    /// Its id, which rides in the token id.
    pub id: KeyId,
    /// The key.
    pub secret: MasterKey,
}

/// An error body, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable code for programs.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// The status in words.
    pub title: String,
    /// What is wrong with which field, and the remedy.
    pub detail: String,
}
