//! The terms of sale: purchases, modes, free tiers, repeats and over-runs.

use serde_json::{Value, json};
use tollway_core::money::Msat;
use tollway_core::pricing::Price;
use tollway_core::wire::{Overrun, Quota, Window};

use super::tests::{check, found, minimal, parse, set, with};
use super::{Bonus, FreeTier, Idempotency, Limit, Mode, Purchase, Unmatched};

fn sats(sats: u64) -> Msat {
    Msat::from_sats(sats).unwrap()
}

fn purchase(value: Value) -> Purchase {
    let config = parse(&with("/services/0/purchase", value)).unwrap();
    found(&config, "/joke").unwrap().service.purchase.clone()
}

#[test]
fn purchases_are_read_with_their_limits_and_bonuses() {
    let full = json!({
        "default_sats": 100, "min_sats": 10, "max_sats": 5_000,
        "bonus": [{ "from_sats": 1_000, "add_percent": 10 }, { "from_sats": 2_000, "add_percent": 15 }]
    });
    let step = |from, add_percent| Bonus { from: sats(from), add_percent };
    let bonus = vec![step(1_000, 10), step(2_000, 15)];
    let expected = Purchase { default: sats(100), min: sats(10), max: sats(5_000), bonus };
    assert_eq!(purchase(full), expected);

    assert_eq!(purchase(json!({})), Purchase::default());
    assert_eq!(Purchase::default().max, sats(1_000_000));
    // Without a limit of its own, the most is never below what is sold anyway.
    assert_eq!(purchase(json!({ "default_sats": 2_000_000 })).max, sats(2_000_000));
    assert_eq!(purchase(json!({ "min_sats": 3_000_000 })).max, sats(3_000_000));
}

#[test]
fn a_service_says_what_its_credit_is() {
    let mut config = minimal();
    set(&mut config, "/services/0/seed_sats", json!(7));
    set(&mut config, "/services/0/credit_ttl_s", json!(604_800));
    set(&mut config, "/services/0/low_balance_sats", json!(50));
    let config = parse(&config).unwrap();
    let service = &found(&config, "/joke").unwrap().service;
    assert_eq!(
        (service.seed, service.credit_ttl_s, service.low_balance),
        (sats(7), Some(604_800), sats(50))
    );
}

#[test]
fn routes_say_what_their_price_buys() {
    for (mode, expected) in [
        (json!("credits"), Mode::Credits),
        (json!("single_use"), Mode::SingleUse),
        (json!({ "session": { "duration_s": 3_600 } }), Mode::Session { duration_s: 3_600 }),
    ] {
        let config = parse(&with("/routes/0/mode", mode)).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().mode, expected);
    }
    let session = json!({ "price_sats": 9, "mode": { "session": { "duration_s": 60 } } });
    let config = parse(&with("/unmatched", session)).unwrap();
    let Unmatched::Route(route) = config.unmatched else { panic!() };
    assert_eq!(route.mode, Mode::Session { duration_s: 60 });
    assert_eq!(route.price, Price::Fixed(sats(9)));
}

#[test]
fn a_free_tier_is_the_service_s_unless_the_route_has_its_own() {
    let mut config = with("/services/0/free_tier", json!({ "requests": 3 }));
    set(
        &mut config,
        "/routes/-",
        json!({
            "name": "own", "match": { "path": "/own" }, "price_sats": 5,
            "free_tier": { "sats": 20, "window": "90m", "ipv4_prefix": 32, "ipv6_prefix": 56 }
        }),
    );
    set(
        &mut config,
        "/routes/-",
        json!({
            "name": "none", "match": { "path": "/none" }, "price_sats": 5, "free_tier": "off"
        }),
    );
    let config = parse(&config).unwrap();
    let tier = |path| found(&config, path).unwrap().free_tier.clone();
    let service = FreeTier {
        plan: "jokes".into(),
        limit: Limit::Requests(3),
        window: Window::Day,
        ipv4_prefix: 24,
        ipv6_prefix: 48,
    };
    assert_eq!(service.quota(sats(5)), Quota::Requests { cost: 1, limit: 3 });
    assert_eq!(tier("/joke"), Some(service));
    let own = FreeTier {
        plan: "jokes/own".into(),
        limit: Limit::Msat(sats(20)),
        window: Window::Rolling { seconds: 5_400 },
        ipv4_prefix: 32,
        ipv6_prefix: 56,
    };
    assert_eq!(own.quota(sats(5)), Quota::Msat { cost: sats(5), limit: sats(20) });
    assert_eq!(tier("/own"), Some(own));
    assert_eq!(tier("/none"), None);
}

#[test]
fn windows_are_days_or_times() {
    for (text, window) in [
        ("day", Window::Day),
        ("1s", Window::Rolling { seconds: 1 }),
        ("15m", Window::Rolling { seconds: 900 }),
        ("1h", Window::Rolling { seconds: 3_600 }),
        ("31d", Window::Rolling { seconds: 2_678_400 }),
    ] {
        let tier = json!({ "requests": 1, "window": text });
        let config = parse(&with("/routes/0/free_tier", tier)).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().free_tier.clone().unwrap().window, window);
    }
}

#[test]
fn repeats_and_over_runs_are_off_unless_a_route_says_so() {
    let config = parse(&minimal()).unwrap();
    let joke = found(&config, "/joke").unwrap();
    assert_eq!((joke.mode, joke.idempotency), (Mode::Credits, Idempotency::Off));
    assert_eq!((joke.overrun, &joke.free_tier), (Overrun::Cap, &None));
    for (text, expected) in [
        ("off", Idempotency::Off),
        ("charge_once", Idempotency::ChargeOnce),
        ("replay", Idempotency::Replay),
    ] {
        let config = parse(&with("/routes/0/idempotency", json!(text))).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().idempotency, expected);
    }
    for (value, expected) in [
        (json!("cap"), Overrun::Cap),
        (json!("debit_rest"), Overrun::DebitRest),
        (json!({ "debt_sats": 7 }), Overrun::Debt { limit_msat: sats(7) }),
    ] {
        let config = parse(&with("/routes/0/overrun", value)).unwrap();
        assert_eq!(found(&config, "/joke").unwrap().overrun, expected);
    }
}

#[test]
fn err_purchases() {
    let purchase = |value| with("/services/0/purchase", value);
    let step = |from, percent| json!({ "from_sats": from, "add_percent": percent });
    check(&[
        (
            purchase(json!({ "min_sats": 20, "max_sats": 10 })),
            "services[0].purchase: expected min_sats of at most max_sats, but found 20 above 10; \
             change one of the two",
        ),
        (
            purchase(json!({ "default_sats": 5, "min_sats": 10 })),
            "services[0].purchase: expected default_sats from 10 to 1000000, but found 5; change \
             it or the limits",
        ),
        (
            purchase(json!({ "default_sats": 50, "max_sats": 10 })),
            "services[0].purchase: expected default_sats from 1 to 10, but found 50; change it or \
             the limits",
        ),
        (
            purchase(json!({ "max_sats": 0 })),
            "services[0].purchase.max_sats: expected an integer from 1 to 9007199254740, but \
             found 0; choose a number in this range",
        ),
        (
            purchase(json!({ "bonus": [step(10, 5), step(10, 6)] })),
            "services[0].purchase.bonus[1]: expected a from_sats above the one before, but found \
             less; sort the steps",
        ),
        (
            purchase(json!({ "bonus": [step(10, 1_001)] })),
            "services[0].purchase.bonus[0].add_percent: expected an integer from 1 to 1000, but \
             found 1001; choose a number in this range",
        ),
        (
            purchase(json!({ "bonus": [{ "from_sats": 1 }] })),
            "services[0].purchase.bonus[0].add_percent: missing; write how much is added",
        ),
        (
            with("/services/0/seed_sats", json!("7")),
            "services[0].seed_sats: expected an integer from 1 to 9007199254740, but found \"7\"; \
             write the number without quotes",
        ),
        (
            with("/services/0/credit_ttl_s", json!(0)),
            "services[0].credit_ttl_s: expected an integer from 1 to 3153600000, but found 0; \
             choose a number in this range",
        ),
    ]);
}

#[test]
fn err_modes() {
    const MODE: &str = "routes[0].mode: expected \"credits\", \"single_use\" or {\"session\": \
         {\"duration_s\": 3600}}, but found";
    let mode = |value| with("/routes/0/mode", value);
    let session = json!({ "session": { "duration_s": 60 } });
    let mut keyed = mode(session.clone());
    set(&mut keyed, "/routes/0/idempotency", json!("replay"));
    let mut over = mode(session.clone());
    set(&mut over, "/routes/0/overrun", json!("cap"));
    let mut two = mode(session);
    set(
        &mut two,
        "/routes/-",
        json!({
            "name": "other", "match": { "path": "/other" }, "price_sats": 5,
            "mode": { "session": { "duration_s": 61 } }
        }),
    );
    let mut equal = two.clone();
    set(&mut equal, "/routes/1/mode", json!({ "session": { "duration_s": 60 } }));
    assert!(parse(&equal).is_ok());
    check(&[
        (mode(json!("free")), &format!("{MODE} \"free\"; write one of the three")),
        (mode(json!(1)), &format!("{MODE} 1; write a text in quotes")),
        (
            mode(json!({ "session": {} })),
            "routes[0].mode.session.duration_s: missing; write how long one payment lasts",
        ),
        (
            mode(json!({ "sesion": {} })),
            "routes[0].mode.sesion: unknown field; did you mean session?",
        ),
        (
            keyed,
            "routes[0].idempotency: expected none on a session route, but found one; its requests \
             are not charged",
        ),
        (
            over,
            "routes[0].overrun: expected none on a session route, but found one; its requests are \
             not charged",
        ),
        (
            two,
            "routes: expected one price and duration for all session routes of a service, but \
             found others in \"other\" than in \"joke\"; one session opens both, so make them \
             equal or put them into two services",
        ),
    ]);
}

#[test]
fn err_free_tiers_repeats_and_over_runs() {
    const WINDOW: &str = "routes[0].free_tier.window: expected \"day\", or a time such as \"90s\", \
         \"15m\", \"1h\" or \"7d\", but found";
    const DAY: &str = "a day ends at midnight UTC; the longest time is 31d";
    let tier = |value| with("/routes/0/free_tier", value);
    let window = |text: &str| tier(json!({ "requests": 1, "window": text }));
    check(&[
        (
            tier(json!({})),
            "routes[0].free_tier: expected requests or sats, but found neither; write how much is \
             free",
        ),
        (
            tier(json!({ "requests": 1, "sats": 1 })),
            "routes[0].free_tier: expected only one of requests, sats, but found requests and \
             sats; keep one of them",
        ),
        (
            tier(json!("on")),
            "routes[0].free_tier: expected an object or \"off\", but found \"on\"; \"off\" leaves \
             the service's out",
        ),
        (
            tier(json!({ "requests": 1, "ipv4_prefix": 8 })),
            "routes[0].free_tier.ipv4_prefix: expected an integer from 24 to 32, but found 8; \
             choose a number in this range",
        ),
        (
            tier(json!({ "requests": 1, "ipv6_prefix": 128 })),
            "routes[0].free_tier.ipv6_prefix: expected an integer from 48 to 64, but found 128; \
             choose a number in this range",
        ),
        (window("1w"), &format!("{WINDOW} \"1w\"; {DAY}")),
        (window("h"), &format!("{WINDOW} \"h\"; {DAY}")),
        (window(""), &format!("{WINDOW} \"\"; {DAY}")),
        (window("0s"), &format!("{WINDOW} \"0s\"; {DAY}")),
        (window("32d"), &format!("{WINDOW} \"32d\"; {DAY}")),
        (window("+1h"), &format!("{WINDOW} \"+1h\"; {DAY}")),
        (window("1\u{e9}"), &format!("{WINDOW} \"1\u{e9}\"; {DAY}")),
        (window("99999999999999999999d"), &format!("{WINDOW} \"99999999999999999999d\"; {DAY}")),
        (
            with("/routes/0/idempotency", json!("on")),
            "routes[0].idempotency: expected \"off\", \"charge_once\" or \"replay\", but found \
             \"on\"; write one of the three",
        ),
        (
            with("/routes/0/overrun", json!({ "debt_sats": 0 })),
            "routes[0].overrun.debt_sats: expected an integer from 1 to 9007199254740, but found \
             0; choose a number in this range",
        ),
        (
            with("/routes/0/overrun", json!("debt")),
            "routes[0].overrun: expected \"cap\", \"debit_rest\" or {\"debt_sats\": 100}, but \
             found \"debt\"; write one of the three",
        ),
    ]);
}
