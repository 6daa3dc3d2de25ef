//! Where each provider puts its counts.

use super::Provider;
use crate::scan::{ELEMENT, Path};

/// What a field means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// A document: the body, an event's data, or an element of the array of documents that
    /// Gemini streams to those who do not ask for events.
    Document,
    /// The object that reports usage.
    Report,
    Input,
    ToolInput,
    Cached,
    CacheWrite,
    Output,
    Reasoning,
    /// The list of choices, and each of them.
    Choices,
    Choice,
    /// A text here says that nothing more comes.
    Finish,
}

/// The fields of a provider, their paths and their meanings in the same order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    pub(super) paths: &'static [Path],
    pub(super) meanings: &'static [Field],
}

/// The fields of this provider's responses.
pub(super) const fn fields(provider: Provider) -> Fields {
    macro_rules! fields {
        ($table:ident) => {
            Fields { paths: const { &paths($table) }, meanings: const { &meanings($table) } }
        };
    }
    match provider {
        Provider::OpenAiChat => fields!(OPENAI_CHAT),
        Provider::OpenAiResponses => fields!(OPENAI_RESPONSES),
        Provider::AnthropicMessages => fields!(ANTHROPIC_MESSAGES),
        Provider::Gemini => fields!(GEMINI),
    }
}

#[allow(clippy::indexing_slicing, reason = "the compiler runs it, and refuses what is outside")]
const fn paths<const N: usize>(table: &[(Path, Field); N]) -> [Path; N] {
    let mut paths: [Path; N] = [&[]; N];
    let mut at = 0;
    while at < N {
        paths[at] = table[at].0;
        at += 1;
    }
    paths
}

#[allow(clippy::indexing_slicing, reason = "the compiler runs it, and refuses what is outside")]
const fn meanings<const N: usize>(table: &[(Path, Field); N]) -> [Field; N] {
    let mut meanings = [Field::Document; N];
    let mut at = 0;
    while at < N {
        meanings[at] = table[at].1;
        at += 1;
    }
    meanings
}

const OPENAI_CHAT: &[(Path, Field); 8] = &[
    (&[], Field::Document),
    (&["usage"], Field::Report),
    (&["usage", "prompt_tokens"], Field::Input),
    (&["usage", "prompt_tokens_details", "cached_tokens"], Field::Cached),
    (&["usage", "completion_tokens"], Field::Output),
    (&["usage", "completion_tokens_details", "reasoning_tokens"], Field::Reasoning),
    (&["choices"], Field::Choices),
    (&["choices", ELEMENT], Field::Choice),
];

/// The body is the response; events carry it under `response`.
const OPENAI_RESPONSES: &[(Path, Field); 11] = &[
    (&[], Field::Document),
    (&["usage"], Field::Report),
    (&["usage", "input_tokens"], Field::Input),
    (&["usage", "input_tokens_details", "cached_tokens"], Field::Cached),
    (&["usage", "output_tokens"], Field::Output),
    (&["usage", "output_tokens_details", "reasoning_tokens"], Field::Reasoning),
    (&["response", "usage"], Field::Report),
    (&["response", "usage", "input_tokens"], Field::Input),
    (&["response", "usage", "input_tokens_details", "cached_tokens"], Field::Cached),
    (&["response", "usage", "output_tokens"], Field::Output),
    (&["response", "usage", "output_tokens_details", "reasoning_tokens"], Field::Reasoning),
];

/// The body is the message, and reports at its root; so does `message_delta`, with running
/// totals. `message_start` carries a message of its own with the counts of the prompt.
const ANTHROPIC_MESSAGES: &[(Path, Field); 9] = &[
    (&[], Field::Document),
    (&["message", "usage", "input_tokens"], Field::Input),
    (&["message", "usage", "cache_read_input_tokens"], Field::Cached),
    (&["message", "usage", "cache_creation_input_tokens"], Field::CacheWrite),
    (&["usage"], Field::Report),
    (&["usage", "input_tokens"], Field::Input),
    (&["usage", "cache_read_input_tokens"], Field::Cached),
    (&["usage", "cache_creation_input_tokens"], Field::CacheWrite),
    (&["usage", "output_tokens"], Field::Output),
];

const GEMINI: &[(Path, Field); 16] = &[
    (&[], Field::Document),
    (&["usageMetadata"], Field::Report),
    (&["usageMetadata", "promptTokenCount"], Field::Input),
    (&["usageMetadata", "toolUsePromptTokenCount"], Field::ToolInput),
    (&["usageMetadata", "cachedContentTokenCount"], Field::Cached),
    (&["usageMetadata", "candidatesTokenCount"], Field::Output),
    (&["usageMetadata", "thoughtsTokenCount"], Field::Reasoning),
    (&["candidates", ELEMENT, "finishReason"], Field::Finish),
    (&[ELEMENT], Field::Document),
    (&[ELEMENT, "usageMetadata"], Field::Report),
    (&[ELEMENT, "usageMetadata", "promptTokenCount"], Field::Input),
    (&[ELEMENT, "usageMetadata", "toolUsePromptTokenCount"], Field::ToolInput),
    (&[ELEMENT, "usageMetadata", "cachedContentTokenCount"], Field::Cached),
    (&[ELEMENT, "usageMetadata", "candidatesTokenCount"], Field::Output),
    (&[ELEMENT, "usageMetadata", "thoughtsTokenCount"], Field::Reasoning),
    (&[ELEMENT, "candidates", ELEMENT, "finishReason"], Field::Finish),
];
