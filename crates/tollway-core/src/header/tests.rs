use alloc::format;
use alloc::string::{String, ToString};

use super::list::Part;
use super::*;
use crate::id::KeyId;
use crate::identifier::{Identifier, TokenId};
use crate::secret::RootKey;

const PREIMAGE: &str = "abABabABabABabABabABabABabABabABabABabABabABabABabABabABabABabAB";

/// A token whose base64 text needs padding and differs between the alphabets.
fn token() -> Macaroon {
    let token = Macaroon::mint(&RootKey::from_bytes([7; 32]), "", b"\xff\xfe\xfd\xfc");
    let text = token.to_base64();
    assert!(text.contains('/') && text.ends_with('='));
    token
}

fn other_token() -> Macaroon {
    token().attenuate(b"method=GET")
}

fn paid_token() -> Macaroon {
    token().attenuate(format!("preimage={PREIMAGE}").as_bytes())
}

fn preimage() -> Preimage {
    Preimage::from_hex(PREIMAGE.as_bytes()).unwrap()
}

fn paid() -> Credential {
    Credential::new([token()].into(), Some(preimage()))
}

fn read(headers: &[(&str, &[u8])]) -> Presented {
    read_credential(&headers.iter().copied().collect())
}

fn read_authorization(value: &str) -> Presented {
    read(&[("authorization", value.as_bytes())])
}

/// `M` becomes the token, `N` another one, `P` the preimage.
fn fill(template: &str) -> String {
    let part = |letter: char| match letter {
        'M' => token().to_base64(),
        'N' => other_token().to_base64(),
        'P' => PREIMAGE.into(),
        other => other.into(),
    };
    template.chars().map(part).collect()
}

#[test]
fn ok_every_spelling_of_one_credential() {
    let padded = token().to_base64();
    let url_safe = padded.replace('+', "-").replace('/', "_");
    let [bare, bare_url_safe] = [&padded, &url_safe].map(|text| text.trim_end_matches('='));
    let lower = PREIMAGE.to_lowercase();
    let upper = PREIMAGE.to_uppercase();
    for value in [
        format!("L402 {padded}:{PREIMAGE}"),
        format!("LSAT {padded}:{lower}"),
        format!("l402 {padded}:{upper}"),
        format!("lSaT  {padded}:{lower}"),
        format!("L402    {url_safe}:{lower}"),
        format!("L402\t{padded}:{lower}"),
        format!("  L402 {bare}:{lower}  "),
        format!("L402 {bare_url_safe}:{lower}"),
        format!("LSAT {padded}:{lower}, L402 {padded}:{lower}"),
        format!("LSAT {padded}:{lower},L402 {bare_url_safe}:{upper}"),
        format!(r#"L402 macaroon="{padded}", preimage="{lower}""#),
        format!(r#"L402 preimage="{lower}",macaroon="{url_safe}""#),
        format!(r#"L402 token="{padded}", preimage="{lower}""#),
        format!(r#"L402 version="0", token="{padded}", preimage="{lower}""#),
        format!(r#"L402 Macaroon = "{padded}" , PREIMAGE = "{lower}""#),
        format!(r#"L402 token={bare}, macaroon="{bare}", preimage={lower}"#),
        format!("L402 macaroon={padded}, preimage={upper}"),
        format!(r#"L402 macaroon="{padded}", preimage="{lower}", LSAT {padded}:{lower}"#),
    ] {
        let presented = read_authorization(&value);
        assert_eq!(presented.credential, Ok(Some(paid())), "{value}");
        assert_eq!(presented.authorization_rest, None, "{value}");
    }
}

#[test]
fn ok_header_names_in_any_case() {
    let value = fill("L402 M:P");
    for name in ["authorization", "AUTHORIZATION"] {
        assert_eq!(read(&[(name, value.as_bytes())]).credential, Ok(Some(paid())));
    }
    let hex = hex::encode(token().encode());
    for name in ["macaroon", "Macaroon", "grpc-metadata-macaroon", "Grpc-Metadata-Macaroon"] {
        let presented = read(&[(name, hex.as_bytes())]).credential.unwrap().unwrap();
        assert_eq!(presented.macaroons(), [token()]);
    }
}

#[test]
fn ok_hex_macaroons_with_the_preimage_in_a_caveat() {
    let lower = hex::encode(paid_token().encode());
    let upper = lower.to_uppercase();
    let expected = Credential::new([paid_token()].into(), Some(preimage()));
    let twice = format!("{lower}, {upper}");
    let authorization = format!("LSAT {}:{PREIMAGE}", paid_token().to_base64());
    for headers in [
        &[("macaroon", lower.as_bytes())][..],
        &[("grpc-metadata-macaroon", upper.as_bytes())],
        &[("macaroon", twice.as_bytes())],
        &[("macaroon", lower.as_bytes()), ("grpc-metadata-macaroon", upper.as_bytes())],
        &[("macaroon", lower.as_bytes()), ("authorization", authorization.as_bytes())],
    ] {
        let presented = read(headers);
        assert_eq!(presented.credential, Ok(Some(expected.clone())));
        assert_eq!(presented.authorization_rest, None);
    }
}

#[test]
fn ok_credentials_without_a_preimage() {
    for template in
        ["L402 M:", "L402 M", "LSAT M:", r#"L402 macaroon="M""#, r#"L402 token="M", preimage="""#]
    {
        let presented = read_authorization(&fill(template)).credential.unwrap().unwrap();
        assert_eq!(presented.macaroons(), [token()], "{template}");
        assert_eq!(presented.preimage(), None, "{template}");
    }
}

#[test]
fn ok_a_preimage_caveat_stands_in_for_a_missing_preimage() {
    let text = paid_token().to_base64();
    for value in [format!("L402 {text}"), format!("L402 {text}:"), format!("L402 macaroon={text}")]
    {
        let presented = read_authorization(&value).credential.unwrap().unwrap();
        assert_eq!(presented.preimage(), Some(&preimage()), "{value}");
    }
}

#[test]
fn ok_several_macaroons_of_one_credential() {
    for template in
        ["L402 M,N:P", "L402 M, N:P", "LSAT M , N:P", r#"L402 macaroon="M,N", preimage="P""#]
    {
        let presented = read_authorization(&fill(template)).credential.unwrap().unwrap();
        assert_eq!(presented.macaroons(), [token(), other_token()], "{template}");
        assert_eq!(presented.preimage(), Some(&preimage()), "{template}");
    }
}

#[test]
fn ok_no_credential() {
    for headers in [
        &[][..],
        &[("authorization", &b""[..])],
        &[("authorization", b"foo")],
        &[("authorization", b"Bearer L402")],
        &[("authorization", b"Bearer AgEEbHNhdA:00")],
        &[("authorization", b"\xff\xfe\xff")],
        &[("authorization", br#"Digest username="a, L402 b:c", realm="x""#)],
        &[("authorization", br#"Digest username="a\", L402 b:c", realm="x""#)],
        &[("x-authorization", b"L402 a:b")],
        &[("macaroon", b"")],
        &[("macaroon", b"  ")],
        &[("x-macaroon", b"00")],
    ] {
        let presented = read(headers);
        assert_eq!(presented.credential, Ok(None), "{headers:?}");
        let original = headers.iter().find(|(name, _)| *name == "authorization");
        let original = original.map(|(_, value)| value.to_vec()).filter(|v| !v.is_empty());
        assert_eq!(presented.authorization_rest, original);
    }
}

#[test]
fn ok_foreign_schemes_beside_ours_are_left_alone() {
    for (template, rest) in [
        ("Bearer jwt.a-b_c, L402 M:P", "Bearer jwt.a-b_c"),
        ("L402 M:P, Bearer jwt.a-b_c", "Bearer jwt.a-b_c"),
        ("L402 M:P,Bearer a", "Bearer a"),
        ("Basic dXc6c2gx, L402 M:P", "Basic dXc6c2gx"),
        ("Basic dXc6c2g=,LSAT M:P,Bearer a", "Basic dXc6c2g=, Bearer a"),
        ("sk-12345, L402 M:P", "sk-12345"),
        ("L402 M:P,sk-12345", "sk-12345"),
        (r#"L402 macaroon="M", preimage="P", sk-12345"#, "sk-12345"),
        ("LSAT M:P, Bearer a, L402 M:P", "Bearer a"),
        (
            r#"Digest username="x y", uri="/a,b", nc=01, qop = auth, LSAT M:P"#,
            r#"Digest username="x y", uri="/a,b", nc=01, qop = auth"#,
        ),
        (
            r#"L402 M:P, Digest username="L402 a:b, LSAT", nc=01, Bearer a"#,
            r#"Digest username="L402 a:b, LSAT", nc=01, Bearer a"#,
        ),
        (
            r#"L402 macaroon="M", preimage="P", Digest a="\"L402 b:c", d=e"#,
            r#"Digest a="\"L402 b:c", d=e"#,
        ),
        ("Bearer a,, L402 M:P", "Bearer a,"),
    ] {
        let presented = read_authorization(&fill(template));
        assert_eq!(presented.credential, Ok(Some(paid())), "{template}");
        let found = presented.authorization_rest.map(|rest| String::from_utf8(rest).unwrap());
        assert_eq!(found.as_deref(), Some(rest), "{template}");
    }
}

#[test]
fn ok_a_value_without_ours_passes_unchanged() {
    for value in [
        &b"  Bearer  a ,b "[..],
        b"Negotiate",
        b"Digest a=\"b\",,c",
        b"Bearer \xff",
        b"L4020 a:b",
        b"L402=a",
    ] {
        let presented = read(&[("authorization", value)]);
        assert_eq!(presented.credential, Ok(None));
        assert_eq!(presented.authorization_rest.as_deref(), Some(value));
    }
}

#[test]
fn ok_a_payment_hash_beside_the_token_or_alone() {
    let hash = preimage().payment_hash();
    let digits = hash.to_hex();
    let token_id = TokenId::new(KeyId::new(1), [7; 32]);
    let identifier = Identifier { payment_hash: hash, token_id }.encode();
    let token = Macaroon::mint(&RootKey::from_bytes([7; 32]), "", &identifier);
    let fill = |template: &str| template.replace('P', PREIMAGE).replace('M', &token.to_base64());
    let beside = Credential::new([token.clone()].into(), None);
    let alone = Credential::hash_alone(hash, None);
    for (template, expected) in [
        (r#"L402 macaroon="M", payment_hash="H""#, &beside),
        (r#"LSAT payment_hash="H", token="M""#, &beside),
        (r#"L402 payment_hash="H""#, &alone),
        (r#"L402 payment_hash=H, version="0""#, &alone),
        (r#"L402 payment_hash="H", preimage="P""#, &Credential::hash_alone(hash, Some(preimage()))),
    ] {
        for digits in [digits.clone(), digits.to_uppercase()] {
            let value = fill(template).replace("_hash=H", &format!("_hash={digits}"));
            let value = value.replace("\"H\"", &format!("\"{digits}\""));
            let found = read_authorization(&value);
            assert_eq!(found.credential.as_ref(), Ok(&Some(expected.clone())), "{template}");
        }
    }
    // Who says less says something else.
    let both = format!(r#"L402 payment_hash="{digits}", {}"#, fill("L402 M:P"));
    assert_eq!(read_authorization(&both).credential, Err(Malformed::Conflicting));
}

#[test]
fn ok_several_authorization_headers_are_all_read() {
    let ours = fill("L402 M:P");
    for order in [[ours.as_bytes(), b"Bearer a"], [b"Bearer a", ours.as_bytes()]] {
        let presented = read(&order.map(|value| ("authorization", value)));
        assert_eq!(presented.credential, Ok(Some(paid())));
        assert_eq!(presented.authorization_rest.as_deref(), Some(&b"Bearer a"[..]));
    }
    let presented = read(&[("authorization", b"Bearer a"), ("authorization", b"Basic b")]);
    assert_eq!(presented.authorization_rest.as_deref(), Some(&b"Bearer a, Basic b"[..]));
}

#[test]
fn err_malformed_credentials() {
    use Malformed::*;
    let not_base64 = BadMacaroon(MacaroonError::NotBase64);
    let not_v2 = BadMacaroon(MacaroonError::NotV2);
    let nine = ["M"; MACAROONS_MAX + 1].join(",") + ":P";
    for (template, expected) in [
        ("L402", Empty),
        ("L402 ", Empty),
        ("lsat", Empty),
        ("Bearer a, L402", Empty),
        ("L402, Bearer a", Empty),
        ("L402 :", not_v2),
        ("L402 :P", not_v2),
        ("L402 ,M:P", not_v2),
        ("L402 bad:P", not_base64),
        ("L402 M:P:P", not_base64),
        ("L402 M:P,M:P", not_base64),
        ("L402 \u{e9}:P", not_base64),
        ("L402 M: P", BadPreimage),
        ("L402 M:P0", BadPreimage),
        ("L402 M:00", BadPreimage),
        ("L402 M:\u{e9}", BadPreimage),
        (&format!("L402 {nine}"), TooManyMacaroons),
        (r#"L402 preimage="P""#, BadParameters),
        (r#"L402 payment_hash="""#, BadParameters),
        (r#"L402 payment_hash="00""#, BadParameters),
        (r#"L402 payment_hash="P", payment_hash="H""#, BadParameters),
        (r#"L402 macaroon="", payment_hash="P""#, not_v2),
        (r#"L402 macaroon="M", payment_hash="P""#, Conflicting),
        (r#"L402 payment_hash="P", preimage="00""#, BadPreimage),
        (r#"L402 macaroon="M" preimage="P""#, BadParameters),
        (r#"L402 macaroon="M", preimage="P", realm="x""#, BadParameters),
        (r#"L402 macaroon="M", preimage="P", version="1""#, BadParameters),
        (r#"L402 macaroon="M", token="N", preimage="P""#, BadParameters),
        (r#"L402 macaroon="M", macaroon="N", preimage="P""#, BadParameters),
        (r#"L402 macaroon="M", preimage="P"#, BadParameters),
        (r#"L402 macaroon="M\"", preimage="P""#, BadParameters),
        ("L402 token=M:P", not_base64),
    ] {
        let value = fill(template);
        assert_eq!(read_authorization(&value).credential, Err(expected), "{template}");
    }
    let digits = hex::encode(token().encode());
    for (value, expected) in [
        (&b"zz"[..], MacaroonError::NotHex),
        (b"\xff", MacaroonError::NotHex),
        (b",", MacaroonError::NotV2),
        (b"00", MacaroonError::NotV2),
        (token().to_base64().as_bytes(), MacaroonError::NotHex),
        (&digits.as_bytes()[..20], MacaroonError::Truncated),
    ] {
        for name in ["macaroon", "grpc-metadata-macaroon"] {
            assert_eq!(read(&[(name, value)]).credential, Err(BadMacaroon(expected)));
        }
    }
}

#[test]
fn err_a_malformed_credential_beside_a_good_one() {
    let good = fill("L402 M:P");
    for bad in ["LSAT bad:P", "LSAT", "LSAT M:00"] {
        let bad = fill(bad);
        for value in [format!("{good}, {bad}"), format!("{bad}, {good}")] {
            assert!(read_authorization(&value).credential.is_err(), "{value}");
        }
        let headers = [("authorization", bad.as_bytes()), ("authorization", good.as_bytes())];
        assert!(read(&headers).credential.is_err());
    }
    let headers = [("authorization", good.as_bytes()), ("macaroon", b"00")];
    assert!(read(&headers).credential.is_err());
}

#[test]
fn err_two_different_credentials() {
    for template in [
        "L402 M:P, L402 N:P",
        "LSAT M:P, L402 M:0000000000000000000000000000000000000000000000000000000000000000",
        "LSAT M:P, L402 M",
        "L402 M,N:P, L402 N,M:P",
        r#"L402 M:P, L402 macaroon="N", preimage="P""#,
    ] {
        let value = fill(template);
        let presented = read_authorization(&value);
        assert_eq!(presented.credential, Err(Malformed::Conflicting), "{template}");
        assert_eq!(presented.authorization_rest, None, "{template}");
    }
    let authorization = fill("L402 M:P");
    let hex = hex::encode(other_token().encode());
    let headers = [("authorization", authorization.as_bytes()), ("macaroon", hex.as_bytes())];
    assert_eq!(read(&headers).credential, Err(Malformed::Conflicting));
    // What cannot be read comes before what conflicts.
    let headers = [("macaroon", hex.as_bytes()), ("grpc-metadata-macaroon", b"00")];
    let expected = Malformed::BadMacaroon(MacaroonError::NotV2);
    assert_eq!(read(&headers).credential, Err(expected));
}

#[test]
fn err_too_many_bytes_before_anything_is_decoded() {
    let long = "A".repeat(65_536);
    for value in [format!("L402 {long}"), format!("L402 {long}:{PREIMAGE}, Bearer a")] {
        assert_eq!(read_authorization(&value).credential, Err(Malformed::TooLong));
    }
    for name in ["macaroon", "grpc-metadata-macaroon"] {
        assert_eq!(read(&[(name, long.as_bytes())]).credential, Err(Malformed::TooLong));
    }
    let half = "A".repeat(CREDENTIAL_BYTES_MAX / 2 + 1);
    let pair = format!("L402 {half}, LSAT {half}");
    assert_eq!(read_authorization(&pair).credential, Err(Malformed::TooLong));
    // A long credential of another scheme is not ours to judge.
    let foreign = format!("Negotiate {long}");
    assert_eq!(read_authorization(&foreign).credential, Ok(None));
}

#[test]
fn err_reasons_never_repeat_what_was_sent() {
    for value in ["L402 canary:P", "L402 canary", "L402 M:canary", "L402 macaroon=\"canary"] {
        let presented = read_authorization(&fill(value));
        let reason = presented.credential.unwrap_err();
        let shown = format!("{reason} {reason:?} {}", reason.code());
        assert!(!shown.contains("canary"), "{shown}");
    }
    assert!(!format!("{:?}", read_authorization(&fill("L402 M:P"))).contains(PREIMAGE));
}

#[test]
fn reasons_have_stable_codes() {
    for (reason, code) in [
        (Malformed::TooLong, "credential_too_long"),
        (Malformed::Empty, "credential_malformed"),
        (Malformed::BadPreimage, "credential_malformed"),
        (Malformed::BadMacaroon(MacaroonError::NotV2), "credential_malformed"),
        (Malformed::Conflicting, "credentials_conflict"),
    ] {
        assert_eq!(reason.code(), code);
        assert!(reason.to_string().ends_with('.'), "{reason}");
    }
}

#[test]
fn hostile_lists_take_linear_time() {
    // Each row would take minutes in quadratic time.
    const LENGTH: usize = 1 << 20;
    for pattern in [",", "\"", "\\\"", "L402,", "L402 a,", "a,", "\"\\", "a b,", "L402 a=,", ":,"] {
        for start in ["", "L402 ", "\"", "L402 macaroon=\"", "Digest a=\""] {
            let value = format!("{start}{}", pattern.repeat(LENGTH / pattern.len()));
            let presented = read_authorization(&value);
            assert!(presented.credential != Ok(Some(paid())));
        }
    }
}

#[test]
fn a_scheme_starts_only_after_a_comma() {
    for (value, expected) in [
        ("Bearer L402 a:b", &[(false, "Bearer L402 a:b")][..]),
        ("Bearer a, L402 b", &[(false, "Bearer a"), (true, "L402 b")]),
        ("L402 a, b, c:d, e", &[(true, "L402 a, b, c:d"), (false, "e")]),
        ("L402 a, b, Foo c:d", &[(true, "L402 a, b"), (false, "Foo c:d")]),
        ("a=\"L402 b, L402 c\", L402 d", &[(false, "a=\"L402 b, L402 c\""), (true, "L402 d")]),
        ("a=\"L402 b, L402 c", &[(false, "a=\"L402 b"), (true, "L402 c")]),
    ] {
        let expected: Vec<_> = expected
            .iter()
            .map(|(ours, text)| Part { ours: *ours, text: text.as_bytes() })
            .collect();
        assert_eq!(split_schemes(value.as_bytes()), expected, "{value}");
    }
}
