//! lightning-toll's answers, request by request, beside ours in its profile.
//!
//! Where the package's behaviour is a known defect, ours is the safe one: one payment is good for
//! what was paid and not for an hour of requests, client addresses are the proxy's word, caveats
//! are always enforced, and a fault of ours is a 503.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tollway_core::compat::lightning_toll::Token;
use tollway_core::secret::SecretText;

use crate::files::{Kind, list, of, text};
use crate::gateway::{Gateway, Outcome, gate_config, parse};

const SECRET: &str = "s3cret";

/// How a scenario is played.
enum Play {
    /// Status for status, but for these steps.
    Steps(&'static [(usize, u16)]),
    /// Our configuration refuses it.
    ConfigRefused,
    /// It tests what is not a matter of the format.
    NotHere(&'static str),
}

fn play(scenario: &str) -> Play {
    match scenario {
        // The old scheme is read as well, and the token is genuine.
        "challenge" => Play::Steps(&[(2, 200)]),
        // The credit of one request, once; after that a top-up is offered.
        "paid" => Play::Steps(&[(1, 402), (2, 402), (3, 402)]),
        "bindings" | "defaults" => Play::Steps(&[]),
        // A crash there.
        "bad_credentials" => Play::Steps(&[(4, 401)]),
        // A caveat that a token has is enforced, whatever new tokens are bound to.
        "unbound" => Play::Steps(&[(1, 401), (2, 401)]),
        // Nobody chooses an address by a header.
        "bind_ip" => Play::Steps(&[(3, 401)]),
        // The same; and a window ends when it is over, not a moment later.
        "free_tier" => Play::Steps(&[(3, 402), (4, 200)]),
        "free_tier_not_used_by_payers" => Play::Steps(&[]),
        "wallet_down" => Play::Steps(&[(0, 503)]),
        "zero_price" => Play::ConfigRefused,
        "dynamic_price" => Play::NotHere("prices that depend on the query are routes here"),
        "stats" => Play::NotHere("statistics are tollwayd's, and count a payment once"),
        _ => panic!("{scenario}: a scenario that nobody knows here"),
    }
}

fn config(scenario: &Value) -> Value {
    let (toll, route) = (&scenario["toll"], &scenario["route"]);
    let bound = |name: &str, default: bool| toll[name].as_bool().unwrap_or(default);
    let binding = [
        ("endpoint", bound("bind_endpoint", true)),
        ("method", bound("bind_method", true)),
        ("ip", bound("bind_ip", false)),
    ];
    let binding: Vec<_> = binding.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
    let sats = route["sats"].as_u64().or(toll["default_sats"].as_u64()).unwrap_or(10);
    let mut price = json!({"service": "api", "price_sats": sats,
                           "description": "API access: GET /api/joke"});
    if let Some(requests) = route["free_requests"].as_u64() {
        let window = route["free_window"].as_str().unwrap_or("1h");
        price["free_tier"] = json!({"requests": requests, "window": window});
    }
    let routes: Vec<_> = [("joke", "/api/joke"), ("other", "/api/other")]
        .iter()
        .map(|(name, path)| {
            let mut route = price.clone();
            route["name"] = (*name).into();
            route["match"] = json!({"path": path});
            route
        })
        .collect();
    let services = json!([{
        "name": "api",
        "profile": "lightning-toll",
        "token_binding": binding,
        "credential_ttl_s": toll["macaroon_expiry"].as_u64().unwrap_or(3_600),
    }]);
    gate_config(&services, &routes.into())
}

#[test]
fn scenarios_end_as_there_or_safer() {
    let (mut steps, mut left_out) = (0, 0);
    let mut statuses = BTreeSet::new();
    for file in of(Kind::LightningTollHttp) {
        for scenario in list(&file.content, "scenarios") {
            let name = text(scenario, "scenario");
            let safer = match play(name) {
                Play::Steps(safer) => safer,
                Play::ConfigRefused => {
                    parse(&config(scenario)).expect_err(name);
                    continue;
                }
                Play::NotHere(reason) => {
                    println!("{name}: not played: {reason}");
                    left_out += 1;
                    continue;
                }
            };
            let first_s = scenario["steps"][0]["request"]["at"].as_u64().unwrap();
            let key = ("lightning-toll", SECRET);
            let mut gateway = Gateway::start(&config(scenario), first_s * 1_000, key);
            gateway.node_is_down = scenario["wallet"] != "ok";
            for (number, step) in list(scenario, "steps").iter().enumerate() {
                if text(&step["request"], "path") == "/stats" {
                    continue;
                }
                let outcome = send(&mut gateway, &step["request"]);
                let there = step["response"]["status"].as_u64().unwrap();
                let safer = safer.iter().find(|(at, _)| *at == number);
                let expected = safer.map_or(there, |(_, status)| u64::from(*status));
                let label = format!("{name}, step {number}: {outcome:?}");
                assert_eq!(u64::from(outcome.status), expected, "{label}");
                if expected == there {
                    same_answer(step, &outcome, &label);
                }
                well_formed(&outcome, &label);
                statuses.insert(outcome.status);
                steps += 1;
            }
        }
    }
    println!("{steps} requests played, {left_out} scenarios not");
    assert!(steps > 0);
    assert!(statuses.is_superset(&BTreeSet::from([200, 401, 402, 503])), "{statuses:?}");
}

fn send(gateway: &mut Gateway, request: &Value) -> Outcome {
    gateway.set_clock(request["at"].as_u64().unwrap() * 1_000);
    let headers: Vec<_> = request["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    let line = (text(request, "method"), text(request, "path"));
    gateway.send(line, &headers, request["client_ip"].as_str())
}

/// Compares an answer with the package's; what it wraps in `detail` stands bare in ours, as it
/// documents.
fn same_answer(step: &Value, outcome: &Outcome, label: &str) {
    let there = &step["response"];
    let body = &there["body"]["detail"];
    match outcome.status {
        401 => {
            assert_eq!(outcome.header("www-authenticate"), None, "{label}");
            // HEAD has no body there.
            if body.is_object() {
                assert_eq!(&outcome.body(), body, "{label}");
            }
        }
        402 => {
            let ours = outcome.body();
            for member in ["status", "message", "amountSats", "description", "protocol"] {
                assert_eq!(ours[member], body[member], "{member}: {label}");
            }
            assert_eq!(ours["instructions"], body["instructions"], "{label}");
            let spoofed = !step["request"]["headers"]["x-forwarded-for"].is_null();
            if !spoofed {
                assert_eq!(caveats(&ours), caveats(body), "{label}");
            }
        }
        _ => {}
    }
}

/// A 402 that the package's clients can pay: header and body agree, and the token is genuine.
fn well_formed(outcome: &Outcome, label: &str) {
    if outcome.status != 402 {
        return;
    }
    let body = outcome.body();
    let (invoice, token) = (text(&body, "invoice"), text(&body, "macaroon"));
    let line = format!("L402 invoice=\"{invoice}\", macaroon=\"{token}\"");
    assert_eq!(outcome.header("www-authenticate"), Some(&*line), "{label}");
    let token = Token::from_base64(token.as_bytes()).unwrap();
    assert!(token.verify(&SecretText::new(SECRET.to_owned())), "{label}");
    assert_eq!(token.id(), text(&body, "paymentHash"), "{label}");
}

fn caveats(body: &Value) -> Value {
    use base64::Engine as _;
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text(body, "macaroon"));
    let token: Value = serde_json::from_slice(&json.unwrap()).unwrap();
    token["caveats"].clone()
}
