//! Payment hash and preimage: the two halves of a Lightning payment's proof (BOLT 11, BOLT 4).

use alloc::string::String;
use core::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::hex_text::{self, HexDigits, hex_bytes};

/// SHA-256 of a [`Preimage`]; public, it names the invoice and the account the invoice opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentHash([u8; 32]);

impl PaymentHash {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Lowercase hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.hex_digits().as_str().into()
    }

    /// The same digits without an allocation, for what happens on every request.
    #[must_use]
    pub fn hex_digits(&self) -> HexDigits {
        HexDigits::of(&self.0)
    }
}

impl fmt::Debug for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_text::write(&self.0, f)
    }
}

impl fmt::Display for PaymentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex_text::write(&self.0, f)
    }
}

hex_bytes!(PaymentHash);

/// The 32 secret bytes that prove a payment. `Debug` never shows them and there is no `Display`.
///
/// Equality is constant time.
#[derive(Clone)]
pub struct Preimage([u8; 32]);

impl Preimage {
    /// SHA-256 of the preimage.
    #[must_use]
    pub fn payment_hash(&self) -> PaymentHash {
        PaymentHash(Sha256::digest(self.0).into())
    }

    /// Whether this preimage proves the payment of `hash`; constant time.
    #[must_use]
    pub fn proves(&self, hash: &PaymentHash) -> bool {
        self.payment_hash().0.ct_eq(&hash.0).into()
    }

    /// The secret as lowercase hexadecimal digits, for the one place that must send it.
    #[must_use]
    pub fn reveal_hex(&self) -> String {
        HexDigits::of(&self.0).as_str().into()
    }
}

impl PartialEq for Preimage {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Preimage {}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(redacted)")
    }
}

hex_bytes!(Preimage);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HexError;

    const HASH: &[u8] = b"425ed4e4a36b30ea21b90e21c712c649e8214c29b7eaf68089d1039c6e55384c";

    #[test]
    fn a_preimage_proves_its_hash_and_no_other() {
        let preimage = Preimage::from_bytes([0x42; 32]);
        let hash = PaymentHash::from_hex(HASH).unwrap();
        assert!(preimage.proves(&hash));
        assert!(!Preimage::from_bytes([0x43; 32]).proves(&hash));
    }

    #[test]
    fn hex_takes_either_case_and_exactly_64_digits() {
        assert!(Preimage::from_hex(&[b'A'; 64]).is_ok());
        assert!(Preimage::from_hex(&[b'a'; 64]).is_ok());
        for bad in [&[b'a'; 63][..], &[b'a'; 65], &[b'g'; 64], b"", &[0xff; 64]] {
            assert_eq!(Preimage::from_hex(bad), Err(HexError { expected_digits: 64 }));
        }
    }

    #[test]
    fn digits_are_the_same_with_and_without_an_allocation() {
        let hash = PaymentHash::from_hex(HASH).unwrap();
        assert_eq!(hash.hex_digits().as_str().as_bytes(), HASH);
        assert_eq!(hash.to_hex().as_bytes(), HASH);
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = alloc::format!("{:?}", Preimage::from_bytes([0x42; 32]));
        assert_eq!(shown, "Preimage(redacted)");
    }
}
