//! The nodes that make the invoices: one, or several, of which each has its share, its services,
//! and its turn when another one fails.
//!
//! Whatever a node did wrong, nobody has seen an invoice of it when the next one is asked, so that
//! nothing is sold twice: an invoice that was made too late stays with its node, unpaid. What
//! became of an invoice is asked of the node that made it. An invoice without a known node, from
//! before there were several or of one that was renamed, is looked for at all of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use crate::clock::Clock;
use crate::config::{LightningConfig, Network, NodeConfig, PoolNode};
use crate::ledger::Unsettled;
use crate::lightning::{
    Answer, CheckedInvoice, ConnectFault, Health, InvoiceOrder, Lightning, MakeError, NodeFault,
};
use crate::watch::Watch;

/// All nodes.
#[derive(Debug)]
pub(crate) struct Pool {
    members: Vec<Arc<Member>>,
    /// The chain of all of them.
    pub(crate) network: Network,
    /// How long a node may take for an invoice while there are others.
    patience: Duration,
    /// Counts the invoices.
    turn: AtomicU64,
}

/// One of the nodes.
#[derive(Debug)]
pub(crate) struct Member {
    /// What its invoices are kept under; nothing if it is the only node.
    pub(crate) name: Option<String>,
    /// The word for its kind.
    pub(crate) backend: &'static str,
    pub(crate) lightning: Lightning,
    pub(crate) health: Health,
    /// What it is asked about; nothing if it is the simulated one, whose payments credit at once,
    /// or are meant to be lost.
    pub(crate) watch: Option<Watch>,
    webhook_secret: Option<SecretText>,
    weight: u32,
    services: BTreeSet<String>,
    routes: BTreeSet<String>,
}

/// What an invoice is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct For<'a> {
    pub(crate) service: &'a str,
    pub(crate) route: &'a str,
}

/// An invoice, and the node that made it, where there are several.
pub(crate) type MadeBy<'a> = (CheckedInvoice, Option<&'a str>);

impl Pool {
    /// The real nodes of this configuration; `None` for the simulated one.
    ///
    /// # Errors
    /// [`ConnectFault`] if a certificate file is of no use.
    pub(crate) fn connect(config: &LightningConfig) -> Result<Option<Self>, ConnectFault> {
        let mut members = Vec::new();
        for one in &config.nodes {
            let Some(lightning) = Lightning::connect(&one.node, config.network)? else {
                return Ok(None);
            };
            let is_told = lightning.node.settled_after(0).is_some();
            members.push(Arc::new(Member::new(one, lightning, Some(Watch::new(is_told)))));
        }
        let (network, patience) = (config.network, config.failover_after);
        Ok(Some(Self { members, network, patience, turn: AtomicU64::new(0) }))
    }

    /// The simulated node.
    pub(crate) fn simulated(lightning: Lightning) -> Self {
        let only = PoolNode::alone(NodeConfig::Simulated { file: None });
        let network = lightning.network;
        let members = vec![Arc::new(Member::new(&only, lightning, None))];
        Self { members, network, patience: Duration::MAX, turn: AtomicU64::new(0) }
    }

    pub(crate) fn members(&self) -> &[Arc<Member>] {
        &self.members
    }

    /// Has an invoice made by one of the nodes that are for this.
    ///
    /// # Errors
    /// [`MakeError`] of the last one, if none of them makes it.
    pub(crate) async fn make_invoice(
        &self,
        order: &InvoiceOrder,
        what: For<'_>,
        clock: &dyn Clock,
    ) -> Result<MadeBy<'_>, MakeError> {
        let mut left = self.in_turn(what);
        let mut error = MakeError::Node(NodeFault::Refused);
        if left.is_empty() {
            let For { service, route } = what;
            tracing::error!(service, route, "no node of lightning.nodes is for this");
        }
        while !left.is_empty() {
            let member = left.remove(0);
            let patience = (!left.is_empty()).then_some(self.patience);
            match member.make_invoice(order, patience, clock).await {
                Ok(made) => return Ok((made, member.name.as_deref())),
                Err(fault) => error = fault,
            }
            if let (Some(name), false) = (&member.name, left.is_empty()) {
                tracing::warn!(node = name, %error, "made no invoice; another node is asked");
            }
        }
        Err(error)
    }

    /// The nodes that are for this, in the order in which they are asked: one by its share, the
    /// rest by their weight, and what has failed last.
    fn in_turn(&self, what: For<'_>) -> Vec<&Member> {
        let mut up = Vec::new();
        let mut down = Vec::new();
        for member in self.serving(what) {
            if member.health.last() == Some(false) { &mut down } else { &mut up }.push(member);
        }
        for members in [&mut up, &mut down] {
            members.sort_by_key(|member| std::cmp::Reverse(member.weight));
        }
        let weights = up.iter().map(|member| u64::from(member.weight));
        if let Some(first) = chosen(weights, self.turn.fetch_add(1, Ordering::Relaxed)) {
            // What comes before it keeps its order behind it.
            up.get_mut(..=first).into_iter().for_each(|before| before.rotate_right(1));
        }
        up.extend(down);
        up
    }

    /// Those that name the route; else those that name the service; else those that name nothing.
    fn serving(&self, what: For<'_>) -> Vec<&Member> {
        let all = || self.members.iter().map(|member| &**member);
        let by_route: Vec<_> = all().filter(|it| it.routes.contains(what.route)).collect();
        if !by_route.is_empty() {
            return by_route;
        }
        let by_service: Vec<_> = all().filter(|it| it.services.contains(what.service)).collect();
        if !by_service.is_empty() {
            return by_service;
        }
        all().filter(|it| it.routes.is_empty() && it.services.is_empty()).collect()
    }

    /// The nodes that may have made an invoice that is kept under this name.
    pub(crate) fn homes(&self, node: Option<&str>) -> impl Iterator<Item = &Arc<Member>> {
        let is_it = move |member: &Member| node.is_some() && member.name.as_deref() == node;
        let is_known = self.members.iter().any(|member| is_it(member));
        self.members.iter().filter(move |member| !is_known || is_it(member))
    }

    /// Whether the ledger has to be asked who made an invoice.
    pub(crate) fn has_several(&self) -> bool {
        self.members.len() > 1
    }

    /// What became of an invoice, by the word of who made it. If that is not known, it is paid as
    /// soon as one says so, and unknown only if all of them do.
    ///
    /// # Errors
    /// [`NodeFault`] if one that may have made it did not answer.
    pub(crate) async fn look_up(
        &self,
        hash: &PaymentHash,
        node: Option<&str>,
    ) -> Result<Answer, NodeFault> {
        let ask = |member: &Arc<Member>| {
            let node = Arc::clone(&member.lightning.node);
            async move { node.look_up(hash).await }
        };
        let mut asked: FuturesUnordered<_> = self.homes(node).map(ask).collect();
        let mut known = Ok(Answer::Unknown);
        while let Some(answer) = asked.next().await {
            known = match (known, answer) {
                (_, Ok(paid @ Answer::Settled(_))) => return Ok(paid),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
                (Ok(Answer::Unknown), Ok(answer)) | (_, Ok(answer @ Answer::Open)) => Ok(answer),
                (known, _) => known,
            };
        }
        known
    }

    /// Watches an invoice that was just made.
    pub(crate) fn watch(&self, invoice: &Unsettled) {
        self.watches(invoice).for_each(|watch| watch.add(invoice));
    }

    /// Watches an invoice that may have been paid while nobody watched.
    pub(crate) fn catch_up(&self, invoice: &Unsettled, now_ms: u64) {
        self.watches(invoice).for_each(|watch| watch.catch_up(invoice, now_ms));
    }

    fn watches(&self, invoice: &Unsettled) -> impl Iterator<Item = &Watch> {
        self.homes(invoice.node.as_deref()).filter_map(|member| member.watch.as_ref())
    }

    /// Somebody says that this one is paid. Whether it is one of ours.
    pub(crate) fn hint(&self, hash: &PaymentHash, now_ms: u64) -> bool {
        let watches = self.members.iter().filter_map(|member| member.watch.as_ref());
        watches.filter(|watch| watch.hint(hash, now_ms)).count() > 0
    }

    /// What the nodes' webhooks sign with.
    pub(crate) fn webhook_secrets(&self) -> impl Iterator<Item = &SecretText> {
        self.members.iter().filter_map(|member| member.webhook_secret.as_ref())
    }

    /// It was settled by other means.
    pub(crate) fn forget(&self, hash: &PaymentHash) {
        let watches = self.members.iter().filter_map(|member| member.watch.as_ref());
        watches.for_each(|watch| watch.forget(hash));
    }
}

impl Member {
    fn new(config: &PoolNode, lightning: Lightning, watch: Option<Watch>) -> Self {
        let PoolNode { name, node, weight, services, routes } = config.clone();
        Self {
            name,
            backend: node.word(),
            lightning,
            health: Health::default(),
            watch,
            webhook_secret: node.webhook_secret().cloned(),
            weight,
            services,
            routes,
        }
    }

    async fn make_invoice(
        &self,
        order: &InvoiceOrder,
        patience: Option<Duration>,
        clock: &dyn Clock,
    ) -> Result<CheckedInvoice, MakeError> {
        let making = self.lightning.make_invoice(order, clock.now_s());
        let made = match patience {
            Some(patience) => {
                timeout(patience, making).await.unwrap_or(Err(MakeError::Node(NodeFault::Down)))
            }
            None => making.await,
        };
        let found = match made {
            // Another order may be to its liking.
            Ok(_) | Err(MakeError::Node(NodeFault::Refused)) => Ok(()),
            Err(MakeError::Invoice(_)) => Err(NodeFault::Unreadable),
            Err(MakeError::Node(fault)) => Err(fault),
        };
        // Otherwise the next question brings no less.
        if found.is_err() || self.health.last() == Some(false) {
            self.health.note(found, clock.now_ms());
        }
        made
    }

    /// Whether it answers, asked unless it was heard of a moment ago. The simulated one lives in
    /// this process.
    pub(crate) async fn is_up(&self, now_ms: u64) -> bool {
        self.watch.is_none() || self.health.ask(&*self.lightning.node, now_ms).await.is_ok()
    }
}

/// Whose turn it is: each has as many as its weight, one after the other.
fn chosen(weights: impl Iterator<Item = u64> + Clone, turn: u64) -> Option<usize> {
    let all: u64 = weights.clone().sum();
    let mut ticket = turn.checked_rem(all)?;
    for (at, weight) in weights.enumerate() {
        match ticket.checked_sub(weight) {
            Some(rest) => ticket = rest,
            None => return Some(at),
        }
    }
    None
}

#[cfg(test)]
mod tests;
