//! LND over REST, 0.15 and newer, by a macaroon that may pay.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use reqwest::{RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use url::Url;

use super::http::{self, Answer, PAYMENT_TIMEOUT_S, at, base, first_line, send};
use super::{Outcome, Paid, Secret, Wallet, WalletError, WalletFuture, proven, tls};
use crate::invoice::Invoice;

/// gRPC's word for a payment that was made or begun before.
const ALREADY_EXISTS: u32 = 6;
/// gRPC's word for a payment that never began.
const NOT_FOUND: u32 = 5;

/// An LND. The macaroon needs `offchain:read` and `offchain:write`:
/// `lncli bakemacaroon offchain:read offchain:write`.
#[derive(Clone, Debug)]
pub struct Lnd {
    http: reqwest::Client,
    base: Url,
    macaroon: Secret,
}

#[derive(Serialize)]
struct PayRequest<'a> {
    payment_request: &'a str,
    timeout_seconds: u64,
    fee_limit_msat: String,
    /// Only the end of the payment is told.
    no_inflight_updates: bool,
}

/// A message of a stream, or the error that ends it.
#[derive(Deserialize)]
struct Update {
    result: Option<Payment>,
    error: Option<Fault>,
    /// Where no stream was begun, the error stands bare.
    code: Option<u32>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default, alias = "grpc_code")]
    code: u32,
}

#[derive(Deserialize)]
struct Payment {
    status: String,
    #[serde(default)]
    payment_preimage: String,
    #[serde(default)]
    fee_msat: String,
    #[serde(default)]
    failure_reason: String,
}

#[derive(Deserialize)]
struct Balance {
    local_balance: Amount,
}

#[derive(Deserialize)]
struct Amount {
    msat: String,
}

impl Lnd {
    /// An LND by the address of its REST interface, a macaroon in hexadecimal digits, and the
    /// text of its `tls.cert`. Without the certificate, the usual authorities decide.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for what cannot be used.
    pub fn new(url: &str, macaroon: Secret, cert: Option<&str>) -> Result<Self, WalletError> {
        let expected = "the macaroon in hexadecimal digits";
        if hex::decode(macaroon.reveal()).is_err() || macaroon.reveal().is_empty() {
            return Err(WalletError::BadSetting { expected });
        }
        let builder = reqwest::Client::builder();
        let builder = match cert {
            Some(cert) => builder.tls_backend_preconfigured(tls::pinned(cert)?),
            None => builder,
        };
        Ok(Self { http: http::client(builder)?, base: base(url)?, macaroon })
    }

    fn with_macaroon(&self, request: RequestBuilder) -> Result<RequestBuilder, WalletError> {
        let macaroon = self.macaroon.header("the macaroon in hexadecimal digits")?;
        Ok(request.header("grpc-metadata-macaroon", macaroon))
    }

    async fn payment(&self, invoice: &Invoice) -> Result<Outcome, WalletError> {
        let hash = URL_SAFE.encode(invoice.payment_hash().as_bytes());
        let url = at(&self.base, &format!("/v2/router/track/{hash}"));
        // The stream goes on while the payment is under way; its first message is enough.
        let answer = first_line(self.with_macaroon(self.http.get(url))?).await?;
        let update: Update = answer.json()?;
        match update.result {
            Some(payment) => payment.outcome(invoice),
            None if update.fault() == NOT_FOUND => Ok(Outcome::NotPaid),
            None => Err(refused(&answer)),
        }
    }
}

impl Update {
    fn fault(&self) -> u32 {
        self.error.as_ref().map(|fault| fault.code).or(self.code).unwrap_or_default()
    }
}

impl Payment {
    fn outcome(&self, invoice: &Invoice) -> Result<Outcome, WalletError> {
        Ok(match self.status.as_str() {
            "SUCCEEDED" => {
                let preimage = Preimage::from_hex(self.payment_preimage.as_bytes()).ok();
                let fee = self.fee_msat.parse().ok().and_then(Msat::new).unwrap_or(Msat::ZERO);
                Outcome::Paid(proven(invoice, preimage, fee)?)
            }
            "FAILED" => Outcome::NotPaid,
            _ => Outcome::InFlight,
        })
    }

    /// Its reason in words: FAILURE_REASON_NO_ROUTE becomes "no route".
    fn reason(&self) -> String {
        let reason = self.failure_reason.strip_prefix("FAILURE_REASON_");
        let words = reason.unwrap_or(&self.failure_reason).to_lowercase().replace('_', " ");
        words.chars().filter(|c| !c.is_control()).take(60).collect()
    }
}

impl Wallet for Lnd {
    fn pay<'a>(&'a self, invoice: &'a Invoice, fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            let order = PayRequest {
                payment_request: invoice.text(),
                timeout_seconds: PAYMENT_TIMEOUT_S,
                fee_limit_msat: fee_max.get().to_string(),
                no_inflight_updates: true,
            };
            let request = self.http.post(at(&self.base, "/v2/router/send")).json(&order);
            let answer = first_line(self.with_macaroon(request)?).await?;
            let update: Update = answer.json()?;
            let outcome = match &update.result {
                Some(payment) => payment.outcome(invoice)?,
                None if update.fault() == ALREADY_EXISTS => self.payment(invoice).await?,
                None => return Err(refused(&answer)),
            };
            match (outcome, update.result) {
                (Outcome::Paid(paid), _) => Ok(paid),
                (Outcome::InFlight | Outcome::Unknown, _) => Err(WalletError::InFlight),
                (Outcome::NotPaid, Some(payment)) => {
                    Err(WalletError::PaymentFailed(payment.reason()))
                }
                (Outcome::NotPaid, None) => Err(refused(&answer)),
            }
        })
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(self.payment(invoice))
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        Box::pin(async move {
            let request = self.http.get(at(&self.base, "/v1/balance/channels"));
            let answer = send(self.with_macaroon(request)?).await?;
            if !answer.status.is_success() {
                return Err(refused(&answer));
            }
            let balance: Balance = answer.json()?;
            Ok(balance.local_balance.msat.parse().ok().and_then(Msat::new))
        })
    }
}

/// LND says of a macaroon that it cannot use, or that may not pay, that it failed itself.
fn refused(answer: &Answer) -> WalletError {
    let (status, detail) = (answer.status.as_u16(), answer.detail());
    let of_macaroon = ["permission denied", "macaroon", "verification failed"];
    if answer.status != StatusCode::OK && of_macaroon.iter().any(|word| detail.contains(word)) {
        return WalletError::NotAllowed { status, detail };
    }
    answer.error()
}
