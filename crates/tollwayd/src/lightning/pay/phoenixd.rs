//! phoenixd: `POST /payinvoice`, `GET /payments/outgoingbyhash/{hash}`, with the full password.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use tollway_core::money::{MSAT_PER_SAT, Msat};
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use super::{Outgoing, PAY_TIMEOUT, Payer};
use crate::config::PhoenixdConfig;
use crate::lightning::http::{self, Http};
use crate::lightning::tls::TlsFault;
use crate::lightning::{Call, NodeFault};

/// A phoenixd that pays.
#[derive(Debug)]
pub(super) struct Phoenixd {
    http: Http,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    is_paid: bool,
    /// When it ended, in whichever way.
    completed_at: Option<u64>,
}

impl Phoenixd {
    pub(super) fn new(config: &PhoenixdConfig) -> Result<Self, TlsFault> {
        let pair = format!(":{}", config.password.reveal());
        let credential = SecretText::new(format!("Basic {}", BASE64.encode(pair)));
        let credential = (AUTHORIZATION, &credential);
        Ok(Self { http: Http::new(&config.url, config.cert.as_deref(), credential)? })
    }
}

impl Payer for Phoenixd {
    /// Its fees are fixed: 0.4 % and 4 sat.
    fn pay<'a>(&'a self, bolt11: &'a str, _fee_max: Msat) -> Call<'a, ()> {
        Box::pin(async move {
            let form = [("invoice", bolt11)];
            let sent = http::send_within(PAY_TIMEOUT, self.http.post_form("/payinvoice", &form));
            let reply = sent.await?;
            if reply.denies() { Err(NodeFault::Denied) } else { Ok(()) }
        })
    }

    /// It counts in whole sats.
    fn pay_amount<'a>(&'a self, bolt11: &'a str, amount: Msat, _fee_max: Msat) -> Call<'a, ()> {
        Box::pin(async move {
            let sats = (amount.get() / MSAT_PER_SAT).to_string();
            let form = [("invoice", bolt11), ("amountSat", &sats)];
            let sent = http::send_within(PAY_TIMEOUT, self.http.post_form("/payinvoice", &form));
            let reply = sent.await?;
            if reply.denies() { Err(NodeFault::Denied) } else { Ok(()) }
        })
    }

    fn outgoing<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Outgoing> {
        Box::pin(async move {
            let path = format!("/payments/outgoingbyhash/{}", hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            let absent = reply.status() == StatusCode::NOT_FOUND
                || (reply.status().is_success() && reply.is_empty());
            if absent {
                return Ok(Outgoing::Unknown);
            }
            let Found { is_paid, completed_at } = reply.json()?;
            Ok(match (is_paid, completed_at) {
                (true, _) => Outgoing::Paid,
                (false, Some(_)) => Outgoing::Failed,
                (false, None) => Outgoing::InFlight,
            })
        })
    }
}
