//! The macaroon codec against tokens that the published toll-booth 0.2.1 minted, or that were
//! assembled by hand for it.
//!
//! Only the codec and the signature chain are compared here; that token format's caveats are
//! another vocabulary than ours. Where the set leaves a choice ("either"), we chose strictness:
//! a token has one encoding, so bytes after the signature (tb-p-042) and over-long lengths
//! (tb-p-044) are refused. So are unknown and third-party fields (tb-p-043), which the set wants
//! refused, and base64 with padding that its length does not need (tb-p-063). The standard
//! alphabet (tb-p-064) only spells the same bytes differently and is read. Identifiers of other
//! lengths and versions (tb-p-034 to -036) are a matter for the identifier, not for the codec.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tollway_core::identifier::{Identifier, IdentifierError};
use tollway_core::macaroon::{Macaroon, MacaroonError};
use tollway_core::secret::RootKey;

const VECTORS: &str = include_str!("../../../tests/vectors/toll_booth_public.json");

/// What our decoder says about a token that it refuses, by the vector's id.
const REFUSED: [(&str, MacaroonError); 18] = [
    ("tb-p-042", MacaroonError::TrailingBytes),
    ("tb-p-043", MacaroonError::UnexpectedField),
    ("tb-p-044", MacaroonError::BadLength),
    ("tb-p-048", MacaroonError::BadSignature),
    ("tb-p-058", MacaroonError::Truncated),
    ("tb-p-059", MacaroonError::Truncated),
    ("tb-p-060", MacaroonError::Truncated),
    ("tb-p-061", MacaroonError::Truncated),
    ("tb-p-062", MacaroonError::Truncated),
    ("tb-p-063", MacaroonError::NotBase64),
    ("tb-p-065", MacaroonError::NotBase64),
    ("tb-p-066", MacaroonError::NotV2),
    ("tb-p-067", MacaroonError::NotV2),
    ("tb-p-068", MacaroonError::NoIdentifier),
    ("tb-p-069", MacaroonError::BadLength),
    ("tb-p-070", MacaroonError::BadLength),
    ("tb-p-071", MacaroonError::NotV2),
    ("tb-p-072", MacaroonError::Truncated),
];

/// Families whose verdict in the set comes from the signature chain alone.
const CHAIN_FAMILIES: [&str; 4] = ["plain_", "balance_", "root_", "neg_"];

struct Vector {
    id: String,
    family: String,
    text: String,
    root_key: RootKey,
    /// `None` where the published verifier could not read the token.
    valid: Option<bool>,
    refused_as: Option<MacaroonError>,
}

fn vectors() -> Vec<Vector> {
    let set: Value = serde_json::from_str(VECTORS).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let vectors: Vec<_> = set["vectors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|vector| {
            let id = text(&vector["id"]);
            let mut key = [0; 32];
            hex::decode_to_slice(text(&vector["root_key_hex"]), &mut key).unwrap();
            let known = REFUSED.iter().find(|(refused, _)| *refused == id);
            Vector {
                family: text(&vector["family"]),
                text: text(&vector["macaroon"]),
                root_key: RootKey::from_bytes(key),
                valid: vector["checks"][0]["expect"]["valid"].as_bool(),
                refused_as: known.map(|(_, error)| *error),
                id,
            }
        })
        .collect();
    assert_eq!(vectors.len(), 72);
    vectors
}

#[test]
fn every_token_is_read_or_refused_as_decided() {
    for vector in vectors() {
        let decoded = Macaroon::from_base64(vector.text.as_bytes());
        assert_eq!(decoded.err(), vector.refused_as, "{} {}", vector.id, vector.family);
    }
}

#[test]
fn every_token_that_is_read_encodes_to_the_same_bytes() {
    let mut compared = 0;
    for vector in vectors() {
        if let Ok(token) = Macaroon::from_base64(vector.text.as_bytes())
            && let Ok(bytes) = URL_SAFE_NO_PAD.decode(&vector.text)
        {
            assert_eq!(token.encode(), bytes, "{}", vector.id);
            compared += 1;
        }
    }
    assert_eq!(compared, 53, "one more is read: it is in the standard alphabet");
}

#[test]
fn the_signature_chain_agrees_with_the_published_verifier() {
    let mut compared = 0;
    for vector in vectors() {
        let Ok(token) = Macaroon::from_base64(vector.text.as_bytes()) else { continue };
        let Some(valid) = vector.valid else { continue };
        let genuine = token.verify(&vector.root_key);
        // In the other families the caveats decide as well; they only ever refuse.
        let by_chain = CHAIN_FAMILIES.iter().any(|family| vector.family.starts_with(family));
        assert_eq!(genuine, valid || genuine && !by_chain, "{} {}", vector.id, vector.family);
        compared += usize::from(by_chain);
    }
    assert_eq!(compared, 19);
}

#[test]
fn identifiers_of_another_version_or_length_are_refused() {
    for (id, expected) in [
        ("tb-p-034", Some(IdentifierError::UnknownVersion)),
        ("tb-p-035", Some(IdentifierError::BadLength)),
        ("tb-p-036", Some(IdentifierError::BadLength)),
        ("tb-p-033", None),
    ] {
        let vector = vectors().into_iter().find(|vector| vector.id == id).unwrap();
        let token = Macaroon::from_base64(vector.text.as_bytes()).unwrap();
        assert_eq!(Identifier::decode(token.identifier()).err(), expected, "{id}");
    }
}
