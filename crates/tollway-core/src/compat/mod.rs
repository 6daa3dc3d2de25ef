//! The token formats of other paywalls, read and minted while an operator moves here.
//!
//! | format | tokens | names |
//! |---|---|---|
//! | lightning-toll 0.1 (PyPI, npm) | JSON, see [`lightning_toll`] | the secret is text |
//! | toll-booth 0.2 (crates.io) | V2 macaroons, see [`toll_booth`] | one root key |
//!
//! Neither says which service it is for, so the operator says for which services an old secret
//! is good. Such a token pays by credit, never by time. Both packages let some things pass that
//! are refused here: unknown caveats, caveats that cannot be read, encodings that only one
//! decoder takes. `docs/compatibility.md` lists them.

mod bound;
pub mod lightning_toll;
pub mod toll_booth;

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::caveat::{TIER_CREDITS, is_service_name};
use crate::money::Msat;
use crate::secret::{RootKey, SecretText};
use crate::verdict::{Rejection, RequestFacts};
use crate::wire;

pub(crate) use bound::Bound;

/// The most keys of other paywalls; every token of theirs is tried with each.
pub const LEGACY_KEYS_MAX: usize = 8;
/// The longest secret of another paywall.
pub const LEGACY_SECRET_BYTES_MAX: usize = 1_024;

/// How a token is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// Our own, and Aperture's: a V2 macaroon in standard base64.
    #[serde(rename = "l402")]
    L402,
    /// The JSON tokens of lightning-toll.
    #[serde(rename = "lightning-toll")]
    LightningToll,
    /// The V2 macaroons of toll-booth.
    #[serde(rename = "toll-booth")]
    TollBooth,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::L402, Self::LightningToll, Self::TollBooth];

    /// The name in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L402 => "l402",
            Self::LightningToll => "lightning-toll",
            Self::TollBooth => "toll-booth",
        }
    }
}

/// What another paywall signed its tokens with, and what they are good for here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegacyKey {
    secret: LegacySecret,
    services: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LegacySecret {
    LightningToll(SecretText),
    TollBooth(RootKey),
}

impl LegacyKey {
    /// Reads a key as `tollwayd` serves it; `None` for one that no format has: an empty or
    /// overlong secret, a root key that is not 64 hexadecimal digits, no service.
    #[must_use]
    #[cold]
    pub fn from_wire(key: &wire::LegacyKey) -> Option<Self> {
        let secret = key.secret.reveal();
        let secret = match key.format {
            Format::LightningToll => {
                let fits = (1..=LEGACY_SECRET_BYTES_MAX).contains(&secret.len());
                fits.then(|| LegacySecret::LightningToll(key.secret.clone()))?
            }
            Format::TollBooth => {
                LegacySecret::TollBooth(RootKey::from_hex(secret.as_bytes()).ok()?)
            }
            Format::L402 => return None,
        };
        let named = !key.services.is_empty();
        let proper = key.services.iter().all(|name| is_service_name(name));
        (named && proper).then(|| Self { secret, services: key.services.clone() })
    }

    /// The secret of lightning-toll, if it is one and mints tokens for this service.
    #[must_use]
    pub fn lightning_toll(&self, service: &str) -> Option<&SecretText> {
        match &self.secret {
            LegacySecret::LightningToll(secret) if self.is_for(service) => Some(secret),
            _ => None,
        }
    }

    /// The root key of toll-booth, if it is one and mints tokens for this service.
    #[must_use]
    pub fn toll_booth(&self, service: &str) -> Option<&RootKey> {
        match &self.secret {
            LegacySecret::TollBooth(key) if self.is_for(service) => Some(key),
            _ => None,
        }
    }

    fn is_for(&self, service: &str) -> bool {
        self.services.iter().any(|name| name == service)
    }

    /// The services, if `genuine` says that the token was signed with this key.
    fn services_if(&self, genuine: impl FnOnce(&LegacySecret) -> bool) -> &[String] {
        if genuine(&self.secret) { &self.services } else { &[] }
    }
}

/// What a genuine token of another paywall admits to.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) format: Format,
    /// The services of every key that it was signed with.
    pub(crate) services: Vec<String>,
    pub(crate) bounds: Vec<Bound>,
    /// The credit that it was sold with, where it says so.
    pub(crate) credit: Option<Msat>,
}

impl Admission {
    pub(crate) fn name_client_ip(&self) -> bool {
        self.bounds.iter().any(|bound| matches!(bound, Bound::Ip(_)))
    }

    /// The first rejection in the order of [`Rejection`], as for our own tokens.
    pub(crate) fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        if !self.services.iter().any(|name| name == facts.service) {
            return Err(Rejection::WrongService);
        }
        if facts.tier != TIER_CREDITS {
            return Err(Rejection::WrongTier);
        }
        self.bounds.iter().filter_map(|bound| bound.check(facts).err()).min().map_or(Ok(()), Err)
    }

    /// The text of the bound that causes this rejection.
    pub(crate) fn expected(&self, facts: &RequestFacts<'_>, why: Rejection) -> Option<&str> {
        self.bounds.iter().find(|bound| bound.check(facts) == Err(why)).and_then(Bound::text)
    }
}

/// Splits a caveat at its first ` = `; the trimmed key is not empty.
fn split_caveat(caveat: &str) -> Result<(&str, &str), Rejection> {
    // Bytes, not `split_once`: a search for text would be a two-hundredth of the filter.
    let at = caveat.as_bytes().windows(3).position(|part| part == b" = ");
    let (key, value) =
        at.and_then(|at| caveat.split_at_checked(at)).ok_or(Rejection::CaveatMalformed)?;
    let value = value.strip_prefix(" = ").unwrap_or_default();
    let (key, value) = (key.trim(), value.trim());
    if key.is_empty() { Err(Rejection::CaveatMalformed) } else { Ok((key, value)) }
}

/// 1 to 19 digits after an optional minus: whether it is negative, and the number.
fn parse_integer(text: &str) -> Result<(bool, u64), Rejection> {
    const DIGITS_MAX: usize = 19;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let proper = digits.len() <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.parse() {
        Ok(number) if proper => Ok((negative, number)),
        _ => Err(Rejection::CaveatMalformed),
    }
}
