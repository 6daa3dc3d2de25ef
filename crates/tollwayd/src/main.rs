//! The `tollwayd` binary; `tollwayd --help` says what it does.

use std::process::ExitCode;

fn main() -> ExitCode {
    tollwayd::cli::run()
}
