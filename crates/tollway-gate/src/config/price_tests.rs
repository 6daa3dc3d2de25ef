//! Prices as operators write them, and what is refused.

use serde_json::{Value, json};
use tollway_core::header_block::HeaderBlock;
use tollway_core::pricing::{BodyNeed, Price, PricedRequest};
use tollway_core::rates::{RateReply, Rates};
use tollway_core::tier::Tier;

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
    cost_of_tier(price, query, body, "")
}

fn cost_of_tier(price: &Price, query: &str, body: &str, tier: &str) -> Option<u64> {
    let rate =
        RateReply { currency: "USD".into(), per_bitcoin: "50000".into(), expires_at: u64::MAX };
    let rates = Rates::from_reply(&[rate]).unwrap();
    let request = PricedRequest {
        headers: HeaderBlock::none(),
        query: query.as_bytes(),
        body: body.as_bytes(),
        body_bytes: body.len() as u64,
        tier: Tier::parse(tier).unwrap(),
        rates: &rates,
        // A Monday, 12:00 UTC.
        now_ms: 1_800_273_600_000,
    };
    price.quote(&request).ok().map(|quote| quote.cost.get())
}

#[test]
fn amounts_in_their_forms() {
    for (written, expected) in [
        (json!({ "sats": 5 }), Some(5_000)),
        (json!({ "msat": 1_500 }), Some(1_500)),
        (json!({ "free": true }), Some(0)),
        (json!({ "fiat": { "amount": "0.002", "currency": "USD" } }), Some(4_000)),
        (json!({ "fiat": { "amount": "1e-12", "currency": "USD" } }), Some(1)),
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
            "routes[0].price: expected an object, but found 5; its fields are sats, msat, free, fiat, llm, mcp, ask",
        ),
        (
            priced(json!({})),
            "routes[0].price: expected a price such as {\"sats\": 5}, {\"msat\": 1500}, \"free\", \
             \"deny\" or the name of a class, but found an object; write one of them, or a rule; \
             \"ask\" at a route only",
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

#[test]
fn shares_bytes_and_times_are_reckoned() {
    let share = price(json!({
        "percent": 2.5, "of": { "query": "amount" }, "unit": "sat",
        "min": { "sats": 1 }, "max": { "sats": 50 }
    }));
    for (query, expected) in [
        ("amount=100", Some(2_500)),
        ("amount=1", Some(1_000)),
        ("amount=1e9", Some(50_000)),
        ("amount=x", None),
        ("", None),
    ] {
        assert_eq!(cost(&share, query, ""), expected, "{query}");
    }
    let size = price(json!({
        "base": { "sats": 1 }, "request_bytes": { "msat": 10, "per": 4 }
    }));
    assert_eq!(size.body_need(), BodyNeed::Length);
    assert_eq!((cost(&size, "", ""), cost(&size, "", "12345")), (Some(1_000), Some(1_013)));
    let time = |from: &str, to: &str| {
        price(json!({
            "windows": [{ "days": ["mon"], "from": from, "to": to, "percent": 50 },
                        { "from": "00:00", "to": "24:00", "price": { "sats": 4 } }],
            "otherwise": { "sats": 9 }
        }))
    };
    assert_eq!(cost(&time("12:00", "12:01"), "", ""), Some(4_500));
    assert_eq!(cost(&time("12:01", "12:00"), "", ""), Some(4_000));
}

#[test]
fn err_reckoned_prices() {
    let share = |field: &str, value: Value| {
        let mut price = json!({ "percent": 1, "of": { "query": "a" }, "unit": "sat" });
        set(&mut price, &format!("/{field}"), value);
        priced(price)
    };
    let window = |window: Value| priced(json!({ "windows": [window], "otherwise": "deny" }));
    check(&[
        (
            share("percent", json!("2%")),
            "routes[0].price.percent: expected a percentage above 0 such as 2.5, but found \
             \"2%\"; write the number without a % sign",
        ),
        (
            share("percent", json!(0)),
            "routes[0].price.percent: expected a percentage above 0 such as 2.5, but found 0; \
             write the number without a % sign",
        ),
        (
            share("unit", json!("btc")),
            "routes[0].price.unit: expected \"sat\" or \"msat\", but found \"btc\"; write one of \
             the two",
        ),
        (
            priced(json!({
                "percent": 1, "of": { "query": "a" }, "unit": "sat",
                "min": { "sats": 2 }, "max": { "sats": 1 }
            })),
            "routes[0].price: expected a max of at least min, but found less; change one of the \
             two",
        ),
        (
            priced(json!({ "request_bytes": { "msat": 1 } })),
            "routes[0].price.base: missing; say what a request costs without a body, or \"free\"",
        ),
        (
            priced(json!({ "base": "free", "request_bytes": { "per": 5 } })),
            "routes[0].price.request_bytes: expected a rate such as {\"msat\": 10, \"per\": \
             1024}, but found an object; write msat",
        ),
        (
            priced(json!({
                "base": { "llm": { "provider": "gemini",
                                   "models": { "m": { "input_msat": 1, "output_msat": 1 } } } },
                "request_bytes": { "msat": 1 }
            })),
            "routes[0].price.base: expected a price that is known before the response, but found \
             one by tokens; write that one alone",
        ),
        (
            window(json!({ "from": "5:00", "to": "24:00", "percent": 50 })),
            "routes[0].price.windows[0].from: expected a time in UTC from \"00:00\" to \
             \"24:00\", but found \"5:00\"; write two digits, a colon and two digits",
        ),
        (
            window(json!({ "from": "05:00", "to": "24:01", "percent": 50 })),
            "routes[0].price.windows[0].to: expected a time in UTC from \"00:00\" to \"24:00\", \
             but found \"24:01\"; write two digits, a colon and two digits",
        ),
        (
            window(json!({ "from": "05:00", "to": "06:00" })),
            "routes[0].price.windows[0]: expected a price or a percentage of the other price, \
             but found neither; write \"price\" or \"percent\"",
        ),
        (
            window(json!({ "days": ["Monday"], "from": "05:00", "to": "06:00", "percent": 5 })),
            "routes[0].price.windows[0].days[0]: expected a day of the week: mon, tue, wed, thu, \
             fri, sat or sun, but found \"Monday\"; write it so",
        ),
    ]);
}

#[test]
fn other_money_has_a_short_form_too() {
    let mut config = minimal();
    let route = config["routes"][0].as_object_mut().unwrap();
    route.remove("price_sats");
    route.insert("price_fiat".into(), json!({ "amount": "0.01", "currency": "USD" }));
    let price = found(&parse(&config).unwrap(), "/joke").unwrap().price.clone();
    assert_eq!(cost(&price, "", ""), Some(20_000));
    assert!(price.follows_the_moment());
    // What was bought for one request must still be enough for it later.
    set(&mut config, "/routes/0/mode", json!("single_use"));
    let fault = parse(&config).unwrap_err().to_string();
    assert!(fault.contains("expected a price in sats on a single-use route"), "{fault}");
}

#[test]
fn tiers_have_prices_of_their_own() {
    let table = json!({
        "by": "tier",
        "values": { "gold": { "sats": 2 }, "7": { "fiat": { "amount": "1", "currency": "USD" } } },
        "default": { "sats": 5 }
    });
    let by_model =
        json!({ "by": { "json": "model" }, "values": { "a": table }, "default": "deny" });
    for (written, body) in [(table.clone(), ""), (by_model, r#"{"model": "a"}"#)] {
        let price = price(written);
        for (tier, expected) in
            [("", 5_000), ("gold", 2_000), ("silver", 5_000), ("7", 2_000_000), ("07", 5_000)]
        {
            assert_eq!(cost_of_tier(&price, "", body, tier), Some(expected), "{tier}");
        }
        assert_eq!(price.tiers().len(), 2);
    }
}

#[test]
fn err_tiers_and_other_money() {
    let tiers = |values: Value| json!({ "by": "tier", "values": values, "default": { "sats": 5 } });
    let fiat = |amount: Value, currency: &str| json!({ "fiat": { "amount": amount, "currency": currency } });
    for (written, fault) in [
        (tiers(json!({ "Gold": { "sats": 1 } })), "values.Gold: expected a tier"),
        (tiers(json!({ "": { "sats": 1 } })), "expected a tier"),
        (tiers(json!({ "gold": "free" })), "values.gold: expected an amount for every tier"),
        (json!({ "by": "tier", "values": {}, "default": "deny" }), "default: expected an amount"),
        (json!({ "by": "tier", "values": {} }), "default"),
        (json!({ "by": "tier", "default": { "sats": 5 } }), "values"),
        (json!({ "by": "tier", "present": { "sats": 5 }, "absent": { "sats": 1 } }), "present"),
        (json!({ "by": "level", "values": {}, "default": { "sats": 5 } }), "by: expected"),
        (fiat(json!(0.002), "USD"), "fiat.amount: expected an amount above zero in quotes"),
        (fiat(json!("0.0"), "USD"), "fiat.amount: expected an amount above zero"),
        (fiat(json!("-1"), "USD"), "fiat.amount: expected an amount above zero"),
        (fiat(json!("1"), "usd"), "fiat.currency: expected the code of a currency"),
    ] {
        let found = parse(&priced(written)).unwrap_err().to_string();
        assert!(found.contains(fault), "{found}");
    }
}

#[test]
fn a_price_is_asked_for_at_a_route_and_nowhere_else() {
    let fields = json!([{ "query": "size" }, { "json": "a.b" }]);
    let asked = price(json!({ "ask": fields }));
    assert!(asked.follows_the_moment());
    assert_eq!(asked.body_need(), BodyNeed::Text);
    assert_eq!(price(json!({ "ask": [] })).body_need(), BodyNeed::Nothing);
    let ask = json!({ "ask": [] });
    for written in [
        json!({ "by": { "query": "a" }, "values": { "b": ask }, "default": "deny" }),
        json!({ "base": ask, "request_bytes": { "msat": 10, "per": 1024 } }),
        json!({ "windows": [], "otherwise": ask }),
    ] {
        let found = parse(&priced(written)).unwrap_err().to_string();
        assert!(found.contains("\"ask\" at a route only"), "{found}");
    }
    let mut config = minimal();
    set(&mut config, "/classes", json!({ "DYNAMIC": { "ask": [] } }));
    let found = parse(&config).unwrap_err().to_string();
    assert!(found.contains("classes.DYNAMIC: "), "{found}");
    for (mode, fault) in [
        (json!("single_use"), "expected a price in sats on a single-use route"),
        (json!({ "session": { "duration_s": 60 } }), "expected one price for all requests"),
    ] {
        let mut config = priced(json!({ "ask": [] }));
        set(&mut config, "/routes/0/mode", mode);
        let found = parse(&config).unwrap_err().to_string();
        assert!(found.contains(fault), "{found}");
    }
}

#[test]
fn a_description_has_known_parts_only() {
    let mut config = minimal();
    for (text, good) in [("{method} of {query.q}", true), ("{body}", false), ("a { b", false)] {
        set(&mut config, "/routes/0/description", json!(text));
        let found = parse(&config).map(|_| ()).map_err(|fault| fault.to_string());
        assert_eq!(found.is_ok(), good, "{found:?}");
        if let Err(fault) = found {
            assert!(fault.contains("routes[0].description: expected a text in which"), "{fault}");
        }
    }
}
