//! Credentials that must not open the gate, each on the wire of a real request.

use reqwest::Method;

use crate::harness::{Answer, Gateway};

/// The parts of `L402 <macaroon>:<preimage>`.
fn parts(credential: &str) -> (&str, &str) {
    credential.strip_prefix("L402 ").unwrap().split_once(':').unwrap()
}

async fn refused(gateway: &Gateway, credential: &str, code: &str) -> Answer {
    let answer = gateway.http.get("/api/joke", Some(credential)).await;
    assert_eq!(answer.status, 402, "{code}: {answer:?}");
    assert_eq!(answer.code(), code);
    assert!(answer.header("www-authenticate").starts_with("L402 macaroon=\""), "{code}");
    let (_, preimage) = credential.rsplit_once(':').unwrap_or_default();
    let body = String::from_utf8(answer.body.clone()).unwrap();
    assert!(preimage.is_empty() || !body.contains(preimage), "{code}: echoes the credential");
    answer
}

#[tokio::test]
async fn bad_credentials_get_a_fresh_challenge_and_never_reach_the_upstream() {
    let gateway = Gateway::start().await;
    let good = gateway.http.buy("/api/joke").await;
    let other = gateway.http.buy("/api/joke").await;
    let (macaroon, preimage) = parts(&good);
    let (_, other_preimage) = parts(&other);

    refused(&gateway, &format!("L402 {macaroon}:{other_preimage}"), "preimage_mismatch").await;
    refused(&gateway, &format!("L402 {macaroon}:"), "preimage_missing").await;
    let swap = if &macaroon[120..121] == "A" { "B" } else { "A" };
    let tampered = format!("{}{swap}{}", &macaroon[..120], &macaroon[121..]);
    refused(&gateway, &format!("L402 {tampered}:{preimage}"), "signature_invalid").await;
    refused(&gateway, "L402 not-a-token", "credential_malformed").await;
    refused(&gateway, &format!("{good}, {other}"), "credentials_conflict").await;

    // Bought for another service.
    let fortune = gateway.http.buy("/api/fortune").await;
    refused(&gateway, &fortune, "wrong_service").await;

    // Two Authorization lines, in both orders.
    for (first, second) in [(&good, &other), (&other, &good)] {
        let request = gateway
            .http
            .request(Method::GET, "/api/joke")
            .header("authorization", first)
            .header("authorization", second);
        let answer = gateway.http.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (402, "credentials_conflict".into()));
    }
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 0);
    assert_eq!(gateway.decided("invalid").await, 8);

    // All that did the good one no harm.
    assert_eq!(gateway.http.get("/api/joke", Some(&good)).await.status, 200);
}

#[tokio::test]
async fn a_token_of_a_foreign_gateway_is_refused() {
    let (here, there) = (Gateway::start().await, Gateway::start().await);
    let foreign = there.http.buy("/api/joke").await;
    refused(&here, &foreign, "signature_invalid").await;
    assert_eq!(here.stack.upstream().hits().of("/api/joke"), 0);
    assert_eq!(there.http.get("/api/joke", Some(&foreign)).await.status, 200);
}

#[tokio::test]
async fn a_bad_credential_is_401_where_the_operator_says_so_and_none_is_402() {
    let mut config = crate::harness::config();
    config["reject_status"] = serde_json::json!(401);
    let gateway = Gateway::with(tollway_testkit::stack::StackOptions {
        filter: Some(config),
        ..Default::default()
    })
    .await;
    for (credential, status) in [(None, 402), (Some("L402 not-a-token"), 401)] {
        let answer = gateway.http.get("/api/joke", credential).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["status"]), (status, &status.into()));
        assert!(answer.header("www-authenticate").starts_with("L402 macaroon=\""), "{answer:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let mut config = crate::harness::config();
    config["services"][0]["credential_ttl_s"] = serde_json::json!(1);
    let gateway = Gateway::with(tollway_testkit::stack::StackOptions {
        filter: Some(config),
        ..Default::default()
    })
    .await;
    let credential = gateway.http.buy("/api/joke").await;
    crate::harness::eventually("the token has expired", async || {
        let answer = gateway.http.get("/api/joke", Some(&credential)).await;
        (answer.status == 402 && answer.code() == "credential_expired").then_some(())
    })
    .await;
    refused(&gateway, &credential, "credential_expired").await;
}

#[tokio::test]
async fn every_form_that_clients_send_is_one_credential() {
    let gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let (macaroon, preimage) = parts(&credential);
    let url_safe = macaroon.replace('+', "-").replace('/', "_");
    let unpadded = url_safe.trim_end_matches('=');
    let upper = preimage.to_uppercase();
    let forms = [
        format!("L402 {macaroon}:{preimage}"),
        format!("LSAT {macaroon}:{preimage}"),
        format!("l402  {unpadded}:{upper}"),
        format!("LSAT {macaroon}:{preimage}, L402 {macaroon}:{preimage}"),
        format!(r#"L402 macaroon="{macaroon}", preimage="{preimage}""#),
    ];
    for (n, form) in (1..).zip(&forms) {
        let answer = gateway.http.get("/echo", Some(form)).await;
        assert_eq!(answer.status, 200, "{form}: {answer:?}");
        assert_eq!(answer.number("x-toll-balance-msat"), 20_000 - n * 1_000, "{form}");
    }

    // As Aperture's clients send it: hex, with the preimage as a caveat of the client's own.
    let token = tollway_core::macaroon::Macaroon::from_base64(macaroon.as_bytes()).unwrap();
    let paid = token.attenuate(format!("preimage={preimage}").as_bytes()).encode();
    let hex: String = paid.iter().map(|byte| format!("{byte:02x}")).collect();
    for name in ["macaroon", "grpc-metadata-macaroon"] {
        let request = gateway.http.request(Method::GET, "/echo").header(name, &hex);
        let answer = gateway.http.send(request).await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.json()["headers"].get(name).is_none());
    }
    gateway.ledger_at_rest().await;
    gateway.audit();
}
