//! What there is only so much of.

use std::sync::LazyLock;

use tollway_core::digest::Digest;

use super::Row;
use super::field::{Field, Kind, Value};
use crate::ledger::sql;

table! {
    /// How much of a coupon, or of a supply, is taken. How much there is, the configuration says.
    Stock in "stocks" by (id: Digest) {
        /// For people.
        name: String,
        /// Invoices that were sold with the coupon, and not deleted unpaid; or holds that count
        /// in this window, each as one call: those that are open, and those that charged.
        used: u64,
        began_at_ms: u64,
        ends_at_ms: u64,
    }
}

table! {
    /// What one client has used of one free tier in its window.
    Allowance in "allowances" by (client: [u8; 32]) {
        used: u64,
        ends_at_ms: u64,
    }
}
