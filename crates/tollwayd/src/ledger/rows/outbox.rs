//! What others outside are to get.

use tollway_core::payment::PaymentHash;

use super::Row;
use super::field::{Field, Kind, Value, words};
use crate::ledger::sql;
use std::sync::LazyLock;

words! {
    /// How something is sent.
    pub(crate) enum DeliveryKind {
        /// News, to a URL.
        Webhook = "webhook",
        /// A share of a payment, by Lightning.
        Payout = "payout",
    }
}

words! {
    /// Where a delivery stands.
    pub(in crate::ledger) enum DeliveryState {
        Open = "open",
        Done = "done",
        GivenUp = "given_up",
    }
}

table! {
    /// Something to send: written with what it is about, and sent afterwards.
    Delivery in "outbox" by (id: [u8; 16]) {
        kind: DeliveryKind,
        /// The name of the receiver in the configuration.
        target: String,
        account: PaymentHash,
        payment_hash: PaymentHash,
        body: String,
        /// What the sender has decided and must not decide again.
        note: Option<String>,
        state: DeliveryState,
        /// How often somebody took it to send it. Who takes it again takes it from the last one.
        attempts: u32,
        /// While it is being sent, the time after which somebody else may try; at the end, that of
        /// the end.
        due_at_ms: u64,
        created_at_ms: u64,
    }
}
