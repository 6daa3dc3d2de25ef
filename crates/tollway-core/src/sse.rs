//! Server-sent events, as far as their data matters (HTML standard, section 9.2.6).

/// What a piece of an event stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// More of the event's data.
    Data(&'a [u8]),
    /// The event ended; the next begins at this position of the piece.
    End(usize),
}

/// Takes an event stream apart, in pieces of any size and with any kind of line end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lines {
    line: Line,
    /// The last byte was a carriage return, so that a line feed now ends nothing.
    after_cr: bool,
    /// The event has a line of data already.
    has_data: bool,
}

/// What is known of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many letters of `data` stand at its start.
    Name(u8),
    /// The colon after `data` has passed: one space may follow that is not data.
    Colon,
    Data,
    /// Another field, or a comment.
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl Lines {
    /// Takes the next piece and tells what is in it.
    pub(crate) fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Part<'_>)) {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if matches!(self.line, Line::Data | Line::Other) {
                let length = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
                if let Some((text, after)) = rest.split_at_checked(length.unwrap_or(rest.len()))
                    && !text.is_empty()
                {
                    if self.line == Line::Data {
                        sink(Part::Data(text));
                    }
                    rest = after;
                    self.after_cr = false;
                    continue;
                }
            }
            rest = after;
            let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
            match byte {
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    if self.line == Line::Name(0) {
                        self.has_data = false;
                        sink(Part::End(bytes.len() - rest.len()));
                    }
                    self.line = Line::default();
                }
                _ => self.line = self.begun(byte, sink),
            }
        }
    }

    /// The line with its next byte, before its value.
    fn begun(&mut self, byte: u8, sink: &mut dyn FnMut(Part<'_>)) -> Line {
        match self.line {
            Line::Name(4) if byte == b':' => {
                // Lines of data are joined by line feeds.
                if core::mem::replace(&mut self.has_data, true) {
                    sink(Part::Data(b"\n"));
                }
                Line::Colon
            }
            Line::Name(read) if b"data".get(usize::from(read)) == Some(&byte) => {
                Line::Name(read + 1)
            }
            Line::Colon if byte == b' ' => Line::Data,
            Line::Colon => {
                sink(Part::Data(&[byte]));
                Line::Data
            }
            Line::Name(_) | Line::Data | Line::Other => Line::Other,
        }
    }
}

/// Finds where an event ends in a stream that it did not see from the beginning.
///
/// It takes itself to be in the middle of a line at first, so what it finds is an end, whatever
/// came before; it may miss the one that it begins in.
#[derive(Clone, Copy, Debug)]
pub struct Boundary(Lines);

impl Default for Boundary {
    fn default() -> Self {
        Self(Lines { line: Line::Other, ..Lines::default() })
    }
}

impl Boundary {
    /// Takes the next piece, and gives the position in it at which the first event that ends in
    /// it has ended.
    pub fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut found = None;
        self.0.feed(bytes, &mut |part| {
            if let Part::End(at) = part {
                found = found.or(Some(at));
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// The data of each whole event, and what is left of the last.
    fn events(pieces: &[&[u8]]) -> (Vec<String>, String) {
        let (mut lines, mut whole, mut open) = (Lines::default(), Vec::new(), Vec::new());
        for piece in pieces {
            lines.feed(piece, &mut |part| match part {
                Part::Data(data) => open.extend_from_slice(data),
                Part::End(_) => whole.push(String::from_utf8(core::mem::take(&mut open)).unwrap()),
            });
        }
        (whole, String::from_utf8(open).unwrap())
    }

    #[test]
    fn events_are_the_same_wherever_they_are_cut() {
        for (stream, expected) in [
            ("data: a\n\ndata:b\n\n", &["a", "b"][..]),
            ("data: a\r\n\r\ndata:  b\r\r", &["a", " b"]),
            ("event: x\ndata: a\ndata\ndata: b\n: note\nid: 1\n\n", &["a\nb"]),
            ("dat: x\ndatas: y\n data: z\ndata: a\n\n", &["a"]),
            ("data: \u{e9}\u{1f600}\n\n", &["\u{e9}\u{1f600}"]),
            ("data:\ndata: a\n\n", &["\na"]),
        ] {
            for cut in 0..=stream.len() {
                let (before, after) = stream.as_bytes().split_at(cut);
                assert_eq!(events(&[before, after]).0, expected, "{stream:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_boundary_is_found_from_anywhere_and_only_where_one_is() {
        let stream = "event: x\ndata: a\n\ndata: b\r\n\r\n: note\n\ndata: c\r\rdata: d";
        let (mut lines, mut ends) = (Lines::default(), Vec::new());
        lines.feed(stream.as_bytes(), &mut |part| {
            if let Part::End(at) = part {
                ends.push(at);
            }
        });
        assert_eq!(ends.len(), 4);
        for from in 0..stream.len() {
            for cut in from..=stream.len() {
                let mut boundary = Boundary::default();
                let (_, rest) = stream.as_bytes().split_at(from);
                let (before, after) = rest.split_at(cut - from);
                let found = boundary.find(before).map(|at| from + at);
                let found = found.or_else(|| boundary.find(after).map(|at| cut + at));
                let next: Vec<_> = ends.iter().copied().filter(|end| *end > from).collect();
                match found {
                    // It may miss the end that it begins in, but no other.
                    Some(at) => assert!(next.iter().take(2).any(|end| *end == at), "{from} {cut}"),
                    None => assert!(next.len() < 2, "{from} {cut}"),
                }
            }
        }
    }

    #[test]
    fn an_event_without_its_blank_line_has_not_ended() {
        assert_eq!(events(&[b"data: a\n\ndata: b\n"]), (Vec::from(["a".into()]), "b".into()));
    }
}
