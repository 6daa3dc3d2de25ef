//! Arguments and exit codes.

pub(crate) mod attenuate;
pub(crate) mod describe;
pub(crate) mod get;
pub(crate) mod inspect;
pub(crate) mod lint;
pub(crate) mod price;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for get, the server answered with a 2xx status
  1  a fault of this machine: credentials cannot be kept, output cannot be written
  2  wrong usage
  3  too dear: the invoice asks for more than --max-sats; nothing was paid
  4  the payment failed: the wallet does not answer, or refused
  5  the server does not answer, or answered with another status than 2xx
  6  a challenge or token that cannot be read or trusted; nothing was paid
  7  a configuration that cannot be read, or in which lint-config finds what must be changed";

/// Fetches what must be paid for over Lightning (L402), and explains tokens.
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
    /// error. A paid credential is kept and used again until the server asks for more. Redirects
    /// are not followed.
    #[command(after_help = EXIT_CODES)]
    Get(get::GetArgs),
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
