//! Arguments and exit codes.

pub(crate) mod account;
pub(crate) mod attenuate;
pub(crate) mod describe;
pub(crate) mod fetch;
pub(crate) mod inspect;
pub(crate) mod lint;
pub(crate) mod options;
pub(crate) mod price;
mod progress;
mod report;
pub(crate) mod wallets;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for a request, the server answered with a 2xx status
  1  a fault of this machine: credentials cannot be kept, output cannot be written
  2  wrong usage
  3  too dear: the invoice asks for more than the budget has left; nothing was paid
  4  the payment failed: the wallet does not answer, or refused
  5  the server does not answer, or answered with another status than 2xx
  6  a challenge or token that cannot be read or trusted; nothing was paid
  7  a configuration that cannot be read, or in which lint-config finds what must be changed";

/// Fetches what must be paid for over Lightning (L402), and explains tokens.
///
/// Credentials that were bought are kept in tollway/credentials.json below $XDG_STATE_HOME or
/// ~/.local/state, wallets in tollway/wallets.json below $XDG_CONFIG_HOME or ~/.config; only
/// their owner can read these files. A call that was interrupted after it paid is taken up by the
/// next one.
#[derive(Debug, Parser)]
#[command(name = "tollway", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a URL, and pay for it if the server asks for it.
    ///
    /// The answer's body goes to standard output; one line about the money goes to standard
    /// error. A paid credential is kept and used again until the server asks for more.
    #[command(after_help = EXIT_CODES)]
    Get(fetch::FetchArgs),
    /// As get, with POST.
    #[command(after_help = EXIT_CODES)]
    Post(fetch::FetchArgs),
    /// As get, with PUT.
    #[command(after_help = EXIT_CODES)]
    Put(fetch::FetchArgs),
    /// As get, with DELETE.
    #[command(after_help = EXIT_CODES)]
    Delete(fetch::FetchArgs),
    /// As get, with HEAD; prints the headers.
    #[command(after_help = EXIT_CODES)]
    Head(fetch::FetchArgs),
    /// Show what the wallet can spend, and what is left of the credit that was bought.
    #[command(after_help = EXIT_CODES)]
    Balance(account::BalanceArgs),
    /// Buy more credit at the gateway of a URL, for the same account.
    #[command(after_help = EXIT_CODES)]
    Topup(account::TopupArgs),
    /// Show what was paid: the last 24 hours, and up to 1,000 payments before that.
    History(account::HistoryArgs),
    /// Add, check, list and remove the wallets that pay.
    #[command(subcommand, after_help = EXIT_CODES)]
    Wallet(wallets::WalletCommand),
    /// Narrow a token for somebody else: what it may spend, for how long, where.
    ///
    /// Works offline and prints a new credential; the old one stays as it is. The gate's ledger
    /// enforces the budget, whoever narrows the token further.
    #[command(after_help = EXIT_CODES)]
    Attenuate(Box<attenuate::AttenuateArgs>),
    /// Explain a macaroon, a credential or a challenge. Shows no preimage.
    #[command(after_help = EXIT_CODES)]
    Inspect(inspect::InspectArgs),
    /// Say what a request costs, and by which rule.
    ///
    /// With --config the filter's own code decides, here and now, on a configuration that need
    /// not run anywhere. Without it the gateway is asked, by a HEAD request, which costs nothing.
    #[command(after_help = EXIT_CODES)]
    Price(price::PriceArgs),
    /// Write the prices of a configuration down for machines: to be served beside the API.
    #[command(after_help = EXIT_CODES)]
    DescribePrices(describe::DescribeArgs),
    /// Judge a configuration of the filter, and of the proxy around it.
    ///
    /// FILE is the filter's configuration by itself, or a whole configuration of Envoy, Istio or
    /// Envoy Gateway that has it somewhere inside; JSON or YAML.
    #[command(after_help = EXIT_CODES)]
    LintConfig(lint::LintArgs),
    /// Print a shell's completion script.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page: tollway man | man -l -
    Man,
}

/// What the process says to the one that started it; see [`EXIT_CODES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Internal = 1,
    Usage = 2,
    TooDear = 3,
    PaymentFailed = 4,
    Server = 5,
    Untrusted = 6,
    Config = 7,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

pub(crate) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tollway", &mut script);
    print(&script)
}

pub(crate) fn man() -> Exit {
    let mut page = Vec::new();
    match render(&Cli::command(), &mut page) {
        Ok(()) => print(&page),
        Err(_) => Exit::Internal,
    }
}

/// One page: the command, and after it each of its commands.
fn render(command: &clap::Command, page: &mut Vec<u8>) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let man = clap_mangen::Man::new(sub.clone());
        writeln!(page, ".SH \"TOLLWAY {}\"", sub.get_name().to_uppercase())?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
    }
    Ok(())
}

fn print(text: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Exit::Done,
        Err(_) => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_has_two_arguments_of_a_name() {
        Cli::command().debug_assert();
    }
}
