//! Token usage of large language models, read from a response while it passes.
//!
//! A [`Meter`] is fed the body of a response, JSON or server-sent events, in pieces of any size,
//! and knows at any time what usage the provider has reported: OpenAI's chat completions and
//! responses, Anthropic's messages, Gemini's `generateContent`. It keeps counts and no content,
//! so a stream may be endless. It reads the fields where the provider's reference puts them and
//! nowhere else; of several reports the last counts, as those references say; and a report counts
//! when the JSON around it is whole.

mod ask;
mod fields;
mod rates;

pub use ask::with_usage_asked;
pub use rates::{Rates, TOKENS_PER_RATE};

use fields::{Field, fields};

use crate::documents::{Documents, Piece};
use crate::scan::{Found, Hit};

/// More tokens than this in one response are not believed.
const TOKENS_MAX: u64 = 1_000_000_000_000;

/// Whose response it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// OpenAI's chat completions, and what speaks like them (embeddings too).
    OpenAiChat,
    /// OpenAI's responses.
    OpenAiResponses,
    /// Anthropic's messages.
    AnthropicMessages,
    /// Gemini's `generateContent` and `streamGenerateContent`.
    Gemini,
}

/// Tokens by class. No token is in two classes, however the provider nests its counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, neither read from nor written to a cache.
    pub input: u64,
    /// Of the prompt, read from a cache.
    pub cached: u64,
    /// Of the prompt, written to a cache.
    pub cache_write: u64,
    /// Of the answer, shown.
    pub output: u64,
    /// Of the answer, thought.
    pub reasoning: u64,
}

/// The counts as the provider nests them, while they are being read.
#[derive(Clone, Copy, Debug)]
struct Draft {
    input: Option<u64>,
    tool_input: u64,
    cached: u64,
    cache_write: u64,
    output: Option<u64>,
    reasoning: u64,
    /// A report is there.
    is_report: bool,
    /// A count is there that cannot be one.
    is_odd: bool,
}

impl Draft {
    const NONE: Self = Self {
        input: None,
        tool_input: 0,
        cached: 0,
        cache_write: 0,
        output: None,
        reasoning: 0,
        is_report: false,
        is_odd: false,
    };

    fn set(&mut self, field: Field, found: Found<'_>) {
        let count = match found {
            Found::Integer(count) if count <= TOKENS_MAX => count,
            Found::Null => return,
            _ => {
                self.is_odd = true;
                return;
            }
        };
        match field {
            Field::Input => self.input = Some(count),
            Field::ToolInput => self.tool_input = count,
            Field::Cached => self.cached = count,
            Field::CacheWrite => self.cache_write = count,
            Field::Output => self.output = Some(count),
            Field::Reasoning => self.reasoning = count,
            Field::Document | Field::Report | Field::Choices | Field::Choice | Field::Finish => {}
        }
    }

    /// The counts without their nesting; `None` where there is no whole report.
    fn usage(&self, provider: Provider) -> Option<Usage> {
        let (input, cached) = (self.input?, self.cached);
        let (output, reasoning) = (self.output.unwrap_or(0), self.reasoning);
        let reported = self.is_report && !self.is_odd;
        reported.then_some(match provider {
            Provider::OpenAiChat | Provider::OpenAiResponses => Usage {
                input: input.saturating_sub(cached),
                cached: cached.min(input),
                cache_write: 0,
                output: output.saturating_sub(reasoning),
                reasoning: reasoning.min(output),
            },
            Provider::AnthropicMessages => {
                // Without it the report says nothing of the answer.
                self.output?;
                Usage { input, cached, cache_write: self.cache_write, output, reasoning: 0 }
            }
            Provider::Gemini => Usage {
                input: input.saturating_sub(cached).saturating_add(self.tool_input),
                cached: cached.min(input),
                cache_write: 0,
                output,
                reasoning,
            },
        })
    }
}

/// An event of a stream has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventEnd {
    /// Where the next event begins in the piece that was fed.
    pub at: usize,
    /// The event held usage and no choices: the chunk that OpenAI adds for `include_usage`.
    pub only_usage: bool,
}

/// Reads the usage of one response.
#[derive(Clone, Debug)]
pub struct Meter {
    documents: Documents,
    report: Report,
}

/// What was reported so far.
#[derive(Clone, Copy, Debug)]
struct Report {
    provider: Provider,
    /// What the documents before this one said, where it adds to them.
    known: Draft,
    /// What this one says, if it becomes whole.
    draft: Draft,
    /// How many choices are in this one; `None` where it has no list of them.
    choices: Option<u32>,
    usage: Option<Usage>,
    /// This one says that nothing more comes.
    ends: bool,
    /// No later report comes, or this provider makes no others.
    is_final: bool,
}

impl Meter {
    /// A meter for a response of this provider.
    #[must_use]
    pub const fn new(provider: Provider) -> Self {
        Self {
            documents: Documents::new(fields(provider).paths),
            report: Report {
                provider,
                known: Draft::NONE,
                draft: Draft::NONE,
                choices: None,
                usage: None,
                ends: false,
                // Gemini counts in every event what it has said so far.
                is_final: !matches!(provider, Provider::Gemini),
            },
        }
    }

    /// Takes the next piece of the body, and tells where events end in it.
    pub fn feed(&mut self, bytes: &[u8], events: &mut dyn FnMut(EventEnd)) {
        let Self { documents, report } = self;
        let meanings = fields(report.provider).meanings;
        documents.feed(bytes, &mut |piece| match piece {
            Piece::Hit(hit) => {
                if let Some(field) = meanings.get(hit.path) {
                    report.take(*field, hit);
                }
            }
            Piece::End { at, whole } => {
                let only_usage = report.end_event() && whole;
                events(EventEnd { at, only_usage });
            }
        });
    }

    /// The usage that the provider reported last. `complete` says that the whole body has passed:
    /// a count of Gemini's before the last is not the whole yet.
    #[must_use]
    pub fn usage(&self, complete: bool) -> Option<Usage> {
        self.report.usage.filter(|_| complete || self.report.is_final)
    }

    /// Whether the body is a stream of events, as far as it came.
    #[must_use]
    pub const fn is_events(&self) -> bool {
        self.documents.is_events()
    }
}

impl Report {
    fn take(&mut self, field: Field, hit: Hit<'_>) {
        match (field, hit.found) {
            (Field::Document, Found::Open) => {
                self.draft = self.known;
                self.choices = None;
                self.ends = false;
            }
            (Field::Document, Found::Close) => self.adopt(),
            (Field::Report, Found::Open) => {
                if self.provider != Provider::AnthropicMessages {
                    self.draft = Draft::NONE;
                }
                self.draft.is_report = true;
            }
            (Field::Choices, Found::Open) => self.choices = Some(0),
            (Field::Choice, found) => {
                let more = u32::from(found != Found::Close);
                self.choices = self.choices.map(|count| count.saturating_add(more));
            }
            (Field::Finish, Found::Text(_)) => self.ends = true,
            (Field::Document | Field::Report | Field::Choices | Field::Finish, _) => {}
            (field, found) => self.draft.set(field, found),
        }
    }

    /// A document became whole.
    fn adopt(&mut self) {
        if self.provider == Provider::AnthropicMessages {
            self.known = self.draft;
        }
        if self.draft.is_report {
            self.usage = self.draft.usage(self.provider);
        }
        self.is_final |= self.ends;
    }

    /// An event ended. Whether it held usage and nothing else.
    fn end_event(&mut self) -> bool {
        let only_usage = self.draft.is_report && self.choices.take() == Some(0);
        self.draft.is_report = false;
        only_usage
    }
}
