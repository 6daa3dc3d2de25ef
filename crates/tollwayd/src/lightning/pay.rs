//! Paying with a node: for payouts, the one thing that `tollwayd` spends on.
//!
//! A payer is asked to pay an invoice, and what became of it is asked for by its payment hash:
//! that is the only word that counts, since the answer to a payment may get lost. Nodes pay one
//! invoice once.

mod lnbits;
mod lnd;
mod phoenixd;
mod simulated;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::tls::TlsFault;
use super::{Call, Lightning};
use crate::config::{Network, NodeConfig};

/// How long a node looks for a way, and how long its answer is waited for.
const PAY_S: u64 = 30;
const PAY_TIMEOUT: Duration = Duration::from_secs(PAY_S + 10);

/// What a node says of a payment that it may have made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outgoing {
    /// It never tried.
    Unknown,
    /// It tries; the money may have left.
    InFlight,
    /// It tried in vain, and has the money.
    Failed,
    /// It has paid.
    Paid,
}

/// A node that pays.
pub(crate) trait Payer: Debug + Send + Sync + 'static {
    /// Has an invoice paid. Success only means that the order was heard.
    fn pay<'a>(&'a self, bolt11: &'a str, fee_max: Msat) -> Call<'a, ()>;

    /// The same for an invoice that leaves the amount to the payer. Most nodes pay none.
    fn pay_amount<'a>(&'a self, _bolt11: &'a str, _amount: Msat, _fee_max: Msat) -> Call<'a, ()> {
        Box::pin(async { Err(super::NodeFault::Refused) })
    }

    /// What became of the payment with this hash.
    fn outgoing<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Outgoing>;
}

/// A wallet to pay out from.
#[derive(Clone, Debug)]
pub(crate) struct PayingWallet {
    pub(crate) payer: Arc<dyn Payer>,
    /// What tells it from others.
    pub(crate) name: String,
    pub(crate) network: Network,
    /// The same node, to ask for its rights; nothing is to be asked of the simulated one.
    node: Option<Lightning>,
}

impl PayingWallet {
    /// The wallet of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(crate) fn connect(config: &NodeConfig, network: Network) -> Result<Self, TlsFault> {
        let payer: Arc<dyn Payer> = match config {
            NodeConfig::Lnd(config) => Arc::new(lnd::Lnd::new(config)?),
            NodeConfig::Lnbits(config) => Arc::new(lnbits::Lnbits::new(config)?),
            NodeConfig::Phoenixd(config) => Arc::new(phoenixd::Phoenixd::new(config)?),
            // The configuration lets no other one through.
            NodeConfig::Simulated { .. }
            | NodeConfig::Cln(_)
            | NodeConfig::Btcpay(_)
            | NodeConfig::Nwc(_) => Arc::new(simulated::Simulated::new(config.simulated_file())),
        };
        let node = Lightning::connect(config, network)?;
        let name = node.as_ref().map_or("simulated".to_owned(), |node| node.node.name());
        Ok(Self { payer, name, network, node })
    }

    /// A wallet that a test made.
    #[cfg(test)]
    pub(crate) fn of(payer: Arc<dyn Payer>, name: &str, network: Network) -> Self {
        Self { payer, name: name.to_owned(), network, node: None }
    }

    /// Whether the credential may pay and look payments up.
    ///
    /// # Errors
    /// [`super::NodeFault`] if the node does not say.
    pub(crate) async fn may_pay(&self) -> Result<bool, super::NodeFault> {
        let may_pay = match &self.node {
            Some(node) => node.node.may_pay().await? != Some(false),
            None => true,
        };
        if !may_pay {
            return Ok(false);
        }
        let nothing = PaymentHash::from_bytes([0; 32]);
        match self.payer.outgoing(&nothing).await {
            Ok(_) => Ok(true),
            Err(super::NodeFault::Denied) => Ok(false),
            Err(fault) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests;
