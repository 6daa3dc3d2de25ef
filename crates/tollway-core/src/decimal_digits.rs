//! Numbers as text without an allocation: every paid request writes five of them.

/// The most digits of a `u64`.
const DIGITS_MAX: usize = 20;

/// A number's decimal digits.
#[derive(Clone, Copy, Debug)]
pub struct DecimalDigits {
    /// The digits stand at the end.
    text: [u8; DIGITS_MAX],
    start: usize,
}

impl DecimalDigits {
    /// The digits of this number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let mut text = [b'0'; DIGITS_MAX];
        let mut start = DIGITS_MAX;
        let mut rest = number;
        for place in text.iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            start -= 1;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        Self { text, start }
    }

    /// The digits as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(self.start..).unwrap_or_default()
    }

    /// The digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn numbers_read_as_the_standard_library_writes_them() {
        for number in [0, 1, 9, 10, 99, 100, 5_000, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            assert_eq!(DecimalDigits::of(number).as_str(), number.to_string());
        }
    }
}
