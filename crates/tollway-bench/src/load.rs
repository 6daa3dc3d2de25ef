//! wrk on a core of its own.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::Result;
use crate::workshop::Workshop;

/// Connections, all of them kept alive.
pub(crate) const CONNECTIONS: u32 = 64;

/// What the requests carry.
#[derive(Clone, Debug)]
pub(crate) enum Traffic {
    /// The same `Authorization` value in every request, or none.
    Fixed(Option<String>),
    /// The lines of a file, drawn at random.
    Random(PathBuf),
    /// The lines of a file, one after the other.
    InTurns(PathBuf),
}

/// What wrk saw.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Seen {
    pub(crate) duration_us: f64,
    pub(crate) requests: f64,
    /// Answers of 400 and above.
    pub(crate) status_errors: f64,
    pub(crate) socket_errors: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// As many requests as fit into so many seconds.
pub(crate) fn run(
    workshop: &Workshop,
    url: &str,
    traffic: &Traffic,
    cores: &str,
    seconds: u64,
) -> Result<Seen> {
    let mut command = Command::new("taskset");
    command.args(["-c", cores, "wrk", "-t1", &format!("-c{CONNECTIONS}"), "--timeout", "20s"]);
    command.arg(format!("-d{seconds}s"));
    let rotation = match traffic {
        Traffic::Fixed(None) => None,
        Traffic::Fixed(Some(value)) => {
            command.args(["-H", &format!("authorization: {value}")]);
            None
        }
        Traffic::Random(file) => Some((file, "random")),
        Traffic::InTurns(file) => Some((file, "sequential")),
    };
    match rotation {
        None => command.arg("-s").arg(workshop.bench("wrk/done.lua")).arg(url),
        Some((file, order)) => {
            command.arg("-s").arg(workshop.bench("wrk/rotate.lua")).arg(url);
            command.arg("--").arg(file).arg(order)
        }
    };
    let output = command.output().map_err(|error| format!("run wrk: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let Some(line) = line.filter(|_| output.status.success()) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(format!("wrk on {url}: {}{text}{complaint}", output.status).into());
    };
    Ok(serde_json::from_str(line)?)
}
