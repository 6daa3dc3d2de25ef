//! phoenixd (`Api.kt`): `POST /createinvoice`, `GET /payments/incoming/{hash}`.
//!
//! Forms in, JSON out, basic authentication with an empty user. The limited password, which
//! cannot spend, is enough. It counts in whole sats, and tells the preimage of invoices that
//! nobody has paid: only `isPaid` counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use super::hints::Line;
use super::http::{self, Http, NO_INVOICE};
use super::invoice::asked;
use super::tls::TlsFault;
use super::{
    Answer, Call, Events, Hints, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice,
    whole_sats,
};
use crate::config::PhoenixdConfig;

/// The longest description that it takes.
const DESCRIPTION_CHARS_MAX: usize = 128;

/// A phoenixd.
#[derive(Debug)]
pub(super) struct Phoenixd {
    http: Http,
    webhook: Option<String>,
    line: Line,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    payment_hash: PaymentHash,
    serialized: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming {
    is_paid: bool,
    #[serde(default)]
    is_expired: bool,
    /// After its fees.
    #[serde(default)]
    received_sat: u64,
    invoice: Option<String>,
    external_id: Option<String>,
}

#[derive(Deserialize)]
struct Info {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Channel {
    #[serde(default)]
    inbound_liquidity_sat: u64,
}

impl Phoenixd {
    /// The node of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(config: &PhoenixdConfig) -> Result<Self, TlsFault> {
        let pair = format!(":{}", config.password.reveal());
        let credential = SecretText::new(format!("Basic {}", BASE64.encode(pair)));
        let cert = config.cert.as_deref();
        let http = Http::new(&config.url, cert, (AUTHORIZATION, &credential))?;
        let line = Line::new(&config.url, "/websocket", Some(credential), cert)?;
        Ok(Self { http, webhook: config.webhook.as_ref().map(ToString::to_string), line })
    }
}

impl Node for Phoenixd {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            let amount = whole_sats(order.amount)?.to_string();
            let description: String = order.memo.chars().take(DESCRIPTION_CHARS_MAX).collect();
            let expiry = order.expiry_s.to_string();
            let mut form = vec![
                ("amountSat", amount.as_str()),
                ("description", &description),
                ("expirySeconds", &expiry),
                ("externalId", &order.note),
            ];
            form.extend(self.webhook.iter().map(|url| ("webhookUrl", url.as_str())));
            let Created { payment_hash, serialized: bolt11 } =
                http::send(self.http.post_form("/createinvoice", &form)).await?.json()?;
            Ok(MadeInvoice { payment_hash, bolt11 })
        })
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let path = format!("/payments/incoming/{}", hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            // Releases say it in either way.
            let absent = reply.status() == StatusCode::NOT_FOUND
                || (reply.status().is_success() && reply.is_empty());
            if absent {
                return Ok(Answer::Unknown);
            }
            let found: Incoming = reply.json()?;
            let (true, Some(bolt11)) = (found.is_paid, found.invoice) else {
                return Ok(if found.is_expired { Answer::Expired } else { Answer::Open });
            };
            // Who paid has paid the invoice, whatever the node's liquidity cost the operator.
            let received = Msat::from_sats(found.received_sat).unwrap_or(Msat::ZERO);
            let received = received.max(asked(&bolt11)?);
            Ok(Answer::Settled(SettledInvoice { bolt11, note: found.external_id, received }))
        })
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn hints(&self) -> Option<Hints> {
        Some(self.line.hints())
    }

    fn inbound(&self) -> Call<'_, Option<Msat>> {
        Box::pin(async move {
            let reply = http::send(self.http.get("/getinfo")).await?;
            if reply.denies() {
                return Ok(None);
            }
            let Info { channels } = reply.json()?;
            let sums = channels.into_iter().map(|channel| channel.inbound_liquidity_sat);
            let sats = sums.fold(0, u64::saturating_add);
            Msat::from_sats(sats).map(Some).ok_or(NodeFault::Unreadable)
        })
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let form = [("invoice", NO_INVOICE)];
            let reply = http::send(self.http.post_form("/payinvoice", &form)).await?;
            Ok(Some(!reply.denies()))
        })
    }

    fn name(&self) -> String {
        self.http.name("phoenixd")
    }
}
