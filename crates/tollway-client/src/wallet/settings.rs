//! A wallet as it is written in a file.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Lnbits, Lnd, Nwc, Phoenixd, Secret, Simulated, Wallet, WalletError};

/// Everything that is needed to reach a wallet, its credential included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Settings {
    /// tollwayd's simulated node.
    Simulated {
        /// tollwayd's admin listener.
        url: String,
    },
    /// LND over REST.
    Lnd {
        /// Its REST interface.
        url: String,
        /// A macaroon that may pay, in hexadecimal digits.
        macaroon: Secret,
        /// Its `tls.cert`, unless an authority has signed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cert: Option<String>,
    },
    /// LNbits.
    Lnbits {
        /// Its address.
        url: String,
        /// The wallet's admin key.
        key: Secret,
    },
    /// phoenixd.
    Phoenixd {
        /// Its address.
        url: String,
        /// Its full HTTP password.
        password: Secret,
    },
    /// Nostr Wallet Connect.
    Nwc {
        /// The pairing link.
        link: Secret,
    },
}

impl Settings {
    /// The wallet. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for what cannot be used.
    pub fn open(&self) -> Result<Arc<dyn Wallet>, WalletError> {
        Ok(match self {
            Self::Simulated { url } => Arc::new(Simulated::new(url)?),
            Self::Lnd { url, macaroon, cert } => {
                Arc::new(Lnd::new(url, macaroon.clone(), cert.as_deref())?)
            }
            Self::Lnbits { url, key } => Arc::new(Lnbits::new(url, key.clone())?),
            Self::Phoenixd { url, password } => Arc::new(Phoenixd::new(url, password.clone())?),
            Self::Nwc { link } => Arc::new(Nwc::new(link)?),
        })
    }

    /// The name of its kind.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Simulated { .. } => "simulated",
            Self::Lnd { .. } => "lnd",
            Self::Lnbits { .. } => "lnbits",
            Self::Phoenixd { .. } => "phoenixd",
            Self::Nwc { .. } => "nwc",
        }
    }

    /// Where it is, without its credential; nothing for a pairing link, which is a secret whole.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Simulated { url }
            | Self::Lnd { url, .. }
            | Self::Lnbits { url, .. }
            | Self::Phoenixd { url, .. } => Some(url),
            Self::Nwc { .. } => None,
        }
    }
}
