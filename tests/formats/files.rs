//! The folder of vectors, and what each of its files is.

use std::path::PathBuf;

use serde_json::Value;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LightningTollTokens,
    LightningTollHttp,
    TollBoothTokens,
    TollBoothHttp,
    /// Return values of a Python library. It has no format on the wire, so nothing here reads it.
    DpycExamples,
}

pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) content: Value,
}

/// All files of the folder.
pub(crate) fn all() -> Vec<File> {
    let folder = std::env::var_os("TOLLWAY_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors"),
        PathBuf::from,
    );
    let mut paths: Vec<_> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let content: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: not JSON: {e}"));
        let kind = kind(&content).unwrap_or_else(|| panic!("{name}: a format nobody knows here"));
        File { name, kind, content }
    };
    let files: Vec<_> = paths.into_iter().map(read).collect();
    assert!(!files.is_empty(), "{}: no vectors", folder.display());
    files
}

/// The files of one kind, with at least one case each.
pub(crate) fn of(kind: Kind) -> Vec<File> {
    let files: Vec<_> = all().into_iter().filter(|file| file.kind == kind).collect();
    for File { name, content, .. } in &files {
        let cases = content.get("vectors").or_else(|| content.get("scenarios"));
        assert!(cases.is_some_and(|c| !c.as_array().unwrap().is_empty()), "{name}: no case");
    }
    files
}

fn kind(content: &Value) -> Option<Kind> {
    let format = content.get("format").and_then(Value::as_str).unwrap_or_default();
    let has = |member: &str| content.get(member).is_some_and(Value::is_array);
    match format.split(' ').next()? {
        "lightning-toll" if has("vectors") => Some(Kind::LightningTollTokens),
        "lightning-toll" if has("scenarios") => Some(Kind::LightningTollHttp),
        "toll-booth" if has("vectors") => Some(Kind::TollBoothTokens),
        "toll-booth" if has("scenarios") => Some(Kind::TollBoothHttp),
        _ => {
            let examples = ["ledger_json", "cache_health", "check_settled"];
            let dpyc = examples.iter().all(|name| content.get(name).is_some());
            dpyc.then_some(Kind::DpycExamples)
        }
    }
}

/// The list in a member that must be there; it may be empty.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    let list = value.get(member).and_then(Value::as_array);
    list.unwrap_or_else(|| panic!("expected a list in {member}, but found {}", value[member]))
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    let text = value.get(member).and_then(Value::as_str);
    text.unwrap_or_else(|| panic!("expected a text in {member}, but found {}", value[member]))
}

/// Fails on a member that is not known here: a case that nobody looks at would pass.
pub(crate) fn only_members(file: &File, known: &[&str]) {
    for member in file.content.as_object().unwrap().keys() {
        assert!(known.contains(&member.as_str()), "{}: unknown member {member}", file.name);
    }
}

#[test]
fn every_file_of_the_folder_is_understood() {
    let files = all();
    for File { name, kind, content } in &files {
        let note = match kind {
            Kind::DpycExamples => " (no format on the wire: nothing of ours reads it)",
            _ => "",
        };
        println!("{name}: {kind:?}, {} members{note}", content.as_object().unwrap().len());
    }
    if std::env::var_os("TOLLWAY_VECTORS").is_none() {
        for kind in [
            Kind::LightningTollTokens,
            Kind::LightningTollHttp,
            Kind::TollBoothTokens,
            Kind::TollBoothHttp,
            Kind::DpycExamples,
        ] {
            assert!(files.iter().any(|file| file.kind == kind), "{kind:?} is missing");
        }
    }
}
