//! What a call gets: the answer, what it cost, and what the server says of it.

use base64::Engine;
use reqwest::header::HeaderMap;
use reqwest::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use crate::challenge::Challenge;
use crate::error::{ClientError, Fault, explained};
use crate::token::LENIENT;

const COST_HEADER: &str = "x-toll-cost-msat";
const BALANCE_HEADER: &str = "x-toll-balance-msat";
const PRICE_HEADER: &str = "x-toll-price-msat";
const RECEIPT_HEADER: &str = "payment-receipt";
/// The longest receipt that is read; one has some 300 bytes.
const RECEIPT_BYTES_MAX: usize = 8 * 1024;

/// What a call paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// The invoice's amount.
    pub amount: Msat,
    /// What it cost beyond that.
    pub fee: Msat,
    /// The invoice's payment hash.
    pub payment_hash: PaymentHash,
}

/// The server's answer, and what it cost to get.
#[derive(Debug)]
pub struct Answer {
    /// The answer; its body is still to be read.
    pub response: Response,
    /// What this call paid, if it paid.
    pub paid: Option<Payment>,
    /// The payment hash of the credential that the request carried, if it carried one.
    pub payment_hash: Option<PaymentHash>,
}

/// What a request costs.
#[derive(Clone, Debug)]
pub enum Quote {
    /// The server served it without a payment.
    Free(StatusCode),
    /// It asks for this.
    Challenge(Box<Challenge>),
    /// It names a price without an invoice, as a gateway does for HEAD.
    Price(Msat),
}

/// What a server says of a payment in the Payment scheme. It proves nothing to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub struct Receipt {
    /// The challenge that was paid.
    #[serde(default)]
    pub challenge_id: Option<String>,
    /// How it was paid: `lightning`.
    pub method: String,
    /// The payment hash.
    pub reference: String,
    /// `success`.
    pub status: String,
    /// When, RFC 3339.
    pub timestamp: String,
}

impl Answer {
    /// What the server says this request cost.
    #[must_use]
    pub fn cost(&self) -> Option<Msat> {
        number(self.response.headers(), COST_HEADER)
    }

    /// What the server says is left of the credit.
    #[must_use]
    pub fn balance(&self) -> Option<Msat> {
        number(self.response.headers(), BALANCE_HEADER)
    }

    /// What the server says such a request costs, where it says so without a challenge.
    #[must_use]
    pub fn price(&self) -> Option<Msat> {
        number(self.response.headers(), PRICE_HEADER)
    }

    /// The server's receipt, if it gave one for the payment that the request showed.
    #[must_use]
    pub fn receipt(&self) -> Option<Receipt> {
        let text = self.response.headers().get(RECEIPT_HEADER)?.as_bytes();
        let text = text.get(..).filter(|text| text.len() <= RECEIPT_BYTES_MAX)?;
        let receipt: Receipt = serde_json::from_slice(&LENIENT.decode(text).ok()?).ok()?;
        let shown = self.payment_hash?.to_hex();
        (receipt.reference == shown).then_some(receipt)
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// [`Fault::Server`] when the answer breaks off.
    pub async fn text(self) -> Result<String, ClientError> {
        let paid = self.paid;
        let text = self.response.text().await;
        text.map_err(|error| ClientError { fault: Fault::Server(explained(&error)), paid })
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<Msat> {
    Msat::new(headers.get(name)?.to_str().ok()?.parse().ok()?)
}
