//! `tollway lint-config`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use tollway_lint::{Report, lint};

use super::Exit;

#[derive(Args, Debug)]
pub(crate) struct LintArgs {
    /// What to judge.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fail for warnings too.
    #[arg(long)]
    strict: bool,
}

pub(crate) fn run(args: &LintArgs) -> Exit {
    let mut exit = Exit::Done;
    for file in &args.files {
        let report = match read(file) {
            Ok(report) => report,
            Err(problem) => {
                eprintln!("tollway: {}: {problem}", file.display());
                exit = Exit::Config;
                continue;
            }
        };
        if report.has_errors() || (args.strict && !report.findings.is_empty()) {
            exit = Exit::Config;
        }
        if print(file, &report).is_err() {
            return Exit::Internal;
        }
    }
    exit
}

fn read(file: &Path) -> Result<Report, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    lint(&text).map_err(|error| error.to_string())
}

fn print(file: &Path, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in &report.findings {
        writeln!(out, "{}: {finding}", file.display())?;
    }
    if report.findings.is_empty() {
        writeln!(out, "{}: ok", file.display())?;
    }
    out.flush()
}
