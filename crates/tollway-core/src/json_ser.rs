//! Writing types as JSON.
//!
//! What the filter writes is short, and each request in exact mode writes some. `serde_json` looks
//! at every byte of a text through a table, which at the level at which the filter is built takes
//! ten times as long as to look for the few that need an escape (ADR 0029).
//!
//! What it does not do: floating point, bytes, and names that are not text. No type of the wire has
//! any.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::ser::{self, Serialize, Serializer};

use crate::decimal_digits::DecimalDigits;
use crate::hex_text::eight_hex_digits;

/// A value that has no form here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// Writes a value as JSON, in the bytes that `serde_json` writes it in.
///
/// # Errors
/// [`Unwritable`] for a value with floating point, bytes, or a name that is no text.
///
/// ```
/// use tollway_core::json_ser::{Unwritable, to_json};
///
/// assert_eq!(to_json(&["a\n", "b"]), Ok(r#"["a\n","b"]"#.to_owned()));
/// assert_eq!(to_json(&1.5), Err(Unwritable));
/// ```
pub fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String, Unwritable> {
    String::from_utf8(to_json_bytes(value)?).map_err(|_| Unwritable)
}

/// The same as bytes, for who sends it on.
///
/// # Errors
/// As [`to_json`].
pub fn to_json_bytes<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Unwritable> {
    let mut out = Vec::with_capacity(USUAL_BYTES);
    value.serialize(Json { out: &mut out })?;
    Ok(out)
}

/// What the body of a hold has room in.
const USUAL_BYTES: usize = 320;

impl fmt::Display for Unwritable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that has no form in JSON here")
    }
}

impl core::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Writes one value.
struct Json<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Json<'a> {
    fn put(self, text: &str) -> Result<(), Unwritable> {
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn open(self, start: u8, end: &'static str) -> Parts<'a> {
        self.out.push(start);
        Parts { out: self.out, first: true, end }
    }

    /// Opens the object of a variant with fields, whose one name is the variant's.
    fn begin_variant(self, variant: &'static str) -> Self {
        self.out.push(b'{');
        put_name(self.out, variant);
        self
    }
}

impl<'a> Serializer for Json<'a> {
    type Ok = ();
    type Error = Unwritable;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    fn serialize_bool(self, flag: bool) -> Result<(), Unwritable> {
        self.put(if flag { "true" } else { "false" })
    }

    fn serialize_u8(self, number: u8) -> Result<(), Unwritable> {
        self.serialize_u64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<(), Unwritable> {
        self.serialize_u64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), Unwritable> {
        self.serialize_u64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<(), Unwritable> {
        self.put(DecimalDigits::of(number).as_str())
    }

    fn serialize_i8(self, number: i8) -> Result<(), Unwritable> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<(), Unwritable> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<(), Unwritable> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), Unwritable> {
        if number < 0 {
            self.out.push(b'-');
        }
        self.serialize_u64(number.unsigned_abs())
    }

    fn serialize_f32(self, _: f32) -> Result<(), Unwritable> {
        Err(Unwritable)
    }

    fn serialize_f64(self, _: f64) -> Result<(), Unwritable> {
        Err(Unwritable)
    }

    fn serialize_char(self, char: char) -> Result<(), Unwritable> {
        self.serialize_str(char.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Unwritable> {
        put_text(self.out, text);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), Unwritable> {
        Err(Unwritable)
    }

    fn serialize_none(self) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unwritable> {
        self.put("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unwritable> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Unwritable> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        let Self { out } = self.begin_variant(variant);
        value.serialize(Json { out })?;
        Json { out }.put("}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts<'a>, Unwritable> {
        Ok(self.open(b'[', "]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(self.open(b'[', "]"))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(self.open(b'[', "]"))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Unwritable> {
        Ok(self.begin_variant(variant).open(b'[', "]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts<'a>, Unwritable> {
        Ok(self.open(b'{', "}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Unwritable> {
        Ok(self.open(b'{', "}"))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Unwritable> {
        Ok(self.begin_variant(variant).open(b'{', "}}"))
    }
}

/// Writes the name of a field or a variant. It stands in our source, where none needs an escape.
fn put_name(out: &mut Vec<u8>, name: &'static str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a text between quotes. What needs no escape, nearly always all of it, goes in one piece.
fn put_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0x00..=0x1f);
    while let Some((plain, [special, after @ ..])) =
        rest.iter().position(is_special).and_then(|at| rest.split_at_checked(at))
    {
        out.extend_from_slice(plain);
        put_escape(out, *special);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

fn put_escape(out: &mut Vec<u8>, special: u8) {
    out.push(b'\\');
    match special {
        b'\x08' => out.push(b'b'),
        b'\x0c' => out.push(b'f'),
        b'\n' => out.push(b'n'),
        b'\r' => out.push(b'r'),
        b'\t' => out.push(b't'),
        0x00..=0x1f => {
            let digits = eight_hex_digits([0, 0, 0, special]);
            out.push(b'u');
            out.extend(digits.iter().skip(4));
        }
        _ => out.push(special),
    }
}

/// Writes the parts of a list or an object.
struct Parts<'a> {
    out: &'a mut Vec<u8>,
    first: bool,
    end: &'static str,
}

impl Parts<'_> {
    fn next(&mut self) -> Json<'_> {
        if !core::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        Json { out: self.out }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        value.serialize(self.next())
    }

    fn member<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unwritable> {
        put_name(self.next().out, name);
        value.serialize(Json { out: self.out })
    }

    fn close(self) {
        self.out.extend_from_slice(self.end.as_bytes());
    }
}

/// The same for each kind of parts that serde knows.
macro_rules! write_parts {
    ($($kind:ident: $write:ident($($name:ident)?) by $part:ident,)*) => { $(
        impl ser::$kind for Parts<'_> {
            type Ok = ();
            type Error = Unwritable;

            fn $write<T: Serialize + ?Sized>(
                &mut self,
                $($name: &'static str,)?
                value: &T,
            ) -> Result<(), Unwritable> {
                self.$part($($name,)? value)
            }

            fn end(self) -> Result<(), Unwritable> {
                self.close();
                Ok(())
            }
        }
    )* };
}

write_parts! {
    SerializeSeq: serialize_element() by part,
    SerializeTuple: serialize_element() by part,
    SerializeTupleStruct: serialize_field() by part,
    SerializeTupleVariant: serialize_field() by part,
    SerializeStruct: serialize_field(name) by member,
    SerializeStructVariant: serialize_field(name) by member,
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        let name = self.next();
        let start = name.out.len();
        key.serialize(Json { out: name.out })?;
        if name.out.get(start) == Some(&b'"') { Ok(()) } else { Err(Unwritable) }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.out.push(b':');
        value.serialize(Json { out: self.out })
    }

    fn end(self) -> Result<(), Unwritable> {
        self.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, Serialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        QuiteOdd,
        Of(u8),
        Pair(u8, bool),
        With { size: u8 },
    }

    #[derive(Debug, Serialize)]
    #[serde(tag = "outcome")]
    enum Tagged {
        Plain { size: i16 },
    }

    #[derive(Debug, Serialize)]
    struct Newtype(u32);

    #[derive(Debug, Serialize)]
    struct Unit;

    #[derive(Debug, Serialize)]
    struct Sample {
        kinds: Vec<Kind>,
        text: String,
        letter: char,
        list: Vec<Option<i64>>,
        pair: (bool, u8),
        inner: Tagged,
        newtype: Newtype,
        unit: Unit,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        #[serde(flatten)]
        more: BTreeMap<String, String>,
    }

    fn as_serde_json(value: &impl Serialize) -> (String, String) {
        (to_json(value).unwrap(), serde_json::to_string(value).unwrap())
    }

    proptest! {
        #[test]
        fn what_it_writes_is_what_serde_json_writes(
            text: String,
            letter: char,
            list: Vec<Option<i64>>,
            pair: (bool, u8),
            numbers: (Option<u64>, u32, i16),
            more: BTreeMap<String, String>,
        ) {
            let (size, newtype, number) = numbers;
            let kinds =
                vec![Kind::QuiteOdd, Kind::Of(1), Kind::Pair(2, true), Kind::With { size: 3 }];
            let inner = Tagged::Plain { size: number };
            let newtype = Newtype(newtype);
            let sample =
                Sample { kinds, text, letter, list, pair, inner, newtype, unit: Unit, size, more };
            let (ours, theirs) = as_serde_json(&sample);
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn every_character_that_needs_an_escape_has_the_same() {
        let text: String = (0..0x180).filter_map(char::from_u32).collect();
        let (ours, theirs) = as_serde_json(&text);
        assert_eq!(ours, theirs);
        for number in [i64::MIN, -1, 0, i64::MAX] {
            let (ours, theirs) = as_serde_json(&number);
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn what_has_no_form_is_refused() {
        assert_eq!(to_json(&f64::NAN), Err(Unwritable));
        assert_eq!(to_json(&[1.0_f32]), Err(Unwritable));
        assert_eq!(to_json(&BTreeMap::from([(1, "a name that is no text")])), Err(Unwritable));
    }
}
