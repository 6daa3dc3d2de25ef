//! What a request costs.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::asked::{AskedPrice, Said};
use super::by_size::BySize;
use super::by_value::{ByPresence, ByValue};
use super::mcp::{McpPrice, McpTerms};
use super::percent::Percent;
use super::tokens::{TokenPrice, TokenQuote};
use super::windows::Windows;
use super::{PriceFault, PriceProblem};
use crate::header_block::HeaderBlock;
use crate::money::Msat;
use crate::rates::{Fiat, NoRate, Rates};
use crate::tier::Tier;

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
    /// This much of other money per request, at the rate of the moment.
    Fiat(Fiat),
    /// It is not sold.
    Denied,
    /// What the request says decides.
    Rule(Arc<Ruled>),
}

/// A rule, and what it looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    rule: Rule,
    /// Found once, since a table may be long.
    body_need: BodyNeed,
    /// The tiers that have a price of their own; found once too.
    tiers: Vec<Tier>,
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
    /// The operator's own service tells it.
    Asked(AskedPrice),
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
    pub headers: &'a HeaderBlock,
    /// What stands behind the `?` of the path; empty where there is none.
    pub query: &'a [u8],
    /// The whole body, where [`Price::body_need`] asks for its text.
    pub body: &'a [u8],
    /// How long the body is, where anything of it is asked for.
    pub body_bytes: u64,
    /// The moment, Unix time in milliseconds.
    pub now_ms: u64,
    /// The tier of the account that pays.
    pub tier: Tier,
    /// The rates of exchange, as far as they are known.
    pub rates: &'a Rates,
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
            Rule::Asked(price) => price.body_need(),
            Rule::Tokens(_) | Rule::Mcp(_) => BodyNeed::Text,
        };
        let mut tiers = Vec::new();
        rule.name_tiers(&mut tiers);
        Self::Rule(Arc::new(Ruled { rule, body_need, tiers }))
    }

    /// The tiers of which an account may have a price of its own.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        if let Self::Rule(ruled) = self { &ruled.tiers } else { &[] }
    }

    /// Whether it hangs on a rate of exchange or on somebody's answer, and so on the moment.
    #[must_use]
    pub fn follows_the_moment(&self) -> bool {
        match self {
            Self::Free | Self::Fixed(_) | Self::Denied => false,
            Self::Fiat(_) => true,
            Self::Rule(ruled) => match &ruled.rule {
                Rule::Asked(_) => true,
                rule => rule.prices().into_iter().any(Self::follows_the_moment),
            },
        }
    }

    /// What the operator's service is asked with, where it tells the price.
    #[must_use]
    pub fn said(&self, request: &PricedRequest<'_>) -> Option<Result<Said, PriceFault<'_>>> {
        let Self::Rule(ruled) = self else { return None };
        let Rule::Asked(price) = &ruled.rule else { return None };
        Some(price.said(request))
    }

    /// Whether what a request costs may only show in the usage of its response.
    #[must_use]
    pub fn follows_usage(&self) -> bool {
        let Self::Rule(ruled) = self else { return false };
        match &ruled.rule {
            Rule::Tokens(_) => true,
            rule => rule.prices().into_iter().any(Self::follows_usage),
        }
    }

    /// What must be known of a request's body to price it.
    #[must_use]
    pub fn body_need(&self) -> BodyNeed {
        match self {
            Self::Free | Self::Fixed(_) | Self::Fiat(_) | Self::Denied => BodyNeed::Nothing,
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
            Self::Fiat(fiat) => match request.rates.msat(*fiat, request.now_ms / 1_000) {
                Ok(cost) => Ok(Quote::fixed(cost.max(COST_MIN))),
                Err(NoRate::Unknown) => Err(PriceProblem::NoRate.into()),
                Err(NoRate::OutOfRange) => Err(PriceProblem::OutOfRange.into()),
            },
            Self::Denied => Err(PriceProblem::NotSold.into()),
            Self::Rule(ruled) => match &ruled.rule {
                Rule::ByValue(rule) => rule.quote(request),
                Rule::ByPresence(rule) => rule.quote(request),
                Rule::Tokens(price) => price.quote(request),
                Rule::Percent(rule) => rule.quote(request),
                Rule::BySize(rule) => rule.quote(request),
                Rule::Windows(rule) => rule.quote(request),
                Rule::Mcp(price) => price.quote(request),
                // Nobody has told it.
                Rule::Asked(_) => Err(PriceProblem::NotSold.into()),
            },
        }
    }
}

impl Rule {
    /// The prices in it.
    fn prices(&self) -> Vec<&Price> {
        match self {
            Self::ByValue(rule) => rule.prices().collect(),
            Self::ByPresence(rule) => Vec::from([&rule.present, &rule.absent]),
            Self::Tokens(_) | Self::Percent(_) | Self::Asked(_) => Vec::new(),
            Self::BySize(rule) => Vec::from([&rule.base]),
            Self::Windows(rule) => rule.prices().collect(),
            Self::Mcp(rule) => rule.prices().collect(),
        }
    }

    /// Adds the tiers that it has prices for.
    fn name_tiers(&self, tiers: &mut Vec<Tier>) {
        if let Self::ByValue(rule) = self {
            rule.name_tiers(tiers);
        }
        for tier in self.prices().into_iter().flat_map(Price::tiers) {
            if !tiers.contains(tier) {
                tiers.push(*tier);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::Field;
    use super::*;
    use crate::decimal::Decimal;
    use crate::rates::{Currency, RateReply};

    pub(crate) fn fixed(msat: u64) -> Price {
        Price::Fixed(Msat::new(msat).unwrap())
    }

    static NO_RATES: Rates = Rates::NONE;

    pub(crate) fn request() -> PricedRequest<'static> {
        PricedRequest {
            headers: HeaderBlock::none(),
            query: b"",
            body: b"",
            body_bytes: 0,
            now_ms: 0,
            tier: Tier::NONE,
            rates: &NO_RATES,
        }
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

    #[test]
    fn other_money_costs_what_it_is_worth_now_and_nothing_without_a_rate() {
        let [amount, other] = ["0.002", "1e20"].map(|text| Decimal::parse(text).unwrap());
        let currency = Currency::parse("USD").unwrap();
        let rate =
            RateReply { currency: "USD".into(), per_bitcoin: "64000".into(), expires_at: 10 };
        let rates = Rates::from_reply(&[rate]).unwrap();
        let quote = |amount, request: &PricedRequest<'_>| {
            let price = Price::Fiat(Fiat { amount, currency });
            price.quote(request).map(|it| it.cost.get()).map_err(|fault| fault.problem)
        };
        let known = PricedRequest { rates: &rates, now_ms: 9_999, ..request() };
        assert_eq!(quote(amount, &known), Ok(3_125));
        assert_eq!(quote(other, &known), Err(PriceProblem::OutOfRange));
        let stale = PricedRequest { now_ms: 10_000, ..known };
        assert_eq!(quote(amount, &stale), Err(PriceProblem::NoRate));
        assert_eq!(quote(amount, &request()), Err(PriceProblem::NoRate));
    }

    #[test]
    fn a_tier_has_a_price_of_its_own_wherever_its_table_stands() {
        let [gold, silver] = ["gold", "silver"].map(|name| Tier::parse(name).unwrap());
        let by = |field, name, price, default| {
            Price::rule(Rule::ByValue(ByValue::new(field, default).with(name, price).unwrap()))
        };
        let inner = by(Field::Tier, "gold", fixed(2), fixed(9));
        let price = by(Field::query("size").unwrap(), "large", inner, fixed(1));
        assert_eq!(price.tiers(), [gold]);
        for (query, tier, cost) in [
            (&b"size=large"[..], gold, 2),
            (b"size=large", silver, 9),
            (b"size=large", Tier::NONE, 9),
            (b"size=small", gold, 1),
        ] {
            let asked = PricedRequest { query, tier, ..request() };
            assert_eq!(price.quote(&asked).unwrap().cost.get(), cost, "{query:?} {tier:?}");
        }
        assert_eq!(fixed(5).tiers(), []);
    }
}
