//! Core Lightning over clnrest (`doc/schemas`): `invoice`, `listinvoices`, `waitanyinvoice`.
//!
//! Every call is a POST with the parameters as JSON and a rune; success is 201. The rune needs
//! these three methods and no more. Labels are unique, and carry our note behind a random part.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use reqwest::StatusCode;
use reqwest::header::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::http::{self, Http, NO_INVOICE};
use super::tls::TlsFault;
use super::{
    Answer, Call, Event, Events, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice,
};
use crate::config::ClnConfig;
use crate::entropy;

const RUNE: HeaderName = HeaderName::from_static("rune");
/// How a label of ours begins.
const LABEL: &str = "tollway/";
/// How long one call waits for a payment. Longer would only keep dead connections.
const WAIT_S: u64 = 60;
/// And how long its answer may take beyond that.
const WAIT_MAX: Duration = Duration::from_secs(WAIT_S + 15);
/// `waitanyinvoice` heard of nothing in time.
const TIMED_OUT: i64 = 904;

/// A Core Lightning.
#[derive(Clone, Debug)]
pub(super) struct Cln {
    http: Http,
}

#[derive(Serialize)]
struct NewInvoice<'a> {
    amount_msat: Msat,
    label: &'a str,
    description: &'a str,
    expiry: u64,
}

#[derive(Deserialize)]
struct Created {
    payment_hash: PaymentHash,
    bolt11: String,
}

#[derive(Deserialize)]
struct Listed {
    invoices: Vec<Invoice>,
}

/// The fields of an invoice that matter here.
#[derive(Deserialize)]
struct Invoice {
    label: String,
    bolt11: Option<String>,
    payment_hash: PaymentHash,
    status: Status,
    pay_index: Option<u64>,
    amount_received_msat: Option<Msat>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Unpaid,
    Paid,
    Expired,
}

#[derive(Deserialize)]
struct Channels {
    channels: Vec<Channel>,
}

#[derive(Deserialize)]
struct Channel {
    state: String,
    #[serde(default)]
    receivable_msat: Option<Msat>,
}

#[derive(Deserialize)]
struct Fault {
    code: Option<i64>,
}

impl Cln {
    /// The node of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(config: &ClnConfig) -> Result<Self, TlsFault> {
        let credential = (RUNE, &config.rune);
        Ok(Self { http: Http::new(&config.url, config.cert.as_deref(), credential)? })
    }

    /// The next settlement behind this one; `None` if there was none for a while.
    async fn next(&self, position: u64) -> Result<Option<Event>, NodeFault> {
        let wait = json!({ "lastpay_index": position, "timeout": WAIT_S });
        let request = self.http.post("/v1/waitanyinvoice", &wait);
        let reply = http::send_within(WAIT_MAX, request).await?;
        if reply.status() == StatusCode::INTERNAL_SERVER_ERROR
            && reply.parse().is_ok_and(|Fault { code }| code == Some(TIMED_OUT))
        {
            return Ok(None);
        }
        let invoice: Invoice = reply.json()?;
        let position = invoice.pay_index.ok_or(NodeFault::Unreadable)?;
        let payment_hash = invoice.payment_hash;
        Ok(Some(Event { payment_hash, settled: invoice.settled()?, position }))
    }
}

impl Node for Cln {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            let unique: [u8; 12] = entropy::random_bytes().map_err(|error| {
                tracing::error!(%error, "no label for an invoice");
                NodeFault::Down
            })?;
            let label = format!("{LABEL}{}/{}", hex::encode(unique), order.note);
            let new = NewInvoice {
                amount_msat: order.amount,
                label: &label,
                description: &order.memo,
                expiry: order.expiry_s,
            };
            let Created { payment_hash, bolt11 } =
                http::send(self.http.post("/v1/invoice", &new)).await?.json()?;
            Ok(MadeInvoice { payment_hash, bolt11 })
        })
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let query = json!({ "payment_hash": hash });
            let Listed { invoices } =
                http::send(self.http.post("/v1/listinvoices", &query)).await?.json()?;
            let Some(invoice) = invoices.into_iter().next() else { return Ok(Answer::Unknown) };
            Ok(match invoice.status {
                Status::Unpaid => Answer::Open,
                Status::Expired => Answer::Expired,
                Status::Paid => Answer::Settled(invoice.settled()?),
            })
        })
    }

    fn settled_after(&self, position: u64) -> Option<Events> {
        let next = async |(node, position): (Self, u64)| loop {
            match node.next(position).await {
                Ok(None) => {}
                // A node that repeats itself would keep us busy for ever.
                Ok(Some(event)) if event.position <= position => {
                    return Some((Err(NodeFault::Unreadable), (node, position)));
                }
                Ok(Some(event)) => {
                    let position = event.position;
                    return Some((Ok(event), (node, position)));
                }
                Err(fault) => return Some((Err(fault), (node, position))),
            }
        };
        Some(stream::unfold((self.clone(), position), next).boxed())
    }

    /// Needs the method `listpeerchannels`, which nothing else here does.
    fn inbound(&self) -> Call<'_, Option<Msat>> {
        Box::pin(async move {
            let reply = http::send(self.http.post("/v1/listpeerchannels", &json!({}))).await?;
            if reply.denies() {
                return Ok(None);
            }
            let Channels { channels } = reply.json()?;
            let usable = channels.into_iter().filter(|it| it.state == "CHANNELD_NORMAL");
            let parts = usable.filter_map(|channel| channel.receivable_msat);
            let sum = parts.into_iter().try_fold(Msat::ZERO, Msat::checked_add);
            sum.map(Some).ok_or(NodeFault::Unreadable)
        })
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let order = json!({ "bolt11": NO_INVOICE });
            http::send(self.http.post("/v1/pay", &order)).await.map(|reply| Some(!reply.denies()))
        })
    }

    fn name(&self) -> String {
        self.http.name("cln")
    }
}

impl Invoice {
    fn settled(self) -> Result<SettledInvoice, NodeFault> {
        let (Some(bolt11), Some(received)) = (self.bolt11, self.amount_received_msat) else {
            return Err(NodeFault::Unreadable);
        };
        let note = self.label.strip_prefix(LABEL).and_then(|rest| rest.split_once('/'));
        let note = note.map(|(_unique, note)| note.to_owned());
        Ok(SettledInvoice { bolt11, note, received })
    }
}
