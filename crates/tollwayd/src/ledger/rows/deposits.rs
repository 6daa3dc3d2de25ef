//! What was paid into sessions of the scheme `Payment`.

use std::sync::LazyLock;

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::Row;
use super::field::{Field, Kind, Value};
use crate::ledger::sql;

table! {
    /// A payment into a session. The first one has the session's name and its state.
    Deposit in "deposits" by (payment_hash: PaymentHash) {
        session: PaymentHash,
        /// This payment.
        amount_msat: Msat,
        /// All payments of the session; zero where another row has the state.
        deposited_msat: Msat,
        /// Where the session is good.
        realm: String,
        /// Where what is left goes in the end.
        return_invoice: Option<String>,
        closed_at_ms: Option<u64>,
        /// What went back at the end.
        returned_msat: Option<Msat>,
        created_at_ms: u64,
    }
}
