//! The first example of the client's README, as a newcomer runs it. It names the ports of the demo;
//! a proxy leads them to a stack of the test's own.

use std::process::{Command, Stdio};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;
use tollway_testkit::stack::Parts;

use crate::harness::{Gateway, forward, repository};

const GATEWAY: &str = "127.0.0.1:8402";
const WALLET: &str = "127.0.0.1:8404";
/// Fewer lines than this, as a newcomer counts them.
const LINES: usize = 15;

/// Where the demo's ports lead to.
#[derive(Clone)]
struct Ways {
    gateway: String,
    wallet: String,
}

async fn lead(State(ways): State<Ways>, request: Request) -> Response {
    let asked = request.uri().authority().map(|authority| authority.as_str().to_owned());
    match asked.as_deref() {
        Some(GATEWAY) => forward(&ways.gateway, request).await,
        Some(WALLET) => forward(&ways.wallet, request).await,
        other => panic!("the example asks {other:?}"),
    }
}

async fn proxy(gateway: &Gateway) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let ways = Ways { gateway: gateway.stack.gateway_url(), wallet: gateway.stack.admin_url() };
    let router = Router::new().fallback(lead).with_state(ways);
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[test]
fn the_first_example_is_short_and_the_one_that_runs() {
    let readme = repository("crates/tollway-client/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let first = readme.split("```rust,no_run\n").nth(1).unwrap().split("```").next().unwrap();
    let example = repository("crates/tollway-client/examples/joke.rs");
    let example = std::fs::read_to_string(example).unwrap();
    let (_, code) = example.split_once("\n\n").unwrap();
    assert_eq!(first, code);
    assert!(first.lines().count() < LINES, "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_pays_for_a_joke_with_the_first_example() {
    let program = Parts::locate().unwrap().tollwayd.with_file_name("examples").join("joke");
    if !program.is_file() {
        println!("skipped: no {}; `cargo test --workspace` builds it", program.display());
        return;
    }
    let gateway = Gateway::start().await;
    let mut command = Command::new(program);
    command.env("http_proxy", proxy(&gateway).await).env_remove("NO_PROXY").env_remove("no_proxy");
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    let joke: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(joke["joke"].is_string(), "{joke}");
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 1);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&20_000.into(), &5_000.into()));
}
