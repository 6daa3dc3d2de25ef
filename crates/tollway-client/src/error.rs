//! What can go wrong with a paid request, by who is at fault.

use std::error::Error;

use tollway_core::money::Msat;

use crate::challenge::ChallengeError;
use crate::client::Payment;
use crate::store::StoreError;
use crate::wallet::WalletError;

/// Why there is no answer, and whether something was paid before.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ClientError {
    /// What went wrong.
    pub fault: Fault,
    /// What this call paid. Its credential is stored, and the next call uses it.
    pub paid: Option<Payment>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server's challenge cannot be paid.
    #[error("the server asks for payment, but {0}")]
    Challenge(#[from] ChallengeError),
    /// The request cannot be sent twice, so it cannot be sent before a payment and after it.
    #[error("expected a request with a body in memory, but found a stream")]
    NotRepeatable,
    /// The server does not answer.
    #[error("the server does not answer: {0}")]
    Server(String),
    /// Credentials cannot be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The invoice asks for more than the budget allows. Nothing was paid.
    #[error(
        "the server asks for {} sats, but the budget is {} sats",
        asked.to_sats_rounded_up(),
        budget.to_sats_rounded_up()
    )]
    TooDear {
        /// What the invoice asks.
        asked: Msat,
        /// The most this client may pay for one request.
        budget: Msat,
    },
    /// The wallet did not pay, or did not prove it.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl From<Fault> for ClientError {
    fn from(fault: Fault) -> Self {
        Self { fault, paid: None }
    }
}

/// An HTTP error with its causes: the first one alone says only "error sending request". The
/// URL is left out, for it may hold a password.
pub(crate) fn explained(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "it took too long".to_owned() } else { String::new() };
    let mut cause = error.source();
    while let Some(inner) = cause {
        let shown = inner.to_string();
        if !text.contains(&shown) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{shown}");
        }
        cause = inner.source();
    }
    if text.is_empty() { "no reason given".to_owned() } else { text }
}
