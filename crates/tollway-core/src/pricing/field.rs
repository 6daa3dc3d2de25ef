//! What of a request a price may hang on.

use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::conditions::{client_header, values_of};
use super::price::{BodyNeed, PricedRequest};
use super::{HeaderFault, PriceFault, PriceProblem, query};
use crate::json::{self, Found, JsonFault};

/// The longest name of a parameter, and of a JSON field with all that lead to it.
const NAME_BYTES_MAX: usize = 128;
/// The most objects on the way to a JSON field, itself included.
const JSON_NAMES_MAX: usize = 8;

/// A field of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A header, by its name in lower case.
    Header(String),
    /// A parameter of the query.
    Query(String),
    /// A field of a JSON body: the names on the way to it.
    Json(Vec<String>),
    /// No word of the request's: the tier of the account that pays.
    Tier,
}

/// Why something cannot be a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldFault {
    /// Not the name of a header that clients send.
    Header(HeaderFault),
    /// An empty name, a too long one, or one with control characters.
    Name,
}

impl fmt::Display for FieldFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(fault) => fault.fmt(f),
            Self::Name => write!(
                f,
                "an empty name, one of more than {NAME_BYTES_MAX} bytes or {JSON_NAMES_MAX} parts, \
                 or a control character"
            ),
        }
    }
}

impl core::error::Error for FieldFault {}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Absent,
    Text(Cow<'a, str>),
    /// No text, number, true or false.
    Other,
}

impl Field {
    /// A header.
    ///
    /// # Errors
    /// [`FieldFault::Header`] for a name that no header of a client has.
    pub fn header(name: &str) -> Result<Self, FieldFault> {
        client_header(name).map(Self::Header).map_err(FieldFault::Header)
    }

    /// A parameter of the query.
    ///
    /// # Errors
    /// [`FieldFault::Name`].
    pub fn query(name: &str) -> Result<Self, FieldFault> {
        is_name(name).then(|| Self::Query(name.to_owned())).ok_or(FieldFault::Name)
    }

    /// A field of a JSON body; `a.b` is the field `b` of the object in field `a`.
    ///
    /// # Errors
    /// [`FieldFault::Name`].
    pub fn json(path: &str) -> Result<Self, FieldFault> {
        let names: Vec<String> = path.split('.').map(ToOwned::to_owned).collect();
        let proper = path.len() <= NAME_BYTES_MAX
            && names.len() <= JSON_NAMES_MAX
            && names.iter().all(|name| is_name(name));
        proper.then_some(Self::Json(names)).ok_or(FieldFault::Name)
    }

    pub(super) const fn body_need(&self) -> BodyNeed {
        match self {
            Self::Header(_) | Self::Query(_) | Self::Tier => BodyNeed::Nothing,
            Self::Json(_) => BodyNeed::Text,
        }
    }

    /// What the request says here.
    pub(super) fn read<'a>(
        &self,
        request: &PricedRequest<'a>,
    ) -> Result<Value<'a>, PriceFault<'_>> {
        match self {
            Self::Header(name) => header(request, name),
            Self::Query(name) => query::find(request.query, name)
                .map(|found| found.map_or(Value::Absent, |text| Value::Text(text.into()))),
            Self::Json(path) => json::find(request.body, path).map(value).map_err(problem),
            Self::Tier if request.tier.is_none() => Ok(Value::Absent),
            Self::Tier => Ok(Value::Text(request.tier.name().to_owned().into())),
        }
        .map_err(|problem| problem.of(self))
    }
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains(char::is_control)
}

fn header<'a>(request: &PricedRequest<'a>, name: &str) -> Result<Value<'a>, PriceProblem> {
    let mut values = values_of(request.headers, name);
    let Some(value) = values.next() else { return Ok(Value::Absent) };
    if values.next().is_some() {
        return Err(PriceProblem::Repeated);
    }
    let text = core::str::from_utf8(value).map_err(|_| PriceProblem::Malformed)?;
    Ok(Value::Text(text.trim_matches([' ', '\t']).into()))
}

/// `null` is as good as nothing: that is how most APIs take it.
fn value(found: Option<Found<'_>>) -> Value<'_> {
    match found {
        None | Some(Found::Null) => Value::Absent,
        Some(Found::Bool(true)) => Value::Text("true".into()),
        Some(Found::Bool(false)) => Value::Text("false".into()),
        Some(Found::Number(text)) => Value::Text(text.into()),
        Some(Found::Text(text)) => Value::Text(text.into()),
        Some(Found::Compound) => Value::Other,
    }
}

const fn problem(fault: JsonFault) -> PriceProblem {
    match fault {
        JsonFault::Malformed => PriceProblem::Malformed,
        JsonFault::TooDeep => PriceProblem::TooDeep,
        JsonFault::Repeated => PriceProblem::Repeated,
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "one header \"{name}\""),
            Self::Query(name) => write!(f, "one query parameter \"{name}\""),
            Self::Json(path) => write!(f, "a JSON body with one field \"{}\"", path.join(".")),
            Self::Tier => f.write_str("the tier of an account"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn err_names_that_no_field_has() {
        assert_eq!(Field::header("X-Model"), Ok(Field::Header("x-model".into())));
        for name in ["", "a b", "x-toll-tier", "host", ":path"] {
            assert!(matches!(Field::header(name), Err(FieldFault::Header(_))), "{name}");
        }
        for name in ["", "a\n", &"x".repeat(129)] {
            assert_eq!(Field::query(name), Err(FieldFault::Name), "{name}");
            assert_eq!(Field::json(name), Err(FieldFault::Name), "{name}");
        }
        for path in [".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
            assert_eq!(Field::json(path), Err(FieldFault::Name), "{path}");
        }
        assert_eq!(Field::json("a.b"), Ok(Field::Json(["a".into(), "b".into()].into())));
        let shown = Field::json("a.b").unwrap().to_string();
        assert_eq!(shown, "a JSON body with one field \"a.b\"");
    }
}
