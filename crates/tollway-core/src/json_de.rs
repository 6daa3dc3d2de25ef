//! Reading JSON into types.
//!
//! What the filter reads are `tollwayd`'s replies. If one cannot be read, nobody sees why, so this
//! reader has one fault without words, and knows no floating point: what the words and their
//! formats need in `serde_json` would be a twentieth of the filter (ADR 0029).
//!
//! What it does not do: variants of enums with fields, which no reply has.

use alloc::string::String;
use core::fmt;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::json::{Found, JsonFault, Reader, Unescaped, inner};

/// A text that is not JSON, or not of the type that was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Reads a JSON text, nested at most [`DEPTH_MAX`](crate::json::DEPTH_MAX) deep.
///
/// # Errors
/// [`Unreadable`] for any text that is not a `T`.
///
/// ```
/// use tollway_core::json_de::{Unreadable, from_json};
///
/// assert_eq!(from_json::<Vec<u8>>(b"[1, 2]"), Ok(vec![1, 2]));
/// assert_eq!(from_json::<Vec<u8>>(b"[1, 256]"), Err(Unreadable));
/// ```
pub fn from_json<'de, T: Deserialize<'de>>(text: &'de [u8]) -> Result<T, Unreadable> {
    let mut reader = Reader::new(text)?;
    let read = T::deserialize(Json { reader: &mut reader, depth: 0 })?;
    reader.finish()?;
    Ok(read)
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected JSON of another form")
    }
}

impl core::error::Error for Unreadable {}

impl From<JsonFault> for Unreadable {
    fn from(_: JsonFault) -> Self {
        Self
    }
}

/// Without words: each of them would bring its format along.
impl de::Error for Unreadable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }

    fn invalid_type(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self
    }

    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self
    }

    fn invalid_length(_: usize, _: &dyn de::Expected) -> Self {
        Self
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self
    }

    fn missing_field(_: &'static str) -> Self {
        Self
    }

    fn duplicate_field(_: &'static str) -> Self {
        Self
    }
}

/// The value that comes next.
struct Json<'r, 'de> {
    reader: &'r mut Reader<'de>,
    depth: usize,
}

impl<'de> Json<'_, 'de> {
    fn next(&mut self) -> Option<u8> {
        self.reader.skip_space();
        self.reader.peek()
    }
}

impl<'de> Deserializer<'de> for Json<'_, 'de> {
    type Error = Unreadable;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        match self.next() {
            Some(b'{') => self.deserialize_map(visitor),
            Some(b'[') => self.deserialize_seq(visitor),
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'-' | b'0'..=b'9') => self.deserialize_u64(visitor),
            _ => match self.reader.word()? {
                Found::Bool(flag) => visitor.visit_bool(flag),
                _ => visitor.visit_unit(),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        self.next();
        match self.reader.word()? {
            Found::Bool(flag) => visitor.visit_bool(flag),
            _ => Err(Unreadable),
        }
    }

    /// Whole numbers, written without a point or an exponent.
    fn deserialize_u64<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        self.next();
        let number = self.reader.number()?;
        match number.parse() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => visitor.visit_i64(number.parse().map_err(|_| Unreadable)?),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let (raw, has_escapes) = self.reader.text()?;
        if has_escapes {
            visitor.visit_string(unescaped(raw)?)
        } else {
            visitor.visit_borrowed_str(raw)
        }
    }

    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Unreadable> {
        if self.next() == Some(b'n') {
            self.reader.word()?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let depth = inner(self.depth)?;
        let more = self.reader.opens(b'[', b']')?;
        let mut items = Parts { reader: self.reader, depth, more, end: b']' };
        let value = visitor.visit_seq(&mut items)?;
        if items.more { Err(Unreadable) } else { Ok(value) }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        let depth = inner(self.depth)?;
        let more = self.reader.opens(b'{', b'}')?;
        let mut members = Parts { reader: self.reader, depth, more, end: b'}' };
        let value = visitor.visit_map(&mut members)?;
        if members.more { Err(Unreadable) } else { Ok(value) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        self.deserialize_map(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unreadable> {
        let (raw, has_escapes) = self.reader.text()?;
        if has_escapes {
            let name: StringDeserializer<Unreadable> = unescaped(raw)?.into_deserializer();
            visitor.visit_enum(name)
        } else {
            visitor.visit_enum(BorrowedStrDeserializer::<Unreadable>::new(raw))
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_str(visitor)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.deserialize_u64(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unreadable> {
        self.reader.value(None, self.depth)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
    }
}

fn unescaped(raw: &str) -> Result<String, JsonFault> {
    Unescaped(raw).collect()
}

/// The rest of a list or an object.
struct Parts<'r, 'de> {
    reader: &'r mut Reader<'de>,
    depth: usize,
    /// Another part comes next.
    more: bool,
    end: u8,
}

impl<'de> Parts<'_, 'de> {
    fn read<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Unreadable> {
        seed.deserialize(Json { reader: self.reader, depth: self.depth })
    }

    fn step(&mut self) -> Result<(), Unreadable> {
        self.more = self.reader.goes_on(self.end)?;
        Ok(())
    }
}

impl<'de> de::SeqAccess<'de> for &mut Parts<'_, 'de> {
    type Error = Unreadable;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unreadable> {
        if !self.more {
            return Ok(None);
        }
        let item = self.read(seed)?;
        self.step()?;
        Ok(Some(item))
    }
}

impl<'de> de::MapAccess<'de> for &mut Parts<'_, 'de> {
    type Error = Unreadable;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Unreadable> {
        if !self.more {
            return Ok(None);
        }
        // A name is a text, whatever type it is read into.
        self.reader.skip_space();
        if self.reader.peek() != Some(b'"') {
            return Err(Unreadable);
        }
        let name = self.read(seed)?;
        self.reader.expect(b':')?;
        Ok(Some(name))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Unreadable> {
        let value = self.read(seed)?;
        self.step()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::Cow;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
        QuiteOdd,
    }

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Newtype(u32);

    #[derive(Debug, PartialEq, Eq, Deserialize)]
    struct Sample<'a> {
        kind: Kind,
        #[serde(borrow)]
        text: Cow<'a, str>,
        list: Vec<Option<i64>>,
        #[serde(default)]
        flag: bool,
        size: Option<u16>,
        inner: Option<BTreeMap<String, Newtype>>,
    }

    const WHOLE: &str = r#" {"kind": "quite_odd", "text": "a\u00e9\n", "list": [1, null, -2],
        "flag": true, "later": {"x": [1.5e3, {}, "]"]}, "size": 65535,
        "inner": {"one": 1, "t\u0077o": 2}} "#;

    fn both(text: &str) -> (Option<Sample<'_>>, Option<Sample<'_>>) {
        (from_json(text.as_bytes()).ok(), serde_json::from_str(text).ok())
    }

    #[test]
    fn reads_as_another_reader_does() {
        let (mine, theirs) = both(WHOLE);
        assert!(mine.is_some());
        assert_eq!(mine, theirs);
        for (from, to) in [
            (r#""quite_odd""#, r#""odd""#),
            (r#""quite_odd""#, r#""\u0070lain""#),
            (r#""flag": true"#, r#""flag": 1"#),
            (r#""flag": true"#, r#""flag": null"#),
            (r#""flag": true,"#, ""),
            ("65535", "65536"),
            ("65535", "-1"),
            ("65535", "1.0"),
            ("65535", "null"),
            ("65535", "\"1\""),
            ("-2", "-9223372036854775809"),
            ("[1, null, -2]", "[1, null, -2,]"),
            ("[1, null, -2]", "[1 null]"),
            ("[1, null, -2]", "{}"),
            ("{\"x\"", "{x"),
            (r#""later""#, r#""kind""#),
            (r#""one": 1"#, r#"1: 1"#),
            (r#""inner""#, r#""outer""#),
            ("}}", "}"),
            ("}}", "}} 1"),
            (r#"\u00e9"#, r#"\ud800"#),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            assert_ne!(text, WHOLE, "{from}");
            let (mine, theirs) = both(&text);
            assert_eq!(mine, theirs, "{text}");
        }
        let deep = "[".repeat(40) + &"]".repeat(40);
        assert_eq!(both(&WHOLE.replace("1.5e3", &deep)).0, None);
    }

    proptest! {
        #[test]
        fn takes_nothing_that_another_reader_refuses(at in 0..WHOLE.len(), byte in 0..128_u8) {
            let mut text = WHOLE.as_bytes().to_vec();
            text[at] = byte;
            let text = String::from_utf8_lossy(&text).into_owned();
            let (mine, theirs) = both(&text);
            prop_assert_eq!(mine, theirs);
        }
    }
}
