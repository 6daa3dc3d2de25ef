//! What spends a payment.

use super::field::words;

words! {
    /// How a payment is spent: its first grant says so.
    pub(in crate::ledger) enum SpentBy {
        L402 = "l402",
        Payment = "payment",
        PaymentSession = "payment_session",
        X402 = "x402",
    }
}
