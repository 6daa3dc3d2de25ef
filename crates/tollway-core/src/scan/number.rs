//! Numbers, byte by byte.

use super::Found;

/// More digits are not an integer that anything here counts; 10^15 still leaves room to multiply
/// by a price.
const DIGITS_MAX: u8 = 15;

/// Where in the grammar of numbers the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

/// A number that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number {
    part: Part,
    value: u64,
    digits: u8,
    integer: bool,
}

impl Number {
    /// Begins with this byte, if a number can.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        let part = match byte {
            b'-' => Part::Minus,
            b'0' => Part::Zero,
            b'1'..=b'9' => Part::Whole,
            _ => return None,
        };
        let value = u64::from(byte.wrapping_sub(b'0')) % 10;
        Some(Self { part, value, digits: 1, integer: byte != b'-' })
    }

    /// The number with this byte, or `None` if it does not belong to it.
    pub(super) fn with(mut self, byte: u8) -> Option<Self> {
        self.part = match (self.part, byte) {
            (Part::Minus, b'0') => Part::Zero,
            (Part::Minus, b'1'..=b'9') => Part::Whole,
            (Part::Whole, b'0'..=b'9') => {
                self.integer &= self.digits < DIGITS_MAX;
                self.digits = self.digits.saturating_add(1);
                let digit = u64::from(byte.wrapping_sub(b'0'));
                self.value = self.value.wrapping_mul(10).wrapping_add(digit);
                Part::Whole
            }
            (Part::Zero | Part::Whole, b'.') => Part::Point,
            (Part::Point | Part::Fraction, b'0'..=b'9') => Part::Fraction,
            (Part::Zero | Part::Whole | Part::Fraction, b'e' | b'E') => Part::Exponent,
            (Part::Exponent, b'+' | b'-') => Part::Sign,
            (Part::Exponent | Part::Sign | Part::Power, b'0'..=b'9') => Part::Power,
            _ => return None,
        };
        self.integer &= matches!(self.part, Part::Zero | Part::Whole);
        Some(self)
    }

    /// The number, or `None` if something must follow.
    pub(super) fn end(self) -> Option<Found<'static>> {
        match self.part {
            Part::Minus | Part::Point | Part::Exponent | Part::Sign => None,
            _ if self.integer => Some(Found::Integer(self.value)),
            _ => Some(Found::Number),
        }
    }
}
