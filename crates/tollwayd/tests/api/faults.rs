//! Wrong calls: each gets a clear problem, and nothing happens.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

#[tokio::test]
async fn the_gates_doors_need_exactly_its_token() {
    let server = Server::start().await;
    let doors = [
        (Method::POST, "/v1/challenges"),
        (Method::PUT, "/v1/holds/01890a5d-ac96-774b-bcce-b302099a8057"),
        (Method::POST, "/v1/postings"),
        (Method::GET, "/v1/keyring"),
    ];
    let almost = &GATE_TOKEN[..GATE_TOKEN.len() - 1];
    let wrong = [
        None,
        Some(String::new()),
        Some(GATE_TOKEN.to_owned()),
        Some("Bearer ".to_owned()),
        Some(format!("Basic {GATE_TOKEN}")),
        Some(format!("Bearer {almost}")),
        Some(format!("Bearer {GATE_TOKEN}x")),
        Some(format!("Bearer  {GATE_TOKEN}")),
        Some(format!("Bearer {ADMIN_TOKEN}")),
    ];
    for (method, path) in doors {
        for authorization in &wrong {
            let mut call = server.client.request(method.clone(), server.gate.clone() + path);
            if let Some(value) = authorization {
                call = call.header(AUTHORIZATION, value);
            }
            let response = call.send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer", "{authorization:?}");
            let problem = problem(response).await;
            assert_eq!((problem.status, problem.code.as_str()), (401, "unauthorized"));
            assert!(!problem.detail.contains("canary"));
        }
        let twice = server.client.request(method.clone(), server.gate.clone() + path);
        let twice = twice.bearer_auth(GATE_TOKEN).header(AUTHORIZATION, "Bearer other");
        assert_eq!(problem(twice.send().await.unwrap()).await.status, 401);
    }
    let lower = format!("bearer {GATE_TOKEN}");
    let call = server.client.get(server.gate.clone() + "/v1/keyring").header(AUTHORIZATION, lower);
    assert_eq!(call.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_operators_doors_need_the_operators_token() {
    let server = Server::start().await;
    for (method, path) in [
        (Method::GET, "/admin/v1/stats"),
        (Method::POST, "/admin/v1/keys/rotate"),
        (Method::GET, "/admin/v1/accounts/00"),
    ] {
        for token in [GATE_TOKEN, "", "x"] {
            let call = server.client.request(method.clone(), server.admin.clone() + path);
            let response = call.bearer_auth(token).send().await.unwrap();
            assert_eq!(problem(response).await.status, 401, "{path}");
        }
    }
}

#[tokio::test]
async fn every_listener_has_its_own_doors_only() {
    let server = Server::start().await;
    for url in [
        server.gate.clone() + "/metrics",
        server.gate.clone() + "/admin/v1/stats",
        server.gate.clone() + "/sim/v1/pay",
        server.gate.clone() + "/",
        server.gate.clone() + "/v1/holds/",
        server.gate.clone() + "//v1/keyring",
        server.admin.clone() + "/v1/keyring",
        server.admin.clone() + "/v1/challenges",
    ] {
        let call = server.client.get(&url).bearer_auth(GATE_TOKEN);
        let problem = problem(call.send().await.unwrap()).await;
        assert_eq!((problem.status, problem.code.as_str()), (404, "not_found"), "{url}");
    }
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let server = Server::start().await;
    for (method, path, allow) in [
        (Method::GET, "/v1/challenges", "POST"),
        (Method::POST, "/v1/holds/01890a5d-ac96-774b-bcce-b302099a8057", "PUT"),
        (Method::DELETE, "/v1/postings", "POST"),
        (Method::POST, "/v1/keyring", "GET,HEAD"),
    ] {
        let response = server.call(method, path).send().await.unwrap();
        assert_eq!(response.headers()["allow"], allow, "{path}");
        let problem = problem(response).await;
        assert_eq!((problem.status, problem.code.as_str()), (405, "method_not_allowed"));
    }
}

#[tokio::test]
async fn bodies_must_be_declared_and_well_formed_json() {
    let server = Server::start().await;
    let good = challenge(1, "").to_string();
    let send = async |media_type: Option<&str>, body: Vec<u8>| {
        let mut call = server.call(Method::POST, "/v1/challenges").body(body);
        if let Some(media_type) = media_type {
            call = call.header(CONTENT_TYPE, media_type);
        }
        call.send().await.unwrap()
    };
    for media_type in
        [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("")]
    {
        let problem = problem(send(media_type, good.clone().into_bytes()).await).await;
        let expected = (415, "unsupported_media_type");
        assert_eq!((problem.status, problem.code.as_str()), expected, "{media_type:?}");
    }
    for media_type in ["application/json; charset=utf-8", "Application/JSON"] {
        let response = send(Some(media_type), good.clone().into_bytes()).await;
        assert_eq!(response.status(), StatusCode::OK, "{media_type}");
    }
    let bodies: [&[u8]; 7] = [
        b"",
        b"{",
        b"canary",
        b"{\"route\":\"joke\",}",
        b"\xff\xfe",
        b"{} {}",
        b"{\"route\":\"\xff\"}",
    ];
    for body in bodies {
        let problem = problem(send(Some("application/json"), body.to_vec()).await).await;
        assert!(matches!(problem.status, 400 | 422), "{body:?} {problem:?}");
        assert!(!problem.detail.contains("canary"));
    }
    let deep = "[".repeat(100_000).into_bytes();
    assert_eq!(problem(send(Some("application/json"), deep).await).await.status, 422);
    let twice = br#"{"route":"a","route":"b","amount_msat":1,"memo":""}"#.to_vec();
    let problem = problem(send(Some("application/json"), twice).await).await;
    assert_eq!(problem.detail, "the body: duplicate field `route`");
    assert_eq!(server.stats().await["invoices_open"], 2);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_with_or_without_a_length() {
    let server = Server::start().await;
    let body = challenge(1, &"x".repeat(256 * 1_024));
    let refused = problem(server.challenge(body).await).await;
    assert_eq!((refused.status, refused.code.as_str()), (413, "body_too_large"));

    let address = server.gate.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /v1/challenges HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {GATE_TOKEN}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
    for _ in 0..65 {
        stream.write_all(chunk.as_bytes()).await.unwrap();
    }
    let mut status_line = [0; 12];
    stream.read_exact(&mut status_line).await.unwrap();
    assert_eq!(&status_line, b"HTTP/1.1 413");

    let long_memo = challenge(1, &"x".repeat(640));
    let refused = problem(server.challenge(long_memo).await).await;
    assert_eq!(refused.detail, "memo: expected at most 639 bytes, but found 640");
}

#[tokio::test]
async fn request_ids_are_kept_when_harmless_and_made_when_not() {
    let server = Server::start().await;
    let send = async |id: Option<&str>| {
        let mut call = server.client.get(server.gate.clone() + "/healthz");
        if let Some(id) = id {
            call = call.header("x-request-id", id);
        }
        let response = call.send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(send(Some("01890a5d-ac96:774b.x_y")).await, "01890a5d-ac96:774b.x_y");
    let long = "x".repeat(129);
    for bad in [None, Some("two words"), Some("quote\""), Some(""), Some(long.as_str())] {
        let made = send(bad).await;
        assert_eq!(made.len(), 32, "{made}");
        assert_ne!(made, send(bad).await);
    }
}

#[tokio::test]
async fn requests_are_counted_by_door_and_status_with_few_labels() {
    let server = Server::start().await;
    for path in ["/a", "/b", "/v1/holds/1", "/v1/holds/2"] {
        server.call(Method::PUT, path).send().await.unwrap();
    }
    let metrics = server.metrics().await;
    for line in [
        "tollwayd_requests_total{door=\"none\",status=\"404\"} 2\n",
        "tollwayd_requests_total{door=\"/v1/holds/{id}\",status=\"400\"} 0\n",
        "tollwayd_requests_total{door=\"/v1/holds/{id}\",status=\"415\"} 2\n",
    ] {
        assert_eq!(metrics.contains(line), !line.ends_with(" 0\n"), "{line} {metrics}");
    }
}

#[tokio::test]
async fn health_and_readiness_answer_on_both_listeners() {
    let server = Server::start().await;
    for base in [&server.gate, &server.admin] {
        for (path, status) in [("/healthz", "ok"), ("/readyz", "ok")] {
            let response = server.client.get(format!("{base}{path}")).send().await.unwrap();
            let body: Value = expect(response, StatusCode::OK).await;
            assert_eq!(body["status"], status);
        }
    }
    // A store that refuses changes is not ready, and calls get 503 with Retry-After.
    let db = rusqlite::Connection::open(server.directory.path().join("tollwayd.db")).unwrap();
    db.execute_batch(
        "CREATE TRIGGER boom BEFORE INSERT ON invoices BEGIN SELECT RAISE(ROLLBACK, 'x'); END;
         CREATE TRIGGER boom2 BEFORE INSERT ON probe BEGIN SELECT RAISE(ROLLBACK, 'x'); END",
    )
    .unwrap();
    let response = server.challenge(challenge(1, "")).await;
    assert_eq!(response.headers()["retry-after"], "1");
    let failed = problem(response).await;
    assert_eq!((failed.status, failed.code.as_str()), (503, "store_unavailable"));
    let ready = async || {
        let response = server.client.get(server.gate.clone() + "/readyz").send().await.unwrap();
        response.status()
    };
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    db.execute_batch("DROP TRIGGER boom; DROP TRIGGER boom2").unwrap();
    assert_eq!(ready().await, StatusCode::OK);
    server.invoice(1, None).await;
}
