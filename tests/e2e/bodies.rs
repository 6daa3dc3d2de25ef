//! Bodies, trailers and protocols: nothing of a request slips past the gate, nothing is lost.

use reqwest::Method;

use crate::harness::{Gateway, Http};

async fn post(http: &Http, bytes: usize, credential: Option<&str>) -> crate::harness::Answer {
    let mut request = http.request(Method::POST, "/echo").body(vec![b'x'; bytes]);
    if let Some(credential) = credential {
        request = request.header("authorization", credential);
    }
    http.send(request).await
}

#[tokio::test]
async fn bodies_wait_for_the_decision_and_arrive_whole() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    for http in [gateway.http.clone(), gateway.http.http2()] {
        for bytes in [0, 10, 30_000, 300_000] {
            let paid = post(&http, bytes, Some(&credential)).await;
            assert_eq!(paid.status, 200, "{bytes} bytes: {paid:?}");
            assert_eq!(paid.json()["body_bytes"], bytes);
        }
    }
    let before = gateway.stack.upstream().hits().of("/echo");
    for http in [gateway.http.clone(), gateway.http.http2()] {
        for bytes in [0, 10, 30_000] {
            let unpaid = post(&http, bytes, None).await;
            assert_eq!(unpaid.status, 402, "{bytes} bytes: {unpaid:?}");
        }
    }
    assert_eq!(gateway.stack.upstream().hits().of("/echo"), before);
}

#[tokio::test]
async fn a_stream_passes_in_its_pieces() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/stream").await;
    let answer = gateway.http.get("/stream", Some(&credential)).await;
    assert_eq!(answer.status, 200);
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(text.matches("data: ").count(), 5, "{text}");
}

#[tokio::test]
async fn grpc_callers_get_the_challenge_in_grpc_s_form() {
    let gateway = Gateway::start().await;
    for http in [gateway.http.clone(), gateway.http.http2()] {
        let request = http
            .request(Method::POST, "/api/joke")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let answer = http.send(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/grpc");
        assert_eq!(answer.header("grpc-status"), "13");
        assert_eq!(answer.header("grpc-message"), "payment required");
        assert!(answer.header("www-authenticate").starts_with("L402 macaroon=\""));
        assert!(answer.body.is_empty());
    }
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 0);
}
