//! Macaroons: bearer tokens that anyone can narrow and nobody can widen.
//!
//! The libmacaroons construction with HMAC-SHA256: the signature over the identifier is the key
//! of the signature over the first caveat, and so on, so a holder can append a caveat without
//! any key, but can never take one away. First-party caveats only: no L402 client sends a
//! discharge, so a token that would need one is refused when it is decoded.
//!
//! What a caveat means is not decided here but in [`crate::caveat`].

mod v2;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::secret::{RootKey, hmac_sha256};

/// The longest binary token. Ours have about 200 bytes and a long-lived agent's attenuations
/// some hundred more; Envoy's default limit for all request headers together is 60 KiB.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The most caveats in one token. Each costs one HMAC before anything is known to be genuine.
pub const CAVEATS_MAX: usize = 64;

/// A macaroon, genuine or not: only [`Macaroon::verify`] tells.
///
/// Equality is not constant time: it compares what one client sent with what it sent beside.
#[derive(Clone, PartialEq, Eq)]
pub struct Macaroon {
    /// Empty for none. Not covered by the signature, therefore never trusted.
    location: String,
    identifier: Vec<u8>,
    caveats: Vec<Vec<u8>>,
    signature: [u8; 32],
}

impl Macaroon {
    /// A new token without caveats. An empty location is left out of the token.
    ///
    /// Location and identifier must leave room within [`TOKEN_BYTES_MAX`], or no verifier of
    /// ours will read the token.
    #[must_use]
    pub fn mint(root_key: &RootKey, location: &str, identifier: &[u8]) -> Self {
        Self {
            location: location.into(),
            identifier: identifier.into(),
            caveats: Vec::new(),
            signature: hmac_sha256(&root_key.signing_key(), identifier),
        }
    }

    /// The same token with one more caveat; needs no key.
    ///
    /// ```
    /// use tollway_core::macaroon::Macaroon;
    /// use tollway_core::secret::RootKey;
    ///
    /// let key = RootKey::from_bytes([7; 32]);
    /// let token = Macaroon::mint(&key, "lsat", b"id").attenuate(b"services=api:0");
    /// assert!(token.verify(&key));
    /// ```
    #[must_use]
    pub fn attenuate(mut self, caveat: &[u8]) -> Self {
        self.signature = hmac_sha256(&self.signature, caveat);
        self.caveats.push(caveat.into());
        self
    }

    /// Whether this token was minted with `root_key` and narrowed by nothing but its caveats;
    /// constant time. The location is not covered.
    #[must_use]
    pub fn verify(&self, root_key: &RootKey) -> bool {
        let minted = hmac_sha256(&root_key.signing_key(), &self.identifier);
        let expected = self.caveats.iter().fold(minted, |key, caveat| hmac_sha256(&key, caveat));
        expected.ct_eq(&self.signature).into()
    }

    /// The hint where the token may be used; empty for none, and not covered by the signature.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// The identifier.
    #[must_use]
    pub fn identifier(&self) -> &[u8] {
        &self.identifier
    }

    /// The caveats in the order in which they were added.
    pub fn caveats(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.caveats.iter().map(Vec::as_slice)
    }

    /// The signature. Whoever has it can use the token: never log it.
    #[must_use]
    pub const fn signature(&self) -> &[u8; 32] {
        &self.signature
    }

    /// The V2 binary form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        v2::encode(self)
    }

    /// Reads the V2 binary form, strictly: every token has exactly one encoding.
    ///
    /// # Errors
    /// [`MacaroonError`] names the first fault; it never repeats the token.
    pub fn decode(bytes: &[u8]) -> Result<Self, MacaroonError> {
        v2::decode(bytes)
    }

    /// The V2 binary form in base64, standard alphabet, padded: what every client can read.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.encode())
    }

    /// Reads base64 in the standard or the URL-safe alphabet, padded or not.
    ///
    /// Stray bits in the last character are refused, so that one token has one set of bytes.
    ///
    /// # Errors
    /// [`MacaroonError`] names the first fault; it never repeats the token.
    pub fn from_base64(text: &[u8]) -> Result<Self, MacaroonError> {
        // Four characters carry three bytes, padding included.
        if text.len() > TOKEN_BYTES_MAX.div_ceil(3) * 4 {
            return Err(MacaroonError::TooLong);
        }
        let url_safe = text.iter().any(|byte| matches!(byte, b'-' | b'_'));
        let engine = match (url_safe, text.ends_with(b"=")) {
            (false, true) => STANDARD,
            (false, false) => STANDARD_NO_PAD,
            (true, true) => URL_SAFE,
            (true, false) => URL_SAFE_NO_PAD,
        };
        Self::decode(&engine.decode(text).map_err(|_| MacaroonError::NotBase64)?)
    }

    /// Reads hexadecimal digits, either case.
    ///
    /// # Errors
    /// [`MacaroonError`] names the first fault; it never repeats the token.
    pub fn from_hex(text: &[u8]) -> Result<Self, MacaroonError> {
        if text.len() > TOKEN_BYTES_MAX * 2 {
            return Err(MacaroonError::TooLong);
        }
        Self::decode(&hex::decode(text).map_err(|_| MacaroonError::NotHex)?)
    }
}

impl fmt::Debug for Macaroon {
    /// Leaves out the signature, and the caveats too: one of them may hold a preimage.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Macaroon")
            .field("location", &self.location)
            .field("caveats", &self.caveats.len())
            .finish_non_exhaustive()
    }
}

/// Why bytes are not a macaroon that we accept, in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MacaroonError {
    /// Longer than [`TOKEN_BYTES_MAX`].
    TooLong,
    /// Not base64, or not its one canonical form.
    NotBase64,
    /// Not hexadecimal digits.
    NotHex,
    /// The first byte is not the V2 version; the text format V1 ends here as well.
    NotV2,
    /// The bytes end within a field.
    Truncated,
    /// A length that is not in its shortest form, or is longer than any token.
    BadLength,
    /// No identifier where one belongs.
    NoIdentifier,
    /// A field that belongs to third-party caveats, which need discharges.
    ThirdParty,
    /// A field with an unknown tag, in the wrong place, or empty where that means nothing.
    UnexpectedField,
    /// The location is not UTF-8 text.
    LocationNotText,
    /// More than [`CAVEATS_MAX`] caveats.
    TooManyCaveats,
    /// No signature, or one that is not 32 bytes long.
    BadSignature,
    /// Bytes after the signature.
    TrailingBytes,
}

impl fmt::Display for MacaroonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "expected a macaroon of at most {TOKEN_BYTES_MAX} bytes, but found more")
            }
            Self::NotBase64 => f.write_str("expected canonical base64, but found other text"),
            Self::NotHex => f.write_str("expected hexadecimal digits, but found other text"),
            Self::NotV2 => f.write_str("expected a macaroon in V2 binary form, but found another"),
            Self::Truncated => f.write_str("expected a complete macaroon, but found a part of one"),
            Self::BadLength => {
                f.write_str("expected field lengths in shortest form, but found another")
            }
            Self::NoIdentifier => f.write_str("expected an identifier, but found none"),
            Self::ThirdParty => {
                f.write_str("expected first-party caveats only, but found a third-party one")
            }
            Self::UnexpectedField => {
                f.write_str("expected only the known fields in order, but found another")
            }
            Self::LocationNotText => f.write_str("expected a UTF-8 location, but found bytes"),
            Self::TooManyCaveats => {
                write!(f, "expected at most {CAVEATS_MAX} caveats, but found more")
            }
            Self::BadSignature => {
                f.write_str("expected a signature of 32 bytes, but found none or another length")
            }
            Self::TrailingBytes => {
                f.write_str("expected the signature to come last, but found bytes after it")
            }
        }
    }
}

impl core::error::Error for MacaroonError {}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    const BASE64: &str = "AgEEbHNhdAJCAABCXtTko2sw6iG5DiHHEsZJ6CFMKbfq9oCJ0QOcblU4TICBgoOEhYaHiImKi\
        4yNjo+QkZKTlJWWl5iZmpucnZ6fAAITc2VydmljZXM9c2VydmljZTE6MAACInNlcnZpY2UxX2NhcGFiaWxpdGllcz1\
        hZGQsc3VidHJhY3QAAh9zZXJ2aWNlMV92YWxpZF91bnRpbD0xNzAwMDAwMDAwAAAGIBSztuc/TekCiUlv5jcFCxaEA\
        Fv2Yu+o+qff8UJBWnGY";
    const PAID_HEX: &str = "0201046c73617402420000425ed4e4a36b30ea21b90e21c712c649e8214c29b7eaf6808\
        9d1039c6e55384c808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f00021373657\
        276696365733d73657276696365313a3000022273657276696365315f6361706162696c69746965733d6164642\
        c737562747261637400021f73657276696365315f76616c69645f756e74696c3d3137303030303030303000024\
        9707265696d6167653d34323432343234323432343234323432343234323432343234323432343234323432343\
        2343234323432343234323432343234323432343234323432343234320000062037762e5266ce3c4f1f04df754\
        fa60f1791890a7b5b44f0c2cf4ac3c0f7b0864f";

    fn root_key() -> RootKey {
        RootKey::from_bytes(core::array::from_fn(|i| i as u8))
    }

    /// The published fixed-input token after each step, with its signature.
    fn steps() -> [(Macaroon, &'static str); 5] {
        let hash = crate::payment::Preimage::from_bytes([0x42; 32]).payment_hash();
        let token_id: [u8; 32] = core::array::from_fn(|i| 0x80 + i as u8);
        let identifier = [&[0, 0][..], hash.as_bytes(), &token_id].concat();
        let minted = Macaroon::mint(&root_key(), "lsat", &identifier);
        let service = minted.clone().attenuate(b"services=service1:0");
        let capable = service.clone().attenuate(b"service1_capabilities=add,subtract");
        let timed = capable.clone().attenuate(b"service1_valid_until=1700000000");
        let paid = timed.clone().attenuate(format!("preimage={}", "42".repeat(32)).as_bytes());
        [
            (minted, "e7f96c00c47c1ae144188d5deeaff558ecf93dd1a2f85f9c771210b487c26ce7"),
            (service, "891f35b0fc3cdec9219f0bcdb40b87908bd8999aa84c0c434b3eb837a6a6d17e"),
            (capable, "5825e29ce27a3682189b46ba240a1c3451e029d5c690fbc955ecec9bb26145a3"),
            (timed, "14b3b6e73f4de90289496fe637050b1684005bf662efa8faa7dff142415a7198"),
            (paid, "37762e5266ce3c4f1f04df754fa60f1791890a7b5b44f0c2cf4ac3c0f7b0864f"),
        ]
    }

    #[test]
    fn ok_signatures_after_each_step_are_the_published_ones() {
        for (token, signature) in steps() {
            assert_eq!(hex::encode(token.signature()), signature);
            assert!(token.verify(&root_key()));
        }
    }

    #[test]
    fn ok_bytes_are_the_published_ones() {
        let [.., (timed, _), (paid, _)] = steps();
        assert_eq!(timed.encode().len(), 204);
        assert_eq!(timed.to_base64(), BASE64);
        assert_eq!(Macaroon::from_base64(BASE64.as_bytes()), Ok(timed));
        assert_eq!(paid.encode().len(), 280);
        assert_eq!(hex::encode(paid.encode()), PAID_HEX);
        assert_eq!(Macaroon::from_hex(PAID_HEX.to_uppercase().as_bytes()), Ok(paid));
    }

    #[test]
    fn ok_location_is_a_hint_outside_the_signature() {
        for location in ["", "lsat", "https://b\u{fc}cher.example"] {
            let token = Macaroon::mint(&root_key(), location, b"id");
            assert_eq!(token.location(), location);
            assert_eq!(token.signature(), Macaroon::mint(&root_key(), "", b"id").signature());
            assert_eq!(Macaroon::decode(&token.encode()), Ok(token));
        }
    }

    #[test]
    fn err_a_foreign_root_key_verifies_nothing() {
        for (token, _) in steps() {
            assert!(!token.verify(&RootKey::from_bytes([0; 32])));
        }
    }

    #[test]
    fn ok_base64_in_four_spellings() {
        // One byte more or less changes the padding; both alphabets differ in this token.
        for id in [&b"\xff\xfe\xfd"[..], b"\xff\xfe\xfd\xfc", b"\xff\xfe\xfd\xfc\xfb"] {
            let token = Macaroon::mint(&root_key(), "", id);
            let standard = token.to_base64();
            let url_safe = standard.replace('+', "-").replace('/', "_");
            for text in [&*standard, &*url_safe] {
                assert_eq!(Macaroon::from_base64(text.as_bytes()).as_ref(), Ok(&token));
                let unpadded = text.trim_end_matches('=');
                assert_eq!(Macaroon::from_base64(unpadded.as_bytes()).as_ref(), Ok(&token));
            }
        }
    }

    #[test]
    fn err_base64_outside_its_canonical_forms() {
        let token = Macaroon::mint(&root_key(), "", b"\xff\xfe\xfd\xfc").to_base64();
        assert!(token.ends_with("=="), "the rows below need two padding characters");
        let unpadded = token.trim_end_matches('=');
        let (head, last) = unpadded.split_at(unpadded.len() - 1);
        let stray_bits = format!("{head}{}", char::from(last.as_bytes()[0] + 1));
        let line_break = format!("{}\n{}", &token[..8], &token[8..]);
        let half_padded = format!("{unpadded}=");
        let over_padded = format!("{token}=");
        let mixed = token.replacen("//", "/_", 1);
        assert_ne!(mixed, token);
        for text in [&*stray_bits, &line_break, &half_padded, &over_padded, &mixed, "A", "!!!"] {
            assert_eq!(Macaroon::from_base64(text.as_bytes()), Err(MacaroonError::NotBase64));
        }
        assert_eq!(Macaroon::from_base64(b""), Err(MacaroonError::NotV2));
        assert_eq!(Macaroon::from_base64(&[0xff; 8]), Err(MacaroonError::NotBase64));
        assert_eq!(Macaroon::from_base64(&[b'A'; 65_536]), Err(MacaroonError::TooLong));
    }

    #[test]
    fn err_text_that_is_not_hexadecimal() {
        for text in [&b"0"[..], b"0g", b"\xff\xff", b"02 0104"] {
            assert_eq!(Macaroon::from_hex(text), Err(MacaroonError::NotHex));
        }
        assert_eq!(Macaroon::from_hex(&[b'0'; 65_536]), Err(MacaroonError::TooLong));
    }

    #[test]
    fn debug_shows_neither_signature_nor_caveats() {
        let [.., (paid, signature)] = steps();
        let shown = format!("{paid:?}");
        assert!(!shown.contains(signature) && !shown.contains("4242"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", paid.signature())), "{shown}");
    }
}
