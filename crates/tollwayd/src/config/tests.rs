use super::*;

const EXAMPLE: &str = include_str!("../../../../envoy/tollwayd.toml");
const GATE_TOKEN: &str = "gate-token-0123456789";
const ADMIN_TOKEN: &str = "admin-token-0123456789";

fn env(name: &str) -> Option<String> {
    match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        _ => None,
    }
}

fn fault(text: &str) -> String {
    match RawConfig::parse(text).and_then(|raw| raw.resolve(&env)) {
        Ok(_) => panic!("expected a fault in {text}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_example_file_is_accepted_and_says_the_defaults() {
    let config = RawConfig::parse(EXAMPLE).unwrap().resolve(&env).unwrap();
    assert_eq!(config.gate.listen.to_string(), "127.0.0.1:8403");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:8404");
    assert_eq!(config.gate.token.reveal(), GATE_TOKEN);
    assert_eq!(config.admin.token.reveal(), ADMIN_TOKEN);
    assert_eq!(config.store.to_string(), "tollwayd.db");
    let defaults = RawLightning::default().resolve(&config.store, &env).unwrap();
    assert_eq!(config.lightning, defaults);
    let file = Some(PathBuf::from("tollwayd.db.node"));
    assert_eq!(config.lightning.nodes, [PoolNode::alone(NodeConfig::Simulated { file })]);
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(config.rates.to_string(), "(none)");
}

/// The example with these lines behind `[rates]`, and no others there.
fn with_rates(settings: &str, sources: &str) -> String {
    let (before, rest) = EXAMPLE.split_once("[rates]\n").unwrap();
    let (_, after) = rest.split_once("[log]").unwrap();
    format!("{before}[rates]\n{settings}\n{sources}\n[log]{after}")
}

#[test]
fn rates_come_from_the_file_or_from_a_document() {
    let sources = r#"
        [[rates.source]]
        currency = "USD"
        fixed = "64000.50"
        [[rates.source]]
        currency = "EUR"
        url = "https://rates.example.com/v1?key=canary"
        pointer = "/data/0/EUR"
    "#;
    let text = with_rates("max_age_s = 60\nrefresh_s = 60", sources);
    let config = RawConfig::parse(&text).unwrap().resolve(&env).unwrap();
    assert_eq!(config.rates.to_string(), "USD, EUR, for 60 s");
    let [usd, eur] = &config.rates.sources[..] else { panic!("two sources") };
    assert_eq!(usd.price, PriceSource::Fixed("64000.50".to_owned()));
    assert!(matches!(&eur.price, PriceSource::Json { pointer, .. } if pointer == "/data/0/EUR"));
    let source = |lines: &str| format!("[[rates.source]]\n{lines}");
    for (settings, sources, expected) in [
        ("max_age_s = 0", String::new(), "rates.max_age_s: expected 1 to 86400, but found 0"),
        ("refresh_s = 901", String::new(), "rates.refresh_s: expected 1 to 900, but found 901"),
        ("timeout_ms = 30001", String::new(), "rates.timeout_ms: expected 1 to 30000"),
        ("", source("currency = \"usd\"\nfixed = \"1\""), "rates.source.currency: expected three"),
        ("", source("currency = \"USD\"\nfixed = \"0\""), "rates.source.fixed: expected the price"),
        ("", source("currency = \"USD\""), "rates.source.fixed: expected one source"),
        (
            "",
            source("currency = \"USD\"\nfixed = \"1\"\nurl = \"http://a/\""),
            "rates.source.fixed",
        ),
        ("", source("currency = \"USD\"\nurl = \"ftp://a/\"\npointer = \"\""), "rates.source.url"),
        (
            "",
            source("currency = \"USD\"\nurl = \"http://a/\"\npointer = \"a\""),
            "rates.source.pointer",
        ),
        (
            "",
            source("currency = \"USD\"\nfixed = \"1\"\n").repeat(2),
            "rates.source: expected each",
        ),
    ] {
        let found = fault(&with_rates(settings, &sources));
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn the_environment_overrides_addresses_and_store() {
    let env = |name: &str| match name {
        ENV_GATE_LISTEN => Some("127.0.0.1:0".to_owned()),
        ENV_ADMIN_LISTEN => Some("[::1]:9".to_owned()),
        ENV_STORE => Some("other.db".to_owned()),
        ENV_SIMULATED_FILE => Some("node.jsonl".to_owned()),
        _ => env(name),
    };
    let config = RawConfig::parse(EXAMPLE).unwrap().resolve(&env).unwrap();
    let file = Some(PathBuf::from("node.jsonl"));
    assert_eq!(config.lightning.nodes, [PoolNode::alone(NodeConfig::Simulated { file })]);
    assert_eq!(config.gate.listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.admin.listen.to_string(), "[::1]:9");
    assert_eq!(config.store.to_string(), "other.db");
}

#[test]
fn faults_name_the_field_the_problem_and_the_remedy() {
    let rows: &[(&str, &str, &str)] = &[
        (
            "[gate]",
            "[gate]\nspeed = 1",
            "gate.speed: unknown field `speed`, expected `listen` or `token`",
        ),
        ("[log]", "[logs]", "unknown field `logs`"),
        (
            "\"127.0.0.1:8403\"",
            "8403",
            "gate.listen: invalid type: integer `8403`, expected a string",
        ),
        (
            "\"127.0.0.1:8403\"",
            "\"localhost:8403\"",
            "gate.listen: expected an address and a port, but found \"localhost:8403\"; write it like",
        ),
        (
            "127.0.0.1:8404",
            "127.0.0.1:8403",
            "admin.listen: 127.0.0.1:8403 is gate.listen as well; give",
        ),
        (
            "env:TOLLWAY_GATE_TOKEN",
            "env:ABSENT",
            "gate.token: environment variable ABSENT is not set; set it",
        ),
        ("env:TOLLWAY_GATE_TOKEN", "file:/nowhere/token", "gate.token: cannot read /nowhere/token"),
        (
            "env:TOLLWAY_ADMIN_TOKEN",
            "env:TOLLWAY_GATE_TOKEN",
            "admin.token: the same token as gate.token; give",
        ),
        ("= 600", "= 0", "lightning.invoice_expiry_s: expected 1 to 86400, but found 0; "),
        ("= 600", "= -1", "lightning.invoice_expiry_s: invalid value: integer `-1`"),
        (
            "= \"simulated\"",
            "= \"eclair\"",
            "lightning.backend: unknown variant `eclair`, expected one of `simulated`, `lnd`",
        ),
        ("= \"info\"", "= \"loud\"", "log.level: unknown variant `loud`, expected one of"),
        (
            "\"tollwayd.db\"",
            "\"\"",
            "store.sqlite: no path; name the database file here or in TOLLWAYD_STORE",
        ),
        (
            "sqlite = \"tollwayd.db\"",
            "sqlite = \"tollwayd.db\"\npostgres_ca = \"ca.pem\"",
            "store.postgres_ca: no database is named; name one in store.postgres",
        ),
        ("token = \"env:TOLLWAY_GATE_TOKEN\"", "", "gate: missing field `token`"),
        ("[store]", "[store", "line 27: unclosed table"),
    ];
    for (from, to, expected) in rows {
        let text = EXAMPLE.replacen(from, to, 1);
        assert_ne!(text, EXAMPLE, "{from} is not in the example");
        let found = fault(&text);
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
    }
}

#[test]
fn a_literal_secret_is_refused_and_not_repeated() {
    for literal in ["canary-0123456789abcdef", "env-canary-0123456789", "ENV:canary-0123456789", ""]
    {
        let found = fault(&EXAMPLE.replacen("env:TOLLWAY_GATE_TOKEN", literal, 1));
        assert!(found.contains("write \"env:NAME\" or \"file:PATH\""), "{found}");
        assert!(!found.contains("canary"), "{found}");
    }
    let raw = RawConfig::parse(&EXAMPLE.replace("env:TOLLWAY_GATE_TOKEN", "canary")).unwrap();
    assert!(!format!("{raw:?}").contains("canary"));
}

#[test]
fn secret_files_are_trimmed_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let text = EXAMPLE.replacen("env:TOLLWAY_GATE_TOKEN", &format!("file:{}", file.display()), 1);
    std::fs::write(&file, "  file-token-0123456789 \n").unwrap();
    let config = RawConfig::parse(&text).unwrap().resolve(&env).unwrap();
    assert_eq!(config.gate.token.reveal(), "file-token-0123456789");
    for (content, expected) in [
        ("short", "expected 16 to 1024 bytes, but found 5; use the output of"),
        ("two words of some length", "expected visible ASCII characters without spaces"),
    ] {
        std::fs::write(&file, content).unwrap();
        assert!(fault(&text).contains(expected));
        assert!(!fault(&text).contains(content));
    }
}

#[test]
fn a_missing_file_names_its_path() {
    let error = RawConfig::load(Path::new("/nowhere/tollwayd.toml")).unwrap_err();
    assert!(error.to_string().starts_with("cannot read /nowhere/tollwayd.toml: "));
}

fn with_legacy_key(lines: &str) -> Result<Config, ConfigError> {
    let env = |name: &str| match name {
        "OLD_SECRET" => Some(" short ".to_owned()),
        "OLD_ROOT_KEY" => Some("AB".repeat(32)),
        "EMPTY" => Some("\n".to_owned()),
        _ => env(name),
    };
    let text = format!("{EXAMPLE}\n[[legacy_keys]]\n{lines}");
    RawConfig::parse(&text).and_then(|raw| raw.resolve(&env))
}

#[test]
fn keys_of_other_paywalls_are_read() {
    let key = |format: &str, secret: &str, services: &str| {
        format!("format = \"{format}\"\nsecret = \"{secret}\"\nservices = {services}\n")
    };
    let toll = key("lightning-toll", "env:OLD_SECRET", "[\"jokes\", \"time\"]");
    let config = with_legacy_key(&toll).unwrap();
    let [found] = &config.legacy_keys[..] else { panic!("expected one key") };
    assert_eq!(found.secret.reveal(), " short ", "spaces belong to the secret");
    assert_eq!(found.services, ["jokes", "time"]);
    assert!(with_legacy_key(&key("toll-booth", "env:OLD_ROOT_KEY", "[\"a\"]")).is_ok());
    for (lines, expected) in [
        (key("l402", "env:OLD_SECRET", "[\"a\"]"), "expected `lightning-toll` or `toll-booth`"),
        (key("toll-booth", "env:OLD_SECRET", "[\"a\"]"), "expected a root key of 64 hexadecimal"),
        (key("lightning-toll", "env:EMPTY", "[\"a\"]"), "expected a secret of 1 to 1024 bytes"),
        (key("lightning-toll", "env:OLD_SECRET", "[]"), "and services, but found others; write"),
        (key("lightning-toll", "env:OLD_SECRET", "[\"A b\"]"), "and services, but found others"),
        (
            key("lightning-toll", "env:ABSENT", "[\"a\"]"),
            "legacy_keys: environment variable ABSENT",
        ),
        (key("lightning-toll", "canary", "[\"a\"]"), "write \"env:NAME\" or \"file:PATH\""),
        (vec![toll.clone(); 9].join("[[legacy_keys]]\n"), "expected at most 8 keys, but found 9"),
    ] {
        let found = with_legacy_key(&lines).unwrap_err().to_string();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        assert!(!found.contains("canary"));
    }
}

#[test]
fn prices_are_asked_within_bounds() {
    let with = |lines: &str| format!("{EXAMPLE}\n[price_webhook]\n{lines}");
    let good = "url = \"http://127.0.0.1:9/price\"\nsecret = \"env:TOLLWAY_GATE_TOKEN\"\n";
    let config = RawConfig::parse(&with(&format!("{good}max_msat = 1000"))).unwrap();
    let webhook = config.resolve(&env).unwrap().price_webhook.unwrap();
    assert_eq!((webhook.min.get(), webhook.max.get()), (1, 1_000));
    assert!(!webhook.tell_account && webhook.cache.is_zero());
    assert!(!format!("{webhook:?}").contains(GATE_TOKEN));
    for (lines, said) in [
        (good.to_owned(), "missing field `max_msat`"),
        (format!("{good}max_msat = 0"), "price_webhook.max_msat: expected min_msat 1 to"),
        (format!("{good}max_msat = 9\nmin_msat = 10"), "price_webhook.max_msat"),
        (format!("{good}max_msat = 9\nmin_msat = 0"), "price_webhook.max_msat"),
        (format!("{good}max_msat = 9\ntimeout_ms = 0"), "price_webhook.timeout_ms: expected 1"),
        (format!("{good}max_msat = 9\ncache_s = 86401"), "price_webhook.cache_s: expected 0"),
        (format!("{good}max_msat = 9\ncache_entries = 0"), "price_webhook.cache_entries"),
        (format!("{good}max_msat = 9\nfree = true"), "unknown field `free`"),
        (
            good.replace("127.0.0.1", "prices.example.com") + "max_msat = 9",
            "price_webhook.url: expected https",
        ),
        (good.replace("env:TOLLWAY_GATE_TOKEN", "canary") + "max_msat = 9", "price_webhook.secret"),
    ] {
        let found = fault(&with(&lines));
        assert!(found.contains(said) && !found.contains("canary"), "{found}");
    }
}

#[test]
fn coupons_and_supplies_say_one_thing_each() {
    let text = format!(
        "{EXAMPLE}\n[[coupons]]\ncode = \"LAUNCH\"\npercent_off = 20\nmax_uses = 5\n\
         per_account = 1\nexpires_at = 2000000000\nroutes = [\"joke\"]\n[[coupons]]\n\
         code = \"more\"\nbonus_msat = 7\n[[supply]]\nname = \"seats\"\n\
         routes = [\"a\", \"b\"]\ncalls = 9\nper = \"day\"\n"
    );
    let config = RawConfig::parse(&text).unwrap().resolve(&env).unwrap();
    let launch = &config.sales.coupons["LAUNCH"];
    assert_eq!(launch.gives, Gives::PercentOff(20));
    assert_eq!((launch.max_uses, launch.per_account), (Some(5), Some(1)));
    assert_eq!(config.sales.coupons["more"].max_uses, None);
    let [seats] = &config.sales.supplies[..] else { panic!("one supply") };
    assert_eq!((seats.calls, seats.routes.len()), (9, 2));
    let coupon = |lines: &str| format!("{EXAMPLE}\n[[coupons]]\ncode = \"A\"\n{lines}");
    let supply = |lines: &str| format!("{EXAMPLE}\n[[supply]]\nname = \"a\"\n{lines}");
    let rest = "routes = [\"a\"]\ncalls = 1\nper = \"total\"\n";
    for (text, said) in [
        (coupon(""), "\"A\" gives nothing, or two things"),
        (coupon("percent_off = 5\nmsat_off = 5"), "gives nothing, or two things"),
        (coupon("percent_off = 100"), "coupons.percent_off: expected 1 to 99"),
        (coupon("bonus_percent = 0"), "coupons.bonus_percent: expected 1"),
        (coupon("msat_off = 5\nmax_uses = 0"), "coupons.max_uses: expected 1"),
        (coupon("msat_off = 5\nroutes = [\"\"]"), "coupons.routes"),
        (coupon("msat_off = 5\n[[coupons]]\ncode = \"A\"\nmsat_off = 1"), "each code once"),
        (coupon("msat_off = 5").replace("\"A\"", "\"A B\""), "coupons.code: expected 1 to 64"),
        (supply("routes = []\ncalls = 1\nper = \"total\""), "supply.routes: expected at least one"),
        (supply("routes = [\"a\"]\ncalls = 1\nper = \"week\""), "per"),
        (supply(&format!("{rest}[[supply]]\nname = \"b\"\n{rest}")), "each route once"),
    ] {
        let found = fault(&text);
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn a_tier_s_credit_is_a_percentage() {
    let with = |lines: &str| format!("{EXAMPLE}\n[tier_credit]\n{lines}");
    let config = RawConfig::parse(&with("gold = 120")).unwrap().resolve(&env).unwrap();
    assert_eq!(config.sales.tier_credit, [(tollway_core::tier::Tier::parse("gold").unwrap(), 120)]);
    for lines in ["gold = 99", "gold = 1101", "Gold = 120"] {
        let found = fault(&with(lines));
        assert!(found.contains("tier_credit: expected a tier and 100 to 1100"), "{found}");
    }
}
