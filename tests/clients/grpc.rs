//! gRPC clients written in Go, before a real gRPC server, for real invoices: the shop's node and
//! theirs are two lnd nodes with a channel.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};
use tollway_testkit::nodes::Network;
use tollway_testkit::stack::{Stack, StackOptions, free_port};
use tonic::transport::Server;
use tonic_health::ServingStatus;

use super::{Row, go, ledger_at_rest, repository, run};

const PROGRAM: &str = ".tools/go-clients/aperture";
/// How the row of this client begins.
pub(crate) const NAME: &str = "Go aperture, client interceptor";
const METHOD: &str = "/grpc.health.v1.Health/Check";

/// Why the client is not here, if it is not.
pub(crate) fn missing() -> Option<String> {
    let here = repository(PROGRAM).is_file();
    (!here).then(|| format!("no {PROGRAM}; `make test-clients` builds it where Go is installed"))
}

/// Aperture's client interceptor: it reads the challenge from the trailers, has its node pay, and
/// shows the macaroon in the metadata.
pub(crate) async fn aperture(network: &Network) -> Row {
    let folder = tempfile::tempdir().unwrap();
    let config = go::tollwayd_config(network, folder.path());
    let port = free_port().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    let server = Server::builder().add_service(health).serve(address);
    let server = tokio::spawn(async move { server.await.unwrap() });
    let options = StackOptions {
        filter: Some(filter()),
        tollwayd_config: Some(config),
        ..StackOptions::default()
    };
    let stack = Stack::start(options.before_grpc(port, METHOD)).await;
    let stack = stack.unwrap_or_else(|error| panic!("{error}"));

    let mut command = Command::new(repository(PROGRAM));
    command
        .env("TOLLWAY_LND", network.payer.rpc_address())
        .env("TOLLWAY_LND_CERT", network.payer.certificate())
        .env("TOLLWAY_LND_MACAROON", network.payer.macaroon("admin"));
    let output = run(&stack, command).await;
    assert!(output.status.success(), "{output:?}");
    let stats = ledger_at_rest(&stack).await;
    assert_eq!(stats["credited_msat"], 20_000, "{output:?}");
    assert_eq!(stats["charged_msat"], 10_000, "{output:?}");
    server.abort();
    Row::of(&serde_json::from_slice(&output.stdout).unwrap())
}

fn filter() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": 30_000,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo", "purchase": {"default_sats": 20}}],
        "routes": [{"name": "check", "service": "demo", "price_sats": 5,
                    "match": {"path": METHOD}}],
        "unmatched": "deny",
        "tick_ms": 20,
    })
}
