//! The `tollway` command: fetches what must be paid for, narrows and explains tokens, tells prices.

#![forbid(unsafe_code)]

mod cli;

use clap::Parser;
use reqwest::Method;

use cli::{Cli, Command};

#[tokio::main]
async fn main() -> std::process::ExitCode {
    let exit = match Cli::parse().command {
        Command::Get(args) => cli::fetch::run(Method::GET, args).await,
        Command::Post(args) => cli::fetch::run(Method::POST, args).await,
        Command::Put(args) => cli::fetch::run(Method::PUT, args).await,
        Command::Delete(args) => cli::fetch::run(Method::DELETE, args).await,
        Command::Head(args) => cli::fetch::run(Method::HEAD, args).await,
        Command::Balance(args) => cli::account::balance(args).await,
        Command::Topup(args) => cli::account::topup(args).await,
        Command::History(args) => cli::account::history(&args),
        Command::Wallet(command) => cli::wallets::run(command).await,
        Command::Attenuate(args) => cli::attenuate::run(*args),
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Price(args) => cli::price::run(&args).await,
        Command::DescribePrices(args) => cli::describe::run(&args),
        Command::LintConfig(args) => cli::lint::run(&args),
        Command::Completions { shell } => cli::completions(shell),
        Command::Man => cli::man(),
    };
    exit.into()
}
