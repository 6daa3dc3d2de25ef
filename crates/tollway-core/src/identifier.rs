//! The 66-byte identifier of an L402 token, version 0.
//!
//! `u16 version | payment hash [32] | token id [32]`, big-endian. Clients such as lnget read it
//! and refuse any other layout. The token id is random for everyone else; to us its first four
//! bytes name the master key, so that verification needs no look-up.

use alloc::string::String;
use core::fmt;

use crate::id::KeyId;
use crate::payment::PaymentHash;

/// The length of an encoded identifier.
pub const IDENTIFIER_BYTES: usize = 66;

const VERSION: [u8; 2] = [0, 0];

/// What a token is about: the payment that it proves, and its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identifier {
    /// The payment that must be proven to use the token.
    pub payment_hash: PaymentHash,
    /// The token's own name.
    pub token_id: TokenId,
}

impl Identifier {
    /// The 66 bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; IDENTIFIER_BYTES] {
        let mut bytes = [0; IDENTIFIER_BYTES];
        let parts = VERSION.iter().chain(self.payment_hash.as_bytes()).chain(&self.token_id.0);
        for (slot, byte) in bytes.iter_mut().zip(parts) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads exactly 66 bytes of version 0.
    ///
    /// # Errors
    /// [`IdentifierError`] for another length or version.
    pub fn decode(bytes: &[u8]) -> Result<Self, IdentifierError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(IdentifierError::BadLength)?;
        let (payment_hash, rest) = rest.split_first_chunk().ok_or(IdentifierError::BadLength)?;
        let token_id = rest.try_into().map_err(|_| IdentifierError::BadLength)?;
        if *version != VERSION {
            return Err(IdentifierError::UnknownVersion);
        }
        Ok(Self {
            payment_hash: PaymentHash::from_bytes(*payment_hash),
            token_id: TokenId(token_id),
        })
    }
}

/// Whether these bytes, read as an identifier, are about this payment.
pub(crate) fn names(bytes: &[u8], payment_hash: &PaymentHash) -> bool {
    bytes.strip_prefix(&VERSION).is_some_and(|rest| rest.starts_with(payment_hash.as_bytes()))
}

/// Names one token: the id of its master key, then 28 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId([u8; 32]);

impl TokenId {
    /// A token id for a token of this key; 28 of the random bytes are used.
    #[must_use]
    pub fn new(key_id: KeyId, random: [u8; 32]) -> Self {
        let mut bytes = random;
        for (slot, byte) in bytes.iter_mut().zip(key_id.get().to_be_bytes()) {
            *slot = byte;
        }
        Self(bytes)
    }

    /// A token id of these 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The id of the master key that the token claims to be minted with.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        let [a, b, c, d, ..] = self.0;
        KeyId::new(u32::from_be_bytes([a, b, c, d]))
    }

    /// Lowercase hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex_text::write(&self.0, f)
    }
}

/// Why bytes are not an identifier of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdentifierError {
    /// Not 66 bytes long.
    BadLength,
    /// A version other than 0.
    UnknownVersion,
}

impl fmt::Display for IdentifierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLength => {
                write!(
                    f,
                    "expected an identifier of {IDENTIFIER_BYTES} bytes, but found another length"
                )
            }
            Self::UnknownVersion => {
                f.write_str("expected identifier version 0, but found another version")
            }
        }
    }
}

impl core::error::Error for IdentifierError {}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTIFIER: Identifier = Identifier {
        payment_hash: PaymentHash::from_bytes([0x11; 32]),
        token_id: TokenId::from_bytes([0x22; 32]),
    };

    #[test]
    fn ok_layout_is_version_hash_token_id() {
        let bytes = IDENTIFIER.encode();
        assert_eq!(&bytes[..2], &[0, 0]);
        assert_eq!(&bytes[2..34], &[0x11; 32]);
        assert_eq!(&bytes[34..], &[0x22; 32]);
        assert_eq!(Identifier::decode(&bytes), Ok(IDENTIFIER));
    }

    #[test]
    fn err_other_lengths_and_versions() {
        let bytes = IDENTIFIER.encode();
        for length in [0, 1, 2, 34, 65] {
            assert_eq!(Identifier::decode(&bytes[..length]), Err(IdentifierError::BadLength));
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Identifier::decode(&longer), Err(IdentifierError::BadLength));
        for at in [0, 1] {
            let mut other = bytes;
            other[at] = 1;
            assert_eq!(Identifier::decode(&other), Err(IdentifierError::UnknownVersion));
        }
    }

    #[test]
    fn ok_key_id_rides_in_the_first_four_bytes() {
        let id = TokenId::new(KeyId::new(0x0102_0304), [0xff; 32]);
        assert_eq!(&id.as_bytes()[..5], &[1, 2, 3, 4, 0xff]);
        assert_eq!(id.key_id(), KeyId::new(0x0102_0304));
        assert_eq!(TokenId::new(KeyId::new(u32::MAX), [0; 32]).key_id(), KeyId::new(u32::MAX));
    }
}
