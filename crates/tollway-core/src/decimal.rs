//! Decimal numbers as clients and operators write them, exactly: no floating point.

use core::cmp::Ordering;

/// The most digits that are read, leading zeros apart: what fits 128 bits with room to multiply.
const DIGITS_MAX: usize = 24;
/// The largest exponent of ten that is read, in either direction.
const EXPONENT_MAX: i32 = 24;

/// A decimal number that is not negative: `digits` times ten to the power of `-scale`.
///
/// Two are equal when they are the same number: `1.50`, `1.5` and `15e-1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// Not divisible by ten, unless the scale is zero.
    digits: u128,
    scale: u32,
}

impl Decimal {
    /// Reads digits, with a point and an exponent where they are, as in JSON; leading zeros too.
    /// `None` for anything else: a sign, `NaN`, white space, a number of too many digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, self::exponent(exponent)?),
            None => (text, 0),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) {
            return None;
        }
        let whole = whole.trim_start_matches('0');
        let part = part.trim_end_matches('0');
        if whole.len().checked_add(part.len())? > DIGITS_MAX {
            return None;
        }
        let digits = whole.bytes().chain(part.bytes()).try_fold(0_u128, |number, digit| {
            number.checked_mul(10)?.checked_add(u128::from(digit - b'0'))
        })?;
        let scale = i32::try_from(part.len()).ok()?.checked_sub(exponent)?;
        match u32::try_from(scale) {
            Ok(scale) => Some(Self { digits, scale }.reduced()),
            Err(_) => {
                let digits = digits.checked_mul(10_u128.checked_pow(scale.unsigned_abs())?)?;
                Some(Self { digits, scale: 0 })
            }
        }
    }

    /// The number times `numerator` by `denominator`, rounded up to a whole one; `None` where that
    /// does not fit.
    #[must_use]
    pub fn times_rounded_up(self, numerator: u128, denominator: u128) -> Option<u128> {
        let divisor = 10_u128.checked_pow(self.scale)?.checked_mul(denominator)?;
        if divisor == 0 {
            return None;
        }
        Some(self.digits.checked_mul(numerator)?.div_ceil(divisor))
    }

    /// The number times `numerator` by another number, rounded up to a whole one; `None` where that
    /// does not fit, or the other one is zero.
    #[must_use]
    pub fn ratio_rounded_up(self, numerator: u128, by: Self) -> Option<u128> {
        let numerator = numerator.checked_mul(10_u128.checked_pow(by.scale)?)?;
        self.times_rounded_up(numerator, by.digits)
    }

    /// The product; `None` where it does not fit.
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let digits = self.digits.checked_mul(other.digits)?;
        Some(Self { digits, scale: self.scale.checked_add(other.scale)? }.reduced())
    }

    /// The number, if it is a whole one.
    #[must_use]
    pub fn whole(self) -> Option<u128> {
        (self.scale == 0).then_some(self.digits)
    }

    /// Whether the number is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.digits == 0
    }

    fn reduced(mut self) -> Self {
        while self.scale > 0 && self.digits.is_multiple_of(10) {
            self.digits /= 10;
            self.scale -= 1;
        }
        self
    }
}

fn exponent(text: &str) -> Option<i32> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let size: i32 = digits.parse().ok()?;
    match size.cmp(&EXPONENT_MAX) {
        Ordering::Greater => None,
        _ if text.starts_with('-') => Some(-size),
        _ => Some(size),
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn decimal(text: &str) -> Decimal {
        Decimal::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn one_number_in_many_spellings() {
        for spellings in [
            &["10", "10.0", "1e1", "1E+1", "100e-1", "0010", "10.000"][..],
            &["1.5", "1.50", "15e-1", "0.15e1", "01.5"],
            &["0", "0.0", "0e5", "000", "0e-5"],
        ] {
            for spelling in spellings {
                assert_eq!(decimal(spelling), decimal(spellings[0]), "{spelling}");
            }
        }
        assert_ne!(decimal("10"), decimal("1"));
        assert_ne!(decimal("0.1"), decimal("0.01"));
    }

    #[test]
    fn what_is_no_plain_number_is_refused() {
        for text in [
            "",
            " ",
            "-1",
            "+1",
            "1.",
            ".5",
            ".",
            "1,5",
            "1 ",
            " 1",
            "0x10",
            "1_000",
            "NaN",
            "inf",
            "Infinity",
            "1e",
            "1e+",
            "e5",
            "1e5.5",
            "1e25",
            "1e-25",
            "1e999999999999",
            "1.2.3",
            "1e1e1",
            "\u{661}",
            "1\0",
        ] {
            assert_eq!(Decimal::parse(text), None, "{text:?}");
        }
        assert!(Decimal::parse(&"9".repeat(DIGITS_MAX)).is_some());
        assert_eq!(Decimal::parse(&"9".repeat(DIGITS_MAX + 1)), None);
        assert!(Decimal::parse(&format!("{}7.5", "0".repeat(1_000))).is_some());
    }

    #[test]
    fn products_round_up_once() {
        for (text, numerator, denominator, expected) in [
            ("2.5", 1_000, 100, Some(25)),
            ("0.001", 1, 1, Some(1)),
            ("0", 1_000, 1, Some(0)),
            ("3", 1, 3, Some(1)),
            ("1", 1, 3, Some(1)),
            ("1e24", u128::MAX, 1, None),
            ("1", 1, 0, None),
        ] {
            let product = decimal(text).times_rounded_up(numerator, denominator);
            assert_eq!(product, expected, "{text} * {numerator} / {denominator}");
        }
        assert_eq!(decimal("2.5").checked_mul(decimal("0.4")), Some(decimal("1")));
        assert_eq!(decimal("1e24").checked_mul(decimal("1e24")).map(|_| ()), None);
        assert!(decimal("0.0").is_zero() && !decimal("0.1").is_zero());
    }
}
