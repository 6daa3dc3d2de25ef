//! What a caveat of another paywall's token asks of a request.

use alloc::string::String;

use crate::verdict::{Rejection, RequestFacts};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    /// The first millisecond, in Unix time, at which the token's use has ended.
    EndsAt(u64),
    /// The only path, as exact text.
    Path(String),
    /// The only path, or anything below it.
    PathBelow(String),
    /// The only method, in any case.
    Method(String),
    /// The only client address, as exact text.
    Ip(String),
}

impl Bound {
    pub(crate) fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        let path = || facts.path.split(|byte| *byte == b'?').next().unwrap_or_default();
        let (holds, otherwise) = match self {
            Self::EndsAt(unix_ms) => (facts.now_ms < *unix_ms, Rejection::Expired),
            Self::Path(only) => (path() == only.as_bytes(), Rejection::WrongEndpoint),
            Self::PathBelow(top) => {
                let rest = path().strip_prefix(top.as_bytes());
                let below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"));
                (below, Rejection::WrongEndpoint)
            }
            Self::Method(only) => {
                (facts.method.eq_ignore_ascii_case(only.as_bytes()), Rejection::WrongMethod)
            }
            Self::Ip(only) => (facts.client_ip == Some(only), Rejection::WrongIp),
        };
        if holds { Ok(()) } else { Err(otherwise) }
    }

    /// What it asks for, where that is a text.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::EndsAt(_) => None,
            Self::Path(text) | Self::PathBelow(text) | Self::Method(text) | Self::Ip(text) => {
                Some(text)
            }
        }
    }
}
