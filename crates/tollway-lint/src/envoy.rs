//! Envoy's own configuration, as far as it decides about money.

use std::convert::Infallible;

use serde_json::Value;
use tollway_core::pricing::BodyNeed;

use crate::finding::Finding;
use crate::reach::witness;
use crate::rehearsal::{self, route_of};
use crate::source::{of_wasm_filter, walk};

/// Envoy's default circuit breakers let so many calls wait or run.
const BREAKER_DEFAULT: u64 = 1_024;

pub(crate) fn judge(document: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut clusters = Vec::new();
    let mut guarded = Vec::new();
    let mut bare = Vec::new();
    let Ok(()) = walk::<Infallible>(document, &mut String::new(), &mut |place, value| {
        let Some(filters) = value.get("http_filters").and_then(Value::as_array) else {
            return Ok(());
        };
        let ours = filters.iter().enumerate().find_map(|(at, filter)| {
            let typed = filter.get("typed_config")?;
            let config = of_wasm_filter(typed, place).ok().flatten()?;
            Some((at, typed, config))
        });
        let reached = upstreams(value);
        let Some((at, typed, config)) = ours else {
            bare.push((place.to_owned(), reached));
            return Ok(());
        };
        guarded.extend(reached);
        findings.extend(manager(place, value));
        let place = format!("{place}.http_filters[{at}].typed_config.config");
        findings.extend(plugin(&place, typed, &config));
        clusters
            .extend(config.pointer("/tollwayd/cluster").and_then(Value::as_str).map(str::to_owned));
        Ok(())
    });
    clusters.sort();
    clusters.dedup();
    for cluster in &clusters {
        findings.extend(self::cluster(document, cluster));
    }
    for (place, reached) in bare {
        // What tollwayd publishes costs nothing, and the rest of it asks for a token.
        let sold = |cluster: &&String| guarded.contains(cluster) && !clusters.contains(cluster);
        if let Some(open) = reached.iter().find(sold) {
            findings.push(Finding::warning(
                place,
                format!(
                    "reaches cluster \"{open}\", which another listener sells, without the filter; \
                     see that no customer can get here"
                ),
            ));
        }
    }
    findings
}

/// The listener's connection manager.
fn manager(place: &str, manager: &Value) -> Vec<Finding> {
    let flag = |name| manager.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut findings = Vec::new();
    let mut missing = |name: &str, remedy: &str| {
        findings.push(Finding::warning(format!("{place}.{name}"), remedy));
    };
    if !flag("normalize_path") {
        missing(
            "normalize_path",
            "without it the filter refuses /a/../b with 400, and cannot know \
            what the API makes of a path in another form; write true",
        );
    }
    if !flag("merge_slashes") {
        missing("merge_slashes", "without it the filter refuses //a with 400; write true");
    }
    let escaped = manager.get("path_with_escaped_slashes_action").and_then(Value::as_str);
    if matches!(escaped, None | Some("KEEP_UNCHANGED" | "IMPLEMENTATION_SPECIFIC_DEFAULT")) {
        missing(
            "path_with_escaped_slashes_action",
            "without it paths with %2F reach the filter, \
            which refuses them with 400; write REJECT_REQUEST or UNESCAPE_AND_REDIRECT",
        );
    }
    let underscores = manager
        .pointer("/common_http_protocol_options/headers_with_underscores_action")
        .and_then(Value::as_str);
    if matches!(underscores, None | Some("ALLOW")) {
        missing(
            "common_http_protocol_options.headers_with_underscores_action",
            "x_toll_account \
            passes the filter, and some APIs take it for x-toll-account; write REJECT_REQUEST",
        );
    }
    if !flag("use_remote_address") {
        missing(
            "use_remote_address",
            "a client names its own address in x-forwarded-for, by which \
            free requests and floods are counted; write true, and how many proxies of yours stand \
            before Envoy in xff_num_trusted_hops",
        );
    }
    findings.extend(routes(place, manager));
    findings
}

/// What the virtual hosts and their routes say.
fn routes(place: &str, manager: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(table) = manager.get("route_config") else { return findings };
    let mut path = format!("{place}.route_config");
    let Ok(()) = walk::<Infallible>(table, &mut path, &mut |at, value| {
        if value.get("retry_policy").is_some() {
            findings.push(Finding::warning(
                format!("{at}.retry_policy"),
                "a retry reaches the API twice for one charge; leave it to clients, or see that a \
                 repeated request costs you nothing",
            ));
        }
        let per_filter = value.get("typed_per_filter_config").and_then(Value::as_object);
        let off = per_filter
            .into_iter()
            .flatten()
            .find(|(_, config)| config.get("disabled").and_then(Value::as_bool) == Some(true));
        if let Some((name, _)) = off {
            findings.push(Finding::warning(
                format!("{at}.typed_per_filter_config.{name}"),
                "a filter is switched off here; if it is Tollway, nothing here has a price",
            ));
        }
        Ok(())
    });
    findings
}

/// The Wasm plugin that carries the filter.
fn plugin(place: &str, typed: &Value, config: &Value) -> Vec<Finding> {
    let mut findings = Vec::new();
    let field = |name| typed.get("config").and_then(|config| config.get(name));
    let policy = field("failure_policy").and_then(Value::as_str);
    if policy == Some("FAIL_OPEN") || field("fail_open").and_then(Value::as_bool) == Some(true) {
        findings.push(Finding::error(
            format!("{place}.failure_policy"),
            "FAIL_OPEN serves priced routes for free when the filter fails; write FAIL_RELOAD",
        ));
    } else if policy != Some("FAIL_RELOAD") {
        findings.push(Finding::warning(
            format!("{place}.failure_policy"),
            "a crashed filter answers 503 until Envoy restarts; write FAIL_RELOAD",
        ));
    }
    let shows_bodies = field("allow_on_headers_stop_iteration").and_then(Value::as_bool);
    if shows_bodies != Some(true) && reads_bodies(config) {
        findings.push(Finding::error(
            format!("{place}.allow_on_headers_stop_iteration"),
            "a price depends on the body, which Envoy does not show a waiting filter without \
             this; write true",
        ));
    }
    let token = config.pointer("/tollwayd/gate_token").and_then(Value::as_str);
    let variables = typed.pointer("/config/vm_config/environment_variables");
    if let Some(name) = token.and_then(|token| token.strip_prefix("env:")) {
        let passed = variables.and_then(|all| all.get("host_env_keys")).and_then(Value::as_array);
        let set = variables.and_then(|all| all.get("key_values")).and_then(|all| all.get(name));
        if set.is_some() {
            findings.push(Finding::warning(
                format!("{place}.vm_config.environment_variables.key_values"),
                format!(
                    "{name} stands in the configuration, which Envoy's admin door shows; list \
                         it in host_env_keys"
                ),
            ));
        } else if !passed.is_some_and(|names| names.iter().any(|known| known == name)) {
            findings.push(Finding::error(
                format!("{place}.vm_config.environment_variables.host_env_keys"),
                format!("the filter reads its token from {name} and does not get it; list it"),
            ));
        }
    }
    findings
}

/// Whether a price of a route depends on the body of requests.
fn reads_bodies(config: &Value) -> bool {
    let Ok(read) = rehearsal::config(config) else { return false };
    rehearsal::routes(config)
        .filter_map(|(_, route)| route_of(&read, &witness(route)?))
        .any(|route| route.price.body_need() != BodyNeed::Nothing)
}

/// The cluster by which the filter calls tollwayd.
fn cluster(document: &Value, name: &str) -> Vec<Finding> {
    let place = "static_resources.clusters";
    let clusters = document.pointer("/static_resources/clusters").and_then(Value::as_array);
    let found = clusters
        .into_iter()
        .flatten()
        .enumerate()
        .find(|(_, cluster)| cluster.get("name").and_then(Value::as_str) == Some(name));
    let Some((at, cluster)) = found else {
        // A file of listeners alone, or clusters that come from elsewhere.
        let elsewhere = document.pointer("/dynamic_resources/cds_config").is_some()
            || document.get("static_resources").is_none();
        let message = format!(
            "the filter calls cluster \"{name}\", which is not here; priced routes \
                               would answer 503"
        );
        return if elsewhere { Vec::new() } else { vec![Finding::error(place, message)] };
    };
    let place = format!("{place}[{at}]");
    let mut findings = Vec::new();
    let thresholds = cluster.pointer("/circuit_breakers/thresholds").and_then(Value::as_array);
    let first = thresholds.and_then(|all| all.first());
    let limit = |name| first.and_then(|one| one.get(name)).and_then(Value::as_u64);
    for name in ["max_requests", "max_pending_requests"] {
        if limit(name).unwrap_or(BREAKER_DEFAULT) <= BREAKER_DEFAULT {
            findings.push(Finding::warning(
                format!("{place}.circuit_breakers"),
                format!("{name} is {BREAKER_DEFAULT} or less; a burst above answers 503; raise it"),
            ));
        }
    }
    let protocol = cluster
        .pointer("/typed_extension_protocol_options")
        .map(Value::to_string)
        .unwrap_or_default();
    if !protocol.contains("http2_protocol_options") {
        findings.push(Finding::warning(
            format!("{place}.typed_extension_protocol_options"),
            "calls go over HTTP/1.1, a connection for each that is under way; set \
             http2_protocol_options",
        ));
    }
    findings
}

/// The clusters that the manager's routes lead to.
fn upstreams(manager: &Value) -> Vec<String> {
    let mut names = Vec::new();
    let Some(table) = manager.get("route_config") else { return names };
    let Ok(()) = walk::<Infallible>(table, &mut String::new(), &mut |_, value| {
        let cluster = value.pointer("/route/cluster").and_then(Value::as_str);
        names.extend(cluster.map(str::to_owned));
        Ok(())
    });
    names
}
