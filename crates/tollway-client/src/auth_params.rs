//! `WWW-Authenticate` as servers really write it: RFC 9110, section 11.6.1, read leniently.
//!
//! Parameters come in any order, quoted or not, with commas or only spaces between them, and
//! several schemes may share one line.

/// One scheme with its parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthParams {
    scheme: String,
    params: Vec<(String, String)>,
}

impl AuthParams {
    /// Reads every scheme of one header value; nothing is an error.
    pub(crate) fn parse(value: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        let mut rest = skip(value);
        while !rest.is_empty() {
            let (word, after) = split(rest, |c| c == '=' || c == ',' || c.is_whitespace());
            match after.trim_start().strip_prefix('=') {
                Some(after) => {
                    let (text, after) = read_value(after.trim_start());
                    if let Some(current) = all.last_mut() {
                        current.params.push((word.to_owned(), text));
                    }
                    rest = skip(after);
                }
                None => {
                    all.push(Self { scheme: word.to_owned(), params: Vec::new() });
                    rest = skip(after);
                }
            }
        }
        all
    }

    pub(crate) fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// All parameters, by lower-case name; the first of a name counts.
    pub(crate) fn all(&self) -> impl Iterator<Item = (String, String)> {
        // A map keeps the last one it is given.
        let backwards = self.params.iter().rev();
        backwards.map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
    }

    /// The first parameter with one of these names.
    pub(crate) fn param(&self, names: &[&str]) -> Option<&str> {
        let named = |name: &String| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        self.params.iter().find(|(name, _)| named(name)).map(|(_, value)| value.as_str())
    }
}

fn skip(text: &str) -> &str {
    text.trim_start_matches(|c: char| c == ',' || c.is_whitespace())
}

fn split(text: &str, end: impl Fn(char) -> bool) -> (&str, &str) {
    text.find(end).and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// A value and what follows it. A quote that is never closed ends with the text.
fn read_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = split(text, |c| c == ',' || c.is_whitespace());
        return (value.to_owned(), after);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ok_parse_forms_of_real_servers() {
        for line in [
            r#"L402 macaroon="M==", invoice="I""#,
            r#"L402 invoice="I",macaroon="M==""#,
            r#"l402 Macaroon=M==, Invoice=I"#,
            r#"L402 macaroon="M==" invoice="I""#,
            r#"L402 version="0", token="M==", invoice="I""#,
            r#"L402 macaroon = "M==" , invoice = "I""#,
            r#"  L402   macaroon="M==",invoice="I",  "#,
            r#"Payment id="a, L402 b", realm="x", L402 macaroon="M==", invoice="I""#,
            r#"L402 macaroon="M==", invoice="I", Bearer realm="x""#,
            r#"Bearer, L402 macaroon="M\==", invoice="I"#,
        ] {
            let all = AuthParams::parse(line);
            let l402 = all.iter().find(|params| params.is_scheme("L402")).unwrap();
            assert_eq!(l402.param(&["macaroon", "token"]), Some("M=="), "{line}");
            assert_eq!(l402.param(&["invoice"]), Some("I"), "{line}");
        }
    }

    #[test]
    fn garbage_is_read_without_a_fault() {
        for line in ["", ",,,", "=", "= =", "\"", "L402 =\"", "L402 \u{e9}=\u{2028}", "a=b, c=d"] {
            let all = AuthParams::parse(line);
            assert!(all.iter().all(|params| params.param(&["macaroon"]).is_none()), "{line}");
        }
    }
}
