//! `tollway attenuate`.

use std::hash::{BuildHasher, RandomState};

use clap::Args;
use tollway_client::attenuate::{Limits, attenuate};
use tollway_core::budget::Budget;
use tollway_core::caveat::is_service_name;
use tollway_core::money::Msat;

use super::Exit;
use super::inspect::{now_s, read};

#[derive(Args, Debug)]
pub(crate) struct AttenuateArgs {
    /// A credential (`L402 <macaroon>:<preimage>`) or a macaroon. `-` or nothing reads standard
    /// input, which keeps a credential out of the shell's history.
    token: Vec<String>,
    /// The most that one request may cost, in sats, or with the unit `msat`.
    #[arg(long, value_name = "SATS", value_parser = amount)]
    max_cost: Option<Msat>,
    /// What it may spend in all, as AMOUNT/WINDOW: the amount in sats, or with the unit `msat`;
    /// the window one of `hour`, `day`, `month` (UTC), `total`, or a number of seconds like
    /// `600s`. What it spends also counts against the budgets that the token has already.
    #[arg(long, value_name = "SATS/WINDOW")]
    budget: Option<String>,
    /// Keeps the budgets of two tokens apart that are else narrowed in the same way. Without it
    /// a random name.
    #[arg(long, requires = "budget", value_parser = name)]
    name: Option<String>,
    /// How long from now it may be used: a number with s, m, h or d.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    expires: Option<u64>,
    /// The only path it may be used for.
    #[arg(long, value_name = "PATH")]
    endpoint: Option<String>,
    /// The only method it may be used with.
    #[arg(long)]
    method: Option<String>,
    /// The only client address it may be used from.
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<String>,
}

pub(crate) fn run(args: AttenuateArgs) -> Exit {
    let text = match read(&args.token) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("tollway: standard input cannot be read: {error}");
            return Exit::Internal;
        }
    };
    let budget = match args.budget.map(|text| budget(&text, args.name)).transpose() {
        Ok(budget) => budget,
        Err(problem) => {
            eprintln!("tollway: --budget: {problem}");
            return Exit::Usage;
        }
    };
    let limits = Limits {
        max_cost: args.max_cost,
        budget,
        expires_at: args.expires.map(|seconds| now_s().saturating_add(seconds)),
        endpoint: args.endpoint,
        method: args.method,
        ip: args.ip,
    };
    match attenuate(&text, &limits) {
        Ok(credential) => {
            println!("{credential}");
            Exit::Done
        }
        Err(error) => {
            eprintln!("tollway: {error}");
            Exit::Untrusted
        }
    }
}

fn amount(text: &str) -> Result<Msat, String> {
    let problem = || "expected a number of sats, or of msat like 500msat".to_owned();
    let (digits, read): (_, fn(u64) -> Option<Msat>) = match text.strip_suffix("msat") {
        Some(digits) => (digits, Msat::new),
        None => (text, Msat::from_sats),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem());
    }
    digits.parse().ok().and_then(read).ok_or_else(problem)
}

fn budget(text: &str, name: Option<String>) -> Result<Budget, String> {
    let (limit, window) =
        text.split_once('/').ok_or("expected AMOUNT/WINDOW, like 100/day, but found no slash")?;
    Ok(Budget {
        limit: amount(limit)?,
        window: window.parse().map_err(|error| format!("{error}"))?,
        name: Some(name.unwrap_or_else(random_name)),
    })
}

/// A name that no other token is likely to have; nothing is secret about it.
fn random_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(()))
}

fn name(text: &str) -> Result<String, String> {
    if is_service_name(text) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 of a-z, 0-9, _ and -".to_owned())
}

fn seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let read = units.iter().find_map(|(unit, seconds)| {
        let digits = text.strip_suffix(unit)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()?.checked_mul(*seconds)).flatten()
    });
    read.filter(|seconds| *seconds > 0)
        .ok_or_else(|| "expected a time like 90s, 30m, 1h or 7d".to_owned())
}
