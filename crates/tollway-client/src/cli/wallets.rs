//! `tollway wallet`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
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

#[derive(Args, Debug)]
pub(crate) struct AddArgs {
    /// What to call it.
    name: String,
    /// Pay with it where no wallet is named. The first wallet does so anyway.
    #[arg(long)]
    default: bool,
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// LND over REST.
    Lnd {
        /// Its REST interface, such as https://127.0.0.1:8080.
        #[arg(long)]
        url: String,
        /// A macaroon with offchain:read and offchain:write, as LND writes it or in hexadecimal
        /// digits: lncli bakemacaroon --save_to pay.macaroon offchain:read offchain:write
        #[arg(long, value_name = "FILE")]
        macaroon_file: PathBuf,
        /// Its tls.cert, unless an authority has signed it.
        #[arg(long, value_name = "FILE")]
        cert_file: Option<PathBuf>,
    },
    /// A wallet at LNbits.
    Lnbits {
        /// LNbits' address.
        #[arg(long)]
        url: String,
        /// A file with the wallet's admin key, or - for standard input.
        #[arg(long, value_name = "FILE")]
        key_file: PathBuf,
    },
    /// phoenixd.
    Phoenixd {
        /// Its address, such as http://127.0.0.1:9740.
        #[arg(long)]
        url: String,
        /// A file with its full http-password, or - for standard input.
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
    },
    /// Nostr Wallet Connect.
    Nwc {
        /// A file with the pairing link, nostr+walletconnect://.., or - for standard input.
        #[arg(long, value_name = "FILE")]
        link_file: PathBuf,
    },
    /// tollwayd's simulated node, which pays without money.
    Simulated {
        /// tollwayd's admin listener.
        #[arg(long)]
        url: String,
    },
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
                Fault::Book(_) | Fault::File { .. } | Fault::Wallet(_) => Exit::Usage,
            }
        }
    }
}

fn book() -> Result<WalletBook, Fault> {
    Ok(WalletBook::in_config_folder(environment)?)
}

fn add(args: AddArgs) -> Result<(), Fault> {
    let settings = match args.kind {
        Kind::Lnd { url, macaroon_file, cert_file } => {
            let macaroon = read(&macaroon_file)?;
            // LND writes bytes; people pass hexadecimal digits on.
            let text = String::from_utf8(macaroon.clone()).unwrap_or_default();
            let digits = text.trim();
            let is_hex = !digits.is_empty() && hex::decode(digits).is_ok();
            let macaroon =
                if is_hex { Secret::new(digits) } else { Secret::new(&hex::encode(&macaroon)) };
            let cert = cert_file.map(|path| read_text(&path)).transpose()?;
            Settings::Lnd { url, macaroon, cert }
        }
        Kind::Lnbits { url, key_file } => {
            Settings::Lnbits { url, key: Secret::new(&read_text(&key_file)?) }
        }
        Kind::Phoenixd { url, password_file } => {
            Settings::Phoenixd { url, password: Secret::new(&read_text(&password_file)?) }
        }
        Kind::Nwc { link_file } => Settings::Nwc { link: Secret::new(&read_text(&link_file)?) },
        Kind::Simulated { url } => Settings::Simulated { url },
    };
    // What cannot be used is not kept.
    settings.open()?;
    book()?.add(&args.name, settings, args.default)?;
    writeln!(io::stdout(), "added {0}; try it: tollway wallet check --wallet {0}", args.name)?;
    Ok(())
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
