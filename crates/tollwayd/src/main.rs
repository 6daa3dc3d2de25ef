//! The `tollwayd` binary; `tollwayd --help` says what it does.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    tollwayd::cli::run()
}
