//! Fixed-size byte strings as hexadecimal text.

use core::fmt;

/// Text that is not the expected number of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexError {
    /// How many digits were expected.
    pub expected_digits: usize,
}

impl fmt::Display for HexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} hexadecimal digits", self.expected_digits)
    }
}

impl core::error::Error for HexError {}

/// Reads exactly `2 * N` hexadecimal digits, either case. `N` is a multiple of four.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Result<[u8; N], HexError> {
    const { assert!(N.is_multiple_of(4), "read by fours") };
    let fault = HexError { expected_digits: 2 * N };
    if text.len() != 2 * N {
        return Err(fault);
    }
    let mut bytes = [0; N];
    let places = bytes.as_chunks_mut::<4>().0;
    for (digits, place) in text.as_chunks::<8>().0.iter().zip(places) {
        *place = four_bytes(*digits).ok_or(fault)?;
    }
    Ok(bytes)
}

/// The four bytes of eight hexadecimal digits, all at once; `None` if one of them is no digit.
const fn four_bytes(digits: [u8; 8]) -> Option<[u8; 4]> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * EACH;
    let text = u64::from_be_bytes(digits);
    // Letters of either case have the bit of 64, digits have not.
    let is_letter = (text >> 6) & EACH;
    let lower = text | (0x20 * is_letter);
    // Whether each is as high as the lowest of its kind and as low as the highest. The high bit is
    // set before anything is taken away, so that no byte borrows from the next; it stays if so.
    let least = b'0' as u64 * EACH + is_letter * (b'a' - b'0') as u64;
    let most = b'9' as u64 * EACH + is_letter * (b'f' - b'9') as u64;
    let above = (lower | HIGH) - least;
    let below = (most | HIGH) - (lower & !HIGH);
    if text & HIGH != 0 || above & below & HIGH != HIGH {
        return None;
    }
    let mut nibbles = (lower & (0x0f * EACH)) + is_letter * 9;
    // Nibbles move together until they fill half of the word.
    nibbles = (nibbles >> 4 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles >> 8 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles >> 16 | nibbles) & 0x0000_0000_ffff_ffff;
    Some((nibbles as u32).to_be_bytes())
}

/// The 64 lowercase hexadecimal digits of 32 bytes, kept in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexDigits([u8; 64]);

impl HexDigits {
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let mut digits = [b'0'; 64];
        put_digits(bytes, &mut digits);
        Self(digits)
    }

    /// The digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Puts the lowercase digits of whole fours of bytes in their place.
pub(crate) fn put_digits(bytes: &[u8], digits: &mut [u8]) {
    for (bytes, digits) in bytes.as_chunks::<4>().0.iter().zip(digits.as_chunks_mut::<8>().0) {
        *digits = eight_hex_digits(*bytes);
    }
}

/// The lowercase hexadecimal digits of four bytes, all at once: every paid request names its
/// account twice, and every row of a report its hold.
///
/// ```
/// assert_eq!(&tollway_core::eight_hex_digits([0x00, 0x9a, 0xff, 0x1e]), b"009aff1e");
/// ```
#[must_use]
pub const fn eight_hex_digits(bytes: [u8; 4]) -> [u8; 8] {
    const EACH: u64 = 0x0101_0101_0101_0101;
    // Nibbles move apart until each has a byte of the word.
    let mut nibbles = u32::from_be_bytes(bytes) as u64;
    nibbles = (nibbles << 16 | nibbles) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles << 8 | nibbles) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles << 4 | nibbles) & 0x0f0f_0f0f_0f0f_0f0f;
    // One where the nibble is above 9. No byte overflows: at most 15 + 6, 15 + '0' + 39.
    let letters = (nibbles + 6 * EACH) >> 4 & EACH;
    let to_letters = (b'a' - b'0' - 10) as u64;
    (nibbles + b'0' as u64 * EACH + letters * to_letters).to_be_bytes()
}

/// Writes lowercase hexadecimal digits.
pub(crate) fn write(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Gives a 32-byte newtype its constructors and its JSON form, a string of hexadecimal digits.
macro_rules! hex_bytes {
    ($name:ident) => {
        impl $name {
            /// A value of these 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Reads 64 hexadecimal digits, either case.
            ///
            /// # Errors
            /// [`HexError`](crate::HexError) for any other text; it never repeats the text.
            pub fn from_hex(text: &[u8]) -> Result<Self, crate::HexError> {
                crate::hex_text::decode(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(crate::HexDigits::of(&self.0).as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
                let text = alloc::borrow::Cow::<str>::deserialize(de)?;
                $name::from_hex(text.as_bytes()).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use hex_bytes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_has_its_digits() {
        for first in 0..=u8::MAX {
            let bytes: [u8; 32] = core::array::from_fn(|at| first.wrapping_add(at as u8));
            assert_eq!(HexDigits::of(&bytes).as_str(), hex::encode(bytes));
            assert_eq!(decode(hex::encode(bytes).as_bytes()), Ok(bytes));
            assert_eq!(decode(hex::encode_upper(bytes).as_bytes()), Ok(bytes));
        }
    }

    #[test]
    fn every_byte_at_every_place_is_a_digit_as_the_package_says() {
        for byte in 0..=u8::MAX {
            for around in [b'0', b'9', b'a', b'f', b'A', b'F', 0, 0xff] {
                for at in 0..8 {
                    let mut digits = [around; 8];
                    digits[at] = byte;
                    let mut expected = [0; 4];
                    let expected =
                        hex::decode_to_slice(digits, &mut expected).ok().map(|()| expected);
                    assert_eq!(four_bytes(digits), expected, "{digits:?}");
                }
            }
        }
    }

    #[test]
    fn another_number_of_digits_is_refused() {
        let fault = HexError { expected_digits: 8 };
        for text in ["", "0", "0011223", "001122334", "0011223344556677"] {
            assert_eq!(decode::<4>(text.as_bytes()), Err(fault));
        }
    }
}
