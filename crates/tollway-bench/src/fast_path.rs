//! `make bench`: one run from the first process to the table.

use std::process::ExitCode;

use crate::Result;
use crate::cases::Fleet;
use crate::ledger::Ledger;
use crate::memory;
use crate::peers::Peers;
use crate::report::{self, Run};
use crate::rounds;
use crate::settings::Settings;
use crate::verdict::{self, Measured};
use crate::workshop::Workshop;

/// Measures, judges and writes.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode> {
    let workshop = Workshop::open()?;
    let mut notes = Vec::new();
    let ledger = Ledger::start(&workshop).await?;
    let fleet = Fleet::start(&workshop, settings, &ledger).await?;
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
