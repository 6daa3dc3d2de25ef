//! A published MCP server and client through the real Envoy: finding tools is free, calling them
//! is not, and a call that failed costs nothing.

use std::process::{Child, Command, Stdio};

use reqwest::Method;
use serde_json::json;
use tollway_testkit::stack::free_port;

use crate::harness::{Gateway, eventually, repository};
use crate::snippets;

/// The server. It ends with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Answers with JSON, or with streams of events.
    async fn start(answers: &str) -> Self {
        let port = free_port().unwrap();
        let child = Command::new(repository(".tools/venv/bin/python"))
            .arg(repository("tests/clients/mcp_server.py"))
            .args([port.to_string(), answers.to_owned()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("python: {error}; `make setup` installs it"));
        let server = Self { child, port };
        eventually("the MCP server listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| ())
        })
        .await;
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or does now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run_client(gateway: &Gateway) {
    let output = Command::new(repository(".tools/venv/bin/python"))
        .arg(repository("tests/clients/mcp_client.py"))
        .env("TOLLWAY_GATEWAY_URL", gateway.stack.gateway_url())
        .env("TOLLWAY_WALLET_URL", gateway.stack.admin_url())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout} {stderr}");
    assert_eq!(stdout.matches("found, paid, called").count(), 2, "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mcp_client_finds_pays_and_calls() {
    for answers in ["json", "events"] {
        let server = Server::start(answers).await;
        let gateway = snippets::before("mcp", server.port).await;
        run_client(&gateway);
        let stats = gateway.ledger_at_rest().await;
        assert_eq!(stats["credited_msat"], 2_000_000, "each connection paid once");
        assert_eq!(stats["charged_msat"], 2 * 2_000, "{answers}: what failed costs nothing");
        gateway.audit();
    }
}

#[tokio::test]
async fn batches_and_what_is_not_sold_are_refused_and_a_402_is_one_where_the_route_says_so() {
    let server = Server::start("json").await;
    let gateway = snippets::with_upstream("mcp", server.port, |filter| {
        filter["routes"][0]["price"]["mcp"]["challenge_in_json_rpc"] = json!(false);
    })
    .await;
    let call = |tool: &str| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
               "params": {"name": tool, "arguments": {"query": "x"}}})
    };
    for (body, status, code) in [
        (call("search"), 402, "payment_required"),
        (call("other"), 403, "not_sold"),
        (json!([call("search")]), 400, "batch_refused"),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call"}), 400, "price_field_missing"),
    ] {
        let request = gateway.http.request(Method::POST, "/mcp").json(&body);
        let answer = gateway.http.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code.to_owned()), "{body}");
    }
}
