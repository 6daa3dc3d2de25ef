//! The caveat vocabulary: a closed set, each caveat `key=value` or `key = value`.
//!
//! | caveat | holds when |
//! |---|---|
//! | `services=<name>:<tier>[,..]` | the request's service is in the list, at its route's tier |
//! | `<service>_valid_until=<unix s>` | the request is for another service, or earlier than this |
//! | `expires_at=<unix s>` | the request is earlier than this |
//! | `endpoint=<path>` | the request's path, without its query, is exactly this |
//! | `method=<method>` | the request's method is this, in any case |
//! | `ip=<address>` | the client's address is exactly this text |
//! | `max_cost_msat=<msat>` | the request costs at most this |
//! | `budget=<msat>/<window>[/<name>]` | the ledger finds it within the [budget](crate::budget) |
//! | `preimage=<64 hex digits>` | the credential's preimage is this; Aperture's clients add it |
//!
//! Anyone can append a caveat, so nothing here grants anything: a malformed caveat refuses, an
//! unknown one unless it was [minted](crate::minted), and of repeated ones all must hold. A later
//! `services` or `valid_until` that allows more than an earlier one refuses as well, as in
//! Aperture. Unlike there, a token without `services` admits to nothing: every token we mint has
//! one.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::budget::{BUDGETS_MAX, Budget, TokenBudget};
use crate::digest::Digest;
use crate::minted::{MintedCaveat, minted};
use crate::money::Msat;
use crate::payment::Preimage;
use crate::verdict::{Rejection, RequestFacts};

/// The longest service name. It stands in two caveats of every token.
pub const SERVICE_NAME_BYTES_MAX: usize = 64;

/// The tier of tokens that buy credit, which each request spends.
pub const TIER_CREDITS: u8 = 0;

/// The tier of tokens that buy time: until they expire, requests cost nothing.
pub const TIER_SESSION: u8 = 1;

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
    /// The tier: [`TIER_CREDITS`] or [`TIER_SESSION`]; no other opens anything.
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
    /// The most that all requests of a window may cost.
    Budget(Budget),
    /// Not of the vocabulary, but written by the operator. [`Caveat::parse`] cannot know and never
    /// gives it.
    Minted(MintedCaveat),
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
            "budget" => Budget::parse(value).map(Self::Budget),
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
                match services.iter().find(|service| service.name == facts.service) {
                    Some(service) => (service.tier == facts.tier, Rejection::WrongTier),
                    None => (false, Rejection::WrongService),
                }
            }
            Self::ValidUntil { service, unix_s } => {
                (service != facts.service || is_before(facts, *unix_s), Rejection::Expired)
            }
            Self::ExpiresAt(unix_s) => (is_before(facts, *unix_s), Rejection::Expired),
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
            // It says something and asks nothing.
            Self::Minted(_) => (true, Rejection::CaveatUnknown),
            // The ledger knows what was spent; what no window could ever pay is known here.
            Self::Budget(budget) => (facts.cost <= budget.limit, Rejection::CostTooHigh),
            Self::MaxCost(max) => (facts.cost <= *max, Rejection::CostTooHigh),
        };
        if holds { Ok(()) } else { Err(otherwise) }
    }

    /// Whether this caveat allows what `earlier`, which stands before it, does not; `None` if
    /// the two are not of one kind, or simply both hold.
    fn widens(&self, earlier: &Self) -> Option<bool> {
        match (earlier, self) {
            (Self::Services(earlier), Self::Services(later)) => {
                Some(later.iter().any(|service| !earlier.contains(service)))
            }
            (
                Self::ValidUntil { service: earlier, unix_s: before },
                Self::ValidUntil { service: later, unix_s: after },
            ) if earlier == later => Some(after > before),
            _ => None,
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
            Self::Budget(budget) => write!(f, "budget={budget}"),
            Self::Minted(minted) => minted.fmt(f),
        }
    }
}

/// All caveats of one genuine token, read and consistent with each other.
#[derive(Clone, Debug)]
pub(crate) struct Caveats {
    read: Vec<Caveat>,
    /// The budgets among them, in their order.
    budgets: Vec<TokenBudget>,
}

impl Caveats {
    /// Reads the caveats of a token that came with this preimage.
    pub(crate) fn parse<'a>(
        identifier: &[u8],
        caveats: impl Iterator<Item = &'a [u8]>,
        preimage: Option<&Preimage>,
    ) -> Result<Self, Rejection> {
        let caveats: Vec<&[u8]> = caveats.collect();
        let mut minted = minted(identifier, caveats.iter().copied()).into_iter();
        let or_minted = |caveat: &&[u8]| match Caveat::parse(caveat) {
            // Where any count, all that are unknown do, in their order.
            Err(CaveatError::Unknown) => {
                minted.next().map(Caveat::Minted).ok_or(CaveatError::Unknown)
            }
            read => read,
        };
        let parsed: Vec<_> = caveats.iter().map(or_minted).collect();
        let mismatch =
            |c: &Result<Caveat, _>| matches!(c, Ok(Caveat::Preimage(p)) if Some(p) != preimage);
        if parsed.iter().any(mismatch) {
            return Err(Rejection::PreimageMismatch);
        }
        let read = parsed.into_iter().collect::<Result<Vec<_>, _>>().map_err(|e| match e {
            CaveatError::Unknown => Rejection::CaveatUnknown,
            CaveatError::Malformed => Rejection::CaveatMalformed,
        })?;
        let mut earlier: Vec<&Caveat> = Vec::new();
        for caveat in &read {
            // The nearest of its kind is enough: each was compared with the one before it.
            if earlier.iter().rev().find_map(|before| caveat.widens(before)) == Some(true) {
                return Err(Rejection::CaveatWidens);
            }
            earlier.push(caveat);
        }
        if !read.iter().any(|c| matches!(c, Caveat::Services(_))) {
            return Err(Rejection::WrongService);
        }
        let budgets = token_budgets(identifier, &caveats, &read)?;
        Ok(Self { read, budgets })
    }

    /// What the token's spending counts against, the outermost first.
    pub(crate) fn budgets(&self) -> &[TokenBudget] {
        &self.budgets
    }

    /// What the operator wrote.
    pub(crate) fn minted(&self) -> impl Iterator<Item = &MintedCaveat> {
        self.read.iter().filter_map(|caveat| match caveat {
            Caveat::Minted(minted) => Some(minted),
            _ => None,
        })
    }

    /// The most that one request may cost.
    pub(crate) fn max_cost(&self) -> Msat {
        let costs = self.read.iter().filter_map(|caveat| match caveat {
            Caveat::MaxCost(max) => Some(*max),
            _ => None,
        });
        costs.min().unwrap_or(Msat::MAX)
    }

    /// Whether any of them names a client address.
    pub(crate) fn name_client_ip(&self) -> bool {
        self.read.iter().any(|caveat| matches!(caveat, Caveat::Ip(_)))
    }

    /// Whether a request with these facts may pass; the first rejection in the order of
    /// [`Rejection`], whatever the order of the caveats.
    pub(crate) fn check(&self, facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        self.read.iter().filter_map(|caveat| caveat.check(facts).err()).min().map_or(Ok(()), Err)
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

/// The budgets of a token. Each is named by everything that the token was when it was added, so
/// that no other token can spend from it, and every token that comes from there does.
fn token_budgets(
    identifier: &[u8],
    caveats: &[&[u8]],
    read: &[Caveat],
) -> Result<Vec<TokenBudget>, Rejection> {
    let mut budgets = Vec::new();
    for (at, caveat) in read.iter().enumerate() {
        let Caveat::Budget(budget) = caveat else { continue };
        if budgets.len() >= BUDGETS_MAX {
            return Err(Rejection::CaveatMalformed);
        }
        let mut parts: Vec<&[u8]> = Vec::from([&b"tollway budget"[..], identifier]);
        parts.extend(caveats.iter().take(at.saturating_add(1)));
        let (limit_msat, window) = (budget.limit, budget.window);
        budgets.push(TokenBudget { id: Digest::of(&parts), limit_msat, window });
    }
    Ok(budgets)
}

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

fn is_before(facts: &RequestFacts<'_>, unix_s: u64) -> bool {
    facts.now_ms / 1_000 < unix_s
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

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    fn services(entries: &[(&str, u8)]) -> Caveat {
        let service = |(name, tier): &(&str, u8)| Service { name: (*name).into(), tier: *tier };
        Caveat::Services(entries.iter().map(service).collect())
    }

    #[test]
    fn ok_every_caveat_of_the_vocabulary() {
        let valid_until = |service: &str| Caveat::ValidUntil { service: service.into(), unix_s: 7 };
        for (text, expected) in [
            ("services=a:0", services(&[("a", 0)])),
            ("services=a:0,b:1,c:0", services(&[("a", 0), ("b", 1), ("c", 0)])),
            ("a_valid_until=7", valid_until("a")),
            ("a-b_9_valid_until=7", valid_until("a-b_9")),
            ("expires_at=0", Caveat::ExpiresAt(0)),
            ("expires_at=18446744073709551615", Caveat::ExpiresAt(u64::MAX)),
            ("endpoint=/v1/a=b", Caveat::Endpoint("/v1/a=b".into())),
            ("endpoint=/v1/models/x:generate", Caveat::Endpoint("/v1/models/x:generate".into())),
            ("method=GET", Caveat::Method("GET".into())),
            ("ip=2001:db8::1", Caveat::Ip("2001:db8::1".into())),
            ("max_cost_msat=5000", Caveat::MaxCost(Msat::from_sats(5).unwrap())),
            ("budget=5000/day/a", Caveat::Budget(Budget::parse("5000/day/a").unwrap())),
        ] {
            let parsed = Caveat::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.to_string(), text);
            let spaced = text.replacen('=', " = ", 1);
            assert_eq!(Caveat::parse(spaced.as_bytes()), Ok(expected), "{spaced}");
        }
    }

    #[test]
    fn ok_preimage_in_either_case_and_never_shown() {
        for digits in ["aB", "ab", "AB"] {
            let text = format!("preimage={}", digits.repeat(32));
            let parsed = Caveat::parse(text.as_bytes()).unwrap();
            assert_eq!(parsed, Caveat::Preimage(Preimage::from_bytes([0xab; 32])));
            let shown = format!("{parsed} {parsed:?}").to_lowercase();
            assert!(!shown.contains("abab"), "{shown}");
        }
    }

    #[test]
    fn err_unknown_keys() {
        for text in [
            "tier=gold",
            "a_capabilities=add",
            "Services=a:0",
            "service=a:0",
            "=",
            "=x",
            "_valid_until=7",
            "A_valid_until=7",
            "a b_valid_until=7",
            "valid_until=7",
            "payment_hash=00",
            "expires_at\t=7",
        ] {
            assert_eq!(Caveat::parse(text.as_bytes()), Err(CaveatError::Unknown), "{text}");
        }
    }

    #[test]
    fn err_malformed_values() {
        let too_many: Vec<_> = (0..=SERVICES_MAX).map(|n| format!("s{n}:0")).collect();
        let too_many = format!("services={}", too_many.join(","));
        let long_name = format!("services={}:0", "a".repeat(SERVICE_NAME_BYTES_MAX + 1));
        for text in [
            "",
            "services",
            "services a:0",
            "services=",
            "services=:0",
            "services=a",
            "services=a:",
            "services=a:b",
            "services=a:-1",
            "services=a:256",
            "services=,,",
            "services=a:0,",
            "services=a:0, b:0",
            "services=a:0,a:1",
            "services=A:0",
            &too_many,
            &long_name,
            "a_valid_until=",
            "a_valid_until=+7",
            "a_valid_until=1.5",
            "expires_at=-1",
            "expires_at=18446744073709551616",
            "expires_at=2030-01-01T00:00:00Z",
            "endpoint=",
            "endpoint=v1",
            "endpoint=/v1?x",
            "method=",
            "method=GET POST",
            "ip=",
            "ip=1.2.3.4 5",
            "max_cost_msat=9007199254740992",
            "budget=5000",
            "preimage=",
            "preimage=zz",
        ] {
            assert_eq!(Caveat::parse(text.as_bytes()), Err(CaveatError::Malformed), "{text}");
        }
        assert_eq!(Caveat::parse(b"endpoint=/\xff"), Err(CaveatError::Malformed));
    }

    const PREIMAGE: Preimage = Preimage::from_bytes([0x42; 32]);

    const FACTS: RequestFacts<'_> = RequestFacts {
        service: "a",
        tier: TIER_CREDITS,
        path: b"/v1/joke?lang=en",
        method: b"GET",
        client_ip: Some("203.0.113.7"),
        now_ms: 1_000_999,
        cost: Msat::ZERO,
        proof: crate::wire::Proof::Preimage,
    };

    fn judge(caveats: &[&str], facts: &RequestFacts<'_>) -> Result<(), Rejection> {
        Caveats::parse(b"id", caveats.iter().map(|c| c.as_bytes()), Some(&PREIMAGE))?.check(facts)
    }

    #[test]
    fn ok_requests_that_every_caveat_admits() {
        let preimage = format!("preimage={}", "42".repeat(32));
        for more in [
            &[][..],
            &["services=a:0"],
            &["a_valid_until=1001"],
            &["a_valid_until=2000", "a_valid_until=1500", "a_valid_until=1500"],
            &["b_valid_until=1"],
            &["expires_at=1001"],
            &["expires_at=1001", "expires_at=9999"],
            &["endpoint=/v1/joke"],
            &["method=get", "method=GET"],
            &["ip=203.0.113.7"],
            &["max_cost_msat=0"],
            &[&preimage],
            &[&preimage, &preimage],
        ] {
            let caveats = [&["services=a:0,b:0"], more].concat();
            assert_eq!(judge(&caveats, &FACTS), Ok(()), "{caveats:?}");
        }
    }

    #[test]
    fn err_requests_that_one_caveat_does_not_admit() {
        use Rejection::*;
        let other_preimage = format!("preimage={}", "43".repeat(32));
        for (more, expected) in [
            (&[&*other_preimage][..], PreimageMismatch),
            (&["tier=gold", &other_preimage], PreimageMismatch),
            (&["tier=gold"], CaveatUnknown),
            (&["a_capabilities="], CaveatUnknown),
            (&["nonsense"], CaveatMalformed),
            (&["services=a:0,c:0"], CaveatWidens),
            (&["services=a:1"], CaveatWidens),
            (&["services=b:0", "services=a:0"], CaveatWidens),
            (&["a_valid_until=500", "a_valid_until=9999"], CaveatWidens),
            (&["a_valid_until=2000", "expires_at=1", "a_valid_until=2001"], CaveatWidens),
            (&["services=b:0"], WrongService),
            (&["a_valid_until=1000"], Expired),
            (&["expires_at=1000"], Expired),
            (&["expires_at=9999", "expires_at=999"], Expired),
            (&["expires_at=999", "expires_at=9999"], Expired),
            (&["endpoint=/v1/jok"], WrongEndpoint),
            (&["endpoint=/v1/joke/"], WrongEndpoint),
            (&["endpoint=/v1/joke", "endpoint=/v1/time"], WrongEndpoint),
            (&["method=POST"], WrongMethod),
            (&["method=GET", "method=HEAD"], WrongMethod),
            (&["ip=203.0.113.70"], WrongIp),
            // The order of the checks decides, not that of the caveats.
            (&["ip=1.1.1.1", "method=POST", "expires_at=1"], Expired),
        ] {
            let caveats = [&["services=a:0,b:0"], more].concat();
            assert_eq!(judge(&caveats, &FACTS), Err(expected), "{caveats:?}");
        }
    }

    #[test]
    fn a_tier_opens_its_own_routes_and_no_holder_changes_it() {
        let session = RequestFacts { tier: TIER_SESSION, ..FACTS };
        for (caveats, facts, expected) in [
            (&["services=a:0"][..], &FACTS, Ok(())),
            (&["services=a:1"], &session, Ok(())),
            (&["services=a:0,b:1"], &FACTS, Ok(())),
            (&["services=a:1"], &FACTS, Err(Rejection::WrongTier)),
            (&["services=a:0"], &session, Err(Rejection::WrongTier)),
            (&["services=a:0,b:1"], &session, Err(Rejection::WrongTier)),
            (&["services=a:2"], &session, Err(Rejection::WrongTier)),
            (&["services=a:0", "services=a:1"], &session, Err(Rejection::CaveatWidens)),
            (&["services=a:1", "services=a:0"], &FACTS, Err(Rejection::CaveatWidens)),
            (&["services=a:0", "services=a:0,a:1"], &session, Err(Rejection::CaveatMalformed)),
        ] {
            assert_eq!(judge(caveats, facts), expected, "{caveats:?} at tier {}", facts.tier);
        }
    }

    #[test]
    fn err_a_token_without_services_admits_to_nothing() {
        for caveats in [&[][..], &["a_valid_until=9999"], &["expires_at=9999"]] {
            assert_eq!(judge(caveats, &FACTS), Err(Rejection::WrongService), "{caveats:?}");
        }
    }

    #[test]
    fn err_an_address_bound_token_without_a_known_address() {
        for ip in ["ip=203.0.113.7", "ip=unknown"] {
            let facts = RequestFacts { client_ip: None, ..FACTS };
            assert_eq!(judge(&["services=a:0", ip], &facts), Err(Rejection::WrongIp), "{ip}");
        }
    }

    #[test]
    fn err_a_cost_above_the_limit() {
        let facts = RequestFacts { cost: Msat::new(5_001).unwrap(), ..FACTS };
        let caveats = ["services=a:0", "max_cost_msat=9000", "max_cost_msat=5000"];
        assert_eq!(judge(&caveats, &facts), Err(Rejection::CostTooHigh));
    }

    #[test]
    fn service_names_hold_no_delimiter() {
        let longest = "x".repeat(SERVICE_NAME_BYTES_MAX);
        for good in ["a", "joke-api_2", "0", &longest] {
            assert!(is_service_name(good), "{good}");
        }
        let too_long = "x".repeat(SERVICE_NAME_BYTES_MAX + 1);
        for bad in ["", "A", "a b", "a:b", "a,b", "a=b", "a/b", "a\"", "\u{e9}", &too_long] {
            assert!(!is_service_name(bad), "{bad}");
        }
    }
}
