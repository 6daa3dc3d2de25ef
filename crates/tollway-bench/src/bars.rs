//! Bars and aims: printed, and kept.

use serde_json::{Map, Value, json};

/// All bars of a run.
#[derive(Debug, Default)]
pub(crate) struct Bars {
    bars: Map<String, Value>,
    aims: Map<String, Value>,
    short: bool,
}

/// On which side of its limit a value belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    AtMost,
    AtLeast,
}

impl Bars {
    /// A value that must not be larger. What could not be measured is short.
    pub(crate) fn at_most(&mut self, name: &str, value: Option<f64>, limit: f64) {
        self.bar(name, value, Side::AtMost, limit);
    }

    /// A value that must not be smaller.
    pub(crate) fn at_least(&mut self, name: &str, value: Option<f64>, limit: f64) {
        self.bar(name, value, Side::AtLeast, limit);
    }

    /// Where we would like to be; it never fails.
    pub(crate) fn aim(&mut self, name: &str, value: Option<f64>, limit: f64) {
        let entry = line("aim", name, value, Side::AtMost, limit);
        self.aims.insert(name.to_owned(), entry);
    }

    fn bar(&mut self, name: &str, value: Option<f64>, side: Side, limit: f64) {
        let entry = line("bar", name, value, side, limit);
        self.short |= entry["ok"] != true;
        self.bars.insert(name.to_owned(), entry);
    }

    /// Whether any bar is short.
    pub(crate) const fn short(&self) -> bool {
        self.short
    }

    pub(crate) const fn bars(&self) -> &Map<String, Value> {
        &self.bars
    }

    pub(crate) const fn aims(&self) -> &Map<String, Value> {
        &self.aims
    }
}

fn line(kind: &str, name: &str, value: Option<f64>, side: Side, limit: f64) -> Value {
    // What is not a number is no measurement.
    let value = value.filter(|value| value.is_finite());
    let (relation, ok) = match side {
        Side::AtMost => ("<=", value.is_some_and(|value| value <= limit)),
        Side::AtLeast => (">=", value.is_some_and(|value| value >= limit)),
    };
    let shown = value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.3}"));
    println!("{kind} {name} {shown} {relation} {limit} {}", if ok { "ok" } else { "short" });
    json!({"value": value.map(rounded), "relation": relation, "limit": limit, "ok": ok})
}

/// As many digits as a measurement has.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_short_when_it_is_missed_or_missing() {
        for (value, short) in [(Some(1.0), false), (Some(1.1), true), (None, true)] {
            let mut bars = Bars::default();
            bars.at_most("cost", value, 1.0);
            assert_eq!(bars.short(), short, "{value:?}");
        }
        let mut bars = Bars::default();
        bars.at_least("rate", Some(f64::NAN), 1.0);
        assert!(bars.short());
        assert_eq!(bars.bars()["rate"]["value"], Value::Null);
    }

    #[test]
    fn an_aim_never_fails() {
        let mut bars = Bars::default();
        bars.aim("cost", Some(2.0), 1.0);
        assert!(!bars.short());
        assert_eq!(bars.aims()["cost"]["ok"], false);
    }
}
