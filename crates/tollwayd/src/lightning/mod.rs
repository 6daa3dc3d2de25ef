//! Lightning nodes. There is one so far: the simulated node.

mod simulated;

pub(crate) use simulated::{MintError, PayError, SimulatedNode};

use bitcoin::hashes::Hash;
use lightning_invoice::Bolt11Invoice;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

/// The longest text that is read as an invoice; one with the longest memo is half of it.
const INVOICE_BYTES_MAX: usize = 4_096;

/// An invoice to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvoiceOrder {
    pub(crate) amount: Msat,
    pub(crate) memo: String,
    pub(crate) expiry_s: u64,
}

/// An invoice that was made, and checked to be the one that was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    pub(crate) expires_at_s: u64,
}

/// How a node's invoice differs from the order. Such an invoice is never handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvoiceFault {
    /// It asks another amount, or none.
    #[error("expected the ordered amount in the node's invoice, but found another or none")]
    Amount,
    /// It is expired, or lives longer than ordered.
    #[error("expected the ordered expiry in the node's invoice, but found another")]
    Expiry,
    /// It is for another payment hash than the node said.
    #[error("expected the node's payment hash in its invoice, but found another")]
    PaymentHash,
    /// It cannot be read, or its signature does not hold.
    #[error("expected a signed BOLT 11 invoice from the node, but found something else")]
    Unreadable,
}

/// Reads back what a node returned and compares it with the order.
///
/// # Errors
/// [`InvoiceFault`] names the first difference.
pub(crate) fn check_invoice(
    order: &InvoiceOrder,
    bolt11: String,
    said_hash: &PaymentHash,
    now_s: u64,
) -> Result<CheckedInvoice, InvoiceFault> {
    let invoice: Bolt11Invoice = bolt11.parse().map_err(|_| InvoiceFault::Unreadable)?;
    if invoice.amount_milli_satoshis() != Some(order.amount.get()) {
        return Err(InvoiceFault::Amount);
    }
    let payment_hash = payment_hash(&invoice);
    if payment_hash != *said_hash {
        return Err(InvoiceFault::PaymentHash);
    }
    let expires_at_s = invoice.expires_at().ok_or(InvoiceFault::Expiry)?.as_secs();
    if expires_at_s <= now_s || invoice.expiry_time().as_secs() != order.expiry_s {
        return Err(InvoiceFault::Expiry);
    }
    Ok(CheckedInvoice { payment_hash, bolt11, expires_at_s })
}

/// The payment hash of a signed BOLT 11 invoice of any node, or `None` for other text.
pub(crate) fn payment_hash_of(bolt11: &str) -> Option<PaymentHash> {
    let fits = bolt11.len() <= INVOICE_BYTES_MAX;
    fits.then(|| bolt11.trim().parse().ok()).flatten().as_ref().map(payment_hash)
}

fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash::from_bytes(invoice.payment_hash().to_byte_array())
}

#[cfg(test)]
mod tests;
