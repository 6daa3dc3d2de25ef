//! What can go wrong with a paid request, by who is at fault.

use std::error::Error;

use crate::answer::Payment;
use crate::budget::OverBudget;
use crate::challenge::ChallengeError;
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
    #[error("the server's challenge cannot be paid: {0}")]
    Challenge(#[from] ChallengeError),
    /// The request cannot be sent twice, so it cannot be sent before a payment and after it.
    #[error("expected a body that can be sent twice, but found a stream; give it as a function")]
    NotRepeatable,
    /// A top-up was asked for, and the server asked for no payment.
    #[error("expected a challenge to pay for the top-up, but the server answered {0}")]
    NotSold(u16),
    /// The invoice asks for more than the budget has left. Nothing was paid.
    #[error(transparent)]
    OverBudget(#[from] OverBudget),
    /// The server sends the client in circles, or to where it may not go.
    #[error("the server's redirect cannot be followed: {0}")]
    Redirect(&'static str),
    /// The request cannot be built.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The server does not answer.
    #[error("the server does not answer: {0}")]
    Server(String),
    /// Credentials cannot be read or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The wallet did not pay, or did not prove it.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

impl<T: Into<Fault>> From<T> for ClientError {
    fn from(fault: T) -> Self {
        Self { fault: fault.into(), paid: None }
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
