//! Words of a node that something was paid (`POST /hooks/v1/lightning`).
//!
//! LNbits, phoenixd and BTCPay call it. BTCPay signs what it says, which is checked; the others do
//! not prove who they are. Nothing that is said is believed: an invoice of ours that is named is
//! looked up at the node soon, at most once a second. The answer is always the same, so that it
//! tells nothing.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde::Deserialize;
use tollway_core::payment::PaymentHash;
use tollway_core::secret::SecretText;

use super::Doors;
use crate::lightning::payment_hash_of;
use crate::signature;

/// A payment with its invoice is a few KiB.
const HINT_BYTES_MAX: usize = 64 * 1_024;

/// What carries BTCPay's signature.
const BTCPAY_SIGNATURE: &str = "btcpay-sig";

/// What LNbits and phoenixd call the hash.
#[derive(Deserialize)]
struct Hint {
    #[serde(alias = "paymentHash")]
    payment_hash: PaymentHash,
}

/// What BTCPay says of a payment of a store's invoice (`InvoiceReceivedPayment` and
/// `InvoicePaymentSettled`): what was paid is a Lightning invoice.
#[derive(Deserialize)]
struct BtcpayHint {
    payment: BtcpayPayment,
}

#[derive(Deserialize)]
struct BtcpayPayment {
    destination: String,
}

pub(super) fn router() -> Router<Doors> {
    Router::new().route("/hooks/v1/lightning", post(hint))
}

async fn hint(State(doors): State<Doors>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let paywall = &doors.paywall;
    let hash = match headers.get(BTCPAY_SIGNATURE) {
        Some(shown) if body.len() <= HINT_BYTES_MAX => {
            let shown = shown.as_bytes();
            let signs =
                |secret: &SecretText| signature::is_of_btcpay(secret.reveal(), shown, &body);
            let signed = paywall.pool.webhook_secrets().any(signs);
            signed.then(|| named_by_btcpay(&body)).flatten()
        }
        Some(_) => None,
        None => named(&body),
    };
    if let Some(hash) = hash {
        let known = paywall.pool.hint(&hash, paywall.clock.now_ms());
        tracing::debug!(%hash, known, "a node says that something was paid");
    }
    StatusCode::NO_CONTENT
}

fn named_by_btcpay(body: &[u8]) -> Option<PaymentHash> {
    let hint: BtcpayHint = serde_json::from_slice(body).ok()?;
    payment_hash_of(&hint.payment.destination)
}

/// The payment hash of a hint. LNbits sends its object as a text in JSON.
pub(crate) fn named(body: &[u8]) -> Option<PaymentHash> {
    if body.len() > HINT_BYTES_MAX {
        return None;
    }
    let hint = match serde_json::from_slice::<String>(body) {
        Ok(text) => serde_json::from_str::<Hint>(&text),
        Err(_) => serde_json::from_slice::<Hint>(body),
    };
    hint.ok().map(|hint| hint.payment_hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn btcpay_names_what_was_paid_by_its_invoice() {
        // A signed invoice, as BOLT 11 has it for an example.
        let bolt11 = "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuven09sam30g4vgpfna3rh";
        let hash = "0001020304050607080900010203040506070809000102030405060708090102";
        let body = |destination: &str| {
            serde_json::json!({
                "deliveryId": "d", "webhookId": "w", "originalDeliveryId": "d",
                "isRedelivery": false, "type": "InvoicePaymentSettled", "timestamp": 1_700_000_000,
                "storeId": "s", "invoiceId": "i", "afterExpiration": false,
                "paymentMethodId": "BTC-LN",
                "payment": {
                    "id": hash, "receivedDate": 1_700_000_000, "value": "0.0025", "fee": "0.0",
                    "status": "Settled", "destination": destination,
                },
            })
            .to_string()
        };
        let named = named_by_btcpay(body(bolt11).as_bytes());
        assert_eq!(named.map(|hash| hash.to_hex()).as_deref(), Some(hash));
        for other in [body("bc1qother"), "{}".to_owned(), body(&bolt11.replace('q', "p"))] {
            assert_eq!(named_by_btcpay(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn the_hash_is_found_as_each_of_them_writes_it() {
        let hash = PaymentHash::from_bytes([7; 32]);
        let hex = hash.to_hex();
        let phoenixd = format!(r#"{{"type":"payment_received","paymentHash":"{hex}"}}"#);
        let lnbits = format!(r#"{{"payment_hash":"{hex}","amount":21000}}"#);
        let twice = serde_json::to_string(&lnbits).unwrap();
        for body in [&phoenixd, &lnbits, &twice] {
            assert_eq!(named(body.as_bytes()), Some(hash), "{body}");
        }
        let long = format!("{lnbits}{}", " ".repeat(HINT_BYTES_MAX));
        for body in ["", "7", "[]", "{}", r#"{"payment_hash":"7"}"#, &long] {
            assert_eq!(named(body.as_bytes()), None);
        }
    }
}
