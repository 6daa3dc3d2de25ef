//! Identifiers: keys of the keyring, and holds.

use alloc::borrow::Cow;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::hex_text::{self, HexError};

/// Names a master key of the keyring; it rides in the first four bytes of a token id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(u32);

impl KeyId {
    /// The key id with this number.
    #[must_use]
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a hold. Minted by the filter in UUIDv7 form (RFC 9562, section 5.7), so that ids are
/// ordered by time and the ledger's index grows at one end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HoldId([u8; 16]);

impl HoldId {
    /// A hold id for this moment (Unix time in milliseconds) and these random bytes.
    #[must_use]
    pub const fn mint(now_ms: u64, random: [u8; 10]) -> Self {
        let [_, _, t0, t1, t2, t3, t4, t5] = now_ms.to_be_bytes();
        let [a, b, c, d, e, f, g, h, i, j] = random;
        let version_7 = (a & 0x0f) | 0x70;
        let variant_rfc = (c & 0x3f) | 0x80;
        Self([t0, t1, t2, t3, t4, t5, version_7, b, variant_rfc, d, e, f, g, h, i, j])
    }

    /// A hold id of these 16 bytes, as a store gives them back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads the text form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, either case.
    ///
    /// # Errors
    /// [`HexError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, HexError> {
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        let fault = HexError { expected_digits: 32 };
        let mut digits = [0; 32];
        let mut slots = digits.iter_mut();
        for (at, byte) in text.bytes().enumerate() {
            if HYPHENS.contains(&at) {
                if byte != b'-' {
                    return Err(fault);
                }
            } else {
                *slots.next().ok_or(fault)? = byte;
            }
        }
        if slots.next().is_some() { Err(fault) } else { hex_text::decode(&digits).map(Self) }
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The text form, in one piece: every call of the filter has one or many.
    fn text(&self) -> [u8; 36] {
        let mut digits = [b'0'; 32];
        hex_text::put_digits(&self.0, &mut digits);
        let mut text = [b'-'; 36];
        // Each part stands behind one hyphen more than the one before.
        for (hyphens, part) in [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().enumerate() {
            let place = text.get_mut(part.start + hyphens..part.end + hyphens);
            if let (Some(digits), Some(place)) = (digits.get(part), place) {
                place.copy_from_slice(digits);
            }
        }
        text
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for HoldId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(core::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for HoldId {
    fn deserialize<D: serde::Deserializer<'de>>(de: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(de)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_carry_time_version_and_variant() {
        let id = HoldId::mint(0x0123_4567_89ab, [0xff; 10]);
        assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert!(HoldId::mint(1, [0xff; 10]) < HoldId::mint(2, [0; 10]));
    }

    #[test]
    fn text_round_trips_and_bad_text_is_refused() {
        let id = HoldId::mint(1_700_000_000_000, [9; 10]);
        assert_eq!(HoldId::parse(&id.to_string()), Ok(id));
        assert_eq!(HoldId::parse(&id.to_string().to_uppercase()), Ok(id));
        for bad in
            ["", "0", "01234567-89ab-7fff-bfff-fffffffffff", "01234567089ab-7fff-bfff-ffffffffffff"]
        {
            assert!(HoldId::parse(bad).is_err(), "{bad}");
        }
        assert!(HoldId::parse(&(id.to_string() + "0")).is_err());
    }
}
