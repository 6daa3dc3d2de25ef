//! Tiers: what kind of customer an account belongs to, as the operator says.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest name of a tier, in bytes.
pub const TIER_BYTES_MAX: usize = 24;

/// The tier of an account: 1 to [`TIER_BYTES_MAX`] of `a-z`, `0-9`, `_` and `-`, or none.
///
/// Only the operator gives one; what a client says of itself is never a tier.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tier {
    /// Zeros behind the name.
    bytes: [u8; TIER_BYTES_MAX],
}

impl Tier {
    /// That of an account which was given none.
    pub const NONE: Self = Self { bytes: [0; TIER_BYTES_MAX] };

    /// The tier of this name; the empty one is [`Tier::NONE`], and no other text is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let proper = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        if text.len() > TIER_BYTES_MAX || !text.bytes().all(proper) {
            return None;
        }
        let mut tier = Self::NONE;
        tier.bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        Some(tier)
    }

    /// Its name; empty for none.
    #[must_use]
    pub fn name(&self) -> &str {
        let length = self.bytes.iter().position(|byte| *byte == 0).unwrap_or(TIER_BYTES_MAX);
        let name = self.bytes.get(..length).unwrap_or_default();
        // Only such names are ever put in.
        core::str::from_utf8(name).unwrap_or_default()
    }

    /// Whether the account was given none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

impl fmt::Debug for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.name())
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::string::String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format_args!(
                "expected a tier of up to {TIER_BYTES_MAX} of a-z, 0-9, _ and -, but found other \
                 text"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_and_other_text_is_none() {
        for name in ["", "gold", "a", "tier-2_b", &"x".repeat(TIER_BYTES_MAX)] {
            let tier = Tier::parse(name).unwrap();
            assert_eq!((tier.name(), tier.is_none()), (name, name.is_empty()));
            let json = serde_json::to_string(&tier).unwrap();
            assert_eq!(serde_json::from_str::<Tier>(&json).unwrap(), tier);
        }
        for text in ["Gold", "a b", "\0", "g\u{e9}", "a\0", &"x".repeat(TIER_BYTES_MAX + 1)] {
            assert_eq!(Tier::parse(text), None, "{text:?}");
            let json = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Tier>(&json).is_err());
        }
    }
}
