//! What the lint says of files, the shipped examples first; and what a rehearsal says of requests.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tollway_lint::{Asked, Meets, Severity, SourceError, lint, read, rehearse};

fn shipped(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../envoy").join(name);
    fs::read_to_string(path).unwrap()
}

/// The findings without the places.
fn said(text: &str) -> Vec<String> {
    let report = lint(text).unwrap();
    report.findings.into_iter().map(|finding| finding.to_string()).collect()
}

fn filter(routes: Value) -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "api"}],
        "routes": routes,
        "unmatched": "deny"
    })
}

#[test]
fn the_shipped_examples_have_nothing_to_regret() {
    for name in ["filter.json", "envoy.yaml", "istio.yaml", "envoy-gateway.yaml"] {
        let report = lint(&shipped(name)).unwrap();
        assert_eq!(report.places.len(), 1, "{name}: {:?}", report.places);
        assert_eq!(report.findings, [], "{name}");
    }
}

#[test]
fn each_protection_that_is_taken_out_of_envoy_is_missed() {
    let envoy = shipped("envoy.yaml");
    let rows = [
        ("normalize_path: true", "normalize_path: false", "normalize_path", Severity::Warning),
        ("merge_slashes: true", "merge_slashes: false", "merge_slashes", Severity::Warning),
        (
            "action: REJECT_REQUEST\n                common",
            "action: KEEP_UNCHANGED\n                common",
            "path_with_escaped_slashes_action",
            Severity::Warning,
        ),
        (
            "headers_with_underscores_action: REJECT_REQUEST",
            "idle_timeout: 1s",
            "headers_with_underscores_action",
            Severity::Warning,
        ),
        (
            "use_remote_address: true",
            "use_remote_address: false",
            "use_remote_address",
            Severity::Warning,
        ),
        (
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_OPEN",
            "failure_policy",
            Severity::Error,
        ),
        (
            "failure_policy: FAIL_RELOAD",
            "failure_policy: FAIL_CLOSED",
            "failure_policy",
            Severity::Warning,
        ),
        (
            "host_env_keys: [TOLLWAY_GATE_TOKEN]",
            "host_env_keys: [OTHER]",
            "host_env_keys",
            Severity::Error,
        ),
        (
            "    - name: tollwayd\n",
            "    - name: another\n",
            "static_resources.clusters",
            Severity::Error,
        ),
        (
            "max_pending_requests: 16384",
            "max_pending_requests: 1024",
            "circuit_breakers",
            Severity::Warning,
        ),
        (
            "            http2_protocol_options:\n              # Finds",
            "            http_protocol_options:\n              # Finds",
            "typed_extension_protocol_options",
            Severity::Warning,
        ),
        (
            "timeout: 30s #",
            "retry_policy: {}\n                            timeout: 30s #",
            "retry_policy",
            Severity::Warning,
        ),
        ("\"unmatched\": \"deny\"", "\"unmatched\": \"free\"", "unmatched", Severity::Warning),
        (
            r#""price_sats": 10}"#,
            r#""price": {"by": {"json": "a"}, "present": {"sats": 1}, "absent": "deny"}}"#,
            "allow_on_headers_stop_iteration",
            Severity::Error,
        ),
        (
            "\"failure_mode_allow\": false",
            "\"failure_mode_allow\": true",
            "failure_mode_allow",
            Severity::Warning,
        ),
        ("\"tick_ms\": 100", "\"shadow\": true", "shadow", Severity::Warning),
        ("\"price_sats\": 10", "\"price_sats\": \"10\"", "configuration", Severity::Error),
    ];
    for (from, into, place, severity) in rows {
        assert_eq!(envoy.matches(from).count(), 1, "{from:?}");
        let report = lint(&envoy.replace(from, into)).unwrap();
        let found = report.findings.iter().find(|finding| {
            finding.severity == severity
                && (finding.place.contains(place) || place == "configuration")
        });
        assert!(found.is_some(), "{into}: {:?}", report.findings);
        assert_eq!(report.has_errors(), severity == Severity::Error, "{into}");
    }
}

#[test]
fn istio_and_envoy_gateway_are_judged_too() {
    for (name, from, into, expected) in [
        (
            "istio.yaml",
            "failStrategy: FAIL_RELOAD",
            "failStrategy: FAIL_OPEN",
            "error: WasmPlugin tollway spec.failStrategy",
        ),
        (
            "envoy-gateway.yaml",
            "failOpen: false",
            "failOpen: true",
            "error: EnvoyExtensionPolicy tollway spec.wasm[0].failOpen",
        ),
        (
            "envoy-gateway.yaml",
            "escapedSlashesAction: RejectRequest",
            "escapedSlashesAction: KeepUnchanged",
            "warning: ClientTrafficPolicy tollway",
        ),
        (
            "envoy-gateway.yaml",
            "kind: ClientTrafficPolicy",
            "kind: Another",
            "warning: EnvoyExtensionPolicy",
        ),
    ] {
        let text = shipped(name);
        assert!(text.contains(from), "{name}: {from}");
        let said = said(&text.replace(from, into));
        assert!(said.iter().any(|line| line.starts_with(expected)), "{into}: {said:?}");
    }
}

#[test]
fn a_listener_around_the_filter_is_seen() {
    let mut envoy: Value = serde_norway::from_str(&shipped("envoy.yaml")).unwrap();
    let mut side_door = envoy["static_resources"]["listeners"][0].clone();
    let manager = side_door.pointer_mut("/filter_chains/0/filters/0/typed_config").unwrap();
    manager["http_filters"].as_array_mut().unwrap().remove(0);
    envoy["static_resources"]["listeners"].as_array_mut().unwrap().push(side_door);
    let said = said(&envoy.to_string());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("listeners[1]") && said[0].contains("\"upstream\""), "{said:?}");
}

#[test]
fn routes_that_nobody_reaches_are_named() {
    for (routes, expected) in [
        // The order of the file decides between two lists of methods.
        (
            json!([
                {"name": "all", "match": {"path": "/a", "methods": ["GET", "POST"]}, "price_sats": 1},
                {"name": "post", "match": {"path": "/a", "methods": ["POST"]}, "price_sats": 9}
            ]),
            "routes[1]: no request reaches \"post\"",
        ),
        (
            json!([
                {"name": "admin", "match": {"path": "/admin"}, "price_sats": 9},
                {"name": "site", "match": {"host": "a.example", "path_prefix": "/"}, "price_sats": 1}
            ]),
            "routes[0]: GET a.example/admin goes to \"site\"",
        ),
        (
            json!([
                {"name": "big", "match": {"path": "/a", "headers": [{"name": "x", "value": "1"}]},
                 "price_sats": 9},
                {"name": "get", "match": {"path": "/a", "methods": ["GET"]}, "price_sats": 1}
            ]),
            "routes[0]: GET unnamed.invalid/a goes to \"get\"",
        ),
        (
            json!([
                {"name": "docs", "match": {"path_prefix": "/docs"}, "free": true},
                {"name": "pro", "match": {"path": "/docs/pro"}, "price_sats": 9}
            ]),
            "routes[1]: \"/docs/pro/\" is free by \"docs\"",
        ),
    ] {
        let said = said(&filter(routes.clone()).to_string());
        assert_eq!(said.len(), 1, "{routes}: {said:?}");
        assert!(said[0].contains(expected), "{routes}: {said:?}");
    }
}

#[test]
fn what_is_only_more_specific_is_no_finding() {
    let routes = json!([
        {"name": "api", "match": {"path_prefix": "/api"}, "price_sats": 1},
        {"name": "joke", "match": {"path": "/api/joke"}, "price_sats": 2},
        {"name": "post", "match": {"path": "/api/joke", "methods": ["POST"]}, "price_sats": 3},
        {"name": "user", "match": {"path_template": "/users/{id}"}, "price_sats": 4},
        {"name": "model", "match": {"path_prefix": "/api",
         "headers": [{"name": "x-model", "value": "large"}]}, "price_sats": 5},
        {"name": "plain", "match": {"path": "/plain",
         "headers": [{"name": "x-model", "present": false}]}, "price_sats": 5},
        {"name": "host", "match": {"host": "*.a.example", "path_prefix": "/a"}, "price_sats": 6},
        {"name": "b", "match": {"host": "b.example", "path": "/api/joke"}, "price_sats": 7}
    ]);
    assert_eq!(said(&filter(routes).to_string()), Vec::<String>::new());
}

#[test]
fn err_files_without_a_configuration() {
    assert_eq!(lint("kind: Pod"), Err(SourceError::Nothing));
    assert_eq!(lint("{}"), Err(SourceError::Nothing));
    assert!(matches!(lint("a: ["), Err(SourceError::Malformed(_))));
    let broken = shipped("envoy.yaml").replace("\"unmatched\": \"deny\",", "\"unmatched\": ,");
    assert!(matches!(lint(&broken), Err(SourceError::NoJson(..))));
}

fn ask(method: &str, target: &str) -> Asked {
    Asked {
        method: method.into(),
        host: "a.example".into(),
        target: target.into(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

#[test]
fn a_rehearsal_plays_the_filter_s_own_part() {
    let found = read(&shipped("envoy.yaml")).unwrap().remove(0);
    let joke = rehearse(&found.filter, &ask("GET", "/api/joke?x")).unwrap();
    let Meets::Payment(body) = &joke.meets else { panic!("{joke:?}") };
    assert_eq!((&body["priceMsat"], &body["amountSats"]), (&json!(5_000), &json!(20)));
    assert_eq!(joke.route.as_deref(), Some("joke"));
    assert_eq!(joke.service.as_deref(), Some("demo"));
    assert_eq!(joke.because, ["path \"/api/joke\""]);
    let probe = rehearse(&found.filter, &ask("HEAD", "/api/joke")).unwrap();
    assert_eq!(probe.meets, Meets::Payment(json!({"priceMsat": 5_000})));
    assert_eq!(rehearse(&found.filter, &ask("GET", "/")).unwrap().meets, Meets::Free);
    for (target, expected) in [("/api/other", 403), ("/api//joke", 400), ("/api/%2e/joke", 400)] {
        let answered = rehearse(&found.filter, &ask("GET", target)).unwrap();
        let Meets::Answer { status, .. } = answered.meets else { panic!("{answered:?}") };
        assert_eq!(status, expected, "{target}");
    }
}

#[test]
fn a_rehearsal_reads_the_body_where_the_price_hangs_on_it() {
    let config = filter(json!([
        {"name": "chat", "match": {"path": "/chat"}, "body_bytes_max": 64,
         "price": {"by": {"json": "model"}, "values": {"large": {"sats": 9}},
                   "default": {"sats": 2}}},
        {"name": "upload", "match": {"path": "/upload"},
         "price": {"base": {"sats": 1}, "request_bytes": {"msat": 10, "per": 1}}},
        {"name": "plain", "match": {"path": "/plain"}, "price_sats": 4}
    ]));
    let long = format!("{{\"model\": \"{}\"}}", "x".repeat(64));
    for (target, body, expected) in [
        ("/chat", r#"{"model": "large"}"#, Ok(9_000)),
        ("/chat", r#"{"model": "small"}"#, Ok(2_000)),
        ("/chat", r#"{"model": "small", "Model": "large"}"#, Err(400)),
        ("/chat", long.as_str(), Err(413)),
        ("/upload", "0123456789", Ok(1_100)),
        ("/plain", "anything", Ok(4_000)),
    ] {
        let asked = Asked { body: body.as_bytes().to_vec(), ..ask("POST", target) };
        let found = match rehearse(&config, &asked).unwrap().meets {
            Meets::Payment(body) => Ok(body["priceMsat"].as_u64().unwrap()),
            Meets::Answer { status, .. } => Err(status),
            Meets::Free => panic!("{target}: nothing here is free"),
        };
        assert_eq!(found, expected, "{target} {body}");
    }
}

#[test]
fn a_rehearsal_names_what_was_passed_over_and_what_comes_first() {
    let mut config = filter(json!([
        {"name": "api", "match": {"path_prefix": "/api"}, "price_sats": 1},
        {"name": "joke", "match": {"path": "/api/joke"}, "price_msat": 1500,
         "mode": {"session": {"duration_s": 60}}},
        {"name": "other", "match": {"path": "/other"}, "free": true}
    ]));
    config["services"][0]["free_tier"] = json!({"requests": 3});
    config["unmatched"] = json!({"price_sats": 2});
    let joke = rehearse(&config, &ask("POST", "/api/joke")).unwrap();
    assert_eq!(joke.passed_over, ["api"]);
    assert!(joke.free_tier);
    assert_eq!(joke.buys.as_deref(), Some("60 s"));
    let rest = rehearse(&config, &ask("GET", "/rest")).unwrap();
    assert_eq!(rest.route.as_deref(), Some("unmatched"));
    assert_eq!(rest.because, ["no route matches, and \"unmatched\" decides"]);
    config["routes"][0]["price_sats"] = json!(0);
    assert!(rehearse(&config, &ask("GET", "/rest")).unwrap_err().to_string().contains("routes[0]"));
}

#[test]
fn a_hash_that_is_a_proof_is_regretted_where_it_stands() {
    let mut config = filter(json!([{"name": "joke", "match": {"path": "/joke"}, "service": "api",
                                     "price_sats": 5}]));
    assert!(!said(&config.to_string()).iter().any(|it| it.contains("no secret")));
    config["services"][0]["proof"] = json!("payment_hash_alone");
    let of_service = said(&config.to_string());
    let expected = "warning: services[0].proof: a payment hash is no secret";
    assert!(of_service.iter().any(|it| it.starts_with(expected)), "{of_service:?}");
    config["services"][0]["proof"] = json!("lookup");
    config["proof"] = json!("payment_hash_alone");
    let of_all = said(&config.to_string());
    assert!(of_all.iter().any(|it| it.starts_with("warning: proof: ")), "{of_all:?}");
}
