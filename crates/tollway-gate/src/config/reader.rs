//! A typed reader of JSON that knows where it stands, so that every fault names its path.
//!
//! Envoy hands the configuration over as the JSON of a `google.protobuf.Struct`, whose numbers
//! are doubles: an integer may arrive as `5`, `5.0` or `5e0`, and all three are taken.

use std::fmt;

use serde_json::{Map, Value};
use tollway_core::money::Msat;

/// The most characters of a faulty value that a message repeats.
const FOUND_CHARS_MAX: usize = 64;

/// A fault in the configuration: where it is, what was expected, and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    path: String,
    problem: String,
}

impl ConfigError {
    pub(super) fn new(path: &str, problem: String) -> Self {
        Self { path: path.to_owned(), problem }
    }

    /// The JSON path of the faulty value, such as `routes[2].price_sats`; empty for the whole.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "config" } else { &self.path };
        write!(f, "{path}: {}", self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// A value and its path.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) const fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub(super) fn is_text(&self) -> bool {
        self.value.is_string()
    }

    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    pub(super) fn is_number(&self) -> bool {
        self.value.is_number()
    }

    /// Whether this is an object with such a field.
    pub(super) fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some()
    }

    /// A fault of this value that shows the value.
    pub(super) fn fault(&self, expected: &str, remedy: &str) -> ConfigError {
        let found = found(self.value);
        self.problem(format!("expected {expected}, but found {found}; {remedy}"))
    }

    /// A fault of this value in words of its own.
    pub(super) fn problem(&self, problem: String) -> ConfigError {
        ConfigError::new(&self.path, problem)
    }

    /// The object here, once all its fields are known ones.
    pub(super) fn object(&self, known: &'static [&'static str]) -> Result<Object<'a>, ConfigError> {
        let Value::Object(fields) = self.value else {
            return Err(self.fault("an object", &format!("its fields are {}", known.join(", "))));
        };
        let object = Object { path: self.path.clone(), fields };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(object.unknown_field(name, known)),
            None => Ok(object),
        }
    }

    /// The items of the list here, at most `items_max`.
    pub(super) fn items(&self, items_max: usize) -> Result<Vec<Self>, ConfigError> {
        let Value::Array(items) = self.value else {
            return Err(self.fault("a list", "write the items between [ and ]"));
        };
        if items.len() > items_max {
            let found = items.len();
            return Err(self.problem(format!(
                "expected at most {items_max} items, but found {found}; take some out"
            )));
        }
        let items = items.iter().enumerate();
        Ok(items.map(|(at, value)| Self { path: format!("{}[{at}]", self.path), value }).collect())
    }

    /// The fields of the object here, whatever their names, at most `entries_max`.
    pub(super) fn entries(&self, entries_max: usize) -> Result<Vec<(&'a str, Self)>, ConfigError> {
        let Value::Object(fields) = self.value else {
            return Err(self.fault("an object", "write its entries between { and }"));
        };
        if fields.len() > entries_max {
            let found = fields.len();
            return Err(self.problem(format!(
                "expected at most {entries_max} entries, but found {found}; take some out"
            )));
        }
        let node = |(name, value): (&'a String, &'a Value)| {
            let path = format!("{}.{}", self.path, shorten(name));
            (name.as_str(), Self { path, value })
        };
        Ok(fields.iter().map(node).collect())
    }

    pub(super) fn text(&self, expected: &str) -> Result<&'a str, ConfigError> {
        self.value.as_str().ok_or_else(|| self.fault(expected, "write a text in quotes"))
    }

    /// The text, if it is one. For a value that no message may show.
    pub(super) fn text_unshown(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        let remedy = if self.is_text() { "leave the quotes out" } else { "write one of the two" };
        self.value.as_bool().ok_or_else(|| self.fault("true or false", remedy))
    }

    /// The number as a person would write it, if it is one.
    pub(super) fn number_text(&self) -> Option<String> {
        self.value.as_number().map(ToString::to_string)
    }

    /// A whole number from `min` to `max`.
    pub(super) fn integer(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let remedy = match self.value {
            Value::String(_) => "write the number without quotes",
            Value::Number(_) if whole(self.value).is_some() => "choose a number in this range",
            _ => "write a whole number",
        };
        self.integer_or(min, max, remedy)
    }

    /// Like [`Node::integer`], with a remedy of the field's own.
    pub(super) fn integer_or(&self, min: u64, max: u64, remedy: &str) -> Result<u64, ConfigError> {
        whole(self.value)
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.fault(&format!("an integer from {min} to {max}"), remedy))
    }

    /// Whether the value is a whole number below `min`.
    pub(super) fn is_below(&self, min: i128) -> bool {
        whole(self.value).is_some_and(|number| number < min)
    }

    /// Whether the value is a number with a part behind the point.
    pub(super) fn is_fraction(&self) -> bool {
        self.value.is_number() && whole(self.value).is_none()
    }
}

/// An object whose fields are all known.
#[derive(Clone, Debug)]
pub(super) struct Object<'a> {
    path: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub(super) fn optional(&self, name: &str) -> Option<Node<'a>> {
        self.fields.get(name).map(|value| Node { path: self.child(name), value })
    }

    /// The field, or a fault that says what to write.
    pub(super) fn required(&self, name: &str, remedy: &str) -> Result<Node<'a>, ConfigError> {
        self.optional(name).ok_or_else(|| self.missing(name, remedy))
    }

    /// The fault of a field that must be there and is not.
    pub(super) fn missing(&self, name: &str, remedy: &str) -> ConfigError {
        ConfigError::new(&self.child(name), format!("missing; {remedy}"))
    }

    pub(super) fn integer(
        &self,
        name: &str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        match self.optional(name) {
            Some(node) => node.integer(*range.start(), *range.end()),
            None => Ok(default),
        }
    }

    /// An amount in sats, at least 1; zero where the field is not there.
    pub(super) fn sats(&self, name: &str, sats_max: u64) -> Result<Msat, ConfigError> {
        match self.optional(name) {
            Some(node) => Ok(Msat::from_sats(node.integer(1, sats_max)?).unwrap_or(Msat::MAX)),
            None => Ok(Msat::ZERO),
        }
    }

    /// The one field of `names` that is there. `None` for none, a fault for several.
    pub(super) fn one_of(&self, names: &[&str]) -> Result<Option<(Node<'a>, usize)>, ConfigError> {
        let mut there = names
            .iter()
            .enumerate()
            .filter_map(|(at, name)| self.optional(name).map(|node| (node, at, *name)));
        let Some((node, at, name)) = there.next() else { return Ok(None) };
        match there.next() {
            None => Ok(Some((node, at))),
            Some((_, _, second)) => Err(self.problem(format!(
                "expected only one of {}, but found {name} and {second}; keep one of them",
                names.join(", ")
            ))),
        }
    }

    /// A fault where one of these fields is there.
    pub(super) fn none_of(&self, names: &[&str], remedy: &str) -> Result<(), ConfigError> {
        match names.iter().find_map(|name| self.optional(name)) {
            Some(node) => {
                Err(node.problem(format!("expected no such field here, but found one; {remedy}")))
            }
            None => Ok(()),
        }
    }

    /// A fault of the object as a whole.
    pub(super) fn problem(&self, problem: String) -> ConfigError {
        ConfigError::new(&self.path, problem)
    }

    fn child(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn unknown_field(&self, name: &str, known: &[&str]) -> ConfigError {
        let shown = shorten(name);
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        ConfigError::new(&self.child(&shown), format!("unknown field; {remedy}"))
    }
}

/// The number, when it is exactly a whole one.
fn whole(value: &Value) -> Option<i128> {
    // Above 2^53 a double no longer tells whole numbers apart; no field goes that far.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = value.as_u64() {
        return Some(number.into());
    }
    if let Some(number) = value.as_i64() {
        return Some(number.into());
    }
    let number = value.as_f64()?;
    if number.fract() != 0.0 {
        return None;
    }
    // The cast saturates; what is out of range stays out of every field's range.
    Some(number.clamp(-EXACT_MAX, EXACT_MAX) as i128)
}

/// A value as a message shows it.
fn found(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{}\"", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// Text that is safe and short enough for a log line.
fn shorten(text: &str) -> String {
    let shown = text.chars().take(FOUND_CHARS_MAX).flat_map(char::escape_debug);
    let end = if text.chars().count() > FOUND_CHARS_MAX { "..." } else { "" };
    shown.chain(end.chars()).collect()
}

/// The known name that `name` was most likely meant to be.
fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    const EDITS_MAX: usize = 2;
    const PREFIX_BYTES_MIN: usize = 3;
    if name.len() > FOUND_CHARS_MAX {
        return None;
    }
    let close = known
        .iter()
        .map(|known| (edits(name, known), *known))
        .filter(|(edits, known)| *edits <= EDITS_MAX && *edits < known.len())
        .min();
    let begun = || known.iter().find(|known| known.starts_with(name)).copied();
    match close {
        Some((_, known)) => Some(known),
        None if name.len() >= PREFIX_BYTES_MIN => begun(),
        None => None,
    }
}

/// Levenshtein's distance: how many bytes to insert, delete or replace.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (at, mine) in from.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let mut next = vec![left];
        for (theirs, &above) in to.bytes().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(mine != theirs)).min(above + 1).min(left + 1);
            diagonal = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (from, to, expected) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("routs", "routes", 1), ("ab", "ba", 2)]
        {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn whole_numbers_arrive_in_every_json_form() {
        for (text, expected) in [
            ("5", Some(5)),
            ("5.0", Some(5)),
            ("5e0", Some(5)),
            ("50e-1", Some(5)),
            ("-0.0", Some(0)),
            ("-3", Some(-3)),
            ("9007199254740992", Some(1 << 53)),
            ("1e308", Some(1 << 53)),
            ("5.5", None),
            ("1e-9", None),
            ("\"5\"", None),
            ("true", None),
            ("null", None),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&value), expected, "{text}");
        }
    }
}
