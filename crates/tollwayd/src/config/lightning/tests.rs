use super::*;

const SECRET: &str = "0201036c6e64canary";
const HEX: &str = "0201036c6e64";

fn env(name: &str) -> Option<String> {
    match name {
        "SECRET" => Some(SECRET.to_owned()),
        "HEX" => Some(HEX.to_owned()),
        "NWC" => Some(format!(
            "nostr+walletconnect://{}?relay=wss%3A%2F%2Frelay.example&secret={}",
            "4f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
            "ca".repeat(32),
        )),
        _ => None,
    }
}

/// The one node of a configuration.
fn only(config: &LightningConfig) -> &NodeConfig {
    let [PoolNode { name: None, node, .. }] = &config.nodes[..] else { panic!("{config:?}") };
    node
}

fn resolve(text: &str, env: Environment<'_>) -> Result<LightningConfig, String> {
    let raw: RawLightning = toml::from_str(text).map_err(|error| error.to_string())?;
    let store = Store::Sqlite(PathBuf::from("a.db"));
    raw.resolve(&store, env).map_err(|error| error.to_string())
}

#[test]
fn every_backend_takes_its_own_fields() {
    let rows = [
        ("lnd", "url = \"https://lnd.example:8080\"\ncert = \"tls.cert\"\nmacaroon = \"env:HEX\""),
        ("cln", "url = \"https://127.0.0.1:3010\"\ncert = \"ca.pem\"\nrune = \"env:SECRET\""),
        ("lnbits", "url = \"http://localhost:5000\"\napi_key = \"env:SECRET\""),
        ("phoenixd", "url = \"http://10.0.0.2:9740\"\npassword = \"env:SECRET\""),
        (
            "btcpay",
            "url = \"https://pay.example/btcpay/\"\napi_key = \"env:SECRET\"\nstore = \"A1b\"",
        ),
    ];
    let nwc = ("nwc", "connection = \"env:NWC\"");
    for (word, fields) in rows.into_iter().chain([nwc]) {
        let config = resolve(&format!("backend = \"{word}\"\n{fields}"), &env).unwrap();
        assert_eq!(only(&config).word(), word);
        assert_eq!(config.network, Network::Bitcoin);
        let shown = format!("{config:?} {}", only(&config));
        assert!(!shown.contains("canary") && !shown.contains("cacaca"), "{shown}");
    }
    let simulated = resolve("", &env).unwrap();
    let file = Some(PathBuf::from("a.db.node"));
    assert_eq!(only(&simulated), &NodeConfig::Simulated { file });
    assert_eq!(simulated.network, Network::Regtest);
}

#[test]
fn a_btcpay_sells_with_its_node_or_with_its_store() {
    const BTCPAY: &str =
        "backend = \"btcpay\"\nurl = \"https://a\"\napi_key = \"env:SECRET\"\nstore = \"A\"\n";
    let found = |lines: &str| {
        let config = resolve(&format!("{BTCPAY}{lines}"), &env).unwrap();
        let NodeConfig::Btcpay(config) = only(&config).clone() else { panic!() };
        (config.store_invoices, config.webhook_secret)
    };
    assert_eq!(found(""), (false, None));
    let (store_invoices, secret) = found("store_invoices = true\nwebhook_secret = \"env:SECRET\"");
    assert!(store_invoices);
    assert_eq!(secret.unwrap().reveal(), SECRET);
    let odd = format!("{BTCPAY}invoice_expiry_s = 90");
    assert!(resolve(&odd, &env).is_ok());
    let odd = resolve(&format!("{odd}\nstore_invoices = true"), &env).unwrap_err();
    assert!(odd.contains("lightning.invoice_expiry_s: invoices of a BTCPay store live"), "{odd}");
    let other = resolve(&format!("{LND}store_invoices = true"), &env).unwrap_err();
    assert!(other.contains("lightning.store_invoices: lightning.backend is \"lnd\""), "{other}");
}

#[test]
fn a_url_keeps_its_path_and_joins_those_of_the_node() {
    let url = NodeUrl::parse("https://pay.example/btcpay/").unwrap();
    assert_eq!(url.join("/api/v1"), "https://pay.example/btcpay/api/v1");
    assert_eq!(NodeUrl::parse("http://lnd:8080").unwrap().join("/v1"), "http://lnd:8080/v1");
}

#[test]
fn the_environment_chooses_the_backend() {
    let env = |name: &str| match name {
        ENV_LIGHTNING_BACKEND => Some("lnd".to_owned()),
        ENV_LIGHTNING_URL => Some("https://lnd:8080".to_owned()),
        ENV_LIGHTNING_CERT => Some("other.cert".to_owned()),
        ENV_LIGHTNING_NETWORK => Some("signet".to_owned()),
        // An image may name it for all backends.
        ENV_SIMULATED_FILE => Some("node.jsonl".to_owned()),
        _ => env(name),
    };
    let config = resolve("macaroon = \"env:HEX\"", &env).unwrap();
    let NodeConfig::Lnd(lnd) = only(&config) else { panic!("expected an LND") };
    assert_eq!(lnd.url.to_string(), "https://lnd:8080");
    assert_eq!(lnd.cert, Some(PathBuf::from("other.cert")));
    assert_eq!(config.network, Network::Signet);
}

#[test]
fn faults_name_the_field_the_problem_and_the_remedy() {
    let lnd = "backend = \"lnd\"\nurl = \"https://a:1\"\nmacaroon = \"env:HEX\"";
    let rows = [
        ("backend = \"lnd\"", "lightning.url: it is missing; docs/lightning.md"),
        ("backend = \"lnd\"\nurl = \"https://a:1\"", "lightning.macaroon: it is missing;"),
        ("url = \"https://a\"", "lightning.url: lightning.backend is \"simulated\", which has no"),
        (
            &format!("{lnd}\nsimulated_file = \"a\""),
            "lightning.simulated_file: lightning.backend is \"lnd\", which has no such field;",
        ),
        (&format!("{lnd}\nrune = \"env:SECRET\""), "lightning.rune: lightning.backend is \"lnd\""),
        (&lnd.replace("https://a:1", "http://pay.example"), "lightning.url: expected https, since"),
        (&lnd.replace("https://a:1", "http://8.8.8.8"), "lightning.url: expected https, since"),
        (&lnd.replace("https://a:1", "https://u:p@a"), "lightning.url: expected no user, query"),
        (&lnd.replace("https://a:1", "ftp://a"), "lightning.url: expected an address like"),
        (&lnd.replace("env:HEX", "env:SECRET"), "lightning.macaroon: expected a macaroon, but"),
        (&lnd.replace("env:HEX", "0201036c"), "lightning.macaroon: expected a reference, but"),
        (&lnd.replace("env:HEX", "env:NONE"), "environment variable NONE is not set; write"),
        (
            "backend = \"nwc\"\nconnection = \"env:SECRET\"",
            "lightning.connection: expected nostr+walletconnect://KEY?relay=...&secret=..., but",
        ),
        ("network = \"bitcoin\"", "lightning.network: the simulated node makes regtest invoices"),
        (
            "backend = \"btcpay\"\nurl = \"https://a\"\napi_key = \"env:SECRET\"\nstore = \"../x\"",
            "lightning.store: expected letters and digits, but found \"../x\"; copy",
        ),
    ];
    for (text, expected) in rows {
        let found = resolve(text, &env).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        assert!(!found.contains("canary"), "{found}");
    }
}

#[test]
fn a_macaroon_file_is_read_as_lnd_writes_it_and_as_hex() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("invoice.macaroon");
    let text =
        format!("backend = \"lnd\"\nurl = \"https://a\"\nmacaroon = \"file:{}\"", file.display());
    for content in [&b"\x02\x01\x03lnd"[..], b"0201036c6e64\n"] {
        std::fs::write(&file, content).unwrap();
        let config = resolve(&text, &env).unwrap();
        let NodeConfig::Lnd(lnd) = only(&config) else { panic!() };
        assert_eq!(lnd.macaroon.reveal(), HEX);
    }
}

const LND: &str = "backend = \"lnd\"\nurl = \"https://a:1\"\nmacaroon = \"env:HEX\"\n";
const CLN: &str = "backend = \"cln\"\nurl = \"https://b:2\"\nrune = \"env:SECRET\"\n";

#[test]
fn several_nodes_have_names_weights_and_what_they_are_for() {
    let text = format!(
        "network = \"signet\"\ninvoice_expiry_s = 60\nfailover_after_ms = 300\n\
         [[nodes]]\nname = \"berlin\"\nweight = 3\n{LND}\
         [[nodes]]\nname = \"paris\"\nservices = [\"maps\"]\nroutes = [\"joke\"]\n{CLN}"
    );
    let config = resolve(&text, &env).unwrap();
    assert_eq!((config.network, config.invoice_expiry_s), (Network::Signet, 60));
    assert_eq!(config.failover_after.as_millis(), 300);
    let [berlin, paris] = &config.nodes[..] else { panic!("{config:?}") };
    assert_eq!((berlin.name.as_deref(), berlin.weight), (Some("berlin"), 3));
    assert_eq!((paris.name.as_deref(), paris.weight), (Some("paris"), 1));
    assert!(berlin.services.is_empty() && berlin.routes.is_empty());
    assert!(paris.services.contains("maps") && paris.routes.contains("joke"));
    assert_eq!(berlin.to_string(), "berlin: lnd, https://a:1, weight 3");
}

#[test]
fn faults_among_several_nodes_say_which_one() {
    let node = |fields: &str| format!("[[nodes]]\nname = \"a\"\n{fields}\n");
    let rows = [
        (LND.to_owned() + &node(CLN), "lightning.backend: it is set, beside lightning.nodes; move"),
        (format!("url = \"https://a\"\n{}", node(CLN)), "lightning.url: it is set, beside"),
        (format!("weight = 2\n{}", node(CLN)), "lightning.weight: only a node among several has"),
        (format!("weight = 2\n{LND}"), "lightning.weight: only a node among several has it, and"),
        (format!("{LND}failover_after_ms = 300"), "lightning.failover_after_ms: only a node among"),
        (
            format!("failover_after_ms = 1\n{}", node(CLN)),
            "expected 50 to 10000, but found 1; 1000",
        ),
        (
            format!("[[nodes]]\n{CLN}"),
            "lightning.nodes.name: expected letters, digits and -_. alone",
        ),
        (node(CLN) + &node(LND), "lightning.nodes.name: expected each name once"),
        (node(""), "lightning.nodes: \"a\": backend: the simulated node stands alone; name a real"),
        (node("backend = \"simulated\""), "\"a\": backend: the simulated node stands alone;"),
        (node(&format!("{CLN}network = \"signet\"")), "\"a\": network: all nodes have the same"),
        (node(&format!("{CLN}weight = 1001")), "\"a\": weight: expected 0 to 1000, but found 1001"),
        (node(&format!("{CLN}services = [\"\"]")), "\"a\": services: expected at most 1000 names"),
        (node("backend = \"lnd\""), "\"a\": lightning.url: it is missing; docs/lightning.md has a"),
        (
            node(&format!("{CLN}macaroon = \"env:HEX\"")),
            "\"a\": lightning.macaroon: lightning.back",
        ),
        (
            node(&format!("{CLN}[[nodes.nodes]]\nname = \"b\"")),
            "\"a\": lightning.nodes: only a node",
        ),
    ];
    for (text, expected) in rows {
        let found = resolve(&text, &env).unwrap_err();
        assert!(found.contains(expected), "expected {expected:?} in {found:?}");
        assert!(!found.contains("canary"), "{found}");
    }
    // No variable turns one of several nodes into another.
    let env = |name: &str| match name {
        ENV_LIGHTNING_URL => Some("https://other".to_owned()),
        _ => env(name),
    };
    let found = resolve(&node(CLN), &env).unwrap_err();
    assert!(found.contains("lightning.url: it is set, beside lightning.nodes"), "{found}");
}
