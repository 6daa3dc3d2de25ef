//! The `tollway` command: fetches what must be paid for, narrows and explains tokens, tells prices.

#![forbid(unsafe_code)]

mod cli;

use clap::Parser;

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let exit = match cli::Cli::parse().command {
        cli::Command::Get(args) => cli::get::run(args).await,
        cli::Command::Attenuate(args) => cli::attenuate::run(*args),
        cli::Command::Inspect(args) => cli::inspect::run(&args),
        cli::Command::Price(args) => cli::price::run(&args).await,
        cli::Command::DescribePrices(args) => cli::describe::run(&args),
        cli::Command::LintConfig(args) => cli::lint::run(&args),
    };
    exit.into()
}
