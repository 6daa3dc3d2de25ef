use alloc::string::ToString;
use alloc::vec;

use super::*;

/// The worked example with fixed inputs.
const TOKEN: &str = concat!(
    "eyJpZCI6IjQyNWVkNGU0YTM2YjMwZWEyMWI5MGUyMWM3MTJjNjQ5ZTgyMTRjMjliN2VhZjY4MDg5ZDEwMzljNmU1",
    "NTM4NGMiLCJjYXZlYXRzIjpbImV4cGlyZXNfYXQgPSAxNzAwMDAzNjAwIiwiZW5kcG9pbnQgPSAvYXBpL2pva2Ui",
    "LCJtZXRob2QgPSBHRVQiXSwic2lnbmF0dXJlIjoiYWY0YzBkMWQ4NDJkNmM0ZTk0NDJiYWM0ODJmYWY5YThiZjkw",
    "NjdlYWVlOTRlYjA2Y2E2NDU4MTQxNDZhYmU4NiJ9",
);
const ID: &str = "425ed4e4a36b30ea21b90e21c712c649e8214c29b7eaf68089d1039c6e55384c";

fn secret() -> SecretText {
    SecretText::new("test-secret".to_string())
}

fn minted() -> Token {
    let bindings =
        Bindings { expires_at: 1_700_003_600, endpoint: "/api/joke", method: "GET", ip: "" };
    Token::mint(&secret(), ID, &bindings)
}

fn read(json: &str) -> Result<Token, TokenError> {
    Token::from_base64(URL_SAFE_NO_PAD.encode(json).as_bytes())
}

#[test]
fn ok_the_published_example() {
    assert_eq!(minted().to_base64(), TOKEN);
    let token = Token::from_base64(TOKEN.as_bytes()).unwrap();
    assert_eq!(token, minted());
    assert!(token.verify(&secret()));
    assert!(!token.verify(&SecretText::new("test-secreT".to_string())));
}

#[test]
fn ok_text_is_escaped_as_python_does() {
    let mut json = String::new();
    push_json_text(&mut json, "a\"\\\n\r\t\u{8}\u{c}\u{1}\u{7f}é€😀/~");
    let expected = r#""a\"\\\n\r\t\b\f\u0001\u007f\u00e9\u20ac\ud83d\ude00/~""#;
    assert_eq!(json, expected);
}

#[test]
fn err_in_the_order_of_the_checks() {
    let signature = "ab".repeat(32);
    let many = vec!["\"a = b\""; CAVEATS_MAX + 1].join(",");
    let with = |id: &str, caveats: &str, signature: &str| {
        format!(r#"{{"id":{id},"caveats":{caveats},"signature":"{signature}"}}"#)
    };
    assert!(read(&with("\"x\"", "[]", &signature)).is_ok());
    assert!(read(&with("\"x\"", "[]", &signature.to_uppercase())).is_ok());
    for (json, expected) in [
        (String::new(), TokenError::NotJson),
        ("null".to_string(), TokenError::NotJson),
        (format!(r#"["x",[],"{signature}"]"#), TokenError::NotJson),
        (with("1", "[]", &signature), TokenError::NotJson),
        (with("\"x\"", "\"a = b\"", &signature), TokenError::NotJson),
        (with("\"x\"", "[1]", &signature), TokenError::NotJson),
        (with("\"\\ud800\"", "[]", &signature), TokenError::NotJson),
        (with("\"\"", "[]", &signature), TokenError::NoId),
        (with("\"x\"", &format!("[{many}]"), &signature), TokenError::TooManyCaveats),
        (with("\"x\"", "[]", "ab"), TokenError::BadSignature),
        (with("\"x\"", "[]", &"zz".repeat(32)), TokenError::BadSignature),
    ] {
        assert_eq!(read(&json), Err(expected), "{json}");
    }
    for text in ["eyJ=", "eyJ+", "eyJ ", "eyJpZCI6I", "eyJ\u{e9}"] {
        assert_eq!(Token::from_base64(text.as_bytes()), Err(TokenError::NotBase64), "{text}");
    }
    assert_eq!(Token::from_base64(&[b'e'; 65_536]), Err(TokenError::TooLong));
}

#[test]
fn caveats_of_the_vocabulary_and_no_other() {
    let text = |text: &str| text.to_string();
    for (caveat, expected) in [
        ("expires_at = 7", Ok(Bound::EndsAt(7_001))),
        ("expires_at = 9999999999999999999", Ok(Bound::EndsAt(u64::MAX))),
        ("expires_at = -7", Ok(Bound::EndsAt(0))),
        ("endpoint = /a = b", Ok(Bound::Path(text("/a = b")))),
        (" endpoint  =  /x ", Ok(Bound::Path(text("/x")))),
        ("method = get", Ok(Bound::Method(text("get")))),
        ("ip = ::1", Ok(Bound::Ip(text("::1")))),
        ("expires_at = ", Err(Rejection::CaveatMalformed)),
        ("expires_at = -", Err(Rejection::CaveatMalformed)),
        ("expires_at = +7", Err(Rejection::CaveatMalformed)),
        ("expires_at = 7.0", Err(Rejection::CaveatMalformed)),
        ("expires_at = 1_000", Err(Rejection::CaveatMalformed)),
        ("expires_at = 00000000000000000007", Err(Rejection::CaveatMalformed)),
        ("expires_at=7", Err(Rejection::CaveatMalformed)),
        (" = 7", Err(Rejection::CaveatMalformed)),
        ("", Err(Rejection::CaveatMalformed)),
        ("Endpoint = /x", Err(Rejection::CaveatUnknown)),
        ("tier = gold", Err(Rejection::CaveatUnknown)),
    ] {
        assert_eq!(read_bound(caveat), expected, "{caveat}");
    }
}

#[test]
fn debug_shows_neither_signature_nor_caveats() {
    let token = minted().attenuate("endpoint = /canary");
    assert_eq!(format!("{token:?}"), "Token { caveats: 4, .. }");
}
