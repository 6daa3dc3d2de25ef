//! Prices as operators write them, and what is refused.

use serde_json::{Value, json};
use tollway_core::pricing::{BodyNeed, Price, PricedRequest};

use super::tests::{check, found, minimal, parse, set};

/// The configuration whose one route has this price.
fn priced(price: Value) -> Value {
    let mut config = minimal();
    let route = config["routes"][0].as_object_mut().unwrap();
    route.remove("price_sats");
    route.insert("price".into(), price);
    config
}

fn price(price: Value) -> Price {
    found(&parse(&priced(price)).unwrap(), "/joke").unwrap().price.clone()
}

/// What a request costs, in msat; `None` where it is not sold.
fn cost(price: &Price, query: &str, body: &str) -> Option<u64> {
    let request = PricedRequest { headers: &[], query: query.as_bytes(), body: body.as_bytes() };
    price.quote(&request).ok().map(|quote| quote.cost.get())
}

#[test]
fn amounts_in_their_forms() {
    for (written, expected) in [
        (json!({ "sats": 5 }), Some(5_000)),
        (json!({ "msat": 1_500 }), Some(1_500)),
        (json!({ "free": true }), Some(0)),
        (json!("free"), Some(0)),
        (json!("deny"), None),
    ] {
        assert_eq!(cost(&price(written.clone()), "", ""), expected, "{written}");
    }
}

#[test]
fn classes_are_prices_with_a_name() {
    let mut config = minimal();
    set(&mut config, "/classes", json!({ "FREE": 0, "READ": 1, "BULK": { "msat": 1_500 } }));
    let route = config["routes"][0].as_object_mut().unwrap();
    route.remove("price_sats");
    for (field, class, expected) in
        [("class", "READ", 1_000), ("price", "BULK", 1_500), ("class", "FREE", 0)]
    {
        let mut config = config.clone();
        set(&mut config, &format!("/routes/0/{field}"), json!(class));
        let price = found(&parse(&config).unwrap(), "/joke").unwrap().price.clone();
        assert_eq!(cost(&price, "", ""), Some(expected), "{field} {class}");
    }
}

#[test]
fn tables_stand_within_tables() {
    let price = price(json!({
        "by": { "query": "size" },
        "values": {
            "small": { "sats": 1 },
            "large": {
                "by": { "json": "options.fast" },
                "present": { "sats": 9 },
                "absent": { "sats": 5 }
            }
        },
        "default": "deny"
    }));
    assert_eq!(price.body_need(), BodyNeed::Text);
    for (query, body, expected) in [
        ("size=small", "", Some(1_000)),
        ("size=large", "{}", Some(5_000)),
        ("size=large", r#"{"options": {"fast": true}}"#, Some(9_000)),
        ("size=large", "", None),
        ("size=huge", "{}", None),
        ("", "{}", None),
    ] {
        assert_eq!(cost(&price, query, body), expected, "{query} {body}");
    }
}

#[test]
fn the_body_is_read_up_to_a_cap_of_the_route() {
    let by = json!({ "by": { "json": "a" }, "present": "deny", "absent": { "sats": 1 } });
    let mut config = priced(by);
    assert_eq!(found(&parse(&config).unwrap(), "/joke").unwrap().body_bytes_max, 65_536);
    set(&mut config, "/routes/0/body_bytes_max", json!(100));
    assert_eq!(found(&parse(&config).unwrap(), "/joke").unwrap().body_bytes_max, 100);
}

/// The configuration with this table, and its one route with this class.
fn classed(classes: Value, class: Value) -> Value {
    let mut config = priced(class);
    set(&mut config, "/classes", classes);
    config
}

#[test]
fn err_classes() {
    check(&[
        (
            classed(json!({ "A": 1 }), json!("B")),
            "routes[0].price: expected \"free\", \"deny\" or the name of a class, but found \
             \"B\"; the classes are A",
        ),
        (
            priced(json!("READ")),
            "routes[0].price: expected \"free\", \"deny\" or the name of a class, but found \
             \"READ\"; list it in \"classes\" at the top",
        ),
        (
            classed(json!({ "deny": 1 }), json!("deny")),
            "classes.deny: expected a class whose name has 1 to 64 of A-Z, a-z, 0-9, \"_\" and \
             \"-\" and is neither \"free\" nor \"deny\", but found another; rename it",
        ),
        (
            classed(json!({ "A": -1 }), json!("A")),
            "classes.A: expected an integer from 0 to 9007199254740, but found -1; choose a \
             number in this range",
        ),
        (
            classed(json!({ "A": "free", "B": "A" }), json!("A")),
            "classes.B: expected \"free\", \"deny\" or the name of a class, but found \"A\"; \
             list it in \"classes\" at the top",
        ),
        (
            classed(json!([]), json!("free")),
            "classes: expected an object, but found a list; write its entries between { and }",
        ),
    ]);
}

#[test]
fn err_rules() {
    let by = |field: Value| json!({ "by": field, "values": {}, "default": "deny" });
    let mut deep = json!({ "sats": 1 });
    for _ in 0..8 {
        deep = json!({ "by": { "query": "a" }, "values": {}, "default": deep });
    }
    let mut no_body = priced(json!({ "sats": 1 }));
    set(&mut no_body, "/routes/0/body_bytes_max", json!(100));
    let mut session = priced(by(json!({ "query": "a" })));
    set(&mut session, "/routes/0/mode", json!({ "session": { "duration_s": 60 } }));
    check(&[
        (
            priced(json!(5)),
            "routes[0].price: expected an object, but found 5; its fields are sats, msat, free, by, llm",
        ),
        (
            priced(json!({})),
            "routes[0].price: expected a price such as {\"sats\": 5}, {\"msat\": 1500}, \"free\", \
             \"deny\" or the name of a class, but found an object; write one of them, or a rule",
        ),
        (
            priced(json!({ "sats": 1.5 })),
            "routes[0].price.sats: expected an integer from 1 to 9007199254740, but found 1.5; \
             write msat for a part of a sat",
        ),
        (
            priced(by(json!({}))),
            "routes[0].price.by: expected a field such as {\"header\": \"x-model\"}, {\"query\": \
             \"size\"} or {\"json\": \"options.size\"}, but found an object; name one field",
        ),
        (
            priced(by(json!({ "header": "x-toll-tier" }))),
            "routes[0].price.by.header: expected a field such as {\"header\": \"x-model\"}, \
             {\"query\": \"size\"} or {\"json\": \"options.size\"}, but found a header that \
             clients cannot send; write it as clients send it",
        ),
        (
            priced(json!({ "by": { "query": "a" }, "values": { "1": { "sats": 1 } } })),
            "routes[0].price.default: missing; say what every other value costs: the dearest \
             price, or \"deny\"",
        ),
        (
            priced(json!({
                "by": { "query": "a" }, "default": "deny",
                "values": { "1": { "sats": 1 }, "1.0": { "sats": 2 } }
            })),
            "routes[0].price.values.1.0: expected a value that is not listed yet, but found a \
             number that is there in another spelling; keep one of the two",
        ),
        (
            priced(json!({ "by": { "query": "a" }, "present": "free", "default": "deny" })),
            "routes[0].price.default: expected no such field here, but found one; it belongs to \
             \"values\"",
        ),
        (
            priced(json!({ "by": { "query": "a" }, "default": "deny" })),
            "routes[0].price: expected a table of values or a presence, but found neither; write \
             \"values\": {..} and \"default\", or \"present\" and \"absent\"",
        ),
        (
            priced(deep),
            "routes[0].price.default.default.default.default.default.default.default.default: \
             expected at most 8 prices within one another, but found more; make the table flatter",
        ),
        (
            no_body,
            "routes[0].body_bytes_max: expected none on a route whose price does not depend on \
             the body, but found one; leave it out",
        ),
        (
            session,
            "routes[0]: expected one price for all requests of a session route, but found a \
             rule; write price_sats or price_msat",
        ),
    ]);
}
