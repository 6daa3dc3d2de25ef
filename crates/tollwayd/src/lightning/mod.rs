//! Lightning nodes: one small trait, a module for each kind of node, and the checks of what they
//! say.
//!
//! A node makes invoices, says what became of one, and where it can, tells of settlements as they
//! happen. Nothing it says is believed before [`check_invoice`] or [`check_payment`] agree: the
//! signed invoice is the word that counts. A payment hash that a node does not know is "not
//! paid", never a fault.

mod btcpay;
mod cln;
mod health;
mod hints;
mod http;
mod invoice;
mod lnbits;
mod lnd;
mod memory;
mod nwc;
mod pay;
mod phoenixd;
mod simulated;
mod tls;

pub(crate) use health::Health;
pub(crate) use invoice::{
    InvoiceFault, check_foreign_invoice, check_invoice, check_payment, check_return_invoice,
    payment_hash_of,
};
#[cfg(test)]
pub(crate) use pay::Payer;
pub(crate) use pay::{Outgoing, PayingWallet};
pub(crate) use simulated::{PayError, Simulated, SimulatedNode};
pub(crate) use tls::TlsFault as ConnectFault;

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::config::{Network, NodeConfig};

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

/// What a credential may do, in the node's own names for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// What tollwayd needs and it has.
    pub(crate) present: Vec<&'static str>,
    /// What tollwayd needs and it lacks.
    pub(crate) missing: Vec<&'static str>,
    /// What it has and tollwayd does not need, or reaches further than it should.
    pub(crate) too_broad: Vec<String>,
}

/// A call to a node.
pub(crate) type Call<'a, T> = BoxFuture<'a, Result<T, NodeFault>>;

/// Settlements as they happen. After a fault it ends.
pub(crate) type Events = BoxStream<'static, Result<Event, NodeFault>>;

/// Payments that a node names as they arrive, without a count. After a fault it ends.
pub(crate) type Hints = BoxStream<'static, Result<PaymentHash, NodeFault>>;

/// A Lightning node.
pub(crate) trait Node: Debug + Send + Sync + 'static {
    /// Makes an invoice.
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice>;

    /// By how much its invoices may end earlier than ordered; none ends later.
    fn ends_early_s_max(&self) -> u64 {
        0
    }

    /// What became of the invoice with this payment hash.
    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer>;

    /// What is settled behind this place of the node's own count, and from then on; at 0 it may
    /// begin with what is settled now. `None` if the node does not count: its invoices are
    /// looked up instead.
    fn settled_after(&self, position: u64) -> Option<Events>;

    /// The payments that it names as they arrive, if it does not count them but says something.
    fn hints(&self) -> Option<Hints> {
        None
    }

    /// What it could receive now; `None` if it does not say, or not to this credential.
    fn inbound(&self) -> Call<'_, Option<Msat>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Whether the credential can spend, which it should not; `None` if the node does not say.
    /// Found out by asking for a payment of what is no invoice.
    fn may_pay(&self) -> Call<'_, Option<bool>>;

    /// What the credential may do; `None` if the node does not list it.
    fn rights(&self) -> Call<'_, Option<Rights>> {
        Box::pin(std::future::ready(Ok(None)))
    }

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
            NodeConfig::Nwc(config) => Arc::new(nwc::Nwc::new(config)),
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
        let made = self.node.create_invoice(order).await?;
        Ok(check_invoice(order, made, self, now_s)?)
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

/// For nodes that count in sats.
fn whole_sats(amount: Msat) -> Result<u64, NodeFault> {
    let sats = amount.to_sats_rounded_up();
    if Msat::from_sats(sats) == Some(amount) {
        return Ok(sats);
    }
    tracing::error!(%amount, "this node makes invoices of whole sats only; change the price");
    Err(NodeFault::Refused)
}

#[cfg(test)]
mod contract;
#[cfg(test)]
mod greenfield;
#[cfg(test)]
mod real;
#[cfg(test)]
mod standins;
#[cfg(test)]
mod tests;
