//! lnget, Lightning Labs' command: it pays from its own lnd node, on L402 and on the scheme
//! `Payment`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tollway_testkit::nodes::Network;
use tollway_testkit::stack::{Stack, StackOptions};

use super::{PAID, Row, go, ledger_at_rest, payment, repository, run};

const PROGRAM: &str = ".tools/go-clients/lnget";
const MODULE: &str = "github.com/lightninglabs/lnget";
/// What building it said, where it failed.
const WHY: &str = ".tools/go-clients/lnget.why";
/// How the rows of this client begin.
pub(crate) const NAME: &str = "Go lnget";

/// Why it does not run here, if it does not.
pub(crate) fn missing() -> Option<String> {
    if repository(PROGRAM).is_file() {
        return None;
    }
    let why = fs::read_to_string(repository(WHY)).unwrap_or_default();
    let lines: Vec<_> = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Some(match lines.as_slice() {
        [] => format!("no {PROGRAM}; `make test-clients` builds it where Go is installed"),
        lines => lines.join("; "),
    })
}

/// What it does on both rails.
pub(crate) async fn rows(network: &Network) -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let stack = Stack::start(StackOptions {
        filter: Some(payment::filter()),
        tollwayd_config: Some(go::tollwayd_config(network, folder.path())),
        ..StackOptions::default()
    })
    .await
    .unwrap_or_else(|error| panic!("{error}"));
    let mut rows = Vec::new();
    for (scheme, client, rail, expected) in [
        ("l402", NAME.to_owned(), "L402", PAID),
        ("payment", format!("{NAME}, --prefer-scheme payment"), payment::RAIL, payment::PAID),
    ] {
        // What it bought on the other rail is in the other home.
        let home = tempfile::tempdir().unwrap();
        let result = ask_twice(&stack, network, scheme, home.path()).await;
        assert_eq!(result, expected, "{client}");
        rows.push(Row::of(&json!({
            "client": client, "version": version(), "rail": rail, "result": result,
        })));
    }
    let stats = ledger_at_rest(&stack).await;
    assert_eq!(stats["credited_msat"], 20_000 + 2 * 5_000);
    assert_eq!(stats["charged_msat"], 4 * 5_000);
    rows
}

async fn ask_twice(stack: &Stack, network: &Network, scheme: &str, home: &Path) -> String {
    let before = payments(network).await;
    let (mut served, mut reason) = (0, String::new());
    for _ in 0..2 {
        let mut command = Command::new(repository(PROGRAM));
        command
            .args(["-q", "--prefer-scheme", scheme])
            .arg(format!("{}/api/joke", stack.gateway_url()))
            .env("HOME", home)
            .env("LNGET_LN_MODE", "lnd")
            .env("LNGET_LN_LND_HOST", network.payer.rpc_address())
            .env("LNGET_LN_LND_TLS_CERT", network.payer.certificate())
            .env("LNGET_LN_LND_MACAROON", network.payer.macaroon("admin"))
            .env("LNGET_LN_LND_NETWORK", "regtest");
        let output = run(stack, command).await;
        let joke: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if output.status.success() && joke["joke"].is_string() {
            served += 1;
        } else {
            reason = format!("; failed: {output:?}");
        }
    }
    let times = match payments(network).await - before {
        1 => "once".to_owned(),
        times => times.to_string(),
    };
    format!("paid {times}, served {served}{reason}")
}

/// The module's version: what the program says of itself is older.
fn version() -> String {
    let output = Command::new("go").args(["version", "-m"]).arg(repository(PROGRAM)).output();
    let listing = String::from_utf8(output.unwrap().stdout).unwrap();
    let fields = listing.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found = fields.into_iter().find_map(|fields| match fields.as_slice() {
        ["mod" | "dep", MODULE, version, ..] => Some(version.trim_start_matches('v').to_owned()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("{PROGRAM} does not name its version: {listing}"))
}

async fn payments(network: &Network) -> usize {
    let made = network.payer.get("/v1/payments").await.unwrap_or_else(|error| panic!("{error}"));
    made["payments"].as_array().map_or(0, Vec::len)
}
