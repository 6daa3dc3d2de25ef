//! Reading a whole JSON text as a tree.
//!
//! Numbers stay as they were written: nothing here knows floating point, whose tables alone would
//! be a fortieth of the filter (ADR 0029).

use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{Found, JsonFault, Reader, Unescaped, inner};

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A string without its quotes and escapes.
    Text(String),
    /// A list.
    List(Vec<Self>),
    /// An object's members in their order; a name may come twice.
    Object(Vec<(String, Self)>),
}

/// A text that is not JSON, or is nested too deep: how many bytes of it were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeFault {
    /// Where the fault was found, in bytes from the beginning.
    pub at: usize,
}

impl Tree {
    /// Reads a JSON text, nested at most [`DEPTH_MAX`](crate::json::DEPTH_MAX) deep.
    ///
    /// # Errors
    /// [`TreeFault`] for any other text.
    ///
    /// ```
    /// use tollway_core::json_tree::Tree;
    ///
    /// let tree = Tree::parse(br#"{"price": {"msat": 15e2}}"#).unwrap();
    /// let msat = tree.get("price").and_then(|price| price.get("msat"));
    /// assert_eq!(msat, Some(&Tree::Number("15e2".into())));
    /// ```
    pub fn parse(text: &[u8]) -> Result<Self, TreeFault> {
        let mut reader = Reader::new(text).map_err(|_| TreeFault { at: valid_up_to(text) })?;
        let read = tree(&mut reader, 0).and_then(|tree| reader.finish().map(|()| tree));
        read.map_err(|_| TreeFault { at: text.len() - reader.left() })
    }

    /// The member of this name, if this is an object that has one. Of several it is the last, as
    /// most readers take it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The text, if this is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The items, if this is a list.
    #[must_use]
    pub fn items(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }
}

fn valid_up_to(text: &[u8]) -> usize {
    core::str::from_utf8(text).map_or_else(|fault| fault.valid_up_to(), str::len)
}

fn tree(reader: &mut Reader<'_>, depth: usize) -> Result<Tree, JsonFault> {
    reader.skip_space();
    Ok(match reader.peek() {
        Some(b'{') => {
            let (mut members, depth) = (Vec::new(), inner(depth)?);
            let mut more = reader.opens(b'{', b'}')?;
            while more {
                let name = text(reader)?;
                reader.expect(b':')?;
                members.push((name, tree(reader, depth)?));
                more = reader.goes_on(b'}')?;
            }
            Tree::Object(members)
        }
        Some(b'[') => {
            let (mut items, depth) = (Vec::new(), inner(depth)?);
            let mut more = reader.opens(b'[', b']')?;
            while more {
                items.push(tree(reader, depth)?);
                more = reader.goes_on(b']')?;
            }
            Tree::List(items)
        }
        Some(b'"') => Tree::Text(text(reader)?),
        Some(b'-' | b'0'..=b'9') => Tree::Number(reader.number()?.into()),
        _ => match reader.word()? {
            Found::Bool(flag) => Tree::Bool(flag),
            _ => Tree::Null,
        },
    })
}

fn text(reader: &mut Reader<'_>) -> Result<String, JsonFault> {
    Unescaped(reader.string()?).collect()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The same tree as another reader has it. Numbers are compared as they are written again.
    fn seen(tree: &Tree) -> Value {
        match tree {
            Tree::Null => Value::Null,
            Tree::Bool(flag) => Value::Bool(*flag),
            Tree::Number(number) => serde_json::from_str(number).unwrap(),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => items.iter().map(seen).collect(),
            Tree::Object(members) => {
                members.iter().map(|(name, value)| (name.clone(), seen(value))).collect()
            }
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<u64>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Value::String),
        ];
        leaf.prop_recursive(6, 64, 6, |value| {
            prop_oneof![
                prop::collection::vec(value.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((any::<String>(), value), 0..6)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    /// What this reader takes, the other takes too, and as the same; but for numbers that are
    /// beyond its own.
    fn agrees(text: &[u8]) -> Result<(), TestCaseError> {
        let Ok(tree) = Tree::parse(text) else { return Ok(()) };
        match serde_json::from_slice::<Value>(text) {
            Ok(value) => prop_assert_eq!(seen(&tree), value),
            Err(fault) => prop_assert!(fault.to_string().starts_with("number out of range")),
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn reads_what_another_writer_wrote(value in values(), pretty: bool) {
            let text =
                if pretty { serde_json::to_vec_pretty(&value) } else { serde_json::to_vec(&value) };
            let text = text.unwrap();
            prop_assert!(Tree::parse(&text).is_ok());
            agrees(&text)?;
        }

        #[test]
        fn takes_nothing_that_another_reader_refuses(
            value in values(),
            cut in any::<prop::sample::Index>(),
            byte: u8,
        ) {
            let mut text = value.to_string().into_bytes();
            let at = cut.index(text.len());
            text[at] = byte;
            agrees(&text)?;
            text.truncate(at);
            agrees(&text)?;
        }
    }

    #[test]
    fn faults_say_where_they_are() {
        for (text, at) in [
            (&b""[..], 0),
            (b"{\"a\": 1,}", 8),
            (b"[1, 2", 5),
            (b"[1] 2", 4),
            (b"\"\xff\"", 1),
            (b"[tru]", 1),
            (b"[01]", 2),
        ] {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(Tree::parse(text), Err(TreeFault { at }), "{shown}");
        }
    }

    #[test]
    fn of_members_of_one_name_the_last_counts() {
        let tree = Tree::parse(br#"{"a": 1, "b": null, "a": 2}"#).unwrap();
        assert_eq!(tree.get("a"), Some(&Tree::Number("2".into())));
        assert_eq!(tree.get("c"), None);
        assert_eq!(Tree::Null.get("a"), None);
    }
}
