//! Leases: which routes spend from one, and how much credit it may set aside.

use tollway_core::money::Msat;
use tollway_core::pricing::Price;
use tollway_core::wire::HOLD_TTL_MS_MAX;

use super::reader::{ConfigError, Node, Object};
use super::terms::{Mode, PRICE_SATS_MAX, Route};

/// The longest time in which requests are admitted on one grant.
pub(super) const LEASE_TTL_S_MAX: u64 = 3_600;

/// How the requests of a route are paid from their account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spend {
    /// Each with a hold of its own, which tollwayd grants before the request goes on.
    Exact,
    /// From a hold that many requests share, without a call.
    Leased {
        /// The most credit that it may have.
        max: Msat,
        /// A dearer request has a hold of its own all the same.
        exact_above: Msat,
    },
}

/// What a service says for its routes, or a route for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseTerms {
    leased: bool,
    max: Option<Msat>,
    exact_above: Option<Msat>,
}

impl LeaseTerms {
    /// Reads the fields that are there; the others are as inherited.
    pub(super) fn read(fields: &Object<'_>, inherited: Self) -> Result<Self, ConfigError> {
        let mut terms = inherited;
        if let Some(node) = fields.optional("spend") {
            terms.leased = is_leased(&node)?;
        }
        let sats = |name| match fields.sats(name, PRICE_SATS_MAX)? {
            Msat::ZERO => Ok(None),
            amount => Ok(Some(amount)),
        };
        terms.max = sats("lease_max_sats")?.or(terms.max);
        terms.exact_above = sats("exact_above_sats")?.or(terms.exact_above);
        Ok(terms)
    }

    /// How the requests of this route are paid. Only a route that says so itself must be able to
    /// spend from a lease; one that its service says it for stays exact if it cannot.
    pub(super) fn spend(self, fields: &Object<'_>, route: &Route) -> Result<Spend, ConfigError> {
        if matches!(route.price, Price::Free | Price::Denied) {
            return Ok(Spend::Exact);
        }
        // The least that is known; the price of a rule is judged request by request.
        let price = match route.price {
            Price::Fixed(price) => price,
            _ => Msat::ZERO,
        };
        let own = fields.optional("spend").filter(|_| self.leased);
        if route.meter.is_some() {
            return match own {
                // A lease hands out amounts that are known; what was held and not spent would
                // lie idle in it, and what was spent above would be another request's.
                Some(node) => {
                    Err(node.fault("\"exact\" on a route with a meter", "leave the field out"))
                }
                None => Ok(Spend::Exact),
            };
        }
        if route.mode != Mode::Credits {
            return match own {
                Some(node) => Err(node.fault(
                    "\"exact\" on a route whose mode is not \"credits\"",
                    "leave the field out",
                )),
                None => Ok(Spend::Exact),
            };
        }
        if !self.leased || self.exact_above.is_some_and(|most| price > most) {
            return Ok(Spend::Exact);
        }
        let Some(max) = self.max else {
            let remedy = "write how much credit of one customer may be set aside here at once; \
                          so much of it you can lose when Envoy dies";
            return Err(fields.missing("lease_max_sats", remedy));
        };
        if price > max {
            return match own {
                Some(node) => Err(node.problem(format!(
                    "expected a lease_max_sats of at least the price, {}, but found {}; raise it \
                     or write \"exact\"",
                    price.to_sats_rounded_up(),
                    max.to_sats_rounded_up(),
                ))),
                None => Ok(Spend::Exact),
            };
        }
        let longest_ms = HOLD_TTL_MS_MAX - LEASE_TTL_S_MAX * 1_000;
        if route.hold_ttl_ms > longest_ms {
            return Err(fields.problem(format!(
                "expected a hold_ttl_s of at most {} on a leased route, but found {}; shorten it \
                 or write \"spend\": \"exact\"",
                longest_ms / 1_000,
                route.hold_ttl_ms / 1_000,
            )));
        }
        let exact_above = self.exact_above.unwrap_or(Msat::MAX).min(max);
        Ok(Spend::Leased { max, exact_above })
    }
}

fn is_leased(node: &Node<'_>) -> Result<bool, ConfigError> {
    const EXPECTED: &str = "\"exact\" or \"leased\"";
    match node.text(EXPECTED)? {
        "exact" => Ok(false),
        "leased" => Ok(true),
        _ => Err(node.fault(EXPECTED, "write one of the two")),
    }
}
