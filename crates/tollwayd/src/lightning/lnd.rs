//! LND over REST (`lnrpc/lightning.swagger.json`): `POST /v1/invoices`, `GET /v1/invoice/{hash}`,
//! `GET /v1/invoices/subscribe`.
//!
//! 64-bit numbers are JSON strings and bytes are base64. The macaroon needs `invoices:read` and
//! `invoices:write`, no more. LND keeps no note with an invoice.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use reqwest::StatusCode;
use reqwest::header::HeaderName;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::http::{self, Http, NO_INVOICE, Reply};
use super::tls::TlsFault;
use super::{
    Answer, Call, Event, Events, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice,
    payment_hash_of,
};
use crate::config::LndConfig;

const MACAROON: HeaderName = HeaderName::from_static("grpc-metadata-macaroon");
/// The longest line of the stream; an invoice with its HTLCs is a few KiB.
const LINE_BYTES_MAX: usize = 256 * 1_024;

/// An LND.
#[derive(Debug)]
pub(super) struct Lnd {
    http: Http,
}

#[derive(Serialize)]
struct NewInvoice<'a> {
    memo: &'a str,
    value_msat: String,
    expiry: String,
    /// Hints of private channels, so that a node without public ones can be paid.
    private: bool,
}

#[derive(Deserialize)]
struct Added {
    r_hash: String,
    payment_request: String,
}

/// The fields of an invoice that matter here.
#[derive(Deserialize)]
#[serde(default)]
struct Invoice {
    payment_request: String,
    state: State,
    amt_paid_msat: String,
    settle_index: String,
}

impl Default for Invoice {
    fn default() -> Self {
        let zero = || "0".to_owned();
        Self {
            payment_request: String::new(),
            state: State::Open,
            amt_paid_msat: zero(),
            settle_index: zero(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Open,
    /// A payment is on its way; nothing is settled.
    Accepted,
    Canceled,
    Settled,
}

#[derive(Deserialize)]
struct Balance {
    remote_balance: Amount,
}

#[derive(Deserialize)]
struct Amount {
    msat: String,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Invoice>,
}

impl Lnd {
    /// The node of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(config: &LndConfig) -> Result<Self, TlsFault> {
        let credential = (MACAROON, &config.macaroon);
        Ok(Self { http: Http::new(&config.url, config.cert.as_deref(), credential)? })
    }
}

impl Node for Lnd {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            let new = NewInvoice {
                memo: &order.memo,
                value_msat: order.amount.get().to_string(),
                expiry: order.expiry_s.to_string(),
                private: true,
            };
            let reply = http::send(self.http.post("/v1/invoices", &new)).await?;
            let Added { r_hash, payment_request: bolt11 } = json(&reply)?;
            let hash = BASE64.decode(r_hash).ok().and_then(|bytes| bytes.try_into().ok());
            let payment_hash = hash.map(PaymentHash::from_bytes).ok_or(NodeFault::Unreadable)?;
            Ok(MadeInvoice { payment_hash, bolt11 })
        })
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let path = format!("/v1/invoice/{}", hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            if reply.status() == StatusCode::NOT_FOUND
                || fails_with(&reply, &["unable to locate", "no existing invoices"])
            {
                return Ok(Answer::Unknown);
            }
            let invoice: Invoice = json(&reply)?;
            Ok(match invoice.state {
                State::Open | State::Accepted => Answer::Open,
                State::Canceled => Answer::Expired,
                State::Settled => Answer::Settled(invoice.settled()?),
            })
        })
    }

    fn settled_after(&self, position: u64) -> Option<Events> {
        let path = format!("/v1/invoices/subscribe?settle_index={position}");
        let lines = lines(self.http.get(&path));
        let events = lines.filter_map(async |line| match line {
            Err(fault) => Some(Err(fault)),
            Ok(line) => event(&line).transpose(),
        });
        Some(events.boxed())
    }

    /// Needs `offchain:read`, which nothing else here does.
    fn inbound(&self) -> Call<'_, Option<Msat>> {
        Box::pin(async move {
            let reply = http::send(self.http.get("/v1/balance/channels")).await?;
            if fails_with(&reply, &["permission denied"]) {
                return Ok(None);
            }
            let Balance { remote_balance } = json(&reply)?;
            let inbound = remote_balance.msat.parse().ok().and_then(Msat::new);
            inbound.map(Some).ok_or(NodeFault::Unreadable)
        })
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let order = json!({ "payment_request": NO_INVOICE });
            let reply = http::send(self.http.post("/v2/router/send", &order)).await?;
            // A release without this call says nothing by that.
            let is_served =
                ![StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED].contains(&reply.status());
            Ok(is_served.then(|| !reply.said().contains("permission denied")))
        })
    }

    fn name(&self) -> String {
        self.http.name("lnd")
    }
}

/// The text of a success. LND says 500 also to who lacks a permission.
fn json<T: DeserializeOwned>(reply: &Reply) -> Result<T, NodeFault> {
    if fails_with(reply, &["permission denied", "verification failed", "macaroon"]) {
        tracing::error!(said = reply.said(), "LND does not accept the macaroon");
        return Err(NodeFault::Denied);
    }
    reply.json()
}

/// Whether it is a fault in one of these words. Releases differ in the status, not in the words.
fn fails_with(reply: &Reply, words: &[&str]) -> bool {
    let said = reply.said();
    reply.status().is_server_error() && words.iter().any(|word| said.contains(word))
}

impl Invoice {
    fn settled(self) -> Result<SettledInvoice, NodeFault> {
        let received = self.amt_paid_msat.parse().ok().and_then(Msat::new);
        let received = received.ok_or(NodeFault::Unreadable)?;
        Ok(SettledInvoice { bolt11: self.payment_request, note: None, received })
    }
}

/// The settlement of a line; `None` for an invoice that was made or cancelled.
fn event(line: &[u8]) -> Result<Option<Event>, NodeFault> {
    let line: Line = serde_json::from_slice(line).map_err(|_| NodeFault::Unreadable)?;
    // An `error` ends the stream.
    let invoice = line.result.ok_or(NodeFault::Down)?;
    if invoice.state != State::Settled {
        return Ok(None);
    }
    let position = invoice.settle_index.parse().map_err(|_| NodeFault::Unreadable)?;
    let settled = invoice.settled()?;
    let payment_hash = payment_hash_of(&settled.bolt11).ok_or(NodeFault::Unreadable)?;
    Ok(Some(Event { payment_hash, settled, position }))
}

/// Where a stream of lines stands.
enum Reading {
    Unsent(reqwest::RequestBuilder),
    Open(reqwest::Response, Vec<u8>),
    Ended,
}

/// The lines of an answer that never ends. The answer begins with the first line, so nothing
/// waits for it here.
fn lines(request: reqwest::RequestBuilder) -> BoxStream<'static, Result<Vec<u8>, NodeFault>> {
    let next = async |mut reading: Reading| loop {
        match reading {
            Reading::Unsent(request) => match http::open(request).await {
                Ok(response) => match http::check(response.status()) {
                    Ok(()) => reading = Reading::Open(response, Vec::new()),
                    Err(fault) => return Some((Err(fault), Reading::Ended)),
                },
                Err(fault) => return Some((Err(fault), Reading::Ended)),
            },
            Reading::Open(mut response, mut buffer) => {
                if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                    let rest = buffer.split_off(end.saturating_add(1));
                    return Some((Ok(buffer), Reading::Open(response, rest)));
                }
                match http::chunk(&mut response).await {
                    Ok(Some(bytes)) if buffer.len() <= LINE_BYTES_MAX => {
                        buffer.extend_from_slice(&bytes);
                        reading = Reading::Open(response, buffer);
                    }
                    Ok(Some(_)) => return Some((Err(NodeFault::Unreadable), Reading::Ended)),
                    Ok(None) => return Some((Err(NodeFault::Down), Reading::Ended)),
                    Err(fault) => return Some((Err(fault), Reading::Ended)),
                }
            }
            Reading::Ended => return None,
        }
    };
    stream::unfold(Reading::Unsent(request), next).boxed()
}
