//! Responses of four providers give the exact usage and cost, wherever they are cut.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;
use tollway_core::money::Msat;
use tollway_core::usage::{Meter, Provider, Rates, Usage};

fn fixture(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/llm");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

struct Case {
    name: String,
    provider: Provider,
    body: Vec<u8>,
    complete: bool,
    usage: Option<Usage>,
    cost: Option<Msat>,
}

fn cases() -> (Rates, Vec<Case>) {
    let table: Value = serde_json::from_slice(&fixture("cases.json")).unwrap();
    let rate = |class| Msat::new(table["rates_msat_per_million"][class].as_u64().unwrap()).unwrap();
    let rates = Rates {
        input: rate("input"),
        cached: rate("cached"),
        cache_write: rate("cache_write"),
        output: rate("output"),
        reasoning: rate("reasoning"),
    };
    let case = |row: &Value| Case {
        name: format!("{}: {}", row["file"], row["why"]),
        provider: match row["provider"].as_str().unwrap() {
            "openai_chat" => Provider::OpenAiChat,
            "openai_responses" => Provider::OpenAiResponses,
            "anthropic_messages" => Provider::AnthropicMessages,
            "gemini" => Provider::Gemini,
            other => panic!("{other}"),
        },
        body: fixture(row["file"].as_str().unwrap()),
        complete: row["complete"].as_bool().unwrap(),
        usage: row["usage"].as_object().map(|usage| Usage {
            input: usage["input"].as_u64().unwrap(),
            cached: usage["cached"].as_u64().unwrap(),
            cache_write: usage["cache_write"].as_u64().unwrap(),
            output: usage["output"].as_u64().unwrap(),
            reasoning: usage["reasoning"].as_u64().unwrap(),
        }),
        cost: row["cost_msat"].as_u64().map(|msat| Msat::new(msat).unwrap()),
    };
    (rates, table["cases"].as_array().unwrap().iter().map(case).collect())
}

fn usage(provider: Provider, pieces: &[&[u8]], complete: bool) -> Option<Usage> {
    let mut meter = Meter::new(provider);
    for piece in pieces {
        meter.feed(piece, &mut |_| {});
    }
    meter.usage(complete)
}

#[test]
fn every_fixture_gives_its_usage_and_its_exact_cost() {
    let (rates, cases) = cases();
    assert!(cases.len() >= 25);
    for case in cases {
        let found = usage(case.provider, &[&case.body], case.complete);
        assert_eq!(found, case.usage, "{}", case.name);
        assert_eq!(found.map(|usage| rates.cost(&usage)), case.cost, "{}", case.name);
    }
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    for case in cases().1 {
        for cut in 0..=case.body.len() {
            let (before, after) = case.body.split_at(cut);
            let found = usage(case.provider, &[before, after], case.complete);
            assert_eq!(found, case.usage, "{} cut at {cut}", case.name);
        }
        let bytes: Vec<&[u8]> = case.body.chunks(1).collect();
        assert_eq!(usage(case.provider, &bytes, case.complete), case.usage, "{}", case.name);
    }
}

/// A client that leaves early is told apart from one that heard everything: what came so far
/// never gives another usage than the whole, running totals and Gemini's counts aside.
#[test]
fn a_part_gives_the_whole_usage_or_none() {
    let running = |name: &str| name.contains("running") || name.contains("cumulative");
    for case in cases().1.iter().filter(|case| !running(&case.name)) {
        let whole = usage(case.provider, &[&case.body], false);
        for end in 0..case.body.len() {
            let part = usage(case.provider, &[&case.body[..end]], false);
            assert!(part.is_none() || part == whole, "{} up to {end}: {part:?}", case.name);
        }
    }
}

#[test]
fn the_chunk_that_was_not_asked_for_is_told_apart() {
    let only_usage = |name: &str| {
        let mut events = Vec::new();
        let mut meter = Meter::new(Provider::OpenAiChat);
        meter.feed(&fixture(name), &mut |event| events.push(event.only_usage));
        events
    };
    assert_eq!(
        only_usage("openai_chat_stream.sse"),
        [false, false, false, false, true, false],
        "four chunks, the usage, DONE"
    );
    assert!(!only_usage("openai_chat_stream_no_usage.sse").contains(&true));
    assert!(!only_usage("openai_chat_running_totals.sse").contains(&true));
}

fn provider() -> impl Strategy<Value = Provider> {
    prop_oneof![
        Just(Provider::OpenAiChat),
        Just(Provider::OpenAiResponses),
        Just(Provider::AnthropicMessages),
        Just(Provider::Gemini),
    ]
}

/// Pieces of the language that responses are written in, in any order.
fn babble() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        Just("data: ".to_owned()),
        Just("\n\n".to_owned()),
        Just("\r\n".to_owned()),
        Just("{".to_owned()),
        Just("}".to_owned()),
        Just("[".to_owned()),
        Just("]".to_owned()),
        Just(",".to_owned()),
        Just(":".to_owned()),
        Just("\"usage\":{".to_owned()),
        Just("\"usageMetadata\":{\"promptTokenCount\":5}".to_owned()),
        Just("\"prompt_tokens\":1".to_owned()),
        Just("\"input_tokens\":2,\"output_tokens\":3".to_owned()),
        Just("{\"choices\":[],\"usage\":{\"prompt_tokens\":4}}".to_owned()),
        Just("\"\\u00e9\\\"".to_owned()),
        Just("\u{1f600}".to_owned()),
        "[0-9.eE+-]{1,4}",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

proptest! {
    #[test]
    fn any_bytes_are_the_same_in_any_pieces(
        provider in provider(),
        body in babble(),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&body[from..cut]);
            from = cut;
        }
        pieces.push(&body[from..]);
        for complete in [false, true] {
            prop_assert_eq!(
                usage(provider, &pieces, complete),
                usage(provider, &[&body], complete)
            );
        }
    }
}
