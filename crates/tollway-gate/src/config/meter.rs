//! What a request turns out to cost, where that shows only with its response.

use tollway_core::money::Msat;

use super::reader::{ConfigError, Node, Object};

/// Rates of bytes are per so many.
const BYTES_PER_RATE: u64 = 1_000_000;
/// The longest name of a header, in bytes.
const HEADER_BYTES_MAX: usize = 64;

/// How the actual cost of a route's requests is found. Its price is the estimate that is set
/// aside, and what is charged where the actual cost stays unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    /// What tells the cost.
    pub by: MeterBy,
    /// The most that is charged; `None` for the estimate itself.
    pub max: Option<Msat>,
}

/// What tells the actual cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeterBy {
    /// The upstream, in a response header of this name.
    Header(String),
    /// What passes.
    Passing(Passing),
}

/// Rates for what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passing {
    /// For the request as such.
    base: Msat,
    /// Per million bytes of the response's body.
    response_mb: Msat,
    /// Per started second.
    second: Msat,
}

impl Passing {
    /// What so many bytes of response in so much time cost: summed first, then rounded up once to
    /// a whole msat. Every request starts its first second.
    #[must_use]
    pub fn cost(&self, response_bytes: u64, elapsed_ms: u64) -> Msat {
        let bytes = u128::from(response_bytes) * u128::from(self.response_mb.get());
        let seconds = u128::from(elapsed_ms.div_ceil(1_000).max(1));
        let whole = u128::from(self.base.get()) + seconds * u128::from(self.second.get());
        let sum = whole + bytes.div_ceil(u128::from(BYTES_PER_RATE));
        Msat::new(u64::try_from(sum).unwrap_or(u64::MAX)).unwrap_or(Msat::MAX)
    }
}

impl Meter {
    /// The amount, but never more than the route allows for this estimate.
    #[must_use]
    pub fn bounded(&self, amount: Msat, estimate: Msat) -> Msat {
        amount.min(self.max.unwrap_or(estimate))
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let fields =
            node.object(&["header", "base_msat", "response_mb_msat", "second_msat", "max_msat"])?;
        let max = match fields.optional("max_msat") {
            Some(node) => Some(amount(&node, 1)?),
            None => None,
        };
        let by = match fields.optional("header") {
            Some(node) => {
                if ["base_msat", "response_mb_msat", "second_msat"]
                    .iter()
                    .any(|name| fields.optional(name).is_some())
                {
                    return Err(fields.problem(
                        "expected a header or rates, but found both; keep one of them".to_owned(),
                    ));
                }
                MeterBy::Header(header(&node)?)
            }
            None => MeterBy::Passing(passing(&fields)?),
        };
        Ok(Self { by, max })
    }
}

fn passing(fields: &Object<'_>) -> Result<Passing, ConfigError> {
    let rate = |name| match fields.optional(name) {
        Some(node) => amount(&node, 0),
        None => Ok(Msat::ZERO),
    };
    let passing = Passing {
        base: rate("base_msat")?,
        response_mb: rate("response_mb_msat")?,
        second: rate("second_msat")?,
    };
    if passing.response_mb == Msat::ZERO && passing.second == Msat::ZERO {
        return Err(fields.problem(
            "expected what tells the cost, but found nothing; write \"header\", \
             response_mb_msat or second_msat"
                .to_owned(),
        ));
    }
    Ok(passing)
}

fn amount(node: &Node<'_>, min: u64) -> Result<Msat, ConfigError> {
    // The range never leaves what an amount can be.
    node.integer(min, Msat::MAX.get()).map(|msat| Msat::new(msat).unwrap_or(Msat::MAX))
}

fn header(node: &Node<'_>) -> Result<String, ConfigError> {
    const EXPECTED: &str = "a header such as \"x-toll-actual-cost-msat\"";
    let name = node.text(EXPECTED)?;
    let proper = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=HEADER_BYTES_MAX).contains(&name.len()) && name.bytes().all(proper) {
        Ok(name.to_owned())
    } else {
        Err(node.fault(EXPECTED, "use a-z, 0-9 and \"-\"; it is taken off the response"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_summed_and_rounded_up_once() {
        let msat = |amount| Msat::new(amount).unwrap();
        let passing = |base, response_mb, second| Passing {
            base: msat(base),
            response_mb: msat(response_mb),
            second: msat(second),
        };
        for (rates, bytes, elapsed_ms, expected) in [
            (passing(100, 500, 10), 0, 0, 110),
            (passing(100, 500, 10), 1, 1_000, 111),
            (passing(100, 500, 10), 2_000, 1_001, 121),
            (passing(100, 500, 10), 2_001, 1_001, 122),
            (passing(0, 500, 0), 100_000_000, 0, 50_000),
            (passing(0, Msat::MAX.get(), 0), u64::MAX, u64::MAX, Msat::MAX.get()),
        ] {
            assert_eq!(rates.cost(bytes, elapsed_ms), msat(expected), "{rates:?} {bytes}");
        }
    }
}
