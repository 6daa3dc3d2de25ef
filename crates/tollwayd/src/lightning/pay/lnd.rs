//! LND: `POST /v2/router/send`, `GET /v2/router/track/{hash}`, both streams of which the first line
//! says enough. The macaroon needs `offchain:write` and `offchain:read`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE as BASE64_URL;
use reqwest::header::HeaderName;
use serde::Deserialize;
use serde_json::{Value, json};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::{Outgoing, PAY_S, PAY_TIMEOUT, Payer};
use crate::config::LndConfig;
use crate::lightning::http::{self, Http};
use crate::lightning::tls::TlsFault;
use crate::lightning::{Call, NodeFault};

const MACAROON: HeaderName = HeaderName::from_static("grpc-metadata-macaroon");
const TRACK_TIMEOUT: Duration = Duration::from_secs(10);
/// A payment with all its tries.
const LINE_BYTES_MAX: usize = 1_024 * 1_024;

/// An LND that pays.
#[derive(Debug)]
pub(super) struct Lnd {
    http: Http,
}

#[derive(Deserialize)]
struct Line {
    result: Option<Payment>,
    error: Option<Fault>,
    /// Where the stream has not begun, the fault stands alone.
    message: Option<String>,
}

#[derive(Deserialize)]
struct Payment {
    status: Status,
}

#[derive(Deserialize)]
struct Fault {
    message: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Status {
    Unknown,
    Initiated,
    InFlight,
    Succeeded,
    Failed,
}

impl Lnd {
    pub(super) fn new(config: &LndConfig) -> Result<Self, TlsFault> {
        let credential = (MACAROON, &config.macaroon);
        Ok(Self { http: Http::new(&config.url, config.cert.as_deref(), credential)? })
    }

    async fn send(&self, order: Value) -> Result<(), NodeFault> {
        let sent = http::send_within(PAY_TIMEOUT, self.http.post("/v2/router/send", &order));
        let reply = sent.await?;
        let denied = reply.said().contains("permission denied");
        if denied { Err(NodeFault::Denied) } else { Ok(()) }
    }

    async fn track(&self, hash: &PaymentHash) -> Result<Outgoing, NodeFault> {
        let hash = BASE64_URL.encode(hash.as_bytes());
        let path = format!("/v2/router/track/{hash}?no_inflight_updates=false");
        let mut response = http::open(self.http.get(&path)).await?;
        let mut line = Vec::new();
        while !line.contains(&b'\n')
            && let Some(chunk) = http::chunk(&mut response).await?
        {
            line.extend_from_slice(&chunk);
            if line.len() > LINE_BYTES_MAX {
                return Err(NodeFault::Unreadable);
            }
        }
        let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
        read(line)
    }
}

/// An order to pay; the amount stands beside an invoice that has none.
fn order(bolt11: &str, amount: Option<Msat>, fee_max: Msat) -> Value {
    let mut order = json!({
        "payment_request": bolt11,
        "timeout_seconds": PAY_S,
        "fee_limit_msat": fee_max.get().to_string(),
        "no_inflight_updates": true,
    });
    if let (Some(amount), Some(fields)) = (amount, order.as_object_mut()) {
        fields.insert("amt_msat".to_owned(), json!(amount.get().to_string()));
    }
    order
}

/// What a line of the stream says, or the fault in its place.
fn read(line: &[u8]) -> Result<Outgoing, NodeFault> {
    let line: Line = serde_json::from_slice(line).map_err(|_| NodeFault::Unreadable)?;
    if let Some(payment) = line.result {
        return Ok(match payment.status {
            // Older releases say "unknown" of what has just begun.
            Status::Unknown | Status::Initiated | Status::InFlight => Outgoing::InFlight,
            Status::Succeeded => Outgoing::Paid,
            Status::Failed => Outgoing::Failed,
        });
    }
    let said = line.error.map(|fault| fault.message).or(line.message).unwrap_or_default();
    if said.contains("isn't initiated") {
        return Ok(Outgoing::Unknown);
    }
    let said: String = said.chars().filter(|letter| !letter.is_control()).take(200).collect();
    tracing::error!(said, "LND does not say what became of a payout");
    let denied = ["permission denied", "verification failed", "macaroon"];
    let denied = denied.iter().any(|word| said.contains(word));
    Err(if denied { NodeFault::Denied } else { NodeFault::Down })
}

impl Payer for Lnd {
    fn pay<'a>(&'a self, bolt11: &'a str, fee_max: Msat) -> Call<'a, ()> {
        Box::pin(self.send(order(bolt11, None, fee_max)))
    }

    fn pay_amount<'a>(&'a self, bolt11: &'a str, amount: Msat, fee_max: Msat) -> Call<'a, ()> {
        Box::pin(self.send(order(bolt11, Some(amount), fee_max)))
    }

    fn outgoing<'a>(&'a self, hash: &'a PaymentHash) -> Call<'a, Outgoing> {
        Box::pin(async move {
            let tracked = tokio::time::timeout(TRACK_TIMEOUT, self.track(hash));
            tracked.await.unwrap_or(Err(NodeFault::Down))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lnd_never_began_is_unknown() {
        for (line, expected) in [
            (r#"{"result":{"status":"IN_FLIGHT"}}"#, Ok(Outgoing::InFlight)),
            (r#"{"result":{"status":"INITIATED"}}"#, Ok(Outgoing::InFlight)),
            (r#"{"result":{"status":"SUCCEEDED","fee_msat":"0"}}"#, Ok(Outgoing::Paid)),
            (r#"{"result":{"status":"FAILED"}}"#, Ok(Outgoing::Failed)),
            (
                r#"{"error":{"code":5,"message":"payment isn't initiated","details":[]}}"#,
                Ok(Outgoing::Unknown),
            ),
            (r#"{"code":5,"message":"payment isn't initiated"}"#, Ok(Outgoing::Unknown)),
            (r#"{"code":2,"message":"permission denied"}"#, Err(NodeFault::Denied)),
            (r#"{"code":14,"message":"not ready"}"#, Err(NodeFault::Down)),
            (r#"{"result":{"status":"PERHAPS"}}"#, Err(NodeFault::Unreadable)),
            ("", Err(NodeFault::Unreadable)),
        ] {
            assert_eq!(read(line.as_bytes()), expected, "{line}");
        }
    }
}
