//! The facilitator: it judges payments and carries them to the chain. What it does not say
//! clearly, nobody knows.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::AUTHORIZATION;
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::payment::{Payment, Version};
use crate::config::{EvmAddress, NodeUrl, X402Config};

/// The longest answer that is read; one has some hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1_024;
/// The longest transaction id and the longest reason that are kept.
const TEXT_BYTES_MAX: usize = 128;

/// The client of a facilitator.
#[derive(Clone, Debug)]
pub(super) struct Facilitator {
    client: Client,
    base: NodeUrl,
    authorization: Option<tollway_core::secret::SecretText>,
}

/// Whether a payment would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    Valid,
    Invalid { reason: String },
    Silent,
}

/// What became of a settlement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is done; the receipt is for the client.
    Done { transaction: String, receipt: String },
    /// Nothing was moved.
    Refused { reason: String, receipt: String },
    /// No answer, or none that says which.
    Unknown,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyAnswer {
    is_valid: bool,
    invalid_reason: Option<String>,
    payer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SettleAnswer {
    success: bool,
    error_reason: Option<String>,
    #[serde(default)]
    transaction: String,
    network: Option<String>,
    payer: Option<String>,
    amount: Option<String>,
}

impl Facilitator {
    pub(super) fn new(config: &X402Config) -> reqwest::Result<Self> {
        let client = Client::builder().redirect(Policy::none()).build()?;
        let authorization = config.facilitator_token.clone();
        Ok(Self { client, base: config.facilitator.clone(), authorization })
    }

    /// Asks whether a payment would do. Nothing moves.
    pub(super) async fn verify(
        &self,
        payment: &Payment,
        requirement: &Value,
        config: &X402Config,
    ) -> Judgement {
        let asked = self.ask("/verify", payment, requirement);
        let answer = tokio::time::timeout(config.verify_timeout, asked).await;
        let Ok(Some((status, body))) = answer else { return Judgement::Silent };
        match serde_json::from_slice::<VerifyAnswer>(&body) {
            Ok(VerifyAnswer { is_valid: true, payer, .. })
                if status.is_success() && is_payer(payer.as_deref(), payment) =>
            {
                Judgement::Valid
            }
            Ok(VerifyAnswer { is_valid: false, invalid_reason, .. })
                if !status.is_server_error() =>
            {
                Judgement::Invalid { reason: reason(invalid_reason) }
            }
            Ok(_) | Err(_) => {
                tracing::warn!(%status, "the facilitator's verdict cannot be read");
                Judgement::Silent
            }
        }
    }

    /// Has a payment carried to the chain. Asked once more where it says that it is under way.
    pub(super) async fn settle(
        &self,
        payment: &Payment,
        requirement: &Value,
        config: &X402Config,
    ) -> Settled {
        let attempts = async {
            for _ in 0..2 {
                let (status, body) = self.ask("/settle", payment, requirement).await?;
                let answer: SettleAnswer = serde_json::from_slice(&body).ok()?;
                if answer.error_reason.as_deref() != Some("settlement_pending") {
                    return Some((status, answer));
                }
            }
            None
        };
        match tokio::time::timeout(config.settle_timeout, attempts).await {
            Ok(Some((status, answer))) => verdict(status, answer, payment, config),
            Ok(None) | Err(_) => Settled::Unknown,
        }
    }

    async fn ask(
        &self,
        path: &str,
        payment: &Payment,
        requirement: &Value,
    ) -> Option<(StatusCode, Vec<u8>)> {
        let version = match payment.version {
            Version::One => 1,
            Version::Two => 2,
        };
        let question = json!({
            "x402Version": version,
            "paymentPayload": payment.json,
            "paymentRequirements": requirement,
        });
        let mut request = self.client.post(self.base.join(path)).json(&question);
        if let Some(token) = &self.authorization {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let said = |error: reqwest::Error| {
            tracing::warn!(path, error = %error.without_url(), "the facilitator does not answer");
        };
        let mut response = request.send().await.map_err(said).ok()?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(said).ok()? {
            if body.len().saturating_add(part.len()) > ANSWER_BYTES_MAX {
                return None;
            }
            body.extend_from_slice(&part);
        }
        Some((response.status(), body))
    }
}

fn verdict(
    status: StatusCode,
    answer: SettleAnswer,
    payment: &Payment,
    config: &X402Config,
) -> Settled {
    let network = match payment.version {
        Version::One => config.chain.name().unwrap_or_default().to_owned(),
        Version::Two => config.chain.caip2(),
    };
    let SettleAnswer { success, error_reason, transaction, .. } = &answer;
    if *success {
        let as_agreed = status.is_success()
            && (1..=TEXT_BYTES_MAX).contains(&transaction.len())
            && answer.network.as_ref().is_none_or(|said| *said == network)
            && answer.amount.as_ref().is_none_or(|said| *said == payment.units)
            && is_payer(answer.payer.as_deref(), payment);
        if !as_agreed {
            tracing::error!(%status, "the facilitator settled something else than was asked");
            return Settled::Unknown;
        }
        let transaction = transaction.clone();
        let receipt = json!({
            "success": true, "transaction": transaction, "network": network,
            "payer": payment.payer.as_str(),
        });
        return Settled::Done { transaction, receipt: STANDARD.encode(receipt.to_string()) };
    }
    let reason = reason(error_reason.clone());
    if status.is_server_error() || !moved_nothing(&reason) {
        tracing::warn!(%status, reason, "the facilitator did not say whether it settled");
        return Settled::Unknown;
    }
    let receipt = json!({
        "success": false, "errorReason": reason, "transaction": "", "network": network,
        "payer": payment.payer.as_str(),
    });
    Settled::Refused { reason, receipt: STANDARD.encode(receipt.to_string()) }
}

/// Whether the reason is one that is found before anything is sent to the chain. A used nonce may
/// be a transfer that was made; so may a transaction that failed because another was faster.
fn moved_nothing(reason: &str) -> bool {
    let before = ["invalid_", "insufficient_", "unsupported_"];
    let perhaps_after = ["nonce", "transaction", "event", "simulation"];
    before.iter().any(|start| reason.starts_with(start))
        && !perhaps_after.iter().any(|part| reason.contains(part))
}

fn is_payer(said: Option<&str>, payment: &Payment) -> bool {
    said.is_none_or(|said| EvmAddress::parse(said).as_ref() == Some(&payment.payer))
}

/// A stranger's word, fit for a header's JSON and the log.
fn reason(said: Option<String>) -> String {
    let said = said.unwrap_or_default();
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | ' ');
    said.chars().filter(plain).take(TEXT_BYTES_MAX).collect()
}
