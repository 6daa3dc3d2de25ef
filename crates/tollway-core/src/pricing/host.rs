//! Hosts: the rules that match them, and the one form in which they are compared.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// The longest host name, in bytes (RFC 1035). A longer one matches only rules for any host.
const HOST_BYTES_MAX: usize = 255;

/// Which hosts a route is for. Letters compare without case; ports are not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// Every host.
    Any,
    /// This host, in lower case.
    Exact(HostName),
    /// Every host below this domain, but not the domain itself.
    Suffix(HostName),
}

/// A host name in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(pub(super) String);

/// Why a host pattern was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostFault {
    /// Nothing, or nothing but dots.
    Empty,
    /// A character that a host name cannot have.
    Malformed,
    /// A port: a route is for a host on all ports.
    Port,
    /// More than 255 bytes.
    TooLong,
    /// A `*` that is not the whole first label.
    Wildcard,
}

impl fmt::Display for HostFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty name",
            Self::Malformed => "a character that a host name cannot have",
            Self::Port => "a port",
            Self::TooLong => "more than 255 bytes",
            Self::Wildcard => "a \"*\" that is not the whole first label",
        })
    }
}

impl core::error::Error for HostFault {}

impl HostRule {
    /// Reads `api.example.com`, `*.example.com`, `[::1]`, or `*` for any host.
    ///
    /// # Errors
    /// [`HostFault`] for any other text.
    pub fn parse(text: &str) -> Result<Self, HostFault> {
        if text == "*" {
            return Ok(Self::Any);
        }
        match text.strip_prefix("*.") {
            Some(suffix) => HostName::parse(suffix).map(Self::Suffix),
            None => HostName::parse(text).map(Self::Exact),
        }
    }
}

impl HostName {
    fn parse(text: &str) -> Result<Self, HostFault> {
        if text.len() > HOST_BYTES_MAX {
            return Err(HostFault::TooLong);
        }
        if text.contains('*') {
            return Err(HostFault::Wildcard);
        }
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(address) = address {
            let proper = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
            return if !address.is_empty() && address.bytes().all(proper) {
                Ok(Self(text.to_ascii_lowercase()))
            } else {
                Err(HostFault::Malformed)
            };
        }
        if text.contains(':') {
            return Err(HostFault::Port);
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let proper = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() {
            Err(HostFault::Empty)
        } else if !name.bytes().all(proper) || name.split('.').any(str::is_empty) {
            Err(HostFault::Malformed)
        } else {
            Ok(Self(name.to_ascii_lowercase()))
        }
    }
}

/// A request's host as rules compare it: no port, no dot at its end, lower case. Empty when it
/// is no host that a rule could name.
pub(super) fn canonical(host: &[u8]) -> Cow<'_, str> {
    let name = without_port(host);
    let name = name.strip_suffix(b".").unwrap_or(name);
    match core::str::from_utf8(name) {
        Ok(name) if name.len() > HOST_BYTES_MAX => Cow::Borrowed(""),
        Ok(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            Cow::Owned(name.to_ascii_lowercase())
        }
        Ok(name) => Cow::Borrowed(name),
        Err(_) => Cow::Borrowed(""),
    }
}

fn without_port(host: &[u8]) -> &[u8] {
    let Some(colon) = host.iter().rposition(|byte| *byte == b':') else { return host };
    match host.split_at_checked(colon) {
        // A colon inside the brackets of an IPv6 address is no port: "]" stands behind it.
        Some((name, port)) if port.iter().skip(1).all(u8::is_ascii_digit) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_parse() {
        let name = |text: &str| HostName(text.into());
        assert_eq!(HostRule::parse("*"), Ok(HostRule::Any));
        assert_eq!(
            HostRule::parse("API.Example.com"),
            Ok(HostRule::Exact(name("api.example.com")))
        );
        assert_eq!(HostRule::parse("example.com."), Ok(HostRule::Exact(name("example.com"))));
        assert_eq!(HostRule::parse("127.0.0.1"), Ok(HostRule::Exact(name("127.0.0.1"))));
        assert_eq!(HostRule::parse("[::1]"), Ok(HostRule::Exact(name("[::1]"))));
        assert_eq!(HostRule::parse("*.Example.com"), Ok(HostRule::Suffix(name("example.com"))));
    }

    #[test]
    fn err_parse() {
        for (text, expected) in [
            ("", HostFault::Empty),
            (".", HostFault::Empty),
            ("*.", HostFault::Empty),
            ("a..b", HostFault::Malformed),
            ("a b", HostFault::Malformed),
            ("caf\u{e9}.com", HostFault::Malformed),
            ("a/b", HostFault::Malformed),
            ("[]", HostFault::Malformed),
            ("[::1%lo]", HostFault::Malformed),
            ("example.com:443", HostFault::Port),
            ("[::1]:443", HostFault::Port),
            ("*example.com", HostFault::Wildcard),
            ("a.*.com", HostFault::Wildcard),
            ("**", HostFault::Wildcard),
        ] {
            assert_eq!(HostRule::parse(text), Err(expected), "{text}");
        }
        assert_eq!(HostRule::parse(&"a".repeat(256)), Err(HostFault::TooLong));
    }

    #[test]
    fn a_request_host_is_compared_without_case_port_and_final_dot() {
        for (host, expected) in [
            (&b"example.com"[..], "example.com"),
            (b"Example.COM:8402", "example.com"),
            (b"example.com.:80", "example.com"),
            (b"example.com:", "example.com"),
            (b"example.com:x", "example.com:x"),
            (b"[::1]", "[::1]"),
            (b"[::1]:80", "[::1]"),
            (b"", ""),
            (b"\xff", ""),
            (&[b'a'; 256], ""),
        ] {
            assert_eq!(canonical(host), expected, "{}", host.escape_ascii());
        }
    }
}
