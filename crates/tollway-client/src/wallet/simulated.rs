//! The wallet of tollwayd's simulated node.

use serde::{Deserialize, Serialize};
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;
use url::Url;

use super::http::{self, at, base, send};
use super::{Outcome, Paid, Wallet, WalletError, WalletFuture, proven};
use crate::invoice::Invoice;

/// A wallet behind tollwayd's simulated node, which pays its own invoices without money.
#[derive(Clone, Debug)]
pub struct Simulated {
    http: reqwest::Client,
    pay_url: Url,
}

#[derive(Serialize)]
struct PayRequest<'a> {
    invoice: &'a str,
}

#[derive(Deserialize)]
struct PayReply {
    preimage: Preimage,
}

impl Simulated {
    /// The wallet of the simulated node at this address, tollwayd's admin listener.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for an address that is not `http` or `https`.
    pub fn new(url: &str) -> Result<Self, WalletError> {
        let pay_url = at(&base(url)?, "/sim/v1/pay");
        Ok(Self { http: http::client(reqwest::Client::builder())?, pay_url })
    }
}

impl Wallet for Simulated {
    /// Paying an invoice again costs nothing and proves the same.
    fn pay<'a>(&'a self, invoice: &'a Invoice, _fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            let request = PayRequest { invoice: invoice.text() };
            let answer = send(self.http.post(self.pay_url.clone()).json(&request)).await?;
            if !answer.status.is_success() {
                return Err(answer.error());
            }
            let reply: PayReply = answer.json()?;
            proven(invoice, Some(reply.preimage), Msat::ZERO)
        })
    }

    fn look_up<'a>(&'a self, _invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(async { Ok(Outcome::Unknown) })
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        Box::pin(async { Ok(None) })
    }
}
