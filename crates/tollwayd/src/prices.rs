//! Prices that the operator's own service tells: asked for, kept for a while, never made up.
//!
//! Who cannot be asked, answers late or says something else than a price within the bounds has
//! told none; then the gate answers 503. The service is a stranger in this: its words reach
//! neither the log nor the client.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{PriceReply, PriceRequest};

use crate::clock::Clock;
use crate::config::PriceWebhookConfig;
use crate::ledger::{Ledger, LedgerError};
use crate::signature;

/// A price has a few bytes.
const ANSWER_BYTES_MAX: usize = 4 * 1_024;
/// How many questions are open at once; more wait, and then have that much less time.
const ASKED_AT_ONCE_MAX: usize = 64;

/// The service, where there is one.
#[derive(Clone)]
pub(crate) struct Prices(Option<Arc<Webhook>>);

struct Webhook {
    config: PriceWebhookConfig,
    client: Client,
    clock: Arc<dyn Clock>,
    known: Mutex<HashMap<Key, Known>>,
    asking: Semaphore,
}

/// The hash of a question.
type Key = [u8; 32];

#[derive(Clone, Copy)]
struct Known {
    price: PriceReply,
    ends_at_ms: u64,
}

/// What the service is sent.
#[derive(Serialize)]
struct Question<'a> {
    route: &'a str,
    service: &'a str,
    method: &'a str,
    path: &'a str,
    fields: BTreeMap<&'a str, Option<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<PaymentHash>,
    #[serde(skip_serializing_if = "Tier::is_none")]
    tier: Tier,
}

/// What it says: one of the two, or that the request is not sold.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    price_msat: Option<u64>,
    price_sats: Option<u64>,
    #[serde(default)]
    deny: bool,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PriceFault {
    /// `tollwayd` has no `[price_webhook]`.
    #[error("price_webhook: expected one, since a route of the filter asks for its price")]
    Missing,
    /// The ledger did not say whose credential it is.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// No answer, or none in time.
    #[error("no answer came, or none in time")]
    Silent,
    /// Another status than 200.
    #[error("the answer had status {0}")]
    Status(u16),
    /// Not what was expected.
    #[error(
        "expected {{\"price_msat\": ..}}, {{\"price_sats\": ..}} or {{\"deny\": true}} of at most \
         {ANSWER_BYTES_MAX} bytes"
    )]
    Garbage,
    /// Less than `min_msat` or more than `max_msat`.
    #[error("the price lies beyond price_webhook.min_msat or max_msat")]
    OutOfBounds,
}

impl Prices {
    /// # Errors
    /// If no client can be built.
    pub(crate) fn new(
        config: Option<PriceWebhookConfig>,
        clock: Arc<dyn Clock>,
    ) -> reqwest::Result<Self> {
        let Some(config) = config else { return Ok(Self(None)) };
        let client = Client::builder()
            .timeout(config.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let (known, asking) = (Mutex::default(), Semaphore::new(ASKED_AT_ONCE_MAX));
        Ok(Self(Some(Arc::new(Webhook { config, client, clock, known, asking }))))
    }

    /// What a request costs.
    ///
    /// # Errors
    /// [`PriceFault`] if nobody says so.
    pub(crate) async fn ask(
        &self,
        request: &PriceRequest,
        ledger: &Ledger,
    ) -> Result<PriceReply, PriceFault> {
        let webhook = self.0.as_ref().ok_or(PriceFault::Missing)?;
        let paid = request.paid.filter(|_| webhook.config.tell_account);
        let payer = match paid {
            Some(hash) => ledger.payer(hash).await?,
            None => None,
        };
        let fields = request.fields.iter().map(|(name, said)| (name.as_str(), said.as_deref()));
        let question = Question {
            route: &request.route,
            service: &request.service,
            method: &request.method,
            path: &request.path,
            fields: fields.collect(),
            account: payer.map(|(account, _)| account),
            tier: payer.map_or(Tier::NONE, |(_, tier)| tier),
        };
        webhook.price(&question).await
    }
}

impl Webhook {
    async fn price(&self, question: &Question<'_>) -> Result<PriceReply, PriceFault> {
        let body = serde_json::to_vec(question).map_err(|_| PriceFault::Garbage)?;
        let key: Key = Sha256::digest(&body).into();
        if let Some(price) = self.recall(&key) {
            return Ok(price);
        }
        let asked = async {
            let _turn = self.asking.acquire().await.map_err(|_| PriceFault::Silent)?;
            // Who waited for a turn may find that another has asked the same.
            if let Some(price) = self.recall(&key) {
                return Ok(price);
            }
            let price = self.fetch(body).await?;
            self.remember(key, price);
            Ok(price)
        };
        let limit = self.config.timeout;
        tokio::time::timeout(limit, asked).await.unwrap_or(Err(PriceFault::Silent))
    }

    async fn fetch(&self, body: Vec<u8>) -> Result<PriceReply, PriceFault> {
        let silent = |_error: reqwest::Error| PriceFault::Silent;
        let signed = signature::sign(self.config.secret.reveal(), self.clock.now_s(), &body);
        let request = self
            .client
            .post(self.config.url.join(""))
            .header(CONTENT_TYPE, "application/json")
            .header(signature::HEADER, signed)
            .body(body);
        let mut response = request.send().await.map_err(silent)?;
        if response.status().as_u16() != 200 {
            return Err(PriceFault::Status(response.status().as_u16()));
        }
        let mut text = Vec::new();
        while let Some(part) = response.chunk().await.map_err(silent)? {
            if text.len().saturating_add(part.len()) > ANSWER_BYTES_MAX {
                return Err(PriceFault::Garbage);
            }
            text.extend_from_slice(&part);
        }
        let answer: Answer = serde_json::from_slice(&text).map_err(|_| PriceFault::Garbage)?;
        let price = match (answer.price_msat, answer.price_sats, answer.deny) {
            (None, None, true) => return Ok(None),
            (Some(msat), None, false) => Msat::new(msat),
            (None, Some(sats), false) => Msat::from_sats(sats),
            _ => return Err(PriceFault::Garbage),
        };
        let bounds = self.config.min..=self.config.max;
        let price = price.filter(|price| bounds.contains(price));
        price.map(Some).ok_or(PriceFault::OutOfBounds)
    }

    fn recall(&self, key: &Key) -> Option<PriceReply> {
        let now_ms = self.clock.now_ms();
        let known = self.lock().get(key).copied();
        known.filter(|known| now_ms < known.ends_at_ms).map(|known| known.price)
    }

    /// Keeps an answer. When one more does not fit and none has ended, all are forgotten: what is
    /// in use costs one more question.
    fn remember(&self, key: Key, price: PriceReply) {
        if self.config.cache == Duration::ZERO {
            return;
        }
        let now_ms = self.clock.now_ms();
        let lives_ms = u64::try_from(self.config.cache.as_millis()).unwrap_or(u64::MAX);
        let mut known = self.lock();
        if known.len() >= self.config.cache_entries {
            known.retain(|_, it| now_ms < it.ends_at_ms);
            if known.len() >= self.config.cache_entries {
                known.clear();
            }
        }
        known.insert(key, Known { price, ends_at_ms: now_ms.saturating_add(lives_ms) });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
