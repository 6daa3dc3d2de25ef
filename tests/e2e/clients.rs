//! Clients that other people wrote and published, paying through the real Envoy. Only their
//! wallet is ours: a shim that pays the simulated node.

use std::process::Command;

use crate::harness::{Gateway, repository};

/// Runs a client script against the gateway, with these variables too.
pub(crate) fn run(gateway: &Gateway, program: &str, script: &str, env: &[(&str, &str)]) {
    let output = Command::new(program)
        .arg(repository("tests/clients").join(script))
        .env("TOLLWAY_GATEWAY_URL", gateway.stack.gateway_url())
        .env("TOLLWAY_WALLET_URL", gateway.stack.admin_url())
        .envs(env.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs it"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {stdout} {stderr}");
    println!("{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alby_s_lightning_tools_pay() {
    if Command::new("node").arg("--version").output().is_err() {
        println!("skipped: node is not installed; install it and run `make setup`");
        return;
    }
    let gateway = Gateway::start().await;
    run(&gateway, "node", "lightning_tools.mjs", &[]);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 4);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 40_000, "two payments, each spent twice");
    assert_eq!(stats["charged_msat"], 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l402_requests_pays() {
    let gateway = Gateway::start().await;
    let python = repository(".tools/venv/bin/python");
    run(&gateway, &python.to_string_lossy(), "l402_requests_client.py", &[]);
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 2);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!(stats["credited_msat"], 20_000, "the second request spends the same credit");
    assert_eq!(stats["charged_msat"], 10_000);
}
