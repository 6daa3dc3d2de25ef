//! Prices by the tokens of a language model.

use tollway_core::money::Msat;
use tollway_core::pricing::{Price, Rule, TokenPrice};
use tollway_core::usage::{Provider, Rates};

use super::reader::{ConfigError, Node};

/// The most models of one price.
const MODELS_MAX: usize = 1_000;
/// The longest name of a model, in bytes.
const MODEL_BYTES_MAX: usize = 128;
/// What a request is held for that does not bound its answer.
const MAX_TOKENS_DEFAULT: u64 = 4_096;
const MAX_TOKENS_MAX: u64 = 10_000_000;

/// Reads what stands under `llm`.
pub(super) fn read(node: &Node<'_>) -> Result<Price, ConfigError> {
    let fields = node.object(&["provider", "models", "max_tokens_default", "ask_for_usage"])?;
    let provider = provider(&fields.required("provider", "name whose API it is")?)?;
    let default = fields.integer("max_tokens_default", MAX_TOKENS_DEFAULT, 1..=MAX_TOKENS_MAX)?;
    let ask = match fields.optional("ask_for_usage") {
        Some(node) => node.flag()?,
        None => true,
    };
    let mut price = TokenPrice::new(provider, default, ask);
    let models = fields.required("models", "list the models that are sold, and their rates")?;
    let entries = models.entries(MODELS_MAX)?;
    if entries.is_empty() {
        return Err(models.problem(
            "expected at least one model, but found none; every other is refused".to_owned(),
        ));
    }
    for (name, node) in entries {
        if name.is_empty() || name.len() > MODEL_BYTES_MAX {
            return Err(node.problem(format!(
                "expected a model whose name has 1 to {MODEL_BYTES_MAX} bytes, but found another; \
                 write it as requests do"
            )));
        }
        price = price.with(name, rates(&node)?);
    }
    Ok(Price::rule(Rule::Tokens(price)))
}

fn provider(node: &Node<'_>) -> Result<Provider, ConfigError> {
    const EXPECTED: &str =
        "\"openai_chat\", \"openai_responses\", \"anthropic_messages\" or \"gemini\"";
    match node.text(EXPECTED)? {
        "openai_chat" => Ok(Provider::OpenAiChat),
        "openai_responses" => Ok(Provider::OpenAiResponses),
        "anthropic_messages" => Ok(Provider::AnthropicMessages),
        "gemini" => Ok(Provider::Gemini),
        _ => Err(node.fault(EXPECTED, "write one of the four")),
    }
}

/// The rates of a model; what is not given costs as much as the class it belongs to.
fn rates(node: &Node<'_>) -> Result<Rates, ConfigError> {
    let fields = node.object(&[
        "input_msat",
        "cached_msat",
        "cache_write_msat",
        "output_msat",
        "reasoning_msat",
    ])?;
    let amount = |node: &Node<'_>| {
        // The range never leaves what an amount can be.
        node.integer(0, Msat::MAX.get()).map(|msat| Msat::new(msat).unwrap_or(Msat::MAX))
    };
    let required = |name| amount(&fields.required(name, "write the price of a million tokens")?);
    let or = |name, default| fields.optional(name).map_or(Ok(default), |node| amount(&node));
    let (input, output) = (required("input_msat")?, required("output_msat")?);
    Ok(Rates {
        input,
        cached: or("cached_msat", input)?,
        cache_write: or("cache_write_msat", input)?,
        output,
        reasoning: or("reasoning_msat", output)?,
    })
}
