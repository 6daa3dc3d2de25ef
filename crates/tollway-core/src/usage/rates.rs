//! What tokens cost.

use super::Usage;
use crate::money::Msat;

/// Rates are per so many tokens.
pub const TOKENS_PER_RATE: u64 = 1_000_000;

/// The price of a model's tokens by class, in msat per [`TOKENS_PER_RATE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of the prompt.
    pub input: Msat,
    /// Of the prompt, read from a cache.
    pub cached: Msat,
    /// Of the prompt, written to a cache.
    pub cache_write: Msat,
    /// Of the answer, shown.
    pub output: Msat,
    /// Of the answer, thought.
    pub reasoning: Msat,
}

impl Rates {
    /// What this usage costs: summed over the classes first, then rounded up once to a whole
    /// msat; at most [`Msat::MAX`].
    ///
    /// ```
    /// use tollway_core::money::Msat;
    /// use tollway_core::usage::{Rates, Usage};
    ///
    /// let (low, high) = (Msat::new(300_000).unwrap(), Msat::new(600_000).unwrap());
    /// let rates =
    ///     Rates { input: low, cached: low, cache_write: low, output: high, reasoning: high };
    /// // 0.3 + 0.6 msat are 1 msat, not 2.
    /// let usage = Usage { input: 1, output: 1, ..Usage::default() };
    /// assert_eq!(rates.cost(&usage), Msat::new(1).unwrap());
    /// ```
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Msat {
        let classes = [
            (usage.input, self.input),
            (usage.cached, self.cached),
            (usage.cache_write, self.cache_write),
            (usage.output, self.output),
            (usage.reasoning, self.reasoning),
        ];
        // Five products of 64 and 53 bits stay far below 128.
        let sum: u128 =
            classes.iter().map(|(tokens, rate)| u128::from(*tokens) * u128::from(rate.get())).sum();
        let msat = u64::try_from(sum.div_ceil(u128::from(TOKENS_PER_RATE))).unwrap_or(u64::MAX);
        Msat::new(msat).unwrap_or(Msat::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn msat(amount: u64) -> Msat {
        Msat::new(amount).unwrap()
    }

    #[test]
    fn the_sum_is_rounded_once_and_up() {
        let rates = |input, output| Rates {
            input: msat(input),
            cached: msat(input),
            cache_write: msat(input),
            output: msat(output),
            reasoning: msat(output),
        };
        let usage = |input, output| Usage { input, output, ..Usage::default() };
        for (rates, usage, expected) in [
            (rates(1_000_000_000, 2_000_000_000), usage(500_000, 500_000), 1_500_000_000),
            (rates(1, 0), usage(1_000, 0), 1),
            (rates(1, 0), usage(3, 0), 1),
            (rates(1, 1), usage(500_000, 500_000), 1),
            (rates(1, 1), usage(500_000, 500_001), 2),
            (rates(0, 0), usage(9, 9), 0),
            (rates(7, 7), usage(0, 0), 0),
            (rates(Msat::MAX.get(), 0), usage(u64::MAX, 0), Msat::MAX.get()),
        ] {
            assert_eq!(rates.cost(&usage), msat(expected), "{rates:?} {usage:?}");
        }
    }
}
