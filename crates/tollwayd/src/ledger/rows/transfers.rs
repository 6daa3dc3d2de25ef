//! Payments that a facilitator settles.

use std::sync::LazyLock;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;

use super::Row;
use super::field::{Field, Kind, Value, words};
use crate::ledger::sql;

words! {
    /// Where a transfer stands.
    pub(in crate::ledger) enum TransferState {
        /// A request has it, and nobody was asked to settle it.
        Reserved = "reserved",
        /// Somebody was asked to settle it, and no answer is known.
        Settling = "settling",
        Settled = "settled",
        /// It was not done, and may be tried anew.
        Refused = "refused",
    }
}

table! {
    /// A payment that a facilitator settles. A settled one is never deleted, nor one that may be.
    Transfer in "transfers" by (id: [u8; 32]) {
        /// The request that has it.
        hold_id: HoldId,
        state: TransferState,
        /// How much, in the smallest units of its asset: decimal digits.
        units: String,
        payer: String,
        /// What it is credited as.
        price_msat: Msat,
        route: String,
        /// How long nobody else can have it.
        until_ms: u64,
        /// How often the facilitator was asked to settle it.
        asked: u32,
        txid: Option<String>,
        created_at_ms: u64,
        settled_at_ms: Option<u64>,
    }
}
