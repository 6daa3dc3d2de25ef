//! `tollway wallet`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use tollway_client::inspect::sats;
use tollway_client::wallet::{BookError, Secret, Settings, WalletBook, WalletError};

use url::Url;

use super::Exit;
use super::options::{WalletArgs, environment};

/// More than any macaroon or certificate.
const FILE_BYTES_MAX: u64 = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum WalletCommand {
    /// Add a wallet. Its credential comes from a file or standard input, never from the command
    /// line, which other users can see; it is stored readable by you alone, and never printed.
    Add(AddArgs),
    /// Ask a wallet what it can spend: says whether it can be reached and accepts its credential.
    Check(WalletArgs),
    /// List the wallets, without their credentials.
    List,
    /// Forget a wallet and its credential.
    Remove {
        /// Its name.
        name: String,
    },
}

/// The kind is a word and no subcommand, so that a wallet may be called as a kind is.
#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// What to call it.
    name: String,
    /// What it is.
    kind: Kind,
    /// Pay with it where no wallet is named. The first wallet does so anyway.
    #[arg(long)]
    default: bool,
    /// Where it is: LND's REST interface, such as https://127.0.0.1:8080; LNbits; phoenixd, such as
    /// http://127.0.0.1:9740; or, for the simulated node, tollwayd's admin listener.
    #[arg(long)]
    url: Option<String>,
    /// LND: a macaroon with offchain:read and offchain:write, as LND writes it or in hexadecimal
    /// digits: lncli bakemacaroon --save_to pay.macaroon offchain:read offchain:write
    #[arg(long, value_name = "FILE")]
    macaroon_file: Option<PathBuf>,
    /// LND: its tls.cert, unless an authority has signed it.
    #[arg(long, value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// LNbits: a file with the wallet's admin key, or - for standard input.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// phoenixd: a file with its full http-password, or - for standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Nostr Wallet Connect: a file with the pairing link, nostr+walletconnect://.., or - for
    /// standard input.
    #[arg(long, value_name = "FILE")]
    link_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// LND over REST.
    Lnd,
    /// A wallet at LNbits.
    Lnbits,
    /// phoenixd.
    Phoenixd,
    /// Nostr Wallet Connect.
    Nwc,
    /// tollwayd's simulated node, which pays without money.
    Simulated,
}

/// Why a wallet command failed.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Book(#[from] BookError),
    #[error("{} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error("{0}: a wallet of this kind has no such option; remove it")]
    Left(&'static str),
    #[error("{0}: missing; a wallet of this kind needs it")]
    Missing(&'static str),
    #[error("standard output is closed")]
    Output(#[from] io::Error),
}

pub(crate) async fn run(command: WalletCommand) -> Exit {
    let result = match command {
        WalletCommand::Add(args) => add(args),
        WalletCommand::Check(args) => return check(args).await,
        WalletCommand::List => list(),
        WalletCommand::Remove { name } => book().and_then(|book| Ok(book.remove(&name)?)),
    };
    match result {
        Ok(()) => Exit::Done,
        Err(fault) => {
            eprintln!("tollway: {fault}");
            match fault {
                Fault::Book(BookError::Io { .. } | BookError::NoHome) | Fault::Output(_) => {
                    Exit::Internal
                }
                Fault::Book(_)
                | Fault::File { .. }
                | Fault::Left(_)
                | Fault::Missing(_)
                | Fault::Wallet(_) => Exit::Usage,
            }
        }
    }
}

fn book() -> Result<WalletBook, Fault> {
    Ok(WalletBook::in_config_folder(environment)?)
}

fn add(mut args: AddArgs) -> Result<(), Fault> {
    let settings = args.take_settings()?;
    args.check_nothing_left()?;
    // What cannot be used is not kept.
    settings.open()?;
    book()?.add(&args.name, settings, args.default)?;
    writeln!(io::stdout(), "added {0}; try it: tollway wallet check --wallet {0}", args.name)?;
    Ok(())
}

impl AddArgs {
    /// Takes out what its kind needs.
    fn take_settings(&mut self) -> Result<Settings, Fault> {
        let missing = Fault::Missing;
        if matches!(self.kind, Kind::Nwc) {
            let link = self.link_file.take().ok_or(missing("--link-file"))?;
            return Ok(Settings::Nwc { link: Secret::new(&read_text(&link)?) });
        }
        let url = self.url.take().ok_or(missing("--url"))?;
        Ok(match self.kind {
            Kind::Lnd => {
                let macaroon = self.macaroon_file.take().ok_or(missing("--macaroon-file"))?;
                let cert = self.cert_file.take().map(|path| read_text(&path)).transpose()?;
                Settings::Lnd { url, macaroon: macaroon_in(&macaroon)?, cert }
            }
            Kind::Lnbits => {
                let key = self.key_file.take().ok_or(missing("--key-file"))?;
                Settings::Lnbits { url, key: Secret::new(&read_text(&key)?) }
            }
            Kind::Phoenixd => {
                let password = self.password_file.take().ok_or(missing("--password-file"))?;
                Settings::Phoenixd { url, password: Secret::new(&read_text(&password)?) }
            }
            Kind::Nwc | Kind::Simulated => Settings::Simulated { url },
        })
    }

    fn check_nothing_left(&self) -> Result<(), Fault> {
        let left = [
            ("--url", self.url.is_some()),
            ("--macaroon-file", self.macaroon_file.is_some()),
            ("--cert-file", self.cert_file.is_some()),
            ("--key-file", self.key_file.is_some()),
            ("--password-file", self.password_file.is_some()),
            ("--link-file", self.link_file.is_some()),
        ];
        match left.into_iter().find(|(_, is_left)| *is_left) {
            Some((option, _)) => Err(Fault::Left(option)),
            None => Ok(()),
        }
    }
}

/// LND writes bytes; people pass hexadecimal digits on.
fn macaroon_in(path: &Path) -> Result<Secret, Fault> {
    let bytes = read(path)?;
    let text = String::from_utf8(bytes.clone()).unwrap_or_default();
    let digits = text.trim();
    let is_hex = !digits.is_empty() && hex::decode(digits).is_ok();
    Ok(if is_hex { Secret::new(digits) } else { Secret::new(&hex::encode(&bytes)) })
}

fn read(path: &Path) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        io::stdin().lock().take(FILE_BYTES_MAX).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
    };
    read.map_err(|source| Fault::File { path: path.to_owned(), source })?;
    Ok(bytes)
}

fn read_text(path: &Path) -> Result<String, Fault> {
    String::from_utf8(read(path)?).map_err(|_| Fault::File {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, "expected text"),
    })
}

async fn check(args: WalletArgs) -> Exit {
    let (name, settings) = match args.settings() {
        Ok(found) => found,
        Err(error) => {
            eprintln!("tollway: {error}");
            return Exit::Usage;
        }
    };
    let asked = async { settings.open()?.balance().await };
    match asked.await {
        Ok(balance) => {
            let balance = match balance {
                Some(balance) => format!("it can spend {}", sats(balance.get())),
                None => "it does not say what it can spend".to_owned(),
            };
            match writeln!(io::stdout(), "{name}, {}: {balance}", settings.kind()) {
                Ok(()) => Exit::Done,
                Err(_) => Exit::Internal,
            }
        }
        Err(error) => {
            eprintln!("tollway: {name}, {}: {error}", settings.kind());
            Exit::PaymentFailed
        }
    }
}

fn without_password(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else { return String::new() };
    // An address without a host has neither.
    _ = url.set_username("");
    _ = url.set_password(None);
    url.to_string()
}

fn list() -> Result<(), Fault> {
    let wallets = book()?.load()?;
    let mut out = io::stdout().lock();
    for (name, settings) in &wallets.wallets {
        let default = if wallets.default.as_ref() == Some(name) { " (default)" } else { "" };
        let url = settings.url().map_or_else(|| "a pairing link".to_owned(), without_password);
        writeln!(out, "{name}{default}  {}  {url}", settings.kind())?;
    }
    out.flush()?;
    Ok(())
}
