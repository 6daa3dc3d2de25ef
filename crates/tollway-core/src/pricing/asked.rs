//! A price that the operator's own service tells: what it is asked with.

use alloc::string::String;
use alloc::vec::Vec;

use super::field::{Field, Value};
use super::price::{BodyNeed, PricedRequest};
use super::{PriceFault, PriceProblem};

/// The longest value of a field that such a service is told, in bytes.
const SAID_BYTES_MAX: usize = 4_096;

/// Fields by their names, such as `query.size`, and what a request says in each of them.
pub type Said = Vec<(String, Option<String>)>;

/// The fields of a request that its price is asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPrice {
    fields: Vec<Field>,
}

impl AskedPrice {
    /// A price that hangs on these fields, and on route, method and path.
    #[must_use]
    pub const fn new(fields: Vec<Field>) -> Self {
        Self { fields }
    }

    pub(super) fn body_need(&self) -> BodyNeed {
        self.fields.iter().map(Field::body_need).max().unwrap_or(BodyNeed::Nothing)
    }

    /// What the request says, in the order of the fields.
    pub(super) fn said(&self, request: &PricedRequest<'_>) -> Result<Said, PriceFault<'_>> {
        let mut all = Said::new();
        for field in &self.fields {
            let (kind, path) = match field {
                Field::Header(name) => ("header", core::slice::from_ref(name)),
                Field::Query(name) => ("query", core::slice::from_ref(name)),
                Field::Json(path) => ("json", path.as_slice()),
                Field::Tier => ("tier", &[][..]),
            };
            let mut name = String::from(kind);
            for part in path {
                name.push('.');
                name.push_str(part);
            }
            let text = match field.read(request)? {
                Value::Absent => None,
                Value::Text(text) if text.len() <= SAID_BYTES_MAX => Some(text.into_owned()),
                _ => return Err(PriceProblem::Malformed.of(field)),
            };
            all.push((name, text));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::format;

    use super::super::price::tests::request;
    use super::super::{Price, Rule};
    use super::*;

    #[test]
    fn it_is_asked_with_what_the_request_says_and_with_nothing_else() {
        let fields = [Field::query("size"), Field::header("x-a")].map(Result::unwrap);
        let price = Price::rule(Rule::Asked(AskedPrice::new(fields.into())));
        assert_eq!(price.body_need(), BodyNeed::Nothing);
        let asked = PricedRequest { query: b"size=a%20b&other=1", ..request() };
        let said = price.said(&asked).unwrap().unwrap();
        let named = |name: &str, text: Option<&str>| (name.to_owned(), text.map(str::to_owned));
        assert_eq!(said, [named("query.size", Some("a b")), named("header.x-a", None)]);
        // Nobody told it: it is not sold at any price of ours.
        assert_eq!(price.quote(&asked).map_err(|it| it.problem), Err(PriceProblem::NotSold));
        assert!(price.follows_the_moment());
        assert_eq!(Price::Free.said(&asked), None);
    }

    #[test]
    fn what_can_be_read_in_two_ways_or_is_too_long_is_refused() {
        let json = Field::json("a.b").unwrap();
        let price = Price::rule(Rule::Asked(AskedPrice::new(Vec::from([json]))));
        assert_eq!(price.body_need(), BodyNeed::Text);
        let text = |length| format!("{{\"a\":{{\"b\":\"{}\"}}}}", "x".repeat(length));
        let problem = |body: &str| {
            let asked = PricedRequest { body: body.as_bytes(), ..request() };
            price.said(&asked).unwrap().map(|_| ()).map_err(|fault| fault.problem)
        };
        assert_eq!(problem(&text(SAID_BYTES_MAX)), Ok(()));
        assert_eq!(problem(&text(SAID_BYTES_MAX + 1)), Err(PriceProblem::Malformed));
        assert_eq!(problem(r#"{"a":{"b":[]}}"#), Err(PriceProblem::Malformed));
        assert_eq!(problem(r#"{"a":{"b":1,"b":2}}"#), Err(PriceProblem::Repeated));
    }
}
