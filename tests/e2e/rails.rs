//! The scheme `Payment` beside L402: a charge of one invoice, through the whole product.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Map, Value, json};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Answer, Gateway, Http, config, repository};
use crate::x402_over_lightning;

pub(crate) const PROBLEMS: &str = "https://paymentauth.org/problems/";

/// A stack whose services are paid by the scheme too.
async fn gateway() -> Gateway {
    gateway_of(config(), None).await
}

async fn gateway_of(mut filter: Value, tollwayd_config: Option<PathBuf>) -> Gateway {
    filter["payment_scheme"] = json!(true);
    let options = StackOptions { filter: Some(filter), tollwayd_config, ..StackOptions::default() };
    Gateway::with(options).await
}

/// A configuration of tollwayd with x402 over Lightning, in which one client may ask for as much as
/// all.
pub(crate) fn without_limits(directory: &Path) -> PathBuf {
    let text = std::fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if line.starts_with("per_client_") || line.starts_with("open_per_client") {
            *line = format!("{} = 60000", line.split(' ').next().unwrap());
        }
    }
    let file = directory.join("tollwayd.toml");
    std::fs::write(&file, lines.join("\n") + x402_over_lightning::ON).unwrap();
    file
}

/// What a text of the scheme says.
pub(crate) fn decoded(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

/// The parameters of the Payment challenge, which stands after the other.
fn echo(challenge: &Answer) -> Map<String, Value> {
    echo_in(challenge, 1, 2)
}

/// The parameters of the challenge that stands at this place of so many lines.
pub(crate) fn echo_in(challenge: &Answer, at: usize, of: usize) -> Map<String, Value> {
    assert_eq!(challenge.status, 402, "{challenge:?}");
    let lines: Vec<_> = challenge.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(lines.len(), of, "{lines:?}");
    assert!(lines[0].as_bytes().starts_with(b"L402 macaroon=\""), "{lines:?}");
    let params = lines[at].to_str().unwrap().strip_prefix("Payment ").unwrap();
    let params = params.split(", ").map(|param| param.split_once('=').unwrap());
    params.map(|(name, value)| (name.to_owned(), json!(value.trim_matches('"')))).collect()
}

/// What a challenge asks for.
pub(crate) fn request(echo: &Map<String, Value>) -> Value {
    decoded(echo["request"].as_str().unwrap())
}

fn written(echo: &Map<String, Value>, preimage: &str) -> String {
    sent(echo, &json!({"preimage": preimage}))
}

/// A credential with this payload.
pub(crate) fn sent(echo: &Map<String, Value>, payload: &Value) -> String {
    let credential = json!({"challenge": echo, "payload": payload});
    format!("Payment {}", URL_SAFE_NO_PAD.encode(credential.to_string()))
}

/// Pays a charge and returns the credential.
async fn pay(http: &Http, challenge: &Answer) -> String {
    let echo = echo(challenge);
    let invoice = request(&echo)["methodDetails"]["invoice"].clone();
    written(&echo, &http.preimage(invoice.as_str().unwrap()).await)
}

fn assert_refused(answer: &Answer, problem: &str) {
    assert_eq!(answer.json()["type"], format!("{PROBLEMS}{problem}"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("payment-receipt"), "");
    assert!(!request(&echo(answer))["methodDetails"]["invoice"].is_null(), "a fresh challenge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_invoice_is_spent_by_a_charge_or_by_a_token() {
    let gateway = gateway().await;
    let http = &gateway.http;
    let fortune = |credential| async move { http.get("/api/fortune", Some(credential)).await };
    let challenge = http.get("/api/fortune", None).await;
    let asked = request(&echo(&challenge));
    assert_eq!(asked["amount"], "10");
    assert_eq!(asked["methodDetails"]["network"], "regtest");
    assert_eq!(asked["methodDetails"]["invoice"], challenge.json()["invoice"]);
    assert_eq!(asked["methodDetails"]["paymentHash"], challenge.json()["paymentHash"]);
    let token = http.pay(&challenge).await;
    let preimage = token.rsplit_once(':').unwrap().1;
    let charge = written(&echo(&challenge), preimage);

    let served = fortune(&charge).await;
    assert_eq!(served.status, 200, "{served:?}");
    assert_eq!(served.header("cache-control"), "private");
    assert_eq!(served.number("x-toll-cost-msat"), 10_000);
    let receipt = decoded(served.header("payment-receipt"));
    assert_eq!(receipt["challengeId"], echo(&challenge)["id"]);
    assert_eq!(receipt["reference"], challenge.json()["paymentHash"]);
    assert_eq!((&receipt["method"], &receipt["status"]), (&json!("lightning"), &json!("success")));
    assert!(!receipt.to_string().contains(preimage));

    assert_refused(&fortune(&charge).await, "invalid-challenge");
    let as_token = fortune(&token).await;
    assert_eq!((as_token.status.as_u16(), as_token.code()), (402, "payment_used".into()));
    assert_eq!(gateway.stack.upstream().hits().of("/api/fortune"), 1);

    // The other way round.
    let challenge = http.get("/api/fortune", None).await;
    let token = http.pay(&challenge).await;
    let charge = written(&echo(&challenge), token.rsplit_once(':').unwrap().1);
    assert_eq!(fortune(&token).await.status, 200);
    assert_refused(&fortune(&charge).await, "invalid-challenge");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(20_000), &json!(20_000)));
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_costs_the_price_where_a_token_buys_more() {
    let gateway = gateway().await;
    let challenge = gateway.http.get("/echo", None).await;
    let asked = request(&echo(&challenge));
    assert_eq!((&asked["amount"], &challenge.json()["amountSats"]), (&json!("1"), &json!(20)));
    assert_ne!(asked["methodDetails"]["paymentHash"], challenge.json()["paymentHash"]);
    let charge = pay(&gateway.http, &challenge).await;
    let bearer = "Bearer application";
    let send = |name: &'static str, charge: String| {
        let request = gateway.http.request(Method::GET, "/echo");
        let other = if name == "authorization" { "x-other" } else { "authorization" };
        gateway.http.send(request.header(name, charge).header(other, bearer))
    };
    let served = send("payment-authorization", charge).await;
    assert_eq!(served.status, 200, "{served:?}");
    let upstream = String::from_utf8(served.body.clone()).unwrap();
    assert!(upstream.contains(bearer), "{upstream}");
    assert!(!upstream.to_lowercase().contains("payment"), "{upstream}");

    // Who needs Authorization for the upstream is told of the other header.
    let taken = gateway.http.get("/echo", Some(bearer)).await;
    assert_eq!(echo(&taken)["header"], "Payment-Authorization");
    let asks = gateway.http.request(Method::GET, "/echo").header("accept-payment", "lightning/*");
    let first = gateway.http.send(asks).await;
    assert!(first.header("www-authenticate").starts_with("Payment id=\""), "{first:?}");
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&json!(1_000), &json!(1_000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_good_credential_gets_its_problem_and_a_fresh_challenge() {
    let gateway = gateway().await;
    let http = &gateway.http;
    let challenge = http.get("/api/fortune", None).await;
    let good = pay(http, &challenge).await;
    let echo = echo(&challenge);
    let preimage = decoded(good.strip_prefix("Payment ").unwrap())["payload"]["preimage"].clone();
    let preimage = preimage.as_str().unwrap();
    let changed = |name: &str, value: Value| {
        let mut echo = echo.clone();
        echo.insert(name.to_owned(), value);
        written(&echo, preimage)
    };
    let mut cheaper = request(&echo);
    cheaper["amount"] = json!("1");
    let cheaper = URL_SAFE_NO_PAD.encode(cheaper.to_string());
    for (credential, problem) in [
        ("Payment !!!".to_owned(), "malformed-credential"),
        ("Payment e30".to_owned(), "malformed-credential"),
        (format!("Payment {}", "A".repeat(17_000)), "malformed-credential"),
        (written(&echo, &"00".repeat(32)), "verification-failed"),
        (changed("id", json!("AAAA")), "invalid-challenge"),
        (changed("realm", json!("demo")), "invalid-challenge"),
        (changed("request", json!(cheaper)), "invalid-challenge"),
        (changed("expires", json!("2099-01-01T00:00:00Z")), "invalid-challenge"),
        (changed("method", json!("tempo")), "method-unsupported"),
    ] {
        assert_refused(&http.get("/api/fortune", Some(&credential)).await, problem);
    }
    let two = http.request(Method::GET, "/api/fortune").header("authorization", &good);
    let two = two.header("authorization", changed("id", json!("AAAA")));
    assert_refused(&http.send(two).await, "malformed-credential");
    // Another route, dearer or cheaper.
    assert_refused(&http.get("/echo", Some(&good)).await, "invalid-challenge");
    let hits = gateway.stack.upstream().hits();
    assert_eq!((hits.of("/api/fortune"), hits.of("/echo")), (0, 0));
    assert_eq!(http.get("/api/fortune", Some(&good)).await.status, 200, "nothing was spent");
    gateway.ledger_at_rest().await;
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_for_what_failed_can_be_made_again() {
    let gateway = gateway().await;
    let challenge = gateway.http.get("/status/503", None).await;
    let charge = pay(&gateway.http, &challenge).await;
    for _ in 0..2 {
        let failed = gateway.http.get("/status/503", Some(&charge)).await;
        assert_eq!((failed.status.as_u16(), failed.header("payment-receipt")), (503, ""));
        assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 0);
    }
    let served = gateway.http.get("/status/200", Some(&charge)).await;
    assert_eq!(served.status, 200, "the same route, which works again");
    assert_eq!(gateway.ledger_at_rest().await["charged_msat"], 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_under_its_key_gets_the_same_answer_and_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let mut filter = config();
    filter["x402"] = json!(true);
    filter["routes"][1]["idempotency"] = json!("replay");
    let gateway = gateway_of(filter, Some(without_limits(directory.path()))).await;
    let challenge = gateway.http.get("/echo", None).await;
    let accepted = x402_over_lightning::requirement(&challenge);
    let invoice = accepted["extra"]["invoice"].as_str().unwrap().to_owned();
    let proof = json!({"preimage": gateway.http.preimage(&invoice).await});
    let x402 = x402_over_lightning::written(&accepted, &proof);
    let charge = pay(&gateway.http, &gateway.http.get("/echo", None).await).await;
    let shown = [
        ("authorization", charge, "payment-receipt"),
        ("payment-signature", x402, "payment-response"),
    ];
    for (served, (name, credential, receipt)) in (1..).zip(&shown) {
        let ask = async |key: &str| {
            let request = gateway.http.request(Method::GET, "/echo");
            let request = request.header(*name, credential).header("idempotency-key", key);
            gateway.http.send(request).await
        };
        let first = ask("once").await;
        assert_eq!(first.status, 200, "{first:?}");
        let charged = gateway.ledger_at_rest().await["charged_msat"].clone();
        assert_eq!(charged, served * 1_000);
        let again = ask("once").await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{again:?}");
        assert_ne!(again.header(receipt), "", "it was paid for");
        assert_eq!(ask("another").await.status, 402, "a request of its own");
        assert_eq!(gateway.stack.upstream().hits().of("/echo"), served);
        assert_eq!(gateway.ledger_at_rest().await["charged_msat"], charged);
    }
    gateway.audit();
}

/// The same payment as a token, as a charge and as a payment of x402.
async fn on_three_rails(http: &Http, challenge: &Answer) -> [(&'static str, String); 3] {
    let accepted = x402_over_lightning::requirement(challenge);
    assert_eq!(accepted["extra"]["invoice"], challenge.json()["invoice"], "one invoice for all");
    let token = http.pay(challenge).await;
    let preimage = token.rsplit_once(':').unwrap().1;
    let charge = written(&echo(challenge), preimage);
    let x402 = x402_over_lightning::written(&accepted, &json!({"preimage": preimage}));
    [("authorization", token), ("payment-authorization", charge), ("payment-signature", x402)]
}

/// The rail that a served request was paid on, by its receipt.
fn paid_on(answer: &Answer) -> usize {
    let receipts = ["payment-receipt", "payment-response"].map(|name| answer.header(name));
    receipts.iter().position(|receipt| !receipt.is_empty()).map_or(0, |at| at + 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_payments_shown_on_three_rails_at_once_are_spent_once() {
    const RACES: u64 = 1_000;
    const AT_ONCE: u64 = 8;
    let directory = tempfile::tempdir().unwrap();
    let mut filter = config();
    filter["x402"] = json!(true);
    let gateway = gateway_of(filter, Some(without_limits(directory.path()))).await;
    let racers = (0..AT_ONCE).map(|racer| {
        let http = gateway.http.clone();
        tokio::spawn(async move {
            let mut served = Vec::new();
            // Connections of their own, so that both workers have a part in it.
            let doors = [http.fresh(), http.fresh(), http.fresh()];
            for race in (racer..RACES).step_by(AT_ONCE as usize) {
                // Clients that differ, so that each is asked to pay an invoice of its own.
                let asks = http.request(Method::GET, "/api/fortune");
                let challenge = http.send(asks.header("user-agent", format!("racer {race}"))).await;
                let mut shown = on_three_rails(&http, &challenge).await;
                shown.rotate_left(race as usize % 3);
                let answers = shown.iter().zip(&doors).map(|((name, value), door)| {
                    door.send(door.request(Method::GET, "/api/fortune").header(*name, value))
                });
                let answers = futures_util::future::join_all(answers).await;
                let count = |status: u16| answers.iter().filter(|it| it.status == status).count();
                assert_eq!((count(200), count(402)), (1, 2), "{answers:?}");
                served.extend(answers.iter().find(|answer| answer.status == 200).map(paid_on));
            }
            served
        })
    });
    let mut wins = [0; 3];
    for racer in racers.collect::<Vec<_>>() {
        for rail in racer.await.unwrap() {
            wins[rail] += 1;
        }
    }
    assert_eq!(wins.iter().sum::<u64>(), RACES);
    assert!(wins.iter().all(|wins| *wins > 0), "each rail wins at times: {wins:?}");
    println!("token, charge, x402 won: {wins:?}");
    assert_eq!(gateway.stack.upstream().hits().of("/api/fortune"), RACES);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], RACES * 10_000);
    assert_eq!(stats["charged_msat"], RACES * 10_000);
    gateway.audit();
}
