//! Several Lightning nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use tollway_core::wire::ROUTE_NAME_BYTES_MAX;

use super::{RawLightning, value};
use crate::config::node::{LightningConfig, Network, PoolNode};
use crate::config::webhooks::check_names;
use crate::config::{ConfigError, Environment, Store};

/// Half of what the filter waits by default.
pub(super) const FAILOVER_AFTER: Duration = Duration::from_secs(1);
const FAILOVER_AFTER_MS: std::ops::RangeInclusive<u64> = 50..=10_000;
/// Each is followed, and asked how it is.
const NODES_MAX: usize = 16;
const WEIGHT_MAX: u32 = 1_000;
/// Services, or routes, of a node.
const NAMES_MAX: usize = 1_000;

impl RawLightning {
    /// What only makes sense beside other nodes is a mistake without them.
    pub(super) fn check_is_one(&self) -> Result<(), ConfigError> {
        let named = [
            ("lightning.nodes", !self.nodes.is_empty()),
            ("lightning.name", self.name.is_some()),
            ("lightning.weight", self.weight.is_some()),
            ("lightning.services", !self.services.is_empty()),
            ("lightning.routes", !self.routes.is_empty()),
            ("lightning.failover_after_ms", self.failover_after_ms.is_some()),
        ];
        let Some((field, _)) = named.into_iter().find(|(_, is_there)| *is_there) else {
            return Ok(());
        };
        let remedy = "remove it, or write one [[lightning.nodes]] for each node";
        Err(value(field, "only a node among several has it, and this is one", remedy))
    }

    pub(super) fn resolve_pool(
        mut self,
        invoice_expiry_s: u64,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<LightningConfig, ConfigError> {
        let remedy = "move it into the [[lightning.nodes]] that it belongs to";
        let nodes = std::mem::take(&mut self.nodes);
        let failover_after = self.failover_after()?;
        if let Some(field) = self.left() {
            return Err(value(field, "it is set, beside lightning.nodes", remedy));
        }
        self.check_is_one()?;
        let names = nodes.iter().map(|node| node.name.as_deref().unwrap_or_default());
        check_names("lightning.nodes.name", names, NODES_MAX)?;
        let network = self.network.unwrap_or(Network::Bitcoin);
        let resolve = |node: RawLightning| node.resolve_member(network, store, env);
        let nodes = nodes.into_iter().map(resolve).collect::<Result<_, _>>()?;
        Ok(LightningConfig { nodes, network, invoice_expiry_s, failover_after })
    }

    fn failover_after(&mut self) -> Result<Duration, ConfigError> {
        let Some(given) = self.failover_after_ms.take() else { return Ok(FAILOVER_AFTER) };
        if FAILOVER_AFTER_MS.contains(&given) {
            return Ok(Duration::from_millis(given));
        }
        let (least, most) = (FAILOVER_AFTER_MS.start(), FAILOVER_AFTER_MS.end());
        let problem = format!("expected {least} to {most}, but found {given}");
        Err(value("lightning.failover_after_ms", &problem, "1000 is a good start"))
    }

    fn resolve_member(
        mut self,
        network: Network,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<PoolNode, ConfigError> {
        let name = self.name.take();
        let fault = |field: &str, problem: &str, remedy: &str| {
            let of = name.as_deref().unwrap_or_default();
            value("lightning.nodes", &format!("{of:?}: {field}: {problem}"), remedy)
        };
        if self.network.is_some() || self.invoice_expiry_s.is_some() {
            let problem = "all nodes have the same network and invoice_expiry_s";
            return Err(fault("network", problem, "move it into [lightning]"));
        }
        if self.is_simulated() {
            let problem = "the simulated node stands alone";
            return Err(fault("backend", problem, "name a real one"));
        }
        let weight = self.weight.take().unwrap_or(1);
        if weight > WEIGHT_MAX {
            let problem = format!("expected 0 to {WEIGHT_MAX}, but found {weight}");
            return Err(fault("weight", &problem, "0 only stands in for others"));
        }
        let (services, routes) =
            (std::mem::take(&mut self.services), std::mem::take(&mut self.routes));
        if !(are_names(&services) && are_names(&routes)) {
            let problem = format!("expected at most {NAMES_MAX} names as the filter has them");
            return Err(fault("services", &problem, "write the names of its configuration"));
        }
        self.network = Some(network);
        match self.resolve_one(store, env) {
            Ok((node, _network)) => Ok(PoolNode { name, node, weight, services, routes }),
            Err(ConfigError::Value { field, problem, remedy }) => {
                Err(fault(field, &problem, &remedy))
            }
            Err(other) => Err(other),
        }
    }
}

fn are_names(names: &BTreeSet<String>) -> bool {
    let fits = |name: &String| (1..=ROUTE_NAME_BYTES_MAX).contains(&name.len());
    names.len() <= NAMES_MAX && names.iter().all(fits)
}
