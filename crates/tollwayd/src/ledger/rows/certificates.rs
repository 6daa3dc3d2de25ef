//! What was shown to buy, and is good no more.

use std::sync::LazyLock;

use tollway_core::digest::Digest;
use tollway_core::payment::PaymentHash;

use super::Row;
use super::field::{Field, Kind, Value};
use crate::ledger::sql;

table! {
    /// A certificate that was used, until it expires.
    UsedCertificate in "certificates" by (id: Digest) {
        /// The invoice that it was used for.
        payment_hash: PaymentHash,
        expires_at_ms: u64,
    }
}
