//! Prices that are a share of a number in the request.

use super::field::{Field, Value};
use super::price::{COST_MIN, PricedRequest, Quote};
use super::{PriceFault, PriceProblem};
use crate::decimal::Decimal;
use crate::money::Msat;

/// A share of the amount that a field names, rounded up to a whole msat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Percent {
    /// Where the amount stands.
    pub of: Field,
    /// What one of it is worth.
    pub unit: Msat,
    /// How much of it, in hundredths.
    pub percent: Decimal,
    /// The least.
    pub min: Msat,
    /// The most; without it, whatever is an amount of money.
    pub max: Option<Msat>,
}

impl Percent {
    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let text = match self.of.read(request)? {
            Value::Text(text) => text,
            Value::Absent => return Err(PriceProblem::Missing.of(&self.of)),
            Value::Other => return Err(PriceProblem::Malformed.of(&self.of)),
        };
        let amount = Decimal::parse(&text).ok_or(PriceProblem::Malformed.of(&self.of))?;
        let share = amount
            .checked_mul(self.percent)
            .and_then(|share| share.times_rounded_up(self.unit.get().into(), 100))
            .ok_or(PriceProblem::OutOfRange.of(&self.of))?;
        let most = self.max.unwrap_or(Msat::MAX);
        let cost = match u64::try_from(share).ok().and_then(Msat::new) {
            Some(cost) => cost.max(self.min).max(COST_MIN).min(most),
            None => self.max.ok_or(PriceProblem::OutOfRange.of(&self.of))?,
        };
        Ok(Quote::fixed(cost))
    }
}

#[cfg(test)]
mod tests {
    use super::super::price::tests::request;
    use super::*;

    fn percent(percent: &str, unit: u64, min: u64, max: Option<u64>) -> Percent {
        Percent {
            of: Field::query("amount").unwrap(),
            unit: Msat::new(unit).unwrap(),
            percent: Decimal::parse(percent).unwrap(),
            min: Msat::new(min).unwrap(),
            max: max.map(|msat| Msat::new(msat).unwrap()),
        }
    }

    fn cost(rule: &Percent, query: &str) -> Result<u64, PriceProblem> {
        let quote = rule.quote(&PricedRequest { query: query.as_bytes(), ..request() });
        quote.map(|quote| quote.cost.get()).map_err(|fault| fault.problem)
    }

    #[test]
    fn a_share_is_rounded_up_and_stays_between_its_bounds() {
        let rule = percent("2.5", 1_000, 1_000, Some(50_000));
        for (query, expected) in [
            ("amount=100", Ok(2_500)),
            ("amount=1e2", Ok(2_500)),
            ("amount=100.01", Ok(2_501)),
            ("amount=0", Ok(1_000)),
            ("amount=40", Ok(1_000)),
            ("amount=40.0001", Ok(1_001)),
            ("amount=2000", Ok(50_000)),
            ("amount=2000000000000000", Ok(50_000)),
            ("", Err(PriceProblem::Missing)),
            ("amount=", Err(PriceProblem::Malformed)),
            ("amount=-5", Err(PriceProblem::Malformed)),
            ("amount=%2B5", Err(PriceProblem::Malformed)),
            ("amount=NaN", Err(PriceProblem::Malformed)),
            ("amount=1e999", Err(PriceProblem::Malformed)),
            ("amount=5&amount=6", Err(PriceProblem::Repeated)),
        ] {
            assert_eq!(cost(&rule, query), expected, "{query}");
        }
    }

    #[test]
    fn a_share_that_is_no_amount_of_money_is_refused() {
        let rule = percent("100", 1, 0, None);
        let at_most = Msat::MAX.get();
        assert_eq!(cost(&rule, &alloc::format!("amount={at_most}")), Ok(at_most));
        for amount in ["9007199254740992", "1e24", "999999999999999999999999"] {
            let found = cost(&rule, &alloc::format!("amount={amount}"));
            assert_eq!(found, Err(PriceProblem::OutOfRange), "{amount}");
        }
        assert_eq!(cost(&rule, "amount=0"), Ok(1), "nothing becomes free by arithmetic");
        assert_eq!(cost(&percent("0.0001", 1, 0, None), "amount=1"), Ok(1));
    }
}
