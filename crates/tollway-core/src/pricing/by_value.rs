//! Prices by what a field says.

use alloc::string::String;
use alloc::vec::Vec;

use super::field::{Field, Value};
use super::price::{BodyNeed, Price, PricedRequest, Quote};
use super::{PriceFault, PriceProblem};
use crate::decimal::Decimal;
use crate::tier::Tier;

/// A price for each value of a field, and one for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByValue {
    field: Field,
    values: Vec<(Key, Price)>,
    default: Price,
}

/// A value in the table. Where it is a number, every spelling of that number is the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    text: String,
    number: Option<Decimal>,
}

impl Key {
    fn is(&self, text: &str, number: Option<Decimal>) -> bool {
        self.text == text || (number.is_some() && self.number == number)
    }
}

impl ByValue {
    /// Requests cost what the table says for the field's value, or else the default.
    #[must_use]
    pub const fn new(field: Field, default: Price) -> Self {
        Self { field, values: Vec::new(), default }
    }

    /// Adds a value; `None` if the table has it already, perhaps in another spelling.
    #[must_use]
    pub fn with(mut self, text: &str, price: Price) -> Option<Self> {
        let number = Decimal::parse(text);
        if self.values.iter().any(|(key, _)| key.is(text, number)) {
            return None;
        }
        self.values.push((Key { text: text.into(), number }, price));
        Some(self)
    }

    /// Every price of the table.
    pub(super) fn prices(&self) -> impl Iterator<Item = &Price> {
        self.values.iter().map(|(_, price)| price).chain([&self.default])
    }

    /// Adds the tiers of a table of tiers.
    pub(super) fn name_tiers(&self, tiers: &mut Vec<Tier>) {
        if self.field == Field::Tier {
            tiers.extend(self.values.iter().filter_map(|(key, _)| Tier::parse(&key.text)));
        }
    }

    pub(super) fn body_need(&self) -> BodyNeed {
        self.prices().map(Price::body_need).fold(self.field.body_need(), BodyNeed::max)
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let price = match self.field.read(request)? {
            Value::Absent => &self.default,
            Value::Other => return Err(PriceProblem::Malformed.of(&self.field)),
            Value::Text(text) => {
                // A tier is a name: 1 and 01 are two.
                let is_name = self.field == Field::Tier;
                let number = Decimal::parse(&text).filter(|_| !is_name);
                match self.values.iter().find(|(key, _)| key.is(&text, number)) {
                    Some((_, price)) => price,
                    // Two headers of one name may have become one on their way.
                    None if matches!(self.field, Field::Header(_)) && text.contains(',') => {
                        return Err(PriceProblem::Repeated.of(&self.field));
                    }
                    None => &self.default,
                }
            }
        };
        price.quote(request).map_err(|fault| fault.or_at(&self.field))
    }
}

/// One price where a field is there, and one where it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByPresence {
    /// The field.
    pub field: Field,
    /// What a request costs that has it.
    pub present: Price,
    /// What a request costs that has it not.
    pub absent: Price,
}

impl ByPresence {
    pub(super) fn body_need(&self) -> BodyNeed {
        let prices = self.present.body_need().max(self.absent.body_need());
        self.field.body_need().max(prices)
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let price = match self.field.read(request)? {
            Value::Absent => &self.absent,
            Value::Text(_) | Value::Other => &self.present,
        };
        price.quote(request).map_err(|fault| fault.or_at(&self.field))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::price::tests::{fixed, request};
    use super::*;

    /// `large` costs 9, `10` costs 5, everything else 2.
    fn by(field: Field) -> Price {
        let table = ByValue::new(field, fixed(2));
        let table = table.with("large", fixed(9)).and_then(|table| table.with("10", fixed(5)));
        Price::rule(super::super::Rule::ByValue(table.unwrap()))
    }

    fn cost(price: &Price, request: &PricedRequest<'_>) -> Result<u64, PriceProblem> {
        price.quote(request).map(|quote| quote.cost.get()).map_err(|fault| fault.problem)
    }

    #[test]
    fn a_header_s_value_decides() {
        let price = by(Field::header("x-size").unwrap());
        let header = |value: &'static [u8]| ("x-size", value);
        for (headers, expected) in [
            (vec![], Ok(2)),
            (vec![header(b"large")], Ok(9)),
            (vec![header(b" large\t")], Ok(9)),
            (vec![header(b"LARGE")], Ok(2)),
            (vec![header(b"10.0")], Ok(5)),
            (vec![header(b"small")], Ok(2)),
            (vec![header(b"small"), header(b"large")], Err(PriceProblem::Repeated)),
            (vec![header(b"large"), header(b"large")], Err(PriceProblem::Repeated)),
            (vec![header(b"small,large")], Err(PriceProblem::Repeated)),
            (vec![header(b"\xff")], Err(PriceProblem::Malformed)),
        ] {
            let block = headers.iter().copied().collect();
            let found = cost(&price, &PricedRequest { headers: &block, ..request() });
            assert_eq!(found, expected, "{headers:?}");
        }
    }

    #[test]
    fn a_parameter_s_value_decides() {
        let price = by(Field::query("size").unwrap());
        for (query, expected) in [
            ("", Ok(2)),
            ("size=large", Ok(9)),
            ("size=l%61rge", Ok(9)),
            ("size=1e1", Ok(5)),
            ("size=large&size=small", Err(PriceProblem::Repeated)),
            ("size=%", Err(PriceProblem::Malformed)),
        ] {
            let found = cost(&price, &PricedRequest { query: query.as_bytes(), ..request() });
            assert_eq!(found, expected, "{query}");
        }
    }

    #[test]
    fn a_json_field_s_value_decides() {
        let price = by(Field::json("a.size").unwrap());
        assert_eq!(price.body_need(), BodyNeed::Text);
        for (body, expected) in [
            (r#"{"a":{"size":"large"}}"#, Ok(9)),
            (r#"{"a":{"size":10}}"#, Ok(5)),
            (r#"{"a":{"size":10.0}}"#, Ok(5)),
            (r#"{"a":{"size":"1e1"}}"#, Ok(5)),
            (r#"{"a":{"size":null}}"#, Ok(2)),
            (r#"{"a":{}}"#, Ok(2)),
            (r#"{"a":{"size":true}}"#, Ok(2)),
            (r#"{"a":{"size":["large"]}}"#, Err(PriceProblem::Malformed)),
            (r#"{"a":{"size":"small","size":"large"}}"#, Err(PriceProblem::Repeated)),
            ("", Err(PriceProblem::Malformed)),
            ("size=large", Err(PriceProblem::Malformed)),
        ] {
            let found = cost(&price, &PricedRequest { body: body.as_bytes(), ..request() });
            assert_eq!(found, expected, "{body}");
        }
    }

    #[test]
    fn presence_decides_whatever_the_value() {
        let field = Field::json("stream").unwrap();
        let rule = ByPresence { field: field.clone(), present: fixed(7), absent: Price::Denied };
        let price = Price::rule(super::super::Rule::ByPresence(rule));
        for (body, expected) in [
            (r#"{"stream":false}"#, Ok(7)),
            (r#"{"stream":{}}"#, Ok(7)),
            (r#"{"stream":null}"#, Err(PriceProblem::NotSold)),
            ("{}", Err(PriceProblem::NotSold)),
        ] {
            let asked = PricedRequest { body: body.as_bytes(), ..request() };
            assert_eq!(cost(&price, &asked), expected, "{body}");
        }
        let asked = PricedRequest { body: b"{}", ..request() };
        assert_eq!(price.quote(&asked).unwrap_err().field, Some(&field));
    }

    #[test]
    fn err_one_value_twice() {
        let table = ByValue::new(Field::query("n").unwrap(), Price::Denied);
        let table = table.with("10", fixed(1)).unwrap();
        assert_eq!(table.clone().with("10", fixed(2)), None);
        assert_eq!(table.clone().with("1e1", fixed(2)), None);
        assert!(table.with("11", fixed(2)).is_some());
    }
}
