//! Caveats that the operator has written into new tokens, such as `plan = pro`.
//!
//! Anyone can append a caveat, so that one stands in a token says nothing of who wrote it. The
//! identifier, with which a token's signature begins, therefore holds a hash of those that it was
//! minted with: the last 16 bytes of the token id. A caveat outside the vocabulary counts if all
//! that stand in the token are those; one that somebody added refuses the token.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::caveat::{Caveat, CaveatError};
use crate::digest::Digest;
use crate::identifier::{IDENTIFIER_BYTES, Identifier, TokenId};

/// The most of one token.
pub const MINTED_MAX: usize = 8;
/// The longest name, in bytes: it becomes a part of a header's name.
pub const MINTED_NAME_BYTES_MAX: usize = 32;
/// The longest value, in bytes.
pub const MINTED_VALUE_BYTES_MAX: usize = 128;

/// The end of the identifier that holds the hash.
const SEAL_BYTES: usize = 16;
const HEAD_BYTES: usize = IDENTIFIER_BYTES - SEAL_BYTES;

/// A caveat that the operator wrote. Its text is `name = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintedCaveat {
    name: String,
    value: String,
}

impl MintedCaveat {
    /// A caveat of this name, 1 to [`MINTED_NAME_BYTES_MAX`] of `a-z`, `0-9` and `-`, and none of
    /// the vocabulary's; and this value, 1 to [`MINTED_VALUE_BYTES_MAX`] bytes of visible ASCII,
    /// with spaces between. `None` for any other.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Option<Self> {
        let in_name = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        let in_value = |byte: u8| matches!(byte, b' '..=b'~');
        let proper = (1..=MINTED_NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(in_name)
            && (1..=MINTED_VALUE_BYTES_MAX).contains(&value.len())
            && value.bytes().all(in_value)
            && value.trim_matches(' ') == value;
        let caveat = Self { name: name.into(), value: value.into() };
        let text = alloc::format!("{caveat}");
        let free = Caveat::parse(text.as_bytes()) == Err(CaveatError::Unknown);
        (proper && free).then_some(caveat)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let at = bytes.windows(3).position(|part| part == b" = ")?;
        let (name, value) = bytes.split_at_checked(at)?;
        let text = |bytes| core::str::from_utf8(bytes).ok();
        Self::new(text(name)?, text(value.get(3..)?)?)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for MintedCaveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.name, " = ", &self.value] {
            f.write_str(part)?;
        }
        Ok(())
    }
}

/// The caveats that a genuine token of this identifier was minted with, beside the vocabulary's.
/// Where somebody has added another, none count.
#[must_use]
pub fn minted<'a>(identifier: &[u8], caveats: impl Iterator<Item = &'a [u8]>) -> Vec<MintedCaveat> {
    let unknown = caveats.filter(|bytes| Caveat::parse(bytes) == Err(CaveatError::Unknown));
    let read: Option<Vec<_>> = unknown.map(MintedCaveat::parse).collect();
    let sealed = |all: &Vec<MintedCaveat>| {
        let (head, end) = identifier.split_at_checked(HEAD_BYTES).unwrap_or_default();
        all.len() <= MINTED_MAX
            && end.len() == SEAL_BYTES
            && seal(head, all).as_bytes().starts_with(end)
    };
    read.filter(|all| !all.is_empty() && sealed(all)).unwrap_or_default()
}

/// The identifier of a token that is minted with these caveats.
pub(crate) fn sealed(identifier: Identifier, caveats: &[MintedCaveat]) -> Identifier {
    if caveats.is_empty() {
        return identifier;
    }
    let bytes = identifier.encode();
    let seal = seal(bytes.get(..HEAD_BYTES).unwrap_or_default(), caveats);
    let mut id = *identifier.token_id.as_bytes();
    let end = id.iter_mut().rev().take(SEAL_BYTES).rev();
    end.zip(seal.as_bytes()).for_each(|(to, from)| *to = *from);
    Identifier { token_id: TokenId::from_bytes(id), ..identifier }
}

fn seal(head: &[u8], caveats: &[MintedCaveat]) -> Digest {
    let mut parts: Vec<&[u8]> = Vec::from([&b"tollway minted caveats"[..], head]);
    for MintedCaveat { name, value } in caveats {
        parts.extend([name.as_bytes(), value.as_bytes()]);
    }
    Digest::of(&parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::KeyId;
    use crate::payment::PaymentHash;

    fn caveat(name: &str, value: &str) -> MintedCaveat {
        MintedCaveat::new(name, value).unwrap()
    }

    fn identifier(byte: u8) -> Identifier {
        let token_id = TokenId::new(KeyId::new(7), [byte; 32]);
        Identifier { payment_hash: PaymentHash::from_bytes([byte; 32]), token_id }
    }

    #[test]
    fn names_and_values_that_are_not_ours_to_give_are_refused() {
        for (name, value) in [
            ("", "x"),
            ("plan", ""),
            ("Plan", "x"),
            ("pl_an", "x"),
            ("plan", " x"),
            ("plan", "x "),
            ("plan", "x\n"),
            ("plan", "\u{e9}"),
            ("method", "GET"),
            ("method", "two words"),
            ("services", "x:0"),
            ("budget", "x"),
            (&"n".repeat(33), "x"),
            ("plan", &"v".repeat(129)),
        ] {
            assert_eq!(MintedCaveat::new(name, value), None, "{name} = {value}");
        }
        assert!(MintedCaveat::new(&"n".repeat(32), &"v".repeat(128)).is_some());
        assert!(MintedCaveat::new("plan", "a = b").is_some());
    }

    #[test]
    fn only_what_a_token_was_minted_with_counts() {
        let all = [caveat("plan", "pro"), caveat("region", "eu = west")];
        let of = |identifier: Identifier, caveats: &[&str]| {
            minted(&identifier.encode(), caveats.iter().map(|text| text.as_bytes()))
        };
        let sealed_with_all = sealed(identifier(1), &all);
        assert_eq!(sealed_with_all.token_id.key_id(), KeyId::new(7));
        let texts = ["services=api:0", "plan = pro", "region = eu = west", "method=GET"];
        assert_eq!(of(sealed_with_all, &texts), all);
        for texts in [
            &["plan = pro"][..],
            &["region = eu = west", "plan = pro"],
            &["plan = pro", "region = eu = west", "role = admin"],
            &["plan = pro", "region = eu = west", "role=admin"],
            &["plan = pro", "region = eu = west", "plan = pro"],
            &["plan = basic", "region = eu = west"],
            &["plan=pro", "region = eu = west"],
            &[],
        ] {
            assert_eq!(of(sealed_with_all, texts), [], "{texts:?}");
        }
        // Of a token that was minted without any, or for another payment.
        let texts = ["plan = pro", "region = eu = west"];
        assert_eq!(of(identifier(1), &texts), []);
        let moved =
            Identifier { payment_hash: PaymentHash::from_bytes([2; 32]), ..sealed_with_all };
        assert_eq!(of(moved, &texts), []);
    }
}
