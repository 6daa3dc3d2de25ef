//! Good configurations resolve, and each bad one has its message.

use serde_json::{Value, json};
use tollway_core::header_block::HeaderBlock;
use tollway_core::money::Msat;
use tollway_core::pricing::{Price, RequestHead};

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn env(name: &str) -> Option<String> {
    let value = match name {
        "GATE_TOKEN" => TOKEN,
        "EMPTY" => "",
        "SHORT" => "canary-short",
        "NEWLINE" => "canary-with-a-newline\n",
        _ => return None,
    };
    Some(value.to_owned())
}

pub(super) fn minimal() -> Value {
    json!({
        "tollwayd": { "cluster": "tollwayd", "gate_token": "env:GATE_TOKEN" },
        "services": [{ "name": "jokes" }],
        "routes": [{ "name": "joke", "match": { "path": "/joke" }, "price_sats": 5 }],
        "unmatched": "deny"
    })
}

/// The minimal configuration with `value` at `path`, a JSON pointer whose last step may be new.
pub(super) fn with(path: &str, value: Value) -> Value {
    let mut config = minimal();
    set(&mut config, path, value);
    config
}

pub(super) fn set(config: &mut Value, path: &str, value: Value) {
    let (parent, name) = path.rsplit_once('/').unwrap();
    match config.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(items) => items.push(value),
        _ => unreachable!(),
    }
}

fn without(path: &str) -> Value {
    let (parent, name) = path.rsplit_once('/').unwrap();
    let mut config = minimal();
    config.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
    config
}

pub(super) fn parse(config: &Value) -> Result<Config, ConfigError> {
    Config::parse(&serde_json::to_vec(config).unwrap(), &env)
}

pub(super) fn found(config: &Config, path: &str) -> Option<Rc<Route>> {
    let head = RequestHead {
        host: b"example.com",
        path: path.as_bytes(),
        method: b"GET",
        headers: HeaderBlock::none(),
    };
    config.routes.find(&head).cloned()
}

#[test]
fn defaults_are_filled_in() {
    let config = parse(&minimal()).unwrap();
    assert_eq!(config.tollwayd.authority, "tollwayd");
    assert_eq!(config.tollwayd.timeout_ms, 2_000);
    assert_eq!(config.tollwayd.gate_token.reveal(), TOKEN);
    assert!(matches!(config.unmatched, Unmatched::Deny));
    assert_eq!(config.location, "tollway");
    assert!(!config.failure_mode_allow);
    assert_eq!(config.preflight, Preflight::Pass);
    assert_eq!((config.tick_ms, config.keyring_refresh_ms), (100, 5_000));
    assert_eq!(config.cache, CacheLimits { entries_max: 10_000, bytes_max: 8_388_608 });
    let joke = found(&config, "/joke").unwrap();
    assert_eq!(joke.name, "joke");
    assert_eq!(joke.price, Price::Fixed(Msat::new(5_000).unwrap()));
    assert_eq!(joke.description, "jokes joke");
    assert_eq!(joke.refund_on, RefundOn::default());
    assert_eq!(joke.hold_ttl_ms, 300_000);
    assert_eq!(
        *joke.service,
        Service {
            name: "jokes".into(),
            purchase: Purchase::default(),
            credential_ttl_s: 31_536_000,
            seed: Msat::ZERO,
            credit_ttl_s: None,
            low_balance: Msat::ZERO,
            free_tier: None,
            lease: LeaseTerms::default(),
            mint_caveats: Vec::new(),
            form: Form::default(),
        }
    );
    assert!(found(&config, "/other").is_none());
}

#[test]
fn every_field_is_read() {
    let config = parse(&json!({
        "tollwayd": {
            "cluster": "ledger",
            "authority": "ledger.internal:8403",
            "timeout_ms": 1500.0,
            "gate_token": "env:GATE_TOKEN"
        },
        "services": [
            { "name": "jokes", "purchase": { "default_sats": 100 }, "credential_ttl_s": 3600 },
            { "name": "time", "purchase": {} }
        ],
        "routes": [
            {
                "name": "joke.v1",
                "service": "jokes",
                "match": {
                    "host": "example.com",
                    "path_template": "/jokes/{id}",
                    "methods": ["GET", "POST"],
                    "headers": [
                        { "name": "x-a", "present": false },
                        { "name": "X-B", "value": "1" }
                    ]
                },
                "price_msat": 1,
                "description": "Ein Witz \u{fc}ber Zahlen",
                "refund_on": ["4xx", "503", "timeout"],
                "hold_ttl_s": 60
            },
            { "name": "free", "service": "time", "match": { "path_prefix": "/" }, "free": true }
        ],
        "unmatched": { "service": "time", "price_sats": 1e0 },
        "location": "example",
        "failure_mode_allow": true,
        "preflight": "answer",
        "tick_ms": 10,
        "keyring_refresh_s": 3600,
        "cache": { "entries_max": 1, "bytes_max": 65536 }
    }))
    .unwrap();
    assert_eq!(config.tollwayd.cluster, "ledger");
    assert_eq!(config.tollwayd.authority, "ledger.internal:8403");
    assert_eq!(config.tollwayd.timeout_ms, 1_500);
    assert!(config.failure_mode_allow);
    assert_eq!(config.preflight, Preflight::Answer);
    assert_eq!(config.cache, CacheLimits { entries_max: 1, bytes_max: 65_536 });
    let headers = [("x-b", b"1")].into();
    let head =
        RequestHead { host: b"example.com", path: b"/jokes/7", method: b"HEAD", headers: &headers };
    let joke = config.routes.find(&head).unwrap();
    assert_eq!(joke.name, "joke.v1");
    assert_eq!(joke.service.purchase.default, Msat::from_sats(100).unwrap());
    assert_eq!(joke.service.credential_ttl_s, 3_600);
    assert_eq!(joke.price, Price::Fixed(Msat::new(1).unwrap()));
    assert_eq!(joke.description, "Ein Witz \u{fc}ber Zahlen");
    assert_eq!(joke.hold_ttl_ms, 60_000);
    assert_eq!(found(&config, "/jokes/7").unwrap().price, Price::Free);
    let Unmatched::Route(rest) = &config.unmatched else { panic!("{:?}", config.unmatched) };
    assert_eq!((rest.name.as_str(), rest.service.name.as_str()), ("unmatched", "time"));
    assert_eq!(rest.price, Price::Fixed(Msat::new(1_000).unwrap()));
}

#[test]
fn refunds_cover_what_they_name() {
    for (refund_on, statuses, reset, timeout) in [
        (json!(["5xx", "reset", "timeout"]), &[500, 503, 599][..], true, true),
        (json!(["404"]), &[404], false, false),
        (json!(["4xx", "204", "reset"]), &[204, 400, 404, 499], true, false),
        (json!([]), &[], false, false),
    ] {
        let config = parse(&with("/routes/0/refund_on", refund_on.clone())).unwrap();
        let refund = found(&config, "/joke").unwrap().refund_on.clone();
        for status in [200, 204, 304, 400, 404, 499, 500, 503, 599, 600] {
            let expected = statuses.contains(&status);
            assert_eq!(refund.covers_status(status), expected, "{refund_on} {status}");
        }
        assert_eq!((refund.on_reset(), refund.on_timeout()), (reset, timeout), "{refund_on}");
    }
    let config = parse(&minimal()).unwrap();
    let default = &found(&config, "/joke").unwrap().refund_on;
    assert!(default.covers_status(500) && default.on_reset() && default.on_timeout());
    assert!(!default.covers_status(404));
}

#[test]
fn unmatched_free_and_priced() {
    for (unmatched, price) in [
        (json!("free"), Price::Free),
        (json!({ "free": true }), Price::Free),
        (json!({ "price_msat": 7 }), Price::Fixed(Msat::new(7).unwrap())),
    ] {
        let config = parse(&with("/unmatched", unmatched)).unwrap();
        let Unmatched::Route(route) = config.unmatched else { panic!() };
        assert_eq!(route.price, price);
    }
    let mut whole_api = with("/unmatched", json!({ "price_sats": 1 }));
    set(&mut whole_api, "/routes", json!([]));
    assert!(parse(&whole_api).is_ok());
}

#[test]
fn equal_matches_with_different_methods_are_no_fault() {
    let second = json!({
        "name": "joke-post", "price_sats": 9, "match": { "path": "/joke", "methods": ["POST"] }
    });
    assert!(parse(&with("/routes/-", second)).is_ok());
}

#[test]
fn err_top_level() {
    check(&[
        (json!(5), "config: expected an object, but found 5; its fields are <root>"),
        (with("/routs", json!([])), "routs: unknown field; did you mean routes?"),
        (with("/colour", json!(1)), "colour: unknown field; known here: <root>"),
        (with("/keyring", json!(1)), "keyring: unknown field; did you mean keyring_refresh_s?"),
        (with("/a\nb", json!(1)), "a\\nb: unknown field; known here: <root>"),
        (
            without("/unmatched"),
            "unmatched: missing; write what becomes of requests that no route matches: \
             \"deny\" refuses them, \"free\" lets them pass unpaid, {\"price_sats\": 1} \
             charges them",
        ),
        (
            with("/unmatched", json!("allow")),
            "unmatched: expected \"deny\", \"free\" or an object with a price, but found \
             \"allow\"; write what becomes of requests that no route matches: \"deny\" refuses \
             them, \"free\" lets them pass unpaid, {\"price_sats\": 1} charges them",
        ),
        (
            with("/unmatched", json!({})),
            "unmatched: expected a price, but found none; write price, price_sats, price_msat, class \
             or \"free\": true",
        ),
        (
            with("/unmatched", json!({ "price_sats": 0 })),
            "unmatched.price_sats: expected an integer from 1 to 9007199254740, but found 0; \
             write \"free\": true for what costs nothing",
        ),
        (
            with("/unmatched", json!({ "name": "x", "price_sats": 1 })),
            "unmatched.name: unknown field; known here: <terms>",
        ),
        (
            with("/location", json!("")),
            "location: expected a name of 1 to 255 visible ASCII characters, but found \"\"; \
             leave spaces, quotes and backslashes out",
        ),
        (
            with("/failure_mode_allow", json!("true")),
            "failure_mode_allow: expected true or false, but found \"true\"; leave the quotes \
             out",
        ),
        (
            with("/failure_mode_allow", json!(1)),
            "failure_mode_allow: expected true or false, but found 1; write one of the two",
        ),
        (
            with("/preflight", json!("block")),
            "preflight: expected \"pass\" or \"answer\", but found \"block\"; write one of the \
             two",
        ),
        (
            with("/tick_ms", json!(9)),
            "tick_ms: expected an integer from 10 to 10000, but found 9; choose a number in \
             this range",
        ),
        (
            with("/tick_ms", json!(10.5)),
            "tick_ms: expected an integer from 10 to 10000, but found 10.5; write a whole \
             number",
        ),
        (
            with("/keyring_refresh_s", json!(null)),
            "keyring_refresh_s: expected an integer from 1 to 3600, but found null; write a \
             whole number",
        ),
        (
            with("/cache", json!({ "entries_max": 0 })),
            "cache.entries_max: expected an integer from 1 to 1000000, but found 0; choose a \
             number in this range",
        ),
        (
            with("/cache", json!({ "bytes": 1 })),
            "cache.bytes: unknown field; did you mean bytes_max?",
        ),
        (
            with("/cache", json!({ "bytes_max": 1e300 })),
            "cache.bytes_max: expected an integer from 1 to 268435456, but found 1e+300; \
             choose a number in this range",
        ),
    ]);
}

#[test]
fn err_tollwayd() {
    const REFERENCE: &str = "tollwayd.gate_token: expected a reference of the form \
             \"env:NAME\", but found \
             something else; put the token into an environment variable, since Envoy's config \
             dump shows this value";
    const VARIABLE: &str = "; set it for Envoy and list it in the plugin's \
             vm_config.environment_variables.host_env_keys";
    let variable = |name: &str, found: &str| {
        format!(
            "tollwayd.gate_token: expected a token of at least 16 visible ASCII characters in \
             the environment variable {name}, but found {found}{VARIABLE}"
        )
    };
    check(&[
        (
            without("/tollwayd"),
            "tollwayd: missing; write how to reach it: {\"cluster\": .., \"gate_token\": ..}",
        ),
        (
            without("/tollwayd/cluster"),
            "tollwayd.cluster: missing; name Envoy's cluster for tollwayd",
        ),
        (
            with("/tollwayd/cluster", json!("a b")),
            "tollwayd.cluster: expected a name of 1 to 255 visible ASCII characters, but found \
             \"a b\"; leave spaces, quotes and backslashes out",
        ),
        (
            with("/tollwayd/authority", json!("a\r\nb")),
            "tollwayd.authority: expected a name of 1 to 255 visible ASCII characters, but \
             found \"a\\r\\nb\"; leave spaces, quotes and backslashes out",
        ),
        (
            with("/tollwayd/timeout_ms", json!(60_001)),
            "tollwayd.timeout_ms: expected an integer from 1 to 60000, but found 60001; choose \
             a number in this range",
        ),
        (
            with("/tollwayd/timeout", json!(1)),
            "tollwayd.timeout: unknown field; did you mean timeout_ms?",
        ),
        (
            without("/tollwayd/gate_token"),
            "tollwayd.gate_token: missing; name the environment variable that holds it: \
             \"env:NAME\"",
        ),
        (with("/tollwayd/gate_token", json!("canary-literal-token")), REFERENCE),
        (with("/tollwayd/gate_token", json!(12)), REFERENCE),
        (
            with("/tollwayd/gate_token", json!("env:")),
            "tollwayd.gate_token: expected the name of an environment variable after \"env:\", \
             but found something else; use letters, digits and \"_\"",
        ),
        (
            with("/tollwayd/gate_token", json!("env:canary token")),
            "tollwayd.gate_token: expected the name of an environment variable after \"env:\", \
             but found something else; use letters, digits and \"_\"",
        ),
        (with("/tollwayd/gate_token", json!("env:NOT_SET")), &variable("NOT_SET", "none")),
        (with("/tollwayd/gate_token", json!("env:EMPTY")), &variable("EMPTY", "an empty one")),
        (with("/tollwayd/gate_token", json!("env:SHORT")), &variable("SHORT", "one of 12")),
        (
            with("/tollwayd/gate_token", json!("env:NEWLINE")),
            &variable("NEWLINE", "one with other characters"),
        ),
    ]);
}

#[test]
fn err_services() {
    check(&[
        (
            without("/services"),
            r#"services: missing; write at least one, such as [{"name": "api"}]"#,
        ),
        (
            with("/services", json!([])),
            "services: expected at least one service, but found none; write [{\"name\": \
             \"api\"}]",
        ),
        (
            with("/services", json!({})),
            "services: expected a list, but found an object; write the items between [ and ]",
        ),
        (with("/services/-", json!({})), "services[1].name: missing; give the service a name"),
        (
            with("/services/-", json!({ "name": "Jokes" })),
            "services[1].name: expected a name of 1 to 64 characters, but found \"Jokes\"; use \
             a-z, 0-9, \"_\" and \"-\"",
        ),
        (
            with("/services/-", json!({ "name": "jokes" })),
            "services[1].name: expected a name that no service before has, but found \
             \"jokes\"; rename one of the two",
        ),
        (
            with("/services/0/purchase", json!({ "default_sats": "100" })),
            "services[0].purchase.default_sats: expected an integer from 1 to 9007199254740, \
             but found \"100\"; write the number without quotes",
        ),
        (
            with("/services/0/purchase", json!(100)),
            "services[0].purchase: expected an object, but found 100; its fields are \
             default_sats, min_sats, max_sats, bonus",
        ),
        (
            with("/services/0/credential_ttl_s", json!(-1)),
            "services[0].credential_ttl_s: expected an integer from 1 to 3153600000, but found \
             -1; choose a number in this range",
        ),
    ]);
}

#[test]
fn err_routes() {
    let again = |name: &str, path: &str| {
        with("/routes/-", json!({ "name": name, "match": { "path": path }, "price_sats": 1 }))
    };
    let mut two_services = with("/services/-", json!({ "name": "time" }));
    set(&mut two_services, "/unmatched", json!("deny"));
    check(&[
        (without("/routes"), "routes: missing; list the routes of the API and their prices"),
        (
            with("/routes", json!([])),
            "routes: expected at least one route, but found none; list one, or give \
             \"unmatched\" a price",
        ),
        (
            with("/routes/-", json!("x")),
            "routes[1]: expected an object, but found \"x\"; its fields are <route>",
        ),
        (without("/routes/0/name"), "routes[0].name: missing; give the route a name"),
        (
            with("/routes/0/name", json!("a b")),
            "routes[0].name: expected a name of 1 to 128 characters, but found \"a b\"; use \
             A-Z, a-z, 0-9, \".\", \"_\" and \"-\"",
        ),
        (
            with("/routes/0/name", json!("unmatched")),
            "routes[0].name: expected a name of the route's own, but found \"unmatched\"; \
             choose another, since this one stands for requests that no route matches",
        ),
        (
            again("joke", "/other"),
            "routes[1]: expected a name that no route before has, but found \"joke\" twice; \
             rename one of the two",
        ),
        (
            again("other", "/joke"),
            "routes[1]: expected a match that no route before has, but found that of \"joke\" \
             again in \"other\"; narrow or remove one of the two",
        ),
        (
            with("/routes/0/service", json!("time")),
            "routes[0].service: expected the name of a service, but found \"time\"; name one \
             of jokes",
        ),
        (two_services, "routes[0].service: missing; name one of jokes, time"),
        (
            without("/routes/0/price_sats"),
            "routes[0]: expected a price, but found none; write price, price_sats, price_msat, class \
             or \"free\": true",
        ),
        (
            with("/routes/0/free", json!(true)),
            "routes[0]: expected only one of price, price_sats, price_msat, class, free, price_fiat, but found \
             price_sats and free; keep one of them",
        ),
        (with("/routes/0/prise", json!(5)), "routes[0].prise: unknown field; did you mean price?"),
        (
            with("/routes/0/price_sats", json!("5")),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found \
             \"5\"; write the number without quotes",
        ),
        (
            with("/routes/0/price_sats", json!(0)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found 0; \
             write \"free\": true for what costs nothing",
        ),
        (
            with("/routes/0/price_sats", json!(-5)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found -5; \
             write \"free\": true for what costs nothing",
        ),
        (
            with("/routes/0/price_sats", json!(1.5)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found 1.5; \
             write price_msat for a part of a sat",
        ),
        (
            with("/routes/0/price_sats", json!(9_007_199_254_741_u64)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found \
             9007199254741; choose a number in this range",
        ),
        (
            with("/routes/0/price_sats", json!(u64::MAX)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found \
             18446744073709551615; choose a number in this range",
        ),
        (
            with("/routes/0/price_sats", json!(true)),
            "routes[0].price_sats: expected an integer from 1 to 9007199254740, but found \
             true; write a whole number",
        ),
        (
            with("/routes/0/description", json!("a\u{7}b")),
            "routes[0].description: expected a text of at most 639 bytes without control \
             characters, but found \"a\\u{7}b\"; it becomes the memo of the route's invoices",
        ),
        (
            with("/routes/0/description", json!("é".repeat(320))),
            &format!(
                "routes[0].description: expected a text of at most 639 bytes without control \
             characters, but found \"{}...\"; it becomes the memo of the route's invoices",
                "é".repeat(64)
            ),
        ),
        (
            with("/routes/0/refund_on", json!("5xx")),
            "routes[0].refund_on: expected a list, but found \"5xx\"; write the items between \
             [ and ]",
        ),
        (
            with("/routes/0/refund_on", json!(["5xx", "6xx"])),
            "routes[0].refund_on[1]: expected \"5xx\", \"4xx\", a status such as \"404\", \
             \"reset\" or \"timeout\", but found \"6xx\"; statuses go from 200 to 599",
        ),
        (
            with("/routes/0/refund_on", json!([404])),
            "routes[0].refund_on[0]: expected \"5xx\", \"4xx\", a status such as \"404\", \
             \"reset\" or \"timeout\", but found 404; write a text in quotes",
        ),
        (
            with("/routes/0/refund_on", json!(["+40"])),
            "routes[0].refund_on[0]: expected \"5xx\", \"4xx\", a status such as \"404\", \
             \"reset\" or \"timeout\", but found \"+40\"; statuses go from 200 to 599",
        ),
        (
            with("/routes/0/hold_ttl_s", json!(86_401)),
            "routes[0].hold_ttl_s: expected an integer from 1 to 86400, but found 86401; \
             choose a number in this range",
        ),
        (
            with("/routes", json!([{ "name": "a", "match": { "path": "/a" }, "price_msat": 0 }])),
            "routes[0].price_msat: expected an integer from 1 to 9007199254740991, but found \
             0; write \"free\": true for what costs nothing",
        ),
        (
            with("/routes", json!([{ "name": "a", "match": { "path": "/a" }, "free": false }])),
            "routes[0].free: expected true, but found false; leave the field out and write a \
             price",
        ),
    ]);
}

#[test]
fn err_match() {
    let rule = |value: Value| with("/routes/0/match", value);
    const HOST: &str = "routes[0].match.host: expected a host such as \"api.example.com\" or \
             \"*.example.com\", but found ";
    const ANY: &str = "; a host matches on every port and in any case";
    check(&[
        (
            without("/routes/0/match"),
            "routes[0].match: missing; write which requests it is for, such as {\"path\": \
             \"/joke\"}",
        ),
        (
            rule(json!({})),
            "routes[0].match: expected one of path, path_prefix, path_template, but found \
             none; write \"path_prefix\": \"/\" for every path",
        ),
        (
            rule(json!({ "path": "/a", "path_prefix": "/" })),
            "routes[0].match: expected only one of path, path_prefix, path_template, but found \
             path and path_prefix; keep one of them",
        ),
        (
            rule(json!({ "prefix": "/a" })),
            "routes[0].match.prefix: unknown field; known here: host, path, path_prefix, \
             path_template, methods, headers",
        ),
        (
            rule(json!({ "path": "joke" })),
            "routes[0].match.path: expected a path such as \"/joke\", but found a path that \
             does not begin with \"/\"; write it as Envoy normalises it",
        ),
        (
            rule(json!({ "path": "/a?b=1" })),
            "routes[0].match.path: expected a path such as \"/joke\", but found a \"?\"; write \
             it as Envoy normalises it",
        ),
        (
            rule(json!({ "path": "/%61" })),
            "routes[0].match.path: expected a path such as \"/joke\", but found a \
             percent-encoded letter, digit, \"-\", \".\", \"_\" or \"~\"; write it as Envoy \
             normalises it",
        ),
        (
            rule(json!({ "path_prefix": "/a/../b" })),
            "routes[0].match.path_prefix: expected a path such as \"/api\", but found a \".\" \
             or \"..\" segment; write it as Envoy normalises it",
        ),
        (
            rule(json!({ "path_template": "/users" })),
            "routes[0].match.path_template: expected a template such as \"/users/{id}/posts\", \
             but found no {parameter}; write it as path",
        ),
        (
            rule(json!({ "path_template": "/u/{id}.json" })),
            "routes[0].match.path_template: expected a template such as \"/users/{id}/posts\", \
             but found a parameter that is not a whole segment such as {id}; a parameter is a \
             whole segment, and the rest is written as Envoy normalises it",
        ),
        (
            rule(json!({ "path_template": "/{a}/{a}" })),
            "routes[0].match.path_template: expected a template such as \"/users/{id}/posts\", \
             but found two parameters of one name; rename one of them",
        ),
        (
            rule(json!({ "path": 5 })),
            "routes[0].match.path: expected a path such as \"/joke\", but found 5; write a \
             text in quotes",
        ),
        (rule(json!({ "path": "/a", "host": "example.com:80" })), &format!("{HOST}a port{ANY}")),
        (
            rule(json!({ "path": "/a", "host": "a.*" })),
            &format!("{HOST}a \"*\" that is not the whole first label{ANY}"),
        ),
        (rule(json!({ "path": "/a", "host": "" })), &format!("{HOST}an empty name{ANY}")),
        (
            rule(json!({ "path": "/a", "methods": [] })),
            "routes[0].match.methods: expected at least one method, but found none; leave the \
             field out for every method",
        ),
        (
            rule(json!({ "path": "/a", "methods": ["GET", "get"] })),
            "routes[0].match.methods[1]: expected a method such as \"GET\", but found \
             lower-case letters; list each method once, in capitals",
        ),
        (
            rule(json!({ "path": "/a", "methods": ["GET", "GET"] })),
            "routes[0].match.methods[1]: expected a method such as \"GET\", but found a method \
             that is listed before; list each method once, in capitals",
        ),
        (
            rule(json!({ "path": "/a", "headers": [{ "value": "1" }] })),
            "routes[0].match.headers[0].name: missing; name the header",
        ),
        (
            rule(json!({ "path": "/a", "headers": [{ "name": "x" }] })),
            "routes[0].match.headers[0]: expected a value or a presence, but found neither; \
             write \"value\": \"..\" or \"present\": true",
        ),
        (
            rule(json!({
                "path": "/a",
                "headers": [{ "name": "x", "value": "1", "present": true }]
            })),
            "routes[0].match.headers[0]: expected only one of value, present, but found value \
             and present; keep one of them",
        ),
        (
            rule(json!({ "path": "/a", "headers": [{ "name": "X-Toll-Tier", "present": true }] })),
            "routes[0].match.headers[0].name: expected the name of a header that clients send, \
             but found a header that clients cannot send; x-toll-* is removed before the \
             match, and for the host there is \"host\"",
        ),
        (
            rule(json!({ "path": "/a", "headers": [{ "name": "x", "value": "1\r\n" }] })),
            "routes[0].match.headers[0].value: expected the header's value, but found \
             \"1\\r\\n\"; leave control characters and outer spaces out",
        ),
        (
            rule(json!({
                "path": "/a",
                "headers": [{ "name": "x", "value": "1" }, { "name": "X", "present": true }]
            })),
            "routes[0].match.headers[1].name: expected one condition per header, but found a \
             second condition on one header; keep one of them",
        ),
        (
            rule(json!({ "path": "/a", "headers": [{ "name": "x", "present": "yes" }] })),
            "routes[0].match.headers[0].present: expected true or false, but found \"yes\"; \
             leave the quotes out",
        ),
    ]);
}

#[test]
fn err_json() {
    for (json, expected) in [
        (&b""[..], "config: expected JSON, but found a fault in it at line 1, column 1"),
        (b"{\n  \"a\": }", "config: expected JSON, but found a fault in it at line 2, column 8"),
        (b"\"\xff\"", "config: expected JSON, but found a fault in it at line 1, column 2"),
        (
            b"{\"tollwayd\": {\"cluster\": \"a\", \"cluster\": \"b\"}}",
            "tollwayd: expected every name once, but found \"cluster\" twice; keep one of the two",
        ),
    ] {
        let error = Config::parse(json, &env).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

/// Each configuration is refused with its message, and none shows a planted secret. `<root>`,
/// `<route>` and `<terms>` in a message stand for the fields that are known there.
pub(super) fn check(table: &[(Value, &str)]) {
    for (config, expected) in table {
        let message = parse(config).expect_err(expected).to_string();
        let expected = expected
            .replace("<root>", &ROOT_FIELDS.join(", "))
            .replace("<route>", &routes::ROUTE_FIELDS.join(", "))
            .replace("<terms>", &terms::TERMS.join(", "));
        assert_eq!(message, expected, "{config}");
        assert!(!message.contains("canary"), "{message}");
    }
}
