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

/// Reads exactly `2 * N` hexadecimal digits, either case.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Result<[u8; N], HexError> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map(|()| bytes)
        .map_err(|_| HexError { expected_digits: 2 * N })
}

/// The 64 lowercase hexadecimal digits of 32 bytes, kept in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HexDigits([u8; 64]);

impl HexDigits {
    pub(crate) fn of(bytes: &[u8; 32]) -> Self {
        let mut digits = [b'0'; 64];
        // 32 bytes have 64 digits, so this cannot fail.
        let _ = hex::encode_to_slice(bytes, &mut digits);
        Self(digits)
    }

    /// The digits as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or_default()
    }
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
