//! Clients that do not run here. golden_headers.json restates how each reads a challenge and what
//! it sends; both are played against the real Envoy, for invoices that are really paid.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use regex::Regex;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use tollway_client::ChallengeError;
use tollway_core::macaroon::Macaroon;
use tollway_core::secret::RootKey;
use tollway_testkit::stack::{Stack, StackOptions};

use super::{Row, as_before, ledger_at_rest, repository};

const FILE: &str = "tests/clients/golden_headers.json";
/// How the result of a client begins that did not run.
pub(crate) const RESULT: &str = "header form: ";
/// The services of the shop. Their tokens are padded: the length of a name decides it, and the
/// guide reads those alone that are not.
const SERVICES: [&str; 6] = ["plain", "token", "lsat", "charge", "lookup", "toll-booth"];
const PRICE_MSAT: u64 = 1_000;
/// Invoices of two chains; nobody is to pay them.
const INVOICES: [&str; 2] = ["lnbc210n1p4sqgwupp5d3s0gp8c", "lnbcrt210n1p4sqgwupp5d3s0gp8c"];

/// What a client finds in a challenge.
type Found = (String, String);

/// A challenge of ours.
struct Challenge {
    lines: Vec<String>,
    body: Value,
    macaroon: String,
    invoice: String,
}

struct Shop {
    stack: Stack,
    client: Client,
    _folder: tempfile::TempDir,
}

fn fixture() -> Value {
    serde_json::from_slice(&fs::read(repository(FILE)).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let filled = values.iter().fold(template.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    });
    let left = Regex::new(r"\{\w+\}").unwrap();
    assert!(!left.is_match(&filled), "{template} names what nobody fills in");
    filled
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stack = Stack::start(StackOptions {
            filter: Some(filter()),
            tollwayd_config: Some(tollwayd_config(folder.path())),
            ..StackOptions::default()
        })
        .await
        .unwrap_or_else(|error| panic!("{error}"));
        let client = Client::builder().no_proxy().build().unwrap();
        Self { stack, client, _folder: folder }
    }

    fn request(&self, method: Method, service: &str) -> RequestBuilder {
        let url = format!("{}/echo", self.stack.gateway_url());
        self.client.request(method, url).header("host", format!("{service}.test"))
    }

    /// The challenge of a service.
    async fn challenge(&self, service: &str) -> Challenge {
        let answer = self.request(Method::GET, service).send().await.unwrap();
        assert_eq!(answer.status(), 402, "{service}");
        let lines = answer.headers().get_all("www-authenticate").iter();
        let lines = lines.map(|line| line.to_str().unwrap().to_owned()).collect();
        let body: Value = answer.json().await.unwrap();
        let shown = body.get("l402").unwrap_or(&body);
        let text = |name: &str| shown[name].as_str().unwrap().to_owned();
        let (macaroon, invoice) = (text("macaroon"), text("invoice"));
        Challenge { lines, body, macaroon, invoice }
    }

    async fn pay(&self, invoice: &str) -> String {
        let url = format!("{}/sim/v1/pay", self.stack.admin_url());
        let paid = self.client.post(url).json(&json!({"invoice": invoice})).send().await.unwrap();
        assert_eq!(paid.status(), 200);
        let paid: Value = paid.json().await.unwrap();
        paid["preimage"].as_str().unwrap().to_owned()
    }

    /// Lets one client read a challenge, pay and send what it sends.
    async fn play(&self, client: &Value, readers: &Value) -> Row {
        let text = |name: &str| client[name].as_str().unwrap();
        let (name, service) = (text("client"), text("service"));
        let challenge = self.challenge(service).await;
        let mut result = RESULT.to_owned();
        if let Some(reader) = client.get("reader") {
            let reader = &readers[reader.as_str().unwrap()];
            let found = read(reader, &challenge.lines, &challenge.body);
            result += match found {
                Some(found) => {
                    assert_eq!(found, (challenge.macaroon.clone(), challenge.invoice.clone()));
                    "reads the challenge, "
                }
                None => "cannot read the challenge, ",
            };
        }
        let preimage = match client.get("unpaid") {
            Some(_) => String::new(),
            None => self.pay(&challenge.invoice).await,
        };
        let before = self.stack.upstream().hits().of("/echo");
        let (status, code) = self.send(client, &challenge, &preimage).await;
        assert_eq!((status, code.as_deref()), expected(client), "{name}");
        let hits = self.stack.upstream().hits().of("/echo") - before;
        assert_eq!(hits, u64::from(status == 200), "{name}");
        result += &match code {
            None => "credential accepted".to_owned(),
            Some(code) => format!("credential refused ({code})"),
        };
        let (version, rail) = (text("version"), text("rail"));
        Row::of(&json!({"client": name, "version": version, "rail": rail, "result": result}))
    }

    /// The status, and the code of a refusal.
    async fn send(
        &self,
        client: &Value,
        challenge: &Challenge,
        preimage: &str,
    ) -> (u16, Option<String>) {
        let token = Macaroon::from_base64(challenge.macaroon.as_bytes()).unwrap();
        let paid = token.clone().attenuate(format!("preimage={preimage}").as_bytes());
        let hash = hex::encode(&token.identifier()[2..34]);
        let values = [
            ("macaroon", challenge.macaroon.as_str()),
            ("narrowed", &token.attenuate(b"method=HEAD").to_base64()),
            ("paid", &paid.to_base64()),
            ("paid_hex", &hex::encode(paid.encode())),
            ("payment_hash", &hash),
            ("preimage", preimage),
        ];
        let body = client.get("body").map(|body| fill(body.as_str().unwrap(), &values));
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut request = self.request(method, client["service"].as_str().unwrap());
        for header in client["headers"].as_array().unwrap() {
            let [name, value] = texts(header)[..] else { panic!("{header}: no header") };
            request = request.header(name, fill(value, &values));
        }
        let answer = request.body(body.unwrap_or_default()).send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        (status, body["code"].as_str().map(str::to_owned))
    }
}

fn expected(client: &Value) -> (u16, Option<&str>) {
    let status = client["status"].as_u64().unwrap();
    (u16::try_from(status).unwrap(), client["code"].as_str())
}

/// One host for each service; all sell 20 sats of credit for requests of one.
fn filter() -> Value {
    let service = |name: &str| {
        let mut service = json!({"name": name, "purchase": {"default_sats": 20}});
        match name {
            "token" => service["token_parameter"] = json!(true),
            "lsat" => service["lsat_line"] = json!(true),
            "charge" => service["payment_scheme"] = json!(true),
            "lookup" => service["proof"] = json!("lookup"),
            "toll-booth" => service["profile"] = json!("toll-booth"),
            _ => {}
        }
        service
    };
    let route = |name: &str| {
        json!({"name": name, "service": name, "price_sats": 1,
               "match": {"host": format!("{name}.test"), "path": "/echo"}})
    };
    let ready = json!({"name": "ready", "service": "plain", "price_sats": 1,
                       "match": {"path": "/api/joke"}});
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 30_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": SERVICES.map(service),
        "routes": SERVICES.map(route).into_iter().chain([ready]).collect::<Vec<_>>(),
        "unmatched": "deny",
        "tick_ms": 20,
    })
}

/// With a root key of toll-booth.
fn tollwayd_config(folder: &Path) -> PathBuf {
    let key = folder.join("root-key");
    fs::write(&key, hex::encode([7; 32])).unwrap();
    let shipped = fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    let file = folder.join("tollwayd.toml");
    let more = format!(
        "\n[[legacy_keys]]\nformat = \"toll-booth\"\nsecret = \"file:{}\"\n\
         services = [\"toll-booth\"]\n",
        key.display()
    );
    fs::write(&file, shipped + &more).unwrap();
    file
}

/// What a client's rule finds in a challenge.
fn read(reader: &Value, lines: &[String], body: &Value) -> Option<Found> {
    if let Some(pointers) = reader.get("body") {
        let at = |name: &str| body.pointer(pointers[name].as_str()?)?.as_str().map(str::to_owned);
        return Some((at("macaroon")?, at("invoice")?));
    }
    let joined = [lines.join(", ")];
    let lines = match reader["lines"].as_str().unwrap() {
        "first" => &lines[..1],
        "any" => lines,
        "joined" => &joined[..],
        other => panic!("{other}: which lines are these?"),
    };
    lines.iter().find_map(|line| read_line(reader, line))
}

fn read_line(reader: &Value, line: &str) -> Option<Found> {
    if let Some(begins) = reader.get("begins")
        && !Regex::new(begins.as_str().unwrap()).unwrap().is_match(line)
    {
        return None;
    }
    let mut found = BTreeMap::new();
    for pattern in texts(&reader["patterns"]) {
        let pattern = Regex::new(pattern).unwrap();
        let mut matches = pattern.captures_iter(line);
        let one = match reader["takes"].as_str().unwrap() {
            "first" => matches.next(),
            "last" => matches.last(),
            other => panic!("{other}: which match is this?"),
        }?;
        for name in pattern.capture_names().flatten() {
            found.insert(name.to_owned(), one[name].to_owned());
        }
    }
    let (macaroon, invoice) = (found.remove("macaroon")?, found.remove("invoice")?);
    takes(reader, &macaroon).then_some((macaroon, invoice))
}

/// Whether a client can do something with a macaroon.
fn takes(reader: &Value, macaroon: &str) -> bool {
    let Some(encodings) = reader.get("base64") else { return true };
    let decoded = texts(encodings).into_iter().find_map(|encoding| match encoding {
        "standard" => STANDARD.decode(macaroon).ok(),
        "url-safe" => URL_SAFE_NO_PAD.decode(macaroon).ok(),
        other => panic!("{other}: which encoding is this?"),
    });
    let identifier_bytes = reader.get("identifier_bytes");
    decoded.is_some_and(|bytes| {
        identifier_bytes.is_none_or(|expected| *expected == identifier(&bytes).len())
    })
}

/// The identifier of a macaroon, in the binary form or in the old one.
fn identifier(bytes: &[u8]) -> Vec<u8> {
    if let Ok(macaroon) = Macaroon::decode(bytes) {
        return macaroon.identifier().to_vec();
    }
    let mut rest = bytes;
    while let Some((length, _)) = rest.split_at_checked(4) {
        let length = usize::from_str_radix(str::from_utf8(length).unwrap(), 16).unwrap();
        let (packet, others) = rest.split_at(length);
        if let Some(value) = packet[4..].strip_prefix(b"identifier ") {
            return value[..value.len() - 1].to_vec();
        }
        rest = others;
    }
    panic!("a macaroon without an identifier");
}

/// A macaroon in the old form: lines that begin with their length.
fn old_form(macaroon: &Macaroon) -> Vec<u8> {
    let mut bytes = Vec::new();
    let caveats = macaroon.caveats().map(|caveat| ("cid", caveat));
    let first = [("location", macaroon.location().as_bytes())];
    let packets = first.into_iter().chain([("identifier", macaroon.identifier())]);
    for (name, value) in packets.chain(caveats).chain([("signature", &macaroon.signature()[..])]) {
        bytes.extend(format!("{:04x}{name} ", 4 + name.len() + 1 + value.len() + 1).bytes());
        bytes.extend(value);
        bytes.push(b'\n');
    }
    bytes
}

fn mint(identifier: &[u8]) -> Macaroon {
    let key = RootKey::from_bytes([7; 32]);
    Macaroon::mint(&key, "lsat", identifier).attenuate(b"services=service10:0")
}

/// What stands in the forms: these macaroons, written in all ways, and these invoices.
fn written(whole: &Macaroon, raw: &Macaroon, invoices: [&str; 2]) -> Vec<(&'static str, String)> {
    let payment =
        "eHh4\", realm=\"demo\", method=\"lightning\", intent=\"charge\", request=\"e30\"";
    let [invoice, of_other_chain] = invoices.map(str::to_owned);
    vec![
        ("M", whole.to_base64()),
        ("U", URL_SAFE_NO_PAD.encode(whole.encode())),
        ("R", raw.to_base64()),
        ("V", STANDARD.encode(old_form(whole))),
        ("N", URL_SAFE.encode(old_form(raw))),
        ("C", whole.clone().attenuate(b"sealed").to_base64()),
        ("I", invoice),
        ("G", of_other_chain),
        ("H", hex::encode([0x42; 32])),
        ("P", payment.to_owned()),
    ]
}

/// Samples whose text is padded and has both of the alphabets' own letters, so that every way of
/// writing them differs from the others.
fn samples() -> Vec<(&'static str, String)> {
    let differs = |text: &str| text.contains('+') && text.contains('/') && text.ends_with('=');
    let (whole, raw) = (0..=u8::MAX)
        .map(|byte| (mint(&[&[0; 2][..], &[byte; 64]].concat()), mint(&[byte; 32])))
        .find(|(whole, raw)| {
            differs(&whole.to_base64()) && differs(&STANDARD.encode(old_form(raw)))
        })
        .unwrap();
    written(&whole, &raw, INVOICES)
}

/// The lines of a form.
fn lines_of(form: &Value, values: &[(&'static str, String)]) -> Vec<String> {
    let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    texts(form).iter().map(|line| fill(line, &values)).collect()
}

/// The restated rules find what the clients are known to find, and nothing where they are known
/// to find nothing.
#[test]
fn the_rules_read_what_the_clients_read() {
    let fixture = fixture();
    let samples = samples();
    for (name, reader) in fixture["readers"].as_object().unwrap() {
        for (list, readable) in [("reads", true), ("cannot_read", false)] {
            for form in reader.get(list).map(texts).unwrap_or_default() {
                let lines = lines_of(&fixture["forms"][form], &samples);
                let found = read(reader, &lines, &Value::Null);
                assert_eq!(found.is_some(), readable, "{name}: {form}: {found:?}");
            }
        }
    }
    // Those whose every form is known.
    let forms = fixture["forms"].as_object().unwrap().len();
    for name in ["aperture", "lnget"] {
        let of = |list: &str| fixture["readers"][name][list].as_array().unwrap().len();
        assert_eq!(of("reads") + of("cannot_read") + 1, forms, "{name}: all but the Worker's");
    }
}

/// Our own client pays whatever a server writes, if it names a token and its invoice.
async fn our_own_client_reads_all(shop: &Shop, forms: &Value) {
    let Challenge { macaroon, invoice, .. } = shop.challenge("plain").await;
    let whole = Macaroon::from_base64(macaroon.as_bytes()).unwrap();
    let raw = mint(&whole.identifier()[2..34]);
    let values = written(&whole, &raw, [&invoice, &invoice]);
    for (name, form) in forms.as_object().unwrap() {
        let lines = lines_of(form, &values);
        let lines = lines.iter().map(String::as_bytes);
        match tollway_client::Challenge::from_headers(lines) {
            Ok(read) => assert_eq!(read.payment_hash().as_bytes(), raw.identifier(), "{name}"),
            Err(fault) => {
                assert_eq!((name.as_str(), fault), ("worker", ChallengeError::NoMacaroon))
            }
        }
    }
}

/// Plays all of them, and what the challenges of our services are.
pub(crate) async fn rows() -> Vec<Row> {
    let fixture = fixture();
    let shop = Shop::open().await;
    let mut rows = Vec::new();
    for client in fixture["clients"].as_array().unwrap() {
        rows.push(shop.play(client, &fixture["readers"]).await);
    }
    our_own_client_reads_all(&shop, &fixture["forms"]).await;
    for (service, form) in fixture["ours"].as_object().unwrap() {
        let challenge = shop.challenge(service).await;
        let (macaroon, invoice) = (challenge.macaroon.as_str(), challenge.invoice.as_str());
        let values = [("M", macaroon), ("U", macaroon), ("I", invoice), ("P", "")];
        let form = texts(&fixture["forms"][form.as_str().unwrap()]);
        let form: Vec<_> = form.iter().map(|line| fill(line, &values)).collect();
        assert_eq!(challenge.lines.len(), form.len(), "{service}: {:?}", challenge.lines);
        for (line, form) in challenge.lines.iter().zip(&form) {
            let same = line == form || (form.starts_with("Payment ") && line.starts_with(form));
            assert!(same, "{service}: {line}");
        }
        for (name, reader) in fixture["readers"].as_object().unwrap() {
            let found = read(reader, &challenge.lines, &challenge.body);
            let known = texts(&reader["of_ours"]).contains(&service.as_str());
            assert_eq!(found.is_some(), known, "{name}: {service}");
        }
    }
    let accepted = rows.iter().filter(|row| row.result.ends_with("accepted")).count();
    let stats = ledger_at_rest(&shop.stack).await;
    assert_eq!(stats["charged_msat"], u64::try_from(accepted).unwrap() * PRICE_MSAT);
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clients_send_that_do_not_run_here_is_as_the_page_says() {
    if super::are_required() {
        println!("played with the clients that run");
        return;
    }
    let said: Vec<_> = as_before(RESULT).iter().map(Row::line).collect();
    let now: Vec<_> = rows().await.iter().map(Row::line).collect();
    assert_eq!(said, now, "{} says something else; `make test-clients` writes it", super::PAGE);
}
