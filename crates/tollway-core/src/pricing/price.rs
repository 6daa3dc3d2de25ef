//! What a request costs.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::by_size::BySize;
use super::by_value::{ByPresence, ByValue};
use super::mcp::{McpPrice, McpTerms};
use super::percent::Percent;
use super::tokens::{TokenPrice, TokenQuote};
use super::windows::Windows;
use super::{PriceFault, PriceProblem};
use crate::money::Msat;

/// The least that a request costs which is not free: nothing becomes free by arithmetic.
pub(super) const COST_MIN: Msat = match Msat::new(1) {
    Some(least) => least,
    None => Msat::ZERO,
};

/// What a request on a route costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Price {
    /// Nothing, and the configuration says so.
    Free,
    /// This much per request.
    Fixed(Msat),
    /// It is not sold.
    Denied,
    /// What the request says decides.
    Rule(Box<Ruled>),
}

/// A rule, and what it looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    rule: Rule,
    /// Found once, since a table may be long.
    body_need: BodyNeed,
}

/// How a price follows from a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A table of a field's values.
    ByValue(ByValue),
    /// Whether a field is there.
    ByPresence(ByPresence),
    /// The tokens of a language model.
    Tokens(TokenPrice),
    /// A share of a number.
    Percent(Percent),
    /// How much is sent.
    BySize(BySize),
    /// The time of the week.
    Windows(Windows),
    /// The tools of an MCP server.
    Mcp(McpPrice),
}

/// What of a request's body must be known before its price is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BodyNeed {
    /// Nothing.
    Nothing,
    /// How long it is.
    Length,
    /// All of it.
    Text,
}

/// What a price is evaluated over.
#[derive(Clone, Copy, Debug)]
pub struct PricedRequest<'a> {
    /// The headers; names in any case.
    pub headers: &'a [(String, Vec<u8>)],
    /// What stands behind the `?` of the path; empty where there is none.
    pub query: &'a [u8],
    /// The whole body, where [`Price::body_need`] asks for its text.
    pub body: &'a [u8],
    /// How long the body is, where anything of it is asked for.
    pub body_bytes: u64,
    /// The moment, Unix time in milliseconds.
    pub now_ms: u64,
}

/// The price of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// What to set aside for it; zero only for a request that the configuration calls free.
    pub cost: Msat,
    /// Where the actual cost follows from the usage in the response.
    pub tokens: Option<TokenQuote>,
    /// Where the request is a message to an MCP server.
    pub mcp: Option<McpTerms>,
}

impl Quote {
    /// A cost that is known before.
    #[must_use]
    pub const fn fixed(cost: Msat) -> Self {
        Self { cost, tokens: None, mcp: None }
    }
}

impl Price {
    /// A price that follows from the request.
    #[must_use]
    pub fn rule(rule: Rule) -> Self {
        let body_need = match &rule {
            Rule::ByValue(rule) => rule.body_need(),
            Rule::ByPresence(rule) => rule.body_need(),
            Rule::Percent(rule) => rule.of.body_need(),
            Rule::BySize(rule) => rule.body_need(),
            Rule::Windows(rule) => rule.body_need(),
            Rule::Tokens(_) | Rule::Mcp(_) => BodyNeed::Text,
        };
        Self::Rule(Box::new(Ruled { rule, body_need }))
    }

    /// Whether what a request costs may only show in the usage of its response.
    #[must_use]
    pub fn follows_usage(&self) -> bool {
        let Self::Rule(ruled) = self else { return false };
        match &ruled.rule {
            Rule::Tokens(_) => true,
            Rule::Percent(_) | Rule::Mcp(_) => false,
            Rule::ByValue(rule) => rule.prices().any(Self::follows_usage),
            Rule::ByPresence(rule) => rule.present.follows_usage() || rule.absent.follows_usage(),
            Rule::BySize(rule) => rule.base.follows_usage(),
            Rule::Windows(rule) => rule.prices().any(Self::follows_usage),
        }
    }

    /// What must be known of a request's body to price it.
    #[must_use]
    pub fn body_need(&self) -> BodyNeed {
        match self {
            Self::Free | Self::Fixed(_) | Self::Denied => BodyNeed::Nothing,
            Self::Rule(ruled) => ruled.body_need,
        }
    }

    /// The price of this request at its moment. It is the same whoever asks, and however often.
    ///
    /// # Errors
    /// [`PriceFault`] for a request that is not sold, or whose fields leave its price open.
    pub fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        match self {
            Self::Free => Ok(Quote::fixed(Msat::ZERO)),
            Self::Fixed(cost) => Ok(Quote::fixed((*cost).max(COST_MIN))),
            Self::Denied => Err(PriceProblem::NotSold.into()),
            Self::Rule(ruled) => match &ruled.rule {
                Rule::ByValue(rule) => rule.quote(request),
                Rule::ByPresence(rule) => rule.quote(request),
                Rule::Tokens(price) => price.quote(request),
                Rule::Percent(rule) => rule.quote(request),
                Rule::BySize(rule) => rule.quote(request),
                Rule::Windows(rule) => rule.quote(request),
                Rule::Mcp(price) => price.quote(request),
            },
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn fixed(msat: u64) -> Price {
        Price::Fixed(Msat::new(msat).unwrap())
    }

    pub(crate) const fn request() -> PricedRequest<'static> {
        PricedRequest { headers: &[], query: b"", body: b"", body_bytes: 0, now_ms: 0 }
    }

    #[test]
    fn plain_prices() {
        for (price, expected) in [
            (Price::Free, Ok(0)),
            (fixed(5), Ok(5)),
            (fixed(0), Ok(1)),
            (Price::Denied, Err(PriceProblem::NotSold)),
        ] {
            let found = price.quote(&request());
            let found = found.map(|quote| quote.cost.get()).map_err(|fault| fault.problem);
            assert_eq!(found, expected, "{price:?}");
        }
    }
}
