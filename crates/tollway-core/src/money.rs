//! Money: integer millisatoshi, checked arithmetic, named rounding.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Millisatoshi in one satoshi.
pub const MSAT_PER_SAT: u64 = 1_000;

/// An amount in millisatoshi (1 sat = 1000 msat), never negative.
///
/// The largest value is [`Msat::MAX`], 2^53 - 1: every JSON reader, and Envoy's own `Struct`
/// configuration with its double-precision numbers, carries it without loss.
///
/// ```
/// use tollway_core::money::Msat;
///
/// let price = Msat::from_sats(5).unwrap();
/// assert_eq!(price.get(), 5_000);
/// assert_eq!(price.checked_add(Msat::new(1).unwrap()).unwrap().to_sats_rounded_up(), 6);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Msat(u64);

impl Msat {
    /// The largest amount, 2^53 - 1 msat (about 90,000 BTC).
    pub const MAX: Self = Self((1 << 53) - 1);
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// An amount of `msat` millisatoshi, or `None` above [`Msat::MAX`].
    #[must_use]
    pub const fn new(msat: u64) -> Option<Self> {
        if msat <= Self::MAX.0 { Some(Self(msat)) } else { None }
    }

    /// An amount of `sats` satoshi, or `None` above [`Msat::MAX`].
    #[must_use]
    pub const fn from_sats(sats: u64) -> Option<Self> {
        match sats.checked_mul(MSAT_PER_SAT) {
            Some(msat) => Self::new(msat),
            None => None,
        }
    }

    /// The number of millisatoshi.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole satoshi, rounded up: what must be asked so that the amount is covered.
    #[must_use]
    pub const fn to_sats_rounded_up(self) -> u64 {
        self.0.div_ceil(MSAT_PER_SAT)
    }

    /// The amount rounded up to whole satoshi, or `None` above [`Msat::MAX`].
    #[must_use]
    pub const fn rounded_up_to_sat(self) -> Option<Self> {
        Self::from_sats(self.to_sats_rounded_up())
    }

    /// The sum, or `None` above [`Msat::MAX`].
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        // Two values below 2^53 cannot overflow a u64.
        Self::new(self.0 + other.0)
    }

    /// The difference, or `None` below zero.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(msat) => Some(Self(msat)),
            None => None,
        }
    }

    /// `percent` hundredths of the amount, rounded up to a whole msat, or `None` above
    /// [`Msat::MAX`].
    #[must_use]
    pub const fn percent_rounded_up(self, percent: u32) -> Option<Self> {
        // 53 bits times 32 fit 128 many times over.
        let hundredths = self.0 as u128 * percent as u128;
        let msat = hundredths.div_ceil(100);
        if msat <= Self::MAX.0 as u128 { Some(Self(msat as u64)) } else { None }
    }
}

impl<'de> Deserialize<'de> for Msat {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let msat = u64::deserialize(deserializer)?;
        Self::new(msat).ok_or_else(|| {
            serde::de::Error::custom(format_args!("expected at most {} msat", Self::MAX.0))
        })
    }
}

impl fmt::Display for Msat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} msat", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_amounts_above_the_largest() {
        assert_eq!(Msat::new(u64::MAX), None);
        assert_eq!(Msat::new(Msat::MAX.get() + 1), None);
        assert_eq!(Msat::new(Msat::MAX.get()), Some(Msat::MAX));
        assert_eq!(Msat::from_sats(u64::MAX), None);
        assert_eq!(Msat::MAX.checked_add(Msat(1)), None);
    }

    #[test]
    fn never_goes_below_zero() {
        assert_eq!(Msat::ZERO.checked_sub(Msat(1)), None);
        assert_eq!(Msat(7).checked_sub(Msat(7)), Some(Msat::ZERO));
    }

    #[test]
    fn rounds_sats_up() {
        for (msat, sats) in [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2)] {
            assert_eq!(Msat(msat).to_sats_rounded_up(), sats, "{msat} msat");
        }
    }

    #[test]
    fn percentages_round_up() {
        for (msat, percent, expected) in
            [(1_000, 10, 100), (1_001, 10, 101), (1, 1, 1), (0, 50, 0), (7, 0, 0), (3, 1_000, 30)]
        {
            let expected = Msat::new(expected);
            assert_eq!(Msat(msat).percent_rounded_up(percent), expected, "{percent} % of {msat}");
        }
        assert_eq!(Msat::MAX.percent_rounded_up(100), Some(Msat::MAX));
        assert_eq!(Msat::MAX.percent_rounded_up(101), None);
        assert_eq!(Msat::MAX.percent_rounded_up(u32::MAX), None);
    }

    #[test]
    fn json_is_a_checked_integer() {
        assert_eq!(serde_json::from_str::<Msat>("21000").unwrap(), Msat(21_000));
        for bad in ["-1", "1.5", "\"5\"", "9007199254740992", "1e400"] {
            assert!(serde_json::from_str::<Msat>(bad).is_err(), "{bad}");
        }
    }
}
