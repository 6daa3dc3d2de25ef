//! What paths mean: the strict reading, which the price list is about, and those of upstreams
//! that decode, cut and resolve more than they should. Shares no code with the gate.

/// What the price list of the scenario asks for this request target, in msat: percent-encoding is
/// undone segment by segment, and nothing else.
pub(super) fn price_of(target: &[u8]) -> u64 {
    let path = target.split(|byte| *byte == b'?').next().unwrap();
    let segments: Vec<Vec<u8>> = path.split(|byte| *byte == b'/').skip(1).map(decoded).collect();
    let segments: Vec<&[u8]> = segments.iter().map(Vec::as_slice).collect();
    match segments.as_slice() {
        [b""] | [b"free", ..] => 0,
        [b"api", b"joke"] => 5_000,
        [b"api", ..] => 3_000,
        [b"users", id, b"posts"] if !id.is_empty() => 11_000,
        _ => 2_000,
    }
}

/// The paths that an upstream may take these bytes for, each written out plainly.
pub(super) fn readings(target: &[u8]) -> Vec<Vec<u8>> {
    let path = target.split(|byte| *byte == b'?').next().unwrap();
    let mut all = Vec::new();
    for bytes in [path.to_vec(), decoded(path), shortened(&decoded(path))] {
        for cut in [&b""[..], b"#", b"\0", b"?"] {
            let end = bytes.iter().position(|byte| cut.contains(byte)).unwrap_or(bytes.len());
            let slashes = bytes[..end].iter().map(|b| if *b == b'\\' { b'/' } else { *b });
            let slashes: Vec<u8> = slashes.collect();
            for parameters in [true, false] {
                all.push(resolved(&slashes, parameters));
            }
        }
    }
    all
}

/// Without empty and dot segments, and with or without what follows a `;` in a segment.
fn resolved(path: &[u8], parameters: bool) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        let plain = segment.split(|byte| *byte == b';').next().unwrap();
        match if parameters { segment } else { plain } {
            b"" | b"." => {}
            b".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let encoded = |byte: &u8| match byte {
        b'%' | b'?' => format!("%{byte:02x}").into_bytes(),
        byte => vec![*byte],
    };
    let path: Vec<u8> =
        kept.iter().flat_map(|segment| [b"/".as_slice(), segment].concat()).collect();
    if path.is_empty() { b"/".to_vec() } else { path.iter().flat_map(encoded).collect() }
}

/// With dots and slashes for their overlong forms in UTF-8.
fn shortened(bytes: &[u8]) -> Vec<u8> {
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let forms = [
        ("\u{c0}\u{ae}", "."),
        ("\u{e0}\u{80}\u{ae}", "."),
        ("\u{f0}\u{80}\u{80}\u{ae}", "."),
        ("\u{c0}\u{af}", "/"),
        ("\u{c1}\u{9c}", "/"),
    ];
    let plain = forms.into_iter().fold(text, |text, (long, short)| text.replace(long, short));
    plain.chars().map(|char| u8::try_from(u32::from(char)).unwrap()).collect()
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap());
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[test]
fn a_reading_is_found_for_every_trick() {
    for (target, path) in [
        (&b"/free/..%2fapi/joke"[..], &b"/api/joke"[..]),
        (b"/free/..\\api\\joke", b"/api/joke"),
        (b"/free/..;x/api/joke", b"/api/joke"),
        (b"/free/%2e%2e/api/joke?x", b"/api/joke"),
        (b"/free/%c0%ae%c0%ae/api/joke", b"/api/joke"),
        (b"//api//joke/", b"/api/joke"),
        (b"/api/joke%00.png", b"/api/joke"),
    ] {
        assert!(readings(target).iter().any(|read| read == path), "{}", target.escape_ascii());
    }
    assert_eq!(price_of(b"/api/%6aoke?x"), 5_000);
    assert_eq!(price_of(b"/api%2Fjoke"), 2_000);
    assert_eq!(price_of(b"/users//posts"), 2_000);
}
