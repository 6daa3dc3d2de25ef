//! phoenixd, 0.5 and newer, by its HTTP password.

use reqwest::{RequestBuilder, StatusCode};
use serde::Deserialize;
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use url::Url;

use super::http::{self, Answer, at, base, send};
use super::{Outcome, Paid, Secret, Wallet, WalletError, WalletFuture, proven};
use crate::invoice::Invoice;

/// A phoenixd. Its fee is fixed by its operator; this client's limit cannot be handed to it.
#[derive(Clone, Debug)]
pub struct Phoenixd {
    http: reqwest::Client,
    base: Url,
    password: Secret,
}

/// It sent the payment, or says why not; both under status 200.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PayReply {
    #[serde(default)]
    routing_fee_sat: u64,
    #[serde(default)]
    payment_preimage: Option<Preimage>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing {
    is_paid: bool,
    #[serde(default)]
    preimage: Option<String>,
    /// In msat.
    #[serde(default)]
    fees: u64,
    #[serde(default)]
    completed_at: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Balance {
    #[serde(alias = "amountSat")]
    balance_sat: u64,
}

impl Phoenixd {
    /// A phoenixd by its address and the `http-password` of its phoenix.conf. The limited
    /// password cannot pay.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for an address that is not `http` or `https`.
    pub fn new(url: &str, password: Secret) -> Result<Self, WalletError> {
        let http = http::client(reqwest::Client::builder())?;
        Ok(Self { http, base: base(url)?, password })
    }

    async fn call(&self, request: RequestBuilder) -> Result<Answer, WalletError> {
        send(request.basic_auth("", Some(self.password.reveal()))).await
    }

    async fn payment(&self, invoice: &Invoice) -> Result<Outcome, WalletError> {
        let path = format!("/payments/outgoingbyhash/{}", invoice.payment_hash());
        let answer = self.call(self.http.get(at(&self.base, &path))).await?;
        // 0.8 says 204, older ones say 404.
        if matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND) {
            return Ok(Outcome::NotPaid);
        }
        if !answer.status.is_success() {
            return Err(answer.error());
        }
        let sent: Outgoing = answer.json()?;
        Ok(match (sent.is_paid, sent.completed_at) {
            (true, _) => {
                let preimage = sent.preimage.as_deref().unwrap_or_default();
                let preimage = Preimage::from_hex(preimage.as_bytes()).ok();
                let fee = Msat::new(sent.fees).unwrap_or(Msat::MAX);
                Outcome::Paid(proven(invoice, preimage, fee)?)
            }
            (false, Some(_)) => Outcome::NotPaid,
            (false, None) => Outcome::InFlight,
        })
    }
}

impl Wallet for Phoenixd {
    fn pay<'a>(&'a self, invoice: &'a Invoice, _fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            let order = [("invoice", invoice.text())];
            let url = at(&self.base, "/payinvoice");
            let answer = self.call(self.http.post(url).form(&order)).await?;
            if !answer.status.is_success() {
                return Err(answer.error());
            }
            let reply: PayReply = answer.json()?;
            if let Some(preimage) = reply.payment_preimage {
                let fee = Msat::from_sats(reply.routing_fee_sat).unwrap_or(Msat::MAX);
                return proven(invoice, Some(preimage), fee);
            }
            // One of its reasons is that the invoice was paid before.
            match self.payment(invoice).await? {
                Outcome::Paid(paid) => Ok(paid),
                Outcome::InFlight | Outcome::Unknown => Err(WalletError::InFlight),
                Outcome::NotPaid => match reply.reason {
                    Some(_) => Err(WalletError::PaymentFailed(answer.detail())),
                    None => Err(WalletError::NoProof),
                },
            }
        })
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(self.payment(invoice))
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        Box::pin(async move {
            let answer = self.call(self.http.get(at(&self.base, "/getbalance"))).await?;
            if !answer.status.is_success() {
                return Err(answer.error());
            }
            let balance: Balance = answer.json()?;
            Ok(Some(Msat::from_sats(balance.balance_sat).unwrap_or(Msat::MAX)))
        })
    }
}
