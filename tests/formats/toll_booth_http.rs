//! toll-booth's answers, request by request, beside ours in its profile.
//!
//! Where the package's behaviour is a known defect, ours is the safe one: what has no price is
//! refused, a holder's caveats never reach the upstream, nor do credentials, bad credentials buy
//! nothing, and a fault of ours is a 503.

use serde_json::{Value, json};
use tollway_core::compat::toll_booth;
use tollway_core::macaroon::Macaroon;
use tollway_core::secret::RootKey;

use crate::files::{Kind, list, of, text};
use crate::gateway::{Gateway, Outcome, gate_config, parse};

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
        "challenge" | "credit_runs_out" | "bad_credentials" | "free_credits" => Play::Steps(&[]),
        "free_requests" => Play::Steps(&[]),
        // An invoice that nobody can pay is none.
        "challenge_no_backend" | "challenge_backend_down" => Play::Steps(&[(0, 503)]),
        // What has no price is refused, and what has two readings.
        "unpriced_variants" => {
            Play::Steps(&[(0, 403), (1, 403), (2, 400), (3, 400), (4, 403), (5, 403), (6, 400)])
        }
        // A HEAD request that is paid for is a request.
        "head" => Play::Steps(&[(1, 200)]),
        "header_spoof" => Play::Steps(&[(1, 403)]),
        // Whoever holds a token can add these.
        "custom_caveat_headers" | "holder_forged_caveat" => Play::Steps(&[(0, 402)]),
        // A balance in cents pays for nothing in sats.
        "usd_token_on_sat_route" => Play::Steps(&[(0, 402)]),
        // Bad credentials are told so. A spent one gets a challenge and nothing free.
        "free_after_bad_credentials" => Play::Steps(&[(0, 402), (1, 402), (2, 200)]),
        // All carriers are read: the order of the headers does not matter.
        "two_auth_headers" => Play::Steps(&[(1, 200)]),
        "zero_price" | "usd_only_price" | "price_overflow" | "config_tier_without_default" => {
            Play::ConfigRefused
        }
        "tiers" => Play::NotHere("prices that a client chooses by a header are routes here"),
        "trusted_proxy" => Play::NotHere("Envoy says who the client is"),
        "reconcile" => Play::NotHere("it has no request; holds and postings have their own tests"),
        _ => panic!("{scenario}: a scenario that nobody knows here"),
    }
}

fn root_key_hex() -> String {
    "a1b2c3d4e5f6".repeat(6)[..64].to_owned()
}

fn config(scenario: &Value) -> Value {
    let config = &scenario["config"];
    let mut routes = Vec::new();
    let pricing = config["pricing"].as_object().cloned().unwrap_or_default();
    for (path, price) in &pricing {
        let sats = &price["simple"];
        let description = config["service_name"].as_str().unwrap_or("My API");
        let mut route = json!({"name": "priced", "service": "api", "match": {"path": path},
                               "price_sats": sats, "description": description});
        if let Some(tier) = config["free_tier"].as_object() {
            route["free_tier"] = match (tier.get("requests"), tier.get("credits")) {
                (Some(requests), _) => json!({"requests": requests}),
                (None, sats) => json!({"sats": sats}),
            };
        }
        routes.push(route);
    }
    let services = json!([{"name": "api", "profile": "toll-booth"}]);
    gate_config(&services, &routes.into())
}

#[test]
fn scenarios_end_as_there_or_safer() {
    const NOW_MS: u64 = 1_780_000_000_000;
    let (mut steps, mut left_out) = (0, 0);
    for file in of(Kind::TollBoothHttp) {
        for scenario in list(&file.content, "scenarios") {
            let name = text(scenario, "scenario");
            let safer = match play(name) {
                Play::Steps(safer) => safer,
                Play::ConfigRefused => {
                    let broken = parse(&config(scenario));
                    // A table without a route is no configuration of ours either.
                    let empty = scenario["config"].get("pricing").is_none();
                    assert!(broken.is_err() || empty, "{name}");
                    continue;
                }
                Play::NotHere(reason) => {
                    println!("{name}: not played: {reason}");
                    left_out += 1;
                    continue;
                }
            };
            let root_key = root_key_hex();
            let mut gateway = Gateway::start(&config(scenario), NOW_MS, ("toll-booth", &root_key));
            gateway.node_is_down = scenario["config"]["backend"] != "fake";
            for (number, step) in list(scenario, "steps").iter().enumerate() {
                let outcome = send(&gateway, &step["request"]);
                let there = step["response"]["status"].as_u64().unwrap();
                let safer = safer.iter().find(|(at, _)| *at == number);
                let expected = safer.map_or(there, |(_, status)| u64::from(*status));
                let label = format!("{name}, step {number}: {outcome:?}");
                assert_eq!(u64::from(outcome.status), expected, "{label}");
                if expected == there {
                    same_answer(&step["response"], &outcome, &label);
                }
                safe(&step["request"], &outcome, &label);
                steps += 1;
            }
        }
    }
    println!("{steps} requests played, {left_out} scenarios not");
    assert!(steps > 0);
}

fn send(gateway: &Gateway, request: &Value) -> Outcome {
    let pair =
        |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned());
    let headers: Vec<_> = list(request, "headers").iter().map(pair).collect();
    let client = request["peer"].as_str().and_then(|peer| peer.rsplit_once(':'));
    let line = (text(request, "method"), text(request, "path"));
    gateway.send(line, &headers, client.map(|(address, _)| address))
}

fn same_answer(there: &Value, outcome: &Outcome, label: &str) {
    match outcome.status {
        200 => {
            let balance = there["headers"]["x-credit-balance"].as_str();
            assert_eq!(outcome.credit_balance.as_deref(), balance, "{label}");
        }
        402 if outcome.header("www-authenticate").is_some() => {
            let (ours, theirs) = (&outcome.body()["l402"], &there["body"]["l402"]);
            for member in ["scheme", "description", "amount_sats", "route"] {
                assert_eq!(ours[member], theirs[member], "{member}: {label}");
            }
            let members = |body: &Value| -> Vec<String> {
                body.as_object().unwrap().keys().cloned().collect()
            };
            assert_eq!(members(ours), members(theirs), "{label}");
            well_formed(outcome, label);
        }
        402 => {
            let price = there["headers"]["x-l402-price-sats"].as_str();
            assert_eq!(outcome.header("x-l402-price-sats"), price, "{label}");
            assert!(price.is_some(), "{label}");
        }
        _ => {}
    }
}

/// Header and body of a 402 agree, and the token is genuine.
fn well_formed(outcome: &Outcome, label: &str) {
    let body = &outcome.body()["l402"];
    let (invoice, token) = (text(body, "invoice"), text(body, "macaroon"));
    let line = format!("L402 macaroon=\"{token}\", invoice=\"{invoice}\"");
    assert_eq!(outcome.header("www-authenticate"), Some(&*line), "{label}");
    let macaroon = Macaroon::from_base64(token.as_bytes()).unwrap();
    assert!(macaroon.verify(&RootKey::from_hex(root_key_hex().as_bytes()).unwrap()), "{label}");
    assert_eq!(toll_booth::to_base64(&macaroon), token, "{label}");
    let caveats: Vec<_> = macaroon.caveats().map(|c| String::from_utf8_lossy(c)).collect();
    let hash = format!("payment_hash = {}", text(body, "payment_hash"));
    let credit = format!("credit_balance = {}", body["amount_sats"]);
    assert_eq!(caveats, [&*hash, &*credit, "currency = sat"], "{label}");
}

/// Nothing that a client sent reaches the upstream as if it were true.
fn safe(request: &Value, outcome: &Outcome, label: &str) {
    for (name, value) in &outcome.upstream {
        let value = String::from_utf8_lossy(value);
        let sent =
            list(request, "headers").iter().any(|pair| pair[0] == *name && pair[1] == *value);
        assert!(!sent || value == "Bearer abc", "{name}: {value}: {label}");
        assert!(!value.contains("L402"), "{label}");
    }
}
