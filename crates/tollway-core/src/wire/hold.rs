//! Holds: credit set aside, and what a request that is repeated finds.

use alloc::string::String;
use alloc::vec::Vec;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{CONTENT_TYPE_BYTES_MAX, FieldMissing, STORED_BODY_BYTES_MAX};
use crate::budget::TokenBudget;
use crate::digest::Digest;
use crate::id::HoldId;
use crate::money::Msat;
use crate::payment::{PaymentHash, Preimage};
use crate::tier::Tier;

/// Asks to set credit aside. The id stands in the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    /// The payment hash of the credential; `tollwayd` knows which account it pays into.
    pub payment_hash: PaymentHash,
    /// Proof of that payment. `tollwayd` checks it again and credits the payment once. Without it
    /// the payment must have been sold under another [`Proof`](super::Proof), and arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preimage: Option<Preimage>,
    /// The payment hash came without a token: nothing signed says what it is good for.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hash_alone: bool,
    /// How much to set aside.
    pub amount_msat: Msat,
    /// The least that is of use: the grant is between this and `amount_msat`, as the account
    /// allows. Without it the grant is exactly `amount_msat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_msat: Option<Msat>,
    /// How long the hold lives unless it is released before, at most
    /// [`HOLD_TTL_MS_MAX`](super::HOLD_TTL_MS_MAX).
    pub ttl_ms: u64,
    /// The route that is to be paid for.
    pub route: String,
    /// The client's word that this request may be a repeat of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyKey>,
    /// Credit that a live hold gives up for this one, in the same transaction. Nothing is taken
    /// where this hold is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take_back: Option<TakeBack>,
    /// The budgets of the token, the outermost first, at most
    /// [`BUDGETS_MAX`](crate::budget::BUDGETS_MAX); the hold counts against all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<TokenBudget>,
    /// The payment is proven by a genuine token of another paywall, which is worth this much: if
    /// neither ledger nor node know the payment, it opens an account with this credit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import_msat: Option<Msat>,
    /// The tier that `amount_msat` was reckoned for; without it the price hangs on none. Where
    /// the account has another, the hold is refused and the answer says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
}

/// Credit that returns from a live hold before another hold of the same account is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeBack {
    /// The hold that gives. If it has ended, or is not of the same account, nothing is taken.
    pub hold: HoldId,
    /// How much of what it has not posted.
    pub amount_msat: Msat,
}

/// Names a request of an account, so that its repeats within 24 hours cost nothing.
///
/// A key is in flight while the hold it came with lives. A posting that charges makes it charged
/// and may store a response; a hold that ends without a charge forgets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdempotencyKey {
    /// The hash of the client's key.
    pub key: Digest,
    /// The hash of what makes the request the same: method, host, path and query, body length.
    pub fields: Digest,
}

/// Asks for more of a live hold, or for more time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionRequest {
    /// Counts the extensions of one hold from 0; a repeat with the same fields gets the first
    /// answer.
    pub seq: u32,
    /// How much to set aside besides what the hold has.
    pub add_msat: Msat,
    /// The least that is of use: what is added is between this and `add_msat`, as the account
    /// allows. Without it exactly `add_msat` is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_msat: Option<Msat>,
    /// How long the hold lives from now on, at most
    /// [`HOLD_TTL_MS_MAX`](super::HOLD_TTL_MS_MAX).
    pub ttl_ms: u64,
}

/// The answer to a [`HoldRequest`] or an [`ExtensionRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", try_from = "FlatReply")]
pub enum HoldReply {
    /// The credit is set aside, or the request was charged before.
    Granted {
        /// The account, named by the payment hash that opened it.
        account: PaymentHash,
        /// How much was set aside; for an extension, how much the hold now has in all.
        granted_msat: Msat,
        /// What the account can still spend beside its live holds.
        balance_msat: Msat,
        /// The tier of the account.
        #[serde(default, skip_serializing_if = "Tier::is_none")]
        tier: Tier,
        /// The request was charged under its idempotency key before: nothing was set aside,
        /// there is no hold, and nothing is to be posted.
        #[serde(default, skip_serializing_if = "is_false")]
        already_charged: bool,
        /// The response that was stored then. Only beside `already_charged`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replay: Option<StoredResponse>,
    },
    /// Nothing was set aside.
    Refused {
        /// Why; the first reason that applies in the order of [`HoldRefusal`].
        refusal: HoldRefusal,
        /// What the account can still spend beside its live holds; zero where there is none.
        balance_msat: Msat,
        /// When the budget that is exhausted is whole again, Unix time in seconds; without it
        /// never, or the refusal has another reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resets_at: Option<u64>,
        /// The tier of the account, where the hold was refused for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tier: Option<Tier>,
    },
}

/// A [`HoldReply`] as it travels. An enum with a tag inside would be read twice: once to find the
/// tag and once to know what it means, with code for every form that JSON can have.
#[derive(Deserialize)]
struct FlatReply {
    outcome: FlatOutcome,
    account: Option<PaymentHash>,
    granted_msat: Option<Msat>,
    balance_msat: Msat,
    #[serde(default)]
    already_charged: bool,
    replay: Option<StoredResponse>,
    refusal: Option<HoldRefusal>,
    resets_at: Option<u64>,
    tier: Option<Tier>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FlatOutcome {
    Granted,
    Refused,
}

impl TryFrom<FlatReply> for HoldReply {
    type Error = FieldMissing;

    fn try_from(flat: FlatReply) -> Result<Self, FieldMissing> {
        Ok(match flat.outcome {
            FlatOutcome::Granted => Self::Granted {
                account: flat.account.ok_or(FieldMissing)?,
                granted_msat: flat.granted_msat.ok_or(FieldMissing)?,
                balance_msat: flat.balance_msat,
                tier: flat.tier.unwrap_or_default(),
                already_charged: flat.already_charged,
                replay: flat.replay,
            },
            FlatOutcome::Refused => Self::Refused {
                refusal: flat.refusal.ok_or(FieldMissing)?,
                balance_msat: flat.balance_msat,
                resets_at: flat.resets_at,
                tier: flat.tier,
            },
        })
    }
}

/// Why a hold was refused, in order of precedence. A refusal is not remembered: the same id may
/// succeed later.
///
/// Who proves no payment learns nothing of the account, so the proof comes before everything the
/// account knows; a revoked account answers nothing else; and what was charged before is found
/// before the balance is asked, because an empty account may repeat what it paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldRefusal {
    /// No invoice with this payment hash is known.
    UnknownPayment,
    /// The preimage does not belong to the payment hash, or is missing where it is needed.
    PaymentNotProven,
    /// The payment was not proven by its preimage, and has not arrived.
    PaymentPending,
    /// The payment was spent on another rail.
    OtherRail,
    /// The operator revoked the token or its account.
    AccountRevoked,
    /// The idempotency key came with a request of other fields before.
    IdempotencyMismatch,
    /// The first request with this idempotency key has not ended.
    IdempotencyInFlight,
    /// The amount was reckoned for another tier than the account's.
    TierDiffers,
    /// A budget of the token cannot cover the amount in this window.
    BudgetExhausted,
    /// As many calls were sold as there are.
    SoldOut,
    /// The account cannot cover the amount.
    InsufficientCredit,
}

/// A small response that can be given again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The `Content-Type`; empty when there was none.
    pub content_type: String,
    /// The body, at most [`STORED_BODY_BYTES_MAX`] bytes, in padded standard base64.
    pub body_base64: String,
}

impl StoredResponse {
    /// A response with this body, or `None` if it is none that can be given again: not a
    /// success, too long, or with a content type that is not visible ASCII.
    #[must_use]
    pub fn new(status: u16, content_type: &[u8], body: &[u8]) -> Option<Self> {
        let content_type = core::str::from_utf8(content_type).ok()?;
        let body_base64 = STANDARD.encode(body);
        let stored = Self { status, content_type: content_type.into(), body_base64 };
        stored.body().map(|_| stored)
    }

    /// The body, or `None` if this is not a response that [`StoredResponse::new`] builds.
    #[must_use]
    pub fn body(&self) -> Option<Vec<u8>> {
        let visible = |byte: u8| matches!(byte, b' '..=b'~');
        let proper = (200..=299).contains(&self.status)
            && self.content_type.len() <= CONTENT_TYPE_BYTES_MAX
            && self.content_type.bytes().all(visible)
            && self.body_base64.len() <= STORED_BODY_BYTES_MAX.div_ceil(3) * 4;
        let body = if proper { STANDARD.decode(&self.body_base64).ok()? } else { return None };
        (body.len() <= STORED_BODY_BYTES_MAX).then_some(body)
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_response_comes_back_as_it_was() {
        for body in [&b""[..], b"{}", &[0xff; STORED_BODY_BYTES_MAX]] {
            let stored = StoredResponse::new(201, b"application/json", body).unwrap();
            assert_eq!(stored.body().unwrap(), body);
        }
        assert!(StoredResponse::new(204, b"", b"").is_some());
    }

    #[test]
    fn a_reply_is_read_as_it_was_written_and_never_without_a_field() {
        let account = PaymentHash::from_bytes([1; 32]);
        let replay = StoredResponse::new(200, b"text/plain", b"ha");
        let (granted_msat, balance_msat) = (Msat::ZERO, Msat::MAX);
        for reply in [
            HoldReply::Granted {
                account,
                granted_msat,
                balance_msat,
                tier: Tier::parse("gold").unwrap(),
                already_charged: true,
                replay,
            },
            HoldReply::Refused {
                refusal: HoldRefusal::BudgetExhausted,
                balance_msat,
                resets_at: Some(7),
                tier: None,
            },
            HoldReply::Refused {
                refusal: HoldRefusal::TierDiffers,
                balance_msat,
                resets_at: None,
                tier: Some(Tier::NONE),
            },
        ] {
            let json = serde_json::to_value(&reply).unwrap();
            assert_eq!(serde_json::from_value::<HoldReply>(json.clone()).unwrap(), reply);
            for field in ["outcome", "account", "granted_msat", "balance_msat", "refusal"] {
                let mut less = json.clone();
                if less.as_object_mut().unwrap().remove(field).is_some() {
                    assert!(serde_json::from_value::<HoldReply>(less).is_err(), "{field}");
                }
            }
            let mut newer = json;
            newer["of_a_newer_tollwayd"] = serde_json::json!({"x": [1]});
            assert_eq!(serde_json::from_value::<HoldReply>(newer).unwrap(), reply);
        }
        let odd = serde_json::json!({"outcome": "lent", "balance_msat": 0});
        assert!(serde_json::from_value::<HoldReply>(odd).is_err());
    }

    #[test]
    fn what_cannot_be_given_again_is_not_stored() {
        for (status, content_type, body) in [
            (404, &b"text/plain"[..], &b""[..]),
            (199, b"text/plain", b""),
            (200, b"text/plain\r\nx: y", b""),
            (200, b"text/\xff", b""),
            (200, &[b'a'; CONTENT_TYPE_BYTES_MAX + 1], b""),
            (200, b"text/plain", &[0; STORED_BODY_BYTES_MAX + 1]),
        ] {
            assert_eq!(StoredResponse::new(status, content_type, body), None, "{status}");
        }
        let damaged = StoredResponse {
            status: 200,
            content_type: String::new(),
            body_base64: "not base64".into(),
        };
        assert_eq!(damaged.body(), None);
    }
}
