//! Caveats that new tokens are minted with, tiers that clients may choose, streams that end.

use serde_json::{Value, json};

use super::WhenCreditEnds;
use super::tests::{found, minimal, parse, set, with};

fn minted(config: &Value) -> Vec<String> {
    let config = parse(config).unwrap();
    let route = found(&config, "/joke").unwrap();
    route.mint_caveats.iter().map(ToString::to_string).collect()
}

#[test]
fn a_route_s_caveats_stand_in_place_of_its_service_s() {
    let mut config = with("/services/0/mint_caveats", json!({"plan": "pro"}));
    assert_eq!(minted(&config), ["plan = pro"]);
    set(&mut config, "/routes/0/mint_caveats", json!({"tier": "gold"}));
    assert_eq!(minted(&config), ["tier = gold"]);
    set(&mut config, "/routes/0/mint_caveats", json!({}));
    assert_eq!(minted(&config), [""; 0]);
    assert_eq!(minted(&minimal()), [""; 0]);
}

#[test]
fn what_no_token_can_say_is_refused_with_its_path() {
    let many: Value =
        (0..9).map(|n| (format!("n{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    for (path, value, fault) in [
        ("/routes/0/mint_caveats", json!({"Plan": "pro"}), "routes[0].mint_caveats.Plan: expected"),
        (
            "/routes/0/mint_caveats",
            json!({"budget": "x"}),
            "routes[0].mint_caveats.budget: expected",
        ),
        ("/routes/0/mint_caveats", json!({"plan": ""}), "routes[0].mint_caveats.plan: expected"),
        ("/routes/0/mint_caveats", json!({"plan": 1}), "routes[0].mint_caveats.plan: expected"),
        (
            "/routes/0/mint_caveats",
            json!({"tier": "Gold"}),
            "routes[0].mint_caveats.tier: expected",
        ),
        ("/services/0/mint_caveats", many, "services[0].mint_caveats: expected"),
        ("/services/0/mint_caveats", json!("plan"), "services[0].mint_caveats: expected"),
        ("/routes/0/tier_wish", json!(["fast"]), "routes[0].tier_wish: expected none"),
        ("/routes/0/when_credit_ends", json!("stop"), "routes[0].when_credit_ends: expected"),
    ] {
        let error = parse(&with(path, value.clone())).unwrap_err().to_string();
        assert!(error.starts_with(fault), "{value}: {error}");
    }
    let mut foreign = with("/services/0/profile", json!("toll-booth"));
    set(&mut foreign, "/services/0/mint_caveats", json!({"plan": "pro"}));
    let error = parse(&foreign).unwrap_err().to_string();
    assert!(error.starts_with("services[0].mint_caveats: expected none"), "{error}");
}

#[test]
fn a_stream_goes_on_unless_its_route_says_otherwise() {
    for (value, expected) in [("go_on", WhenCreditEnds::GoOn), ("end", WhenCreditEnds::End)] {
        let config = parse(&with("/routes/0/when_credit_ends", json!(value))).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().when_credit_ends, expected);
    }
    let config = parse(&minimal()).unwrap();
    assert_eq!(found(&config, "/joke").unwrap().when_credit_ends, WhenCreditEnds::GoOn);
}
