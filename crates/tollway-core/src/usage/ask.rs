//! Asks for usage in the place of a client that did not.

use alloc::vec::Vec;

use crate::scan::{Found, Path, Scanner};

const OPTIONS: usize = 1;
const INCLUDE: usize = 2;
const PATHS: &[Path] = &[&[], &["stream_options"], &["stream_options", "include_usage"]];

/// Where the request has to be changed: a part of it makes way for a text.
#[derive(Clone, Copy, Debug)]
struct Edit {
    at: u64,
    takes: u64,
    text: &'static str,
}

/// The body of a request for OpenAI's streamed chat completions with
/// `stream_options.include_usage`, and otherwise byte by byte as it was. `None` for one that is
/// no JSON object, or whose options are none.
///
/// ```
/// use tollway_core::usage::with_usage_asked;
///
/// let body = br#"{"model": "m", "stream": true}"#;
/// let asked = br#"{"stream_options":{"include_usage":true},"model": "m", "stream": true}"#;
/// assert_eq!(with_usage_asked(body).unwrap(), asked);
/// ```
#[must_use]
pub fn with_usage_asked(body: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = Scanner::new(PATHS);
    let (mut edit, mut opened) = (None, 0);
    scanner.feed(body, &mut |hit| {
        let replace = |takes, text| Some(Edit { at: hit.at, takes, text });
        let insert = |text| Some(Edit { at: hit.at.saturating_add(1), takes: 0, text });
        match (hit.path, hit.found) {
            (0, Found::Open) if body.trim_ascii_start().starts_with(b"{") => {
                edit = insert("\"stream_options\":{\"include_usage\":true},");
            }
            (OPTIONS, Found::Null) => edit = replace(4, "{\"include_usage\":true}"),
            (OPTIONS, Found::Open) => {
                opened = hit.at;
                edit = insert("\"include_usage\":true,");
            }
            (OPTIONS, Found::Close) => {
                let empty = body.get(opened as usize + 1..hit.at as usize);
                if empty.is_some_and(|inside| inside.trim_ascii().is_empty()) {
                    edit = Some(Edit { at: hit.at, takes: 0, text: "\"include_usage\":true" });
                }
            }
            (INCLUDE, Found::Flag(false)) => edit = replace(5, "true"),
            (INCLUDE, Found::Null) => edit = replace(4, "true"),
            (0, Found::Close) | (INCLUDE, Found::Flag(true)) => {}
            _ => edit = None,
        }
    });
    let Edit { at, takes, text } = edit.filter(|_| scanner.is_whole())?;
    let (before, rest) = body.split_at_checked(usize::try_from(at).ok()?)?;
    let after = rest.get(usize::try_from(takes).ok()?..)?;
    Some([before, text.as_bytes(), after].concat())
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn only_the_option_changes() {
        for (body, expected) in [
            (
                r#" {"stream":true, "a":1.0} "#,
                r#" {"stream_options":{"include_usage":true},"stream":true, "a":1.0} "#,
            ),
            (r#"{"stream_options":{}}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (r#"{"stream_options": { }}"#, r#"{"stream_options": { "include_usage":true}}"#),
            (r#"{"stream_options":null}"#, r#"{"stream_options":{"include_usage":true}}"#),
            (
                r#"{"stream_options":{"x":{"include_usage":false}}}"#,
                r#"{"stream_options":{"include_usage":true,"x":{"include_usage":false}}}"#,
            ),
            (
                r#"{"stream_options":{"include_usage" : false,"x":[]}}"#,
                r#"{"stream_options":{"include_usage" : true,"x":[]}}"#,
            ),
            (
                r#"{"stream_options":{"x":0,"include_usage":null}}"#,
                r#"{"stream_options":{"x":0,"include_usage":true}}"#,
            ),
            (
                r#"{"m":"\"stream_options\":{}","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"m":"\"stream_options\":{}","stream":true}"#,
            ),
        ] {
            let asked = with_usage_asked(body.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(asked).unwrap(), expected, "{body}");
            let value: serde_json::Value = serde_json::from_str(expected).unwrap();
            assert_eq!(value["stream_options"]["include_usage"], true);
        }
        for body in ["", "[]", "7", r#"{"stream_options":1}"#, r#"{"stream":true"#] {
            assert_eq!(with_usage_asked(body.as_bytes()), None, "{body}");
        }
    }
}
