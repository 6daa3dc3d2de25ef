//! Descriptions with parts of the request in them: `{method}`, `{path}` and `{query.name}`.

use alloc::borrow::ToOwned;
use alloc::string::String;

use super::query;
use crate::wire::MEMO_BYTES_MAX;

/// How much of one part is shown, in characters.
const PART_CHARS_MAX: usize = 64;

/// Whether every `{` of a description begins a part that a request has, and ends.
#[must_use]
pub fn is_memo(text: &str) -> bool {
    let mut pieces = text.split('{');
    pieces.next().is_none_or(|first| !first.contains('}'))
        && pieces.all(|piece| match piece.split_once('}') {
            Some(("method" | "path", rest)) => !rest.contains('}'),
            Some((name, rest)) => {
                name.strip_prefix("query.").is_some_and(|name| !name.is_empty())
                    && !rest.contains('}')
            }
            None => false,
        })
}

/// The description of this request. What a client says in it is cut short and has nothing that is
/// not shown; a part that is not there is empty.
#[must_use]
pub fn memo(text: &str, method: &[u8], path: &[u8], query: &[u8]) -> String {
    let mut pieces = text.split('{');
    let mut memo = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once('}').unwrap_or((piece, ""));
        let said = match name {
            "method" => String::from_utf8_lossy(method).into_owned(),
            "path" => String::from_utf8_lossy(path).into_owned(),
            _ => {
                let name = name.strip_prefix("query.").unwrap_or_default();
                query::find(query, name).ok().flatten().unwrap_or_default()
            }
        };
        memo.extend(said.chars().filter(|letter| !is_hidden(*letter)).take(PART_CHARS_MAX));
        memo.push_str(rest);
    }
    let mut end = memo.len().min(MEMO_BYTES_MAX);
    while !memo.is_char_boundary(end) {
        end -= 1;
    }
    memo.truncate(end);
    memo
}

/// Control characters, and those that turn the direction of what follows or have no width.
fn is_hidden(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, query: &str) -> String {
        memo(text, b"GET", b"/v1/search", query.as_bytes())
    }

    #[test]
    fn parts_of_the_request_take_their_places() {
        for (text, query, expected) in [
            ("a joke", "q=x", "a joke"),
            ("{method} {path}", "", "GET /v1/search"),
            ("search for {query.q}!", "a=1&q=two%20words", "search for two words!"),
            ("search for {query.q}!", "a=1", "search for !"),
            // What could be read in two ways is not shown at all.
            ("search for {query.q}!", "q=1&q=2", "search for !"),
            ("{query.a.b}{query.q}", "q=1&a.b=2", "21"),
        ] {
            assert!(is_memo(text), "{text}");
            assert_eq!(filled(text, query), expected, "{text}");
        }
    }

    #[test]
    fn what_a_client_says_is_short_and_visible() {
        let odd = "q=%0d%0aa%00b%e2%80%aec%7b";
        assert_eq!(filled("<{query.q}>", odd), "<abc{>");
        let long = alloc::format!("q={}", "%c3%a4".repeat(100));
        assert_eq!(filled("{query.q}", &long), "\u{e4}".repeat(PART_CHARS_MAX));
        let text = "{path}".repeat(100);
        assert_eq!(filled(&text, "").len(), MEMO_BYTES_MAX);
        let text = alloc::format!("x{}", "{query.q}".repeat(10));
        assert_eq!(filled(&text, &long).len(), MEMO_BYTES_MAX, "at the end of a character");
    }

    #[test]
    fn err_what_is_no_part() {
        for text in ["{", "}", "{}", "{Method}", "{path", "{query.}", "{a}", "{{path}}", "{path}}"]
        {
            assert!(!is_memo(text), "{text}");
        }
        assert!(is_memo("") && is_memo("{path}{method}"));
    }
}
