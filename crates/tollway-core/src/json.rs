//! One field of a JSON text that somebody else will read too (RFC 8259).
//!
//! A price may hang on a field of the request's body, and the upstream reads that body with a
//! parser of its own. So [`find`] takes only what every parser reads alike: the whole text must be
//! strict JSON in UTF-8, nested at most [`DEPTH_MAX`] deep, and a name on the way to the field must
//! not come twice in its object, in any spelling that some parser takes for the same name.
//!
//! What it does not do: build a tree, or read a number; see [`crate::decimal`].

use alloc::string::String;

/// The deepest nesting. Requests of APIs stay far below; parsers give up at different depths.
pub const DEPTH_MAX: usize = 32;

/// A value as it stands in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(&'a str),
    /// A string without its quotes and escapes.
    Text(String),
    /// An object or a list.
    Compound,
}

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// No JSON, or JSON that parsers read in different ways.
    Malformed,
    /// Nested deeper than [`DEPTH_MAX`].
    TooDeep,
    /// A name on the way to the field comes twice, perhaps in another spelling.
    Repeated,
}

/// The value at `path`, a name for each object on the way; `None` where there is none.
///
/// # Errors
/// [`JsonFault`] for a text that not everybody reads alike.
///
/// ```
/// use tollway_core::json::{Found, JsonFault, find};
///
/// let path = ["model".to_owned()];
/// assert_eq!(find(br#"{"model": "small"}"#, &path), Ok(Some(Found::Text("small".into()))));
/// let twice = br#"{"model": "small", "Model": "large"}"#;
/// assert_eq!(find(twice, &path), Err(JsonFault::Repeated));
/// ```
pub fn find<'a>(text: &'a [u8], path: &[String]) -> Result<Option<Found<'a>>, JsonFault> {
    let mut reader = Reader::new(text)?;
    let found = reader.value(Some(path), 0)?;
    reader.finish()?;
    Ok(found)
}

/// Steps through a JSON text. A fault is where it stands.
pub(crate) struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Result<Self, JsonFault> {
        let rest = core::str::from_utf8(text).map_err(|_| JsonFault::Malformed)?;
        Ok(Self { rest })
    }

    /// How many bytes are still to be read.
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing but space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), JsonFault> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(JsonFault::Malformed) }
    }

    /// Reads a value. `path` leads on from here to what is looked for, where it leads here.
    pub(crate) fn value(
        &mut self,
        path: Option<&[String]>,
        depth: usize,
    ) -> Result<Option<Found<'a>>, JsonFault> {
        self.skip_space();
        let is_it = path.is_some_and(<[_]>::is_empty);
        let found = match self.peek() {
            Some(b'{') => {
                let below = self.object(path.filter(|_| !is_it), inner(depth)?)?;
                if !is_it {
                    return Ok(below);
                }
                Found::Compound
            }
            Some(b'[') => {
                self.list(inner(depth)?)?;
                Found::Compound
            }
            Some(b'"') if is_it => {
                Found::Text(Unescaped(self.string()?).collect::<Result<_, _>>()?)
            }
            Some(b'"') => {
                self.string()?;
                Found::Null
            }
            Some(b'-' | b'0'..=b'9') => Found::Number(self.number()?),
            _ => self.word()?,
        };
        Ok(is_it.then_some(found))
    }

    fn object(
        &mut self,
        path: Option<&[String]>,
        depth: usize,
    ) -> Result<Option<Found<'a>>, JsonFault> {
        let wanted = path.and_then(<[_]>::split_first);
        let (mut found, mut seen) = (None, false);
        let mut more = self.opens(b'{', b'}')?;
        while more {
            let name = self.string()?;
            self.expect(b':')?;
            match wanted {
                Some((want, rest)) if passes_for(name, want)? => {
                    // Twice, or not as we would write it: which one counts is the upstream's
                    // affair.
                    if seen || !Unescaped(name).eq(want.chars().map(Ok)) {
                        return Err(JsonFault::Repeated);
                    }
                    seen = true;
                    found = self.value(Some(rest), depth)?;
                }
                _ => {
                    self.value(None, depth)?;
                }
            }
            more = self.goes_on(b'}')?;
        }
        Ok(found)
    }

    fn list(&mut self, depth: usize) -> Result<(), JsonFault> {
        let mut more = self.opens(b'[', b']')?;
        while more {
            self.value(None, depth)?;
            more = self.goes_on(b']')?;
        }
        Ok(())
    }

    /// Steps into a list or an object; says whether anything is in it.
    pub(crate) fn opens(&mut self, start: u8, end: u8) -> Result<bool, JsonFault> {
        self.expect(start)?;
        Ok(!self.takes(end))
    }

    /// Steps over the comma between two parts, or over the end; says whether another part comes.
    pub(crate) fn goes_on(&mut self, end: u8) -> Result<bool, JsonFault> {
        if self.takes(end) {
            return Ok(false);
        }
        self.expect(b',')?;
        Ok(true)
    }

    /// What stands between two quotes, its escapes checked and not undone.
    pub(crate) fn string(&mut self) -> Result<&'a str, JsonFault> {
        self.text().map(|(text, _)| text)
    }

    /// The same, and whether there are escapes in it.
    pub(crate) fn text(&mut self) -> Result<(&'a str, bool), JsonFault> {
        self.expect(b'"')?;
        let (mut rest, mut has_escapes) = (self.rest.as_bytes(), false);
        loop {
            let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0x00..=0x1f));
            match special.and_then(|at| rest.get(at..)) {
                Some([b'"', after @ ..]) => {
                    let (text, rest) = self.rest.split_at(self.rest.len() - after.len() - 1);
                    self.rest = rest.strip_prefix('"').unwrap_or(rest);
                    return Ok((text, has_escapes));
                }
                Some([b'\\', after @ ..]) => rest = after_escape(after)?,
                _ => return Err(JsonFault::Malformed),
            }
            has_escapes = true;
        }
    }

    pub(crate) fn number(&mut self) -> Result<&'a str, JsonFault> {
        let start = self.rest;
        self.skips(b"-");
        if !self.skips(b"0") && !self.skip_digits() {
            return Err(JsonFault::Malformed);
        }
        if self.skips(b".") && !self.skip_digits() {
            return Err(JsonFault::Malformed);
        }
        if self.skips(b"eE") {
            self.skips(b"+-");
            if !self.skip_digits() {
                return Err(JsonFault::Malformed);
            }
        }
        start.get(..start.len() - self.rest.len()).ok_or(JsonFault::Malformed)
    }

    pub(crate) fn word(&mut self) -> Result<Found<'a>, JsonFault> {
        for (word, found) in
            [("true", Found::Bool(true)), ("false", Found::Bool(false)), ("null", Found::Null)]
        {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(found);
            }
        }
        Err(JsonFault::Malformed)
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.as_bytes().first().copied()
    }

    pub(crate) fn skip_space(&mut self) {
        // Programs write none.
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.step(1);
        }
    }

    /// Steps over digits; says whether there were any.
    fn skip_digits(&mut self) -> bool {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        self.step(count);
        count > 0
    }

    /// Steps over one byte, if it is among these.
    fn skips(&mut self, these: &[u8]) -> bool {
        let is_next = self.peek().is_some_and(|byte| these.contains(&byte));
        self.step(usize::from(is_next));
        is_next
    }

    fn step(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Steps over space and this byte, if it comes next.
    pub(crate) fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.skips(&[byte])
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.takes(byte) { Ok(()) } else { Err(JsonFault::Malformed) }
    }
}

/// What follows an escape, of which the backslash is gone.
fn after_escape(rest: &[u8]) -> Result<&[u8], JsonFault> {
    match rest {
        [b'u', a, b, c, d, after @ ..] if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()) => {
            Ok(after)
        }
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => Ok(after),
        _ => Err(JsonFault::Malformed),
    }
}

/// One level deeper.
pub(crate) fn inner(depth: usize) -> Result<usize, JsonFault> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(JsonFault::TooDeep) }
}

/// Whether some parser takes this name, escapes and all, for the wanted one.
fn passes_for(name: &str, want: &str) -> Result<bool, JsonFault> {
    let mut want = want.chars().map(folded);
    for char in Unescaped(name) {
        // A half of a character is part of no name that is looked for.
        let Ok(char) = char else { return Ok(false) };
        if want.next() != Some(folded(char)) {
            return Ok(false);
        }
    }
    Ok(want.next().is_none())
}

/// A letter without its case, as lenient parsers compare names: the long s and the Kelvin sign
/// have one too.
pub(crate) const fn folded(char: char) -> char {
    match char {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        char => char.to_ascii_lowercase(),
    }
}

/// The characters of a string whose escapes were checked; a fault for half a surrogate pair.
pub(crate) struct Unescaped<'a>(pub(crate) &'a str);

impl Unescaped<'_> {
    fn next_char(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let char = chars.next();
        self.0 = chars.as_str();
        char
    }

    /// The number of an escape whose `\u` is gone.
    fn unit(&mut self) -> Option<u32> {
        (0..4).try_fold(0, |unit, _| Some(unit << 4 | self.next_char()?.to_digit(16)?))
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next_char()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.unit()?;
                let code = match high {
                    0xd800..=0xdbff => {
                        self.0 = self.0.strip_prefix("\\u")?;
                        let low = self.unit().filter(|low| (0xdc00..=0xdfff).contains(low))?;
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    code => code,
                };
                char::from_u32(code)?
            }
            char => char,
        })
    }
}

impl Iterator for Unescaped<'_> {
    type Item = Result<char, JsonFault>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_char()? {
            '\\' => Some(self.escaped().ok_or(JsonFault::Malformed)),
            char => Some(Ok(char)),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned;
    use alloc::format;
    use alloc::vec::Vec;

    use super::*;

    fn look<'a>(text: &'a str, path: &str) -> Result<Option<Found<'a>>, JsonFault> {
        let path: Vec<String> = path.split('.').map(ToOwned::to_owned).collect();
        find(text.as_bytes(), &path)
    }

    fn text(text: &str) -> Found<'static> {
        Found::Text(text.into())
    }

    #[test]
    fn finds_a_field_wherever_it_stands() {
        for (json, path, expected) in [
            (r#"{"a":"x"}"#, "a", Some(text("x"))),
            (" { \"b\" : [1, {\"a\": 2}] ,\r\n\t\"a\" : true } ", "a", Some(Found::Bool(true))),
            (r#"{"a":{"b":{"c":-1.5e+3}}}"#, "a.b.c", Some(Found::Number("-1.5e+3"))),
            (r#"{"a":null}"#, "a", Some(Found::Null)),
            (r#"{"a":[]}"#, "a", Some(Found::Compound)),
            (r#"{"a":{"b":1,"b":2}}"#, "a", Some(Found::Compound)),
            (r#"{"a":1}"#, "a.b", None),
            (r#"[{"a":1}]"#, "a", None),
            ("{}", "a", None),
            (r#"{"b":{"a":1}}"#, "a", None),
            ("7", "a", None),
            // Escapes say the same, in names and in values.
            (r#"{"\u0061":"\u0078"}"#, "a", Some(text("x"))),
            (r#"{"a":"\ud83d\ude00\n\"\\\/\b"}"#, "a", Some(text("\u{1f600}\n\"\\/\u{8}"))),
            // What is not on the way may repeat.
            (r#"{"b":1,"b":2,"a":0}"#, "a", Some(Found::Number("0"))),
            (r#"{"\ud800":1,"a":0}"#, "a", Some(Found::Number("0"))),
        ] {
            assert_eq!(look(json, path), Ok(expected), "{json}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_in_any_spelling_is_refused() {
        for json in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","model":"a"}"#,
            r#"{"model":"a","\u006dodel":"b"}"#,
            r#"{"model":"a","MODEL":"b"}"#,
            r#"{"Model":"a"}"#,
            r#"{"model":"a","x":{"model":"c"},"model":"b"}"#,
        ] {
            assert_eq!(look(json, "model"), Err(JsonFault::Repeated), "{json}");
        }
        assert_eq!(look(r#"{"a":{"b":1},"a":{}}"#, "a.b"), Err(JsonFault::Repeated));
        assert_eq!(look("{\"\u{17f}i\u{212a}\":1}", "sik"), Err(JsonFault::Repeated));
    }

    #[test]
    fn what_is_not_strict_json_is_refused_wherever_the_fault_is() {
        for json in [
            "",
            " ",
            "{",
            "}",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":NaN}",
            "{\"a\":Infinity}",
            "{\"a\":True}",
            "{\"a\":nul}",
            "{\"a\":1} x",
            "{\"a\":1}{}",
            "{\"a\":1}//",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"\\u12",
            "{\"a\":\"\\",
            "{\"a\":\"x",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\udc00\"}",
            "\u{feff}{\"a\":1}",
            "{\"b\":[1 2],\"a\":1}",
            "{\"a\":1 \"b\":2}",
        ] {
            assert_eq!(look(json, "a"), Err(JsonFault::Malformed), "{json}");
        }
        let broken = b"{\"a\":1,\"b\":\"\xff\"}";
        assert_eq!(find(broken, &["a".to_owned()]), Err(JsonFault::Malformed));
        let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(find(&utf16, &["a".to_owned()]), Err(JsonFault::Malformed));
    }

    #[test]
    fn nesting_ends_at_the_cap_and_no_text_makes_the_reader_deep() {
        let nested = |depth: usize| {
            format!("{{\"b\":{}{},\"a\":1}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
        };
        assert_eq!(look(&nested(DEPTH_MAX), "a"), Ok(Some(Found::Number("1"))));
        assert_eq!(look(&nested(DEPTH_MAX + 1), "a"), Err(JsonFault::TooDeep));
        assert_eq!(look(&"[".repeat(1_000_000), "a"), Err(JsonFault::TooDeep));
        assert_eq!(look(&"{\"a\":".repeat(1_000_000), "a"), Err(JsonFault::TooDeep));
    }
}
