//! The command line.

mod admin;
mod lightning;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, RunningServer};
use crate::backup::backup;
use crate::clock::SystemClock;
use crate::config::{Config, ConfigError, LightningConfig, RawConfig, Store};
use crate::ledger::{self, AuditReport};
use crate::telemetry;

/// An audit found differences, or the node is not as it should be.
const EXIT_DIFFERENCES: u8 = 1;
/// The configuration is not usable (EX_USAGE).
const EXIT_CONFIG: u8 = 64;
/// The service or the store failed (EX_SOFTWARE).
const EXIT_FAILED: u8 = 70;

/// Tollway's companion service: Lightning invoices and the ledger of prepaid credit.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 fine, 1 the audit found differences or the node faults, 64 the configuration is \
                  not usable, 70 the service or its store failed."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT
    Serve(ConfigArg),
    /// Check a configuration and print what it means, without secrets
    CheckConfig(ConfigArg),
    /// Ask the Lightning node for an invoice, look it up, and say what is missing or too much
    CheckLightning(ConfigArg),
    /// Recompute every balance from its entries and print each difference
    Audit(AuditArgs),
    /// Look up and act on a running server's ledger; every act goes into its audit log
    Admin(admin::AdminArgs),
    /// Copy the ledger of a running or stopped tollwayd, at one moment, into a new file
    Backup(BackupArgs),
}

#[derive(Debug, Args)]
struct ConfigArg {
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct AuditArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct BackupArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// The copy; it must not exist yet
    file: PathBuf,
}

/// Why a command failed; becomes the exit code and one line on standard error.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("the configuration is not usable: {0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Failed(String),
}

/// Runs the command line of this process.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to do if even the terminal is gone.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_CONFIG } else { 0 });
        }
    };
    let result = match cli.command {
        Command::Serve(args) => serve(&args.config),
        Command::CheckConfig(args) => check_config(&args.config),
        Command::CheckLightning(args) => lightning::run(&args.config),
        Command::Audit(args) => run_audit(&args),
        Command::Admin(args) => admin::run(&args),
        Command::Backup(args) => run_backup(&args),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "tollwayd: {error}");
        ExitCode::from(match error {
            CliError::Config(_) => EXIT_CONFIG,
            CliError::Failed(_) => EXIT_FAILED,
        })
    })
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn load(path: &Path) -> Result<Config, ConfigError> {
    RawConfig::load(path)?.resolve(&environment)
}

fn check_config(path: &Path) -> Result<ExitCode, CliError> {
    let config = load(path)?;
    let asked = if config.price_webhook.is_some() { "(set)" } else { "(none)" };
    let Config { gate, admin, store, lightning, challenges, legacy_keys, .. } = config;
    let Config { rates, x402, webhooks, payouts, log, .. } = config;
    let webhooks: Vec<&str> = webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
    let LightningConfig { nodes, network, invoice_expiry_s, .. } = lightning;
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    print(&format!(
        "ok: {}\n  gate.listen                {}\n  gate.token                 (set)\n  \
         admin.listen               {}\n  admin.token                (set)\n  \
         store                      {}\n  lightning.backend          {}\n  \
         lightning.network          {}\n  \
         lightning.invoice_expiry_s {invoice_expiry_s}\n  \
         challenges                 {}/min, burst {}, open {} per client; {}/s in all\n  \
         legacy_keys                {}\n  rates                      {}\n  \
         price_webhook              {asked}\n  \
         x402                       {}\n  \
         webhooks                   {}\n  splits                     {}\n  \
         log                        {}, {}\n",
        path.display(),
        gate.listen,
        admin.listen,
        store,
        nodes.join("; "),
        word(network),
        challenges.per_client_per_minute,
        challenges.per_client_burst,
        challenges.open_per_client,
        challenges.all_per_second,
        legacy_keys.len(),
        rates,
        x402.map_or_else(|| "(none)".to_owned(), |x402| x402.to_string()),
        if webhooks.is_empty() { "(none)".to_owned() } else { webhooks.join(", ") },
        payouts.map_or("(none)".to_owned(), |it| {
            let names: Vec<&str> = it.splits.iter().map(|split| split.name.as_str()).collect();
            format!("{}, from {}", names.join(", "), it.wallet)
        }),
        word(log.format),
        word(log.level),
    ))
}

/// A choice as the configuration spells it.
fn word(choice: impl std::fmt::Debug) -> String {
    format!("{choice:?}").to_lowercase()
}

fn run_audit(args: &AuditArgs) -> Result<ExitCode, CliError> {
    let store = RawConfig::load(&args.config.config)?.resolve_store(&environment)?;
    let report = runtime()?
        .block_on(ledger::audit(&store))
        .map_err(|error| CliError::Failed(error.to_string()))?;
    let text = if args.json {
        serde_json::to_string(&report).map_err(|error| CliError::Failed(error.to_string()))? + "\n"
    } else {
        text_of(&report)
    };
    print(&text)?;
    Ok(ExitCode::from(if report.differences.is_empty() { 0 } else { EXIT_DIFFERENCES }))
}

fn run_backup(args: &BackupArgs) -> Result<ExitCode, CliError> {
    let path = match RawConfig::load(&args.config.config)?.resolve_store(&environment)? {
        Store::Sqlite(path) => path,
        Store::Postgres(_) => {
            let words = "store.postgres: expected a file, but found a database; use pg_dump";
            return Err(CliError::Failed(words.to_owned()));
        }
    };
    let bytes = backup(&path, &args.file).map_err(|error| CliError::Failed(error.to_string()))?;
    print(&format!("backup: {bytes} bytes in {}\n", args.file.display()))
}

fn text_of(report: &AuditReport) -> String {
    let mut text = String::new();
    for difference in &report.differences {
        text += &format!("{difference}\n");
    }
    let AuditReport { accounts, entries, differences } = report;
    text + &format!(
        "audit: {accounts} accounts, {entries} entries, {} differences\n",
        differences.len()
    )
}

fn print(text: &str) -> Result<ExitCode, CliError> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| CliError::Failed(format!("cannot write to standard output: {error}")))?;
    Ok(ExitCode::SUCCESS)
}

fn serve(path: &Path) -> Result<ExitCode, CliError> {
    let config = load(path)?;
    telemetry::init(config.log);
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    runtime()?.block_on(async {
        let server =
            App::start(config, Arc::new(SystemClock)).await.map_err(|error| failed(&error))?;
        run_until_stopped(server).await.map_err(|error| failed(&error))
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Failed(error.to_string()))
}

async fn run_until_stopped(mut server: RunningServer) -> std::io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
        _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
        () = server.failed() => tracing::error!("the ledger's writer has died: stopping"),
    }
    server.shutdown().await?;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn no_command_has_two_arguments_of_a_name() {
        Cli::command().debug_assert();
    }
}
