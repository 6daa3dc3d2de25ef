//! How long and how large a run is.

use std::env;
use std::str::FromStr;

use crate::Result;

/// What the environment may change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Seconds of one measured slice; `TOLLWAY_BENCH_SECONDS`.
    pub(crate) seconds: u64,
    /// Slices of every case; `TOLLWAY_BENCH_ROUNDS`.
    pub(crate) rounds: usize,
    /// Accounts of the largest sweep; `TOLLWAY_BENCH_ACCOUNTS`.
    pub(crate) accounts: usize,
    /// Seconds of each campaign of `make accuracy`; `TOLLWAY_BENCH_CAMPAIGN_SECONDS`.
    pub(crate) campaign_seconds: u64,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self> {
        let settings = Self {
            seconds: number("TOLLWAY_BENCH_SECONDS", 5)?,
            rounds: number("TOLLWAY_BENCH_ROUNDS", 5)?,
            accounts: number("TOLLWAY_BENCH_ACCOUNTS", 100_000)?,
            campaign_seconds: number("TOLLWAY_BENCH_CAMPAIGN_SECONDS", 60)?,
        };
        if settings.seconds == 0 || settings.rounds == 0 || settings.accounts == 0 {
            return Err("expected TOLLWAY_BENCH_* above zero".into());
        }
        Ok(settings)
    }
}

/// `TOLLWAY_BENCH_CASES`: the names of the only cases to measure, with commas between them.
pub(crate) fn only_cases() -> Option<Vec<String>> {
    let names = env::var("TOLLWAY_BENCH_CASES").ok()?;
    Some(names.split(',').map(|name| name.trim().to_owned()).collect())
}

fn number<T: FromStr>(name: &str, default: T) -> Result<T> {
    match env::var(name) {
        Err(_) => Ok(default),
        Ok(text) => match text.parse() {
            Ok(number) => Ok(number),
            Err(_) => Err(format!("expected a number in {name}, but found {text:?}").into()),
        },
    }
}
