//! Webhooks: news of payments and refunds, signed, to URLs of the operator's choice.

use std::time::Duration;

use futures_util::future::BoxFuture;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use sha2::Sha256;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::WebhookConfig;
use crate::ledger::{Claimed, DeliveryKind, Subscription};
use crate::outbound::Outbound;
use crate::outbox::{Carrier, Fate};

/// One try, from the name's resolution to the answer's status.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Says when and by whom the body was signed.
const SIGNATURE: &str = "tollway-signature";

/// A receiver of news.
#[derive(Debug)]
pub(crate) struct Webhook {
    config: WebhookConfig,
    outbound: Outbound,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// The receiver of this configuration.
    ///
    /// # Errors
    /// If no HTTP client can be built.
    pub(crate) fn new(config: &WebhookConfig, clock: Arc<dyn Clock>) -> reqwest::Result<Self> {
        let outbound = Outbound::new(config.allow_private, TIMEOUT)?;
        Ok(Self { config: config.clone(), outbound, clock })
    }

    async fn post(&self, body: &str) -> Result<(), String> {
        self.outbound.check(&self.config.url).map_err(|refusal| refusal.to_string())?;
        let signature = signature(self.config.secret.reveal(), self.clock.now_s(), body);
        let request = self
            .outbound
            .client
            .post(self.config.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tollwayd/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE, signature)
            .body(body.to_owned());
        // What the answer says beside its status is not read.
        let answer = request.send().await.map_err(|error| root_cause(error.without_url()))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(format!("the receiver answered {}", status.as_u16())),
        }
    }
}

impl Carrier for Webhook {
    fn kind(&self) -> DeliveryKind {
        DeliveryKind::Webhook
    }

    fn target(&self) -> &str {
        &self.config.name
    }

    fn patience(&self) -> Duration {
        TIMEOUT.saturating_mul(2)
    }

    fn carry<'a>(&'a self, parcel: &'a Claimed) -> BoxFuture<'a, Fate> {
        Box::pin(async move {
            match self.post(&parcel.body).await {
                Ok(()) => Fate::Arrived,
                Err(reason) => Fate::Failed(reason),
            }
        })
    }
}

impl From<&WebhookConfig> for Subscription {
    fn from(config: &WebhookConfig) -> Self {
        Self { target: config.name.clone(), happenings: config.events.clone() }
    }
}

/// `t` is the time of this try, so that a receiver can refuse what is old; `v1` signs it together
/// with the body.
fn signature(secret: &str, now_s: u64, body: &str) -> String {
    // HMAC takes a key of any length, so the error arm is never reached.
    let signed = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        Ok(mut mac) => {
            mac.update(now_s.to_string().as_bytes());
            mac.update(b".");
            mac.update(body.as_bytes());
            hex::encode(mac.finalize().into_bytes())
        }
        Err(_) => String::new(),
    };
    format!("t={now_s},v1={signed}")
}

/// What lies behind an error: the outer words name the address only.
pub(crate) fn root_cause(error: reqwest::Error) -> String {
    let mut said = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        said = cause.to_string();
        source = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_makes() {
        // printf '1700000000.{"id":"1"}' | openssl dgst -sha256 -hmac whsec-0123456789
        let expected = "ba9b16f0fab15733db79a842aa7f791b2dd5ed01092e27ecf2eb7f960d73f1d3";
        let signature = signature("whsec-0123456789", 1_700_000_000, r#"{"id":"1"}"#);
        assert_eq!(signature, format!("t=1700000000,v1={expected}"));
    }
}
