//! A client that never gives up, and counts for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, eventually};

/// The pause before asking again; Retry-After says one second, which would be a long campaign.
const PAUSE: Duration = Duration::from_millis(5);

/// What all clients share.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    pub(crate) stop: AtomicBool,
    pub(crate) served: AtomicU64,
    pub(crate) asked: AtomicU64,
}

/// What one client counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    pub(crate) credential: String,
    /// The payment hash of its first purchase, which names its account.
    pub(crate) name: String,
    pub(crate) bought_msat: u64,
    pub(crate) served: u64,
    /// Answers that may not be.
    pub(crate) surprises: Vec<String>,
}

/// Buys when it must and asks until the crowd is told to stop.
pub(crate) async fn spend(http: Http, crowd: Arc<Crowd>, name: String) -> Account {
    let mut account = Account::default();
    while !crowd.stop.load(Ordering::SeqCst) {
        // Clients of one address and one kind would share an invoice, and then an account.
        let mut request = http.request(Method::GET, "/echo").header("user-agent", &name);
        if !account.credential.is_empty() {
            request = request.header("authorization", &account.credential);
        }
        crowd.asked.fetch_add(1, Ordering::SeqCst);
        let answer = http.send(request).await;
        match answer.status.as_u16() {
            200 => {
                account.served += 1;
                crowd.served.fetch_add(1, Ordering::SeqCst);
            }
            402 => buy(&http, &mut account, &answer).await,
            // Too many invoices for one address: as good as a failure.
            429 | 503 => tokio::time::sleep(PAUSE).await,
            _ => account.surprises.push(format!("{answer:?}")),
        }
    }
    account
}

/// Pays a challenge. The payment may be told several times; it is one payment all the same.
async fn buy(http: &Http, account: &mut Account, challenge: &Answer) {
    let body = challenge.json();
    let expected = if account.name.is_empty() { "payment_required" } else { "insufficient_credit" };
    if body["code"] != expected {
        account.surprises.push(format!("expected {expected}, but found {body}"));
        return;
    }
    let preimage =
        eventually("the payment is answered", async || pay(http, &body["invoice"]).await).await;
    account.bought_msat += body["amountSats"].as_u64().unwrap() * 1_000;
    if account.name.is_empty() {
        account.name = body["paymentHash"].as_str().unwrap().to_owned();
        account.credential = format!("L402 {}:{preimage}", body["macaroon"].as_str().unwrap());
    }
}

/// The preimage, unless `tollwayd` died before its answer.
async fn pay(http: &Http, invoice: &Value) -> Option<String> {
    let reply: Value = http
        .wallet()
        .json(&json!({"invoice": invoice}))
        .send()
        .await
        .ok()?
        .error_for_status()
        .ok()?
        .json()
        .await
        .ok()?;
    reply["preimage"].as_str().map(str::to_owned)
}
