//! Rates of exchange: asked for now and then, told to the gate with its keys.
//!
//! A source that does not answer costs nobody anything but time: the last rate holds until it is
//! too old, and then the gate has none and closes the routes that are priced in that currency.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, Url};
use serde_json::value::RawValue;
use tokio::sync::watch;
use tollway_core::decimal::Decimal;
use tollway_core::rates::{Currency, RateReply};

use crate::clock::Clock;
use crate::config::{PriceSource, RateSource, RatesConfig};

/// More than any document with one price in it needs.
const DOCUMENT_BYTES_MAX: usize = 256 * 1_024;

/// The rates, shared by who asks for them and who tells them.
#[derive(Clone)]
pub(crate) struct Rates {
    config: Arc<RatesConfig>,
    clock: Arc<dyn Clock>,
    known: Arc<Mutex<BTreeMap<Currency, Known>>>,
}

/// The price of a bitcoin, as it was found.
#[derive(Clone, Debug)]
struct Known {
    per_bitcoin: String,
    found_at_ms: u64,
}

/// Why a source gave no price. Not its words: they are a stranger's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum SourceFault {
    #[error("no answer came, or none in time")]
    Silent,
    #[error("the answer had status {0}")]
    Status(u16),
    #[error("the answer is longer than {DOCUMENT_BYTES_MAX} bytes")]
    TooLong,
    #[error("the answer has no price at the pointer, in digits and above zero")]
    NoPrice,
}

impl Rates {
    pub(crate) fn new(config: RatesConfig, clock: Arc<dyn Clock>) -> Self {
        Self { config: Arc::new(config), clock, known: Arc::default() }
    }

    /// The rates that still hold.
    pub(crate) fn now(&self) -> Vec<RateReply> {
        let max_age_ms = u64::try_from(self.config.max_age.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.clock.now_ms();
        let known = self.lock();
        let rate = |source: &RateSource| {
            let Known { per_bitcoin, found_at_ms } = match &source.price {
                PriceSource::Fixed(price) => {
                    Known { per_bitcoin: price.clone(), found_at_ms: now_ms }
                }
                PriceSource::Json { .. } => known.get(&source.currency)?.clone(),
            };
            let ends_at_ms = found_at_ms.saturating_add(max_age_ms);
            let currency = source.currency.code().to_owned();
            let rate = RateReply { currency, per_bitcoin, expires_at: ends_at_ms / 1_000 };
            (now_ms < ends_at_ms).then_some(rate)
        };
        self.config.sources.iter().filter_map(rate).collect()
    }

    /// Asks the sources again and again until the service stops.
    pub(crate) async fn follow(self, mut stop: watch::Receiver<bool>) {
        let asked = |it: &&RateSource| matches!(it.price, PriceSource::Json { .. });
        if self.config.sources.iter().filter(asked).count() == 0 {
            return;
        }
        let client = match client(self.config.timeout) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "no rates can be asked for");
                return;
            }
        };
        let mut faults = BTreeMap::new();
        let mut ticks = tokio::time::interval(self.config.refresh);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = ticks.tick() => {}
            }
            for source in &self.config.sources {
                self.ask(&client, source, &mut faults).await;
            }
        }
    }

    /// Asks one source. The log has one line for each change.
    async fn ask(
        &self,
        client: &Client,
        source: &RateSource,
        faults: &mut BTreeMap<Currency, SourceFault>,
    ) {
        let PriceSource::Json { url, pointer } = &source.price else { return };
        let currency = source.currency;
        match fetch(client, url, pointer).await {
            Ok(per_bitcoin) => {
                let found_at_ms = self.clock.now_ms();
                self.lock().insert(currency, Known { per_bitcoin, found_at_ms });
                if faults.remove(&currency).is_some() {
                    tracing::info!(currency = currency.code(), "the rate is known again");
                }
            }
            Err(fault) => {
                if faults.insert(currency, fault) != Some(fault) {
                    let currency = currency.code();
                    tracing::warn!(currency, %fault, "a rate was not found; the last one holds \
                         until it is older than rates.max_age_s");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Currency, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn client(timeout: Duration) -> reqwest::Result<Client> {
    Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).build()
}

async fn fetch(client: &Client, url: &Url, pointer: &str) -> Result<String, SourceFault> {
    let silent = |_error: reqwest::Error| SourceFault::Silent;
    let mut response = client.get(url.clone()).send().await.map_err(silent)?;
    if !response.status().is_success() {
        return Err(SourceFault::Status(response.status().as_u16()));
    }
    let mut text = Vec::new();
    while let Some(part) = response.chunk().await.map_err(silent)? {
        if text.len().saturating_add(part.len()) > DOCUMENT_BYTES_MAX {
            return Err(SourceFault::TooLong);
        }
        text.extend_from_slice(&part);
    }
    let price = price_at(&text, pointer).ok_or(SourceFault::NoPrice)?;
    Decimal::parse(&price).filter(|price| !price.is_zero()).ok_or(SourceFault::NoPrice)?;
    Ok(price)
}

/// The number, or the text, at a pointer (RFC 6901): digit by digit as it stands there, which a
/// floating-point number would not be.
fn price_at(text: &[u8], pointer: &str) -> Option<String> {
    let mut value: Box<RawValue> = serde_json::from_slice(text).ok()?;
    for token in pointer.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        value = if value.get().starts_with('[') {
            let list: Vec<Box<RawValue>> = serde_json::from_str(value.get()).ok()?;
            list.into_iter().nth(token.parse().ok()?)?
        } else {
            let mut fields: BTreeMap<String, Box<RawValue>> =
                serde_json::from_str(value.get()).ok()?;
            fields.remove(&token)?
        };
    }
    match serde_json::from_str(value.get()) {
        Ok(text) => Some(text),
        Err(_) => Some(value.get().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_price_is_read_digit_by_digit() {
        let text = br#"{"a": {"b/c": [1, {"~": 64123.4500000000000000001}]}, "t": "1.10"}"#;
        for (pointer, expected) in [
            ("/a/b~1c/1/~0", Some("64123.4500000000000000001")),
            ("/a/b~1c/0", Some("1")),
            ("/t", Some("1.10")),
            ("/x", None),
            ("/a/b~1c/2", None),
            ("/a/b~1c/-1", None),
            ("/t/0", None),
        ] {
            assert_eq!(price_at(text, pointer).as_deref(), expected, "{pointer}");
        }
        assert_eq!(price_at(b"64000", "").as_deref(), Some("64000"));
        assert_eq!(price_at(b"{", "/a"), None);
    }

    #[test]
    fn a_fixed_rate_holds_and_an_unknown_one_is_not_told() {
        let usd = Currency::parse("USD").unwrap();
        let eur = Currency::parse("EUR").unwrap();
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let asked = PriceSource::Json { url, pointer: "/x".to_owned() };
        let fixed = PriceSource::Fixed("64000".to_owned());
        let config = RatesConfig {
            max_age: Duration::from_secs(900),
            refresh: Duration::from_secs(60),
            timeout: Duration::from_secs(1),
            sources: vec![
                RateSource { currency: usd, price: fixed },
                RateSource { currency: eur, price: asked },
            ],
        };
        let clock = Arc::new(ManualClock::new(5_000_000));
        let rates = Rates::new(config, clock.clone());
        let told = |rates: &Rates| -> Vec<_> {
            rates.now().into_iter().map(|it| (it.currency, it.per_bitcoin, it.expires_at)).collect()
        };
        let fixed = ("USD".to_owned(), "64000".to_owned(), 5_900);
        assert_eq!(told(&rates), [fixed]);
        let known = Known { per_bitcoin: "59000.5".to_owned(), found_at_ms: clock.now_ms() };
        rates.lock().insert(eur, known);
        clock.advance_ms(899_999);
        let kept = ("EUR".to_owned(), "59000.5".to_owned(), 5_900);
        assert_eq!(told(&rates)[1], kept);
        // A rate that is too old is not told at all.
        clock.advance_ms(1);
        assert_eq!(told(&rates).len(), 1);
        assert_eq!(told(&rates)[0].2, 6_800);
    }
}
