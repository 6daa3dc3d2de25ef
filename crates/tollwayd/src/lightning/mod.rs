//! Lightning nodes. There is one so far: the simulated node.

mod memory;
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
    /// The payer's wallet shows it.
    pub(crate) memo: String,
    /// Kept with the invoice and given back with it; no payer sees it. CLN has a label for this,
    /// phoenixd an external id, LNbits, BTCPay and NWC their metadata; LND has nothing.
    pub(crate) note: String,
    pub(crate) expiry_s: u64,
}

/// An invoice that was made, and checked to be the one that was ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    pub(crate) expires_at_s: u64,
}

/// What a node says of a payment hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It made no such invoice, or has forgotten it.
    Unknown,
    /// It waits for the payment.
    Open,
    /// It was not paid in time.
    Expired,
    /// It was paid.
    Settled(SettledInvoice),
}

/// A paid invoice in the node's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SettledInvoice {
    /// It tells the amount, the time and the payment hash itself, under the node's signature.
    pub(crate) bolt11: String,
    /// The order's note, where the node keeps one.
    pub(crate) note: Option<String>,
    /// What was really paid.
    pub(crate) received: Msat,
}

/// A paid invoice that agrees with itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckedPayment {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
    pub(crate) note: Option<String>,
    /// What the invoice asked.
    pub(crate) amount: Msat,
    /// What was really paid, no less than that.
    pub(crate) received: Msat,
    pub(crate) created_at_s: u64,
    pub(crate) expires_at_s: u64,
}

/// The node did not answer; it may later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Lightning node does not answer")]
pub(crate) struct NodeDown;

/// How a node's invoice differs from what it has to be. Such an invoice is neither handed out
/// nor credited.
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
    /// Less was paid than it asks, which no node lets happen.
    #[error("expected at least the invoice's amount to be paid, but found less")]
    Received,
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

/// Reads back what a node says was paid and compares it with itself.
///
/// # Errors
/// [`InvoiceFault`] names the first difference.
pub(crate) fn check_payment(
    hash: &PaymentHash,
    settled: SettledInvoice,
) -> Result<CheckedPayment, InvoiceFault> {
    let SettledInvoice { bolt11, note, received } = settled;
    let invoice: Bolt11Invoice = bolt11.parse().map_err(|_| InvoiceFault::Unreadable)?;
    if payment_hash(&invoice) != *hash {
        return Err(InvoiceFault::PaymentHash);
    }
    let amount = invoice.amount_milli_satoshis().and_then(Msat::new);
    let amount = amount.filter(|amount| *amount > Msat::ZERO).ok_or(InvoiceFault::Amount)?;
    if received < amount {
        return Err(InvoiceFault::Received);
    }
    let created_at_s = invoice.duration_since_epoch().as_secs();
    let expires_at_s = created_at_s.saturating_add(invoice.expiry_time().as_secs());
    let payment_hash = *hash;
    Ok(CheckedPayment { payment_hash, bolt11, note, amount, received, created_at_s, expires_at_s })
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
