//! The vectors of the L402 wire reference, in every form a person may paste.

use tollway_core::challenge::{Challenge, ChallengeTerms};
use tollway_core::keyring::Keyring;
use tollway_core::minted::MintedCaveat;

use super::*;

const MACAROON: &str = "\
    AgEEbHNhdAJCAABCXtTko2sw6iG5DiHHEsZJ6CFMKbfq9oCJ0QOcblU4TICBgoOEhYaHiImK\
    i4yNjo+QkZKTlJWWl5iZmpucnZ6fAAITc2VydmljZXM9c2VydmljZTE6MAACInNlcnZpY2Ux\
    X2NhcGFiaWxpdGllcz1hZGQsc3VidHJhY3QAAh9zZXJ2aWNlMV92YWxpZF91bnRpbD0xNzAw\
    MDAwMDAwAAAGIBSztuc/TekCiUlv5jcFCxaEAFv2Yu+o+qff8UJBWnGY";
const PAYMENT_HASH: &str = "425ed4e4a36b30ea21b90e21c712c649e8214c29b7eaf68089d1039c6e55384c";
const INVOICE: &str = "lnbcrt210n1p4sqgwupp5d3s0gp8czear3lrsatu259avx5gz80hcd09e6yyx5xd0a9da2ves\
    dq8w3jhxaqsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygsxqrrsscqpj9qypqsq2q05lfxft\
    qq4z2dh4y9kpmtd3lrql9mfnqu8qq0qjvf2drfslfzn7n57easakuwzfhk5u0vf0c8cwpt7aluft8jl50fck7cfwj92\
    a8gp0gu5ms";
const NOW_S: u64 = 1_700_000_000 - 3 * 86_400;

fn preimage() -> String {
    "42".repeat(32)
}

fn read(text: &str) -> Inspection {
    Inspection::read(text, NOW_S).unwrap()
}

#[test]
fn explains_a_macaroon() {
    let note =
        |text: &str, meaning: &str| CaveatNote { text: text.into(), meaning: meaning.into() };
    let expected = Inspection {
        version: 2,
        location: "lsat".into(),
        payment_hash: Some(PaymentHash::from_hex(PAYMENT_HASH.as_bytes()).unwrap()),
        token_id: Some("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f".into()),
        key_id: Some(0x8081_8283),
        foreign_identifier: None,
        caveats: vec![
            note("services=service1:0", "only for the service service1"),
            note("service1_capabilities=add,subtract", "unknown: a Tollway gate refuses the token"),
            note(
                "service1_valid_until=1700000000",
                "for service1, ends in 3 days (2023-11-14 22:13:20 UTC)",
            ),
        ],
        expires_at: Some(1_700_000_000),
        expires: "in 3 days (2023-11-14 22:13:20 UTC)".into(),
        preimage: PreimageNote::Absent,
        invoice: None,
        more_macaroons: 0,
    };
    assert_eq!(read(MACAROON), expected);
}

#[test]
fn tells_what_the_seller_wrote_from_what_a_holder_added() {
    let keys = br#"{"current": 7, "keys": [{"id": 7, "secret": "KEY"}], "seed": "KEY"}"#;
    let keys = String::from_utf8_lossy(keys).replace("KEY", &"07".repeat(32));
    let keyring = Keyring::from_reply(&serde_json::from_str(&keys).unwrap()).unwrap();
    let terms = ChallengeTerms {
        payment_hash: PaymentHash::from_hex(PAYMENT_HASH.as_bytes()).unwrap(),
        location: "tollway",
        service: "demo",
        tier: 0,
        valid_until: NOW_S,
        random: [9; 32],
    };
    let minted = [MintedCaveat::new("plan", "pro").unwrap()];
    let sold = Challenge::mint_with(&keyring, terms, &minted, INVOICE).unwrap();
    let last = |token: &Macaroon| read(&token.to_base64()).caveats.pop().unwrap();
    let own = last(sold.macaroon());
    assert_eq!((&*own.text, &*own.meaning), ("plan = pro", "the seller wrote it: plan is pro"));
    let more = last(&sold.macaroon().clone().attenuate(b"role = admin"));
    assert_eq!(more.meaning, "unknown: a Tollway gate refuses the token");
}

#[test]
fn ok_read_every_form() {
    let bare = read(MACAROON);
    let hex = hex::encode(Macaroon::from_base64(MACAROON.as_bytes()).unwrap().encode());
    let url_safe = MACAROON.replace('+', "-").replace('/', "_");
    for text in [
        format!("  {MACAROON}\n"),
        MACAROON.trim_end_matches('=').to_owned(),
        url_safe,
        hex.clone(),
        hex.to_uppercase(),
        format!("Macaroon: {hex}"),
        format!("L402 {MACAROON}:"),
    ] {
        assert_eq!(read(&text), bare, "{text}");
    }
    let paid = Inspection { preimage: PreimageNote::Proves, ..bare.clone() };
    let preimage = preimage();
    for text in [
        format!("L402 {MACAROON}:{preimage}"),
        format!("lsat {MACAROON}:{preimage}"),
        format!("{MACAROON}:{preimage}"),
        format!("{hex}:{preimage}"),
        format!("Authorization: L402 {MACAROON}:{preimage}"),
        format!("L402 macaroon=\"{MACAROON}\", preimage=\"{preimage}\""),
        format!("L402 preimage={preimage}, token={MACAROON}"),
    ] {
        assert_eq!(read(&text), paid, "{text}");
    }
    let two = Inspection { more_macaroons: 1, ..paid };
    assert_eq!(read(&format!("L402 {MACAROON},{MACAROON}:{preimage}")), two);
}

#[test]
fn explains_a_challenge() {
    for text in [
        format!("L402 macaroon=\"{MACAROON}\", invoice=\"{INVOICE}\""),
        format!("WWW-Authenticate: LSAT invoice={INVOICE}, macaroon={MACAROON}"),
        format!(
            "www-authenticate: Payment id=\"x\", L402 token=\"{MACAROON}\", invoice=\"{INVOICE}\""
        ),
    ] {
        let invoice = read(&text).invoice.unwrap();
        assert_eq!(invoice.amount_msat, Some(21_000), "{text}");
        assert_eq!(invoice.network, "regtest");
        assert!(!invoice.opens_token);
    }
}

#[test]
fn a_preimage_is_compared_and_never_shown() {
    let other = "43".repeat(32);
    let macaroon = Macaroon::from_base64(MACAROON.as_bytes()).unwrap();
    let inside = macaroon.clone().attenuate(format!("preimage={}", preimage()).as_bytes());
    let damaged = macaroon.attenuate(format!("preimage={}x", preimage()).as_bytes());
    for (text, expected) in [
        (format!("L402 {MACAROON}:{}", preimage()), PreimageNote::Proves),
        (format!("L402 {MACAROON}:{other}"), PreimageNote::Mismatch),
        (inside.to_base64(), PreimageNote::Proves),
        (damaged.to_base64(), PreimageNote::Absent),
    ] {
        let inspection = read(&text);
        assert_eq!(inspection.preimage, expected);
        let shown =
            format!("{inspection} {inspection:?} {}", serde_json::to_string(&inspection).unwrap());
        assert!(!shown.contains("424242") && !shown.contains("434343"), "{shown}");
    }
}

#[test]
fn a_strangers_text_is_safe_for_a_terminal() {
    let macaroon = Macaroon::from_base64(MACAROON.as_bytes()).unwrap();
    let hostile = macaroon.attenuate(b"a=\x1b[2J\xff").attenuate("x".repeat(500).as_bytes());
    let shown = read(&hostile.to_base64()).to_string();
    assert!(!shown.contains('\u{1b}') && shown.contains("\\u{1b}[2J"), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() < 200), "{shown}");
}

#[test]
fn err_read() {
    use InspectError::*;
    for (text, expected) in [
        ("", Empty),
        ("  \n", Empty),
        ("L402", Empty),
        (":", Empty),
        ("hello", Macaroon(MacaroonError::NotBase64)),
        ("aGVsbG8=", Macaroon(MacaroonError::NotV2)),
        ("0201", Macaroon(MacaroonError::Truncated)),
        ("L402 invoice=\"x\"", NoMacaroon),
        ("L402 macaroon=\"\"", Empty),
    ] {
        assert_eq!(Inspection::read(text, NOW_S), Err(expected), "{text}");
    }
    let bad_preimage = format!("L402 {MACAROON}:canary");
    let error = Inspection::read(&bad_preimage, NOW_S).unwrap_err();
    assert_eq!(error, Preimage);
    assert!(!error.to_string().contains("canary"));
    let bad_invoice = format!("L402 macaroon=\"{MACAROON}\", invoice=\"x\"");
    assert_eq!(Inspection::read(&bad_invoice, NOW_S), Err(Invoice));
}

#[test]
fn amounts_in_sats() {
    for (msat, expected) in [
        (0, "0 sats"),
        (1, "0.001 sats"),
        (1_000, "1 sat"),
        (1_500, "1.5 sats"),
        (100_000, "100 sats"),
    ] {
        assert_eq!(sats(msat), expected);
    }
}
