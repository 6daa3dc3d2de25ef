//! Wallets: what pays an invoice and returns the proof.

mod book;
mod http;
mod lnbits;
mod lnd;
mod nwc;
mod phoenixd;
mod secret;
mod settings;
mod simulated;
mod tls;

pub use book::{BookError, WalletBook, Wallets};
pub use lnbits::Lnbits;
pub use lnd::Lnd;
pub use nwc::Nwc;
pub use phoenixd::Phoenixd;
pub use secret::Secret;
pub use settings::Settings;
pub use simulated::Simulated;

use std::fmt::Debug;
use std::pin::Pin;

use tollway_core::money::Msat;
use tollway_core::payment::Preimage;

use crate::invoice::Invoice;

/// What a wallet's method returns: a future that is boxed, so that a client can hold any wallet.
pub type WalletFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, WalletError>> + Send + 'a>>;

/// Something that pays invoices.
///
/// An implementation keeps two promises, on which resuming after a crash rests: it never pays one
/// invoice twice, and an error for which [`WalletError::is_refusal`] holds means that nothing was
/// paid and nothing will be.
pub trait Wallet: Debug + Send + Sync {
    /// Pays the invoice with at most `fee_max` on top, and waits for the proof.
    fn pay<'a>(&'a self, invoice: &'a Invoice, fee_max: Msat) -> WalletFuture<'a, Paid>;

    /// What became of a payment that may have been begun before.
    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome>;

    /// What can be spent; `None` where the wallet does not tell.
    fn balance(&self) -> WalletFuture<'_, Option<Msat>>;
}

/// A payment and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// The proof.
    pub preimage: Preimage,
    /// What it cost beyond the invoice's amount.
    pub fee: Msat,
}

/// What became of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrived.
    Paid(Paid),
    /// It is under way, and may still arrive.
    InFlight,
    /// It never began, or it failed for good.
    NotPaid,
    /// The wallet keeps no record; paying again tells, and costs nothing if it was paid.
    Unknown,
}

/// Why there is no proof of payment.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The wallet's address or credential cannot be used; `expected` says what it should be.
    #[error("expected {expected}, but found other text")]
    BadSetting {
        /// What it should be.
        expected: &'static str,
    },
    /// No answer came; the payment may have happened.
    #[error("the wallet does not answer: {0}")]
    Unreachable(String),
    /// The wallet will not pay this invoice; nothing was paid.
    #[error("the wallet refused the invoice ({status}): {detail}")]
    Refused {
        /// Its status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
    /// The wallet does not know the credential, or the credential may not pay. Nothing was paid.
    #[error("the wallet did not accept its credential ({status}): {detail}")]
    NotAllowed {
        /// Its status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
    /// The wallet tried, and the payment failed for good.
    #[error("the payment failed: {0}")]
    PaymentFailed(String),
    /// The wallet had a fault of its own; the payment may have happened.
    #[error("the wallet failed ({status}): {detail}")]
    Failed {
        /// Its status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
    /// The payment is under way, and may still arrive.
    #[error("the payment is still under way; call again later, and it will not be paid twice")]
    InFlight,
    /// The answer has no proof, or one that does not belong to the invoice.
    #[error("expected the invoice's preimage from the wallet, but found something else")]
    NoProof,
}

impl WalletError {
    /// Whether it is certain that nothing was paid and nothing will be.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::BadSetting { .. }
            | Self::Refused { .. }
            | Self::NotAllowed { .. }
            | Self::PaymentFailed(_) => true,
            Self::Unreachable(_) | Self::Failed { .. } | Self::InFlight | Self::NoProof => false,
        }
    }
}

/// Checks a wallet's proof: what proves another payment is none.
pub(crate) fn proven(
    invoice: &Invoice,
    preimage: Option<Preimage>,
    fee: Msat,
) -> Result<Paid, WalletError> {
    let preimage = preimage.filter(|preimage| preimage.proves(&invoice.payment_hash()));
    Ok(Paid { preimage: preimage.ok_or(WalletError::NoProof)?, fee })
}
