//! Published clients pay through the real Envoy for real, signed invoices of the simulated node,
//! and docs/clients.md is what they say of it, checked against the ledger.
//!
//! `make test-clients` installs them and runs this. Elsewhere the test prints why it is skipped.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

mod forms;
mod go;
mod grpc;
mod lnget;
mod payment;
mod x402;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollway_testkit::stack::{Parts, Stack, StackOptions};

const MATRIX: &str = "tests/clients/matrix";
const PAGE: &str = "docs/clients.md";
/// What a row says where a client needs nothing more.
const PAID: &str = "paid once, served 2";
const PATIENCE: Duration = Duration::from_secs(60);
const HEAD: &str = "\
# Clients that can pay

Written by `make test-clients`. Each client asks twice, through the real Envoy, for a joke of 5
sats. It has to pay once, an invoice of 20 sats, and to spend the same credit the second time; the
ledger has to agree. Only the wallet is ours: a shim that pays at the simulated node, whose invoices
are real and signed. Clients written in Go pay from a real lnd node over a channel; gRPC clients
call a real gRPC server for the same price. On the rails Payment and x402 every request is a payment
of its own. x402 is settled by the published facilitator on a chain of the run's own, which has to
agree too. A client that fails stands here with its reason, and fails the run. One that cannot be
had where the run takes place is skipped there, with the reason; its rows are those of the last run
that had it.

A result that begins with `header form` is of a client that did not run: `tests/clients` restates
how it reads a challenge and what it sends, and plays both through the real Envoy, with tokens that
were minted and paid for there.

| client | version | rail | result |
|---|---|---|---|
";
const TAIL: &str = "
`lsat-js` reads challenges and writes credentials and leaves the requests to its user. It names a
macaroon library on a Git host; here it runs with npm `macaroon` 3.0.4.

`mppx` leaves methods that it does not know to its user: the run gives it `lightning`, which pays
and shows the preimage. `fetchWithMpp` reads one challenge alone, so its user asks for it with
`Accept-Payment: lightning/charge`. The Go module proxy does not serve lnget's module everywhere.

`l402sdk` pays from nodes alone: a stand-in of LND's REST door pays for it. Of the header forms, the
guide's sample reads no token whose base64 is padded, which ours mostly is, and the Worker's reads
no token at all. The specification's drafts also name a metadata key `token`; it is not read,
because applications use that name and no released client sends it.
";
/// What one client did.
struct Row {
    client: String,
    version: String,
    rail: String,
    result: String,
}

impl Row {
    fn of(printed: &Value) -> Self {
        let text = |key: &str| printed[key].as_str().unwrap().replace('|', "\\|");
        Self {
            client: text("client"),
            version: text("version"),
            rail: text("rail"),
            result: text("result"),
        }
    }

    /// How it stands in the page.
    fn line(&self) -> String {
        let Self { client, version, rail, result } = self;
        format!("| {client} | {version} | {rail} | {result} |")
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a client, without blocking those that serve it.
async fn run(stack: &Stack, mut command: Command) -> Output {
    command
        .env("TOLLWAY_GATEWAY_URL", stack.gateway_url())
        .env("TOLLWAY_WALLET_URL", stack.admin_url())
        .env("NO_PROXY", "127.0.0.1");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap_or_else(|error| panic!("{error}; `make test-clients` installs it"))
}

/// The rows that a script printed, one JSON object a line.
async fn rows_of(stack: &Stack, program: &Path, script: &str) -> Vec<Row> {
    rows_of_with(stack, program, script, &[]).await
}

/// The same for a script that has to know more.
async fn rows_of_with(
    stack: &Stack,
    program: &Path,
    script: &str,
    more: &[(&str, &str)],
) -> Vec<Row> {
    let mut command = Command::new(program);
    command.arg(repository(MATRIX).join(script)).envs(more.iter().copied());
    let output = run(stack, command).await;
    assert!(output.status.success(), "{script}: {output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().map(|line| Row::of(&serde_json::from_str(line).unwrap())).collect()
}

/// Our own command, with a wallet and a store of its own, asks twice on a rail where each payment
/// is of this amount.
async fn our_own(stack: &Stack, client: &str, rail: &str, more: &[&str], sats: u64) -> Row {
    let store = tempfile::tempdir().unwrap();
    let program = Parts::locate().unwrap().tollwayd.with_file_name("tollway");
    let url = format!("{}/api/joke", stack.gateway_url());
    let (mut paid, mut served) = (0, 0);
    for _ in 0..2 {
        let mut command = Command::new(&program);
        command.args(["get", &url, "--json"]).args(more);
        command.env("XDG_STATE_HOME", store.path()).env("XDG_CONFIG_HOME", store.path());
        let output = run(stack, command).await;
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        paid += u32::from(answer["paid_sats"] == sats);
        served += u32::from(answer["status"] == 200);
        // Who pays for a single request gets the receipt of that payment.
        let receipt = &answer["receipt"]["reference"];
        assert!(receipt.is_null() == (rail == "L402"), "{answer}");
        assert!(receipt.is_null() || *receipt == answer["payment_hash"], "{answer}");
    }
    let times = if paid == 1 { "once".to_owned() } else { paid.to_string() };
    Row::of(&json!({
        "client": client,
        "version": env!("CARGO_PKG_VERSION"),
        "rail": rail,
        "result": format!("paid {times}, served {served}"),
    }))
}

/// The ledger's sums, once nothing is held any more.
async fn ledger_at_rest(stack: &Stack) -> Value {
    let url = format!("{}/admin/v1/stats", stack.admin_url());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let begun = Instant::now();
    loop {
        let request = client.get(&url).bearer_auth(stack.admin_token());
        let stats: Value = request.send().await.unwrap().json().await.unwrap();
        if stats["holds_open"] == 0 {
            return stats;
        }
        assert!(begun.elapsed() < PATIENCE, "a hold stays open: {stats}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether this is `make test-clients`.
fn are_required() -> bool {
    env::var("TOLLWAY_TEST_CLIENTS").is_ok_and(|word| word == "required")
}

/// What the page says of clients that cannot run here.
fn as_before(client: &str) -> Vec<Row> {
    let page = fs::read_to_string(repository(PAGE)).unwrap();
    let lines = page.lines().filter(|line| line.contains(client));
    let row = |line: &str| {
        let mut cells = line.split('|').map(|cell| cell.trim().to_owned()).skip(1);
        let mut next = || cells.next().unwrap();
        Row { client: next(), version: next(), rail: next(), result: next() }
    };
    lines.map(row).collect()
}

fn page(rows: &[Row]) -> String {
    let mut page = HEAD.to_owned();
    for row in rows {
        writeln!(page, "{}", row.line()).unwrap();
    }
    page + TAIL
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_clients_pay_and_the_page_says_so() {
    if are_required() {
        let stack = Stack::start(StackOptions::default()).await.unwrap();
        let mut rows = vec![our_own(&stack, "tollway get", "L402", &[], 20).await];
        rows.extend(rows_of(&stack, Path::new("node"), "clients.mjs").await);
        let python = repository(".tools/clients/bin/python");
        rows.extend(rows_of(&stack, &python, "clients.py").await);
        let sdk = rows_of(&stack, &python, "l402sdk_client.py").await;
        let played = rows.len() + sdk.len();
        if sdk.is_empty() {
            eprintln!("skipped: PyPI l402sdk: its wheels are for Linux on x86-64");
            rows.extend(as_before("PyPI l402sdk"));
        }
        rows.extend(sdk);

        rows.extend(payment::rows().await);
        rows.extend(go::rows().await);
        match x402::missing() {
            None => rows.extend(x402::rows().await),
            Some(reason) => {
                eprintln!("skipped: clients of x402: {reason}");
                rows.extend(as_before("| x402 v"));
            }
        }

        let ran = rows.len();
        rows.extend(forms::rows().await);

        let now = page(&rows);
        print!("{now}");
        let before = fs::read_to_string(repository(PAGE)).unwrap_or_default();
        fs::write(repository(PAGE), &now).unwrap();
        for row in &rows[..ran] {
            let expected = match row.rail.as_str() {
                payment::RAIL => payment::PAID,
                rail if rail.starts_with("x402") => x402::PAID,
                _ => PAID,
            };
            assert_eq!(row.result, expected, "{}", row.client);
        }
        assert_eq!(ran, 18, "a client said nothing");
        let played = u64::try_from(played).unwrap();
        assert_eq!(stack.upstream().hits().of("/api/joke"), 2 * played);
        let stats = ledger_at_rest(&stack).await;
        assert_eq!(stats["credited_msat"], played * 20_000);
        assert_eq!(stats["charged_msat"], 2 * played * 5_000);
        assert!(before == now, "{PAGE} said something else; it is written anew, commit it");
    } else {
        eprintln!("skipped: published clients pay in `make test-clients`, which installs them");
    }
}
