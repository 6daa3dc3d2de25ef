//! Usage in responses: reading it never panics, and where a body is cut changes nothing.
//!
//! The first byte names the provider, the second the size of the pieces, the third the one cut;
//! the rest is the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_core::usage::{Meter, Provider, Usage};

/// What is reported, and which events hold usage alone.
type Outcome = (Option<Usage>, Option<Usage>, Vec<bool>);

fn read<'a>(provider: Provider, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut meter, mut events) = (Meter::new(provider), Vec::new());
    for piece in pieces {
        meter.feed(piece, &mut |event| {
            assert!((1..=piece.len()).contains(&event.at));
            events.push(event.only_usage);
        });
    }
    (meter.usage(false), meter.usage(true), events)
}

fuzz_target!(|bytes: &[u8]| {
    let [provider, size, cut, body @ ..] = bytes else { return };
    let provider = match provider % 4 {
        0 => Provider::OpenAiChat,
        1 => Provider::OpenAiResponses,
        2 => Provider::AnthropicMessages,
        _ => Provider::Gemini,
    };
    let whole = read(provider, std::iter::once(body));
    let (before, after) = body.split_at(usize::from(*cut).min(body.len()));
    assert_eq!(read(provider, [before, after].into_iter()), whole);
    assert_eq!(read(provider, body.chunks(usize::from(*size).max(1))), whole);
    assert_eq!(read(provider, body.chunks(1)), whole);
});
