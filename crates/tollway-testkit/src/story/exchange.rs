//! The HTTP of the story, from a client's side: it reads nothing but what the wire shows.

use std::str::FromStr;
use std::time::Duration;

use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use reqwest::header::{AUTHORIZATION, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tollway_core::payment::{PaymentHash, Preimage};

use super::StoryError;

/// What a 402 asks for.
#[derive(Debug)]
pub(super) struct Challenge {
    /// The whole `WWW-Authenticate` value.
    pub(super) header: String,
    /// What the invoice asks for, read from the invoice itself.
    pub(super) amount_msat: u64,
    pub(super) description: String,
    macaroon: String,
    invoice: String,
    payment_hash: PaymentHash,
}

/// The `Authorization` value of a paid challenge.
pub(super) struct Credential(String);

/// An answer of the gateway.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) cost_msat: Option<u64>,
    pub(super) balance_msat: Option<u64>,
    /// JSON, or null where the body is something else.
    pub(super) body: Value,
    authenticate: Vec<String>,
}

impl Answer {
    pub(super) fn expect_status(&self, expected: StatusCode) -> Result<(), StoryError> {
        if self.status == expected {
            return Ok(());
        }
        let detail = self.body.get("detail").and_then(Value::as_str).unwrap_or("");
        Err(StoryError::new(expected, format!("{} {detail}", self.status)))
    }

    /// Expects 200, and returns cost and balance in msat.
    pub(super) fn expect_paid(&self) -> Result<(u64, u64), StoryError> {
        self.expect_status(StatusCode::OK)?;
        match (self.cost_msat, self.balance_msat) {
            (Some(cost), Some(balance)) if cost > 0 => Ok((cost, balance)),
            found => Err(StoryError::new(
                "the headers x-toll-cost-msat and x-toll-balance-msat",
                format!("{found:?}"),
            )),
        }
    }

    /// Reads the `L402` challenge.
    pub(super) fn challenge(&self) -> Result<Challenge, StoryError> {
        let missing = |what: &str| {
            StoryError::new(what, format!("www-authenticate: {:?}", self.authenticate))
        };
        let header = self.authenticate.iter().find(|value| value.starts_with("L402 "));
        let header = header.ok_or_else(|| missing("an L402 challenge"))?;
        let macaroon = parameter(header, "macaroon").ok_or_else(|| missing("a macaroon"))?;
        let invoice = parameter(header, "invoice").ok_or_else(|| missing("an invoice"))?;
        let parsed = Bolt11Invoice::from_str(invoice)
            .map_err(|error| StoryError::new("a BOLT 11 invoice", error))?;
        let amount_msat = parsed
            .amount_milli_satoshis()
            .ok_or_else(|| StoryError::new("an invoice with an amount", invoice))?;
        let description = match parsed.description() {
            Bolt11InvoiceDescriptionRef::Direct(text) => text.to_string(),
            Bolt11InvoiceDescriptionRef::Hash(_) => String::new(),
        };
        let payment_hash = PaymentHash::from_hex(parsed.payment_hash().to_string().as_bytes())
            .map_err(|_| StoryError::new("a payment hash", parsed.payment_hash()))?;
        Ok(Challenge {
            header: header.clone(),
            amount_msat,
            description,
            macaroon: macaroon.to_owned(),
            invoice: invoice.to_owned(),
            payment_hash,
        })
    }
}

pub(super) fn client() -> Result<Client, StoryError> {
    // Plain HTTP only: a container without certificate authorities will do.
    let client = Client::builder().timeout(Duration::from_secs(30)).no_proxy().tls_certs_only([]);
    client.build().map_err(|error| StoryError::new("an HTTP client", explained(&error)))
}

pub(super) async fn get(
    http: &Client,
    url: &str,
    with: Option<&Credential>,
) -> Result<Answer, StoryError> {
    let mut request = http.get(url);
    if let Some(Credential(value)) = with {
        request = request.header(AUTHORIZATION, value);
    }
    let unreachable = |error: reqwest::Error| StoryError::new("an answer", explained(&error));
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(unreachable)?;
    let authenticate = headers.get_all(WWW_AUTHENTICATE).iter();
    Ok(Answer {
        status,
        cost_msat: number(&headers, "x-toll-cost-msat"),
        balance_msat: number(&headers, "x-toll-balance-msat"),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        authenticate: authenticate
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect(),
    })
}

/// Pays by the simulated node and checks the proof it gives.
pub(super) async fn pay(
    http: &Client,
    wallet: &str,
    challenge: &Challenge,
) -> Result<Credential, StoryError> {
    let url = format!("{wallet}/sim/v1/pay");
    let failed = |error: reqwest::Error| StoryError::new("a paid invoice", explained(&error));
    let request = http.post(url).json(&json!({"invoice": challenge.invoice}));
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    if status != StatusCode::OK {
        let body = response.text().await.unwrap_or_default();
        return Err(StoryError::new("200 of the wallet", format!("{status} {body}")));
    }
    let body: Value = response.json().await.map_err(failed)?;
    let preimage = body.get("preimage").and_then(Value::as_str).unwrap_or_default();
    match Preimage::from_hex(preimage.as_bytes()) {
        Ok(proof) if proof.proves(&challenge.payment_hash) => {
            Ok(Credential(format!("L402 {}:{preimage}", challenge.macaroon)))
        }
        _ => Err(StoryError::new("a preimage of the invoice's payment hash", "another value")),
    }
}

/// The header with its long values cut, for people.
pub(super) fn shortened(header: &str) -> String {
    let cut = |part: &str| match (part.get(..20), part.get(part.len().saturating_sub(6)..)) {
        (Some(head), Some(tail)) if part.len() > 32 => format!("{head}...{tail}"),
        _ => part.to_owned(),
    };
    header.split('"').map(cut).collect::<Vec<_>>().join("\"")
}

fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("{name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// The innermost cause says more than "error sending request".
fn explained(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    format!("{error}: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_shortens_a_challenge_header() {
        let header =
            format!("L402 version=\"0\", macaroon=\"{0}\", invoice=\"{0}\"", "x".repeat(40));
        assert_eq!(parameter(&header, "macaroon"), Some("x".repeat(40).as_str()));
        assert_eq!(parameter(&header, "token"), None);
        let shown = shortened(&header);
        assert!(shown.contains("version=\"0\""), "{shown}");
        assert!(shown.contains(&format!("macaroon=\"{}...{}\"", "x".repeat(20), "x".repeat(6))));
    }
}
