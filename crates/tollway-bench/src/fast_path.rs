//! `make bench`: one run from the first process to the table.

use std::process::ExitCode;

use crate::Result;
use crate::cases::Fleet;
use crate::ledger::Ledger;
use crate::memory;
use crate::peers::Peers;
use crate::report::{self, Run};
use crate::rounds::{self, Case};
use crate::settings::{self, Settings};
use crate::verdict::{self, Measured};
use crate::workshop::Workshop;

/// Measures, judges and writes.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode> {
    let workshop = Workshop::open()?;
    let mut notes = Vec::new();
    let ledger = Ledger::start(&workshop).await?;
    let fleet = Fleet::start(&workshop, settings, &ledger).await?;
    if let Some(names) = settings::only_cases() {
        compare(&workshop, settings, &fleet, &names)?;
        return Ok(ExitCode::SUCCESS);
    }
    let peers = Peers::start(&workshop).await;
    let main = fleet.main.iter().chain(&peers.cases).cloned().collect();
    let mut outcomes = rounds::measure(&workshop, settings, main)?;
    outcomes.extend(rounds::measure(&workshop, settings, fleet.accounts.clone())?);
    let memory = match memory::measure(&workshop, settings, &ledger, &fleet).await {
        Ok(memory) => Some(memory),
        Err(reason) => {
            notes.push(format!("memory: {reason}"));
            None
        }
    };
    notes.extend(peers.missing.iter().cloned());
    for note in &notes {
        println!("note {note}");
    }
    let measured = Measured(&outcomes);
    let bars = verdict::judge(measured, memory);
    report::write(&workshop, &Run { settings, measured, memory, bars: &bars, notes: &notes })?;
    Ok(ExitCode::from(u8::from(bars.short())))
}

/// Prints how these cases compare; judges and writes nothing.
fn compare(
    workshop: &Workshop,
    settings: &Settings,
    fleet: &Fleet,
    names: &[String],
) -> Result<()> {
    let asked = |case: &&Case| names.iter().any(|name| name == case.name);
    let all = || fleet.main.iter().chain(&fleet.accounts);
    let cases: Vec<_> = all().filter(asked).cloned().collect();
    if cases.len() < names.len() {
        let known: Vec<_> = all().map(|case| case.name).collect();
        return Err(format!("expected cases among {known:?}, but found {names:?}").into());
    }
    for outcome in rounds::measure(workshop, settings, cases)? {
        println!(
            "median {}: {:.1} us, {:.1} us of its companion, {:.0} requests/s, p50 {:.2} ms",
            outcome.case.name,
            outcome.median(|sample| sample.cpu_us),
            outcome.median(|sample| sample.companion_us),
            outcome.median(|sample| sample.requests_per_s),
            outcome.median(|sample| sample.p50_ms),
        );
    }
    Ok(())
}
