//! The filter's configuration in every case: one template, two ways to spend.

use serde_json::{Map, Value, json};

/// The path of every measured request.
pub(crate) const TARGET: &str = "/v1/target";
/// The service that all credentials are for.
pub(crate) const SERVICE: &str = "bench";
/// The price of every route.
pub(crate) const PRICE_MSAT: u64 = 1_000;

/// The life of a hold whose client went away before it was granted: every slice ends with some,
/// and the books have to come to rest.
const HOLD_TTL_S: u64 = 30;

/// What a route says to be spent from in exact mode.
const EXACT: &str = "{}";
/// What a route says to be spent from in leased mode.
const LEASED: &str = "{}";
/// What the whole configuration says for leases.
const LEASED_ROOT: &str = "{}";
/// The most that one lease holds, as [`LEASED`] says.
pub(crate) const LEASE_MAX_SATS: u64 = 64;

/// How a route spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spend {
    /// A hold for each request.
    Exact,
    /// From a hold that Envoy's workers share.
    Leased,
}

impl Spend {
    /// The fields of a route.
    fn fields(self) -> Map<String, Value> {
        match self {
            Self::Exact => fields(EXACT),
            Self::Leased => fields(LEASED),
        }
    }
}

/// Whether the two ways are one: then the run has to say so.
pub(crate) fn leases_are_configured() -> bool {
    Spend::Exact.fields() != Spend::Leased.fields()
}

/// A configuration with this many routes, [`TARGET`] the last of them.
pub(crate) fn config(spend: Spend, routes: usize) -> Value {
    let mut list: Vec<_> = (1..routes)
        .map(|n| route(spend, &format!("other-{n}"), &format!("/v1/other/{n}")))
        .collect();
    list.push(route(spend, "target", TARGET));
    with_routes(spend, list)
}

/// The configuration of the accuracy campaigns: one route, whose holds expire soon, so that the
/// books can be compared soon after a death.
pub(crate) fn campaign(path: &str, hold_ttl_s: u64, tick_ms: u64) -> Value {
    let mut target = route(Spend::Leased, "target", path);
    target["hold_ttl_s"] = json!(hold_ttl_s);
    let mut config = with_routes(Spend::Leased, vec![target]);
    config["tick_ms"] = json!(tick_ms);
    config
}

fn with_routes(spend: Spend, routes: Vec<Value>) -> Value {
    let mut config = json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 5_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": SERVICE, "purchase": {"default_sats": 20}}],
        "routes": routes,
        "unmatched": "deny",
    });
    if spend == Spend::Leased {
        for (name, value) in fields(LEASED_ROOT) {
            config[name] = value;
        }
    }
    config
}

/// The members of a JSON object; a bad one is none, and the run then says that no lease is
/// configured.
fn fields(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

fn route(spend: Spend, name: &str, path: &str) -> Value {
    let mut route = spend.fields();
    route.insert("name".to_owned(), json!(name));
    route.insert("match".to_owned(), json!({"path": path}));
    route.insert("price_sats".to_owned(), json!(PRICE_MSAT / 1_000));
    route.entry("hold_ttl_s").or_insert(json!(HOLD_TTL_S));
    Value::Object(route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_for_a_mode_is_a_json_object() {
        for text in [EXACT, LEASED, LEASED_ROOT] {
            assert!(serde_json::from_str::<Map<String, Value>>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn the_target_is_the_last_of_all_routes() {
        let config = config(Spend::Leased, 1_000);
        assert_eq!(config["routes"].as_array().unwrap().len(), 1_000);
        assert_eq!(config["routes"][999]["match"]["path"], TARGET);
    }
}
