//! What all commands that pay have in common.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use tollway_client::wallet::{BookError, Settings, Wallet, WalletBook, WalletError};
use tollway_client::{Budget, Builder, CredentialStore, PayingClient, Scheme, StoreError};
use tollway_core::money::Msat;
use url::Url;

use super::progress::Announcing;

/// What pays where nothing else is said: the simulated node of `make up`.
const SIMULATED_URL: &str = "http://127.0.0.1:8404";

#[derive(Args, Clone, Debug)]
pub(crate) struct WalletArgs {
    /// The wallet that pays, by the name that `tollway wallet add` gave it.
    ///
    /// Without it the default wallet pays; where there is none, tollwayd's simulated node at
    /// http://127.0.0.1:8404.
    #[arg(long, value_name = "NAME", env = "TOLLWAY_WALLET", conflicts_with = "wallet_url")]
    wallet: Option<String>,
    /// The simulated node that pays: tollwayd's admin listener.
    #[arg(long, value_name = "URL", env = "TOLLWAY_WALLET_URL", value_parser = parse_wallet)]
    wallet_url: Option<String>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct PayArgs {
    #[command(flatten)]
    pub(crate) wallet: WalletArgs,
    /// The most to pay for this request.
    #[arg(
        long,
        value_name = "N",
        env = "TOLLWAY_MAX_SATS",
        default_value = "100",
        value_parser = parse_sats
    )]
    max_sats: u64,
    /// The most to pay to one host within 24 hours.
    #[arg(long, value_name = "N", env = "TOLLWAY_MAX_SATS_PER_HOST", value_parser = parse_sats)]
    max_sats_per_host: Option<u64>,
    /// The most to pay in all within 24 hours.
    #[arg(long, value_name = "N", env = "TOLLWAY_MAX_SATS_PER_DAY", value_parser = parse_sats)]
    max_sats_per_day: Option<u64>,
    /// The most to pay for routing on top. Default: 1 percent, and 10 sats for small amounts.
    #[arg(long, value_name = "N", env = "TOLLWAY_MAX_FEE_SATS", value_parser = parse_sats)]
    max_fee_sats: Option<u64>,
    /// How to pay where a server offers several ways: credit for many requests (l402), or each
    /// request by itself (payment). Credit that was bought before is spent first.
    #[arg(long, value_enum, env = "TOLLWAY_SCHEME", default_value = "l402")]
    scheme: SchemeArg,
    /// Neither use nor keep credentials and payments; limits for a day count nothing then.
    #[arg(long)]
    no_store: bool,
}

/// A way to pay.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SchemeArg {
    L402,
    Payment,
}

/// Why there is no wallet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWallet {
    #[error(transparent)]
    Book(#[from] BookError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl WalletArgs {
    /// The settings, and the name they go by.
    pub(crate) fn settings(&self) -> Result<(String, Settings), NoWallet> {
        if let Some(url) = &self.wallet_url {
            return Ok(("(simulated)".into(), Settings::Simulated { url: url.clone() }));
        }
        let name = self.wallet.as_deref();
        let book = match WalletBook::in_config_folder(environment) {
            // Who has no home has no wallets, and may still use the simulated one.
            Err(BookError::NoHome) if name.is_none() => None,
            book => Some(book?),
        };
        let wallets = book.as_ref().map(WalletBook::load).transpose()?.unwrap_or_default();
        let shown = name.map(str::to_owned).or(wallets.default);
        let found = book.map(|book| book.find(name)).transpose()?.flatten();
        Ok(match (shown, found) {
            (Some(name), Some(settings)) => (name, settings),
            _ => ("(simulated)".into(), Settings::Simulated { url: SIMULATED_URL.into() }),
        })
    }

    pub(crate) fn open(&self) -> Result<Arc<dyn Wallet>, NoWallet> {
        Ok(self.settings()?.1.open()?)
    }
}

impl PayArgs {
    pub(crate) fn store(&self) -> Result<CredentialStore, StoreError> {
        if self.no_store { Ok(CredentialStore::in_memory()) } else { state() }
    }

    pub(crate) fn budget(&self) -> Budget {
        let mut budget = Budget::per_request_sats(self.max_sats);
        if let Some(sats) = self.max_sats_per_host {
            budget = budget.per_host_sats(sats);
        }
        if let Some(sats) = self.max_sats_per_day {
            budget = budget.per_day_sats(sats);
        }
        if let Some(sats) = self.max_fee_sats {
            budget = budget.fee_sats(sats);
        }
        budget
    }

    /// A client that pays as these options say.
    pub(crate) fn client(
        &self,
        wallet: Arc<dyn Wallet>,
        is_quiet: bool,
    ) -> Result<Builder, StoreError> {
        let wallet = Arc::new(Announcing { inner: wallet, is_quiet });
        let builder = PayingClient::builder_with(wallet).store(self.store()?);
        let builder = match self.scheme {
            SchemeArg::L402 => builder,
            SchemeArg::Payment => builder.prefer(Scheme::Payment),
        };
        Ok(builder.budget(self.budget()).keep_balances())
    }
}

/// The store where the environment says that it is.
pub(crate) fn state() -> Result<CredentialStore, StoreError> {
    CredentialStore::in_state_folder(environment)
}

pub(crate) fn environment(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(Into::into)
}

pub(crate) fn parse_url(text: &str) -> Result<Url, String> {
    Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .ok_or_else(|| "expected a URL that begins with http:// or https://".to_owned())
}

pub(crate) fn parse_sats(text: &str) -> Result<u64, String> {
    let sats = text.parse().ok().filter(|sats| Msat::from_sats(*sats).is_some());
    sats.ok_or_else(|| "expected a whole number of satoshi".to_owned())
}

fn parse_wallet(url: &str) -> Result<String, WalletError> {
    Settings::Simulated { url: url.to_owned() }.open()?;
    Ok(url.to_owned())
}
