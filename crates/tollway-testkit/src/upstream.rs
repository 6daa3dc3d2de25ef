//! The joke API: what the demo sells, and the upstream that end-to-end tests look into.
//!
//! `/`, `/api/joke`, `/api/time` and `/api/fortune` are the demo; the other routes let a test
//! provoke what upstreams do. It knows nothing of prices: that is the gateway's work.

mod listener;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use listener::{Reset, ResettableListener};

/// The default port of the demo; `TOLLWAY_JOKE_PORT` overrides it.
pub const DEFAULT_PORT: u16 = 8406;

/// How many chunks `/stream` sends, and the pause before each but the first.
const STREAM_CHUNKS: u32 = 5;
const STREAM_PAUSE: Duration = Duration::from_millis(20);

const HOME: &str = include_str!("upstream/home.html");

const JOKES: [&str; 4] = [
    "Why did the satoshi cross the channel? There was liquidity on the other side.",
    "I told my node a joke about routing. It got it on the third attempt.",
    "An invoice walks into a bar. The barman says: you will have to pay before you expire.",
    "There are two hard things in payments: idempotency, and idempotency.",
];

const FORTUNES: [&str; 4] = [
    "A balance kept is a request earned.",
    "The channel you open today carries the coffee of tomorrow.",
    "You will soon find a preimage. Guard it.",
    "Patience: your block is six confirmations away.",
];

/// A running joke API in this process. It stops when this value is dropped.
#[derive(Debug)]
pub struct Upstream {
    addr: SocketAddr,
    hits: Hits,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts to serve on `addr`; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(addr: SocketAddr) -> io::Result<Self> {
        Self::serve(TcpListener::bind(addr).await?)
    }

    /// Starts the service on a socket that listens already.
    ///
    /// # Errors
    /// The socket does not tell its address.
    pub fn serve(listener: TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        let listener = ResettableListener::new(listener);
        let hits = Hits::default();
        let app = router(hits.clone()).into_make_service_with_connect_info::<Reset>();
        let server = tokio::spawn(async move {
            // axum::serve retries what accept reports and never returns an error.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { addr, hits, server })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Which requests reached it.
    #[must_use]
    pub const fn hits(&self) -> &Hits {
        &self.hits
    }

    /// Serves until the process ends.
    pub async fn join(mut self) {
        // The server task ends only by abort or panic; neither leaves anything to do here.
        let _ = (&mut self.server).await;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Counts the requests that arrived, by path. `/hits` itself is not counted.
#[derive(Clone, Debug, Default)]
pub struct Hits(Arc<Mutex<BTreeMap<String, u64>>>);

impl Hits {
    /// How many requests arrived for exactly this path.
    #[must_use]
    pub fn of(&self, path: &str) -> u64 {
        self.lock().get(path).copied().unwrap_or(0)
    }

    /// How many requests arrived.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.lock().values().sum()
    }

    /// The counts of all paths.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    fn count(&self, path: &str) {
        *self.lock().entry(path.to_owned()).or_default() += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        // A count is whole after each step, so a panic elsewhere does not spoil the map.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(hits: Hits) -> Router {
    Router::new()
        .route("/", get(async || Html(HOME)))
        .route("/api/joke", any(async || Json(json!({"joke": pick(&JOKES)}))))
        .route("/api/time", any(time))
        .route("/api/fortune", any(async || Json(json!({"fortune": pick(&FORTUNES)}))))
        .route("/echo", any(echo))
        .route("/v1/{*path}", any(echo))
        .route("/status/{code}", any(status))
        .route("/slow", any(slow))
        .route("/reset", any(reset))
        .route("/stream", any(stream_chunks))
        .layer(middleware::from_fn_with_state(hits.clone(), count))
        .route("/hits", get(async |State(hits): State<Hits>| Json(hits.snapshot())))
        .with_state(hits)
}

async fn count(State(hits): State<Hits>, request: Request, next: Next) -> Response {
    hits.count(request.uri().path());
    next.run(request).await
}

async fn time() -> Json<Value> {
    let now = now_ms();
    Json(json!({"unixSeconds": now / 1000, "unixMilliseconds": now}))
}

/// Method, path with query, headers and body length, as they arrived. A header that came twice
/// shows as a list; bytes that are not UTF-8 show as U+FFFD.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Json<Value> {
    let mut shown: Map<String, Value> = Map::new();
    for name in headers.keys() {
        let mut values = headers
            .get_all(name)
            .iter()
            .map(|value| Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect::<Vec<_>>();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        shown.insert(name.to_string(), value);
    }
    Json(json!({
        "method": method.as_str(),
        "uri": uri.to_string(),
        "headers": shown,
        "body_bytes": body.len(),
    }))
}

async fn status(Path(code): Path<u16>) -> Response {
    match StatusCode::from_u16(code) {
        Ok(status) if !status.is_informational() => {
            (status, Json(json!({"status": code}))).into_response()
        }
        _ => (StatusCode::BAD_REQUEST, "expected a status from 200 to 999").into_response(),
    }
}

/// Answers after `?ms=` milliseconds.
async fn slow(uri: Uri) -> Response {
    let asked = uri.query().and_then(|query| {
        query.split('&').find_map(|pair| pair.strip_prefix("ms=")).and_then(|ms| ms.parse().ok())
    });
    let Some(ms) = asked else {
        return (StatusCode::BAD_REQUEST, "expected ?ms=<milliseconds>").into_response();
    };
    tokio::time::sleep(Duration::from_millis(ms)).await;
    Json(json!({"slept_ms": ms})).into_response()
}

/// Drops the connection without a byte of an answer.
async fn reset(ConnectInfo(reset): ConnectInfo<Reset>) -> StatusCode {
    reset.arm();
    StatusCode::OK
}

/// A few chunks, one after the other, of a length that is not announced.
async fn stream_chunks() -> Response {
    let chunks = stream::unfold(0, async |sent| {
        if sent == STREAM_CHUNKS {
            return None;
        }
        if sent > 0 {
            tokio::time::sleep(STREAM_PAUSE).await;
        }
        let event = Bytes::from(format!("data: {{\"chunk\": {sent}}}\n\n"));
        Some((Ok::<_, io::Error>(event), sent + 1))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(chunks)).into_response()
}

/// One of `texts`, another from call to call.
fn pick(texts: &'static [&'static str]) -> &'static str {
    let turn = usize::try_from(now_ms()).unwrap_or(0);
    texts.iter().cycle().nth(turn % texts.len().max(1)).copied().unwrap_or("")
}

fn now_ms() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the joke API tells the real time")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn started() -> (Upstream, String) {
        let upstream = Upstream::start(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", upstream.addr());
        (upstream, url)
    }

    #[tokio::test]
    async fn sells_jokes_the_time_and_fortunes_and_counts_them() {
        let (upstream, url) = started().await;
        for (path, field) in
            [("/api/joke", "joke"), ("/api/time", "unixSeconds"), ("/api/fortune", "fortune")]
        {
            let body: Value =
                reqwest::get(format!("{url}{path}")).await.unwrap().json().await.unwrap();
            assert!(body.get(field).is_some(), "{path}: {body}");
            assert_eq!(upstream.hits().of(path), 1);
        }
        let home = reqwest::get(&url).await.unwrap().text().await.unwrap();
        assert!(home.contains("/api/joke"), "{home}");
        let hits: BTreeMap<String, u64> =
            reqwest::get(format!("{url}/hits")).await.unwrap().json().await.unwrap();
        assert_eq!(hits, upstream.hits().snapshot());
        assert_eq!(upstream.hits().total(), 4);
    }

    #[tokio::test]
    async fn echo_shows_what_arrived() {
        let (_upstream, url) = started().await;
        let response = reqwest::Client::new()
            .post(format!("{url}/echo?a=1"))
            .header("x-once", "1")
            .header("x-twice", "1")
            .header("x-twice", "2")
            .body("four")
            .send();
        let body: Value = response.await.unwrap().json().await.unwrap();
        assert_eq!(body["uri"], "/echo?a=1");
        assert_eq!(body["headers"]["x-once"], "1");
        assert_eq!(body["headers"]["x-twice"], json!(["1", "2"]));
        assert_eq!(body["body_bytes"], 4);
    }

    #[tokio::test]
    async fn misbehaves_on_request() {
        let (upstream, url) = started().await;
        assert_eq!(reqwest::get(format!("{url}/status/503")).await.unwrap().status(), 503);
        assert_eq!(reqwest::get(format!("{url}/slow?ms=1")).await.unwrap().status(), 200);
        assert_eq!(reqwest::get(format!("{url}/slow")).await.unwrap().status(), 400);
        assert!(reqwest::get(format!("{url}/reset")).await.is_err());
        assert_eq!(upstream.hits().of("/reset"), 1);
        let streamed = reqwest::get(format!("{url}/stream")).await.unwrap();
        assert_eq!(streamed.content_length(), None);
        assert_eq!(streamed.text().await.unwrap().matches("data:").count(), 5);
    }
}
