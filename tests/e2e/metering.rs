//! Requests whose cost shows with their response, before an API that plays a provider.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use crate::harness::{Answer, Gateway, eventually, repository};
use crate::snippets;

/// An API that answers as providers do. It ends with this value.
struct Provider {
    port: u16,
    seen: Arc<Seen>,
    server: JoinHandle<()>,
}

/// What reached it, and when it may go on.
#[derive(Default)]
struct Seen {
    last: Mutex<Option<(HeaderMap, Bytes)>>,
    go_on: Notify,
}

impl Provider {
    async fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let app = Router::new()
            .route("/v1/render", any(render))
            .route("/v1/download", any(download))
            .route("/v1/feed", any(feed))
            .route("/v1/chat/completions", any(chat))
            .route("/v1/messages", any(messages))
            .with_state(Arc::clone(&seen));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, seen, server }
    }

    /// The body that arrived last, and its headers.
    async fn last(&self) -> (HeaderMap, Value) {
        let (headers, body) = self.seen.last.lock().await.take().unwrap();
        (headers, serde_json::from_slice(&body).unwrap())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(repository("tests/fixtures/llm").join(name)).unwrap()
}

/// What a query says under this name.
fn asked<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
}

async fn render(uri: Uri) -> Response {
    let status = asked(&uri, "status").unwrap().parse().unwrap();
    let mut response = (StatusCode::from_u16(status).unwrap(), "a picture").into_response();
    if let Some(cost) = asked(&uri, "cost") {
        response.headers_mut().insert("x-toll-actual-cost-msat", cost.parse().unwrap());
    }
    response
}

/// So many bytes, piece by piece, in events of a stream.
async fn download(uri: Uri) -> Response {
    events(asked(&uri, "bytes").unwrap().parse().unwrap())
}

/// A stream of events, one for each word of the test.
async fn feed(State(seen): State<Arc<Seen>>, uri: Uri) -> Response {
    let count: usize = asked(&uri, "events").unwrap().parse().unwrap();
    let body = futures_util::stream::unfold(0, move |sent| {
        let seen = Arc::clone(&seen);
        async move {
            if sent == count {
                return None;
            }
            seen.go_on.notified().await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(EVENT)), sent + 1))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

/// An event of a feed: 1,000 bytes, for which the snippet asks 1,000 msat.
const EVENT: &[u8] = &{
    let mut event = [b'x'; 1_000];
    let name = *b"data: ";
    let mut at = 0;
    while at < name.len() {
        event[at] = name[at];
        at += 1;
    }
    event[998] = b'\n';
    event[999] = b'\n';
    event
};

fn events(bytes: usize) -> Response {
    let event = Bytes::from(format!("data: {{\"x\":\"{}\"}}\n\n", "x".repeat(10_000 - 16)));
    assert_eq!(event.len(), 10_000);
    let pieces = (0..bytes / event.len()).map(move |_| Ok::<_, std::io::Error>(event.clone()));
    let body = Body::from_stream(futures_util::stream::iter(pieces));
    ([("content-type", "text/event-stream")], body).into_response()
}

/// A stream whose first event comes at once and the rest when the test says so; or JSON. A
/// prompt that is a number gets so many bytes and no usage.
async fn chat(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    *seen.last.lock().await = Some((headers, body));
    if let Some(bytes) = asked["messages"].as_u64() {
        return events(usize::try_from(bytes).unwrap());
    }
    if asked["stream"] != true {
        return ([("content-type", "application/json")], fixture("openai_chat.json"))
            .into_response();
    }
    let with_usage = asked["stream_options"]["include_usage"] == true;
    let name =
        if with_usage { "openai_chat_stream.sse" } else { "openai_chat_stream_no_usage.sse" };
    let text = String::from_utf8(fixture(name)).unwrap();
    let events: Vec<String> = text.split_inclusive("\n\n").map(str::to_owned).collect();
    let body = futures_util::stream::unfold((events.into_iter(), 0), move |(mut events, sent)| {
        let seen = Arc::clone(&seen);
        async move {
            if sent == 1 {
                seen.go_on.notified().await;
            }
            let event = events.next()?;
            Some((Ok::<_, std::io::Error>(Bytes::from(event)), (events, sent + 1)))
        }
    });
    ([("content-type", "text/event-stream")], Body::from_stream(body)).into_response()
}

async fn messages() -> Response {
    let stream = fixture("anthropic_messages_stream.sse");
    ([("content-type", "text/event-stream")], stream).into_response()
}

/// A client that pays for one request after the other.
struct Buyer<'a> {
    gateway: &'a Gateway,
    credential: String,
}

impl<'a> Buyer<'a> {
    async fn new(gateway: &'a Gateway, method: Method, path: &str, body: &Value) -> Self {
        let challenge = gateway.http.send(gateway.http.request(method, path).json(body)).await;
        assert_eq!(challenge.status, 402, "{challenge:?}");
        Self { gateway, credential: gateway.http.pay(&challenge).await }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.gateway.http.request(method, path).header("authorization", &self.credential)
    }

    /// The answer, and what was charged for it.
    async fn charged(&self, request: RequestBuilder) -> (Answer, u64) {
        let before = self.total().await;
        let answer = self.gateway.http.send(request).await;
        (answer, self.total().await - before)
    }

    async fn total(&self) -> u64 {
        self.gateway.ledger_at_rest().await["charged_msat"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn the_upstream_s_word_is_charged_within_bounds() {
    let provider = Provider::start().await;
    let gateway = snippets::before("meter-header", provider.port).await;
    let path = "/v1/render?status=200";
    let buyer = Buyer::new(&gateway, Method::GET, path, &Value::Null).await;
    for (query, status, charged) in [
        ("status=200&cost=1234", 200, 1_234),
        ("status=200&cost=0", 200, 0),
        ("status=200&cost=9000", 200, 8_000),
        ("status=200&cost=much", 200, 5_000),
        ("status=200", 200, 5_000),
        ("status=404&cost=1234", 404, 0),
        ("status=503&cost=1234", 503, 0),
    ] {
        let request = buyer.request(Method::GET, &format!("/v1/render?{query}"));
        let (answer, cost) = buyer.charged(request).await;
        assert_eq!((answer.status.as_u16(), cost), (status, charged), "{query}");
        assert_eq!(answer.number("x-toll-cost-msat"), charged, "{query}");
        assert_eq!(answer.header("x-toll-actual-cost-msat"), "", "{query}");
    }
    // Its client's limit is the most that it turns out to cost.
    let request = buyer.request(Method::GET, "/v1/render?status=200&cost=7000");
    let (answer, cost) = buyer.charged(request.header("x-toll-max-cost-msat", "6000")).await;
    assert_eq!((cost, answer.number("x-toll-cost-msat")), (6_000, 6_000));
    gateway.audit();
}

#[tokio::test]
async fn a_hundred_million_bytes_are_counted_and_take_no_memory() {
    let provider = Provider::start().await;
    let gateway = snippets::before("meter-passing", provider.port).await;
    let path = "/v1/download?bytes=10000";
    let buyer = Buyer::new(&gateway, Method::GET, path, &Value::Null).await;
    for (bytes, charged) in [(0, 100), (10_000, 115), (2_000_000, 3_100)] {
        let request = buyer.request(Method::GET, &format!("/v1/download?bytes={bytes}"));
        let (answer, cost) = buyer.charged(request).await;
        assert_eq!((answer.body.len(), cost), (bytes, charged));
        assert_eq!(answer.number("x-toll-held-msat"), 2_000);
    }
    let before = rss_kb(&gateway);
    let request = buyer.request(Method::GET, "/v1/download?bytes=100000000");
    let mut response = request.send().await.unwrap();
    let (mut bytes, mut most) = (0, 0);
    while let Some(part) = response.chunk().await.unwrap() {
        bytes += part.len();
        most = most.max(rss_kb(&gateway));
    }
    assert_eq!(bytes, 100_000_000);
    let ratio = most as f64 / before as f64;
    println!("memory at most {ratio:.3} of what it was before 100 MB of stream");
    assert!(ratio < 1.10, "{before} kB before, {most} kB at most");
    gateway.audit();
}

/// What Envoy has in memory.
fn rss_kb(gateway: &Gateway) -> u64 {
    let pid = gateway.stack.envoy_pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn tokens_are_charged_exactly_and_a_stream_is_not_held_back() {
    let provider = Provider::start().await;
    let gateway = snippets::before("llm", provider.port).await;
    let path = "/v1/chat/completions";
    let ask = json!({"model": "gpt-5-mini", "messages": [], "max_tokens": 500});
    let buyer = Buyer::new(&gateway, Method::POST, path, &ask).await;

    let request = buyer.request(Method::POST, path).header("accept-encoding", "gzip").json(&ask);
    let (answer, cost) = buyer.charged(request).await;
    assert_eq!((answer.status.as_u16(), cost), (200, 3_940), "{answer:?}");
    assert_eq!(answer.body, fixture("openai_chat.json"));
    let (headers, seen) = provider.last().await;
    assert_eq!((headers.get("accept-encoding"), seen), (None, ask.clone()));

    // The first event is here before the provider goes on; the usage is not shown.
    let before = buyer.total().await;
    let mut ask = ask;
    ask["stream"] = json!(true);
    let mut response = buyer.request(Method::POST, path).json(&ask).send().await.unwrap();
    let first = response.chunk().await.unwrap().unwrap();
    assert!(first.ends_with(b"\n\n"), "{first:?}");
    provider.seen.go_on.notify_one();
    let mut text = String::from_utf8(first.to_vec()).unwrap();
    while let Some(part) = response.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&part).unwrap());
    }
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("total_tokens"), "{text}");
    assert_eq!(text.matches("data: {\"id\"").count(), 4, "{text}");
    assert_eq!(buyer.total().await - before, 3_940);
    let (_, seen) = provider.last().await;
    assert_eq!(seen["stream_options"]["include_usage"], true);

    // Who leaves after the first event pays what was set aside.
    let before = buyer.total().await;
    let mut response = buyer.request(Method::POST, path).json(&ask).send().await.unwrap();
    let held = response.headers()["x-toll-held-msat"].to_str().unwrap().parse::<u64>().unwrap();
    assert!(response.chunk().await.unwrap().is_some());
    drop(response);
    assert_eq!(buyer.total().await - before, held);
    assert!(held > 500 * 12, "{held}");

    for (body, status) in [
        (json!({"model": "gpt-5", "messages": []}).to_string(), 403),
        ("{\"model\":\"gpt-5-mini\",\"model\":\"gpt-5\"}".to_owned(), 400),
        ("{}".to_owned(), 400),
    ] {
        let answer = gateway.http.send(buyer.request(Method::POST, path).body(body)).await;
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    }
    let ask = json!({"model": "claude-sonnet-4", "max_tokens": 100});
    let (answer, cost) =
        buyer.charged(buyer.request(Method::POST, "/v1/messages").json(&ask)).await;
    assert_eq!(answer.body, fixture("anthropic_messages_stream.sse"));
    assert_eq!(cost, 25 * 2 + 700 / 5 + 12 * 5 / 2 + 15 * 10);
    gateway.audit();
}

#[tokio::test]
async fn a_long_stream_is_scanned_and_takes_no_memory() {
    let provider = Provider::start().await;
    let gateway = snippets::before("llm", provider.port).await;
    let path = "/v1/chat/completions";
    let ask = |bytes: usize| json!({"model": "gpt-5-mini", "messages": bytes, "stream": true});
    let buyer = Buyer::new(&gateway, Method::POST, path, &ask(10_000)).await;
    let (warm, cost) = buyer.charged(buyer.request(Method::POST, path).json(&ask(1_000_000))).await;
    assert_eq!((warm.body.len(), cost), (1_000_000, warm.number("x-toll-held-msat")));
    let before = rss_kb(&gateway);
    let mut response =
        buyer.request(Method::POST, path).json(&ask(100_000_000)).send().await.unwrap();
    let (mut bytes, mut most) = (0, 0);
    while let Some(part) = response.chunk().await.unwrap() {
        bytes += part.len();
        most = most.max(rss_kb(&gateway));
    }
    assert_eq!(bytes, 100_000_000);
    let ratio = most as f64 / before as f64;
    println!("memory at most {ratio:.3} of what it was before 100 MB of events");
    assert!(ratio < 1.10, "{before} kB before, {most} kB at most");
}

#[tokio::test]
async fn a_stream_outlasts_its_hold_many_times_and_is_charged_once_and_exactly() {
    let provider = Provider::start().await;
    let change = |config: &mut Value| config["routes"][0]["hold_ttl_s"] = json!(1);
    let gateway = snippets::with_upstream("stream", provider.port, change).await;
    let path = "/v1/feed?events=8";
    let buyer = Buyer::new(&gateway, Method::GET, path, &Value::Null).await;
    let mut response = buyer.request(Method::GET, path).send().await.unwrap();
    let began = Instant::now();
    let mut bytes = 0;
    for event in 1..=8 {
        // The whole is three times as long as the hold was granted for.
        eventually("more of the time has passed", async || {
            (began.elapsed() > Duration::from_millis(400) * event).then_some(())
        })
        .await;
        provider.seen.go_on.notify_one();
        while bytes < EVENT.len() * usize::try_from(event).unwrap() {
            bytes += response.chunk().await.unwrap().unwrap().len();
        }
    }
    assert_eq!(response.chunk().await.unwrap(), None);
    assert_eq!(buyer.total().await, 8_000);
    gateway.audit();
}

#[tokio::test]
async fn a_stream_whose_credit_is_gone_ends_with_an_event_that_says_so() {
    let provider = Provider::start().await;
    let change = |config: &mut Value| {
        config["services"][0]["purchase"]["default_sats"] = json!(5);
    };
    let gateway = snippets::with_upstream("stream", provider.port, change).await;
    let path = "/v1/feed?events=1000";
    for (http, charged) in [(gateway.http.clone(), 5_000), (gateway.http.http2(), 10_000)] {
        let buyer = Buyer::new(&gateway, Method::GET, path, &Value::Null).await;
        let request = http.request(Method::GET, path).header("authorization", &buyer.credential);
        let mut response = request.send().await.unwrap();
        let mut text = Vec::new();
        // An event at a time, until the gateway has cut the stream off.
        loop {
            provider.seen.go_on.notify_one();
            match response.chunk().await {
                Ok(Some(part)) => text.extend_from_slice(&part),
                Ok(None) => panic!("the provider had more to say"),
                Err(_) => break,
            }
        }
        let text = String::from_utf8(text).unwrap();
        let (paid, last) = text.split_once("event: error\ndata: ").unwrap();
        assert!(paid.len() >= 5_000 && paid.len().is_multiple_of(EVENT.len()), "{}", paid.len());
        let last: Value = serde_json::from_str(last.strip_suffix("\n\n").unwrap()).unwrap();
        assert_eq!(last["error"]["code"], "credit_exhausted");
        assert_eq!(buyer.total().await, charged, "all credit, and no more");
    }
    gateway.audit();
}
