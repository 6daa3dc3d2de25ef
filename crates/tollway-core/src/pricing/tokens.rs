//! Prices by the tokens of a language model: the estimate of a request before it is answered.
//!
//! The model and the most tokens it may answer with stand in the request. What cannot be read
//! in one way only is refused, and so is a model that has no rates: there is no default model to
//! fall back to. What the request costs in the end is reckoned from the usage in its response,
//! at the same rates; see [`crate::usage`].

use alloc::string::String;
use alloc::vec::Vec;

use super::field::{Field, Value};
use super::price::{PricedRequest, Quote};
use super::{PriceFault, PriceProblem};
use crate::usage::{Provider, Rates, Usage};

/// So many bytes of a request are taken for one token of its prompt.
const BYTES_PER_TOKEN: u64 = 4;
/// More tokens than this in one request are refused.
const TOKENS_MAX: u64 = 1_000_000_000;
/// Where Gemini names the model and what to do with it: `/v1beta/models/NAME:generateContent`.
const GEMINI_MODELS: &str = "/models/";
const GEMINI_METHODS: [&str; 2] = ["generateContent", "streamGenerateContent"];

/// The rates of models, and where a request says what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrice {
    provider: Provider,
    models: Vec<(String, Rates)>,
    /// What is reckoned with where a request names no most.
    max_tokens_default: u64,
    /// Whether usage is asked for where the provider gives it only then.
    ask_for_usage: bool,
    model: Field,
    /// Each may name a most; the largest counts.
    max_tokens: Vec<Field>,
    /// How many answers are asked for.
    answers: Option<Field>,
    /// Whether the answer is streamed, and whether the client asked for usage then.
    stream: Field,
    include_usage: Field,
}

/// How the actual cost of a request follows from its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenQuote {
    /// Whose response it will be.
    pub provider: Provider,
    /// The rates of the model.
    pub rates: Rates,
    /// The request must be made to ask for usage, for which its client did not ask.
    pub ask_for_usage: bool,
}

impl TokenPrice {
    /// Prices for the requests to a provider. `ask_for_usage` has requests ask for usage where
    /// the provider reports it only then.
    #[must_use]
    pub fn new(provider: Provider, max_tokens_default: u64, ask_for_usage: bool) -> Self {
        let json = |path: &str| Field::Json(path.split('.').map(String::from).collect());
        let (max_tokens, answers): (&[&str], _) = match provider {
            Provider::OpenAiChat => (&["max_completion_tokens", "max_tokens"], Some("n")),
            Provider::OpenAiResponses => (&["max_output_tokens"], None),
            Provider::AnthropicMessages => (&["max_tokens"], None),
            Provider::Gemini => (
                &[
                    "generationConfig.maxOutputTokens",
                    "generationConfig.max_output_tokens",
                    "generation_config.maxOutputTokens",
                    "generation_config.max_output_tokens",
                ],
                Some("generationConfig.candidateCount"),
            ),
        };
        Self {
            provider,
            models: Vec::new(),
            max_tokens_default,
            ask_for_usage: ask_for_usage && provider == Provider::OpenAiChat,
            model: match provider {
                Provider::Gemini => Field::Header(":path".into()),
                _ => json("model"),
            },
            max_tokens: max_tokens.iter().copied().map(json).collect(),
            answers: answers.map(json),
            stream: json("stream"),
            include_usage: json("stream_options.include_usage"),
        }
    }

    /// Adds a model.
    #[must_use]
    pub fn with(mut self, model: &str, rates: Rates) -> Self {
        self.models.push((model.into(), rates));
        self
    }

    pub(super) fn quote(&self, request: &PricedRequest<'_>) -> Result<Quote, PriceFault<'_>> {
        let rates = self.rates(request)?;
        let mut most = None;
        for field in &self.max_tokens {
            most = most.max(count(field, request)?);
        }
        let answers = match &self.answers {
            Some(field) => count(field, request)?.unwrap_or(1).max(1),
            None => 1,
        };
        let output = most.unwrap_or(self.max_tokens_default).saturating_mul(answers);
        let input = (request.body.len() as u64).div_ceil(BYTES_PER_TOKEN);
        // Which class they will be of shows at the end; the dearest is reckoned with.
        let dearest = Rates {
            input: rates.input.max(rates.cache_write).max(rates.cached),
            output: rates.output.max(rates.reasoning),
            ..rates
        };
        let cost = dearest.cost(&Usage { input, output, ..Usage::default() });
        let ask_for_usage = self.ask_for_usage
            && flag(&self.stream, request)?
            && !flag(&self.include_usage, request)?;
        let tokens = TokenQuote { provider: self.provider, rates, ask_for_usage };
        Ok(Quote { tokens: Some(tokens), ..Quote::fixed(cost) })
    }

    fn rates(&self, request: &PricedRequest<'_>) -> Result<Rates, PriceFault<'_>> {
        let name = match self.model.read(request)? {
            Value::Text(text) => text,
            Value::Absent => return Err(PriceProblem::Missing.of(&self.model)),
            Value::Other => return Err(PriceProblem::Malformed.of(&self.model)),
        };
        let name = match self.provider {
            Provider::Gemini => gemini_model(&name),
            _ => Some(&*name),
        };
        let known = name.and_then(|name| self.models.iter().find(|(known, _)| known == name));
        known.map(|(_, rates)| *rates).ok_or_else(|| PriceProblem::NotSold.of(&self.model))
    }
}

/// The model in a path, where the path asks it to generate something.
fn gemini_model(target: &str) -> Option<&str> {
    let path = target.split('?').next()?;
    let (name, method) = path.rsplit_once(GEMINI_MODELS)?.1.split_once(':')?;
    GEMINI_METHODS.contains(&method).then_some(name)
}

/// The number of tokens or answers in a field.
fn count<'p>(field: &'p Field, request: &PricedRequest<'_>) -> Result<Option<u64>, PriceFault<'p>> {
    match field.read(request)? {
        Value::Absent => Ok(None),
        Value::Text(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            let count = text.parse().ok().filter(|count| *count <= TOKENS_MAX);
            count.map(Some).ok_or_else(|| PriceProblem::OutOfRange.of(field))
        }
        Value::Text(_) | Value::Other => Err(PriceProblem::Malformed.of(field)),
    }
}

fn flag<'p>(field: &'p Field, request: &PricedRequest<'_>) -> Result<bool, PriceFault<'p>> {
    Ok(matches!(field.read(request)?, Value::Text(text) if text == "true"))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::super::price::tests::request;
    use super::*;
    use crate::header_block::HeaderBlock;
    use crate::money::Msat;

    fn rates(input: u64, output: u64) -> Rates {
        let msat = |amount| Msat::new(amount).unwrap();
        Rates {
            input: msat(input),
            cached: msat(input),
            cache_write: msat(input),
            output: msat(output),
            reasoning: msat(output),
        }
    }

    /// Four bytes of prompt cost 1 msat, a token of the answer 10 with `large` and 1 with `small`.
    fn price(provider: Provider) -> TokenPrice {
        TokenPrice::new(provider, 100, true)
            .with("large", rates(1_000_000, 10_000_000))
            .with("small", rates(1_000_000, 1_000_000))
    }

    fn quote(provider: Provider, path: &str, body: &str) -> Result<(u64, bool), PriceProblem> {
        let headers = HeaderBlock::from([(":path", path)]);
        let request = PricedRequest { headers: &headers, body: body.as_bytes(), ..request() };
        let price = price(provider);
        let quote = price.quote(&request).map_err(|fault| fault.problem)?;
        let tokens = quote.tokens.unwrap();
        // What the prompt is taken for, off again.
        let prompt = (body.len() as u64).div_ceil(4);
        Ok((quote.cost.get() - prompt, tokens.ask_for_usage))
    }

    #[test]
    fn the_estimate_is_of_the_model_and_the_most_it_may_say() {
        use Provider::{AnthropicMessages, OpenAiChat, OpenAiResponses};
        for (provider, body, cost, ask) in [
            (OpenAiChat, r#"{"model":"large"}"#, 1_000, false),
            (OpenAiChat, r#"{"model":"small","max_tokens":7}"#, 7, false),
            (OpenAiChat, r#"{"model":"small","max_tokens":null,"stream":true}"#, 100, true),
            (OpenAiChat, r#"{"max_completion_tokens":9,"max_tokens":7,"model":"small"}"#, 9, false),
            (OpenAiChat, r#"{"model":"small","max_tokens":7,"n":3,"stream":false}"#, 21, false),
            (
                OpenAiChat,
                r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#,
                100,
                false,
            ),
            (
                OpenAiChat,
                r#"{"model":"small","stream":true,"stream_options":{"include_usage":false}}"#,
                100,
                true,
            ),
            (OpenAiResponses, r#"{"model":"small","max_output_tokens":5,"stream":true}"#, 5, false),
            (AnthropicMessages, r#"{"model":"small","max_tokens":0,"stream":true}"#, 0, false),
            // A decoy is no model, and no most.
            (
                OpenAiChat,
                r#"{"messages":[{"model":"small","max_tokens":1}],"x":{"model":"small"},"model":"large"}"#,
                1_000,
                false,
            ),
        ] {
            assert_eq!(quote(provider, "/v1", body), Ok((cost, ask)), "{body}");
        }
    }

    #[test]
    fn gemini_names_the_model_in_its_path() {
        let body = r#"{"generationConfig":{"maxOutputTokens":6,"candidateCount":2}}"#;
        let quote = |path: &str| quote(Provider::Gemini, path, body).map(|(cost, _)| cost);
        for path in [
            "/v1beta/models/small:generateContent",
            "/v1/models/small:streamGenerateContent?alt=sse",
            "/v1/projects/p/publishers/google/models/small:generateContent",
        ] {
            assert_eq!(quote(path), Ok(12), "{path}");
        }
        for path in [
            "/v1beta/models/other:generateContent",
            "/v1beta/models/small",
            "/v1beta/models/small:countTokens",
            "/v1beta/models/sm%61ll:generateContent",
            "/v1beta/models/small:generateContent/x",
            "/v1beta/small:generateContent",
        ] {
            assert_eq!(quote(path), Err(PriceProblem::NotSold), "{path}");
        }
        let snake = r#"{"generation_config":{"max_output_tokens":6}}"#;
        let path = "/v1beta/models/small:generateContent";
        assert_eq!(super::tests::quote(Provider::Gemini, path, snake), Ok((6, false)));
    }

    #[test]
    fn what_leaves_the_model_open_is_refused() {
        use PriceProblem::{Malformed, Missing, NotSold, OutOfRange, Repeated, TooDeep};
        let deep = format!(r#"{{"model":"small","x":{}{}}}"#, "[".repeat(99), "]".repeat(99));
        for (body, problem) in [
            ("", Malformed),
            ("[]", Missing),
            ("{}", Missing),
            (r#"{"model":null}"#, Missing),
            (r#"{"model":"other"}"#, NotSold),
            (r#"{"model":"Small"}"#, NotSold),
            (r#"{"model":"small "}"#, NotSold),
            (r#"{"model":["small"]}"#, Malformed),
            (r#"{"model":"small","model":"large"}"#, Repeated),
            (r#"{"model":"small","Model":"large"}"#, Repeated),
            (r#"{"model":"small","mod\u0065l":"large"}"#, Repeated),
            (r#"{"model":"small""#, Malformed),
            (r#"{"model":"small"}{"model":"large"}"#, Malformed),
            (r#"{"model":"small","max_tokens":1,"max_tokens":2}"#, Repeated),
            (r#"{"model":"small","max_tokens":NaN}"#, Malformed),
            (r#"{"model":"small","max_tokens":-1}"#, Malformed),
            (r#"{"model":"small","max_tokens":1e9}"#, Malformed),
            (r#"{"model":"small","max_tokens":99999999999999999999}"#, OutOfRange),
            (r#"{"model":"small","n":[]}"#, Malformed),
            (&deep, TooDeep),
        ] {
            assert_eq!(quote(Provider::OpenAiChat, "/v1", body), Err(problem), "{body}");
        }
    }

    #[test]
    fn the_dearest_class_is_reckoned_with() {
        let msat = |amount| Msat::new(amount).unwrap();
        let rates = Rates {
            input: msat(1_000_000),
            cached: msat(0),
            cache_write: msat(3_000_000),
            output: msat(5_000_000),
            reasoning: msat(7_000_000),
        };
        let price = TokenPrice::new(Provider::OpenAiChat, 10, false).with("m", rates);
        let body = br#"{"model":"m","stream":1}"#;
        let request = PricedRequest { body, ..request() };
        let quote = price.quote(&request).unwrap();
        assert_eq!((body.len(), quote.cost), (24, msat(6 * 3 + 10 * 7)));
        assert_eq!(quote.tokens.unwrap().rates, rates);
    }
}
