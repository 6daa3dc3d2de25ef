//! Paths: what a normalised one looks like, and the patterns that match it.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

/// Why a request's path is not in the one form that is priced and served alike.
///
/// Envoy's path normalisation would have changed or refused each of these, so the filter sees
/// one only when that normalisation is switched off. Then it cannot know what the upstream
/// makes of the path, and unsure means deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// A backslash, which some servers read as a slash.
    Backslash,
    /// A control byte, plain or percent-encoded.
    Control,
    /// A `.` or `..` segment, also with a path parameter behind it.
    DotSegment,
    /// An empty segment that is not the end of the path.
    EmptySegment,
    /// A percent-encoded slash or backslash.
    EncodedSlash,
    /// A percent-encoded letter, digit, `-`, `.`, `_` or `~`.
    EncodedUnreserved,
    /// A fragment.
    Fragment,
    /// A `%` without two hexadecimal digits.
    MalformedPercent,
    /// It does not begin with a slash.
    NotAbsolute,
    /// An ASCII character in more bytes than UTF-8 gives it, percent-encoded.
    Overlong,
    /// A query.
    Query,
    /// A byte that a URL carries only percent-encoded.
    Unencoded,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backslash => "a backslash",
            Self::Control => "a control character",
            Self::DotSegment => "a \".\" or \"..\" segment",
            Self::EmptySegment => "an empty segment (\"//\")",
            Self::EncodedSlash => "a percent-encoded slash or backslash",
            Self::EncodedUnreserved => {
                "a percent-encoded letter, digit, \"-\", \".\", \"_\" or \"~\""
            }
            Self::Fragment => "a \"#\"",
            Self::MalformedPercent => "a \"%\" without two hexadecimal digits",
            Self::NotAbsolute => "a path that does not begin with \"/\"",
            Self::Overlong => "an overlong encoding of an ASCII character",
            Self::Query => "a \"?\"",
            Self::Unencoded => "a character that must be percent-encoded",
        })
    }
}

impl core::error::Error for PathFault {}

/// Whether `path` (without its query) has exactly one reading.
///
/// # Errors
/// The first [`PathFault`] from the left.
///
/// ```
/// use tollway_core::pricing::{PathFault, check_normalised};
///
/// assert_eq!(check_normalised(b"/v1/joke"), Ok(()));
/// assert_eq!(check_normalised(b"/free/..%2Fjoke"), Err(PathFault::EncodedSlash));
/// ```
pub fn check_normalised(path: &[u8]) -> Result<(), PathFault> {
    let mut rest = Some(path.strip_prefix(b"/").ok_or(PathFault::NotAbsolute)?);
    while let Some(text) = rest {
        let (segment, next) = split_segment(text);
        if segment.is_empty() && next.is_some() {
            return Err(PathFault::EmptySegment);
        }
        check_segment(segment)?;
        rest = next;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), PathFault> {
    let mut bytes = segment.iter().copied();
    let mut before = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_digit).ok_or(PathFault::MalformedPercent)?;
                let low = bytes.next().and_then(hex_digit).ok_or(PathFault::MalformedPercent)?;
                let encoded = high << 4 | low;
                check_encoded(encoded)?;
                if is_overlong(before, encoded) {
                    return Err(PathFault::Overlong);
                }
                before = encoded;
                continue;
            }
            b'\\' => return Err(PathFault::Backslash),
            b'#' => return Err(PathFault::Fragment),
            b'?' => return Err(PathFault::Query),
            0x00..=0x1f | 0x7f => return Err(PathFault::Control),
            b' ' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | 0x80.. => {
                return Err(PathFault::Unencoded);
            }
            _ => {}
        }
        before = 0;
    }
    if is_dot_segment(segment) { Err(PathFault::DotSegment) } else { Ok(()) }
}

fn check_encoded(byte: u8) -> Result<(), PathFault> {
    match byte {
        b'/' | b'\\' => Err(PathFault::EncodedSlash),
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            Err(PathFault::EncodedUnreserved)
        }
        0x00..=0x1f | 0x7f => Err(PathFault::Control),
        _ => Ok(()),
    }
}

/// Whether these bytes begin a UTF-8 sequence that is longer than it need be: some servers read
/// `%C0%AE` as a dot all the same.
const fn is_overlong(first: u8, second: u8) -> bool {
    matches!(
        (first, second),
        (0xc0 | 0xc1, 0x80..=0xbf) | (0xe0, 0x80..=0x9f) | (0xf0, 0x80..=0x8f)
    )
}

/// Some servers cut a path parameter off before they resolve dots, so `..;x` is a dot segment.
fn is_dot_segment(segment: &[u8]) -> bool {
    let Some(rest) = segment.strip_prefix(b".") else { return false };
    let rest = rest.strip_prefix(b".").unwrap_or(rest);
    rest.is_empty()
        || rest.starts_with(b";")
        || rest.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"%3b"))
}

pub(super) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The first segment of a path whose leading slash is gone, and what follows the next slash.
pub(super) fn split_segment(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = text.splitn(2, |byte| *byte == b'/');
    (parts.next().unwrap_or_default(), parts.next())
}

/// The segment with its percent-encoding undone; most segments have none and are not copied.
pub(super) fn decode_segment(segment: &[u8]) -> Cow<'_, [u8]> {
    if !segment.contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let mut digits = after.iter().copied().map(hex_digit);
        match (byte, digits.next().flatten(), digits.next().flatten()) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

/// Why a path pattern was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternFault {
    /// No normalised path could ever match it.
    NeverMatches(PathFault),
    /// A template without a `{parameter}`.
    NoParameter,
    /// A parameter that is not a whole segment, or has no proper name.
    ParameterMalformed,
    /// Two parameters of one name.
    ParameterRepeated,
}

impl fmt::Display for PatternFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverMatches(fault) => fault.fmt(f),
            Self::NoParameter => f.write_str("no {parameter}"),
            Self::ParameterMalformed => {
                f.write_str("a parameter that is not a whole segment such as {id}")
            }
            Self::ParameterRepeated => f.write_str("two parameters of one name"),
        }
    }
}

impl core::error::Error for PatternFault {}

/// A pattern that matches paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    pub(super) segments: Vec<Segment>,
    pub(super) extent: Extent,
}

/// One step of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    /// This text, percent-decoded.
    Literal(Vec<u8>),
    /// Any one segment that is not empty.
    Parameter,
}

/// Where a match may end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// At the end of the path.
    Whole,
    /// At any segment.
    Prefix,
}

impl PathRule {
    /// This path and no other.
    ///
    /// # Errors
    /// [`PatternFault::NeverMatches`] when it is not normalised.
    pub fn exact(path: &str) -> Result<Self, PatternFault> {
        let path = path.as_bytes();
        check_normalised(path).map_err(PatternFault::NeverMatches)?;
        Ok(Self { segments: literals(path), extent: Extent::Whole })
    }

    /// This path and everything below it: `/api` matches `/api` and `/api/x`, not `/apix`. A
    /// slash at its end makes no difference.
    ///
    /// # Errors
    /// [`PatternFault::NeverMatches`] when it is not normalised.
    pub fn prefix(path: &str) -> Result<Self, PatternFault> {
        let path = path.as_bytes();
        check_normalised(path).map_err(PatternFault::NeverMatches)?;
        let path = path.strip_suffix(b"/").unwrap_or(path);
        let segments = if path.is_empty() { Vec::new() } else { literals(path) };
        Ok(Self { segments, extent: Extent::Prefix })
    }

    /// A path with parameters: in `/users/{id}/posts`, `{id}` stands for exactly one segment
    /// that is not empty.
    ///
    /// # Errors
    /// [`PatternFault`] for a literal part that is not normalised, a parameter that is not a
    /// whole segment, one name twice, or no parameter at all.
    pub fn template(template: &str) -> Result<Self, PatternFault> {
        let never = PatternFault::NeverMatches;
        let mut rest =
            Some(template.as_bytes().strip_prefix(b"/").ok_or(never(PathFault::NotAbsolute))?);
        let mut segments = Vec::new();
        let mut names: Vec<&[u8]> = Vec::new();
        while let Some(text) = rest {
            let (segment, next) = split_segment(text);
            if let Some(name) = parameter_name(segment)? {
                if names.contains(&name) {
                    return Err(PatternFault::ParameterRepeated);
                }
                names.push(name);
                segments.push(Segment::Parameter);
            } else {
                if segment.is_empty() && next.is_some() {
                    return Err(never(PathFault::EmptySegment));
                }
                check_segment(segment).map_err(never)?;
                segments.push(Segment::Literal(decode_segment(segment).into_owned()));
            }
            rest = next;
        }
        if names.is_empty() {
            return Err(PatternFault::NoParameter);
        }
        Ok(Self { segments, extent: Extent::Whole })
    }
}

fn literals(path: &[u8]) -> Vec<Segment> {
    path.split(|byte| *byte == b'/')
        .skip(1)
        .map(|segment| Segment::Literal(decode_segment(segment).into_owned()))
        .collect()
}

/// The name in `{name}`, or `None` for a segment without braces.
fn parameter_name(segment: &[u8]) -> Result<Option<&[u8]>, PatternFault> {
    if !segment.iter().any(|byte| matches!(byte, b'{' | b'}')) {
        return Ok(None);
    }
    segment
        .strip_prefix(b"{")
        .and_then(|rest| rest.strip_suffix(b"}"))
        .filter(|name| !name.is_empty())
        .filter(|name| name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_'))
        .map(Some)
        .ok_or(PatternFault::ParameterMalformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_one_reading_passes_and_every_other_is_refused() {
        use PathFault::*;
        let table: &[(&[u8], Result<(), PathFault>)] = &[
            (b"/", Ok(())),
            (b"/a", Ok(())),
            (b"/A", Ok(())),
            (b"/a/", Ok(())),
            (b"/a/b/c", Ok(())),
            (b"/a;x", Ok(())),
            (b"/a;x=1/b", Ok(())),
            (b"/v1/models:predict", Ok(())),
            (b"/a@b,c!$&'()*+=", Ok(())),
            (b"/...", Ok(())),
            (b"/.well-known/l402", Ok(())),
            (b"/..a", Ok(())),
            (b"/a.", Ok(())),
            (b"/a..", Ok(())),
            (b"/~user/-_.", Ok(())),
            (b"/caf%C3%A9", Ok(())),
            (b"/caf%c3%a9", Ok(())),
            (b"/a%20b", Ok(())),
            (b"/a%3Bx", Ok(())),
            (b"/a%3Fb%23c", Ok(())),
            (b"/100%25", Ok(())),
            (b"/a%252Fb", Ok(())),
            (b"/caf%E9", Ok(())),
            (b"/%c0", Ok(())),
            (b"/%c0/%ae", Ok(())),
            (b"/%c0x%ae", Ok(())),
            (b"/%e2%82%ac", Ok(())),
            (b"/%e0%a4%b9", Ok(())),
            (b"/%c0%ae%c0%ae/b", Err(Overlong)),
            (b"/a%C1%9Cb", Err(Overlong)),
            (b"/%e0%80%ae", Err(Overlong)),
            (b"/%f0%80%80%ae", Err(Overlong)),
            (b"/a|b^[c]", Ok(())),
            (b"", Err(NotAbsolute)),
            (b"*", Err(NotAbsolute)),
            (b"a", Err(NotAbsolute)),
            (b"http://example.com/a", Err(NotAbsolute)),
            (b"?x", Err(NotAbsolute)),
            (b"\\a", Err(NotAbsolute)),
            (b"//", Err(EmptySegment)),
            (b"//a", Err(EmptySegment)),
            (b"/a//b", Err(EmptySegment)),
            (b"/a//", Err(EmptySegment)),
            (b"/.", Err(DotSegment)),
            (b"/..", Err(DotSegment)),
            (b"/a/.", Err(DotSegment)),
            (b"/a/./b", Err(DotSegment)),
            (b"/a/../b", Err(DotSegment)),
            (b"/a/..;/b", Err(DotSegment)),
            (b"/a/.;x/b", Err(DotSegment)),
            (b"/a/..%3bx/b", Err(DotSegment)),
            (b"/a/%2e%2e/b", Err(EncodedUnreserved)),
            (b"/a/.%2E/b", Err(EncodedUnreserved)),
            (b"/%61", Err(EncodedUnreserved)),
            (b"/a%2Db", Err(EncodedUnreserved)),
            (b"/a%5fb", Err(EncodedUnreserved)),
            (b"/a%7Eb", Err(EncodedUnreserved)),
            (b"/%30", Err(EncodedUnreserved)),
            (b"/a%2Fb", Err(EncodedSlash)),
            (b"/a%2fb", Err(EncodedSlash)),
            (b"/a%5Cb", Err(EncodedSlash)),
            (b"/a%5cb", Err(EncodedSlash)),
            (b"/a\\b", Err(Backslash)),
            (b"/a%", Err(MalformedPercent)),
            (b"/a%2", Err(MalformedPercent)),
            (b"/a%2/b", Err(MalformedPercent)),
            (b"/a%zz", Err(MalformedPercent)),
            (b"/a%%2f", Err(MalformedPercent)),
            (b"/a%u002f", Err(MalformedPercent)),
            (b"/a\0b", Err(Control)),
            (b"/a%00", Err(Control)),
            (b"/a\r\nb", Err(Control)),
            (b"/a%0d%0a", Err(Control)),
            (b"/a\t", Err(Control)),
            (b"/a\x7f", Err(Control)),
            (b"/a%7F", Err(Control)),
            (b"/a#f", Err(Fragment)),
            (b"/a?x", Err(Query)),
            (b"/a b", Err(Unencoded)),
            (b"/a\"b", Err(Unencoded)),
            (b"/{id}", Err(Unencoded)),
            (b"/a<b>", Err(Unencoded)),
            (b"/caf\xc3\xa9", Err(Unencoded)),
            (b"/\xff", Err(Unencoded)),
        ];
        for (path, expected) in table {
            assert_eq!(check_normalised(path), *expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn err_template() {
        use PatternFault::*;
        for (template, expected) in [
            ("/users", NoParameter),
            ("/users/{}", ParameterMalformed),
            ("/users/{id}.json", ParameterMalformed),
            ("/users/{id", ParameterMalformed),
            ("/users/id}", ParameterMalformed),
            ("/users/{a b}", ParameterMalformed),
            ("/users/{{id}}", ParameterMalformed),
            ("/{id}/{id}", ParameterRepeated),
            ("users/{id}", NeverMatches(PathFault::NotAbsolute)),
            ("/users//{id}", NeverMatches(PathFault::EmptySegment)),
            ("/../{id}", NeverMatches(PathFault::DotSegment)),
            ("/{id}?x", ParameterMalformed),
            ("/a?x/{id}", NeverMatches(PathFault::Query)),
        ] {
            assert_eq!(PathRule::template(template), Err(expected), "{template}");
        }
    }

    #[test]
    fn err_exact_and_prefix_that_no_request_can_match() {
        let never = |fault| Err(PatternFault::NeverMatches(fault));
        assert_eq!(PathRule::exact("joke"), never(PathFault::NotAbsolute));
        assert_eq!(PathRule::exact("/a?b"), never(PathFault::Query));
        assert_eq!(PathRule::prefix(""), never(PathFault::NotAbsolute));
        assert_eq!(PathRule::prefix("/a//"), never(PathFault::EmptySegment));
        assert_eq!(
            PathRule::prefix("/*"),
            PathRule::exact("/*").map(|rule| PathRule { extent: Extent::Prefix, ..rule })
        );
    }

    #[test]
    fn one_path_in_two_spellings_is_one_rule() {
        assert_eq!(PathRule::exact("/a%3ab"), PathRule::exact("/a:b"));
        assert_eq!(PathRule::prefix("/api/"), PathRule::prefix("/api"));
        assert_eq!(PathRule::template("/{a}"), PathRule::template("/{b}"));
        assert_ne!(PathRule::exact("/api/"), PathRule::exact("/api"));
        assert_ne!(PathRule::exact("/"), PathRule::prefix("/"));
    }
}
