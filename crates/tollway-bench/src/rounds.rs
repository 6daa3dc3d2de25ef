//! Cases measured in turns.

use crate::Result;
use crate::load::{self, Traffic};
use crate::machine;
use crate::settings::Settings;
use crate::workshop::Workshop;

/// Seconds of load before each measured slice.
const WARM_UP_SECONDS: u64 = 1;

/// One thing that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The case without what this one adds.
    pub(crate) bare: &'static str,
    pub(crate) url: String,
    pub(crate) traffic: Traffic,
    /// Whether every answer is an error (a challenge) instead of a success.
    pub(crate) refused: bool,
    /// The process whose time is counted.
    pub(crate) server: u32,
    /// The process that it asks.
    pub(crate) companion: Option<u32>,
    pub(crate) load_cores: &'static str,
    /// So many requests come before the first slice.
    pub(crate) warm_up_requests: f64,
}

/// One slice of one case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Of the server, per request.
    pub(crate) cpu_us: f64,
    /// Of its companion, per request.
    pub(crate) companion_us: f64,
    pub(crate) requests_per_s: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// A case and what came out.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    pub(crate) samples: Vec<Sample>,
}

impl Outcome {
    /// The median of all slices.
    pub(crate) fn median(&self, of: fn(&Sample) -> f64) -> f64 {
        let mut values: Vec<_> = self.samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = values.get(middle).copied().unwrap_or(f64::NAN);
        if values.len() % 2 == 1 {
            return upper;
        }
        let lower = middle.checked_sub(1).and_then(|at| values.get(at));
        (lower.copied().unwrap_or(f64::NAN) + upper) / 2.0
    }

    /// How far the slices lie apart, as a part of the median.
    pub(crate) fn spread(&self, of: fn(&Sample) -> f64) -> f64 {
        let values = || self.samples.iter().map(of);
        let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        (high - low) / self.median(of)
    }
}

/// Every case once a round, forwards and backwards in turns.
pub(crate) fn measure(
    workshop: &Workshop,
    settings: &Settings,
    cases: Vec<Case>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<_> =
        cases.into_iter().map(|case| Outcome { case, samples: Vec::new() }).collect();
    for outcome in &outcomes {
        let mut done = 0.0;
        while done < outcome.case.warm_up_requests {
            done += slice(workshop, &outcome.case, settings.seconds)?.requests;
        }
    }
    for round in 1..=settings.rounds {
        outcomes.reverse();
        for outcome in &mut outcomes {
            let sample = sample(workshop, &outcome.case, settings.seconds)?;
            println!(
                "round {round} {}: {:.1} us, {:.0} requests/s",
                outcome.case.name, sample.cpu_us, sample.requests_per_s
            );
            outcome.samples.push(sample);
        }
    }
    if settings.rounds % 2 == 1 {
        outcomes.reverse();
    }
    Ok(outcomes)
}

fn sample(workshop: &Workshop, case: &Case, seconds: u64) -> Result<Sample> {
    slice(workshop, case, WARM_UP_SECONDS)?;
    let time = |pid: Option<u32>| pid.map_or(Ok(0.0), machine::cpu_us);
    let (server, companion) = (machine::cpu_us(case.server)?, time(case.companion)?);
    let seen = slice(workshop, case, seconds)?;
    Ok(Sample {
        cpu_us: (machine::cpu_us(case.server)? - server) / seen.requests,
        companion_us: (time(case.companion)? - companion) / seen.requests,
        requests_per_s: seen.requests / (seen.duration_us / 1e6),
        p50_ms: seen.p50_us / 1e3,
        p99_ms: seen.p99_us / 1e3,
    })
}

/// Load on one case; every answer has to be the one it is measured for.
fn slice(workshop: &Workshop, case: &Case, seconds: u64) -> Result<load::Seen> {
    let seen = load::run(workshop, &case.url, &case.traffic, case.load_cores, seconds)?;
    let refused = if case.refused { seen.requests } else { 0.0 };
    if seen.requests == 0.0 || seen.status_errors != refused || seen.socket_errors != 0.0 {
        return Err(format!("{}: answers that were not measured for: {seen:?}", case.name).into());
    }
    Ok(seen)
}
