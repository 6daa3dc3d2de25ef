//! Rules of the house that no compiler checks: sizes, seams, dependencies, words.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The packages that the filter and the core may use.
const FILTER_PACKAGES: [&str; 9] =
    ["base64", "hex", "hmac", "log", "proxy-wasm", "serde", "serde_json", "sha2", "subtle"];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `folder` with this ending, without build output and installed tools.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    const SKIPPED: [&str; 5] = ["target", ".tools", ".git", "node_modules", "corpus"];
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !SKIPPED.contains(&name.as_str()) {
            found.extend(files(&path, ending));
        } else if name.ends_with(ending) && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<(String, String)> {
    files(&root(), ".rs")
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            (name, text)
        })
        .collect()
}

/// The part of a source file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap()
}

fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn files_lines_and_functions_stay_short() {
    let mut faults = Vec::new();
    for (name, text) in rust_files() {
        let code = without_tests(&text);
        let is_test = name.starts_with("tests/") || name.contains("/tests/");
        if code.lines().count() > FILE_LINES_MAX && !is_test && !name.ends_with("tests.rs") {
            faults
                .push(format!("{name}: {} lines, at most {FILE_LINES_MAX}", code.lines().count()));
        }
        for (at, line) in text.lines().enumerate() {
            // A string literal may need its length; prose and code do not.
            if line.chars().count() > LINE_CHARS_MAX && !line.contains('"') {
                faults.push(format!("{name}:{}: over {LINE_CHARS_MAX} characters", at + 1));
            }
        }
        // A test that is one table may be as long as its table.
        if !is_test && !name.ends_with("tests.rs") {
            faults.extend(long_functions(&name, code));
        }
    }
    no_faults(&faults);
}

/// Functions that are longer than they should be, by the indentation that rustfmt keeps.
fn long_functions(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let is_fn = ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn ", "const fn "]
            .iter()
            .any(|start| words.starts_with(start));
        match &open {
            None if is_fn && !words.ends_with(';') && !words.ends_with('}') => {
                open = Some((at, indent, words.chars().take(60).collect()));
            }
            Some((start, level, head)) if indent == *level && words == "}" => {
                let lines = at - start + 1;
                if lines > FUNCTION_LINES_MAX {
                    faults.push(format!("{name}:{}: {lines} lines in `{head}`", start + 1));
                }
                open = None;
            }
            _ => {}
        }
    }
    faults
}

#[test]
fn only_the_skin_names_the_sdk_and_the_core_knows_nobody() {
    let mut faults = Vec::new();
    let may_name_sdk = |name: &str| {
        ["src/", "tests/sdk/", "bench/noop/", "bench/calls/"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    for (name, text) in rust_files() {
        if text.contains(concat!("proxy_", "wasm::")) && !may_name_sdk(&name) {
            faults
                .push(format!("{name}: names the SDK; only src/, its test and its yardstick may"));
        }
        let in_core = name.starts_with("crates/tollway-core/src");
        let in_gate = name.starts_with("crates/tollway-gate/src");
        // A test may count per thread, which the core cannot.
        let names_std = text.contains("std::") && !name.ends_with("tests.rs");
        if in_core && (text.contains("tollway_gate") || names_std) {
            faults.push(format!("{name}: the core is no_std and imports no other crate of ours"));
        }
        if (in_gate && text.contains("tollwayd::"))
            || (name.starts_with("crates/tollwayd/src") && text.contains("tollway_gate"))
        {
            faults.push(format!("{name}: the gate and tollwayd never import each other"));
        }
        let may_wait = !in_core && !in_gate && !name.starts_with("src/");
        if text.contains("tokio::") && !may_wait {
            faults.push(format!("{name}: the filter has no runtime"));
        }
    }
    no_faults(&faults);
}

#[test]
fn the_filter_uses_the_fixed_packages_and_no_other() {
    let allowed: BTreeSet<&str> = FILTER_PACKAGES.into_iter().collect();
    let ours = ["tollway-core", "tollway-gate"];
    for manifest in
        ["Cargo.toml", "crates/tollway-core/Cargo.toml", "crates/tollway-gate/Cargo.toml"]
    {
        let text = fs::read_to_string(root().join(manifest)).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let packages = table["dependencies"].as_table().unwrap();
        for package in packages.keys().filter(|name| !ours.contains(&name.as_str())) {
            assert!(allowed.contains(package.as_str()), "{manifest}: {package} is not allowed");
        }
    }
}

#[test]
fn every_shipped_config_keeps_the_gate_closed() {
    let mut checked = 0;
    for path in files(&root().join("envoy"), ".yaml") {
        let text = fs::read_to_string(&path).unwrap();
        let open = text.lines().any(|line| {
            let setting = line.split('#').next().unwrap();
            setting.contains("FAIL_OPEN") || setting.contains("failOpen: true")
        });
        assert!(!open, "{}: an example that fails open", path.display());
        checked += 1;
    }
    assert!(checked > 0, "no config was found");
}

#[test]
fn nothing_of_the_build_machine_is_in_the_tree() {
    let banned = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let mut faults = Vec::new();
    for ending in [".rs", ".md", ".toml", ".yaml", ".yml", ".sh", ".py", ".json", "Makefile", "run"]
    {
        for path in files(&root(), ending) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            for word in banned.iter().filter(|word| text.contains(**word)) {
                faults.push(format!("{}: {word}", path.display()));
            }
        }
    }
    no_faults(&faults);
}

#[test]
fn no_unfinished_work_is_marked_in_the_code() {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut faults = Vec::new();
    for (name, text) in rust_files() {
        for (at, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{name}:{}: {}", at + 1, line.trim()));
            }
        }
    }
    no_faults(&faults);
}
