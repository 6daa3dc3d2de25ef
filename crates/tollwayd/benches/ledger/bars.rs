//! Figures and bars: printed, and kept in a small file.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/results/ledger.json");

/// Everything measured so far.
#[derive(Debug, Default)]
pub(crate) struct Results {
    figures: Map<String, Value>,
    bars: Map<String, Value>,
    short: bool,
}

impl Results {
    /// A figure without a bar.
    pub(crate) fn figure(&mut self, name: &str, value: f64) {
        println!("figure {name} {value:.2}");
        self.figures.insert(name.to_owned(), rounded(value));
    }

    /// A figure that was measured before.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.figures[name].as_f64().unwrap()
    }

    pub(crate) fn at_least(&mut self, name: &str, value: f64, limit: f64) {
        self.bar(name, value, ">=", limit, value >= limit);
    }

    pub(crate) fn at_most(&mut self, name: &str, value: f64, limit: f64) {
        self.bar(name, value, "<=", limit, value <= limit);
    }

    fn bar(&mut self, name: &str, value: f64, relation: &str, limit: f64, ok: bool) {
        let verdict = if ok { "ok" } else { "short" };
        println!("bar {name} {value:.2} {relation} {limit} {verdict}");
        let bar = json!({"value": rounded(value), "relation": relation, "limit": limit, "ok": ok});
        self.bars.insert(name.to_owned(), bar);
        self.short |= !ok;
    }

    /// Writes the file; the exit code says whether every bar was reached.
    pub(crate) fn finish(self) -> ExitCode {
        let text = json!({"bars": self.bars, "figures": self.figures});
        let text = serde_json::to_string_pretty(&text).unwrap() + "\n";
        std::fs::write(FILE, text).unwrap();
        self.verdict()
    }

    /// Whether every bar so far was reached.
    pub(crate) fn verdict(&self) -> ExitCode {
        ExitCode::from(u8::from(self.short))
    }
}

fn rounded(value: f64) -> Value {
    json!((value * 100.0).round() / 100.0)
}
