//! What a challenge says to clients of x402: the requirement, in the forms of both versions.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::{Value, json};
use tollway_core::decimal::Decimal;
use tollway_core::money::Msat;

use super::payment::{SCHEME, Version};
use crate::config::X402Config;

/// The header with the offer.
const PAYMENT_REQUIRED: &str = "payment-required";
/// How many msat a bitcoin has.
const MSAT_PER_BITCOIN: u128 = 100_000_000_000;
/// More rates than are told within the longest time that a payment may take.
const RATES_MAX: usize = 256;

/// What is to be paid for a request, in the token's smallest units.
pub(super) fn units(price: Msat, per_bitcoin: Decimal, config: &X402Config) -> Option<String> {
    let unit = 10_u128.checked_pow(config.decimals)?;
    let numerator = u128::from(price.get()).checked_mul(unit)?;
    let units = per_bitcoin.times_rounded_up(numerator, MSAT_PER_BITCOIN)?;
    (units > 0).then(|| units.to_string())
}

/// The rates at which requests were offered, for as long as such an offer may be taken. What is
/// forgotten costs a client a new signature, and no money.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<Vec<(Decimal, u64)>>);

impl Told {
    /// Remembers a rate until this time.
    pub(super) fn remember(&self, rate: Decimal, now_ms: u64, until_ms: u64) {
        let mut told = self.lock();
        told.retain(|(_, until_ms)| *until_ms > now_ms);
        match told.iter_mut().find(|(known, _)| *known == rate) {
            Some((_, end_ms)) => *end_ms = until_ms.max(*end_ms),
            None => {
                if told.len() >= RATES_MAX {
                    told.remove(0);
                }
                told.push((rate, until_ms));
            }
        }
    }

    /// The rates that may still be paid at.
    pub(super) fn now(&self, now_ms: u64) -> Vec<Decimal> {
        let live = self.lock();
        live.iter().filter(|(_, until_ms)| *until_ms > now_ms).map(|(rate, _)| *rate).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Decimal, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the facilitator compares a payment with; `None` where the version has no name for the
/// chain.
pub(super) fn requirement(
    version: Version,
    units: &str,
    config: &X402Config,
    description: &str,
) -> Option<Value> {
    let domain = json!({"name": config.asset_name, "version": config.asset_version});
    Some(match version {
        Version::One => json!({
            "scheme": SCHEME,
            "network": config.chain.name()?,
            "maxAmountRequired": units,
            "resource": config.public_url.as_str(),
            "description": description,
            "mimeType": "",
            "payTo": config.pay_to.as_str(),
            "maxTimeoutSeconds": config.payment_timeout_s,
            "asset": config.asset.as_str(),
            "extra": domain,
        }),
        Version::Two => json!({
            "scheme": SCHEME,
            "network": config.chain.caip2(),
            "amount": units,
            "asset": config.asset.as_str(),
            "payTo": config.pay_to.as_str(),
            "maxTimeoutSeconds": config.payment_timeout_s,
            "extra": domain,
        }),
    })
}

/// The header that offers all these.
pub(crate) fn payment_required(
    accepts: &[Value],
    public_url: &Url,
    description: &str,
) -> (String, String) {
    let offer = json!({
        "x402Version": 2,
        "error": "payment required",
        "resource": {"url": public_url.as_str(), "description": description, "mimeType": ""},
        "accepts": accepts,
    });
    (PAYMENT_REQUIRED.to_owned(), STANDARD.encode(offer.to_string()))
}

/// The members that the body of a 402 has for clients of the first version.
pub(super) fn body_members(requirement: &Value) -> String {
    format!("\"x402Version\":1,\"accepts\":[{requirement}]")
}
