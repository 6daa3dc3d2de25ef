//! The filter's configuration: read once, when Envoy configures the plugin.
//!
//! [`Config::parse`] takes the JSON as the operator wrote it and gives back what runs, with all
//! defaults filled in and all references followed. Nothing is guessed: an unknown field, a wrong
//! type or a value out of range is refused with the path of the fault, what was expected and
//! the remedy. What decides about money has no default: every route says its price, and
//! `unmatched` says what becomes of the requests that no route matches.

mod form;
#[cfg(test)]
mod form_tests;
mod free_tier;
mod lease;
#[cfg(test)]
mod lease_tests;
mod llm;
mod meter;
#[cfg(test)]
mod meter_tests;
mod mint;
#[cfg(test)]
mod mint_tests;
mod price;
mod price_rules;
#[cfg(test)]
mod price_tests;
mod purchase;
mod reader;
mod refund;
mod routes;
mod services;
mod terms;
#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use tollway_core::challenge::LOCATION_BYTES_MAX;
use tollway_core::json_tree::Tree;
use tollway_core::pricing::PriceTable;
use tollway_core::secret::SecretText;

use form::FORM;
pub use form::{Binding, Form};
pub use free_tier::{FreeTier, Limit};
use lease::LEASE_TTL_S_MAX;
pub use lease::{LeaseTerms, Spend};
pub use meter::{Meter, MeterBy, Passing};
pub use purchase::{Bonus, Purchase, PurchaseFault};
pub use reader::ConfigError;
pub use refund::RefundOn;
pub use services::Service;
pub use terms::{Idempotency, Mode, Route, WhenCreditEnds};

use price::PriceReader;
use reader::{Node, Object};
use routes::{RouteReader, Routes};
use services::services;

/// A shorter token could be guessed.
const GATE_TOKEN_BYTES_MIN: usize = 16;
/// The longest name of a cluster or authority, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The fields of a configuration.
const ROOT_FIELDS: [&str; 23] = [
    "tollwayd",
    "services",
    "routes",
    "unmatched",
    "classes",
    "location",
    "failure_mode_allow",
    "preflight",
    "tick_ms",
    "keyring_refresh_s",
    "cache",
    "lease_idle_s",
    "lease_ttl_s",
    "shadow",
    FORM[0],
    FORM[1],
    FORM[2],
    FORM[3],
    FORM[4],
    FORM[5],
    FORM[6],
    FORM[7],
    FORM[8],
];

/// What the filter runs by.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to reach tollwayd.
    pub tollwayd: Tollwayd,
    /// Which request belongs to which route.
    pub routes: PriceTable<Rc<Route>>,
    /// What becomes of requests that no route matches.
    pub unmatched: Unmatched,
    /// The location written into macaroons.
    pub location: String,
    /// Whether requests pass unpaid while tollwayd cannot be reached.
    pub failure_mode_allow: bool,
    /// What becomes of CORS preflights.
    pub preflight: Preflight,
    /// How often postings travel to tollwayd.
    pub tick_ms: u64,
    /// How often keys and revocations are fetched.
    pub keyring_refresh_ms: u64,
    /// The bounds of the cache of verified credentials, per worker.
    pub cache: CacheLimits,
    /// How long a hold lives from each grant on that requests of any leased route spend from;
    /// `None` where all routes are exact.
    pub lease_ttl_ms: Option<u64>,
    /// After how long without use a lease is given back.
    pub lease_idle_ms: u64,
    /// Whether prices are only worked out and counted where a route does not say otherwise.
    pub shadow: bool,
    /// Whether any request is in shadow.
    pub has_shadow: bool,
    /// Whether any service is paid on other rails too. Then their credentials reach no upstream.
    pub other_rails: bool,
}

/// How to reach tollwayd.
#[derive(Clone, Debug)]
pub struct Tollwayd {
    /// Envoy's cluster.
    pub cluster: String,
    /// The `:authority` of the calls.
    pub authority: String,
    /// How long a call may take.
    pub timeout_ms: u64,
    /// Proves to tollwayd that the caller is a gate.
    pub gate_token: SecretText,
}

/// What becomes of requests that no route matches.
#[derive(Clone, Debug)]
pub enum Unmatched {
    /// They are refused.
    Deny,
    /// They are treated as requests on this route, named `unmatched`.
    Route(Rc<Route>),
}

/// What becomes of CORS preflights, which never carry a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preflight {
    /// The filter answers them itself.
    Answer,
    /// They go to the upstream, unpaid.
    Pass,
}

/// The bounds of the cache of verified credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// The most credentials.
    pub entries_max: usize,
    /// The most bytes of credentials.
    pub bytes_max: usize,
}

impl Config {
    /// Reads the plugin's configuration. `env` looks an environment variable up.
    ///
    /// # Errors
    /// [`ConfigError`] for the first fault; its message never shows a secret.
    ///
    /// ```
    /// use tollway_gate::config::Config;
    ///
    /// let json = br#"{
    ///     "tollwayd": { "cluster": "tollwayd", "gate_token": "env:GATE_TOKEN" },
    ///     "services": [{ "name": "jokes" }],
    ///     "routes": [{ "name": "joke", "match": { "path": "/joke" }, "price_sats": "5" }],
    ///     "unmatched": "deny"
    /// }"#;
    /// let error = Config::parse(json, &|_| Some("0123456789abcdef".into())).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found \"5\"; \
    ///      write the number without quotes"
    /// );
    /// ```
    pub fn parse(json: &[u8], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let tree = Tree::parse(json).map_err(|fault| ConfigError::not_json(json, fault))?;
        let root = Node::root(&tree).object(&ROOT_FIELDS)?;
        let tollwayd = tollwayd(&root, env)?;
        let services = services(&root)?;
        let (routes, unmatched) =
            RouteReader::new(&services, PriceReader::read(&root)?).read(&root)?;
        let location = match root.optional("location") {
            Some(node) => visible_name(&node, LOCATION_BYTES_MAX)?,
            None => "tollway".to_owned(),
        };
        let shadow = match root.optional("shadow") {
            Some(node) => node.flag()?,
            None => false,
        };
        Ok(Self {
            tollwayd,
            has_shadow: shadow || every_route(&routes, &unmatched).any(|r| r.shadow == Some(true)),
            shadow,
            other_rails: services.iter().any(|service| service.form.has_other_rails()),
            lease_ttl_ms: lease_ttl_ms(&root, &routes, &unmatched)?,
            lease_idle_ms: root.integer("lease_idle_s", 5, 1..=LEASE_TTL_S_MAX)? * 1_000,
            routes: PriceTable::new(routes),
            unmatched,
            location,
            failure_mode_allow: match root.optional("failure_mode_allow") {
                Some(node) => node.flag()?,
                None => false,
            },
            preflight: preflight(&root)?,
            tick_ms: root.integer("tick_ms", 100, 10..=10_000)?,
            keyring_refresh_ms: root.integer("keyring_refresh_s", 5, 1..=3_600)? * 1_000,
            cache: cache(&root)?,
        })
    }
}

/// Long enough for the longest request of any leased route, at the end of the time in which
/// requests are admitted on one grant.
fn lease_ttl_ms(
    root: &Object<'_>,
    routes: &Routes,
    unmatched: &Unmatched,
) -> Result<Option<u64>, ConfigError> {
    let spend_ms = root.integer("lease_ttl_s", 30, 10..=LEASE_TTL_S_MAX)? * 1_000;
    let leased = every_route(routes, unmatched).filter(|route| route.spend != Spend::Exact);
    Ok(leased.map(|route| route.hold_ttl_ms).max().map(|longest_ms| longest_ms + spend_ms))
}

fn every_route<'r>(
    routes: &'r Routes,
    unmatched: &'r Unmatched,
) -> impl Iterator<Item = &'r Rc<Route>> {
    let other = match unmatched {
        Unmatched::Route(route) => Some(route),
        Unmatched::Deny => None,
    };
    routes.iter().map(|(_, route)| route).chain(other)
}

fn tollwayd(
    root: &Object<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Tollwayd, ConfigError> {
    let fields = root
        .required("tollwayd", "write how to reach it: {\"cluster\": .., \"gate_token\": ..}")?
        .object(&["cluster", "authority", "timeout_ms", "gate_token"])?;
    let cluster = visible_name(
        &fields.required("cluster", "name Envoy's cluster for tollwayd")?,
        NAME_BYTES_MAX,
    )?;
    let authority = match fields.optional("authority") {
        Some(node) => visible_name(&node, NAME_BYTES_MAX)?,
        None => cluster.clone(),
    };
    let token = fields
        .required("gate_token", "name the environment variable that holds it: \"env:NAME\"")?;
    Ok(Tollwayd {
        cluster,
        authority,
        timeout_ms: fields.integer("timeout_ms", 2_000, 1..=60_000)?,
        gate_token: gate_token(&token, env)?,
    })
}

/// Follows `env:NAME`. What stands here is visible in Envoy's config dump, so a token itself is
/// refused, and no message shows what was found.
fn gate_token(
    node: &Node<'_>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<SecretText, ConfigError> {
    let name = node.text_unshown().and_then(|text| text.strip_prefix("env:")).ok_or_else(|| {
        node.problem(
            "expected a reference of the form \"env:NAME\", but found something else; put the \
             token into an environment variable, since Envoy's config dump shows this value"
                .to_owned(),
        )
    })?;
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty()
        || name.starts_with(|first: char| first.is_ascii_digit())
        || !name.bytes().all(proper)
    {
        return Err(node.problem(
            "expected the name of an environment variable after \"env:\", but found something \
             else; use letters, digits and \"_\""
                .to_owned(),
        ));
    }
    let fault = |found: &str| {
        node.problem(format!(
            "expected a token of at least {GATE_TOKEN_BYTES_MIN} visible ASCII characters in the \
             environment variable {name}, but found {found}; set it for Envoy and list it in the \
             plugin's vm_config.environment_variables.host_env_keys"
        ))
    };
    let token = env(name).ok_or_else(|| fault("none"))?;
    if token.is_empty() {
        Err(fault("an empty one"))
    } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err(fault("one with other characters"))
    } else if token.len() < GATE_TOKEN_BYTES_MIN {
        Err(fault(&format!("one of {}", token.len())))
    } else {
        Ok(SecretText::new(token))
    }
}

fn preflight(root: &Object<'_>) -> Result<Preflight, ConfigError> {
    const EXPECTED: &str = "\"pass\" or \"answer\"";
    let Some(node) = root.optional("preflight") else { return Ok(Preflight::Pass) };
    match node.text(EXPECTED)? {
        "pass" => Ok(Preflight::Pass),
        "answer" => Ok(Preflight::Answer),
        _ => Err(node.fault(EXPECTED, "write one of the two")),
    }
}

fn cache(root: &Object<'_>) -> Result<CacheLimits, ConfigError> {
    let mut limits = CacheLimits { entries_max: 10_000, bytes_max: 8 << 20 };
    if let Some(node) = root.optional("cache") {
        let fields = node.object(&["entries_max", "bytes_max"])?;
        limits.entries_max = size(&fields, "entries_max", limits.entries_max, 1_000_000)?;
        limits.bytes_max = size(&fields, "bytes_max", limits.bytes_max, 1 << 28)?;
    }
    Ok(limits)
}

fn size(fields: &Object<'_>, name: &str, default: usize, max: u64) -> Result<usize, ConfigError> {
    match fields.optional(name) {
        // The largest fits 32 bits, the filter's word.
        Some(node) => node.integer(1, max).map(|number| usize::try_from(number).unwrap_or(default)),
        None => Ok(default),
    }
}

/// A name that can stand in a header and a log line as it is.
fn visible_name(node: &Node<'_>, bytes_max: usize) -> Result<String, ConfigError> {
    let expected = format!("a name of 1 to {bytes_max} visible ASCII characters");
    let name = node.text(&expected)?;
    let proper = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if (1..=bytes_max).contains(&name.len()) && name.bytes().all(proper) {
        Ok(name.to_owned())
    } else {
        Err(node.fault(&expected, "leave spaces, quotes and backslashes out"))
    }
}
