//! Who gets a share of what is paid, and the wallet that pays it.

use serde::Deserialize;
use tollway_core::money::Msat;
use url::Url;

use super::lightning::RawLightning;
use super::node::{LightningConfig, Network, NodeConfig};
use super::webhooks::{check_names, fault};
use super::{ConfigError, Environment, Store};
use crate::{lnurl, outbound};

/// Every receiver is looked after on its own.
const SPLITS_MAX: usize = 16;
/// All of a payment.
const WHOLE: u32 = 10_000;
/// Above it, a share is taken for a mistake, whatever the configuration says.
const SHARE_SATS_MAX: u64 = 10_000_000;
/// LUD-12 has no limit of its own.
const COMMENT_CHARS_MAX: usize = 280;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPayouts {
    max_fee_sats: u64,
    wallet: Option<RawLightning>,
    payment_sessions: bool,
}

impl Default for RawPayouts {
    fn default() -> Self {
        Self { max_fee_sats: 10, wallet: None, payment_sessions: false }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSplit {
    name: String,
    basis_points: u32,
    to: Option<String>,
    wallet: Option<RawLightning>,
    routes: Option<Vec<String>>,
    #[serde(default = "min_sats")]
    min_sats: u64,
    #[serde(default = "max_sats")]
    max_sats: u64,
    comment: Option<String>,
    #[serde(default)]
    allow_private: bool,
}

const fn min_sats() -> u64 {
    10
}

const fn max_sats() -> u64 {
    100_000
}

/// Who gets a share, and the wallet that pays it.
#[derive(Clone, Debug)]
pub struct PayoutsConfig {
    /// The wallet that pays.
    pub wallet: NodeConfig,
    /// Its chain.
    pub network: Network,
    /// What the way may cost for each payout.
    pub fee_max: Msat,
    /// Who gets a share.
    pub splits: Vec<SplitConfig>,
    /// Whether sessions of the scheme `Payment` are sold, whose rest the wallet returns.
    pub payment_sessions: bool,
}

/// One who gets a share.
#[derive(Clone, Debug)]
pub struct SplitConfig {
    /// What logs and the outbox call it.
    pub name: String,
    /// The share, in hundredths of a percent.
    pub basis_points: u32,
    /// Where it goes.
    pub receiver: SplitReceiver,
    /// Of payments for these routes; of all without it.
    pub routes: Option<Vec<String>>,
    /// A smaller share stays with the operator.
    pub min: Msat,
    /// A larger one is taken for a mistake.
    pub max: Msat,
    /// What the receiver reads.
    pub comment: Option<String>,
}

/// Where a share goes.
#[derive(Clone, Debug)]
pub enum SplitReceiver {
    /// A Lightning address or LNURL-pay address.
    Address {
        /// Where its offer is found.
        url: Url,
        /// Whether it may lead into a private network.
        allow_private: bool,
    },
    /// A wallet that makes invoices for us.
    Wallet {
        /// Which one.
        node: NodeConfig,
        /// Its chain.
        network: Network,
    },
}

/// Everything about payouts; `None` where nothing is paid out.
pub(super) fn resolve(
    raw: &RawPayouts,
    splits: &[RawSplit],
    lightning: &LightningConfig,
    store: &Store,
    env: Environment<'_>,
) -> Result<Option<PayoutsConfig>, ConfigError> {
    let payment_sessions = raw.payment_sessions;
    if splits.is_empty() && !payment_sessions {
        return Ok(None);
    }
    if payment_sessions && !splits.is_empty() {
        let problem = "splits share a deposit that goes back to its payer in part".to_owned();
        return Err(fault("payouts.payment_sessions", problem, "have either of the two"));
    }
    let own = raw.wallet.as_ref().map(|wallet| wallet_of("payouts.wallet", wallet, store, env));
    let (wallet, network) = match (own.transpose()?, lightning.nodes.as_slice()) {
        (Some(own), _) => own,
        (None, [only]) => (only.node.clone(), lightning.network),
        (None, _) => {
            let problem = "there are several nodes, and it does not say which one pays".to_owned();
            return Err(fault("payouts.wallet", problem, "name the one that pays"));
        }
    };
    if matches!(wallet, NodeConfig::Cln(_) | NodeConfig::Btcpay(_) | NodeConfig::Nwc(_)) {
        let problem = format!("tollwayd cannot pay with {}", wallet.word());
        let remedy = "name an lnd, lnbits or phoenixd in payouts.wallet";
        return Err(fault("payouts.wallet", problem, remedy));
    }
    if payment_sessions && matches!(wallet, NodeConfig::Lnbits(_)) {
        let problem = "LNbits pays no invoice without an amount".to_owned();
        let remedy = "name an lnd or phoenixd in payouts.wallet";
        return Err(fault("payouts.payment_sessions", problem, remedy));
    }
    if payment_sessions && network != lightning.network {
        let problem = "the wallet is on another chain than [lightning]".to_owned();
        return Err(fault("payouts.payment_sessions", problem, "name one on the same chain"));
    }
    let fee_max = sats("payouts.max_fee_sats", raw.max_fee_sats)?;
    let splits: Vec<_> =
        splits.iter().map(|split| split.resolve(network, store, env)).collect::<Result<_, _>>()?;
    check_names("splits.name", splits.iter().map(|it| it.name.as_str()), SPLITS_MAX)?;
    check_sums(&splits)?;
    Ok(Some(PayoutsConfig { wallet, network, fee_max, splits, payment_sessions }))
}

/// No payment is given away more than once.
fn check_sums(splits: &[SplitConfig]) -> Result<(), ConfigError> {
    let named = splits.iter().flat_map(|split| split.routes.iter().flatten()).map(Some);
    for route in named.chain([None]) {
        let all: u32 = splits.iter().filter(|it| it.is_of(route)).map(|it| it.basis_points).sum();
        if all > WHOLE {
            let of = route.map_or("any route".to_owned(), |route| format!("route {route:?}"));
            let problem = format!("the shares of {of} are {all} basis points in all");
            return Err(fault("splits.basis_points", problem, "10000 is everything"));
        }
    }
    Ok(())
}

impl SplitConfig {
    fn is_of(&self, route: Option<&String>) -> bool {
        self.routes.as_ref().is_none_or(|routes| route.is_some_and(|it| routes.contains(it)))
    }
}

impl RawSplit {
    fn resolve(
        &self,
        network: Network,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<SplitConfig, ConfigError> {
        if !(1..=WHOLE).contains(&self.basis_points) {
            let problem = format!("expected 1 to {WHOLE}, but found {}", self.basis_points);
            return Err(fault("splits.basis_points", problem, "200 is two percent"));
        }
        if self.min_sats == 0 || self.min_sats > self.max_sats || self.max_sats > SHARE_SATS_MAX {
            let (min, max) = (self.min_sats, self.max_sats);
            let problem = format!(
                "expected 1 <= min_sats <= max_sats <= {SHARE_SATS_MAX}, but found {min} and {max}"
            );
            return Err(fault("splits.max_sats", problem, "10 and 100000 are a good start"));
        }
        let comment = self.comment.as_ref().filter(|it| it.chars().count() > COMMENT_CHARS_MAX);
        if comment.is_some() {
            let problem = format!("expected at most {COMMENT_CHARS_MAX} characters");
            return Err(fault("splits.comment", problem, "shorten it"));
        }
        Ok(SplitConfig {
            name: self.name.clone(),
            basis_points: self.basis_points,
            receiver: self.receiver(network, store, env)?,
            routes: self.routes.clone(),
            min: sats("splits.min_sats", self.min_sats)?,
            max: sats("splits.max_sats", self.max_sats)?,
            comment: self.comment.clone(),
        })
    }

    fn receiver(
        &self,
        paying: Network,
        store: &Store,
        env: Environment<'_>,
    ) -> Result<SplitReceiver, ConfigError> {
        let remedy = "write to = \"name@example.com\", or the node that makes its invoices";
        match (&self.to, &self.wallet) {
            (Some(to), None) => {
                let allow_private = self.allow_private;
                let url = lnurl::address_url(to).or_else(|| Url::parse(to).ok());
                let refused = |refusal: outbound::Refusal| {
                    fault("splits.to", format!("{:?}: {refusal}", self.name), remedy)
                };
                let url = url.ok_or_else(|| refused(outbound::Refusal::Malformed))?;
                outbound::check(&url, allow_private).map_err(refused)?;
                Ok(SplitReceiver::Address { url, allow_private })
            }
            (None, Some(wallet)) => {
                let (node, network) = wallet_of("splits.wallet", wallet, store, env)?;
                if matches!(node, NodeConfig::Simulated { .. }) || network != paying {
                    let problem = format!("{:?}: expected a node on the payer's chain", self.name);
                    return Err(fault("splits.wallet", problem, remedy));
                }
                Ok(SplitReceiver::Wallet { node, network })
            }
            _ => {
                let problem = format!("{:?}: expected either to or wallet", self.name);
                Err(fault("splits.to", problem, remedy))
            }
        }
    }
}

fn sats(field: &'static str, sats: u64) -> Result<Msat, ConfigError> {
    let problem = || format!("expected an amount of sats, but found {sats}");
    Msat::from_sats(sats).ok_or_else(|| fault(field, problem(), "write a smaller one"))
}

/// A wallet, which no variable of `[lightning]` turns into another.
fn wallet_of(
    field: &'static str,
    wallet: &RawLightning,
    store: &Store,
    env: Environment<'_>,
) -> Result<(NodeConfig, Network), ConfigError> {
    let own = |name: &str| env(name).filter(|_| !name.starts_with("TOLLWAYD_"));
    match wallet.resolve_one(store, &own) {
        Ok(found) => Ok(found),
        Err(ConfigError::Value { field: of, problem, remedy }) => {
            Err(fault(field, format!("{of}: {problem}"), &remedy))
        }
        Err(other) => Err(other),
    }
}
