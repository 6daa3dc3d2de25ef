//! What a BOLT 11 invoice says, and whether that is what it has to say.
//!
//! Read is what is compared, under the node's signature; what else a payer's wallet wants from an
//! invoice is between it and the node.

use bitcoin::hashes::Hash;
use lightning_invoice::{Currency, SignedRawBolt11Invoice};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::{
    CheckedInvoice, CheckedPayment, InvoiceOrder, Lightning, MadeInvoice, NodeFault, SettledInvoice,
};
use crate::config::Network;

/// The longest text that is read as an invoice; one with the longest memo is half of it.
pub(super) const INVOICE_BYTES_MAX: usize = 4_096;

/// No payment is begun that may come too late.
const TIME_TO_PAY_S: u64 = 30;
/// What BOLT 11 says where an invoice does not.
const EXPIRY_S: u64 = 3_600;
/// Amounts are multiples of 10^-12 BTC, a tenth of a msat.
const PICO_PER_MSAT: u64 = 10;

/// A signed invoice.
struct Invoice {
    payment_hash: PaymentHash,
    amount: Option<Msat>,
    currency: Currency,
    created_at_s: u64,
    expiry_s: u64,
}

/// How a node's invoice differs from what it has to be. Such an invoice is neither handed out
/// nor credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvoiceFault {
    /// It asks another amount, or none.
    #[error("expected the ordered amount in the node's invoice, but found another or none")]
    Amount,
    /// It is expired, lives longer than ordered, or shorter than the node may have it.
    #[error("expected the ordered expiry in the node's invoice, but found another")]
    Expiry,
    /// It is for another chain than was configured.
    #[error("expected an invoice for the configured network, but found another")]
    Network,
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
    made: MadeInvoice,
    lightning: &Lightning,
    now_s: u64,
) -> Result<CheckedInvoice, InvoiceFault> {
    let MadeInvoice { payment_hash: said_hash, bolt11 } = made;
    let invoice = read(&bolt11)?;
    if currency(lightning.network) != invoice.currency {
        return Err(InvoiceFault::Network);
    }
    if invoice.amount != Some(order.amount) {
        return Err(InvoiceFault::Amount);
    }
    let payment_hash = invoice.payment_hash;
    if payment_hash != said_hash {
        return Err(InvoiceFault::PaymentHash);
    }
    let expires_at_s = invoice.created_at_s.saturating_add(invoice.expiry_s);
    let shortest_s = order.expiry_s.saturating_sub(lightning.node.ends_early_s_max());
    if expires_at_s <= now_s || !(shortest_s..=order.expiry_s).contains(&invoice.expiry_s) {
        return Err(InvoiceFault::Expiry);
    }
    Ok(CheckedInvoice { payment_hash, bolt11, expires_at_s })
}

/// Checks an invoice of somebody else, before it is paid.
///
/// # Errors
/// [`InvoiceFault`] names the first difference.
pub(crate) fn check_foreign_invoice(
    bolt11: String,
    amount: Msat,
    network: Network,
    now_s: u64,
) -> Result<CheckedInvoice, InvoiceFault> {
    let invoice = read(&bolt11)?;
    if currency(network) != invoice.currency {
        return Err(InvoiceFault::Network);
    }
    if invoice.amount != Some(amount) {
        return Err(InvoiceFault::Amount);
    }
    let expires_at_s = invoice.created_at_s.saturating_add(invoice.expiry_s);
    if expires_at_s <= now_s.saturating_add(TIME_TO_PAY_S) {
        return Err(InvoiceFault::Expiry);
    }
    Ok(CheckedInvoice { payment_hash: invoice.payment_hash, bolt11, expires_at_s })
}

/// Checks an invoice of somebody else who wants an amount that is known later.
///
/// # Errors
/// [`InvoiceFault`] names the first difference.
pub(crate) fn check_return_invoice(
    bolt11: &str,
    network: Network,
    now_s: u64,
) -> Result<PaymentHash, InvoiceFault> {
    let invoice = read(bolt11)?;
    if currency(network) != invoice.currency {
        return Err(InvoiceFault::Network);
    }
    if invoice.amount.is_some_and(|amount| amount > Msat::ZERO) {
        return Err(InvoiceFault::Amount);
    }
    let expires_at_s = invoice.created_at_s.saturating_add(invoice.expiry_s);
    if expires_at_s <= now_s.saturating_add(TIME_TO_PAY_S) {
        return Err(InvoiceFault::Expiry);
    }
    Ok(invoice.payment_hash)
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
    let invoice = read(&bolt11)?;
    if invoice.payment_hash != *hash {
        return Err(InvoiceFault::PaymentHash);
    }
    let amount = invoice.amount.filter(|amount| *amount > Msat::ZERO);
    let amount = amount.ok_or(InvoiceFault::Amount)?;
    if received < amount {
        return Err(InvoiceFault::Received);
    }
    let created_at_s = invoice.created_at_s;
    let expires_at_s = created_at_s.saturating_add(invoice.expiry_s);
    let payment_hash = *hash;
    Ok(CheckedPayment { payment_hash, bolt11, note, amount, received, created_at_s, expires_at_s })
}

/// The payment hash of a signed BOLT 11 invoice of any node, or `None` for other text.
pub(crate) fn payment_hash_of(bolt11: &str) -> Option<PaymentHash> {
    read(bolt11.trim()).ok().map(|invoice| invoice.payment_hash)
}

/// What a paid invoice asked, for nodes that say no more than that it was paid.
pub(super) fn asked(bolt11: &str) -> Result<Msat, NodeFault> {
    read(bolt11).ok().and_then(|invoice| invoice.amount).ok_or(NodeFault::Unreadable)
}

/// Reads a signed invoice of bounded length.
fn read(bolt11: &str) -> Result<Invoice, InvoiceFault> {
    if bolt11.len() > INVOICE_BYTES_MAX {
        return Err(InvoiceFault::Unreadable);
    }
    let signed: SignedRawBolt11Invoice = bolt11.parse().map_err(|_| InvoiceFault::Unreadable)?;
    if !signed.check_signature() {
        return Err(InvoiceFault::Unreadable);
    }
    let raw = signed.raw_invoice();
    let hash = raw.payment_hash().ok_or(InvoiceFault::Unreadable)?;
    let pico = raw.amount_pico_btc();
    let amount = pico.filter(|pico| pico % PICO_PER_MSAT == 0).map(|pico| pico / PICO_PER_MSAT);
    Ok(Invoice {
        payment_hash: PaymentHash::from_bytes(hash.0.to_byte_array()),
        amount: amount.and_then(Msat::new),
        currency: raw.currency(),
        created_at_s: raw.data.timestamp.as_unix_timestamp(),
        expiry_s: raw.expiry_time().map_or(EXPIRY_S, |expiry| expiry.as_seconds()),
    })
}

const fn currency(network: Network) -> Currency {
    match network {
        Network::Bitcoin => Currency::Bitcoin,
        Network::Testnet => Currency::BitcoinTestnet,
        Network::Signet => Currency::Signet,
        Network::Regtest => Currency::Regtest,
        Network::Simnet => Currency::Simnet,
    }
}
