//! `make bench` and `make accuracy`: what a paid request costs, and whether every answer is
//! charged.
//!
//! `fast-path` measures all cases in one run: pinned cores, interleaved rounds, CPU per request
//! beside rate and latency, each as a ratio to its bare route. `accuracy` lets clients count what
//! they get and compares with the ledger. `stream` compares a metered stream with one that no
//! filter sees. All print one line per bar and end with 1 if one is short.

#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing, reason = "only of JSON values, whose absent members are null")]

mod accuracy;
mod authz;
mod bars;
mod cases;
mod client;
mod envoy;
mod fast_path;
mod filter;
mod ledger;
mod load;
mod machine;
mod memory;
mod peers;
mod report;
mod rounds;
mod settings;
mod stream;
mod svg;
mod token;
mod verdict;
mod workshop;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser;

use settings::Settings;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Measures Tollway.
#[derive(Debug, Parser)]
enum Command {
    /// CPU, rate and latency of a request, beside Envoy's own filters and the peers.
    FastPath,
    /// A metered stream of events: time to the first byte, and memory.
    Stream,
    /// Answers that clients counted against charges in the ledger, with and without kills.
    Accuracy,
    /// The service that Envoy's ext_authz asks in the benchmark: it always agrees.
    #[command(hide = true)]
    Authz {
        /// Where it listens.
        port: u16,
    },
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("The benchmark failed: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    let mut runtime = match command {
        Command::Authz { .. } => tokio::runtime::Builder::new_current_thread(),
        Command::FastPath | Command::Stream | Command::Accuracy => {
            tokio::runtime::Builder::new_multi_thread()
        }
    };
    let runtime = runtime.enable_all().build()?;
    let settings = Settings::from_env()?;
    runtime.block_on(async {
        match *command {
            Command::FastPath => fast_path::run(&settings).await,
            Command::Stream => stream::run().await,
            Command::Accuracy => accuracy::run(&settings).await,
            Command::Authz { port } => authz::serve(port).await,
        }
    })
}
