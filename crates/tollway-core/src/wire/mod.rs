//! The JSON that the filter and `tollwayd` exchange. Typed once, here, for both ends.
//!
//! Amounts are integers in msat, times are Unix times, hashes and keys are hexadecimal text.
//! Unknown fields are refused on the way in to `tollwayd`; the filter ignores fields it does
//! not know in a reply, so that a newer `tollwayd` can serve an older filter.

mod allowance;
mod challenge;
mod hold;
mod posting;
mod price;
mod rail;
mod sale;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::compat::Format;
use crate::entropy::Seed;
use crate::id::KeyId;
use crate::payment::PaymentHash;
use crate::rates::RateReply;
use crate::secret::{MasterKey, SecretText};

pub use allowance::{AllowanceClient, AllowanceReply, AllowanceRequest, Quota, Window};
pub use challenge::{Buys, ChallengeReply, ChallengeRequest, ClientKey, Proof};
pub use hold::{
    ExtensionRequest, HoldRefusal, HoldReply, HoldRequest, IdempotencyKey, StoredResponse, TakeBack,
};
pub use posting::{Overrun, Posting, PostingBatch, PostingOutcome, PostingReply, PostingResult};
pub use price::{PriceReply, PriceRequest};
pub use rail::{Rail, RailHoldRequest, RailNotes, RailTerms};
pub use sale::SaleRefusal;

/// Where the filter asks for an invoice: `POST`.
pub const CHALLENGES_PATH: &str = "/v1/challenges";
/// Where the filter sets credit aside: `PUT {HOLDS_PATH}/{hold id}`, or `POST {HOLDS_PATH}` for
/// several requests at once. Then each line of the body is `["{hold id}",{the body of its PUT}]`,
/// and each line of the answer, in the same order, `[{status},{the answer to its PUT}]`; a line
/// with [`ASK_ALONE`] says that this hold takes longer than the others should wait.
pub const HOLDS_PATH: &str = "/v1/holds";
/// What follows a hold's path where the filter asks for more of it: `POST
/// {HOLDS_PATH}/{hold id}/{EXTENSIONS_SEGMENT}`.
pub const EXTENSIONS_SEGMENT: &str = "extensions";
/// Where the filter asks for more of several holds at once: `POST`. Each line of the body is
/// `["{hold id}",{the body of its POST}]`, and the lines of the answer are as those of
/// [`HOLDS_PATH`].
pub const EXTENSIONS_PATH: &str = "/v1/extensions";
/// What follows a hold's path where the credential is of another rail: `PUT
/// {HOLDS_PATH}/{hold id}/{RAIL_SEGMENT}`.
pub const RAIL_SEGMENT: &str = "rail";
/// What follows a hold's path where a payment that was only reserved is to be settled: `PUT
/// {HOLDS_PATH}/{hold id}/{SETTLEMENT_SEGMENT}`, with the same body.
pub const SETTLEMENT_SEGMENT: &str = "settlement";
/// Where the filter reports charges and releases: `POST`.
pub const POSTINGS_PATH: &str = "/v1/postings";
/// The `Prefer` header (RFC 7240) of a filter that needs no results of rows which were posted just
/// as they were. Nobody who does not know it minds it.
pub const PREFER_BRIEF: &str = "return=minimal";
/// Where the filter asks whether a request is free: `POST`.
pub const ALLOWANCES_PATH: &str = "/v1/allowances";
/// Where the filter asks what a request costs that only the operator's service knows: `POST`.
pub const PRICES_PATH: &str = "/v1/prices";
/// Where the filter fetches its keys: `GET`.
pub const KEYRING_PATH: &str = "/v1/keyring";

/// The most holds of one `POST {HOLDS_PATH}` or `POST {EXTENSIONS_PATH}`.
pub const HOLDS_PER_BATCH_MAX: usize = 64;
/// The status of a hold that has to be asked for by itself, with its `PUT`.
pub const ASK_ALONE: u16 = 202;
/// The most rows one [`PostingBatch`] may carry.
pub const POSTINGS_PER_BATCH_MAX: usize = 512;
/// The most bytes of stored responses that one [`PostingBatch`] carries, counted as they travel,
/// in base64. A batch with more than one such row stays below; a single row always fits.
pub const STORED_BYTES_PER_BATCH_MAX: usize = 64 * 1024;
/// The longest body of a [`StoredResponse`], in bytes.
pub const STORED_BODY_BYTES_MAX: usize = 16 * 1024;
/// The longest content type of a [`StoredResponse`], in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;
/// The longest life a hold may ask for: one day.
pub const HOLD_TTL_MS_MAX: u64 = 86_400_000;
/// How many revoked tokens a [`KeyringReply`] names at most, the newest first.
pub const REVOKED_TOKENS_MAX: usize = 1_000;
/// The longest route name, in bytes.
pub const ROUTE_NAME_BYTES_MAX: usize = 128;
/// The longest service name, in bytes; see [`crate::caveat::is_service_name`].
pub const SERVICE_NAME_BYTES_MAX: usize = crate::caveat::SERVICE_NAME_BYTES_MAX;
/// What stands before the plan of a request in shadow, so that it uses nothing up.
pub const PLAN_IN_SHADOW: &str = "shadow ";
/// The longest plan name of an allowance, in bytes: a service's name, a slash and a route's, in
/// shadow.
pub const PLAN_NAME_BYTES_MAX: usize =
    PLAN_IN_SHADOW.len() + SERVICE_NAME_BYTES_MAX + 1 + ROUTE_NAME_BYTES_MAX;
/// The longest client address or fingerprint, in bytes.
pub const CLIENT_TEXT_BYTES_MAX: usize = 64;
/// The longest rolling window of an allowance: 31 days.
pub const WINDOW_SECONDS_MAX: u64 = 31 * 86_400;
/// The longest code of a coupon, in bytes.
pub const COUPON_BYTES_MAX: usize = 64;
/// The longest invoice memo, in bytes (BOLT 11 fits 639 in its description field).
pub const MEMO_BYTES_MAX: usize = 639;

/// A reply without a field that its outcome needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FieldMissing;

impl fmt::Display for FieldMissing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected every field of the outcome, but found one missing")
    }
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
    /// The payment hashes of the tokens that were revoked last, at most
    /// [`REVOKED_TOKENS_MAX`]; the ledger itself refuses all of them.
    #[serde(default)]
    pub revoked: Vec<PaymentHash>,
    /// What other paywalls signed their tokens with, which are good here too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub legacy: Vec<LegacyKey>,
    /// Names the state of `keys` and `revoked`: another number when one of them has changed.
    #[serde(default)]
    pub revision: u64,
    /// What a bitcoin costs in other money: the rates that hold, with their ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<RateReply>,
    /// Routes of which only so many calls are sold: each call needs a hold of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<String>,
}

/// One key of the keyring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyringKey {
    /// Its id, which rides in the token id.
    pub id: KeyId,
    /// The key.
    pub secret: MasterKey,
}

/// What another paywall signed its tokens with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyKey {
    /// How its tokens are written; never [`Format::L402`].
    pub format: Format,
    /// The text of lightning-toll's secret, or toll-booth's root key in hexadecimal digits.
    pub secret: SecretText,
    /// The services that its tokens are good for, at least one.
    pub services: Vec<String>,
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
