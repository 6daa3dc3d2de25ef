//! What an operator sees: metrics, access log, banner; and what nobody may see: secrets.

use reqwest::Method;

use crate::harness::{Gateway, eventually};

#[tokio::test]
async fn metrics_and_access_log_tell_what_was_decided() {
    let gateway = Gateway::start().await;
    let before = gateway.decided("challenged").await;
    // While Envoy started, a worker may have been asked before it had its keys.
    let errors = gateway.decided("error").await;
    let credential = gateway.http.buy("/api/joke").await;
    gateway.http.get("/api/joke", Some(&credential)).await;
    gateway.http.get("/", None).await;
    gateway.http.get("/nowhere", None).await;
    gateway.http.get("/api/joke", Some("L402 x:y")).await;
    assert_eq!(gateway.decided("challenged").await, before + 2);
    eventually("the paid request is counted, with the next tick", async || {
        (gateway.decided("ok").await == 1).then_some(())
    })
    .await;
    for (decision, count) in [("free", 1), ("denied", 1), ("invalid", 1), ("error", errors)] {
        assert_eq!(gateway.decided(decision).await, count, "{decision}");
    }

    let url = format!("{}/stats/prometheus", gateway.stack.envoy_admin_url());
    for line in [
        "tollway_requests{decision=\"ok\"} 1",
        "tollway_requests{decision=\"free\"} 1",
        // Envoy shows a histogram only after its next flush.
        "tollway_call_ms_count{kind=\"hold\"} 1",
    ] {
        eventually(line, async || {
            let text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            text.lines().any(|found| found == line).then_some(())
        })
        .await;
    }

    let line = eventually("the paid request is in the access log", async || {
        let log = gateway.stack.log("envoy.out");
        log.lines().find(|line| line.contains(" decision=ok ")).map(str::to_owned)
    })
    .await;
    let fields: serde_json::Value = serde_json::from_str(&line).unwrap();
    let noted = fields["tollway"].as_str().unwrap();
    let (start, end) = ("route=joke account=", " decision=ok cost_msat=5000");
    let account = noted.strip_prefix(start).and_then(|rest| rest.strip_suffix(end));
    assert_eq!(account.unwrap_or_else(|| panic!("{noted}")).len(), 64);
    assert!(gateway.stack.log("envoy.out").contains("reason=credential_malformed"));

    let banner = concat!("tollway ", env!("CARGO_PKG_VERSION"), " starts");
    assert!(gateway.stack.log("envoy").contains(banner));
}

#[tokio::test]
async fn no_secret_reaches_a_log_or_the_configuration_dump() {
    let mut gateway = Gateway::start().await;
    let credential = gateway.http.buy("/echo").await;
    let answer = gateway.http.get("/echo", Some(&credential)).await;
    let seen = String::from_utf8(answer.body).unwrap();
    gateway.http.get("/echo", Some(&credential.replace("L402 ", "L402 x"))).await;
    gateway.http.send(gateway.http.request(Method::POST, "/status/500")).await;
    gateway.ledger_at_rest().await;
    gateway.stack.kill_tollwayd();
    gateway.http.get("/echo", Some(&credential)).await;
    gateway.stack.start_tollwayd().await.unwrap();

    let url = format!("{}/config_dump", gateway.stack.envoy_admin_url());
    let dump = reqwest::get(url).await.unwrap().text().await.unwrap();
    let (macaroon, preimage) = credential.strip_prefix("L402 ").unwrap().split_once(':').unwrap();
    let secrets = [
        ("preimage", preimage),
        ("macaroon", macaroon),
        ("gate token", gateway.stack.gate_token()),
        ("admin token", gateway.stack.admin_token()),
    ];
    let mut sinks = vec![("config dump", dump), ("the upstream", seen)];
    for name in ["envoy", "envoy.out", "tollwayd", "tollwayd.out"] {
        sinks.push((name, gateway.stack.log(name)));
    }
    for (sink, text) in &sinks {
        for (secret, value) in secrets {
            assert!(!text.contains(value), "{secret} in {sink}");
        }
    }
    assert!(sinks.iter().any(|(_, text)| text.len() > 500), "there was something to look at");
}
