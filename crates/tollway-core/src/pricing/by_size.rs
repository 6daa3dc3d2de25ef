//! Prices by how much a client sends.

use core::num::NonZeroU64;

use super::price::{BodyNeed, COST_MIN, Price, PricedRequest, Quote};
use super::{PriceFault, PriceProblem};
use crate::money::Msat;

/// So much money for so many units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How much.
    pub amount: Msat,
    /// For how many.
    pub per: NonZeroU64,
}

impl Rate {
    /// What so many units cost, in proportion and rounded up to a whole msat; `None` for what is
    /// no amount of money.
    #[must_use]
    pub fn of(self, units: u64) -> Option<Msat> {
        // Twice 64 bits fit 128.
        let msat = u128::from(units) * u128::from(self.amount.get());
        u64::try_from(msat.div_ceil(self.per.get().into())).ok().and_then(Msat::new)
    }
}

/// A price for the request, and one for the bytes of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BySize {
    /// What it costs without a body.
    pub base: Price,
    /// What its body costs besides.
    pub request: Rate,
}

impl BySize {
    pub(super) fn body_need(&self) -> BodyNeed {
        self.base.body_need().max(BodyNeed::Length)
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let Quote { cost: base, .. } = self.base.quote(request)?;
        let sent = self.request.of(request.body_bytes);
        let cost = sent.and_then(|sent| base.checked_add(sent)).ok_or(PriceProblem::OutOfRange)?;
        Ok(Quote::fixed(cost.max(COST_MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::price::tests::{fixed, request};
    use super::*;

    fn rate(msat: u64, per: u64) -> Rate {
        Rate { amount: Msat::new(msat).unwrap(), per: NonZeroU64::new(per).unwrap() }
    }

    #[test]
    fn units_cost_in_proportion_and_round_up() {
        for (rate, units, expected) in [
            (rate(10, 1_024), 0, Some(0)),
            (rate(10, 1_024), 1, Some(1)),
            (rate(10, 1_024), 1_024, Some(10)),
            (rate(10, 1_024), 1_025, Some(11)),
            (rate(10, 1_024), 102_400, Some(1_000)),
            (rate(1, 1), Msat::MAX.get(), Some(Msat::MAX.get())),
            (rate(1, 1), Msat::MAX.get() + 1, None),
            (rate(Msat::MAX.get(), 1), u64::MAX, None),
            (rate(1, u64::MAX), u64::MAX, Some(1)),
        ] {
            assert_eq!(rate.of(units).map(Msat::get), expected, "{rate:?} * {units}");
        }
    }

    #[test]
    fn a_body_costs_by_its_length() {
        let sized = |base| BySize { base, request: rate(1_000, 1_000) };
        for (base, body_bytes, expected) in [
            (fixed(5_000), 0, Ok(5_000)),
            (fixed(5_000), 1, Ok(5_001)),
            (fixed(5_000), 3_500, Ok(8_500)),
            (Price::Free, 7, Ok(7)),
            (Price::Free, 0, Ok(1)),
            (Price::Denied, 7, Err(PriceProblem::NotSold)),
            (fixed(5_000), u64::MAX, Err(PriceProblem::OutOfRange)),
        ] {
            let rule = sized(base);
            assert_eq!(rule.body_need(), BodyNeed::Length);
            let quote = rule.quote(&PricedRequest { body_bytes, ..request() });
            let found = quote.map(|quote| quote.cost.get()).map_err(|fault| fault.problem);
            assert_eq!(found, expected, "{rule:?} {body_bytes}");
        }
    }
}
