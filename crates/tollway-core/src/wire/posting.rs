//! Postings: charges and releases of holds.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::StoredResponse;
use crate::id::HoldId;
use crate::money::Msat;

/// Charges and releases, in the order they happened. Who sends them may do so without owning them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostingBatch<Row = Posting> {
    /// The rows, at most [`POSTINGS_PER_BATCH_MAX`](super::POSTINGS_PER_BATCH_MAX).
    pub postings: Vec<Row>,
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

/// One result per row of the batch, in its order; or how many rows there were, if the filter
/// prefers to hear no more ([`PREFER_BRIEF`](super::PREFER_BRIEF)) and each was posted with its
/// whole amount, from a hold that is not revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PostingReply {
    /// The results.
    pub outcomes: Vec<PostingResult>,
    /// How many rows there were, instead of their results.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub posted: usize,
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

impl PostingReply {
    /// As short as it can be said of a batch with these amounts.
    #[must_use]
    pub fn brief(self, amounts: &[Msat]) -> Self {
        let plain = |(result, amount): (&PostingResult, &Msat)| *result == posted(*amount);
        let same = self.outcomes.len() == amounts.len();
        if !same || !self.outcomes.iter().zip(amounts).all(plain) {
            return self;
        }
        Self { outcomes: Vec::new(), posted: amounts.len(), ..self }
    }

    /// Whether it answers a batch of so many rows.
    #[must_use]
    pub fn is_of(&self, rows: usize) -> bool {
        self.outcomes.len().checked_add(self.posted) == Some(rows)
            && (self.outcomes.is_empty() || self.posted == 0)
    }

    /// What became of a row of this amount, the batch's `at`th.
    #[must_use]
    pub fn result(&self, at: usize, amount: Msat) -> PostingResult {
        self.outcomes.get(at).copied().unwrap_or(posted(amount))
    }
}

/// Posted, and nothing else to say.
const fn posted(amount: Msat) -> PostingResult {
    PostingResult { outcome: PostingOutcome::Posted, charged_msat: amount, revoked: false }
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

fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap_or(Msat::MAX)
    }

    #[test]
    fn what_was_posted_as_it_was_needs_no_results() {
        let amounts = [msat(5), Msat::ZERO];
        let whole: Vec<_> = amounts.iter().map(|amount| posted(*amount)).collect();
        let reply = PostingReply { outcomes: whole.clone(), posted: 0, revision: 3 };
        assert!(reply.is_of(2) && !reply.is_of(1));
        let brief = reply.brief(&amounts);
        assert_eq!(brief, PostingReply { outcomes: vec![], posted: 2, revision: 3 });
        assert!(brief.is_of(2) && !brief.is_of(0) && !brief.is_of(3));
        assert_eq!(brief.result(0, msat(5)), whole[0]);
    }

    #[test]
    fn anything_else_is_said_row_by_row() {
        let amounts = [msat(5), msat(6)];
        for other in [
            PostingResult { charged_msat: msat(4), ..posted(msat(5)) },
            PostingResult { revoked: true, ..posted(msat(5)) },
            PostingResult { outcome: PostingOutcome::Conflict, ..posted(msat(5)) },
        ] {
            let outcomes = vec![other, posted(msat(6))];
            let reply = PostingReply { outcomes, posted: 0, revision: 0 };
            assert_eq!(reply.clone().brief(&amounts), reply);
            assert_eq!(reply.result(0, msat(5)), other);
        }
        let short = PostingReply { outcomes: vec![posted(msat(5))], posted: 0, revision: 0 };
        assert_eq!(short.clone().brief(&amounts), short);
    }

    #[test]
    fn an_answer_with_both_or_neither_is_of_no_batch() {
        let both = PostingReply { outcomes: vec![posted(msat(5))], posted: 1, revision: 0 };
        assert!(!both.is_of(1) && !both.is_of(2));
        let wrong = PostingReply { posted: usize::MAX, ..both };
        assert!(!wrong.is_of(0));
        assert!(!PostingReply::default().is_of(1));
    }
}
