//! `tollwayd admin export`: whole tables, written as they come.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::super::CliError;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Which table
    #[arg(long)]
    what: What,
    /// CSV for a spreadsheet, in which no cell is a formula; or one JSON object per line
    #[arg(long, default_value = "json")]
    format: Format,
    /// Only what belongs to this account: any payment hash that pays into it
    #[arg(long, value_name = "PAYMENT_HASH")]
    account: Option<String>,
    /// Only what is not older: Unix time in ms
    #[arg(long, value_name = "MS")]
    since: Option<u64>,
    /// Only what is older: Unix time in ms
    #[arg(long, value_name = "MS")]
    until: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Accounts,
    Entries,
    Invoices,
    Holds,
    Postings,
    /// What operators did
    Audit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Csv,
    Json,
}

impl ExportArgs {
    /// Below `/admin/v1/`.
    pub(super) fn path(&self) -> String {
        let Self { what, format, account, since, until } = self;
        let format = match format {
            Format::Csv => "csv",
            Format::Json => "jsonl",
        };
        let mut path = format!("export/{what:?}?format={format}").to_lowercase();
        if let Some(account) = account {
            path += &format!("&account={account}");
        }
        for (name, moment) in [("since_ms", since), ("until_ms", until)] {
            if let Some(moment) = moment {
                path += &format!("&{name}={moment}");
            }
        }
        path
    }
}

/// Passes the answer on, piece by piece.
pub(super) async fn run(wanted: &ExportArgs, url: &str, token: &str) -> Result<ExitCode, CliError> {
    let mut response = super::answer(url, token, super::get(wanted.path())).await?;
    let mut out = std::io::stdout().lock();
    let stuck = |error| CliError::Failed(format!("cannot write to standard output: {error}"));
    loop {
        let piece = response.chunk().await.map_err(|error| {
            CliError::Failed(format!("the export broke off, what is written is a part: {error}"))
        })?;
        let Some(piece) = piece else { break };
        out.write_all(&piece).map_err(stuck)?;
    }
    out.flush().map_err(stuck)?;
    Ok(ExitCode::SUCCESS)
}
