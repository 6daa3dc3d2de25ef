//! Wallets: what pays an invoice and returns the proof.

use std::time::Duration;

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use tollway_core::payment::Preimage;
use tollway_core::wire::Problem;
use url::Url;

use crate::challenge::Challenge;
use crate::error::explained;

/// How long a payment may take. Real ones settle in seconds or get stuck for hours; what is
/// still open then is taken up by the next call.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(60);
/// The most characters of a wallet's explanation that an error repeats.
const DETAIL_CHARS_MAX: usize = 200;

/// A wallet behind tollwayd's simulated node, which pays its own invoices without money.
#[derive(Clone, Debug)]
pub struct Wallet {
    http: reqwest::Client,
    pay_url: Url,
}

/// Why there is no proof of payment.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The wallet's address cannot be used.
    #[error("expected the wallet's address as http://host:port, but found other text")]
    BadUrl,
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
    /// The wallet had a fault of its own; the payment may have happened.
    #[error("the wallet failed ({status}): {detail}")]
    Failed {
        /// Its status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
    /// The answer has no proof, or one that does not belong to the invoice.
    #[error("expected the invoice's preimage from the wallet, but found something else")]
    NoProof,
}

impl WalletError {
    /// Whether it is certain that nothing was paid.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        match self {
            Self::BadUrl | Self::Refused { .. } => true,
            Self::Unreachable(_) | Self::Failed { .. } | Self::NoProof => false,
        }
    }
}

#[derive(Serialize)]
struct PayRequest<'a> {
    invoice: &'a str,
}

#[derive(Deserialize)]
struct PayReply {
    preimage: Preimage,
}

impl Wallet {
    /// The wallet of the simulated node at this address, tollwayd's admin listener.
    ///
    /// # Errors
    /// [`WalletError::BadUrl`] for an address that is not `http` or `https`.
    pub fn simulated(url: &str) -> Result<Self, WalletError> {
        let mut pay_url = Url::parse(url).map_err(|_| WalletError::BadUrl)?;
        if !matches!(pay_url.scheme(), "http" | "https") {
            return Err(WalletError::BadUrl);
        }
        let base = pay_url.path().trim_end_matches('/').to_owned();
        pay_url.set_path(&format!("{base}/sim/v1/pay"));
        let http = reqwest::Client::builder()
            .timeout(PAYMENT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| WalletError::Unreachable(explained(&error)))?;
        Ok(Self { http, pay_url })
    }

    /// Pays the challenge's invoice. Paying an invoice again costs nothing and proves the same.
    pub(crate) async fn pay(&self, challenge: &Challenge) -> Result<Preimage, WalletError> {
        let invoice = challenge.invoice();
        let unreachable = |error: reqwest::Error| WalletError::Unreachable(explained(&error));
        let request = self.http.post(self.pay_url.clone()).json(&PayRequest { invoice: &invoice });
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if !status.is_success() {
            let detail = detail(&body, status);
            let status_code = status.as_u16();
            return Err(match status {
                // A wallet that is not there says so with 404, and one that is busy with 429.
                StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS => {
                    WalletError::Failed { status: status_code, detail }
                }
                _ if status.is_client_error() => {
                    WalletError::Refused { status: status_code, detail }
                }
                _ => WalletError::Failed { status: status_code, detail },
            });
        }
        let reply: PayReply = serde_json::from_slice(&body).map_err(|_| WalletError::NoProof)?;
        if reply.preimage.proves(&challenge.payment_hash()) {
            Ok(reply.preimage)
        } else {
            Err(WalletError::NoProof)
        }
    }
}

/// The wallet's own explanation, made safe for a terminal.
fn detail(body: &[u8], status: StatusCode) -> String {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => {
            let shown = problem.detail.chars().filter(|c| !c.is_control());
            shown.take(DETAIL_CHARS_MAX).collect()
        }
        Err(_) => status.canonical_reason().unwrap_or("no explanation").to_owned(),
    }
}
