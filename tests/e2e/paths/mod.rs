//! Whatever form a path is sent in: what reaches the upstream was priced as the path that the
//! upstream saw. Raw bytes on HTTP/1.1 and HTTP/2, past an Envoy that normalises, one that
//! decodes slashes, and one that does neither.

mod forms;
mod readings;
mod recorder;
mod wire;

use serde_json::{Value, json};
use tollway_testkit::stack::{StackOptions, free_port};

use crate::harness::Gateway;
use forms::{FORMS, OVERRIDES};
use readings::{price_of, readings};
use recorder::{Recorder, Seen};
use wire::{Protocol, Sent};

/// Fewer forms than these that reach the upstream would prove nothing.
const REACHED_MIN: usize = 25;

const MANAGER: &str = "stat_prefix: gateway";
const CLOSE_SOON: &str = "delayed_close_timeout: 0.05s";

/// [`readings::price_of`] says the same in its own words.
fn prices() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [{"name": "demo", "purchase": {"default_sats": 100_000}}],
        "routes": [
            {"name": "joke", "match": {"path": "/api/joke"}, "price_sats": 5},
            {"name": "api", "match": {"path_prefix": "/api"}, "price_sats": 3},
            {"name": "posts", "match": {"path_template": "/users/{id}/posts"}, "price_sats": 11},
            {"name": "free", "match": {"path_prefix": "/free"}, "free": true},
            {"name": "home", "match": {"path": "/"}, "free": true}
        ],
        "unmatched": {"price_sats": 2},
        "tick_ms": 20
    })
}

/// What the three lines of the listener become.
struct Normalisation([&'static str; 3]);

const SHIPPED: Normalisation = Normalisation([
    "normalize_path: true",
    "merge_slashes: true",
    "path_with_escaped_slashes_action: REJECT_REQUEST",
]);
const DECODING: Normalisation = Normalisation([
    "normalize_path: true",
    "merge_slashes: true",
    "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD",
]);
const NONE: Normalisation = Normalisation([
    "normalize_path: false",
    "merge_slashes: false",
    "path_with_escaped_slashes_action: KEEP_UNCHANGED",
]);

#[tokio::test]
async fn what_reaches_the_upstream_was_priced_as_what_it_saw() {
    assert!(FORMS.len() >= 60, "{}", FORMS.len());
    differential(&SHIPPED).await;
}

#[tokio::test]
async fn the_same_where_envoy_decodes_slashes() {
    differential(&DECODING).await;
}

#[tokio::test]
async fn the_same_where_envoy_normalises_nothing() {
    differential(&NONE).await;
}

async fn differential(normalisation: &Normalisation) {
    let recorder = Recorder::start(free_port().unwrap()).await;
    let lines = SHIPPED
        .0
        .iter()
        .zip(normalisation.0)
        .map(|(from, into)| ((*from).to_owned(), into.to_owned()));
    // Else Envoy keeps a connection open for a second that it refuses to hear more from.
    let at_once = (MANAGER.to_owned(), format!("{MANAGER}\n                {CLOSE_SOON}"));
    let gateway = Gateway::with(StackOptions {
        filter: Some(prices()),
        envoy_env: vec![("TOLLWAY_JOKE_PORT".to_owned(), recorder.port().to_string())],
        envoy_lines: lines.chain([at_once]).collect(),
        ..StackOptions::default()
    })
    .await;
    let address = gateway.stack.gateway_url().replace("http://", "");
    let credential = gateway.http.buy("/api/joke").await;
    let mut faults = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let mut reached = 0;
        let plain = FORMS.iter().map(|form| (*form, None));
        let overriding = OVERRIDES.iter().map(|(path, header)| (*path, Some(*header)));
        for (path, header) in plain.chain(overriding) {
            for credential in [None, Some(credential.as_str())] {
                let sent = Sent { path, header, credential };
                let status = wire::send(&address, protocol, &sent).await;
                let seen = recorder.take();
                reached += usize::from(credential.is_some() && !seen.is_empty());
                if let Err(fault) = judge(&sent, status, &seen) {
                    faults.push(format!("{protocol:?} {}: {fault}", path.escape_ascii()));
                }
            }
        }
        assert!(reached >= REACHED_MIN, "{protocol:?}: only {reached} forms got through");
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    gateway.ledger_at_rest().await;
    gateway.audit();
    let log = gateway.stack.log("envoy");
    assert!(!log.contains("panicked"), "{log}");
}

fn judge(sent: &Sent<'_>, status: Option<u16>, seen: &[Seen]) -> Result<(), String> {
    let seen = match (seen, status) {
        ([], Some(200)) => return Err("answered without the upstream".to_owned()),
        ([], _) => return Ok(()),
        ([seen], Some(200)) => seen,
        _ => return Err(format!("reached the upstream as {seen:?}, answered {status:?}")),
    };
    let target = seen.target.escape_ascii();
    let price = price_of(&seen.target);
    let cost = match (seen.header("x-toll-free"), seen.header("x-toll-cost-msat")) {
        (Some("true"), None) => 0,
        (None, Some(cost)) => cost.parse().map_err(|_| format!("cost {cost:?}"))?,
        marks => return Err(format!("upstream saw {target} with {marks:?}")),
    };
    if cost != price {
        return Err(format!("upstream saw {target}, which costs {price}, for {cost} msat"));
    }
    if cost > 0 && sent.credential.is_none() {
        return Err(format!("upstream saw {target} unpaid"));
    }
    // Free must be free by every reading that an upstream might have of these bytes.
    match readings(&seen.target).into_iter().find(|path| price_of(path) > 0) {
        Some(path) if cost == 0 => {
            Err(format!("upstream saw {target} free, and may read {}", path.escape_ascii()))
        }
        _ => Ok(()),
    }
}
