//! `tollway price` and `tollway lint-config`, as an operator runs them.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test binary: what it does not expect fails the test"
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

/// Exit code, standard output, standard error.
fn tollway(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tollway"))
        .args(args)
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn shipped(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../envoy").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_price_is_explained_from_a_whole_envoy_configuration() {
    let envoy = shipped("envoy.yaml");
    let (code, said, _) = tollway(&["price", "https://api.example/api/joke?x", "--config", &envoy]);
    assert_eq!(code, 0);
    let expected = "GET api.example/api/joke?x\n  in       static_resources.listeners[0].\
                    filter_chains[0].filters[0].typed_config.http_filters[0].typed_config\n  \
                    route    joke: path \"/api/joke\"\n  price    5 sats\n  invoice  asks 20 \
                    sats, buys 20 sats of credit for service demo\n";
    assert_eq!(said, expected);
    for (path, expected) in [
        ("/", "  price    free\n"),
        ("/api//joke", "  answer   400: the request path is not in normal form"),
        ("/nothing", "  answer   403: no route of this gateway matches"),
    ] {
        let url = format!("http://api.example{path}");
        let (code, said, _) = tollway(&["price", &url, "--config", &envoy]);
        assert_eq!(code, 0);
        assert!(said.contains(expected), "{path}: {said}");
    }
    let (code, _, problem) = tollway(&["price", "http://a/", "--config", "nowhere.json"]);
    assert_eq!(code, 7);
    assert!(problem.contains("nowhere.json: cannot be read"), "{problem}");
}

#[test]
fn methods_and_headers_count() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filter.yaml");
    let filter = "{tollwayd: {cluster: t, gate_token: 'env:T'}, services: [{name: a}], \
                  unmatched: deny, routes: [{name: post, price_sats: 9, match: {path: /a, methods: \
                  [POST]}}, {name: any, price_msat: 1500, match: {path: /a}}, {name: big, \
                  price_sats: 20, match: {path: /a, headers: [{name: X-Size, value: big}]}}]}";
    std::fs::write(&file, filter).unwrap();
    let file = file.to_str().unwrap();
    for (more, expected) in [
        (&[][..], "  price    1.5 sats\n  invoice  asks 2 sats"),
        (&["-X", "POST"], "  route    post: "),
        (&["-X", "POST"], "  before   any, which match too"),
        (&["-H", "x-size: big"], "  price    20 sats\n"),
    ] {
        let args = [&["price", "http://h/a", "--config", file], more].concat();
        let (code, said, problem) = tollway(&args);
        assert_eq!(code, 0, "{problem}");
        assert!(said.contains(expected), "{more:?}: {said}");
    }
}

#[test]
fn bodies_count_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filter.yaml");
    let filter = "{tollwayd: {cluster: t, gate_token: 'env:T'}, services: [{name: a}], \
                  unmatched: deny, routes: [{name: chat, match: {path: /a, methods: [POST]}, \
                  price: {by: {json: model}, values: {large: {sats: 9}}, default: deny}}, \
                  {name: upload, match: {path: /b}, \
                  price: {base: {sats: 1}, request_bytes: {msat: 10, per: 1}}}]}";
    std::fs::write(&file, filter).unwrap();
    let file = file.to_str().unwrap();
    let body = dir.path().join("body.json");
    std::fs::write(&body, r#"{"model": "large"}"#).unwrap();
    let body = format!("@{}", body.to_str().unwrap());
    for (path, more, expected) in [
        ("/a", &["--data", &body][..], "POST h/a\n  route    chat: "),
        ("/a", &["--data", &body], "  price    9 sats\n"),
        ("/a", &["-d", r#"{"model": "other"}"#], "  answer   403: "),
        ("/a", &["-d", "no JSON"], "  answer   400: "),
        ("/b", &["-d", "0123456789", "-X", "PUT"], "  price    1.1 sats\n"),
        ("/b", &[], "  price    1 sat"),
    ] {
        let url = format!("http://h{path}");
        let (code, said, problem) = tollway(&[&["price", &url, "--config", file], more].concat());
        assert_eq!(code, 0, "{problem}");
        assert!(said.contains(expected), "{more:?}: {said}");
    }
    let (code, _, problem) = tollway(&["price", "http://h/a", "--config", file, "-d", "@nowhere"]);
    assert_eq!((code, problem.contains("nowhere: cannot be read")), (7, true), "{problem}");
    let (code, _, problem) = tollway(&["price", "http://h/a", "-d", "x"]);
    assert_eq!(code, 2, "a gateway would be sent a request that might do something: {problem}");
}

#[test]
fn without_a_configuration_the_gateway_is_asked() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    let answers = [
        ("402 Payment Required", "x-toll-price-msat: 1500", 0, "price    1.5 sats\n"),
        ("402 Payment Required", "x-l402-price-sats: 3", 0, "price    3 sats\n"),
        ("200 OK", "x-any: 1", 0, "price    free\n"),
        ("503 Service Unavailable", "x-any: 1", 5, ""),
    ];
    let server = std::thread::spawn(move || {
        for (status, header, ..) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            assert!(head[..read].starts_with(b"HEAD /x HTTP/1.1"));
            write!(stream, "HTTP/1.1 {status}\r\n{header}\r\nconnection: close\r\n\r\n").unwrap();
        }
    });
    for (status, _, expected, text) in answers {
        let (code, said, _) = tollway(&["price", &url]);
        assert_eq!(code, expected, "{status}");
        assert!(said.ends_with(text), "{status}: {said}");
    }
    server.join().unwrap();
    assert_eq!(tollway(&["price", &url, "-X", "POST"]).0, 7, "no request that might do something");
}

#[test]
fn the_lint_tells_by_its_exit_code() {
    let envoy = shipped("envoy.yaml");
    let (code, said, _) = tollway(&["lint-config", &envoy, &shipped("istio.yaml")]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(": ok\n").count(), 2, "{said}");
    let dir = tempfile::tempdir().unwrap();
    let changed = |from: &str, into: &str| {
        let text = std::fs::read_to_string(&envoy).unwrap().replace(from, into);
        let file = dir.path().join("envoy.yaml");
        std::fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let loose = changed("normalize_path: true", "normalize_path: false");
    assert_eq!(tollway(&["lint-config", &loose]).0, 0);
    let (code, said, _) = tollway(&["lint-config", "--strict", &loose]);
    assert_eq!(code, 7);
    assert!(said.contains("envoy.yaml: warning: static_resources.listeners[0]"), "{said}");
    let open = changed("failure_policy: FAIL_RELOAD", "failure_policy: FAIL_OPEN");
    assert_eq!(tollway(&["lint-config", &open]).0, 7);
    let (code, _, problem) = tollway(&["lint-config", &shipped("tollwayd.toml")]);
    assert_eq!(code, 7);
    assert!(problem.contains("expected"), "{problem}");
}

#[test]
fn the_prices_are_written_down_for_machines() {
    let envoy = shipped("envoy.yaml");
    let (code, text, _) = tollway(&["describe-prices", "openapi", "--config", &envoy]);
    assert_eq!(code, 0);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    let offer = &document["paths"]["/api/joke"]["get"]["x-payment-info"]["offers"][0];
    assert_eq!((&offer["amount"], &offer["price_msat"]), (&"5".into(), &5_000.into()));
    let (code, text, _) =
        tollway(&["describe-prices", "llms", "--title", "Jokes", "--config", &envoy]);
    assert_eq!(code, 0);
    assert!(
        text.starts_with("# Jokes\n") && text.contains("- GET /api/joke: 5000 msat (a joke)\n")
    );
    assert!(text.contains("- GET /: free ("), "{text}");
    let (code, text, _) = tollway(&["describe-prices", "manifest", "--config", &envoy]);
    assert_eq!(code, 0);
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["services"][0]["resources"].as_array().unwrap().len(), 7);
}
