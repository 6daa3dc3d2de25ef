//! What a wallet says by itself: notifications of NIP-47, kind 23196 encrypted by NIP-04, 23197 by
//! NIP-44.
//!
//! A hint, as a webhook is: the invoice that is named is looked up, and nothing else is believed. A
//! wallet that sends none is asked as before.

use nostr::event::Kind;
use nostr::key::Keys;
use nostr::nips::nip47::{Nip47Ciphers, NostrWalletConnectUri};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;
use tollway_core::payment::PaymentHash;

use super::{TIMEOUT, connect, heard, send, signed};
use crate::lightning::hints::listen;
use crate::lightning::{Hints, NodeFault};

const KINDS: [Kind; 2] = [Kind::WalletConnectNotification, Kind::WalletConnectNotificationNip44V2];
/// The only one that brings us credit.
const PAYMENT_RECEIVED: &str = "payment_received";

#[derive(Deserialize)]
struct Notification {
    notification_type: String,
    notification: Payment,
}

#[derive(Deserialize)]
struct Payment {
    payment_hash: PaymentHash,
}

/// The payments that the wallet names, until the connection breaks.
pub(super) fn hints(uri: &NostrWalletConnectUri) -> Hints {
    let (opener, reader) = (uri.clone(), uri.clone());
    let open = async move {
        let mut socket =
            timeout(TIMEOUT, connect(&opener)).await.map_err(|_| NodeFault::Down)??;
        let client = Keys::new(opener.secret.clone()).public_key();
        let kinds = KINDS.map(|kind| kind.as_u16());
        let filter = json!({ "kinds": kinds, "authors": [opener.public_key], "#p": [client] });
        send(&mut socket, &json!(["REQ", "hints", filter])).await?;
        Ok(socket)
    };
    listen(open, move |text| named(&reader, text))
}

/// What a relay's message names, or that it sends no more.
fn named(uri: &NostrWalletConnectUri, text: &str) -> Option<Result<PaymentHash, NodeFault>> {
    let message: Value = serde_json::from_str(text).ok()?;
    match heard(&message)? {
        ("CLOSED", "hints") => Some(Err(NodeFault::Down)),
        ("EVENT", "hints") => received(uri, &message).map(Ok),
        _ => None,
    }
}

fn received(uri: &NostrWalletConnectUri, message: &Value) -> Option<PaymentHash> {
    let event = signed(&uri.public_key, message, &KINDS)?;
    let cipher = if event.kind == Kind::WalletConnectNotification {
        Nip47Ciphers::NIP04
    } else {
        Nip47Ciphers::NIP44V2
    };
    let text = cipher.decrypt(&uri.secret, &uri.public_key, &event.content).ok()?;
    let said: Notification = serde_json::from_str(&text).ok()?;
    (said.notification_type == PAYMENT_RECEIVED).then_some(said.notification.payment_hash)
}

#[cfg(test)]
mod tests {
    use futures_util::{SinkExt, StreamExt};
    use nostr::event::{EventBuilder, FinalizeEvent, Tag};
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;
    use tokio_tungstenite::tungstenite::Message;

    use super::*;

    const WALLET: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const STRANGER: &str = "3333333333333333333333333333333333333333333333333333333333333333";

    /// What a key tells the client, as the relay passes it on.
    fn told(secret: &str, client: &Keys, kind: Kind, words: &Value) -> String {
        let keys = Keys::parse(secret).unwrap();
        let cipher = match kind {
            Kind::WalletConnectNotification => Nip47Ciphers::NIP04,
            _ => Nip47Ciphers::NIP44V2,
        };
        let sealed = cipher.encrypt(keys.secret_key(), &client.public_key(), &words.to_string());
        let builder = EventBuilder::new(kind, sealed.unwrap());
        let event = builder.tag(Tag::public_key(client.public_key())).finalize(&keys).unwrap();
        json!(["EVENT", "hints", event]).to_string()
    }

    fn words(kind: &str, tag: u8) -> Value {
        let payment_hash = PaymentHash::from_bytes([tag; 32]);
        json!({
            "notification_type": kind,
            "notification": { "type": "incoming", "payment_hash": payment_hash, "amount": 1 },
        })
    }

    #[tokio::test]
    async fn what_the_wallet_itself_says_was_received_is_named_in_either_encryption() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wallet = Keys::parse(WALLET).unwrap();
        let text = format!(
            "nostr+walletconnect://{}?relay=ws%3A%2F%2F{}&secret={}",
            wallet.public_key(),
            listener.local_addr().unwrap(),
            "2".repeat(64),
        );
        let uri: NostrWalletConnectUri = text.parse().unwrap();
        let client = Keys::new(uri.secret.clone());
        let [old, new] = KINDS;
        let received = |tag| words(PAYMENT_RECEIVED, tag);
        let messages = [
            "noise".to_owned(),
            json!(["EOSE", "hints"]).to_string(),
            told(STRANGER, &client, new, &received(1)),
            told(WALLET, &client, Kind::WalletConnectResponse, &received(2)),
            told(WALLET, &client, new, &words("payment_sent", 3)),
            told(WALLET, &client, new, &json!({"notification_type": PAYMENT_RECEIVED})),
            told(WALLET, &client, new, &received(4)),
            told(WALLET, &client, old, &received(5)),
            json!(["CLOSED", "hints", "restricted"]).to_string(),
        ];
        let relay = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            let asked = socket.next().await.unwrap().unwrap().into_text().unwrap();
            for message in messages {
                socket.send(Message::text(message)).await.unwrap();
            }
            serde_json::from_str::<Value>(asked.as_str()).unwrap()
        });
        let heard: Vec<_> = hints(&uri).collect().await;
        let hash = |tag| Ok(PaymentHash::from_bytes([tag; 32]));
        assert_eq!(heard, [hash(4), hash(5), Err(NodeFault::Down)]);
        let asked = relay.await.unwrap();
        assert_eq!(asked[2]["kinds"], json!([23_196, 23_197]));
        assert_eq!(asked[2]["authors"], json!([wallet.public_key()]));
        assert_eq!(asked[2]["#p"], json!([client.public_key()]));
    }
}
