//! Which routes spend from leases, and what is refused.

use serde_json::{Value, json};
use tollway_core::money::Msat;

use super::Spend;
use super::tests::{check, found, minimal, parse, set};

fn leased(sats: u64) -> Spend {
    leased_up_to(sats, sats)
}

fn leased_up_to(sats: u64, exact_above: u64) -> Spend {
    let [max, exact_above] = [sats, exact_above].map(|sats| Msat::from_sats(sats).unwrap());
    Spend::Leased { max, exact_above }
}

/// The configuration with these fields, each by its path.
fn with(fields: &[(&str, Value)]) -> Value {
    let mut config = minimal();
    fields.iter().for_each(|(path, value)| set(&mut config, path, value.clone()));
    config
}

#[test]
fn a_route_is_exact_unless_it_or_its_service_says_otherwise() {
    const SERVICE: (&str, &str, &str) =
        ("/services/0/spend", "/services/0/lease_max_sats", "/services/0/exact_above_sats");
    const ROUTE: (&str, &str, &str) =
        ("/routes/0/spend", "/routes/0/lease_max_sats", "/routes/0/exact_above_sats");
    let yes = || json!("leased");
    // The route costs 5 sats.
    for (fields, expected) in [
        (vec![], Spend::Exact),
        (vec![(ROUTE.0, json!("exact"))], Spend::Exact),
        (vec![(ROUTE.1, json!(50))], Spend::Exact),
        (vec![(ROUTE.0, yes()), (ROUTE.1, json!(50))], leased(50)),
        (vec![(SERVICE.0, yes()), (SERVICE.1, json!(50))], leased(50)),
        (vec![(SERVICE.0, yes()), (SERVICE.1, json!(50)), (ROUTE.1, json!(7))], leased(7)),
        (vec![(SERVICE.1, json!(50)), (ROUTE.0, yes())], leased(50)),
        (vec![(SERVICE.0, yes()), (SERVICE.1, json!(50)), (ROUTE.0, json!("exact"))], Spend::Exact),
        (vec![(SERVICE.0, yes()), (SERVICE.1, json!(50)), (SERVICE.2, json!(4))], Spend::Exact),
        (
            vec![(SERVICE.0, yes()), (SERVICE.1, json!(50)), (SERVICE.2, json!(5))],
            leased_up_to(50, 5),
        ),
        (vec![(ROUTE.0, yes()), (ROUTE.1, json!(50)), (ROUTE.2, json!(4))], Spend::Exact),
        (
            vec![
                (SERVICE.0, yes()),
                (SERVICE.1, json!(50)),
                (SERVICE.2, json!(4)),
                (ROUTE.2, json!(9)),
            ],
            leased_up_to(50, 9),
        ),
        // What a service says for all of its routes is not for those that cannot.
        (vec![(SERVICE.0, yes()), (SERVICE.1, json!(4))], Spend::Exact),
        (
            vec![
                (SERVICE.0, yes()),
                (SERVICE.1, json!(50)),
                ("/routes/0/mode", json!("single_use")),
            ],
            Spend::Exact,
        ),
    ] {
        let config = parse(&with(&fields)).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().spend, expected, "{fields:?}");
        assert_eq!(config.lease_ttl_ms.is_some(), expected != Spend::Exact, "{fields:?}");
    }
}

#[test]
fn a_hold_outlives_the_time_to_spend_by_the_longest_request() {
    let config = with(&[
        ("/routes/0/spend", json!("leased")),
        ("/routes/0/lease_max_sats", json!(50)),
        ("/routes/0/hold_ttl_s", json!(60)),
    ]);
    let config = parse(&config).unwrap();
    assert_eq!((config.lease_ttl_ms, config.lease_idle_ms), (Some(90_000), 5_000));
    let config = parse(&with(&[("/lease_idle_s", json!(9))])).unwrap();
    assert_eq!((config.lease_ttl_ms, config.lease_idle_ms), (None, 9_000));
    let leased = [
        ("/routes/0/spend", json!("leased")),
        ("/routes/0/lease_max_sats", json!(100)),
        ("/routes/0/hold_ttl_s", json!(60)),
        ("/lease_ttl_s", json!(300)),
    ];
    assert_eq!(parse(&with(&leased)).unwrap().lease_ttl_ms, Some(360_000));
}

#[test]
fn what_cannot_be_leased_is_refused_with_its_remedy() {
    let yes = || ("/routes/0/spend", json!("leased"));
    for (fields, message) in [
        (
            vec![("/routes/0/spend", json!("lease"))],
            "routes[0].spend: expected \"exact\" or \"leased\", but found \"lease\"; write one of \
             the two",
        ),
        (
            vec![("/services/0/spend", json!(true))],
            "services[0].spend: expected \"exact\" or \"leased\", but found true; write a text in \
             quotes",
        ),
        (
            vec![yes()],
            "routes[0].lease_max_sats: missing; write how much credit of one customer may be set \
             aside here at once; so much of it you can lose when Envoy dies",
        ),
        (
            vec![yes(), ("/routes/0/lease_max_sats", json!(0))],
            "routes[0].lease_max_sats: expected an integer from 1 to 9007199254740, but found 0; \
             choose a number in this range",
        ),
        (
            vec![yes(), ("/routes/0/lease_max_sats", json!(4))],
            "routes[0].spend: expected a lease_max_sats of at least the price, 5, but found 4; \
             raise it or write \"exact\"",
        ),
        (
            vec![yes(), ("/routes/0/mode", json!("single_use"))],
            "routes[0].spend: expected \"exact\" on a route whose mode is not \"credits\", but \
             found \"leased\"; leave the field out",
        ),
        (
            vec![
                yes(),
                ("/routes/0/lease_max_sats", json!(50)),
                ("/routes/0/hold_ttl_s", json!(82_801)),
            ],
            "routes[0]: expected a hold_ttl_s of at most 82800 on a leased route, but found \
             82801; shorten it or write \"spend\": \"exact\"",
        ),
        (
            vec![("/lease_idle_s", json!(0))],
            "lease_idle_s: expected an integer from 1 to 3600, but found 0; choose a number in this \
             range",
        ),
    ] {
        check(&[(with(&fields), message)]);
    }
}
