//! Macaroons: decoding never panics, and a token has exactly one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::identifier::Identifier;
use tollway_core::macaroon::Macaroon;
use tollway_core::secret::RootKey;

fuzz_target!(|bytes: &[u8]| {
    let _ = Macaroon::from_hex(bytes);
    let _ = Identifier::decode(bytes);
    if let Ok(token) = Macaroon::from_base64(bytes) {
        assert_eq!(Macaroon::from_base64(token.to_base64().as_bytes()), Ok(token));
    }
    if let Ok(token) = Macaroon::decode(bytes) {
        assert_eq!(token.encode(), bytes);
        assert!(!token.verify(&RootKey::from_bytes([7; 32])), "a signature out of nothing");
    }
});
