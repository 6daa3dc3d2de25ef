//! `Accept-Payment`: what a client wants to pay with.

use super::{INTENT, METHOD, SESSION_INTENT};

/// More ranges than any client has reason to send.
const RANGES_MAX: usize = 64;

/// What a client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) charge: bool,
    pub(crate) session: bool,
}

/// What a client asks for. A header that cannot be read asks for nothing.
pub(crate) fn wish(header: &str) -> Wish {
    Wish { charge: asks_for(header, INTENT), session: asks_for(header, SESSION_INTENT) }
}

/// Whether the client asks for this over Lightning, by the most specific range that covers it.
fn asks_for(header: &str, intent: &str) -> bool {
    let ranges: Option<Vec<Range<'_>>> =
        header.split(',').take(RANGES_MAX + 1).map(Range::read).collect();
    let ranges = ranges.filter(|ranges| ranges.len() <= RANGES_MAX).unwrap_or_default();
    let covering = ranges.iter().filter(|range| range.covers(intent));
    covering.max_by_key(|range| range.specificity()).is_some_and(|range| range.wanted)
}

struct Range<'a> {
    method: &'a str,
    intent: &'a str,
    /// Its weight is above zero.
    wanted: bool,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (range, weight) = match text.split_once(';') {
            Some((range, weight)) => (range, Some(weight.trim())),
            None => (text, None),
        };
        let (method, intent) = range.trim().split_once('/')?;
        let word = |text: &str| {
            text == "*"
                || (!text.is_empty()
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
        };
        let wanted = weight.map_or(Some(true), is_positive)?;
        (word(method) && word(intent)).then_some(Self { method, intent, wanted })
    }

    fn covers(&self, intent: &str) -> bool {
        [(self.method, METHOD), (self.intent, intent)]
            .iter()
            .all(|(range, ours)| *range == "*" || range == ours)
    }

    fn specificity(&self) -> (bool, bool) {
        (self.method != "*", self.intent != "*")
    }
}

/// A weight of RFC 9110, section 12.4.2: whether it is above zero, `None` if it is none.
fn is_positive(weight: &str) -> Option<bool> {
    let number = weight.strip_prefix("q=").or_else(|| weight.strip_prefix("Q="))?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let zeros = part.bytes().all(|byte| byte == b'0');
    match whole {
        "0" if digits => Some(!zeros),
        "1" if digits && zeros => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_range_decides() {
        for (header, asks) in [
            ("lightning/charge", true),
            ("tempo/charge, lightning/charge;q=0.5", true),
            ("lightning/*", true),
            ("*/charge; q=0.001", true),
            ("*/*", true),
            ("lightning/charge;q=0, */*", false),
            ("lightning/*;q=0.0, */charge", false),
            ("tempo/*, lightning/session", false),
            ("", false),
            ("lightning", false),
            ("lightning/charge;q=2", false),
            ("lightning/charge;q=1.001", false),
            ("lightning/charge;q=0.1234", false),
            ("lightning/charge, tempo", false),
            ("lightning/charge;v=1", false),
            ("light ning/charge", false),
        ] {
            assert_eq!(wish(header).charge, asks, "{header}");
        }
        let many = ["lightning/charge"; RANGES_MAX + 1].join(",");
        assert!(!wish(&many).charge);
        assert!(wish(&many[17..]).charge);
        assert_eq!(wish("lightning/session, */charge;q=0"), Wish { charge: false, session: true });
    }
}
