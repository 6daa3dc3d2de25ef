//! BTCPay Server's Greenfield API, the Lightning node of a store
//! (`swagger.template.lightning.store.json`):
//! `POST` and `GET /api/v1/stores/{store}/lightning/BTC/invoices`.
//!
//! The API key needs `btcpay.store.cancreatelightninginvoice` and
//! `btcpay.store.canviewlightninginvoice` for this store, no more. Amounts are msat as text. An
//! invoice must be named by its payment hash, as BTCPay does for LND and its own nodes.
//!
//! Where the sales are to stand in the store's books, invoices of the store are made instead
//! (`swagger.template.invoices.json`), of which only the Lightning invoice is handed out; with
//! `btcpay.store.cancreateinvoice` and `btcpay.store.canviewinvoices` for the former right. BTCPay
//! names them in its own way, so that the node is still asked whether one is paid.

mod key;

use reqwest::StatusCode;
use reqwest::header::AUTHORIZATION;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use super::http::{self, Http, NO_INVOICE};
use super::invoice::asked;
use super::tls::TlsFault;
use super::{
    Answer, Call, Events, InvoiceOrder, MadeInvoice, Node, NodeFault, Rights, SettledInvoice,
    payment_hash_of, whole_sats,
};
use crate::config::BtcpayConfig;

/// How a store's missing node is named.
const NO_NODE: &str = "lightning-not-configured";
/// BTCPay counts the time of a store's invoice from before it asks the node for it.
const STORE_EARLY_S_MAX: u64 = 10;

/// The Lightning node of a store.
#[derive(Debug)]
pub(super) struct Btcpay {
    http: Http,
    /// Its id.
    store: String,
    invoices: String,
    /// Of the store, if it makes the invoices.
    store_invoices: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewInvoice<'a> {
    amount: String,
    description: &'a str,
    expiry: u64,
    private_route_hints: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Invoice {
    id: String,
    status: Status,
    #[serde(rename = "BOLT11")]
    bolt11: String,
    amount_received: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
enum Status {
    Unpaid,
    Paid,
    Expired,
}

/// An invoice of the store.
#[derive(Deserialize)]
struct StoreInvoice {
    id: String,
}

/// A way to pay it. What one is called depends on BTCPay's version.
#[derive(Deserialize)]
struct PaymentMethod {
    destination: Option<String>,
}

impl Btcpay {
    /// The store of this configuration.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(config: &BtcpayConfig) -> Result<Self, TlsFault> {
        let credential = SecretText::new(format!("token {}", config.api_key.reveal()));
        let credential = (AUTHORIZATION, &credential);
        let http = Http::new(&config.url, config.cert.as_deref(), credential)?;
        let invoices = format!("/api/v1/stores/{}/lightning/BTC/invoices", config.store);
        let store_invoices =
            config.store_invoices.then(|| format!("/api/v1/stores/{}/invoices", config.store));
        Ok(Self { http, store: config.store.clone(), invoices, store_invoices })
    }

    async fn create_of_node(&self, order: &InvoiceOrder) -> Result<MadeInvoice, NodeFault> {
        let new = NewInvoice {
            amount: order.amount.get().to_string(),
            description: &order.memo,
            expiry: order.expiry_s,
            private_route_hints: true,
        };
        let made: Invoice = http::send(self.http.post(&self.invoices, &new)).await?.json()?;
        let payment_hash = payment_hash_of(&made.bolt11).ok_or(NodeFault::Unreadable)?;
        if !made.id.eq_ignore_ascii_case(&payment_hash.to_hex()) {
            // It could be made, but never be looked up.
            tracing::error!("BTCPay's node names invoices by something else than their hash");
            return Err(NodeFault::Unreadable);
        }
        Ok(MadeInvoice { payment_hash, bolt11: made.bolt11 })
    }

    async fn create_of_store(
        &self,
        invoices: &str,
        order: &InvoiceOrder,
    ) -> Result<MadeInvoice, NodeFault> {
        let new = json!({
            "amount": whole_sats(order.amount)?.to_string(),
            "currency": "SATS",
            "metadata": { "itemDesc": order.memo },
            "checkout": {
                "paymentMethods": ["BTC-LightningNetwork"],
                // The configuration lets whole minutes through alone.
                "expirationMinutes": order.expiry_s / 60,
                "paymentTolerance": 0,
                "lazyPaymentMethods": false,
            },
        });
        let made: StoreInvoice = http::send(self.http.post(invoices, &new)).await?.json()?;
        // It becomes a part of a path.
        if made.id.is_empty() || !made.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(NodeFault::Unreadable);
        }
        let methods = self.http.get(&format!("{invoices}/{}/payment-methods", made.id));
        let methods: Vec<PaymentMethod> = http::send(methods).await?.json()?;
        let bolt11 = |method: PaymentMethod| {
            let bolt11 = method.destination?;
            Some(MadeInvoice { payment_hash: payment_hash_of(&bolt11)?, bolt11 })
        };
        methods.into_iter().find_map(bolt11).ok_or_else(|| {
            tracing::error!("the store's invoice cannot be paid over Lightning; is it enabled?");
            NodeFault::Refused
        })
    }
}

impl Node for Btcpay {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            match &self.store_invoices {
                Some(invoices) => self.create_of_store(invoices, order).await,
                None => self.create_of_node(order).await,
            }
        })
    }

    fn ends_early_s_max(&self) -> u64 {
        if self.store_invoices.is_some() { STORE_EARLY_S_MAX } else { 0 }
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let path = format!("{}/{}", self.invoices, hash.to_hex());
            let reply = http::send(self.http.get(&path)).await?;
            if reply.status() == StatusCode::NOT_FOUND {
                // Without a node, nobody knows what was paid.
                if reply.said().contains(NO_NODE) {
                    tracing::error!("the BTCPay store has no Lightning node");
                    return Err(NodeFault::Down);
                }
                return Ok(Answer::Unknown);
            }
            let invoice: Invoice = reply.json()?;
            Ok(match invoice.status {
                Status::Unpaid => Answer::Open,
                Status::Expired => Answer::Expired,
                Status::Paid => Answer::Settled(invoice.settled()?),
            })
        })
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let order = json!({ "BOLT11": NO_INVOICE });
            let reply =
                http::send(self.http.post(&format!("{}/pay", self.invoices), &order)).await?;
            Ok(Some(!reply.denies()))
        })
    }

    fn rights(&self) -> Call<'_, Option<Rights>> {
        Box::pin(async move {
            let reply = http::send(self.http.get(key::PATH)).await?;
            let key: key::Key = reply.json()?;
            Ok(Some(key.rights(&self.store, self.store_invoices.is_some())))
        })
    }

    fn name(&self) -> String {
        self.http.name("btcpay")
    }
}

impl Invoice {
    fn settled(self) -> Result<SettledInvoice, NodeFault> {
        let asked = asked(&self.bolt11)?;
        let received = self.amount_received.and_then(|text| text.parse().ok()).and_then(Msat::new);
        // Not every node behind BTCPay says what came.
        let received = received.unwrap_or(asked);
        Ok(SettledInvoice { bolt11: self.bolt11, note: None, received })
    }
}
