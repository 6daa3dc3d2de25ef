//! The same traffic twice: once enforced, once in shadow. What the second run says would have
//! been is what was in the first, and nothing was paid.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use tollway_testkit::stack::StackOptions;

use crate::harness::{Gateway, config, eventually};

const DECISIONS: [&str; 10] = [
    "ok",
    "challenged",
    "denied",
    "free",
    "error",
    "failure_mode_allowed",
    "replayed",
    "invalid",
    "limited",
    "abandoned",
];

/// The scenarios' shop, with a till that always asks for money: in shadow nobody else would.
fn shop(shadow: bool) -> Value {
    let mut config = config();
    let till = json!({"name": "till", "service": "demo", "match": {"path": "/till"},
                      "price_sats": 1, "shadow": false});
    config["routes"].as_array_mut().unwrap().push(till);
    config["routes"][2]["free_tier"] = json!({"requests": 2});
    config["shadow"] = json!(shadow);
    config
}

/// What a run told of its traffic.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    decisions: BTreeMap<&'static str, u64>,
    /// Route, decision and cost of every request, in order.
    log: Vec<[String; 3]>,
    ok_msat: u64,
    challenged_msat: u64,
}

async fn counters(gateway: &Gateway, name: &str) -> BTreeMap<&'static str, u64> {
    let stats = gateway.stack.envoy_stats().await.unwrap();
    let of = |decision: &str| format!("wasmcustom.tollway_{name}.decision={decision}");
    let counts = DECISIONS.map(|one| (one, stats.get(&of(one)).copied().unwrap_or(0)));
    counts.into()
}

/// The value of a field in the filter's line of the log.
fn field(line: &str, name: &str) -> String {
    let start = format!("{name}=");
    let found = line.split(' ').find_map(|part| part.strip_prefix(start.as_str()));
    found.unwrap_or_default().to_owned()
}

/// The traffic; what its answers say of money in an enforced run: (charged, asked for).
async fn traffic(gateway: &Gateway, credential: &str) -> (usize, u64, u64) {
    let plan: [(&str, &str, Option<&str>); 15] = [
        ("GET", "/api/joke", None),
        ("HEAD", "/api/joke", None),
        ("GET", "/", None),
        ("GET", "/slow?ms=1", None),
        ("GET", "/slow?ms=1", None),
        ("GET", "/slow?ms=1", None),
        ("GET", "/nothing", None),
        ("GET", "/echo", Some("L402 AAAA:BBBB")),
        ("GET", "/api/fortune", Some(credential)),
        ("GET", "/echo", Some(credential)),
        ("GET", "/api/joke", Some(credential)),
        ("GET", "/status/500", Some(credential)),
        ("GET", "/status/404", Some(credential)),
        ("GET", "/stream", Some(credential)),
        ("HEAD", "/echo", Some(credential)),
    ];
    let (mut charged, mut asked) = (0, 0);
    for (method, path, credential) in plan {
        let mut request =
            gateway.http.request(Method::from_bytes(method.as_bytes()).unwrap(), path);
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        let answer = gateway.http.send(request).await;
        if answer.status == 402 && method == "HEAD" {
            asked += answer.number("x-toll-price-msat");
        } else if answer.status == 402 {
            asked += answer.json()["priceMsat"].as_u64().unwrap();
        } else if answer.headers.contains_key("x-toll-cost-msat") {
            charged += answer.number("x-toll-cost-msat");
        }
    }
    (plan.len(), charged, asked)
}

async fn run(shadow: bool) -> (Gateway, Told, String) {
    let gateway = Gateway::with(StackOptions {
        filter: Some(shop(shadow)),
        ready_path: Some("/till".to_owned()),
        ..StackOptions::default()
    })
    .await;
    let credential = gateway.http.buy("/till").await;
    let counter = if shadow { "shadow" } else { "requests" };
    let before = counters(&gateway, counter).await;
    let (sent, charged, asked) = traffic(&gateway, &credential).await;
    let (decision, cost) =
        if shadow { ("shadow", "shadow_cost_msat") } else { ("decision", "cost_msat") };
    let lines = eventually("every request is in the access log", async || {
        let log = gateway.stack.log("envoy.out");
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<String> = lines
            .filter(|line| line["path"] != "/till")
            .map(|line| line["tollway"].as_str().unwrap_or_default().to_owned())
            .collect();
        (lines.len() == sent).then_some(lines)
    })
    .await;
    let mut decisions = counters(&gateway, counter).await;
    for (decision, count) in &mut decisions {
        *count -= before[decision];
    }
    let log = lines.iter().map(|line| {
        let decision = field(line, decision);
        // The price that a 402 asks stands in the 402, where there is one.
        let cost = if decision == "ok" { field(line, cost) } else { String::new() };
        [field(line, "route"), decision, cost]
    });
    let log = log.collect();
    let sums = counters(&gateway, "shadow_msat").await;
    let (ok_msat, challenged_msat) =
        if shadow { (sums["ok"], sums["challenged"]) } else { (charged, asked) };
    if shadow {
        assert_eq!((charged, asked), (0, 0), "no client is told of money");
    }
    (gateway, Told { decisions, log, ok_msat, challenged_msat }, credential)
}

#[tokio::test]
async fn shadow_says_what_an_enforced_run_of_the_same_traffic_does() {
    let (enforced, was, _) = run(false).await;
    assert!(was.decisions["ok"] >= 5 && was.decisions["challenged"] >= 4, "{was:?}");
    assert!(was.decisions["invalid"] >= 2 && was.decisions["denied"] == 1, "{was:?}");
    assert!(was.decisions["free"] >= 3, "two of the free tier, and the home page: {was:?}");
    drop(enforced);

    let (shadow, would_be, credential) = run(true).await;
    assert_eq!(would_be, was);
    let hits = shadow.stack.upstream().hits();
    assert_eq!(hits.total(), u64::try_from(was.log.len()).unwrap(), "everything passed");
    let stats = shadow.ledger_at_rest().await;
    assert_eq!(stats["totalRevenueMsat"], 0, "{stats}");
    assert_eq!(stats["totalPaid"], 0, "{stats}");
    // What the till sold is all there.
    let till = shadow.http.get("/till", Some(&credential)).await;
    assert_eq!(till.number("x-toll-balance-msat"), 19_000);
    shadow.ledger_at_rest().await;
    shadow.audit();
}

#[tokio::test]
async fn a_route_in_shadow_serves_and_one_beside_it_charges() {
    let gateway = crate::snippets::gateway("shadow").await;
    assert_eq!(gateway.http.get("/echo", None).await.status, 200);
    eventually("there are keys, and money is asked for", async || {
        let status = gateway.http.get("/api/time", None).await.status.as_u16();
        assert!(matches!(status, 402 | 503), "{status}");
        (status == 402).then_some(())
    })
    .await;
    assert_eq!(gateway.stack.upstream().hits().of("/api/time"), 0);
}
