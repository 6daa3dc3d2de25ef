//! A wallet behind Nostr Wallet Connect (NIP-47): `make_invoice`, `lookup_invoice`.
//!
//! Requests and answers are encrypted events on a relay, which sees who talks to whom and how
//! much, but nothing else: NIP-44 where the wallet's info event offers it, else NIP-04. The
//! connection needs these two methods and no more; a wallet that grants `pay_invoice` with it
//! grants too much. An answer counts if the wallet's key has signed it.

mod notifications;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::{Event as Note, EventBuilder, EventId, FinalizeEvent, Kind, Tag};
use nostr::key::{Keys, PublicKey};
use nostr::nips::nip47::{Nip47Ciphers, NostrWalletConnectUri};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_tungstenite::connect_async_with_config;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::hints::Socket;
use super::invoice::asked;
use super::{
    Answer, Call, Events, Hints, InvoiceOrder, MadeInvoice, Node, NodeFault, SettledInvoice,
    payment_hash_of,
};
use crate::config::NwcConfig;

/// A wallet on a phone may wake up for it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest message of a relay that is read; an answer is a few KiB.
const MESSAGE_BYTES_MAX: usize = 256 * 1_024;
/// Messages that are read for one answer: relays chat.
const MESSAGES_MAX: usize = 64;

/// A wallet.
pub(super) struct Nwc {
    uri: NostrWalletConnectUri,
    keys: Keys,
    /// What the wallet offers, once it has said so.
    ciphers: Mutex<Option<Nip47Ciphers>>,
}

/// What a wallet answers.
#[derive(Deserialize)]
struct Reply {
    error: Option<Refusal>,
    result: Option<Value>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

#[derive(Deserialize)]
struct Made {
    invoice: String,
    /// Some leave it empty.
    payment_hash: Option<String>,
}

/// The fields of a transaction that matter here.
#[derive(Deserialize)]
struct Transaction {
    invoice: Option<String>,
    state: Option<String>,
    settled_at: Option<u64>,
    amount: Option<Msat>,
    metadata: Option<Value>,
}

impl Nwc {
    /// The wallet of this configuration.
    pub(super) fn new(config: &NwcConfig) -> Self {
        let uri = config.uri.clone();
        let keys = Keys::new(uri.secret.clone());
        Self { uri, keys, ciphers: Mutex::default() }
    }

    /// Asks the wallet.
    async fn call(&self, method: &str, params: Value) -> Result<Reply, NodeFault> {
        let exchange = async {
            let mut socket = connect(&self.uri).await?;
            let ciphers = self.ciphers(&mut socket).await?;
            let reply = self.exchange(&mut socket, ciphers, method, params).await;
            // It has said what was asked; how the connection ends does not matter.
            let _ = socket.close(None).await;
            reply
        };
        tokio::time::timeout(TIMEOUT, exchange).await.unwrap_or_else(|_| {
            tracing::warn!(method, "the wallet does not answer in time");
            Err(NodeFault::Down)
        })
    }

    /// What the wallet can decrypt, from its info event.
    async fn ciphers(&self, socket: &mut Socket) -> Result<Nip47Ciphers, NodeFault> {
        let known = *self.ciphers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return Ok(known);
        }
        let filter = json!({ "kinds": [13_194], "authors": [self.uri.public_key], "limit": 1 });
        send(socket, &json!(["REQ", "info", filter])).await?;
        for _ in 0..MESSAGES_MAX {
            let message = receive(socket).await?;
            match heard(&message) {
                Some(("EVENT", "info")) => {
                    let Some(info) = self.signed(&message, Kind::WalletConnectInfo) else {
                        continue;
                    };
                    let tag = info.tags.iter().map(|tag| tag.as_slice());
                    let tag = tag
                        .into_iter()
                        .find(|tag| tag.first().is_some_and(|it| it == "encryption"));
                    let offered = tag.and_then(|tag| tag.get(1)?.parse().ok());
                    // Without the tag, it knows the old one alone.
                    let offered = offered.unwrap_or(Nip47Ciphers::NIP04);
                    *self.ciphers.lock().unwrap_or_else(PoisonError::into_inner) = Some(offered);
                    send(socket, &json!(["CLOSE", "info"])).await?;
                    return Ok(offered);
                }
                Some(("EOSE" | "CLOSED", "info")) => return Ok(Nip47Ciphers::NIP04),
                _ => {}
            }
        }
        Err(NodeFault::Unreadable)
    }

    async fn exchange(
        &self,
        socket: &mut Socket,
        ciphers: Nip47Ciphers,
        method: &str,
        params: Value,
    ) -> Result<Reply, NodeFault> {
        let request = self.request(ciphers, &json!({ "method": method, "params": params }))?;
        let wallet = self.uri.public_key;
        let filter = json!({ "kinds": [23_195], "authors": [wallet], "#e": [request.id] });
        send(socket, &json!(["REQ", "reply", filter])).await?;
        send(socket, &json!(["EVENT", request])).await?;
        for _ in 0..MESSAGES_MAX {
            let message = receive(socket).await?;
            match heard(&message) {
                Some(("EVENT", "reply")) => {
                    let Some(answer) = self.signed(&message, Kind::WalletConnectResponse) else {
                        continue;
                    };
                    if !answers(&answer, &request.id) {
                        continue;
                    }
                    let cipher = ciphers.latest();
                    let text = cipher.decrypt(&self.uri.secret, &wallet, &answer.content);
                    let text = text.map_err(|_| NodeFault::Unreadable)?;
                    return serde_json::from_str(&text).map_err(|_| NodeFault::Unreadable);
                }
                Some(("OK", id))
                    if id == request.id.to_hex() && message.get(2) == Some(&Value::Bool(false)) =>
                {
                    tracing::error!(said = said(&message), "the relay refuses the request");
                    return Err(NodeFault::Refused);
                }
                Some(("CLOSED", "reply")) => {
                    tracing::warn!(said = said(&message), "the relay ends the subscription");
                    return Err(NodeFault::Down);
                }
                _ => {}
            }
        }
        Err(NodeFault::Unreadable)
    }

    fn request(&self, ciphers: Nip47Ciphers, body: &Value) -> Result<Note, NodeFault> {
        let cipher = ciphers.latest();
        let sealed = cipher.encrypt(&self.uri.secret, &self.uri.public_key, &body.to_string());
        let sealed = sealed.map_err(|_| NodeFault::Down)?;
        let wallet = Tag::public_key(self.uri.public_key);
        let builder = EventBuilder::new(Kind::WalletConnectRequest, sealed).tag(wallet);
        let builder = if cipher == Nip47Ciphers::NIP44V2 {
            let words = ["encryption".to_owned(), cipher.to_string()];
            builder.tag(Tag::parse(words).map_err(|_| NodeFault::Down)?)
        } else {
            builder
        };
        builder.finalize(&self.keys).map_err(|_| NodeFault::Down)
    }

    /// The event of a message, if the wallet has signed it.
    fn signed(&self, message: &Value, kind: Kind) -> Option<Note> {
        signed(&self.uri.public_key, message, &[kind])
    }
}

/// The first relay that can be reached.
async fn connect(uri: &NostrWalletConnectUri) -> Result<Socket, NodeFault> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    for relay in &uri.relays {
        match connect_async_with_config(relay.as_str(), Some(limits), false).await {
            Ok((socket, _response)) => return Ok(socket),
            Err(error) => tracing::warn!(%relay, %error, "the relay cannot be reached"),
        }
    }
    Err(NodeFault::Down)
}

/// The event of a message, if it is one of these kinds and the wallet has signed it.
fn signed(wallet: &PublicKey, message: &Value, kinds: &[Kind]) -> Option<Note> {
    let event: Note = serde_json::from_value(message.get(2)?.clone()).ok()?;
    let right = event.pubkey == *wallet && kinds.contains(&event.kind);
    (right && event.verify().is_ok()).then_some(event)
}

impl Node for Nwc {
    fn create_invoice<'a>(&'a self, order: &'a InvoiceOrder) -> Call<'a, MadeInvoice> {
        Box::pin(async move {
            let params = json!({
                "amount": order.amount,
                "description": order.memo,
                "expiry": order.expiry_s,
                "metadata": { "tollway": order.note },
            });
            let reply = self.call("make_invoice", params).await?;
            let made: Made = reply.read()?.ok_or(NodeFault::Refused)?;
            let said = made.payment_hash.filter(|hash| !hash.is_empty());
            let payment_hash = match said {
                Some(hash) => PaymentHash::from_hex(hash.as_bytes()).ok(),
                None => payment_hash_of(&made.invoice),
            };
            let payment_hash = payment_hash.ok_or(NodeFault::Unreadable)?;
            Ok(MadeInvoice { payment_hash, bolt11: made.invoice })
        })
    }

    fn look_up<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Answer> {
        Box::pin(async move {
            let reply = self.call("lookup_invoice", json!({ "payment_hash": hash })).await?;
            let Some(found): Option<Transaction> = reply.read()? else {
                return Ok(Answer::Unknown);
            };
            let state = found.state.as_deref().unwrap_or_default();
            // Not every wallet tells the state.
            if found.settled_at.is_none_or(|at| at == 0) && state != "settled" {
                let over = matches!(state, "expired" | "failed");
                return Ok(if over { Answer::Expired } else { Answer::Open });
            }
            let bolt11 = found.invoice.ok_or(NodeFault::Unreadable)?;
            let received = match found.amount {
                Some(amount) => amount,
                None => asked(&bolt11)?,
            };
            let note = found.metadata.as_ref().and_then(|data| data.get("tollway")?.as_str());
            let note = note.map(str::to_owned);
            Ok(Answer::Settled(SettledInvoice { bolt11, note, received }))
        })
    }

    fn settled_after(&self, _position: u64) -> Option<Events> {
        None
    }

    fn hints(&self) -> Option<Hints> {
        Some(notifications::hints(&self.uri))
    }

    fn may_pay(&self) -> Call<'_, Option<bool>> {
        Box::pin(async move {
            let reply = self.call("get_info", json!({})).await?;
            let methods = reply.result.as_ref().and_then(|info| info.get("methods")?.as_array());
            Ok(methods.map(|methods| methods.iter().any(|method| method == "pay_invoice")))
        })
    }

    fn name(&self) -> String {
        format!("nwc {}", self.uri.public_key)
    }
}

impl Reply {
    /// The result; `None` for something that the wallet does not know.
    fn read<T: serde::de::DeserializeOwned>(self) -> Result<Option<T>, NodeFault> {
        if let Some(Refusal { code }) = self.error {
            tracing::warn!(code, "the wallet refuses");
            return match code.as_str() {
                "NOT_FOUND" => Ok(None),
                "UNAUTHORIZED" | "RESTRICTED" => Err(NodeFault::Denied),
                "RATE_LIMITED" | "INTERNAL" => Err(NodeFault::Down),
                _ => Err(NodeFault::Refused),
            };
        }
        let result = self.result.ok_or(NodeFault::Unreadable)?;
        serde_json::from_value(result).map(Some).map_err(|_| NodeFault::Unreadable)
    }
}

impl std::fmt::Debug for Nwc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nwc").field("wallet", &self.uri.public_key).finish_non_exhaustive()
    }
}

/// Whether an event answers this request.
fn answers(event: &Note, request: &EventId) -> bool {
    let id = request.to_hex();
    event.tags.iter().map(|tag| tag.as_slice()).any(|tag| match tag {
        [name, value, ..] => name == "e" && *value == id,
        _ => false,
    })
}

/// The kind of a relay's message, and what it is about.
fn heard(message: &Value) -> Option<(&str, &str)> {
    Some((message.get(0)?.as_str()?, message.get(1)?.as_str()?))
}

/// A relay's reason.
fn said(message: &Value) -> String {
    let reason = message.as_array().and_then(|parts| parts.last()).and_then(Value::as_str);
    reason.unwrap_or_default().chars().filter(|letter| !letter.is_control()).take(200).collect()
}

async fn send(socket: &mut Socket, message: &Value) -> Result<(), NodeFault> {
    let sent = socket.send(Message::text(message.to_string())).await;
    sent.map_err(|error| {
        tracing::warn!(%error, "the relay went away");
        NodeFault::Down
    })
}

/// The next text of the relay.
async fn receive(socket: &mut Socket) -> Result<Value, NodeFault> {
    while let Some(message) = socket.next().await {
        let message = message.map_err(|error| {
            tracing::warn!(%error, "the relay went away");
            NodeFault::Down
        })?;
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).map_err(|_| NodeFault::Unreadable);
        }
    }
    Err(NodeFault::Down)
}
