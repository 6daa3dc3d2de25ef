//! Lightning nodes: one small trait, a module for each kind of node, and the checks of what they
//! say.
//!
//! A node makes invoices, says what became of one, and where it can, tells of settlements as they
//! happen. Nothing it says is believed before [`check_invoice`] or [`check_payment`] agree: the
//! signed invoice is the word that counts. A payment hash that a node does not know is "not
//! paid", never a fault.

mod btcpay;
mod cln;
mod http;
mod lnbits;
mod lnd;
mod memory;
mod phoenixd;
mod simulated;
mod tls;

pub(crate) use simulated::{PayError, Simulated, SimulatedNode};
pub(crate) use tls::TlsFault as ConnectFault;

use std::fmt::Debug;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use lightning_invoice::{Bolt11Invoice, Currency};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::config::{Network, NodeConfig};

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

/// An invoice as a node returned it, not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MadeInvoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) bolt11: String,
}

/// A settlement that a node tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) settled: SettledInvoice,
    /// Its number in the node's own count of settlements.
    pub(crate) position: u64,
}

/// Why a node did not do what it was asked. What it said itself goes to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NodeFault {
    /// It does not accept the credential, or not for this call.
    #[error("the Lightning node refuses this credential")]
    Denied,
    /// It did not answer; it may later.
    #[error("the Lightning node does not answer")]
    Down,
    /// It does not take the order as it is.
    #[error("the Lightning node refused the order")]
    Refused,
    /// Its answer is none that it should give.
    #[error("the Lightning node gave an answer that cannot be understood")]
    Unreadable,
}

/// A call to a node.
pub(crate) type Call<'a, T> = BoxFuture<'a, Result<T, NodeFault>>;

/// Settlements as they happen. After a fault it ends.
pub(crate) type Events = BoxStream<'static, Result<Event, NodeFault>>;

/// A Lightning node.
pub(crate) trait Node: Debug + Send + Sync + 'static {
    /// Makes an invoice.
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice>;

    /// What became of the invoice with this payment hash.
    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer>;

    /// What is settled behind this place of the node's own count, and from then on; at 0 it may
    /// begin with what is settled now. `None` if the node does not count: its invoices are
    /// looked up instead.
    fn settled_after(&self, position: u64) -> Option<Events>;

    /// What tells this node from others: its kind and its address.
    fn name(&self) -> String;
}

/// A node, and the chain that its invoices are for.
#[derive(Clone, Debug)]
pub(crate) struct Lightning {
    pub(crate) node: Arc<dyn Node>,
    pub(crate) network: Network,
}

impl Lightning {
    /// The real node of this configuration; `None` for the simulated one.
    ///
    /// # Errors
    /// [`ConnectFault`] if the certificate file is of no use.
    pub(crate) fn connect(
        config: &NodeConfig,
        network: Network,
    ) -> Result<Option<Self>, ConnectFault> {
        let node: Arc<dyn Node> = match config {
            NodeConfig::Simulated { .. } => return Ok(None),
            NodeConfig::Lnd(config) => Arc::new(lnd::Lnd::new(config)?),
            NodeConfig::Cln(config) => Arc::new(cln::Cln::new(config)?),
            NodeConfig::Lnbits(config) => Arc::new(lnbits::Lnbits::new(config)?),
            NodeConfig::Phoenixd(config) => Arc::new(phoenixd::Phoenixd::new(config)?),
            NodeConfig::Btcpay(config) => Arc::new(btcpay::Btcpay::new(config)?),
        };
        Ok(Some(Self { node, network }))
    }

    /// The follower of this node remembers its place under this name. Another node counts
    /// anew.
    pub(crate) fn cursor_name(&self) -> String {
        format!("node {}", self.node.name())
    }

    /// Has an invoice made, and reads back what the node returned.
    ///
    /// # Errors
    /// [`MakeError`] if the node makes none, or not the one that was ordered.
    pub(crate) async fn make_invoice(
        &self,
        order: &InvoiceOrder,
        now_s: u64,
    ) -> Result<CheckedInvoice, MakeError> {
        let MadeInvoice { payment_hash, bolt11 } = self.node.create_invoice(order).await?;
        Ok(check_invoice(order, bolt11, &payment_hash, self.network, now_s)?)
    }
}

/// Why there is no invoice to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MakeError {
    /// The node returned another than was ordered.
    #[error(transparent)]
    Invoice(#[from] InvoiceFault),
    /// The node made none.
    #[error(transparent)]
    Node(#[from] NodeFault),
}

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
    bolt11: String,
    said_hash: &PaymentHash,
    network: Network,
    now_s: u64,
) -> Result<CheckedInvoice, InvoiceFault> {
    let invoice = read(&bolt11)?;
    if currency(network) != invoice.currency() {
        return Err(InvoiceFault::Network);
    }
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
    let invoice = read(&bolt11)?;
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

/// Reads a signed invoice of bounded length.
fn read(bolt11: &str) -> Result<Bolt11Invoice, InvoiceFault> {
    let fits = bolt11.len() <= INVOICE_BYTES_MAX;
    fits.then(|| bolt11.parse().ok()).flatten().ok_or(InvoiceFault::Unreadable)
}

/// What a paid invoice asked, for nodes that say no more than that it was paid.
fn asked(bolt11: &str) -> Result<Msat, NodeFault> {
    let amount = read(bolt11).ok().and_then(|invoice| invoice.amount_milli_satoshis());
    amount.and_then(Msat::new).ok_or(NodeFault::Unreadable)
}

/// For nodes that count in sats.
fn whole_sats(amount: Msat) -> Result<u64, NodeFault> {
    let sats = amount.to_sats_rounded_up();
    if Msat::from_sats(sats) == Some(amount) {
        return Ok(sats);
    }
    tracing::error!(%amount, "this node makes invoices of whole sats only; change the price");
    Err(NodeFault::Refused)
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

fn payment_hash(invoice: &Bolt11Invoice) -> PaymentHash {
    PaymentHash::from_bytes(invoice.payment_hash().to_byte_array())
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod standins;
#[cfg(test)]
mod tests;
