//! What phoenixd says of payments, in the words of its API.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tollway_core::secret::SecretText;

use super::*;
use crate::config::{NodeUrl, PhoenixdConfig};
use crate::lightning::NodeFault;

/// A phoenixd that says this.
async fn wallet(said: Arc<Mutex<(u16, &'static str)>>) -> PayingWallet {
    let words = Arc::clone(&said);
    let told = async move || {
        let (status, body) = *words.lock().unwrap();
        (StatusCode::from_u16(status).unwrap(), body)
    };
    let refuse = async || (StatusCode::BAD_REQUEST, "bad invoice");
    let router = Router::new()
        .route("/payments/outgoingbyhash/{hash}", get(told))
        .route("/payinvoice", post(refuse));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let config = PhoenixdConfig {
        url: NodeUrl::parse(&url).unwrap(),
        cert: None,
        password: SecretText::new("a-password-of-a-test".to_owned()),
        webhook: None,
    };
    PayingWallet::connect(&NodeConfig::Phoenixd(config), Network::Regtest).unwrap()
}

#[tokio::test]
async fn phoenixd_s_words_of_a_payment_are_understood_or_unsure() {
    let said = Arc::new(Mutex::new((200, "")));
    let wallet = wallet(Arc::clone(&said)).await;
    let hash = PaymentHash::from_bytes([7; 32]);
    for (status, body, expected) in [
        (404, "no such payment", Ok(Outgoing::Unknown)),
        (204, "", Ok(Outgoing::Unknown)),
        (200, r#"{"isPaid":true,"completedAt":1,"fees":4}"#, Ok(Outgoing::Paid)),
        (200, r#"{"isPaid":false}"#, Ok(Outgoing::InFlight)),
        (200, r#"{"isPaid":false,"completedAt":null}"#, Ok(Outgoing::InFlight)),
        (200, r#"{"isPaid":false,"completedAt":1}"#, Ok(Outgoing::Failed)),
        (200, "{}", Err(NodeFault::Unreadable)),
        (401, "", Err(NodeFault::Denied)),
        (503, "", Err(NodeFault::Down)),
    ] {
        *said.lock().unwrap() = (status, body);
        assert_eq!(wallet.payer.outgoing(&hash).await, expected, "{status} {body}");
    }
    *said.lock().unwrap() = (404, "");
    assert_eq!(wallet.may_pay().await, Ok(true));
    *said.lock().unwrap() = (403, "");
    assert_eq!(
        wallet.may_pay().await,
        Ok(false),
        "it may pay, and could not know what became of it"
    );
}
