//! `make bench-stream`: what the filter does to a metered stream of events.
//!
//! Two Envoys stand before the same provider, one with the filter and one without, and are asked in
//! turns. What counts is the time until the first byte of the body is here.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::stream;
use reqwest::{Client, Response as Answer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollway_testkit::stack::free_port;

use crate::Result;
use crate::bars::{Bars, rounded};
use crate::envoy::{self, Envoy, Plan};
use crate::filter::{self, TARGET};
use crate::ledger::{Account, Ledger};
use crate::machine;
use crate::report;
use crate::workshop::{SERVER_CORE, Workshop};

/// How long the provider thinks before its first event: less than any model.
const THINKS: Duration = Duration::from_millis(30);
const ROUNDS: usize = 200;
const WARM_UP: usize = 20;
/// Of a short answer.
const EVENTS: usize = 20;
/// Of the long one.
const LONG_BYTES: usize = 100_000_000;
const EVENT_BYTES: usize = 10_000;
const CREDIT_MSAT: u64 = 1_000_000_000_000;
const MODEL: &str = "m";
pub(crate) const BEGIN: &str = "<!-- stream: written by make bench-stream -->\n";
pub(crate) const END: &str = "<!-- /stream -->\n";

/// Measures, judges and writes.
pub(crate) async fn run() -> Result<ExitCode> {
    let workshop = Workshop::open()?;
    let ledger = Ledger::start(&workshop).await?;
    let provider = provider().await?;
    let account = ledger.doors.buy_with(CREDIT_MSAT, 0).await?;
    let envoy = |place, filter| {
        let calls = vec![("tollwayd", ledger.gate_port)];
        let upstream = Some(provider);
        Envoy::start(
            &workshop,
            Plan { place, filter, calls, upstream, workers: 1, cores: SERVER_CORE },
        )
    };
    let mut bare = envoy("bare", None)?;
    let config = filter::streams(MODEL);
    let filter = envoy::wasm_that_reads_bodies(&workshop.parts.wasm, &config);
    let mut metered = envoy("metered", Some(filter))?;
    workshop.ready(&mut bare.process, &format!("{}/ready", bare.url), None, 200, 1).await?;
    workshop.ready(&mut metered.process, &format!("{}/ready", metered.url), None, 200, 1).await?;
    let http = &workshop.http;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        for (envoy, times) in [(&bare, &mut without), (&metered, &mut with)] {
            let time = first_byte(http, envoy, &account).await?;
            if round >= WARM_UP {
                times.push(time);
            }
        }
    }
    let grown = memory_grown(http, &metered, &account).await?;
    let (without, with) = (Times::of(without), Times::of(with));
    let mut bars = Bars::default();
    bars.at_most("stream_first_byte_to_bare", Some(with.p50 / without.p50), 1.10);
    bars.at_most("stream_first_byte_p90_to_bare", Some(with.p90 / without.p90), 1.10);
    bars.at_most("stream_memory_grown", Some(grown), 1.10);
    write(&workshop, &without, &with, &bars)?;
    Ok(ExitCode::from(u8::from(bars.short())))
}

/// Times in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Times {
    p50: f64,
    p90: f64,
}

impl Times {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        let at = |percent: usize| times.get(times.len() * percent / 100).copied();
        Self { p50: at(50).unwrap_or(f64::NAN), p90: at(90).unwrap_or(f64::NAN) }
    }
}

/// An API that thinks, and then answers as a model does; a prompt that is a number gets so many
/// bytes at once.
async fn provider() -> Result<u16> {
    let port = free_port()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let event = json!({"choices": [{"delta": {"content": "x".repeat(40)}}], "usage": null});
    let short = Bytes::from(format!("data: {event}\n\n"));
    let event = json!({"choices": [{"delta": {"content": "x".repeat(EVENT_BYTES)}}]});
    let long = Bytes::from(format!("data: {event}\n\n"));
    let ready = axum::routing::get(|| async { "ready" });
    let app = Router::new().route(TARGET, post(chat)).route("/ready", ready);
    let app = app.with_state((short, long));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(port)
}

async fn chat(State((short, long)): State<(Bytes, Bytes)>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let bytes = asked["messages"].as_u64().and_then(|bytes| usize::try_from(bytes).ok());
    let (event, count) = match bytes {
        Some(bytes) => (long.clone(), bytes.div_ceil(long.len())),
        None => (short, EVENTS),
    };
    if bytes.is_none() {
        tokio::time::sleep(THINKS).await;
    }
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 20});
    let last = format!("data: {}\n\ndata: [DONE]\n\n", json!({"choices": [], "usage": usage}));
    let events = std::iter::repeat_n(event, count).chain([Bytes::from(last)]);
    let body = Body::from_stream(stream::iter(events.map(Ok::<_, std::io::Error>)));
    ([("content-type", "text/event-stream")], body).into_response()
}

async fn ask(http: &Client, envoy: &Envoy, account: &Account, prompt: &Value) -> Result<Answer> {
    let body = json!({"model": MODEL, "max_tokens": 100, "stream": true, "messages": prompt});
    let request = http.post(format!("{}{TARGET}", envoy.url)).json(&body);
    Ok(request.header("authorization", &account.credential).send().await?.error_for_status()?)
}

/// The milliseconds until the first byte of the body is here.
async fn first_byte(http: &Client, envoy: &Envoy, account: &Account) -> Result<f64> {
    let begun = Instant::now();
    let mut answer = ask(http, envoy, account, &json!([])).await?;
    let first = answer.chunk().await?;
    let time = begun.elapsed();
    first.ok_or("expected a body, but found none")?;
    while answer.chunk().await?.is_some() {}
    Ok(time.as_secs_f64() * 1_000.0)
}

/// Envoy's memory at its largest while the long answer passes, to what it was before.
async fn memory_grown(http: &Client, envoy: &Envoy, account: &Account) -> Result<f64> {
    let pid = envoy.process.pid();
    let mut warm = ask(http, envoy, account, &json!(1_000_000)).await?;
    while warm.chunk().await?.is_some() {}
    let before = machine::rss_mb(pid)?;
    let (mut bytes, mut looked, mut most) = (0, 0, before);
    let mut answer = ask(http, envoy, account, &json!(LONG_BYTES)).await?;
    while let Some(part) = answer.chunk().await? {
        bytes += part.len();
        if bytes - looked >= 1_000_000 {
            looked = bytes;
            most = most.max(machine::rss_mb(pid)?);
        }
    }
    if bytes < LONG_BYTES {
        return Err(format!("expected {LONG_BYTES} bytes, but found {bytes}").into());
    }
    Ok(most / before)
}

fn write(workshop: &Workshop, without: &Times, with: &Times, bars: &Bars) -> Result<()> {
    let machine = machine::describe()?;
    let of = |times: &Times| json!({"p50": rounded(times.p50), "p90": rounded(times.p90)});
    let results = json!({
        "machine": machine,
        "settings": {"rounds": ROUNDS, "provider_thinks_ms": THINKS.as_millis() as u64,
                     "long_bytes": LONG_BYTES},
        "first_byte_ms": {"without_filter": of(without), "metered": of(with)},
        "bars": bars.bars(),
    });
    let text = serde_json::to_string_pretty(&results)? + "\n";
    fs::write(workshop.bench("results/stream.json"), text)?;
    let mut section = format!(
        "\n{ROUNDS} requests each, in turns; the provider thinks for {} ms.\n\n\
         | first byte after | p50 ms | p90 ms |\n|---|---|---|\n\
         | no filter | {:.2} | {:.2} |\n| Tollway, metered by tokens | {:.2} | {:.2} |\n",
        THINKS.as_millis(),
        without.p50,
        without.p90,
        with.p50,
        with.p90,
    );
    section.push_str(&report::table(bars)?);
    let readme = workshop.bench("README.md");
    let text = fs::read_to_string(&readme)?;
    fs::write(readme, report::replace_section(&text, (BEGIN, END), &section)?)?;
    Ok(())
}
