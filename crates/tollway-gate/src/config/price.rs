//! Prices: amounts, classes of them, and rules over what a request says.

use tollway_core::decimal::Decimal;
use tollway_core::money::Msat;
use tollway_core::pricing::{
    AskedPrice, ByPresence, ByValue, Field, McpPrice, McpTerms, Price, Rule,
};
use tollway_core::rates::{Currency, Fiat};
use tollway_core::tier::{TIER_BYTES_MAX, Tier};

use super::llm;
use super::price_rules::{by_size, percent, windows};
use super::reader::{ConfigError, Node, Object};
use super::terms::PRICE_SATS_MAX;

/// The most classes, and the most values of one table.
const ENTRIES_MAX: usize = 1_000;
/// The most tiers of one table: each is priced for every request.
const TIERS_MAX: usize = 16;
/// The longest name of a class, in bytes.
const CLASS_BYTES_MAX: usize = 64;
/// The most fields that a price is asked with.
const ASKED_FIELDS_MAX: usize = 8;
/// The most prices within one another.
const DEPTH_MAX: usize = 8;

const EXPECTED: &str = "a price such as {\"sats\": 5}, {\"msat\": 1500}, \"free\", \"deny\" or the \
     name of a class";

/// Reads prices, which refer to classes by name.
#[derive(Debug, Default)]
pub(super) struct PriceReader {
    classes: Vec<(String, Price)>,
}

impl PriceReader {
    /// Reads `classes`. A class does not refer to another.
    pub(super) fn read(root: &Object<'_>) -> Result<Self, ConfigError> {
        let mut reader = Self::default();
        let Some(node) = root.optional("classes") else { return Ok(reader) };
        let mut classes = Vec::new();
        for (name, node) in node.entries(ENTRIES_MAX)? {
            let proper = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
            let taken = matches!(name, "free" | "deny");
            if taken || !(1..=CLASS_BYTES_MAX).contains(&name.len()) || !name.bytes().all(proper) {
                return Err(node.problem(format!(
                    "expected a class whose name has 1 to {CLASS_BYTES_MAX} of A-Z, a-z, 0-9, \
                     \"_\" and \"-\" and is neither \"free\" nor \"deny\", but found another; \
                     rename it"
                )));
            }
            let price = if node.is_number() {
                match node.integer(0, PRICE_SATS_MAX)? {
                    0 => Price::Free,
                    sats => Price::Fixed(Msat::from_sats(sats).unwrap_or(Msat::MAX)),
                }
            } else {
                // Not at a route: what is asked for is asked for there.
                reader.price_at(&node, 1)?
            };
            classes.push((name.to_owned(), price));
        }
        reader.classes = classes;
        Ok(reader)
    }

    /// The price of a route or of `unmatched`: `price`, or one of the short forms.
    pub(super) fn of_route(&self, fields: &Object<'_>) -> Result<Price, ConfigError> {
        match fields.one_of(&[
            "price",
            "price_sats",
            "price_msat",
            "class",
            "free",
            "price_fiat",
        ])? {
            None => Err(fields.problem(
                "expected a price, but found none; write price, price_sats, price_msat, class or \
                 \"free\": true"
                    .to_owned(),
            )),
            Some((node, 0)) => self.price(&node),
            Some((node, 1)) => sats(&node, "price_msat").map(Price::Fixed),
            Some((node, 2)) => msat(&node).map(Price::Fixed),
            Some((node, 3)) => self.class(&node, node.text("the name of a class")?),
            Some((node, 4)) => free(&node),
            Some((node, _)) => fiat(&node).map(Price::Fiat),
        }
    }

    fn price(&self, node: &Node<'_>) -> Result<Price, ConfigError> {
        self.price_at(node, 0)
    }

    pub(super) fn price_at(&self, node: &Node<'_>, depth: usize) -> Result<Price, ConfigError> {
        if node.is_text() {
            return match node.text(EXPECTED)? {
                "free" => Ok(Price::Free),
                "deny" => Ok(Price::Denied),
                name => self.class(node, name),
            };
        }
        if depth >= DEPTH_MAX {
            return Err(node.problem(format!(
                "expected at most {DEPTH_MAX} prices within one another, but found more; make the \
                 table flatter"
            )));
        }
        if node.has("by") {
            return self.by_field(node, depth + 1);
        }
        if node.has("percent") {
            return percent(node);
        }
        if node.has("request_bytes") {
            return by_size(self, node, depth + 1);
        }
        if node.has("windows") {
            return windows(self, node, depth + 1);
        }
        let fields = node.object(&["sats", "msat", "free", "fiat", "llm", "mcp", "ask"])?;
        match fields.one_of(&["sats", "msat", "llm", "mcp", "free", "fiat", "ask"])? {
            Some((node, 0)) => sats(&node, "msat").map(Price::Fixed),
            Some((node, 1)) => msat(&node).map(Price::Fixed),
            Some((node, 2)) => llm::read(&node),
            Some((node, 3)) => self.mcp(&node, depth + 1),
            Some((node, 4)) => free(&node),
            Some((node, 5)) => fiat(&node).map(Price::Fiat),
            Some((node, _)) if depth == 0 => asked(&node),
            _ => Err(node.fault(EXPECTED, "write one of them, or a rule; \"ask\" at a route only")),
        }
    }

    /// The prices of an MCP server's tools.
    fn mcp(&self, node: &Node<'_>, depth: usize) -> Result<Price, ConfigError> {
        let fields = node.object(&[
            "tools",
            "methods",
            "default",
            "challenge_in_json_rpc",
            "refund_errors",
        ])?;
        let flag = |name| fields.optional(name).map_or(Ok(false), |node| node.flag());
        let terms = McpTerms {
            challenge_in_json_rpc: flag("challenge_in_json_rpc")?,
            refund_errors: flag("refund_errors")?,
        };
        let default = fields.required(
            "default",
            "say what every other tool and method costs: the dearest price, or \"deny\"",
        )?;
        let mut price = McpPrice::new(self.price_at(&default, depth)?, terms);
        let entries =
            |name| fields.optional(name).map_or(Ok(Vec::new()), |node| node.entries(ENTRIES_MAX));
        for (name, node) in entries("tools")? {
            price = price.with_tool(name, self.price_at(&node, depth)?);
        }
        for (name, node) in entries("methods")? {
            price = price.with_method(name, self.price_at(&node, depth)?);
        }
        Ok(Price::rule(Rule::Mcp(price)))
    }

    fn class(&self, node: &Node<'_>, name: &str) -> Result<Price, ConfigError> {
        let known = self.classes.iter().find(|(known, _)| known == name);
        known.map(|(_, price)| price.clone()).ok_or_else(|| {
            let names: Vec<&str> = self.classes.iter().map(|(name, _)| name.as_str()).collect();
            let remedy = match names.as_slice() {
                [] => "list it in \"classes\" at the top".to_owned(),
                names => format!("the classes are {}", names.join(", ")),
            };
            node.fault("\"free\", \"deny\" or the name of a class", &remedy)
        })
    }

    /// A price by what a field says, or whether it is there.
    fn by_field(&self, node: &Node<'_>, depth: usize) -> Result<Price, ConfigError> {
        let fields = node.object(&["by", "values", "default", "present", "absent"])?;
        let by = fields.required("by", "name the field")?;
        if by.is_text() && by.text("")? == "tier" {
            return self.by_tier(&fields, depth);
        }
        let field = field(&by)?;
        let price = |name, remedy| self.price_at(&fields.required(name, remedy)?, depth);
        match fields.one_of(&["values", "present"])? {
            None => Err(fields.problem(
                "expected a table of values or a presence, but found neither; write \
                 \"values\": {..} and \"default\", or \"present\" and \"absent\""
                    .to_owned(),
            )),
            Some((values, 0)) => {
                fields.none_of(&["absent"], "it belongs to \"present\"")?;
                let default = price(
                    "default",
                    "say what every other value costs: the dearest price, or \"deny\"",
                )?;
                let mut table = ByValue::new(field, default);
                for (text, node) in values.entries(ENTRIES_MAX)? {
                    table = table.with(text, self.price_at(&node, depth)?).ok_or_else(|| {
                        node.problem(
                            "expected a value that is not listed yet, but found a number that \
                                 is there in another spelling; keep one of the two"
                                .to_owned(),
                        )
                    })?;
                }
                Ok(Price::rule(Rule::ByValue(table)))
            }
            Some(_) => {
                fields.none_of(&["default"], "it belongs to \"values\"")?;
                let present = price("present", "say what a request costs that has the field")?;
                let absent = price("absent", "say what a request costs that has it not")?;
                Ok(Price::rule(Rule::ByPresence(ByPresence { field, present, absent })))
            }
        }
    }

    /// A price by the tier of the account that pays. Who shows no token has none, so the default
    /// is what a challenge asks.
    fn by_tier(&self, fields: &Object<'_>, depth: usize) -> Result<Price, ConfigError> {
        fields.none_of(&["present", "absent"], "a tier has \"values\" and a \"default\"")?;
        let amount = |node: &Node<'_>| match self.price_at(node, depth)? {
            price @ (Price::Fixed(_) | Price::Fiat(_)) => Ok(price),
            _ => Err(node.fault(
                "an amount for every tier",
                "put the table of tiers into the other rule, not the rule into the table",
            )),
        };
        let remedy = "say what accounts of no tier pay, or of another";
        let mut table = ByValue::new(Field::Tier, amount(&fields.required("default", remedy)?)?);
        let values = fields.required("values", "list the tiers and what they pay")?;
        for (name, node) in values.entries(TIERS_MAX)? {
            let price = amount(&node)?;
            let tier = Tier::parse(name).filter(|tier| !tier.is_none());
            let more = tier.and_then(|tier| table.with(tier.name(), price));
            table = more.ok_or_else(|| {
                node.problem(format!(
                    "expected a tier of its own, of 1 to {TIER_BYTES_MAX} of a-z, 0-9, \"_\" and \
                     \"-\", but found another name; rename it"
                ))
            })?;
        }
        Ok(Price::rule(Rule::ByValue(table)))
    }
}

/// A price that tollwayd asks for, and the fields that it is asked with.
fn asked(node: &Node<'_>) -> Result<Price, ConfigError> {
    let mut fields = Vec::new();
    for node in node.items(ASKED_FIELDS_MAX)? {
        fields.push(field(&node)?);
    }
    Ok(Price::rule(Rule::Asked(AskedPrice::new(fields))))
}

/// An amount of other money, as text: JSON's numbers are not exact everywhere.
fn fiat(node: &Node<'_>) -> Result<Fiat, ConfigError> {
    let fields = node.object(&["amount", "currency"])?;
    let amount = fields.required("amount", "write how much, like \"0.002\"")?;
    let expected = "an amount above zero in quotes, like \"0.002\"";
    let read = Decimal::parse(amount.text(expected)?).filter(|amount| !amount.is_zero());
    let read = read.ok_or_else(|| amount.fault(expected, "write digits and at most one point"))?;
    let currency = fields.required("currency", "write of what, like \"USD\"")?;
    let expected = "the code of a currency, like \"USD\"";
    let code = Currency::parse(currency.text(expected)?);
    let code = code.ok_or_else(|| currency.fault(expected, "write three capital letters"))?;
    Ok(Fiat { amount: read, currency: code })
}

/// A field of requests: `{"header": ..}`, `{"query": ..}` or `{"json": ..}`.
pub(super) fn field(node: &Node<'_>) -> Result<Field, ConfigError> {
    const EXPECTED: &str = "a field such as {\"header\": \"x-model\"}, {\"query\": \"size\"} or \
         {\"json\": \"options.size\"}";
    let fields = node.object(&["header", "query", "json"])?;
    let Some((name, kind)) = fields.one_of(&["header", "query", "json"])? else {
        return Err(node.fault(EXPECTED, "name one field"));
    };
    let text = name.text("a name")?;
    match kind {
        0 => Field::header(text),
        1 => Field::query(text),
        _ => Field::json(text),
    }
    .map_err(|fault| {
        name.problem(format!("expected {EXPECTED}, but found {fault}; write it as clients send it"))
    })
}

const NOTHING: &str = "write \"free\": true for what costs nothing";

pub(super) fn sats(node: &Node<'_>, finer: &str) -> Result<Msat, ConfigError> {
    let sats = if node.is_below(1) {
        node.integer_or(1, PRICE_SATS_MAX, NOTHING)?
    } else if node.is_fraction() {
        node.integer_or(1, PRICE_SATS_MAX, &format!("write {finer} for a part of a sat"))?
    } else {
        node.integer(1, PRICE_SATS_MAX)?
    };
    // The range never leaves what an amount can be.
    Ok(Msat::from_sats(sats).unwrap_or(Msat::MAX))
}

pub(super) fn msat(node: &Node<'_>) -> Result<Msat, ConfigError> {
    let msat = if node.is_below(1) {
        node.integer_or(1, Msat::MAX.get(), NOTHING)?
    } else {
        node.integer(1, Msat::MAX.get())?
    };
    Ok(Msat::new(msat).unwrap_or(Msat::MAX))
}

fn free(node: &Node<'_>) -> Result<Price, ConfigError> {
    if node.flag()? {
        Ok(Price::Free)
    } else {
        Err(node.fault("true", "leave the field out and write a price"))
    }
}
