//! The JSON documents of a body that passes: the body itself, or the data of each of its
//! server-sent events. Which of the two shows in its first byte, whatever its headers say.

use crate::scan::{Hit, Path, Scanner};
use crate::sse::{Lines, Part};

/// What a piece of a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A value that was looked for.
    Hit(Hit<'a>),
    /// An event ended, and the next begins at this position of the piece. `whole` says that its
    /// data was a document.
    End {
        /// The position.
        at: usize,
        /// Whether the document was whole.
        whole: bool,
    },
}

/// Reads the documents of a body in pieces of any size.
#[derive(Clone, Debug)]
pub(crate) struct Documents {
    framing: Framing,
    scanner: Scanner,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    /// Nothing came that tells.
    Unknown,
    Json,
    Events(Lines),
}

impl Documents {
    /// Looks for the values at these paths.
    pub(crate) const fn new(paths: &'static [Path]) -> Self {
        Self { framing: Framing::Unknown, scanner: Scanner::new(paths) }
    }

    /// Takes the next piece and tells what is in it.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Piece<'_>)) {
        let mut skipped = 0;
        if let Framing::Unknown = self.framing {
            // A byte order mark and white space begin neither form.
            let begins = |byte: &u8| !matches!(byte, 0xef | 0xbb | 0xbf | b' ' | b'\t'..=b'\r');
            let Some(at) = bytes.iter().position(begins) else { return };
            skipped = at;
            self.framing = match bytes.get(at) {
                Some(b'{' | b'[') => Framing::Json,
                _ => Framing::Events(Lines::default()),
            };
        }
        let bytes = bytes.get(skipped..).unwrap_or_default();
        let scanner = &mut self.scanner;
        match &mut self.framing {
            Framing::Unknown => {}
            Framing::Json => scanner.feed(bytes, &mut |hit| sink(Piece::Hit(hit))),
            Framing::Events(lines) => lines.feed(bytes, &mut |part| match part {
                Part::Data(data) => scanner.feed(data, &mut |hit| sink(Piece::Hit(hit))),
                Part::End(at) => {
                    sink(Piece::End { at: at.saturating_add(skipped), whole: scanner.is_whole() });
                    scanner.reset();
                }
            }),
        }
    }

    /// Whether the body is a stream of events, as far as it came.
    pub(crate) const fn is_events(&self) -> bool {
        matches!(self.framing, Framing::Events(_))
    }
}
