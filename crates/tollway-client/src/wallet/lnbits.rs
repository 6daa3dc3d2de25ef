//! LNbits, 0.12 and newer: one wallet of an account, by its admin key.

use reqwest::{RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use url::Url;

use super::http::{self, Answer, at, base, send};
use super::{Outcome, Paid, Secret, Wallet, WalletError, WalletFuture, proven};
use crate::invoice::Invoice;

/// A wallet at LNbits. LNbits itself limits fees; this client's limit cannot be handed to it.
#[derive(Clone, Debug)]
pub struct Lnbits {
    http: reqwest::Client,
    base: Url,
    admin_key: Secret,
}

#[derive(Serialize)]
struct PayRequest<'a> {
    out: bool,
    bolt11: &'a str,
}

#[derive(Deserialize)]
struct PaymentReply {
    #[serde(default)]
    paid: bool,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    preimage: Option<String>,
    #[serde(default)]
    details: Option<Details>,
}

/// Only these two: the preimage among the details may be one that nobody has paid for.
#[derive(Deserialize)]
struct Details {
    /// In msat; what was sent is below zero.
    amount: i64,
    #[serde(default)]
    fee: i64,
}

#[derive(Deserialize)]
struct WalletReply {
    /// In msat.
    balance: i64,
}

impl Lnbits {
    /// A wallet by its address and its admin key, the one that may pay.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for an address that is not `http` or `https`, or a key that
    /// no header carries.
    pub fn new(url: &str, admin_key: Secret) -> Result<Self, WalletError> {
        admin_key.header("the wallet's admin key")?;
        let http = http::client(reqwest::Client::builder())?;
        Ok(Self { http, base: base(url)?, admin_key })
    }

    async fn call(&self, request: RequestBuilder) -> Result<Answer, WalletError> {
        let key = self.admin_key.header("the wallet's admin key")?;
        send(request.header("x-api-key", key)).await
    }

    async fn payment(&self, invoice: &Invoice) -> Result<Outcome, WalletError> {
        let path = format!("/api/v1/payments/{}", invoice.payment_hash());
        let answer = self.call(self.http.get(at(&self.base, &path))).await?;
        if answer.status == StatusCode::NOT_FOUND && answer.detail().contains("Payment") {
            return Ok(Outcome::NotPaid);
        }
        if !answer.status.is_success() {
            return Err(refused(&answer));
        }
        let reply: PaymentReply = answer.json()?;
        // What this wallet received, or somebody else sent, is not its payment.
        let Some(sent) = reply.details.filter(|details| details.amount < 0) else {
            return Ok(Outcome::NotPaid);
        };
        Ok(match (reply.paid, reply.status.as_deref()) {
            (true, _) => {
                let preimage = reply.preimage.as_deref().unwrap_or_default();
                let fee = Msat::new(sent.fee.unsigned_abs()).unwrap_or(Msat::MAX);
                let preimage = Preimage::from_hex(preimage.as_bytes()).ok();
                Outcome::Paid(proven(invoice, preimage, fee)?)
            }
            (false, Some("failed")) => Outcome::NotPaid,
            (false, _) => Outcome::InFlight,
        })
    }
}

impl Wallet for Lnbits {
    fn pay<'a>(&'a self, invoice: &'a Invoice, _fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            let order = PayRequest { out: true, bolt11: invoice.text() };
            let url = at(&self.base, "/api/v1/payments");
            let answer = self.call(self.http.post(url).json(&order)).await?;
            let error = refused(&answer);
            if matches!(error, WalletError::NotAllowed { .. }) {
                return Err(error);
            }
            // Whatever it says, also that the invoice was paid before: the record decides.
            match self.payment(invoice).await? {
                Outcome::Paid(paid) => Ok(paid),
                Outcome::InFlight | Outcome::Unknown => Err(WalletError::InFlight),
                Outcome::NotPaid if answer.status.is_success() => Err(WalletError::NoProof),
                Outcome::NotPaid => Err(WalletError::PaymentFailed(answer.detail())),
            }
        })
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(self.payment(invoice))
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        Box::pin(async move {
            let answer = self.call(self.http.get(at(&self.base, "/api/v1/wallet"))).await?;
            if !answer.status.is_success() {
                return Err(refused(&answer));
            }
            let reply: WalletReply = answer.json()?;
            Ok(Some(Msat::new(u64::try_from(reply.balance).unwrap_or(0)).unwrap_or(Msat::MAX)))
        })
    }
}

/// LNbits says of a wrong key that there is no such wallet.
fn refused(answer: &Answer) -> WalletError {
    let (status, detail) = (answer.status.as_u16(), answer.detail());
    if answer.status == StatusCode::NOT_FOUND && detail.contains("Wallet") {
        return WalletError::NotAllowed { status, detail };
    }
    answer.error()
}
