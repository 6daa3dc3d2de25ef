//! Conditions beside host and path: methods and headers.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::RequestHead;
use crate::header_block::HeaderBlock;

/// Which methods a route is for. `HEAD` is matched wherever `GET` is listed, for it asks for the
/// same thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodRule {
    /// Sorted; empty for any method.
    listed: Vec<String>,
}

/// Why a list of methods was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodFault {
    /// A name in lower case: methods are case-sensitive, and it would never match.
    LowerCase,
    /// A character that a method cannot have.
    Malformed,
    /// One method twice.
    Repeated,
}

impl fmt::Display for MethodFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LowerCase => "lower-case letters",
            Self::Malformed => "a character that a method cannot have",
            Self::Repeated => "a method that is listed before",
        })
    }
}

impl core::error::Error for MethodFault {}

impl MethodRule {
    /// Every method.
    #[must_use]
    pub const fn any() -> Self {
        Self { listed: Vec::new() }
    }

    /// Adds a method to the list.
    ///
    /// # Errors
    /// [`MethodFault`] for a name that is no method in upper case, or is listed already.
    pub fn with(mut self, method: &str) -> Result<Self, MethodFault> {
        if !is_token(method) {
            return Err(MethodFault::Malformed);
        }
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(MethodFault::LowerCase);
        }
        match self.listed.binary_search_by(|known| known.as_str().cmp(method)) {
            Ok(_) => Err(MethodFault::Repeated),
            Err(at) => {
                self.listed.insert(at, method.to_owned());
                Ok(self)
            }
        }
    }

    pub(super) const fn is_any(&self) -> bool {
        self.listed.is_empty()
    }

    pub(super) fn matches(&self, method: &[u8]) -> bool {
        let lists = |method| self.listed.iter().any(|known| known.as_bytes() == method);
        self.is_any() || lists(method) || (method == b"HEAD" && lists(b"GET"))
    }
}

/// A condition on one header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    name: String,
    want: Want,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Want {
    Absent,
    Present,
    Value(Vec<u8>),
}

/// Why a condition on a header was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderFault {
    /// A header that the filter removes before it looks for a route.
    Control,
    /// A character that a header's name cannot have.
    NameMalformed,
    /// A second condition on one header.
    Repeated,
    /// A value that no header can carry.
    ValueMalformed,
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "a header that clients cannot send",
            Self::NameMalformed => "a character that a header's name cannot have",
            Self::Repeated => "a second condition on one header",
            Self::ValueMalformed => "a value that no header can carry",
        })
    }
}

impl core::error::Error for HeaderFault {}

impl HeaderRule {
    /// The header comes exactly once, with exactly this value.
    ///
    /// A repeated header never matches: which of its values the upstream obeys is unknown.
    ///
    /// # Errors
    /// [`HeaderFault`] for a name or value that no header has.
    pub fn value(name: &str, value: &str) -> Result<Self, HeaderFault> {
        let proper = value.trim() == value && !value.chars().any(char::is_control);
        if !proper {
            return Err(HeaderFault::ValueMalformed);
        }
        Self::new(name, Want::Value(value.as_bytes().to_vec()))
    }

    /// The header comes at least once (`present`), or not at all.
    ///
    /// # Errors
    /// [`HeaderFault`] for a name that no header has.
    pub fn present(name: &str, present: bool) -> Result<Self, HeaderFault> {
        Self::new(name, if present { Want::Present } else { Want::Absent })
    }

    fn new(name: &str, want: Want) -> Result<Self, HeaderFault> {
        Ok(Self { name: client_header(name)?, want })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The header and the value it must have, where the rule asks for one.
    pub(super) fn asked_value(&self) -> Option<(&str, &[u8])> {
        match &self.want {
            Want::Value(value) => Some((&self.name, value)),
            Want::Absent | Want::Present => None,
        }
    }

    pub(super) fn matches(&self, head: &RequestHead<'_>) -> bool {
        match &self.want {
            Want::Absent => values_of(head.headers, &self.name).next().is_none(),
            Want::Present => values_of(head.headers, &self.name).next().is_some(),
            Want::Value(value) => only_value(head, &self.name) == Some(value),
        }
    }
}

/// The name, in lower case, of a header that a client sends and that says what it says.
pub(super) fn client_header(name: &str) -> Result<String, HeaderFault> {
    let name = name.to_ascii_lowercase();
    if !is_token(&name) {
        return Err(HeaderFault::NameMalformed);
    }
    // Client-sent x-toll-* headers are stripped, and Envoy turns Host into the authority.
    if name.starts_with("x-toll-") || name == "host" {
        return Err(HeaderFault::Control);
    }
    Ok(name)
}

/// The value of a header that comes exactly once.
pub(super) fn only_value<'a>(head: &RequestHead<'a>, name: &str) -> Option<&'a [u8]> {
    let mut values = values_of(head.headers, name);
    values.next().filter(|_| values.next().is_none())
}

pub(super) fn values_of<'a>(
    headers: &'a HeaderBlock,
    name: &str,
) -> impl Iterator<Item = &'a [u8]> {
    let same = move |(key, _): &(&[u8], &[u8])| key.eq_ignore_ascii_case(name.as_bytes());
    headers.iter().filter(same).map(|(_, value)| value)
}

/// Whether `text` is a token of RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &HeaderBlock) -> RequestHead<'_> {
        RequestHead { host: b"", path: b"/", method: b"GET", headers }
    }

    #[test]
    fn head_is_matched_where_get_is_listed() {
        let rule = MethodRule::any().with("POST").unwrap().with("GET").unwrap();
        for (method, expected) in [
            (&b"GET"[..], true),
            (b"HEAD", true),
            (b"POST", true),
            (b"PUT", false),
            (b"get", false),
        ] {
            assert_eq!(rule.matches(method), expected, "{}", method.escape_ascii());
        }
        assert!(!MethodRule::any().with("POST").unwrap().matches(b"HEAD"));
        assert!(MethodRule::any().matches(b"ANYTHING"));
    }

    #[test]
    fn err_method() {
        assert_eq!(MethodRule::any().with("get"), Err(MethodFault::LowerCase));
        assert_eq!(MethodRule::any().with(""), Err(MethodFault::Malformed));
        assert_eq!(MethodRule::any().with("GET POST"), Err(MethodFault::Malformed));
        let listed = MethodRule::any().with("GET").unwrap();
        assert_eq!(listed.with("GET"), Err(MethodFault::Repeated));
    }

    #[test]
    fn a_value_matches_only_a_header_that_comes_once() {
        let rule = HeaderRule::value("X-Model", "large").unwrap();
        let matches = |values: &[&str]| {
            rule.matches(&head(&values.iter().map(|value| ("X-Model", value)).collect()))
        };
        assert!(matches(&["large"]));
        for values in [&[][..], &["Large"], &["large", "small"], &["large", "large"]] {
            assert!(!matches(values), "{values:?}");
        }
    }

    #[test]
    fn presence_and_absence() {
        let present = HeaderRule::present("x-a", true).unwrap();
        let absent = HeaderRule::present("x-a", false).unwrap();
        let sent = [("x-a", b"\xff")].into();
        assert!(present.matches(&head(&sent)) && !absent.matches(&head(&sent)));
        assert!(
            !present.matches(&head(HeaderBlock::none()))
                && absent.matches(&head(HeaderBlock::none()))
        );
    }

    #[test]
    fn err_header() {
        assert_eq!(HeaderRule::present("", true), Err(HeaderFault::NameMalformed));
        assert_eq!(HeaderRule::present(":path", true), Err(HeaderFault::NameMalformed));
        assert_eq!(HeaderRule::present("x y", true), Err(HeaderFault::NameMalformed));
        assert_eq!(HeaderRule::present("X-Toll-Tier", true), Err(HeaderFault::Control));
        assert_eq!(HeaderRule::present("Host", true), Err(HeaderFault::Control));
        assert_eq!(HeaderRule::value("a", "b\r\nc"), Err(HeaderFault::ValueMalformed));
        assert_eq!(HeaderRule::value("a", " b"), Err(HeaderFault::ValueMalformed));
    }
}
