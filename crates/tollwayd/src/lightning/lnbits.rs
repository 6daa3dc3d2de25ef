//! LNbits: `POST /api/v1/payments`, `GET /api/v1/payments/{hash}`.
//!
//! The invoice key of a wallet is enough. LNbits counts in whole sats. Its answers carry the
//! preimage of invoices that nobody has paid, so nothing of them is ever logged or handed on,
//! and only `paid` counts.

use reqwest::StatusCode;
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollway_core::payment::PaymentHash;

use super::hints::Line;
use super::http::{self, Http, NO_INVOICE, Reply};
use super::invoice::asked;
use super::tls::TlsFault;
use super::{
    Answer, Call, Events, Hints, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice,
    whole_sats,
};
use crate::config::LnbitsConfig;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A wallet of an LNbits.
#[derive(Debug)]
pub(super) struct Lnbits {
    http: Http,
    webhook: Option<String>,
    line: Line,
}

#[derive(Serialize)]
struct NewPayment<'a> {
    out: bool,
    amount: u64,
    unit: &'a str,
    memo: &'a str,
    expiry: u64,
    extra: Extra,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook: Option<&'a str>,
}

#[derive(Default, Serialize, Deserialize)]
struct Extra {
    /// Our note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tollway: Option<String>,
}

#[derive(Deserialize)]
struct Created {
    payment_hash: PaymentHash,
    bolt11: Option<String>,
    /// Its name before 1.0.
    payment_request: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    paid: bool,
    #[serde(default)]
    status: Status,
    details: Option<Details>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    #[default]
    Pending,
    Success,
    Failed,
}

#[derive(Deserialize)]
struct Details {
    bolt11: String,
    extra: Option<Extra>,
}

impl Lnbits {
    /// The wallet of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(config: &LnbitsConfig) -> Result<Self, TlsFault> {
        let credential = (API_KEY, &config.api_key);
        let cert = config.cert.as_deref();
        let http = Http::new(&config.url, cert, credential)?;
        let path = format!("/api/v1/ws/{}", config.api_key.reveal());
        let line = Line::new(&config.url, &path, None, cert)?;
        Ok(Self { http, webhook: config.webhook.as_ref().map(ToString::to_string), line })
    }
}

impl Node for Lnbits {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            let new = NewPayment {
                out: false,
                amount: whole_sats(order.amount)?,
                unit: "sat",
                memo: &order.memo,
                expiry: order.expiry_s,
                extra: Extra { tollway: Some(order.note.clone()) },
                webhook: self.webhook.as_deref(),
            };
            let reply = http::send(self.http.post("/api/v1/payments", &new)).await?;
            if refuses_key(&reply) {
                return Err(NodeFault::Denied);
            }
            let Created { payment_hash, bolt11, payment_request } = reply.json()?;
            let bolt11 = bolt11.or(payment_request).ok_or(NodeFault::Unreadable)?;
            Ok(MadeInvoice { payment_hash, bolt11 })
        })
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let path = format!("/api/v1/payments/{}", hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            if reply.status() == StatusCode::NOT_FOUND {
                return if refuses_key(&reply) {
                    Err(NodeFault::Denied)
                } else {
                    Ok(Answer::Unknown)
                };
            }
            let found: Found = reply.json()?;
            if !found.paid {
                let failed = found.status == Status::Failed;
                return Ok(if failed { Answer::Expired } else { Answer::Open });
            }
            // Without details the key is none of the wallet that was paid.
            let Details { bolt11, extra } = found.details.ok_or(NodeFault::Denied)?;
            let received = asked(&bolt11)?;
            let note = extra.and_then(|extra| extra.tollway);
            Ok(Answer::Settled(SettledInvoice { bolt11, note, received }))
        })
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn hints(&self) -> Option<Hints> {
        Some(self.line.hints())
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let order = json!({ "out": true, "bolt11": NO_INVOICE });
            let reply = http::send(self.http.post("/api/v1/payments", &order)).await?;
            Ok(Some(!reply.denies() && !refuses_key(&reply)))
        })
    }

    fn name(&self) -> String {
        self.http.name("lnbits")
    }
}

/// It knows no wallet with this key, and says so as if the path were wrong.
fn refuses_key(reply: &Reply) -> bool {
    reply.status() == StatusCode::NOT_FOUND && reply.said().contains("Wallet not found")
}
