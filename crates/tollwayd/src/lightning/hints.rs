//! Nodes that say over a WebSocket that something was paid: LNbits, phoenixd, and wallets behind a
//! relay.
//!
//! What they say is a hint, as a webhook is: of an invoice of ours that is named, a look-up
//! becomes due, and nothing else is believed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt, StreamExt, stream};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
};
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use super::tls::{self, TlsFault};
use super::{Hints, NodeFault};
use crate::config::NodeUrl;

/// A payment with its invoice is a few KiB.
const MESSAGE_BYTES_MAX: usize = 64 * 1_024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After so long a silence the node is asked whether it is still there, and after as long again
/// it is not.
const SILENCE_MAX: Duration = Duration::from_secs(30);

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Where a node says it.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// LNbits has the key in the path.
    url: SecretText,
    authorization: Option<SecretText>,
    tls: Option<Arc<ClientConfig>>,
}

/// What both of them call the hash, and where LNbits has it.
#[derive(Deserialize)]
struct Told {
    #[serde(alias = "paymentHash")]
    payment_hash: Option<PaymentHash>,
    payment: Option<Payment>,
}

#[derive(Deserialize)]
struct Payment {
    payment_hash: PaymentHash,
}

impl Line {
    /// The socket at this path of a node.
    ///
    /// # Errors
    /// [`TlsFault`] if the certificate is of no use.
    pub(super) fn new(
        base: &NodeUrl,
        path: &str,
        authorization: Option<SecretText>,
        cert: Option<&Path>,
    ) -> Result<Self, TlsFault> {
        // From http to ws, and from https to wss.
        let url = SecretText::new(base.join(path).replacen("http", "ws", 1));
        let tls = cert.map(tls::pinned).transpose()?.map(Arc::new);
        Ok(Self { url, authorization, tls })
    }

    /// The payments that are named, until the connection breaks.
    pub(super) fn hints(&self) -> Hints {
        let line = self.clone();
        listen(async move { line.open().await }, |text| named(text).map(Ok))
    }

    async fn open(&self) -> Result<Socket, NodeFault> {
        let mut request =
            self.url.reveal().into_client_request().map_err(|_| NodeFault::Refused)?;
        if let Some(authorization) = &self.authorization {
            let mut value =
                HeaderValue::from_str(authorization.reveal()).map_err(|_| NodeFault::Refused)?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connector = self.tls.clone().map(Connector::Rustls);
        let opening = connect_async_tls_with_config(request, Some(limits), false, connector);
        match tokio::time::timeout(CONNECT_TIMEOUT, opening).await {
            Ok(Ok((socket, _response))) => Ok(socket),
            // The error may repeat the address, and with it LNbits' key.
            Ok(Err(_)) | Err(_) => Err(NodeFault::Down),
        }
    }
}

/// The payments that are named once this socket is open, until it breaks. `read` says what a text
/// names, or that no more will come.
pub(super) fn listen(
    open: impl Future<Output = Result<Socket, NodeFault>> + Send + 'static,
    read: impl Fn(&str) -> Option<Result<PaymentHash, NodeFault>> + Send + Sync + 'static,
) -> Hints {
    let named = |opened: Result<Socket, NodeFault>| {
        let next = async |(reading, read)| {
            let mut socket: Box<Socket> = match reading? {
                Ok(socket) => socket,
                Err(fault) => return Some((Err(fault), (None, read))),
            };
            Some(match next_named(&mut socket, &read).await {
                Ok(hash) => (Ok(hash), (Some(Ok(socket)), read)),
                Err(fault) => (Err(fault), (None, read)),
            })
        };
        stream::unfold((Some(opened.map(Box::new)), read), next)
    };
    stream::once(open.map(named)).flatten().boxed()
}

async fn next_named(
    socket: &mut Socket,
    read: &impl Fn(&str) -> Option<Result<PaymentHash, NodeFault>>,
) -> Result<PaymentHash, NodeFault> {
    let mut is_asked = false;
    loop {
        match tokio::time::timeout(SILENCE_MAX, socket.next()).await {
            Err(_) if is_asked => return Err(NodeFault::Down),
            Err(_) => {
                let ping = Message::Ping(Bytes::new());
                socket.send(ping).await.map_err(|_| NodeFault::Down)?;
                is_asked = true;
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                is_asked = false;
                if let Some(named) = read(text.as_str()) {
                    return named;
                }
            }
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(NodeFault::Down),
            Ok(Some(Ok(_))) => is_asked = false,
        }
    }
}

fn named(text: &str) -> Option<PaymentHash> {
    let told: Told = serde_json::from_str(text).ok()?;
    told.payment_hash.or(told.payment.map(|payment| payment.payment_hash))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_hdr_async;
    use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

    use super::*;

    #[test]
    fn the_hash_is_found_as_each_of_them_writes_it() {
        let hash = PaymentHash::from_bytes([7; 32]);
        let hex = hash.to_hex();
        let phoenixd =
            format!(r#"{{"type":"payment_received","amountSat":1,"paymentHash":"{hex}"}}"#);
        let lnbits =
            format!(r#"{{"wallet_balance":7,"payment":{{"payment_hash":"{hex}","fee":0}}}}"#);
        for text in [&phoenixd, &lnbits] {
            assert_eq!(named(text), Some(hash), "{text}");
        }
        for text in
            ["", "7", "{}", r#"{"wallet_balance":7,"payment":null}"#, r#"{"paymentHash":"7"}"#]
        {
            assert_eq!(named(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn payments_are_named_until_the_connection_breaks_and_the_credential_is_shown() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}/node", listener.local_addr().unwrap());
        let node = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut seen = (String::new(), String::new());
            #[allow(clippy::result_large_err, reason = "the type is the callback's")]
            let look = |request: &Request, response: Response| {
                let shown = request.headers()["authorization"].to_str().unwrap();
                seen = (request.uri().path().to_owned(), shown.to_owned());
                Ok(response)
            };
            let mut socket = accept_hdr_async(stream, look).await.unwrap();
            for text in ["noise", r#"{"type":"other"}"#, "NAMED", "NAMED"] {
                let hex = PaymentHash::from_bytes([7; 32]).to_hex();
                let named = format!(r#"{{"type":"payment_received","paymentHash":"{hex}"}}"#);
                let text = if text == "NAMED" { named } else { text.to_owned() };
                socket.send(Message::text(text)).await.unwrap();
            }
            socket.close(None).await.unwrap();
            seen
        });
        let authorization = Some(SecretText::new("Basic abc".to_owned()));
        let base = NodeUrl::parse(&base).unwrap();
        let line = Line::new(&base, "/websocket", authorization, None).unwrap();
        let heard: Vec<_> = line.hints().collect().await;
        let hash = PaymentHash::from_bytes([7; 32]);
        assert_eq!(heard, [Ok(hash), Ok(hash), Err(NodeFault::Down)]);
        assert_eq!(node.await.unwrap(), ("/node/websocket".to_owned(), "Basic abc".to_owned()));
        // Nobody listens there any more.
        assert_eq!(line.hints().collect::<Vec<_>>().await, [Err(NodeFault::Down)]);
        assert!(!format!("{line:?}").contains("abc"));
    }
}
