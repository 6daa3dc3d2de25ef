//! LNbits: `POST /api/v1/payments` with `out`, `GET /api/v1/payments/{hash}`, with the admin key
//! of the wallet that pays.

use reqwest::StatusCode;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::json;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::{Outgoing, PAY_TIMEOUT, Payer};
use crate::config::LnbitsConfig;
use crate::lightning::http::{self, Http};
use crate::lightning::tls::TlsFault;
use crate::lightning::{Call, NodeFault};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A wallet of an LNbits that pays.
#[derive(Debug)]
pub(super) struct Lnbits {
    http: Http,
}

#[derive(Deserialize)]
struct Found {
    paid: bool,
    /// Only for the key of the wallet itself.
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    /// In msat, negative for what goes out.
    amount: i64,
    status: String,
}

impl Lnbits {
    pub(super) fn new(config: &LnbitsConfig) -> Result<Self, TlsFault> {
        let credential = (API_KEY, &config.api_key);
        Ok(Self { http: Http::new(&config.url, config.cert.as_deref(), credential)? })
    }
}

impl Payer for Lnbits {
    /// Its API knows no limit of the fee; LNbits has one in its settings.
    fn pay<'a>(&'a self, bolt11: &'a str, _fee_max: Msat) -> Call<'a, ()> {
        Box::pin(async move {
            let order = json!({ "out": true, "bolt11": bolt11 });
            let sent = http::send_within(PAY_TIMEOUT, self.http.post("/api/v1/payments", &order));
            let reply = sent.await?;
            if reply.denies() { Err(NodeFault::Denied) } else { Ok(()) }
        })
    }

    fn outgoing<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Outgoing> {
        Box::pin(async move {
            let path = format!("/api/v1/payments/{}", hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            if reply.status() == StatusCode::NOT_FOUND {
                let denied = reply.said().contains("Wallet not found");
                return if denied { Err(NodeFault::Denied) } else { Ok(Outgoing::Unknown) };
            }
            let Found { paid, details } = reply.json()?;
            // Without them the key is none of a wallet here.
            let Details { amount, status } = details.ok_or(NodeFault::Denied)?;
            Ok(match (amount < 0, paid, status.as_str()) {
                // An invoice of the wallet itself, which it did not pay.
                (false, _, _) => Outgoing::Unknown,
                (true, true, _) => Outgoing::Paid,
                (true, false, "failed") => Outgoing::Failed,
                (true, false, _) => Outgoing::InFlight,
            })
        })
    }
}
