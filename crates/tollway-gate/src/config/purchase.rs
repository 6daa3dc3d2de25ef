//! How much credit one invoice sells.

use core::fmt;

use tollway_core::money::Msat;

use super::reader::{ConfigError, Node};
use super::terms::PRICE_SATS_MAX;

/// The most a client may choose to buy at once where the configuration does not say: a limit for
/// the harm that one mistyped header can do.
const MAX_SATS_DEFAULT: u64 = 1_000_000;
/// The most steps of a volume bonus.
const BONUS_STEPS_MAX: usize = 16;
/// The highest bonus.
const BONUS_PERCENT_MAX: u64 = 1_000;

/// How much credit one invoice sells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// What is sold to a client that does not choose.
    pub default: Msat,
    /// The least that is sold.
    pub min: Msat,
    /// The most that a client may choose.
    pub max: Msat,
    /// What is added to larger purchases, in rising order.
    pub bonus: Vec<Bonus>,
}

/// A step of the volume bonus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bonus {
    /// The smallest purchase that gets it.
    pub from: Msat,
    /// What is added, in hundredths of the purchase.
    pub add_percent: u32,
}

/// A purchase that a client chose and that is not sold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurchaseFault {
    /// The least that is sold for this request, in sats.
    pub min_sats: u64,
    /// The most, in sats.
    pub max_sats: u64,
}

impl fmt::Display for PurchaseFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min_sats, max_sats } = self;
        write!(
            f,
            "expected one x-toll-purchase-sats with an integer from {min_sats} to {max_sats}, but \
             found something else; choose an amount in this range or leave the header out"
        )
    }
}

/// Whatever the request costs.
impl Default for Purchase {
    fn default() -> Self {
        let max = Msat::from_sats(MAX_SATS_DEFAULT).unwrap_or(Msat::MAX);
        Self { default: Msat::ZERO, min: Msat::ZERO, max, bonus: Vec::new() }
    }
}

impl Purchase {
    /// Exactly the price, rounded up to whole sats.
    #[must_use]
    pub fn of_price(price: Msat) -> Self {
        // Above the largest amount there is no whole sat to round up to; ask for what there is.
        let amount = price.rounded_up_to_sat().unwrap_or(price);
        Self { default: amount, min: amount, max: amount, bonus: Vec::new() }
    }

    /// What the invoice for a request of this price asks: what the client chose, or the default;
    /// whole sats, and never less than the price.
    ///
    /// # Errors
    /// [`PurchaseFault`] if `chosen` is no number of sats between the least, which is at least
    /// the price, and the most, which is at least the price too.
    pub fn amount(&self, price: Msat, chosen: Option<&[u8]>) -> Result<Msat, PurchaseFault> {
        let price = Self::of_price(price).default;
        let Some(chosen) = chosen else { return Ok(self.default.max(self.min).max(price)) };
        let (min, max) = (self.min.max(price), self.max.max(price));
        core::str::from_utf8(chosen)
            .ok()
            // Digits only: Rust's own reading would let a plus sign pass.
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|text| Msat::from_sats(text.parse().ok()?))
            .filter(|amount| (min..=max).contains(amount) && *amount > Msat::ZERO)
            .ok_or(PurchaseFault {
                min_sats: min.to_sats_rounded_up().max(1),
                max_sats: max.to_sats_rounded_up(),
            })
    }

    /// The credit that this amount buys: the amount and its bonus, which is rounded up to whole
    /// msat, in the customer's favour.
    #[must_use]
    pub fn credit(&self, amount: Msat) -> Msat {
        let step = self.bonus.iter().rev().find(|step| step.from <= amount);
        step.and_then(|step| amount.percent_rounded_up(step.add_percent))
            .and_then(|bonus| amount.checked_add(bonus))
            .unwrap_or(amount)
    }

    pub(super) fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let fields = node.object(&["default_sats", "min_sats", "max_sats", "bonus"])?;
        let default = fields.sats("default_sats", PRICE_SATS_MAX)?;
        let min = fields.sats("min_sats", PRICE_SATS_MAX)?;
        let max = match fields.sats("max_sats", PRICE_SATS_MAX)? {
            Msat::ZERO => Self::default().max.max(default).max(min),
            max => max,
        };
        let [default_sats, min_sats, max_sats] = [default, min, max].map(Msat::to_sats_rounded_up);
        if min > max {
            return Err(fields.problem(format!(
                "expected min_sats of at most max_sats, but found {min_sats} above {max_sats}; \
                 change one of the two"
            )));
        }
        if default > Msat::ZERO && !(min..=max).contains(&default) {
            return Err(fields.problem(format!(
                "expected default_sats from {} to {max_sats}, but found {default_sats}; change it \
                 or the limits",
                min_sats.max(1)
            )));
        }
        let mut bonus: Vec<Bonus> = Vec::new();
        for node in fields.optional("bonus").map_or(Ok(vec![]), |b| b.items(BONUS_STEPS_MAX))? {
            let step = Bonus::read(&node)?;
            if bonus.last().is_some_and(|before| before.from >= step.from) {
                return Err(node.problem(
                    "expected a from_sats above the one before, but found less; sort the steps"
                        .to_owned(),
                ));
            }
            bonus.push(step);
        }
        Ok(Self { default, min, max, bonus })
    }
}

impl Bonus {
    fn read(node: &Node<'_>) -> Result<Self, ConfigError> {
        let fields = node.object(&["from_sats", "add_percent"])?;
        let from = fields.required("from_sats", "write from which purchase on it is given")?;
        let add = fields.required("add_percent", "write how much is added")?;
        let from = Msat::from_sats(from.integer(1, PRICE_SATS_MAX)?).unwrap_or(Msat::MAX);
        // The range fits 32 bits.
        let add_percent = u32::try_from(add.integer(1, BONUS_PERCENT_MAX)?).unwrap_or(u32::MAX);
        Ok(Self { from, add_percent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sats(sats: u64) -> Msat {
        Msat::from_sats(sats).unwrap()
    }

    fn purchase() -> Purchase {
        let step = |from, add_percent| Bonus { from: sats(from), add_percent };
        Purchase {
            default: sats(100),
            min: sats(10),
            max: sats(1_000),
            bonus: vec![step(100, 1), step(500, 10)],
        }
    }

    #[test]
    fn the_client_chooses_within_the_limits_and_never_below_the_price() {
        let purchase = purchase();
        for (price_msat, chosen, expected) in [
            (5_000, None, Ok(100)),
            (500_500, None, Ok(501)),
            (5_000, Some("10"), Ok(10)),
            (5_000, Some("1000"), Ok(1_000)),
            (5_000, Some("0010"), Ok(10)),
            (5_000, Some("9"), Err((10, 1_000))),
            (5_000, Some("1001"), Err((10, 1_000))),
            (10_001, Some("10"), Err((11, 1_000))),
            (10_001, Some("11"), Ok(11)),
            // A price above the most that clients choose can still be paid.
            (2_000_000, Some("2000"), Ok(2_000)),
            (2_000_000, Some("2001"), Err((2_000, 2_000))),
            (5_000, Some(""), Err((10, 1_000))),
            (5_000, Some("+20"), Err((10, 1_000))),
            (5_000, Some("-20"), Err((10, 1_000))),
            (5_000, Some("20.5"), Err((10, 1_000))),
            (5_000, Some("20 "), Err((10, 1_000))),
            (5_000, Some("1e2"), Err((10, 1_000))),
            (5_000, Some("99999999999999999999999"), Err((10, 1_000))),
            (5_000, Some("18446744073709551615"), Err((10, 1_000))),
        ] {
            let price = Msat::new(price_msat).unwrap();
            let amount = purchase.amount(price, chosen.map(str::as_bytes));
            let expected = expected
                .map(sats)
                .map_err(|(min_sats, max_sats)| PurchaseFault { min_sats, max_sats });
            assert_eq!(amount, expected, "{price_msat} {chosen:?}");
        }
        let zero = Purchase::default().amount(Msat::ZERO, Some(b"0")).unwrap_err();
        assert_eq!(zero, PurchaseFault { min_sats: 1, max_sats: 1_000_000 });
    }

    #[test]
    fn the_bonus_is_the_last_step_that_is_reached_and_rounds_up() {
        let mut purchase = purchase();
        for (amount_msat, credit_msat) in [
            (99_999, 99_999),
            (100_000, 101_000),
            (100_001, 101_002),
            (499_999, 504_999),
            (500_000, 550_000),
        ] {
            let credit = purchase.credit(Msat::new(amount_msat).unwrap());
            assert_eq!(credit.get(), credit_msat, "{amount_msat}");
        }
        assert_eq!(purchase.credit(Msat::MAX), Msat::MAX, "never above the largest amount");
        purchase.bonus.clear();
        assert_eq!(purchase.credit(sats(500)), sats(500));
    }
}
