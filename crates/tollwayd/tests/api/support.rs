//! A server in this process, and the calls that the filter makes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::{PaymentHash, Preimage};
use tollway_core::wire::{
    ChallengeReply, HoldReply, HoldRequest, Overrun, Posting, PostingBatch, PostingOutcome,
    PostingReply, Problem,
};
use tollwayd::clock::ManualClock;
use tollwayd::config::{Config, RawConfig};
use tollwayd::{App, RunningServer};

pub(crate) const GATE_TOKEN: &str = "canary-gate-token-4f1d";
pub(crate) const ADMIN_TOKEN: &str = "canary-admin-token-93ab";
pub(crate) const PRICE_SECRET: &str = "canary-price-secret-77aa";
pub(crate) const START_MS: u64 = 1_700_000_000_000;
pub(crate) const TTL_MS: u64 = 30_000;

/// A server on free ports and a store of its own, with a clock that tests move.
pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) doors: Doors,
    running: RunningServer,
}

/// What is left of a server.
pub(crate) struct Stopped {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
}

/// The doors of a server, wherever it runs.
#[derive(Clone)]
pub(crate) struct Doors {
    pub(crate) gate: String,
    pub(crate) admin: String,
    pub(crate) client: Client,
}

pub(crate) fn config(directory: &std::path::Path) -> Config {
    config_with(directory, "")
}

/// The shipped configuration with these lines behind it.
pub(crate) fn config_with(directory: &std::path::Path, lines: &str) -> Config {
    let env = |name: &str| match name {
        "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
        "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
        "TOLLWAY_PRICE_SECRET" => Some(PRICE_SECRET.to_owned()),
        "TOLLWAYD_LISTEN" | "TOLLWAYD_ADMIN_LISTEN" => Some("127.0.0.1:0".to_owned()),
        "TOLLWAYD_STORE" => Some(directory.join("tollwayd.db").display().to_string()),
        _ => None,
    };
    let shipped = include_str!("../../../../envoy/tollwayd.toml");
    RawConfig::parse(&format!("{shipped}\n{lines}")).unwrap().resolve(&env).unwrap()
}

impl Server {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self::start_in(directory, Arc::new(ManualClock::new(START_MS))).await
    }

    pub(crate) async fn restart(self) -> Self {
        let Self { directory, clock, running, .. } = self;
        running.shutdown().await.unwrap();
        Self::start_in(directory, clock).await
    }

    async fn start_in(directory: tempfile::TempDir, clock: Arc<ManualClock>) -> Self {
        let config = config(directory.path());
        Self::start_with(directory, clock, config).await
    }

    pub(crate) async fn start_with(
        directory: tempfile::TempDir,
        clock: Arc<ManualClock>,
        config: Config,
    ) -> Self {
        let running = App::start(config, clock.clone()).await.unwrap();
        let doors = Doors::new(
            &running.gate_addr().to_string(),
            &running.admin_addr().to_string(),
            Client::new(),
        );
        Self { directory, clock, doors, running }
    }

    /// Two servers with the same past, one on a copy of the other's store. Their node is the
    /// same, so what is paid at one is proven at both, and an event at one is unknown to the
    /// other.
    pub(crate) async fn twins(self) -> (Self, Self) {
        let Self { directory, clock, running, .. } = self;
        running.shutdown().await.unwrap();
        let copy = tempfile::tempdir().unwrap();
        let name = "tollwayd.db";
        std::fs::copy(directory.path().join(name), copy.path().join(name)).unwrap();
        let original = Self::start_in(directory, Arc::clone(&clock)).await;
        (original, Self::start_in(copy, clock).await)
    }

    pub(crate) async fn shutdown(self) {
        self.stop().await;
    }

    /// Stops it, and keeps what outlives it.
    pub(crate) async fn stop(self) -> Stopped {
        let Self { directory, clock, running, .. } = self;
        running.shutdown().await.unwrap();
        Stopped { directory, clock }
    }
}

impl std::ops::Deref for Server {
    type Target = Doors;

    fn deref(&self) -> &Doors {
        &self.doors
    }
}

/// An invoice that waits for its payment.
pub(crate) struct Invoice {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) invoice: String,
    pub(crate) amount_msat: Msat,
    pub(crate) expires_at: u64,
}

/// An invoice and the proof that it was paid.
#[derive(Clone)]
pub(crate) struct Paid {
    pub(crate) hash: PaymentHash,
    pub(crate) preimage: Preimage,
}

impl Doors {
    pub(crate) fn new(gate_addr: &str, admin_addr: &str, client: Client) -> Self {
        Self { gate: format!("http://{gate_addr}"), admin: format!("http://{admin_addr}"), client }
    }

    /// A call to the gate's listener with its token.
    pub(crate) fn call(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.gate)).bearer_auth(GATE_TOKEN)
    }

    /// A call to the operator's listener with its token.
    pub(crate) fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.admin)).bearer_auth(ADMIN_TOKEN)
    }

    pub(crate) async fn challenge(&self, body: Value) -> Response {
        self.call(Method::POST, "/v1/challenges").json(&body).send().await.unwrap()
    }

    pub(crate) async fn invoice(&self, amount: u64, top_up: Option<PaymentHash>) -> Invoice {
        let mut body = challenge(amount, "jokes");
        if let Some(hash) = top_up {
            body["top_up"] = json!(hash);
        }
        invoice(self.challenge(body).await).await
    }

    pub(crate) async fn pay(&self, invoice: &str) -> Response {
        let url = format!("{}/sim/v1/pay", self.admin);
        self.client.post(url).json(&json!({"invoice": invoice})).send().await.unwrap()
    }

    pub(crate) async fn paid(&self, amount: u64) -> Paid {
        let invoice = self.invoice(amount, None).await;
        self.paid_invoice(&invoice).await
    }

    pub(crate) async fn paid_invoice(&self, invoice: &Invoice) -> Paid {
        let reply: Value = expect(self.pay(&invoice.invoice).await, StatusCode::OK).await;
        let preimage = Preimage::from_hex(reply["preimage"].as_str().unwrap().as_bytes()).unwrap();
        assert!(preimage.proves(&invoice.payment_hash));
        Paid { hash: invoice.payment_hash, preimage }
    }

    pub(crate) async fn put_hold(&self, id: HoldId, request: &HoldRequest) -> Response {
        self.call(Method::PUT, &format!("/v1/holds/{id}")).json(request).send().await.unwrap()
    }

    pub(crate) async fn hold(&self, id: HoldId, paid: &Paid, amount: u64) -> HoldReply {
        expect(self.put_hold(id, &hold_request(paid, amount)).await, StatusCode::OK).await
    }

    /// Asks for several holds at once.
    pub(crate) async fn post_hold_lines(&self, lines: &str) -> Response {
        self.call(Method::POST, "/v1/holds").body(lines.to_owned()).send().await.unwrap()
    }

    /// The answer to each line: its status and its body.
    pub(crate) async fn hold_lines(&self, lines: &str) -> Vec<Value> {
        self.lines("/v1/holds", lines).await
    }

    /// The same at another door that takes lines.
    pub(crate) async fn lines(&self, path: &str, lines: &str) -> Vec<Value> {
        let call = self.call(Method::POST, path).body(lines.to_owned());
        let reply = call.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK);
        let text = reply.text().await.unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn post(&self, postings: Vec<Posting>) -> Vec<PostingOutcome> {
        let call = self.call(Method::POST, "/v1/postings").json(&PostingBatch { postings });
        let reply: PostingReply = expect(call.send().await.unwrap(), StatusCode::OK).await;
        reply.outcomes.into_iter().map(|result| result.outcome).collect()
    }

    pub(crate) async fn account(&self, hash: PaymentHash) -> Value {
        let call = self.admin(Method::GET, &format!("/admin/v1/accounts/{hash}"));
        expect(call.send().await.unwrap(), StatusCode::OK).await
    }

    pub(crate) async fn stats(&self) -> Value {
        let call = self.admin(Method::GET, "/admin/v1/stats");
        expect(call.send().await.unwrap(), StatusCode::OK).await
    }

    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.admin);
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }
}

/// The body of an answer that has this status.
pub(crate) async fn expect<T: DeserializeOwned>(response: Response, status: StatusCode) -> T {
    let found = response.status();
    let body = response.text().await.unwrap();
    assert_eq!(found, status, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// The problem of an answer, checked for its form.
pub(crate) async fn problem(response: Response) -> Problem {
    let status = response.status();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "application/problem+json", "{status}");
    assert!(response.headers().contains_key("x-request-id"));
    let problem: Problem = expect(response, status).await;
    assert_eq!(problem.status, status.as_u16());
    problem
}

/// The body of a call for an invoice of a new account.
/// Looks again and again for what comes soon, for up to a minute.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..6_000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}")
}

pub(crate) fn challenge(amount: u64, memo: &str) -> Value {
    json!({"route": "joke", "service": "demo", "amount_msat": amount, "credit_msat": amount,
           "memo": memo})
}

/// The invoice of an answer.
pub(crate) async fn invoice(response: Response) -> Invoice {
    match expect(response, StatusCode::OK).await {
        ChallengeReply::Invoice { payment_hash, invoice, amount_msat, expires_at, .. } => {
            Invoice { payment_hash, invoice, amount_msat, expires_at }
        }
        reply @ (ChallengeReply::Limited { .. } | ChallengeReply::Refused { .. }) => {
            panic!("expected an invoice, but found {reply:?}")
        }
    }
}

/// Ids as the filter mints them, without two alike.
pub(crate) fn new_id() -> HoldId {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 10];
    random[2..10].copy_from_slice(&number.to_be_bytes());
    HoldId::mint(START_MS + number, random)
}

pub(crate) fn hold_request(paid: &Paid, amount: u64) -> HoldRequest {
    HoldRequest {
        payment_hash: paid.hash,
        preimage: Some(paid.preimage.clone()),
        hash_alone: false,
        amount_msat: Msat::new(amount).unwrap(),
        min_msat: None,
        ttl_ms: TTL_MS,
        route: "joke".to_owned(),
        idempotency: None,
        take_back: None,
        budgets: Vec::new(),
        import_msat: None,
        tier: None,
    }
}

pub(crate) fn posting(hold: HoldId, seq: u32, amount: u64, release: bool) -> Posting {
    let amount_msat = Msat::new(amount).unwrap();
    Posting {
        requests: 1,
        hold,
        seq,
        amount_msat,
        route: "joke".to_owned(),
        release,
        overrun: Overrun::Cap,
        store: None,
    }
}

/// A JSON body from anything that serialises.
pub(crate) fn value(body: impl Serialize) -> Value {
    serde_json::to_value(body).unwrap()
}
