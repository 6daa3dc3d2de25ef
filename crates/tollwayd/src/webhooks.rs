//! Webhooks: news of payments and refunds, signed, to URLs of the operator's choice.

use std::time::Duration;

use futures_util::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::WebhookConfig;
use crate::ledger::{Claimed, DeliveryKind, Subscription};
use crate::outbound::Outbound;
use crate::outbox::{Carrier, Fate};
use crate::signature;

/// One try, from the name's resolution to the answer's status.
const TIMEOUT: Duration = Duration::from_secs(10);

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
        let signed =
            signature::sign(self.config.secret.reveal(), self.clock.now_s(), body.as_bytes());
        let request = self
            .outbound
            .client
            .post(self.config.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("tollwayd/", env!("CARGO_PKG_VERSION")))
            .header(signature::HEADER, signed)
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

    fn fate_out_of_time(&self) -> Fate {
        Fate::Failed("no answer in time".to_owned())
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
