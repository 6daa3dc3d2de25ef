//! Nostr Wallet Connect (NIP-47): a wallet behind a relay, in end-to-end encrypted messages.
//!
//! The wallet's info event says which encryption it knows: NIP-44 is preferred, NIP-04 is what
//! wallets know that say nothing.

use std::fmt;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nostr::event::Event;
use nostr::nips::nip47::{
    ErrorCode, LookupInvoiceRequest, LookupInvoiceResponse, Nip47Ciphers, NostrWalletConnectUri,
    PayInvoiceRequest, Request, Response, ResponseResult, TransactionState, TransactionType,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tollway_core::money::Msat;
use tollway_core::payment::Preimage;

use super::http::PAYMENT_TIMEOUT_S;
use super::{Outcome, Paid, Secret, Wallet, WalletError, WalletFuture, proven};
use crate::invoice::Invoice;

/// How long a relay may take to let us in, and to say what it knows.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);
const QUESTION_TIMEOUT: Duration = Duration::from_secs(15);
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(PAYMENT_TIMEOUT_S + 15);
/// The most bytes of one message of a relay.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;
const KIND_INFO: u16 = 13194;
const KIND_RESPONSE: u16 = 23195;

/// A wallet by its pairing link, `nostr+walletconnect://..`. The wallet itself limits fees.
#[derive(Clone)]
pub struct Nwc {
    uri: NostrWalletConnectUri,
}

impl fmt::Debug for Nwc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nwc").field("wallet", &self.uri.public_key).finish_non_exhaustive()
    }
}

impl Nwc {
    /// A wallet by its pairing link.
    ///
    /// # Errors
    /// [`WalletError::BadSetting`] for any other text.
    pub fn new(link: &Secret) -> Result<Self, WalletError> {
        let expected = "a pairing link that begins with nostr+walletconnect://";
        let uri = NostrWalletConnectUri::parse(link.reveal());
        Ok(Self { uri: uri.map_err(|_| WalletError::BadSetting { expected })? })
    }

    /// Asks the wallet; the first relay that lets us in carries the question.
    async fn ask(&self, request: Request, patience: Duration) -> Result<Response, WalletError> {
        let mut relay = self.relay().await?;
        let ciphers = relay.ciphers(&self.uri).await?;
        let event = request
            .to_event(&self.uri, ciphers)
            .map_err(|error| WalletError::Unreachable(error.to_string()))?;
        let id = event.id.to_hex();
        let wallet = self.uri.public_key.to_hex();
        let filter = json!({"kinds": [KIND_RESPONSE], "authors": [wallet], "#e": [id]});
        relay.send(&json!(["REQ", "answer", filter])).await?;
        relay.send(&json!(["EVENT", event])).await?;
        let answer = timeout(patience, relay.answer(&self.uri, &id, ciphers)).await;
        relay.close().await;
        answer.map_err(|_| WalletError::Unreachable("the wallet said nothing in time".into()))?
    }

    async fn relay(&self) -> Result<Relay, WalletError> {
        let mut last = WalletError::Unreachable("it names no relay".into());
        let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
        for url in &self.uri.relays {
            let connect = connect_async_with_config(url.as_str(), Some(config), false);
            last = match timeout(RELAY_TIMEOUT, connect).await {
                Ok(Ok((socket, _))) => return Ok(Relay { socket }),
                Ok(Err(error)) => WalletError::Unreachable(format!("its relay: {error}")),
                Err(_) => WalletError::Unreachable("its relay took too long".into()),
            };
        }
        Err(last)
    }

    async fn payment(&self, invoice: &Invoice) -> Result<Outcome, WalletError> {
        let payment_hash = Some(invoice.payment_hash().to_hex());
        let question = LookupInvoiceRequest { payment_hash, invoice: None };
        let reply = self.ask(Request::lookup_invoice(question), QUESTION_TIMEOUT).await?;
        match (reply.error, reply.result) {
            (Some(error), _) if error.code == ErrorCode::NotFound => Ok(Outcome::NotPaid),
            (Some(error), _) => Err(fault(error.code, &error.message)),
            (None, Some(ResponseResult::LookupInvoice(found))) => outcome(invoice, &found),
            (None, _) => Err(WalletError::NoProof),
        }
    }
}

fn outcome(invoice: &Invoice, found: &LookupInvoiceResponse) -> Result<Outcome, WalletError> {
    if found.transaction_type == Some(TransactionType::Incoming) {
        return Ok(Outcome::NotPaid);
    }
    let settled = found.settled_at.is_some();
    Ok(match found.state {
        Some(TransactionState::Failed | TransactionState::Expired) => Outcome::NotPaid,
        state if settled || state == Some(TransactionState::Settled) => {
            let preimage = found.preimage.as_deref().unwrap_or_default();
            let preimage = Preimage::from_hex(preimage.as_bytes()).ok();
            let fee = Msat::new(found.fees_paid).unwrap_or(Msat::MAX);
            Outcome::Paid(proven(invoice, preimage, fee)?)
        }
        _ => Outcome::InFlight,
    })
}

impl Wallet for Nwc {
    fn pay<'a>(&'a self, invoice: &'a Invoice, _fee_max: Msat) -> WalletFuture<'a, Paid> {
        Box::pin(async move {
            let order = PayInvoiceRequest::new(invoice.text());
            let reply = self.ask(Request::pay_invoice(order), PAYMENT_TIMEOUT).await?;
            let error = match (reply.error, reply.result) {
                (None, Some(ResponseResult::PayInvoice(paid))) => {
                    let preimage = Preimage::from_hex(paid.preimage.as_bytes()).ok();
                    let fee = paid.fees_paid.and_then(Msat::new).unwrap_or(Msat::ZERO);
                    return proven(invoice, preimage, fee);
                }
                (None, _) => return Err(WalletError::NoProof),
                (Some(error), _) => error,
            };
            let fault = fault(error.code, &error.message);
            if fault.is_refusal() {
                return Err(fault);
            }
            // "Failed" may mean a timeout, or that the invoice was paid before.
            match self.payment(invoice).await? {
                Outcome::Paid(paid) => Ok(paid),
                Outcome::InFlight | Outcome::Unknown => Err(WalletError::InFlight),
                Outcome::NotPaid => Err(WalletError::PaymentFailed(shown(&error.message))),
            }
        })
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        Box::pin(self.payment(invoice))
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        Box::pin(async move {
            let reply = self.ask(Request::get_balance(), QUESTION_TIMEOUT).await?;
            match (reply.error, reply.result) {
                (None, Some(ResponseResult::GetBalance(found))) => Ok(Msat::new(found.balance)),
                // A wallet may keep it to itself.
                (Some(error), _)
                    if matches!(error.code, ErrorCode::NotImplemented | ErrorCode::Restricted) =>
                {
                    Ok(None)
                }
                (Some(error), _) => Err(fault(error.code, &error.message)),
                (None, _) => Err(WalletError::NoProof),
            }
        })
    }
}

/// A relay that let us in.
struct Relay {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Relay {
    async fn send(&mut self, message: &Value) -> Result<(), WalletError> {
        let sent = self.socket.send(Message::text(message.to_string())).await;
        sent.map_err(|error| WalletError::Unreachable(format!("its relay: {error}")))
    }

    /// The next message: its name and the rest.
    async fn next(&mut self) -> Result<(String, Value), WalletError> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    return Err(WalletError::Unreachable(format!("its relay: {error}")));
                }
                None => return Err(WalletError::Unreachable("its relay hung up".into())),
            };
            let Message::Text(text) = message else { continue };
            let Ok(json) = serde_json::from_str::<Value>(&text) else { continue };
            if let Some(name) = json.get(0).and_then(Value::as_str) {
                return Ok((name.to_owned(), json));
            }
        }
    }

    /// The encryption that the wallet knows, the best first.
    async fn ciphers(&mut self, uri: &NostrWalletConnectUri) -> Result<Nip47Ciphers, WalletError> {
        let wallet = uri.public_key;
        let filter = json!({"kinds": [KIND_INFO], "authors": [wallet.to_hex()], "limit": 1});
        self.send(&json!(["REQ", "info", filter])).await?;
        let found = timeout(RELAY_TIMEOUT, async {
            loop {
                let (name, message) = self.next().await?;
                let event = || Event::from_json(message.get(2)?.to_string()).ok();
                match name.as_str() {
                    "EVENT" => {
                        let Some(event) = event() else { continue };
                        let of_wallet = event.pubkey == wallet
                            && event.kind.as_u16() == KIND_INFO
                            && event.verify().is_ok();
                        if of_wallet {
                            return Ok(encryption(&event));
                        }
                    }
                    "EOSE" | "CLOSED" => return Ok(Nip47Ciphers::NIP04),
                    _ => {}
                }
            }
        });
        let ciphers = found
            .await
            .map_err(|_| WalletError::Unreachable("its relay took too long".into()))??;
        self.send(&json!(["CLOSE", "info"])).await?;
        Ok(ciphers)
    }

    async fn answer(
        &mut self,
        uri: &NostrWalletConnectUri,
        id: &str,
        ciphers: Nip47Ciphers,
    ) -> Result<Response, WalletError> {
        loop {
            let (name, message) = self.next().await?;
            let part = |at: usize| message.get(at);
            let said = |at: usize| shown(part(at).and_then(Value::as_str).unwrap_or_default());
            match name.as_str() {
                "EVENT" if part(1) == Some(&json!("answer")) => {
                    let event = part(2).and_then(|event| Event::from_json(event.to_string()).ok());
                    let Some(event) = event else { continue };
                    // An event of somebody else's proves nothing and is passed over.
                    if let Ok(response) = Response::from_event(uri, &event, ciphers.latest()) {
                        return Ok(response);
                    }
                }
                "OK" if part(1) == Some(&json!(id)) && part(2) == Some(&json!(false)) => {
                    let detail = said(3);
                    return Err(WalletError::Refused { status: 0, detail });
                }
                "CLOSED" if part(1) == Some(&json!("answer")) => {
                    return Err(WalletError::Unreachable(format!("its relay: {}", said(2))));
                }
                _ => {}
            }
        }
    }

    async fn close(mut self) {
        // Whoever hangs up first, the answer is here.
        _ = timeout(RELAY_TIMEOUT, self.socket.close(None)).await;
    }
}

fn encryption(info: &Event) -> Nip47Ciphers {
    let tag = info.tags.iter().find_map(|tag| {
        let words = tag.as_slice();
        words.first().filter(|name| *name == "encryption").and_then(|_| words.get(1))
    });
    tag.and_then(|text| text.parse().ok()).unwrap_or(Nip47Ciphers::NIP04)
}

/// What a wallet's error code means for the money.
fn fault(code: ErrorCode, message: &str) -> WalletError {
    let detail = shown(message);
    match code {
        ErrorCode::InsufficientBalance | ErrorCode::QuotaExceeded => {
            WalletError::PaymentFailed(detail)
        }
        ErrorCode::NotImplemented | ErrorCode::Restricted | ErrorCode::Unauthorized => {
            WalletError::NotAllowed { status: 0, detail }
        }
        ErrorCode::RateLimited => WalletError::Refused { status: 429, detail },
        ErrorCode::PaymentFailed | ErrorCode::NotFound | ErrorCode::Internal | ErrorCode::Other => {
            WalletError::Failed { status: 0, detail }
        }
    }
}

/// Text of a stranger, safe for a terminal.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
