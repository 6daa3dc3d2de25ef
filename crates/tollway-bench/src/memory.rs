//! What Envoy keeps of accounts that have come and gone.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Result;
use crate::cases::Fleet;
use crate::envoy::{self, Envoy, Plan};
use crate::filter::{self, Spend, TARGET};
use crate::ledger::{self, Ledger};
use crate::load::{self, Traffic};
use crate::machine;
use crate::settings::Settings;
use crate::workshop::{LOAD_CORE, SERVER_CORE, Workshop};

/// How long leases may take to end once nobody asks.
const PATIENCE: Duration = Duration::from_secs(180);
const CREDIT_MSAT: u64 = 1_000_000_000;

/// What was measured, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Of Envoy, after the first accounts.
    pub(crate) first_rss: f64,
    /// Of Envoy, after as many others.
    pub(crate) second_rss: f64,
    /// Of the worker's VM: its linear memory.
    pub(crate) vm: f64,
    /// Of an Envoy without a filter that has served as well.
    pub(crate) bare_rss: f64,
}

/// One Envoy with one worker, all accounts once, then as many others once.
pub(crate) async fn measure(
    workshop: &Workshop,
    settings: &Settings,
    ledger: &Ledger,
    fleet: &Fleet,
) -> Result<Memory> {
    let config = filter::config(Spend::Leased, 1);
    let plan = Plan {
        place: "memory",
        filter: Some(envoy::wasm(&workshop.parts.wasm, Some(&config))),
        calls: vec![("tollwayd", ledger.gate_port)],
        upstream: None,
        workers: 1,
        cores: SERVER_CORE,
    };
    let mut envoy = Envoy::start(workshop, plan)?;
    let url = format!("{}{TARGET}", envoy.url);
    workshop.ready(&mut envoy.process, &url, None, 402, 1).await?;
    let mut rss = [0.0; 2];
    // Other Envoys have leases too.
    let others = holds_open(ledger).await?;
    for (turn, rss) in rss.iter_mut().enumerate() {
        println!("buying {} accounts for the memory's turn {}", settings.accounts, turn + 1);
        let accounts = ledger.doors.buy(settings.accounts, CREDIT_MSAT).await?;
        let file = ledger::list(workshop, "memory.txt", &accounts)?;
        use_all(workshop, &url, &file, settings.accounts)?;
        at_rest(ledger, others).await?;
        *rss = machine::rss_mb(envoy.process.pid())?;
    }
    let [first_rss, second_rss] = rss;
    let vm = machine::wasm_memory_mb(envoy.process.pid())?;
    Ok(Memory { first_rss, second_rss, vm, bare_rss: machine::rss_mb(fleet.bare)? })
}

/// Load that has used every account of the file.
fn use_all(workshop: &Workshop, url: &str, file: &Path, accounts: usize) -> Result<()> {
    let traffic = Traffic::InTurns(file.to_owned());
    let mut seconds = 2;
    loop {
        let seen = load::run(workshop, url, &traffic, LOAD_CORE, seconds)?;
        if seen.requests == 0.0 || seen.status_errors > 0.0 || seen.socket_errors > 0.0 {
            return Err(format!("{url}: an account was refused: {seen:?}").into());
        }
        if seen.requests >= accounts as f64 {
            return Ok(());
        }
        // Each run begins with the first account again, so one has to be long enough.
        seconds = (1.5 * accounts as f64 * seconds as f64 / seen.requests).ceil() as u64;
    }
}

/// Waits until no more holds are open than these: all leases of this Envoy have ended.
async fn at_rest(ledger: &Ledger, others: u64) -> Result<()> {
    let begun = Instant::now();
    loop {
        let open = holds_open(ledger).await?;
        if open <= others {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("{open} leases do not end; {others} were there before").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn holds_open(ledger: &Ledger) -> Result<u64> {
    let stats = ledger.doors.admin("stats").await?;
    Ok(stats["holds_open"].as_u64().ok_or("expected holds_open in the statistics")?)
}
