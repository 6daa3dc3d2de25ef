//! Bytes that no honest client sends, on a raw connection. After each the gateway still works.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Gateway;

/// Sends raw bytes and returns the status line of the answer; empty if the peer just hung up.
async fn raw(gateway: &Gateway, request: &[u8]) -> String {
    let address = gateway.stack.gateway_url().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The peer may refuse and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.lines().next().unwrap_or_default().to_owned()
}

fn get(path: &[u8], header: &[u8]) -> Vec<u8> {
    [
        b"GET ".as_slice(),
        path,
        b" HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n",
        header,
        b"\r\n\r\n",
    ]
    .concat()
}

#[tokio::test]
async fn hostile_bytes_get_an_answer_and_the_next_request_still_works() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let long = |n: usize| [b"authorization: L402 ".to_vec(), vec![b'A'; n]].concat();
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("0xFF in Authorization", get(b"/api/joke", b"authorization: L402 \xff\xfe"), &["402"]),
        ("0xFF anywhere else", get(b"/api/joke", b"x-anything: \xff"), &["402"]),
        ("0xFF in a cookie on a free page", get(b"/", b"cookie: \xff\xff"), &["200"]),
        ("0xFF in a header's name", get(b"/api/joke", b"x-\xff: 1"), &["400"]),
        ("a cut multibyte character", get(b"/api/joke", b"authorization: L40\xc3"), &["402"]),
        ("a scheme alone", get(b"/api/joke", b"authorization: L402"), &["402"]),
        ("a colon alone", get(b"/api/joke", b"authorization: L402 :"), &["402"]),
        ("a token of 20 KiB", get(b"/api/joke", &long(20 * 1024)), &["402"]),
        // Envoy itself refuses more than max_request_headers_kb.
        ("a token of 64 KiB", get(b"/api/joke", &long(64 * 1024)), &["431"]),
        ("0xFF in the path", get(b"/api/\xff", b"a: b"), &["400", "403"]),
        ("an encoded slash", get(b"/api%2fjoke", b"a: b"), &["400"]),
        ("dots", get(b"/api/../api/joke", b"a: b"), &["402"]),
        ("no path", b"GET\r\n\r\n".to_vec(), &["400", ""]),
        ("not HTTP", b"\x16\x03\x01\xff\xff\xff\xff\r\n\r\n".to_vec(), &["400", ""]),
    ];
    for (name, request, expected) in cases {
        let status = raw(&gateway, &request).await;
        let code = status.split(' ').nth(1).unwrap_or_default();
        assert!(expected.contains(&code), "{name}: expected {expected:?}, but found {status:?}");
        let next = gateway.http.get("/echo", Some(&credential)).await;
        assert_eq!(next.status, 200, "after {name}: {next:?}");
    }
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 0);
    let log = gateway.stack.log("envoy");
    assert!(!log.contains("panicked"), "{log}");
}
