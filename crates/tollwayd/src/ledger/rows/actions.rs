//! The audit log.

use std::sync::LazyLock;

use tollway_core::id::KeyId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;

use super::Row;
use super::field::{Field, Kind, Value, words};
use crate::ledger::sql;

words! {
    /// What an operator did, or has to know.
    pub(in crate::ledger) enum ActionKind {
        Refund = "refund",
        Grant = "grant",
        Settle = "settle",
        Revoke = "revoke",
        Unrevoke = "unrevoke",
        RevokeToken = "revoke_token",
        UnrevokeToken = "unrevoke_token",
        Tier = "tier",
        RotateKey = "rotate_key",
        RetireKey = "retire_key",
        /// A paid invoice that was lost came back from the node.
        Restore = "restore",
        /// Something could not be sent, and is not tried again.
        GiveUp = "give_up",
        /// A share of a payment went out.
        Payout = "payout",
        /// What was given up is tried again.
        Retry = "retry",
    }
}

table! {
    /// A line of the audit log. Append-only.
    Action in "actions" by (id: [u8; 16]) {
        kind: ActionKind,
        actor: String,
        reason: String,
        /// The payment hash that named the account.
        subject: Option<PaymentHash>,
        account: Option<PaymentHash>,
        amount_msat: Option<Msat>,
        key_id: Option<KeyId>,
        /// The tier that was given.
        tier: Option<Tier>,
        at_ms: u64,
    }
}
