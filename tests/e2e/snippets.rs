//! The blocks of docs/pricing.md: parts of the filter's configuration, or of tollwayd's, that the
//! tests run as they stand there.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config, repository};

const MARK: &str = "<!-- snippet: ";

enum Snippet {
    Filter(Value),
    Tollwayd(String),
}

/// All blocks by their names.
fn snippets() -> BTreeMap<String, Snippet> {
    let text = fs::read_to_string(repository("docs/pricing.md")).unwrap();
    let named = text.split(MARK).skip(1).map(|part| {
        let (name, rest) = part.split_once(" -->\n```").expect("a block follows the mark");
        let (kind, rest) = rest.split_once('\n').unwrap();
        let block = rest.split("```").next().unwrap();
        let snippet = match kind {
            "json" => Snippet::Filter(
                serde_json::from_str(block).unwrap_or_else(|e| panic!("{name}: {e}")),
            ),
            "toml" => Snippet::Tollwayd(block.to_owned()),
            _ => panic!("{name}: expected json or toml, but found {kind}"),
        };
        (name.to_owned(), snippet)
    });
    named.collect()
}

/// A block of tollwayd's configuration.
pub(crate) fn tollwayd(name: &str) -> String {
    match snippets().remove(name) {
        Some(Snippet::Tollwayd(lines)) => lines,
        _ => panic!("no snippet {name} of tollwayd's configuration"),
    }
}

/// A gateway whose configuration is this block and nothing more than it needs.
pub(crate) async fn gateway(name: &str) -> Gateway {
    with(name, |_| {}).await
}

/// The same, with a change.
pub(crate) async fn with(name: &str, change: impl FnOnce(&mut Value)) -> Gateway {
    Gateway::with(options(name, change, None)).await
}

/// A gateway with this block before an API that listens on this port.
pub(crate) async fn before(name: &str, upstream: u16) -> Gateway {
    with_upstream(name, upstream, |_| {}).await
}

/// The same, with a change.
pub(crate) async fn with_upstream(
    name: &str,
    upstream: u16,
    change: impl FnOnce(&mut Value),
) -> Gateway {
    Gateway::with(options(name, change, Some(upstream))).await
}

/// A gateway with this block and with more lines in the configuration of `tollwayd`, which lies in
/// the directory.
pub(crate) async fn with_tollwayd(name: &str, lines: &str) -> (Gateway, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tollwayd.toml");
    let shipped = fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    fs::write(&path, shipped + lines).unwrap();
    let options = options(name, |_| {}, None);
    (Gateway::with(StackOptions { tollwayd_config: Some(path), ..options }).await, dir)
}

fn options(name: &str, change: impl FnOnce(&mut Value), upstream: Option<u16>) -> StackOptions {
    let Some(Snippet::Filter(snippet)) = snippets().remove(name) else {
        panic!("no snippet {name} of the filter's configuration");
    };
    let mut filter = config();
    filter["services"] = json!([{"name": "demo", "purchase": {"default_sats": 1_000}}]);
    for (field, value) in snippet.as_object().unwrap() {
        filter[field] = value.clone();
    }
    // The stack counts as ready when this path has a price.
    let ready = json!({"name": "ready", "match": {"path": "/api/joke"}, "price_sats": 1});
    filter["routes"].as_array_mut().unwrap().push(ready);
    change(&mut filter);
    let envoy_env = [("TOLLWAY_READ_BODIES", "yes"), ("TOLLWAY_BUFFER_BYTES", "1048576")];
    let mut envoy_env: Vec<(String, String)> =
        envoy_env.map(|(name, value)| (name.into(), value.into())).into();
    envoy_env.extend(upstream.map(|port| ("TOLLWAY_JOKE_PORT".into(), port.to_string())));
    StackOptions { filter: Some(filter), envoy_env, ..StackOptions::default() }
}

#[test]
fn every_block_is_played_by_a_test() {
    let tests: String = fs::read_dir(repository("tests/e2e"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for name in snippets().keys() {
        assert!(tests.contains(&format!("(\"{name}\"")), "{name}: no test plays it");
    }
}
