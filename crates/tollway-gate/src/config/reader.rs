//! A typed reader of JSON that knows where it stands, so that every fault names its path.
//!
//! Envoy hands the configuration over as the JSON of a `google.protobuf.Struct`, whose numbers
//! are doubles: an integer may arrive as `5`, `5.0` or `5e0`, and all three are taken.
//!
//! Nobody keeps paths: where a value stands is looked for when it turns out to be faulty.

use std::{fmt, ptr};

use tollway_core::decimal::Decimal;
use tollway_core::json_tree::{Tree, TreeFault};
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
    pub(super) fn not_json(text: &[u8], fault: TreeFault) -> Self {
        let before = text.get(..fault.at).unwrap_or(text);
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
        let problem =
            format!("expected JSON, but found a fault in it at line {line}, column {column}");
        Self { path: String::new(), problem }
    }

    /// The same fault of a member of the value.
    fn below(mut self, name: &str) -> Self {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(name);
        self
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

/// A value of a configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    root: &'a Tree,
    value: &'a Tree,
}

impl<'a> Node<'a> {
    pub(super) const fn root(root: &'a Tree) -> Self {
        Self { root, value: root }
    }

    pub(super) fn is_text(&self) -> bool {
        matches!(self.value, Tree::Text(_))
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self.value, Tree::Object(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.value, Tree::Number(_))
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
        let mut path = String::new();
        path_to(self.root, self.value, &mut path);
        ConfigError { path, problem }
    }

    /// The object here, once all its fields are known ones.
    pub(super) fn object(&self, known: &'static [&'static str]) -> Result<Object<'a>, ConfigError> {
        let Some(fields) = self.members()? else {
            return Err(self.fault("an object", &format!("its fields are {}", known.join(", "))));
        };
        let object = Object(*self);
        match fields.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(object.unknown_field(name, known)),
            None => Ok(object),
        }
    }

    /// The items of the list here, at most `items_max`.
    pub(super) fn items(&self, items_max: usize) -> Result<Vec<Self>, ConfigError> {
        let Tree::List(items) = self.value else {
            return Err(self.fault("a list", "write the items between [ and ]"));
        };
        self.at_most(items.len(), items_max, "items")?;
        Ok(items.iter().map(|value| self.at(value)).collect())
    }

    /// The fields of the object here, whatever their names, at most `entries_max`.
    pub(super) fn entries(&self, entries_max: usize) -> Result<Vec<(&'a str, Self)>, ConfigError> {
        let Some(fields) = self.members()? else {
            return Err(self.fault("an object", "write its entries between { and }"));
        };
        self.at_most(fields.len(), entries_max, "entries")?;
        Ok(fields.iter().map(|(name, value)| (name.as_str(), self.at(value))).collect())
    }

    fn at_most(&self, found: usize, most: usize, what: &str) -> Result<(), ConfigError> {
        if found <= most {
            return Ok(());
        }
        Err(self
            .problem(format!("expected at most {most} {what}, but found {found}; take some out")))
    }

    /// The members of the object here, each name once.
    fn members(&self) -> Result<Option<&'a [(String, Tree)]>, ConfigError> {
        let Tree::Object(members) = self.value else { return Ok(None) };
        let again = members
            .iter()
            .enumerate()
            .find(|(at, (name, _))| members.iter().skip(at + 1).any(|(other, _)| other == name));
        match again {
            Some((_, (name, _))) => Err(self.problem(format!(
                "expected every name once, but found \"{}\" twice; keep one of the two",
                shorten(name)
            ))),
            None => Ok(Some(members)),
        }
    }

    const fn at(&self, value: &'a Tree) -> Self {
        Self { root: self.root, value }
    }

    pub(super) fn text(&self, expected: &str) -> Result<&'a str, ConfigError> {
        self.value.text().ok_or_else(|| self.fault(expected, "write a text in quotes"))
    }

    /// The text, if it is one. For a value that no message may show.
    pub(super) fn text_unshown(&self) -> Option<&'a str> {
        self.value.text()
    }

    pub(super) fn flag(&self) -> Result<bool, ConfigError> {
        let remedy = match self.value {
            Tree::Bool(flag) => return Ok(*flag),
            Tree::Text(_) => "leave the quotes out",
            _ => "write one of the two",
        };
        Err(self.fault("true or false", remedy))
    }

    /// The number, if it is one that is not negative.
    pub(super) fn decimal(&self) -> Option<Decimal> {
        if let Tree::Number(number) = self.value { Decimal::parse(number) } else { None }
    }

    /// A whole number from `min` to `max`.
    pub(super) fn integer(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let remedy = match self.value {
            Tree::Text(_) => "write the number without quotes",
            Tree::Number(_) if whole(self.value).is_some() => "choose a number in this range",
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
        self.is_number() && whole(self.value).is_none()
    }
}

/// An object whose fields are all known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object<'a>(Node<'a>);

impl<'a> Object<'a> {
    pub(super) fn optional(&self, name: &str) -> Option<Node<'a>> {
        self.0.value.get(name).map(|value| self.0.at(value))
    }

    /// The field, or a fault that says what to write.
    pub(super) fn required(&self, name: &str, remedy: &str) -> Result<Node<'a>, ConfigError> {
        self.optional(name).ok_or_else(|| self.missing(name, remedy))
    }

    /// The fault of a field that must be there and is not.
    pub(super) fn missing(&self, name: &str, remedy: &str) -> ConfigError {
        self.0.problem(format!("missing; {remedy}")).below(name)
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
        self.0.problem(problem)
    }

    fn unknown_field(&self, name: &str, known: &[&str]) -> ConfigError {
        let remedy = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        self.0.problem(format!("unknown field; {remedy}")).below(&shorten(name))
    }
}

/// Finds the way from one value down to another.
fn path_to(from: &Tree, wanted: &Tree, path: &mut String) -> bool {
    let begun = path.len();
    let mut leads = |value: &Tree, step: &str| {
        path.push_str(step);
        path_to(value, wanted, path) || {
            path.truncate(begun);
            false
        }
    };
    ptr::eq(from, wanted)
        || match from {
            Tree::List(items) => {
                items.iter().enumerate().any(|(at, value)| leads(value, &format!("[{at}]")))
            }
            Tree::Object(members) => members.iter().any(|(name, value)| {
                let dot = if begun == 0 { "" } else { "." };
                leads(value, &format!("{dot}{}", shorten(name)))
            }),
            _ => false,
        }
}

/// The number, when it is a whole one.
fn whole(value: &Tree) -> Option<i128> {
    let Tree::Number(number) = value else { return None };
    let (digits, sign) = match number.strip_prefix('-') {
        Some(digits) => (digits, -1),
        None => (number.as_str(), 1),
    };
    let size = match Decimal::parse(digits) {
        Some(number) => number.whole()?,
        // Too long to be read: a very small part, or beyond the range of every field.
        None if digits.contains(['.', '-']) => return None,
        None => return Some(sign * i128::MAX),
    };
    Some(sign * i128::try_from(size).unwrap_or(i128::MAX))
}

/// A value as a message shows it.
fn found(value: &Tree) -> String {
    match value {
        Tree::Null => "null".to_owned(),
        Tree::Bool(true) => "true".to_owned(),
        Tree::Bool(false) => "false".to_owned(),
        Tree::Number(number) => shorten(number),
        Tree::Text(text) => format!("\"{}\"", shorten(text)),
        Tree::List(_) => "a list".to_owned(),
        Tree::Object(_) => "an object".to_owned(),
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
            ("1e308", Some(i128::MAX)),
            ("-1e308", Some(-i128::MAX)),
            ("1234567890123456789012345678901234567890", Some(i128::MAX)),
            ("5.5", None),
            ("1e-9", None),
            ("\"5\"", None),
            ("true", None),
            ("null", None),
        ] {
            let value = Tree::parse(text.as_bytes()).unwrap();
            assert_eq!(whole(&value), expected, "{text}");
        }
    }
}
