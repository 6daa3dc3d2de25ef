//! The `tollwayd` binary; `tollwayd --help` says what it does.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Memory comes from one thread and goes back from another, in batches: glibc's allocator keeps
/// too little at hand for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    tollwayd::cli::run()
}
