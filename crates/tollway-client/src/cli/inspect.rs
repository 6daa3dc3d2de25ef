//! `tollway inspect`.

use std::io::{self, IsTerminal, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use tollway_client::inspect::Inspection;

use super::Exit;

/// More than any header a server takes.
const INPUT_BYTES_MAX: u64 = 256 * 1024;

#[derive(Args, Debug)]
pub(crate) struct InspectArgs {
    /// A macaroon (base64, URL-safe base64 or hexadecimal digits), `L402 <macaroon>:<preimage>`,
    /// or a whole WWW-Authenticate value. `-` or nothing reads standard input, which keeps a
    /// credential out of the shell's history.
    token: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &InspectArgs) -> Exit {
    let text = match read(&args.token) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("tollway: standard input cannot be read: {error}");
            return Exit::Internal;
        }
    };
    let inspection = match Inspection::read(&text, now_s()) {
        Ok(inspection) => inspection,
        Err(error) => {
            eprintln!("tollway: {error}");
            return Exit::Untrusted;
        }
    };
    match print(&inspection, args.json) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Internal,
    }
}

/// The token that was named, or standard input.
pub(super) fn read(token: &[String]) -> io::Result<String> {
    match token {
        // Without quotes, the shell hands "L402" and the credential over as two words.
        [first, ..] if first != "-" => Ok(token.join(" ")),
        _ => {
            let mut text = String::new();
            if io::stdin().is_terminal() {
                eprintln!("tollway: paste a token, then press Enter and Ctrl-D");
            }
            io::stdin().lock().take(INPUT_BYTES_MAX).read_to_string(&mut text)?;
            Ok(text)
        }
    }
}

fn print(inspection: &Inspection, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, inspection)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{inspection}")?;
    }
    out.flush()
}

#[expect(clippy::disallowed_methods, reason = "this is where the command's clock comes from")]
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
