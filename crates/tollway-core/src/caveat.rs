//! The caveat vocabulary: a closed set, each caveat `key=value` or `key = value`.
//!
//! | caveat | holds when |
//! |---|---|
//! | `services=<name>:<tier>[,..]` | the request's service is in the list |
//! | `<service>_valid_until=<unix s>` | the request is for another service, or earlier than this |
//! | `expires_at=<unix s>` | the request is earlier than this |
//! | `endpoint=<path>` | the request's path, without its query, is exactly this |
//! | `method=<method>` | the request's method is this, in any case |
//! | `ip=<address>` | the client's address is exactly this text |
//! | `max_cost_msat=<msat>` | the request costs at most this |
//! | `preimage=<64 hex digits>` | the credential's preimage is this; Aperture's clients add it |
//!
//! Anyone can append a caveat, so nothing here grants anything: an unknown or malformed caveat
//! refuses, and of repeated ones all must hold. A later `services` or `valid_until` that allows
//! more than an earlier one refuses as well, as in Aperture. Unlike there, a token without
//! `services` admits to nothing: every token we mint has one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::money::Msat;
use crate::payment::Preimage;
use crate::verdict::{Rejection, RequestFacts};

/// The longest service name. It stands in two caveats of every token.
pub const SERVICE_NAME_BYTES_MAX: usize = 64;

/// The most services in one caveat; lists are compared pair by pair.
pub const SERVICES_MAX: usize = 32;

const VALID_UNTIL_SUFFIX: &str = "_valid_until";

/// Whether `text` may name a service: 1 to 64 of `a-z`, `0-9`, `_` and `-`.
///
/// Names stand in caveats between delimiters, so no free text may pass here.
#[must_use]
pub fn is_service_name(text: &str) -> bool {
    (1..=SERVICE_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}

/// A service and the tier at which it was bought.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The name; see [`is_service_name`].
    pub name: String,
    /// The tier; 0 is the plain one.
    pub tier: u8,
}

/// One caveat of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// The services that the token may be used for.
    Services(Vec<Service>),
    /// When the token's use for one service ends.
    ValidUntil {
        /// The service.
        service: String,
        /// The first second, in Unix time, at which it has ended.
        unix_s: u64,
    },
    /// When the token's use ends: the first second, in Unix time, at which it has ended.
    ExpiresAt(u64),
    /// The only path.
    Endpoint(String),
    /// The only method.
    Method(String),
    /// The only client address.
    Ip(String),
    /// A copy of the credential's preimage.
    Preimage(Preimage),
    /// The most that one request may cost.
    MaxCost(Msat),
}

impl Caveat {
    /// Reads one caveat.
    ///
    /// # Errors
    /// [`CaveatError`] for a key outside the vocabulary, or a value that its key does not allow.
    pub fn parse(bytes: &[u8]) -> Result<Self, CaveatError> {
        let text = core::str::from_utf8(bytes).map_err(|_| CaveatError::Malformed)?;
        let (key, value) = text.split_once('=').ok_or(CaveatError::Malformed)?;
        let (key, value) = (key.trim_matches(' '), value.trim_matches(' '));
        match key {
            "services" => parse_services(value).map(Self::Services),
            "expires_at" => parse_number(value).map(Self::ExpiresAt),
            "endpoint" if is_path(value) => Ok(Self::Endpoint(value.into())),
            "method" if is_word(value) => Ok(Self::Method(value.into())),
            "ip" if is_word(value) => Ok(Self::Ip(value.into())),
            "endpoint" | "method" | "ip" => Err(CaveatError::Malformed),
            "preimage" => Preimage::from_hex(value.as_bytes())
                .map(Self::Preimage)
                .map_err(|_| CaveatError::Malformed),
            "max_cost_msat" => parse_number(value)
                .and_then(|msat| Msat::new(msat).ok_or(CaveatError::Malformed))
                .map(Self::MaxCost),
            _ => {
                let service = key.strip_suffix(VALID_UNTIL_SUFFIX).ok_or(CaveatError::Unknown)?;
                if !is_service_name(service) {
                    return Err(CaveatError::Unknown);
                }
                let unix_s = parse_number(value)?;
                Ok(Self::ValidUntil { service: service.into(), unix_s })
            }
        }
    }

    /// Whether a request with these facts may pass this one caveat.
    fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        let (holds, otherwise) = match self {
            Self::Services(services) => {
                (services.iter().any(|s| s.name == facts.service), Rejection::WrongService)
            }
            Self::ValidUntil { service, unix_s } => {
                (service != facts.service || facts.now_s < *unix_s, Rejection::Expired)
            }
            Self::ExpiresAt(unix_s) => (facts.now_s < *unix_s, Rejection::Expired),
            Self::Endpoint(path) => {
                let found = facts.path.split(|byte| *byte == b'?').next();
                (found == Some(path.as_bytes()), Rejection::WrongEndpoint)
            }
            Self::Method(method) => {
                (facts.method.eq_ignore_ascii_case(method.as_bytes()), Rejection::WrongMethod)
            }
            Self::Ip(ip) => (facts.client_ip == Some(ip), Rejection::WrongIp),
            // The preimage was compared when the credential was verified.
            Self::Preimage(_) => (true, Rejection::PreimageMismatch),
            Self::MaxCost(max) => (facts.cost <= *max, Rejection::CostTooHigh),
        };
        if holds { Ok(()) } else { Err(otherwise) }
    }

    /// Whether this caveat allows what `earlier`, which stands before it, does not.
    fn widens(&self, earlier: &Self) -> bool {
        match (earlier, self) {
            (Self::Services(earlier), Self::Services(later)) => {
                later.iter().any(|service| !earlier.contains(service))
            }
            (
                Self::ValidUntil { service: earlier, unix_s: before },
                Self::ValidUntil { service: later, unix_s: after },
            ) => earlier == later && after > before,
            _ => false,
        }
    }
}

impl fmt::Display for Caveat {
    /// The canonical text, as minted. It shows a `preimage` caveat without its secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services(services) => {
                f.write_str("services=")?;
                for (at, Service { name, tier }) in services.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{name}:{tier}")?;
                }
                Ok(())
            }
            Self::ValidUntil { service, unix_s } => {
                write!(f, "{service}{VALID_UNTIL_SUFFIX}={unix_s}")
            }
            Self::ExpiresAt(unix_s) => write!(f, "expires_at={unix_s}"),
            Self::Endpoint(path) => write!(f, "endpoint={path}"),
            Self::Method(method) => write!(f, "method={method}"),
            Self::Ip(ip) => write!(f, "ip={ip}"),
            Self::Preimage(_) => f.write_str("preimage=(redacted)"),
            Self::MaxCost(max) => write!(f, "max_cost_msat={}", max.get()),
        }
    }
}

/// All caveats of one genuine token, read and consistent with each other.
#[derive(Clone, Debug)]
pub(crate) struct Caveats(Vec<Caveat>);

impl Caveats {
    /// Reads the caveats of a token whose preimage is known.
    pub(crate) fn parse<'a>(
        caveats: impl Iterator<Item = &'a [u8]>,
        preimage: &Preimage,
    ) -> Result<Self, Rejection> {
        let parsed: Vec<_> = caveats.map(Caveat::parse).collect();
        let mismatch =
            |c: &Result<Caveat, _>| matches!(c, Ok(Caveat::Preimage(p)) if p != preimage);
        if parsed.iter().any(mismatch) {
            return Err(Rejection::PreimageMismatch);
        }
        let read = parsed.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| match e {
            CaveatError::Unknown => Rejection::CaveatUnknown,
            CaveatError::Malformed => Rejection::CaveatMalformed,
        })?;
        let mut earlier: Vec<&Caveat> = Vec::new();
        for caveat in &read {
            if earlier.iter().any(|before| caveat.widens(before)) {
                return Err(Rejection::CaveatWidens);
            }
            earlier.push(caveat);
        }
        if !read.iter().any(|c| matches!(c, Caveat::Services(_))) {
            return Err(Rejection::WrongService);
        }
        Ok(Self(read))
    }

    /// Whether a request with these facts may pass; the first rejection in the order of
    /// [`Rejection`], whatever the order of the caveats.
    pub(crate) fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        self.0.iter().filter_map(|caveat| caveat.check(facts).err()).min().map_or(Ok(()), Err)
    }
}

/// Why bytes are not a caveat of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaveatError {
    /// The key is not in the vocabulary.
    Unknown,
    /// No key, or a value that the key does not allow.
    Malformed,
}

impl fmt::Display for CaveatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "expected a known caveat, but found another",
            Self::Malformed => "expected `key=value`, but found text that its key does not allow",
        })
    }
}

impl core::error::Error for CaveatError {}

fn parse_services(value: &str) -> Result<Vec<Service>, CaveatError> {
    let mut services: Vec<Service> = Vec::new();
    for entry in value.split(',') {
        let (name, tier) = entry.split_once(':').ok_or(CaveatError::Malformed)?;
        let tier = parse_number(tier)?.try_into().map_err(|_| CaveatError::Malformed)?;
        let repeated = services.iter().any(|service| service.name == name);
        if !is_service_name(name) || repeated || services.len() >= SERVICES_MAX {
            return Err(CaveatError::Malformed);
        }
        services.push(Service { name: name.into(), tier });
    }
    Ok(services)
}

/// Reads decimal digits only: Rust's own reading would let a plus sign pass.
fn parse_number(text: &str) -> Result<u64, CaveatError> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CaveatError::Malformed);
    }
    text.parse().map_err(|_| CaveatError::Malformed)
}

/// A path that a request can have: from the root, without query or fragment.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && !text.contains(['?', '#'])
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}
