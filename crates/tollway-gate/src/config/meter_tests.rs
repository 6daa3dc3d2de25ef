//! Which meters a configuration can have, and what is refused.

use serde_json::{Value, json};
use tollway_core::money::Msat;

use super::tests::{check, found, minimal, parse, set};
use super::{MeterBy, Spend};

fn with(fields: &[(&str, Value)]) -> Value {
    let mut config = minimal();
    fields.iter().for_each(|(path, value)| set(&mut config, path, value.clone()));
    config
}

#[test]
fn a_meter_is_a_header_or_rates_and_its_route_is_exact() {
    const METER: &str = "/routes/0/meter";
    let leased =
        [("/services/0/spend", json!("leased")), ("/services/0/lease_max_sats", json!(50))];
    let read = |meter: Value| {
        let mut fields = leased.to_vec();
        fields.push((METER, meter));
        let config = parse(&with(&fields)).unwrap();
        let route = found(&config, "/joke").unwrap();
        assert_eq!(route.spend, Spend::Exact);
        route.meter.clone().unwrap()
    };
    let header = read(json!({"header": "x-toll-actual-cost-msat", "max_msat": 9000}));
    assert_eq!(header.by, MeterBy::Header("x-toll-actual-cost-msat".into()));
    let [small, large, most] = [1, 10_000, 9_000].map(|msat| Msat::new(msat).unwrap());
    assert_eq!(header.bounded(large, small), most);
    let rates = read(json!({"base_msat": 7, "response_mb_msat": 500, "second_msat": 3}));
    let MeterBy::Passing(passing) = rates.by else { panic!("{rates:?}") };
    assert_eq!(passing.cost(2_000, 1), Msat::new(11).unwrap());
    assert_eq!(rates.bounded(large, small), small, "without a maximum the estimate is it");
}

#[test]
fn err_meters() {
    let meter = |value: Value| with(&[("/routes/0/meter", value)]);
    check(&[
        (
            meter(json!({})),
            "routes[0].meter: expected what tells the cost, but found nothing; write \"header\", \
             response_mb_msat or second_msat",
        ),
        (
            meter(json!({"base_msat": 5})),
            "routes[0].meter: expected what tells the cost, but found nothing; write \"header\", \
             response_mb_msat or second_msat",
        ),
        (
            meter(json!({"header": "x-cost", "second_msat": 5})),
            "routes[0].meter: expected a header or rates, but found both; keep one of them",
        ),
        (
            meter(json!({"header": "X-Cost"})),
            "routes[0].meter.header: expected a header such as \"x-toll-actual-cost-msat\", but \
             found \"X-Cost\"; use a-z, 0-9 and \"-\"; it is taken off the response",
        ),
        (
            meter(json!({"header": "x-cost", "max_msat": 0})),
            "routes[0].meter.max_msat: expected an integer from 1 to 9007199254740991, but found \
             0; choose a number in this range",
        ),
        (
            with(&[
                ("/routes/0/meter", json!({"header": "x-cost"})),
                ("/routes/0/spend", json!("leased")),
                ("/routes/0/lease_max_sats", json!(50)),
            ]),
            "routes[0].spend: expected \"exact\" on a route with a meter, but found \"leased\"; \
             leave the field out",
        ),
        (
            with(&[
                ("/routes/0/meter", json!({"header": "x-cost"})),
                ("/routes/0/mode", json!({"session": {"duration_s": 60}})),
            ]),
            "routes[0].meter: expected none on a session route, but found one; its requests are \
             not charged",
        ),
        (
            with(&[
                ("/routes/0/charge_on", json!(["2xx"])),
                ("/routes/0/refund_on", json!(["5xx"])),
            ]),
            "routes[0].charge_on: expected none beside the statuses of refund_on, but found one; \
             name the statuses in one of the two",
        ),
        (
            with(&[("/routes/0/charge_on", json!(["1xx"]))]),
            "routes[0].charge_on[0]: expected \"2xx\" to \"5xx\" or a status such as \"404\", but \
             found \"1xx\"; statuses go from 200 to 599",
        ),
    ]);
}

#[test]
fn only_the_statuses_of_charge_on_are_charged() {
    let refund = |fields: &[(&str, Value)]| {
        found(&parse(&with(fields)).unwrap(), "/joke").unwrap().refund_on.clone()
    };
    let charged = [("/routes/0/charge_on", json!(["2xx", "404"]))];
    let rule = refund(&charged);
    for (status, refunded) in [(200, false), (299, false), (304, true), (404, false), (503, true)] {
        assert_eq!(rule.covers_status(status), refunded, "{status}");
    }
    assert!(rule.on_reset() && rule.on_timeout(), "the other defaults stand");
    let strict = refund(&[charged[0].clone(), ("/routes/0/refund_on", json!(["timeout"]))]);
    assert_eq!((strict.covers_status(500), strict.on_reset()), (true, false));
}

#[test]
fn mcp_prices() {
    let mcp = |value: Value| {
        let mut config = minimal();
        config["routes"][0].as_object_mut().unwrap().remove("price_sats");
        set(&mut config, "/routes/0/price", json!({ "mcp": value }));
        config
    };
    assert!(parse(&mcp(json!({"default": {"sats": 1}}))).is_ok());
    check(&[
        (
            mcp(json!({"tools": {"a": {"sats": 1}}})),
            "routes[0].price.mcp.default: missing; say what every other tool and method costs: the \
             dearest price, or \"deny\"",
        ),
        (
            mcp(json!({"default": "deny", "tools": {"a": {"sats": 0}}})),
            "routes[0].price.mcp.tools.a.sats: expected an integer from 1 to 9007199254740, but \
             found 0; write \"free\": true for what costs nothing",
        ),
        (
            mcp(json!({"default": "deny", "refund_errors": 1})),
            "routes[0].price.mcp.refund_errors: expected true or false, but found 1; write one of \
             the two",
        ),
    ]);
}

#[test]
fn err_llm_prices() {
    let llm = |value: Value| {
        let mut config = minimal();
        config["routes"][0].as_object_mut().unwrap().remove("price_sats");
        set(&mut config, "/routes/0/price", json!({ "llm": value }));
        config
    };
    let rates = json!({"input_msat": 1, "output_msat": 1});
    assert!(parse(&llm(json!({"provider": "gemini", "models": {"m": rates}}))).is_ok());
    check(&[
        (
            llm(json!({"models": {"m": rates}})),
            "routes[0].price.llm.provider: missing; name whose API it is",
        ),
        (
            llm(json!({"provider": "openai", "models": {"m": rates}})),
            "routes[0].price.llm.provider: expected \"openai_chat\", \"openai_responses\", \
             \"anthropic_messages\" or \"gemini\", but found \"openai\"; write one of the four",
        ),
        (
            llm(json!({"provider": "gemini"})),
            "routes[0].price.llm.models: missing; list the models that are sold, and their rates",
        ),
        (
            llm(json!({"provider": "gemini", "models": {}})),
            "routes[0].price.llm.models: expected at least one model, but found none; every other \
             is refused",
        ),
        (
            llm(json!({"provider": "gemini", "models": {"m": {"input_msat": 1}}})),
            "routes[0].price.llm.models.m.output_msat: missing; write the price of a million tokens",
        ),
        (
            llm(
                json!({"provider": "gemini", "models": {"m": {"input_msat": -1, "output_msat": 1}}}),
            ),
            "routes[0].price.llm.models.m.input_msat: expected an integer from 0 to \
             9007199254740991, but found -1; choose a number in this range",
        ),
    ]);
}
