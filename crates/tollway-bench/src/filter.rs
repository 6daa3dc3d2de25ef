//! The filter's configuration in every case: one template, two ways to spend.

use serde_json::{Value, json};

/// The path of every measured request.
pub(crate) const TARGET: &str = "/v1/target";
/// The service that all credentials are for.
pub(crate) const SERVICE: &str = "bench";
/// The price of every route.
pub(crate) const PRICE_MSAT: u64 = 1_000;

/// The life of a hold whose client went away before it was granted: every slice ends with some,
/// and the books have to come to rest.
const HOLD_TTL_S: u64 = 30;

/// The most that one lease holds where speed is measured: more than three ticks of one account's
/// spending, because what is not posted yet counts.
const LEASE_MAX_SATS: u64 = 100_000;
/// The same in the accuracy campaigns, where it bounds the loss.
pub(crate) const CAMPAIGN_LEASE_MAX_SATS: u64 = 2_000;

/// How a route spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spend {
    /// A hold for each request.
    Exact,
    /// From a hold that Envoy's workers share.
    Leased,
}

/// A configuration with this many routes, [`TARGET`] the last of them.
pub(crate) fn config(spend: Spend, routes: usize) -> Value {
    let mut list: Vec<_> = (1..routes)
        .map(|n| route(spend, &format!("other-{n}"), &format!("/v1/other/{n}")))
        .collect();
    list.push(route(spend, "target", TARGET));
    with_routes(list)
}

/// Room for 100,000 accounts that are each used every few seconds: their credentials stay known,
/// their leases are neither idle nor over between two requests.
pub(crate) fn with_room(mut config: Value) -> Value {
    config["lease_idle_s"] = json!(3_600);
    config["lease_ttl_s"] = json!(3_600);
    config["cache"] = json!({"entries_max": 400_000, "bytes_max": 256 << 20});
    config
}

/// The configuration of the accuracy campaigns: one route, whose holds expire soon, so that the
/// books can be compared soon after a death.
pub(crate) fn campaign(path: &str, hold_ttl_s: u64, tick_ms: u64) -> Value {
    let mut target = route(Spend::Leased, "target", path);
    target["lease_max_sats"] = json!(CAMPAIGN_LEASE_MAX_SATS);
    target["hold_ttl_s"] = json!(hold_ttl_s);
    let mut config = with_routes(vec![target]);
    config["tick_ms"] = json!(tick_ms);
    config
}

/// The configuration of metered streams of this model.
pub(crate) fn streams(model: &str) -> Value {
    let rates = json!({"input_msat": 1_000_000, "output_msat": 1_000_000});
    let price = json!({"llm": {"provider": "openai_chat", "models": {model: rates}}});
    with_routes(vec![
        json!({"name": "target", "match": {"path": TARGET}, "price": price}),
        json!({"name": "ready", "match": {"path": "/ready"}, "free": true}),
    ])
}

fn with_routes(routes: Vec<Value>) -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 5_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": SERVICE, "purchase": {"default_sats": 20}}],
        "routes": routes,
        "unmatched": "deny",
    })
}

fn route(spend: Spend, name: &str, path: &str) -> Value {
    let mut route = json!({
        "name": name,
        "match": {"path": path},
        "price_sats": PRICE_MSAT / 1_000,
        "hold_ttl_s": HOLD_TTL_S,
    });
    if spend == Spend::Leased {
        route["spend"] = json!("leased");
        route["lease_max_sats"] = json!(LEASE_MAX_SATS);
    }
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_is_the_last_of_all_routes() {
        let config = config(Spend::Leased, 1_000);
        assert_eq!(config["routes"].as_array().unwrap().len(), 1_000);
        assert_eq!(config["routes"][999]["match"]["path"], TARGET);
    }
}
