//! Rates of exchange: what a bitcoin costs in other money, and for how long that holds.
//!
//! Amounts are decimal text on both sides and never floating point. A price is reckoned when the
//! request comes, rounded up to a millisatoshi; without a rate that still holds there is none.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::decimal::Decimal;
use crate::money::Msat;

/// How many millisatoshi a bitcoin has.
const MSAT_PER_BITCOIN: u128 = 100_000_000_000;

/// A currency, by the three capital letters of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The currency with this code, or `None` for another text than three capital letters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let code: [u8; 3] = text.as_bytes().try_into().ok()?;
        code.iter().all(u8::is_ascii_uppercase).then_some(Self(code))
    }

    /// Its code.
    #[must_use]
    pub fn code(&self) -> &str {
        // Only letters are ever put in.
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount of other money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fiat {
    /// How much, in the currency's main unit.
    pub amount: Decimal,
    /// Of what.
    pub currency: Currency,
}

/// What a bitcoin costs in one currency, as `tollwayd` tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateReply {
    /// The currency's code.
    pub currency: String,
    /// The price of one bitcoin, in decimal digits.
    pub per_bitcoin: String,
    /// From when it must not be used any more, Unix time in seconds.
    pub expires_at: u64,
}

/// The rates that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates(Vec<Rate>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    currency: Currency,
    per_bitcoin: Decimal,
    expires_at: u64,
}

impl Rates {
    /// No rates at all.
    pub const NONE: Self = Self(Vec::new());

    /// Reads what `tollwayd` tells; `None` if a rate cannot be read, or is zero.
    #[must_use]
    pub fn from_reply(reply: &[RateReply]) -> Option<Self> {
        let mut rates = Vec::new();
        for RateReply { currency, per_bitcoin, expires_at } in reply {
            let currency = Currency::parse(currency)?;
            let per_bitcoin = Decimal::parse(per_bitcoin).filter(|price| !price.is_zero())?;
            rates.push(Rate { currency, per_bitcoin, expires_at: *expires_at });
        }
        Some(Self(rates))
    }

    /// What an amount is now, rounded up.
    ///
    /// # Errors
    /// [`NoRate`].
    pub fn msat(&self, fiat: Fiat, now_s: u64) -> Result<Msat, NoRate> {
        let rate = self.0.iter().find(|rate| rate.currency == fiat.currency);
        let rate = rate.filter(|rate| now_s < rate.expires_at).ok_or(NoRate::Unknown)?;
        let msat = fiat.amount.ratio_rounded_up(MSAT_PER_BITCOIN, rate.per_bitcoin);
        let msat = msat.and_then(|msat| Msat::new(msat.try_into().ok()?));
        msat.ok_or(NoRate::OutOfRange)
    }
}

/// Why an amount cannot be told in millisatoshi.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRate {
    /// There is no rate for its currency, or it no longer holds.
    Unknown,
    /// It is more than there can be.
    OutOfRange,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(per_bitcoin: &str) -> Option<Rates> {
        let [currency, per_bitcoin] = ["USD", per_bitcoin].map(String::from);
        Rates::from_reply(&[RateReply { currency, per_bitcoin, expires_at: 100 }])
    }

    fn fiat(amount: &str, currency: &str) -> Fiat {
        let amount = Decimal::parse(amount).unwrap();
        Fiat { amount, currency: Currency::parse(currency).unwrap() }
    }

    #[test]
    fn amounts_are_exact_and_rounded_up_to_a_millisatoshi() {
        for (per_bitcoin, amount, msat) in [
            ("100000", "0.001", 1_000),
            ("100000.00", "1", 1_000_000),
            ("64123.45", "0.002", 3_119),
            ("64123.45", "64123.45", 100_000_000_000),
            ("3", "1", 33_333_333_334),
            ("1e5", "1e-3", 1_000),
            ("0.5", "0.000000000001", 1),
            ("99999999", "0.0000000001", 1),
        ] {
            let found = rates(per_bitcoin).unwrap().msat(fiat(amount, "USD"), 99);
            assert_eq!(found, Ok(Msat::new(msat).unwrap()), "{amount} at {per_bitcoin}");
        }
    }

    #[test]
    fn err_without_a_rate_that_holds() {
        let rates = rates("100000").unwrap();
        assert_eq!(rates.msat(fiat("1", "EUR"), 99), Err(NoRate::Unknown));
        assert_eq!(rates.msat(fiat("1", "USD"), 100), Err(NoRate::Unknown));
        assert_eq!(Rates::NONE.msat(fiat("1", "USD"), 0), Err(NoRate::Unknown));
        assert_eq!(rates.msat(fiat("1e23", "USD"), 0), Err(NoRate::OutOfRange));
    }

    #[test]
    fn err_what_is_no_rate() {
        for per_bitcoin in ["", "0", "0.00", "-1", "NaN", "1,5"] {
            assert_eq!(rates(per_bitcoin), None, "{per_bitcoin}");
        }
        for code in ["", "US", "usd", "USDT", "U$D"] {
            assert_eq!(Currency::parse(code), None, "{code}");
        }
    }
}
