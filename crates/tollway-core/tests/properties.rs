//! Laws of tokens and credentials, tried on random inputs.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic")]

use proptest::collection::vec;
use proptest::prelude::*;
use tollway_core::caveat::Caveat;
use tollway_core::credential::{Rejection, RequestFacts, VerifiedCredential};
use tollway_core::entropy::Seed;
use tollway_core::header::{Presented, read_credential};
use tollway_core::id::KeyId;
use tollway_core::identifier::{Identifier, TokenId};
use tollway_core::keyring::Keyring;
use tollway_core::macaroon::Macaroon;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::secret::{MasterKey, RootKey};
use tollway_core::wire::{KeyringKey, KeyringReply};

const KEY: u32 = 7;
const MASTER: MasterKey = MasterKey::from_bytes([3; 32]);
const FACTS: RequestFacts<'_> = RequestFacts {
    service: "a",
    tier: 0,
    path: b"/v1/joke",
    method: b"GET",
    client_ip: Some("203.0.113.7"),
    now_ms: 1_000_000,
    cost: Msat::ZERO,
    proof: tollway_core::wire::Proof::Preimage,
};

fn keyring() -> Keyring {
    let keys = vec![KeyringKey { id: KeyId::new(KEY), secret: MASTER }];
    let reply = KeyringReply {
        current: KeyId::new(KEY),
        keys,
        seed: Seed::from_bytes([0; 32]),
        revoked: Vec::new(),
        legacy: Vec::new(),
        revision: 0,
        rates: Vec::new(),
        limited: Vec::new(),
    };
    Keyring::from_reply(&reply).unwrap()
}

/// A token of ours for the payment of this preimage.
fn our_token(preimage: [u8; 32], random: [u8; 32]) -> Macaroon {
    let payment_hash = Preimage::from_bytes(preimage).payment_hash();
    let token_id = TokenId::new(KeyId::new(KEY), random);
    let identifier = Identifier { payment_hash, token_id }.encode();
    Macaroon::mint(&MASTER.root_key(&identifier), "lsat", &identifier)
        .attenuate(b"services=a:0,b:0")
        .attenuate(b"a_valid_until=2000")
}

fn read(value: Vec<u8>) -> Presented {
    read_credential(&[("authorization", value)].into())
}

fn verify(macaroon: &Macaroon, preimage: [u8; 32]) -> Result<VerifiedCredential, Rejection> {
    let value = format!("L402 {}:{}", macaroon.to_base64(), hex::encode(preimage));
    let credential = read(value.into_bytes()).credential.unwrap().unwrap();
    credential.verify(&keyring())
}

fn any_macaroon() -> impl Strategy<Value = (RootKey, Macaroon)> {
    let parts = (any::<[u8; 32]>(), ".{0,40}", vec(any::<u8>(), 0..200));
    (parts, vec(vec(any::<u8>(), 0..200), 0..8)).prop_map(|((key, location, id), caveats)| {
        let key = RootKey::from_bytes(key);
        let token = Macaroon::mint(&key, &location, &id);
        let token = caveats.iter().fold(token, |token, caveat| token.attenuate(caveat));
        (key, token)
    })
}

/// Caveats that a holder may append: admitting and refusing, well formed and not.
fn any_caveat() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "services=a:0",
            "services=a:0,b:0",
            "services=b:0",
            "services=a:0,c:0",
            "services=a:1",
            "a_valid_until=1500",
            "a_valid_until=500",
            "a_valid_until=3000",
            "b_valid_until=1",
            "endpoint=/v1/joke",
            "endpoint=/v1/time",
            "method=GET",
            "method=POST",
            "ip=203.0.113.7",
            "ip=203.0.113.8",
            "max_cost_msat=0",
            "max_cost_msat=9",
            "tier=gold",
            "nonsense",
            "",
        ])
        .prop_map(String::from),
        (0_u64..2_000).prop_map(|unix_s| format!("expires_at = {unix_s}")),
        ".{0,30}",
    ]
}

/// Bytes that look like what `Authorization` may hold more often than chance would have it.
fn any_authorization() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        prop::sample::select(vec![
            &b"L402 "[..],
            b"LSAT",
            b"lsat ",
            b"Bearer ",
            b"Digest ",
            b",",
            b", ",
            b":",
            b"=",
            b"\"",
            b"\\",
            b" ",
            b"macaroon=",
            b"token = ",
            b"preimage=",
            b"version=\"0\"",
            b"AgEEbHNhdAJCAABC",
            b"\xff",
            b"\xc3\xa9",
            b"\0",
            b"\t",
        ])
        .prop_map(<[u8]>::to_vec),
        Just(our_token([1; 32], [2; 32]).to_base64().into_bytes()),
        Just(hex::encode([1; 32]).into_bytes()),
        vec(any::<u8>(), 0..6),
    ];
    vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn minted_tokens_survive_every_encoding_and_verify((key, token) in any_macaroon()) {
        let bytes = token.encode();
        for decoded in [
            Macaroon::decode(&bytes),
            Macaroon::from_base64(token.to_base64().as_bytes()),
            Macaroon::from_hex(hex::encode(&bytes).as_bytes()),
        ] {
            prop_assert_eq!(decoded.as_ref(), Ok(&token));
        }
        prop_assert!(token.verify(&key));
    }

    /// The location is a hint that no signature covers, so its bytes are left out.
    #[test]
    fn one_flipped_bit_refuses((key, token) in any_macaroon(), at in any::<prop::sample::Index>()) {
        let mut bytes = token.encode();
        let covered = match token.location().len() {
            0 => 0,
            length => 2 + length + usize::from(length > 127),
        };
        let bit = at.index((bytes.len() - covered - 1) * 8) + (covered + 1) * 8;
        bytes[bit / 8] ^= 1 << (bit % 8);
        let genuine = Macaroon::decode(&bytes).is_ok_and(|changed| changed.verify(&key));
        prop_assert!(!genuine, "bit {}", bit);
    }

    #[test]
    fn a_foreign_key_refuses((_, token) in any_macaroon(), other in any::<[u8; 32]>()) {
        prop_assert!(!token.verify(&RootKey::from_bytes(other)));
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..120)) {
        let near_a_token = [&[2, 2, 2, b'i', b'd', 0][..], &bytes].concat();
        for bytes in [bytes, near_a_token] {
            if let Ok(token) = Macaroon::decode(&bytes) {
                prop_assert_eq!(token.encode(), bytes);
            }
        }
    }

    #[test]
    fn identifiers_survive_encoding(hash in any::<[u8; 32]>(), token_id in any::<[u8; 32]>()) {
        let payment_hash = PaymentHash::from_bytes(hash);
        let identifier = Identifier { payment_hash, token_id: TokenId::from_bytes(token_id) };
        prop_assert_eq!(Identifier::decode(&identifier.encode()), Ok(identifier));
    }

    #[test]
    fn an_appended_caveat_only_narrows(
        first in vec(any_caveat(), 0..4),
        more in any_caveat(),
        now_s in 0_u64..2_500,
        service in prop::sample::select(vec!["a", "b", "c"]),
    ) {
        let facts = RequestFacts { now_ms: now_s * 1_000, service, ..FACTS };
        let admits = |token: &Macaroon| {
            verify(token, [1; 32]).and_then(|v| v.authorize(&facts).map(drop))
        };
        let token = first.iter().fold(our_token([1; 32], [2; 32]), |token, caveat| {
            token.attenuate(caveat.as_bytes())
        });
        let before = admits(&token);
        let after = admits(&token.attenuate(more.as_bytes()));
        prop_assert!(before.is_ok() || after.is_err(), "{:?} then {}", first, more);
    }

    #[test]
    fn only_the_right_preimage_proves(preimage in any::<[u8; 32]>(), other in any::<[u8; 32]>()) {
        let token = our_token(preimage, [9; 32]);
        prop_assert!(verify(&token, preimage).is_ok());
        prop_assert_eq!(verify(&token, other).err(), Some(Rejection::PreimageMismatch));
    }

    #[test]
    fn caveats_survive_their_own_text(bytes in vec(any::<u8>(), 0..60), text in any_caveat()) {
        for bytes in [bytes, text.into_bytes()] {
            if let Ok(caveat) = Caveat::parse(&bytes)
                && !matches!(caveat, Caveat::Preimage(_))
            {
                prop_assert_eq!(Caveat::parse(caveat.to_string().as_bytes()), Ok(caveat));
            }
        }
    }

    #[test]
    fn every_spelling_is_the_same_credential(
        preimage in any::<[u8; 32]>(),
        random in any::<[u8; 32]>(),
        caveats in vec("[a-z]{0,9}", 0..3),
        lsat in any::<bool>(),
        upper in any::<bool>(),
        url_safe in any::<bool>(),
        padded in any::<bool>(),
        spaces in 1_usize..4,
        form in 0..5,
    ) {
        let token = caveats.iter().fold(our_token(preimage, random), |token, caveat| {
            token.attenuate(caveat.as_bytes())
        });
        let plain = format!("L402 {}:{}", token.to_base64(), hex::encode(preimage));
        let expected = read(plain.clone().into_bytes()).credential.unwrap().unwrap();

        let mut scheme = String::from(if lsat { "LSAT" } else { "L402" });
        let mut digits = hex::encode(preimage);
        let mut text = token.to_base64();
        if upper {
            digits = digits.to_uppercase();
        } else {
            scheme = scheme.to_lowercase();
        }
        if url_safe {
            text = text.replace('+', "-").replace('/', "_");
        }
        if !padded {
            text = text.trim_end_matches('=').into();
        }
        let space = " ".repeat(spaces);
        let value = match form {
            0 => format!("{scheme}{space}{text}:{digits}"),
            1 => format!("{scheme}{space}macaroon=\"{text}\",{space}preimage=\"{digits}\""),
            2 => format!("{scheme}{space}preimage={digits}, token={text}"),
            3 => format!("{plain},{space}{scheme} {text}:{digits}"),
            _ => format!("{scheme} {text}:{digits}{space},{plain}"),
        };
        let presented = read(value.clone().into_bytes());
        prop_assert_eq!(presented.credential.as_ref(), Ok(&Some(expected.clone())), "{}", value);
        prop_assert_eq!(presented.authorization_rest, None);
    }

    #[test]
    fn reading_headers_never_panics(
        value in any_authorization(),
        name in prop::sample::select(vec!["authorization", "Macaroon", "grpc-metadata-macaroon"]),
    ) {
        let _ = read_credential(&[(name, &value)].into());
        let _ = read_credential(&[(name, &value), ("authorization", &value)].into());
    }

    /// Whatever is read as ours is taken out completely: what remains holds none of it.
    #[test]
    fn what_remains_for_the_upstream_holds_no_credential(value in any_authorization()) {
        let presented = read(value.clone());
        if presented.credential == Ok(None) {
            let original = Some(value).filter(|value| !value.is_empty());
            prop_assert_eq!(presented.authorization_rest, original);
        } else if let Some(rest) = presented.authorization_rest {
            prop_assert_eq!(read(rest).credential, Ok(None));
        }
    }
}
