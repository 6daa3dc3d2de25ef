//! Postings: charges and releases of holds.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::StoredResponse;
use crate::id::HoldId;
use crate::money::Msat;

/// Charges and releases, in the order they happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingBatch {
    /// The rows, at most [`POSTINGS_PER_BATCH_MAX`](super::POSTINGS_PER_BATCH_MAX).
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
    /// How many requests the amount is for: one, or as many as a lease paid for.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub requests: u32,
    /// The route that earned it.
    pub route: String,
    /// Whether the hold ends here and its rest returns to the account.
    pub release: bool,
    /// What happens to an amount above what the hold still has.
    #[serde(default, skip_serializing_if = "Overrun::is_cap")]
    pub overrun: Overrun,
    /// The response to give when the request is repeated under its idempotency key. Kept only
    /// where the hold came with such a key and this posting charges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoredResponse>,
}

/// What happens when a request cost more than its hold still has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Overrun {
    /// The customer pays what was held, the operator bears the rest.
    #[default]
    Cap,
    /// The rest is taken from the account as far as it goes, down to zero.
    DebitRest,
    /// The rest is taken from the account, which may go below zero.
    Debt {
        /// How far.
        limit_msat: Msat,
    },
}

impl Overrun {
    const fn is_cap(&self) -> bool {
        matches!(self, Self::Cap)
    }
}

/// One result per row of the batch, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingReply {
    /// The results.
    pub outcomes: Vec<PostingResult>,
    /// The [`KeyringReply::revision`](super::KeyringReply::revision) of now.
    #[serde(default)]
    pub revision: u64,
}

/// What became of a posting, and what it cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingResult {
    /// What became of it.
    pub outcome: PostingOutcome,
    /// What was charged, now or when the same row first came: the amount, or less where
    /// [`Overrun`] says so, or zero where nothing was counted.
    pub charged_msat: Msat,
    /// The operator revoked the token that the hold was placed with, or its account: what the
    /// hold still has is not to be spent.
    #[serde(default, skip_serializing_if = "is_false")]
    pub revoked: bool,
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

fn is_false(flag: &bool) -> bool {
    !flag
}

fn one() -> u32 {
    1
}

fn is_one(count: &u32) -> bool {
    *count == 1
}
