//! Takes the chunk off a stream that its client did not ask for.

use tollway_core::usage::{EventEnd, Meter};

/// The chunk with the usage is far shorter; what is longer passes.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Holds an event of a stream back until it is known whether it passes. What is whole passes at
/// once, and a client acts on whole events only.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    held: Vec<u8>,
    /// A part of the event under way has passed.
    is_passing: bool,
}

impl Hiding {
    /// Feeds the meter, and gives what passes of this part and those before it.
    pub(super) fn feed(&mut self, meter: &mut Meter, part: &[u8], end: bool) -> Vec<u8> {
        let before = self.held.len();
        self.held.extend_from_slice(part);
        let mut passed = Vec::with_capacity(self.held.len());
        let mut from = 0;
        let (held, is_passing) = (&self.held, &mut self.is_passing);
        meter.feed(part, &mut |EventEnd { at, only_usage }| {
            let to = before.saturating_add(at);
            if *is_passing || !only_usage {
                passed.extend_from_slice(held.get(from..to).unwrap_or_default());
            }
            *is_passing = false;
            from = to;
        });
        let rest = self.held.get(from..).unwrap_or_default();
        if end || self.is_passing || rest.len() > HELD_BYTES_MAX || !meter.is_events() {
            self.is_passing = !rest.is_empty();
            passed.extend_from_slice(rest);
            self.held.clear();
        } else {
            self.held.drain(..from);
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use tollway_core::usage::Provider;

    use super::*;

    const USAGE: &str =
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";

    /// What the client gets of a stream in pieces of this size, and piece by piece.
    fn passed(stream: &str, size: usize) -> (String, Vec<usize>) {
        let (mut hiding, mut meter) = (Hiding::default(), Meter::new(Provider::OpenAiChat));
        let (mut all, mut sizes) = (Vec::new(), Vec::new());
        for part in stream.as_bytes().chunks(size) {
            let passed = hiding.feed(&mut meter, part, false);
            sizes.push(passed.len());
            all.extend(passed);
        }
        all.extend(hiding.feed(&mut meter, b"", true));
        (String::from_utf8(all).unwrap(), sizes)
    }

    #[test]
    fn only_the_chunk_with_nothing_but_usage_goes_wherever_the_stream_is_cut() {
        let word = "data: {\"choices\":[{\"delta\":{\"content\":\"\u{e9}\"}}],\"usage\":null}\n\n";
        let both = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1}}\n\n";
        let done = "data: [DONE]\n\n";
        let open = "data: {\"choices\":[]";
        let json = "{\"choices\":[],\"usage\":{\"prompt_tokens\":1}}";
        for (stream, expected) in [
            (format!("{word}{word}{USAGE}{done}"), format!("{word}{word}{done}")),
            (format!("{word}{both}{done}"), format!("{word}{both}{done}")),
            (format!("{USAGE}{USAGE}{open}"), open.to_owned()),
            (json.to_owned(), json.to_owned()),
            (String::new(), String::new()),
        ] {
            for size in 1..=stream.len().max(1) {
                assert_eq!(passed(&stream, size).0, expected, "{stream} in pieces of {size}");
            }
        }
    }

    #[test]
    fn whole_events_pass_at_once_and_long_ones_are_not_kept() {
        let word = "data: {\"choices\":[{}]}\n\n";
        let (_, sizes) = passed(&word.repeat(3), word.len());
        assert_eq!(sizes, [word.len(); 3]);
        let long = format!("data: \"{}", "x".repeat(HELD_BYTES_MAX * 3));
        let (all, sizes) = passed(&long, 1_000);
        assert_eq!(all, long);
        let kept = sizes.iter().take_while(|size| **size == 0).count();
        assert!(kept * 1_000 <= HELD_BYTES_MAX, "{kept}");
        assert_eq!(sizes.iter().filter(|size| **size == 0).count(), kept, "then all pass");
    }
}
