//! Identifiers: keys of the keyring, and holds.

use alloc::borrow::Cow;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;
use crate::hex_text::{self, HexError, eight_hex_digits};

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
        // With constant places and lengths nothing of it is a loop.
        fn put<const N: usize>(text: &mut [u8; 36], at: usize, digits: [u8; N]) {
            if let Some(place) = text.get_mut(at..at + N) {
                place.copy_from_slice(&digits);
            }
        }
        let [t0, t1, t2, t3, t4, t5, v0, v1, r0, r1, r2, r3, r4, r5, r6, r7] = self.0;
        let halves = |bytes| {
            let [a, b, c, d, e, f, g, h] = eight_hex_digits(bytes);
            ([a, b, c, d], [e, f, g, h])
        };
        let ((time, version), (variant, node)) =
            (halves([t4, t5, v0, v1]), halves([r0, r1, r2, r3]));
        let mut text = [b'-'; 36];
        put(&mut text, 0, eight_hex_digits([t0, t1, t2, t3]));
        put(&mut text, 9, time);
        put(&mut text, 14, version);
        put(&mut text, 19, variant);
        put(&mut text, 24, node);
        put(&mut text, 28, eight_hex_digits([r4, r5, r6, r7]));
        text
    }
}

/// Mints the ids of holds. One draw of randomness serves 256 of them, which differ in their last
/// byte: an id is to be the only one of its kind, but it is no secret (RFC 9562, section 6.2).
#[derive(Debug, Default)]
pub struct HoldIds {
    random: [u8; 9],
    next: u8,
}

impl HoldIds {
    /// A new hold id for this moment (Unix time in milliseconds).
    #[must_use]
    pub fn mint(&mut self, now_ms: u64, entropy: &mut Entropy) -> HoldId {
        if self.next == 0 {
            let [a, b, c, d, e, f, g, h, i, ..] = entropy.draw();
            self.random = [a, b, c, d, e, f, g, h, i];
        }
        let [a, b, c, d, e, f, g, h, i] = self.random;
        let id = HoldId::mint(now_ms, [a, b, c, d, e, f, g, h, i, self.next]);
        self.next = self.next.wrapping_add(1);
        id
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
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn ids_carry_time_version_and_variant() {
        let id = HoldId::mint(0x0123_4567_89ab, [0xff; 10]);
        assert_eq!(id.to_string(), "01234567-89ab-7fff-bfff-ffffffffffff");
        assert!(HoldId::mint(1, [0xff; 10]) < HoldId::mint(2, [0; 10]));
    }

    #[test]
    fn no_id_comes_twice_and_all_are_of_their_moment() {
        let mut ids = HoldIds::default();
        let mut entropy = Entropy::from_seed(b"seed");
        let minted: BTreeSet<HoldId> = (0..1_000).map(|_| ids.mint(7, &mut entropy)).collect();
        assert_eq!(minted.len(), 1_000);
        let of_the_draw =
            |id: &HoldId| (id.as_bytes()[..6].to_vec(), id.as_bytes()[6..15].to_vec());
        let draws: BTreeSet<_> = minted.iter().map(of_the_draw).collect();
        assert_eq!(draws.len(), 4);
        assert!(draws.iter().all(|(time, _)| *time == [0, 0, 0, 0, 0, 7]));
        let mut others = HoldIds::default();
        assert!(!minted.contains(&others.mint(7, &mut entropy)), "another root's");
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
