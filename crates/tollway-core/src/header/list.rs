//! Comma-separated lists with quoted strings, as `Authorization` may hold them.
//!
//! Everything here takes time linear in the length of the value.

use alloc::vec::Vec;

/// The elements of a list, without the white space around them. There is at least one, and any
/// of them may be empty.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    Spans::new(value).map(|span| span.text.trim_ascii())
}

/// Splits at the first `separator`.
pub(super) fn split_first(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    split_around(text, text.iter().position(|byte| *byte == separator)?)
}

/// Splits at the last `separator`.
pub(super) fn split_last(text: &[u8], separator: u8) -> Option<(&[u8], &[u8])> {
    split_around(text, text.iter().rposition(|byte| *byte == separator)?)
}

fn split_around(text: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at_checked(at)?;
    Some((before, rest.get(1..)?))
}

/// Splits off the first word; the rest begins with no white space.
pub(super) fn split_word(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, b""));
    (word, rest.trim_ascii())
}

/// A parameter of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Macaroon,
    PaymentHash,
    Preimage,
    Version,
}

/// The parameter of this name.
pub(super) fn parameter(name: &[u8]) -> Option<Parameter> {
    const NAMES: [(&[u8], Parameter); 5] = [
        (b"macaroon", Parameter::Macaroon),
        (b"token", Parameter::Macaroon),
        (b"preimage", Parameter::Preimage),
        (b"payment_hash", Parameter::PaymentHash),
        (b"version", Parameter::Version),
    ];
    let name = name.trim_ascii();
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, found)| *found)
}

/// Whether the text begins with a parameter of ours, and so is no bare token: no macaroon in
/// base64 has `=` after one of these words.
pub(super) fn is_parameter(text: &[u8]) -> bool {
    split_first(text, b'=').is_some_and(|(name, _)| parameter(name).is_some())
}

/// A run of elements that belong to one scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// Whether the scheme is L402 or LSAT.
    pub(super) ours: bool,
    /// The run, its scheme in front.
    pub(super) text: &'a [u8],
}

/// Splits a value of `Authorization` into what is ours and what is not.
///
/// A comma separates schemes, but also the parameters of one scheme and the macaroons of one
/// credential. So an element starts a new run when a scheme begins it, or when the run before it
/// cannot go on: ours ends after the preimage, or after its last parameter.
pub(super) fn split_schemes(value: &[u8]) -> Vec<Part<'_>> {
    let mut runs: Vec<Run> = Vec::new();
    for Span { start, text } in Spans::new(value) {
        let end = start.saturating_add(text.len());
        let element = text.trim_ascii();
        match runs.last_mut() {
            Some(run) if run.kind.takes(element) => {
                run.end = end;
                run.kind = run.kind.after(element);
            }
            _ => runs.push(Run { kind: Kind::starting(element), start, end }),
        }
    }
    runs.iter()
        .map(|run| Part {
            ours: run.kind != Kind::Foreign,
            text: value.get(run.start..run.end).unwrap_or_default().trim_ascii(),
        })
        .collect()
}

struct Run {
    kind: Kind,
    start: usize,
    end: usize,
}

/// What a run is, as far as it has been read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of another scheme, or of none.
    Foreign,
    /// Ours: macaroons, and no colon yet.
    Macaroons,
    /// Ours: macaroons and the colon.
    Complete,
    /// Ours: parameters.
    Parameters,
}

impl Kind {
    fn starting(element: &[u8]) -> Self {
        let (word, rest) = split_word(element);
        if !is_ours(word) || rest.starts_with(b"=") {
            Self::Foreign
        } else if is_parameter(rest) {
            Self::Parameters
        } else {
            Self::Macaroons.after(rest)
        }
    }

    fn takes(self, element: &[u8]) -> bool {
        if starts_scheme(element) {
            return false;
        }
        match self {
            Self::Foreign | Self::Macaroons => true,
            // A second colon belongs to no other scheme: keep it here, where it is refused.
            Self::Complete => element.contains(&b':'),
            Self::Parameters => element.contains(&b'='),
        }
    }

    fn after(self, element: &[u8]) -> Self {
        match self {
            Self::Macaroons if element.contains(&b':') => Self::Complete,
            kind => kind,
        }
    }
}

fn is_ours(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"l402") || word.eq_ignore_ascii_case(b"lsat")
}

/// Whether a scheme begins the element: a word and, after a space, anything but `=`. Our own
/// schemes count without anything after them, so that an empty credential is seen as one.
fn starts_scheme(element: &[u8]) -> bool {
    let (word, rest) = split_word(element);
    if rest.is_empty() {
        return is_ours(word);
    }
    !rest.starts_with(b"=") && !word.is_empty() && word.iter().copied().all(is_token_byte)
}

/// A `tchar` of RFC 9110, section 5.6.2.
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// One element of a list as it stands there, white space included.
struct Span<'a> {
    start: usize,
    text: &'a [u8],
}

/// Walks over a list. A comma within a quoted string separates nothing.
struct Spans<'a> {
    value: &'a [u8],
    next: Option<usize>,
    /// False once a quote was found that is never closed: from there on quotes mean nothing, and
    /// they are not searched for again.
    quotes: bool,
}

impl<'a> Spans<'a> {
    const fn new(value: &'a [u8]) -> Self {
        Self { value, next: Some(0), quotes: true }
    }

    /// How many bytes lie before the next comma that separates.
    fn element_length(&mut self, tail: &[u8]) -> usize {
        let mut length = 0_usize;
        while let Some(byte) = tail.get(length) {
            let step = match byte {
                b',' => return length,
                b'"' if self.quotes => {
                    let quoted = tail.get(length..).and_then(quoted_length);
                    self.quotes = quoted.is_some();
                    quoted.unwrap_or(1)
                }
                _ => 1,
            };
            length = length.saturating_add(step);
        }
        tail.len()
    }
}

impl<'a> Iterator for Spans<'a> {
    type Item = Span<'a>;

    fn next(&mut self) -> Option<Span<'a>> {
        let start = self.next.take()?;
        let tail = self.value.get(start..)?;
        let length = self.element_length(tail);
        if length < tail.len() {
            self.next = start.checked_add(length)?.checked_add(1);
        }
        Some(Span { start, text: tail.get(..length)? })
    }
}

/// The length of the quoted string that begins the text, both quotes included.
fn quoted_length(text: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at.checked_add(1),
            _ => {}
        }
    }
    None
}
