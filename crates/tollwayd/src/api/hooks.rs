//! Words of a node that something was paid (`POST /hooks/v1/lightning`).
//!
//! LNbits and phoenixd call it. Nobody proves who he is here, and nothing that is said is
//! believed: an invoice of ours that is named is looked up at the node soon, at most once a
//! second. The answer is always the same, so that it tells nothing.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde::Deserialize;
use tollway_core::payment::PaymentHash;

use super::Doors;

/// A payment with its invoice is a few KiB.
const HINT_BYTES_MAX: usize = 64 * 1_024;

/// What both of them call the hash.
#[derive(Deserialize)]
struct Hint {
    #[serde(alias = "paymentHash")]
    payment_hash: PaymentHash,
}

pub(super) fn router() -> Router<Doors> {
    Router::new().route("/hooks/v1/lightning", post(hint))
}

async fn hint(State(doors): State<Doors>, body: Bytes) -> StatusCode {
    let paywall = &doors.paywall;
    if let Some(hash) = named(&body) {
        let known = paywall.pool.hint(&hash, paywall.clock.now_ms());
        tracing::debug!(%hash, known, "a node says that something was paid");
    }
    StatusCode::NO_CONTENT
}

/// The payment hash of a hint. LNbits sends its object as a text in JSON.
fn named(body: &[u8]) -> Option<PaymentHash> {
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
