//! The price table: which route a request belongs to.
//!
//! A [`PriceTable`] is compiled once, when a configuration is read, and answers one question per
//! request. The best match wins, compared in this order:
//!
//! 1. host: exact, then `*.suffix` (the longer suffix first), then any;
//! 2. path: exact, then template (a literal segment before a parameter, from the left), then
//!    prefix (the longer first);
//! 3. methods: listed, then any;
//! 4. header conditions: more first;
//! 5. the order of the configuration.
//!
//! Paths are compared segment by segment, after percent-decoding, so that two spellings of one
//! path have one price. That is only sound for a path that [`check_normalised`] lets pass: call
//! it first, and refuse the request on a fault.
//!
//! What a request of a route costs is its [`Price`]: an amount, or a rule over what the request
//! says of itself, which [`Price::quote`] evaluates.
//!
//! What it does not do: it does not normalise, and it never guesses. No query takes part in the
//! match. A path parameter (`/joke;x=1`) is part of its segment, as it is for Envoy's own routes.

mod asked;
mod by_size;
mod by_value;
mod conditions;
mod entries;
mod fault;
mod field;
mod host;
mod mcp;
mod memo;
mod path;
mod percent;
mod price;
mod query;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod windows;
#[cfg(test)]
mod work_tests;

use alloc::vec::Vec;

use crate::header_block::HeaderBlock;

pub use asked::{AskedPrice, Said};
pub use by_size::{BySize, Rate};
pub use by_value::{ByPresence, ByValue};
pub use conditions::{HeaderFault, HeaderRule, MethodFault, MethodRule};
pub use fault::{PriceFault, PriceProblem};
pub use field::{Field, FieldFault};
pub use host::{HostFault, HostRule};
pub use mcp::{McpPrice, McpTerms};
pub use memo::{is_memo, memo};
pub use path::{PathFault, PathRule, PatternFault, check_normalised};
pub use percent::Percent;
pub use price::{BodyNeed, Price, PricedRequest, Quote, Rule, Ruled};
pub use table::PriceTable;
pub use tokens::{TokenPrice, TokenQuote};
pub use windows::{DAY_MINUTES, Window, WindowPrice, Windows};

/// What the price table looks at.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The authority, with or without a port.
    pub host: &'a [u8],
    /// The normalised path, without the query.
    pub path: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// The headers; names in any case.
    pub headers: &'a HeaderBlock,
}

/// The conditions of one route; all of them must hold.
///
/// Two matches are equal when they accept the same requests by the same rules, however they
/// were written: `/users/{id}` equals `/users/{name}`, and the order of methods is no matter.
///
/// ```
/// use tollway_core::header_block::HeaderBlock;
/// use tollway_core::pricing::{HostRule, PathRule, PriceTable, RequestHead, RouteMatch};
///
/// let joke = RouteMatch::new(PathRule::exact("/joke").unwrap())
///     .with_host(HostRule::parse("api.example.com").unwrap());
/// let table = PriceTable::new(vec![(joke, "joke")]);
/// let head = RequestHead {
///     host: b"API.example.com:443",
///     path: b"/joke",
///     method: b"GET",
///     headers: HeaderBlock::none(),
/// };
/// assert_eq!(table.find(&head), Some(&"joke"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    host: HostRule,
    path: PathRule,
    methods: MethodRule,
    headers: Vec<HeaderRule>,
}

impl RouteMatch {
    /// Requests for this path, on any host, by any method.
    #[must_use]
    pub const fn new(path: PathRule) -> Self {
        Self { host: HostRule::Any, path, methods: MethodRule::any(), headers: Vec::new() }
    }

    /// Narrows the match to these hosts.
    #[must_use]
    pub fn with_host(mut self, host: HostRule) -> Self {
        self.host = host;
        self
    }

    /// Narrows the match to these methods.
    #[must_use]
    pub fn with_methods(mut self, methods: MethodRule) -> Self {
        self.methods = methods;
        self
    }

    /// Adds a condition on a header.
    ///
    /// # Errors
    /// [`HeaderFault::Repeated`] when there already is a condition on the same header: two could
    /// only repeat or contradict each other.
    pub fn with_header(mut self, header: HeaderRule) -> Result<Self, HeaderFault> {
        match self.headers.binary_search_by(|known| known.name().cmp(header.name())) {
            Ok(_) => Err(HeaderFault::Repeated),
            Err(at) => {
                self.headers.insert(at, header);
                Ok(self)
            }
        }
    }
}
