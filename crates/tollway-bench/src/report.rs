//! The results: a JSON file, a table and a plot in bench/README.md.

use std::fmt::Write;
use std::fs;

use serde_json::{Map, Value, json};

use crate::Result;
use crate::bars::{Bars, rounded};
use crate::machine;
use crate::memory::Memory;
use crate::rounds::{Outcome, Sample};
use crate::settings::Settings;
use crate::svg;
use crate::verdict::Measured;
use crate::workshop::Workshop;

const BEGIN: &str = "<!-- fast-path: written by make bench -->\n";
const END: &str = "<!-- /fast-path -->\n";

/// A run and what it showed.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) measured: Measured<'a>,
    pub(crate) memory: Option<Memory>,
    pub(crate) bars: &'a Bars,
    pub(crate) notes: &'a [String],
}

/// Writes all of it into the repository's `bench` directory.
pub(crate) fn write(workshop: &Workshop, run: &Run<'_>) -> Result<()> {
    let machine = machine::describe()?;
    let results = json(run, &machine);
    let text = serde_json::to_string_pretty(&results)? + "\n";
    fs::write(workshop.bench("results/fast-path.json"), text)?;
    fs::write(workshop.bench("fast-path.svg"), svg::plot(run.measured))?;
    let readme = workshop.bench("README.md");
    let text = fs::read_to_string(&readme)?;
    fs::write(readme, replace_section(&text, (BEGIN, END), &section(run, &machine)?)?)?;
    Ok(())
}

fn json(run: &Run<'_>, machine: &Value) -> Value {
    let cases: Map<_, _> = run
        .measured
        .0
        .iter()
        .map(|outcome| (outcome.case.name.to_owned(), case(run.measured, outcome)))
        .collect();
    let Settings { seconds, rounds, accounts, .. } = run.settings;
    json!({
        "machine": machine,
        "settings": {"seconds": seconds, "rounds": rounds, "accounts": accounts},
        "cases": cases,
        "memory_mb": run.memory.map(|memory| json!({
            "envoy_rss_after_accounts": rounded(memory.first_rss),
            "envoy_rss_after_other_accounts": rounded(memory.second_rss),
            "envoy_rss_without_filter": rounded(memory.bare_rss),
            "worker_vm_linear_memory": rounded(memory.vm),
        })),
        "bars": run.bars.bars(),
        "aims": run.bars.aims(),
        "notes": run.notes,
    })
}

fn case(measured: Measured<'_>, outcome: &Outcome) -> Value {
    let name = outcome.case.name;
    let median = |of: fn(&Sample) -> f64| rounded(outcome.median(of));
    let to_bare = |of: fn(&Sample) -> f64| measured.to_bare(name, of).map(rounded);
    json!({
        "label": outcome.case.label,
        "bare": outcome.case.bare,
        "cpu_us_per_request": median(|s| s.cpu_us),
        "cpu_to_bare": to_bare(|s| s.cpu_us),
        "cpu_spread": rounded(outcome.spread(|s| s.cpu_us)),
        "added_cpu_us": measured.added_us(name).map(rounded),
        "companion_cpu_us_per_request": median(|s| s.companion_us),
        "requests_per_s": outcome.median(|s| s.requests_per_s).round(),
        "requests_per_s_to_bare": to_bare(|s| s.requests_per_s),
        "requests_per_s_spread": rounded(outcome.spread(|s| s.requests_per_s)),
        "p50_ms": median(|s| s.p50_ms),
        "p50_to_bare": to_bare(|s| s.p50_ms),
        "p99_ms": median(|s| s.p99_ms),
        "p99_to_bare": to_bare(|s| s.p99_ms),
    })
}

/// The generated part of the README.
fn section(run: &Run<'_>, machine: &Value) -> Result<String> {
    let mut text = String::from("\n![CPU per request](fast-path.svg)\n\n");
    let Settings { seconds, rounds, accounts, .. } = run.settings;
    writeln!(
        text,
        "Medians of {rounds} interleaved rounds of {seconds} s; {} cores of {}, Linux {}. \"All \
         accounts\" are {accounts}. × is the ratio to the bare route of the same server.\n",
        machine["cores"],
        machine["cpu"].as_str().unwrap_or_default(),
        machine["kernel"].as_str().unwrap_or_default(),
    )?;
    text.push_str(
        "| case | CPU µs/request | × | added µs | ± | requests/s | × | p50 ms | × | p99 ms | × |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for outcome in run.measured.0 {
        let name = outcome.case.name;
        let ratio = |of: fn(&Sample) -> f64| run.measured.to_bare(name, of).unwrap_or(f64::NAN);
        writeln!(
            text,
            "| {} | {:.1} | {:.2} | {:.1} | {:.0} % | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | \
             {:.2} |",
            outcome.case.label,
            outcome.median(|s| s.cpu_us),
            ratio(|s| s.cpu_us),
            run.measured.added_us(name).unwrap_or(f64::NAN),
            outcome.spread(|s| s.cpu_us) * 100.0,
            outcome.median(|s| s.requests_per_s),
            ratio(|s| s.requests_per_s),
            outcome.median(|s| s.p50_ms),
            ratio(|s| s.p50_ms),
            outcome.median(|s| s.p99_ms),
            ratio(|s| s.p99_ms),
        )?;
    }
    text.push_str(&table(run.bars)?);
    for note in run.notes {
        writeln!(text, "- {note}")?;
    }
    Ok(text)
}

/// The bars and aims of a run.
pub(crate) fn table(bars: &Bars) -> Result<String> {
    let mut text = String::from("\n| bar | value | limit | aim | |\n|---|---|---|---|---|\n");
    for (name, bar) in bars.bars() {
        let value = bar["value"].as_f64().map_or("missing".to_owned(), |v| format!("{v:.3}"));
        let aim = bars.aims().get(name).map_or(String::new(), |aim| aim["limit"].to_string());
        let (relation, verdict) = (bar["relation"].as_str().unwrap_or_default(), bar["ok"] == true);
        let verdict = if verdict { "ok" } else { "short" };
        writeln!(text, "| `{name}` | {value} | {relation} {} | {aim} | {verdict} |", bar["limit"])?;
    }
    text.push('\n');
    Ok(text)
}

/// The text with another section between these marks.
pub(crate) fn replace_section(
    text: &str,
    (begin, end): (&str, &str),
    section: &str,
) -> Result<String> {
    let parts = text.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or("expected the marks of make bench in bench/README.md")?;
    Ok(format!("{before}{begin}{section}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        let new = replace_section(&text, (BEGIN, END), "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}new\n{END}b\n"));
        assert!(replace_section("no marks", (BEGIN, END), "new\n").is_err());
    }
}
