//! One parameter of a query that somebody else will read too.
//!
//! As with [`crate::json`], only what every server reads alike is taken: the form of HTML
//! (`name=value&..`, `+` is a space), percent-decoded once. A name that some framework takes for
//! the wanted one (other case, `name[]`, `na.me` for `na_me`) is refused, and so is `;`, which old
//! frameworks take for `&`.

use alloc::string::String;
use alloc::vec::Vec;

use super::PriceProblem;
use crate::json::folded;

/// The value of the parameter; `None` where there is none.
pub(super) fn find(query: &[u8], want: &str) -> Result<Option<String>, PriceProblem> {
    let mut found = None;
    if query.contains(&b';') {
        return Err(PriceProblem::Malformed);
    }
    for part in query.split(|byte| *byte == b'&') {
        let mut sides = part.splitn(2, |byte| *byte == b'=');
        let name = decoded(sides.next().unwrap_or_default())?;
        // A name in another character set is no name that is looked for.
        let Ok(name) = String::from_utf8(name) else { continue };
        if name.contains(char::is_control) {
            return Err(PriceProblem::Malformed);
        }
        if !passes_for(&name, want) {
            continue;
        }
        if found.is_some() || name != want {
            return Err(PriceProblem::Repeated);
        }
        let value = decoded(sides.next().unwrap_or_default())?;
        found = Some(String::from_utf8(value).map_err(|_| PriceProblem::Malformed)?);
    }
    Ok(found)
}

/// Whether some server takes this name for the wanted one.
fn passes_for(name: &str, want: &str) -> bool {
    let plain = |char| match char {
        '.' | ' ' => '_',
        char => folded(char),
    };
    let name = name.trim_start_matches(' ');
    let name = name.split('[').next().unwrap_or_default();
    name.chars().map(plain).eq(want.chars().map(plain))
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, PriceProblem> {
    let mut bytes = text.iter().copied();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || super::path::hex_digit(bytes.next()?);
                match (digit(), digit()) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err(PriceProblem::Malformed),
                }
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_parameter_and_decodes_it_once() {
        for (query, expected) in [
            ("size=large", Some("large")),
            ("a=1&size=large&b", Some("large")),
            ("size=", Some("")),
            ("size", Some("")),
            ("size=a%20b+c", Some("a b c")),
            ("size=%2541", Some("%41")),
            ("s%69ze=x", Some("x")),
            ("size=a=b", Some("a=b")),
            ("size=%C3%A9", Some("\u{e9}")),
            ("", None),
            ("&&", None),
            ("sizes=1&siz=2&xsize=3", None),
            ("%ff=1", None),
        ] {
            let found = find(query.as_bytes(), "size");
            assert_eq!(found, Ok(expected.map(Into::into)), "{query}");
        }
    }

    #[test]
    fn a_name_that_could_pass_for_the_parameter_is_refused() {
        for query in [
            "size=a&size=a",
            "size=a&si%7ae=b",
            "SIZE=a",
            "size=a&Size=b",
            "size[]=a",
            "size=a&size[0]=b",
            "size=a&size%5B%5D=b",
            "+size=a",
        ] {
            assert_eq!(find(query.as_bytes(), "size"), Err(PriceProblem::Repeated), "{query}");
        }
        for query in ["max.tokens=1", "max%20tokens=1", "max+tokens=1", "Max_Tokens=1"] {
            let found = find(query.as_bytes(), "max_tokens");
            assert_eq!(found, Err(PriceProblem::Repeated), "{query}");
        }
    }

    #[test]
    fn what_servers_read_in_different_ways_is_refused() {
        for query in
            ["size=%", "size=%4", "size=%zz", "a%=1&size=1", "a;size=1", "size=1;b=2", "size%00=1"]
        {
            assert_eq!(find(query.as_bytes(), "size"), Err(PriceProblem::Malformed), "{query}");
        }
        assert_eq!(find(b"size=%ff", "size"), Err(PriceProblem::Malformed));
    }
}
