//! What every scenario needs: a stack of its own, a wallet, and patience for conditions.

use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tollway_testkit::stack::{Parts, Stack, StackOptions};

/// How long a condition may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the filter waits for tollwayd where a test is not about that: on a busy machine, or
/// beside a slow disk, the usual time is too short.
const PATIENT_MS: u64 = 30_000;

/// The filter's configuration of most scenarios: every route of the upstream has a price.
pub(crate) fn config() -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "timeout_ms": PATIENT_MS,
                     "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": [
            {"name": "demo", "purchase": {"default_sats": 20}},
            {"name": "other"}
        ],
        "routes": [
            {"name": "joke", "service": "demo", "match": {"path": "/api/joke"}, "price_sats": 5},
            {"name": "echo", "service": "demo", "match": {"path": "/echo"}, "price_sats": 1},
            {"name": "slow", "service": "demo", "match": {"path": "/slow"}, "price_sats": 1},
            {"name": "reset", "service": "demo", "match": {"path": "/reset"}, "price_sats": 1},
            {"name": "stream", "service": "demo", "match": {"path": "/stream"}, "price_sats": 1},
            {"name": "status", "service": "demo",
             "match": {"path_template": "/status/{code}"}, "price_sats": 1},
            {"name": "fortune", "service": "other", "match": {"path": "/api/fortune"},
             "price_sats": 10},
            {"name": "home", "service": "demo", "match": {"path": "/"}, "free": true}
        ],
        "unmatched": "deny",
        "tick_ms": 20,
        "keyring_refresh_s": 1
    })
}

/// A stack with a client and a wallet beside it.
pub(crate) struct Gateway {
    pub(crate) stack: Stack,
    pub(crate) http: Http,
}

/// The client's side: cheap to clone, so that many tasks can use it.
#[derive(Clone)]
pub(crate) struct Http {
    client: Client,
    gateway: String,
    admin: String,
    admin_token: String,
}

/// An answer of the gateway.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        let text = self.header(name);
        text.parse().unwrap_or_else(|_| panic!("header {name}: {text:?} in {self:?}"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Gateway {
    /// A stack of two workers with the scenarios' configuration.
    pub(crate) async fn start() -> Self {
        Self::with(StackOptions { filter: Some(config()), ..StackOptions::default() }).await
    }

    pub(crate) async fn with(options: StackOptions) -> Self {
        let stack = Stack::start(options).await.unwrap_or_else(|error| panic!("{error}"));
        let http = Http {
            client: client(),
            gateway: stack.gateway_url(),
            admin: stack.admin_url(),
            admin_token: stack.admin_token().to_owned(),
        };
        Self { stack, http }
    }

    /// How often the filter counted this decision since Envoy started.
    pub(crate) async fn decided(&self, decision: &str) -> u64 {
        let name = format!("wasmcustom.tollway_requests.decision={decision}");
        self.stack.envoy_stat(&name).await.unwrap()
    }

    /// Waits until nothing is held any more, and returns the ledger's sums.
    pub(crate) async fn ledger_at_rest(&self) -> Value {
        eventually("no hold is open and no posting is on its way", async || {
            let stats = self.http.stats().await;
            (stats["holds_open"] == 0).then_some(stats)
        })
        .await
    }

    /// Has `tollwayd audit` recompute the books; panics on any difference.
    pub(crate) fn audit(&self) -> Value {
        let parts = Parts::locate().unwrap();
        let output = Command::new(&parts.tollwayd)
            .args(["audit", "--json", "--config"])
            .arg(self.stack.tollwayd_config().unwrap())
            .envs(self.stack.store_env())
            .env("TOLLWAY_GATE_TOKEN", self.stack.gate_token())
            .env("TOLLWAY_ADMIN_TOKEN", self.stack.admin_token())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "audit: {text} {stderr}");
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("audit: {text}"))
    }
}

impl Http {
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.gateway))
    }

    /// The same client speaking HTTP/2 from the first byte.
    pub(crate) fn http2(&self) -> Self {
        let client = Client::builder().http2_prior_knowledge().no_proxy().build().unwrap();
        Self { client, ..self.clone() }
    }

    /// The same client on connections of its own.
    pub(crate) fn fresh(&self) -> Self {
        Self { client: client(), ..self.clone() }
    }

    pub(crate) async fn get(&self, path: &str, credential: Option<&str>) -> Answer {
        let mut request = self.request(Method::GET, path);
        if let Some(credential) = credential {
            request = request.header("authorization", credential);
        }
        self.send(request).await
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap_or_else(|error| panic!("{error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map(|body| body.to_vec()).unwrap_or_default();
        Answer { status, headers, body }
    }

    /// The status of a request whose gateway may die; `None` where there was no whole answer.
    pub(crate) async fn try_get(&self, path: &str, credential: &str) -> Option<u16> {
        let request = self.request(Method::GET, path).header("authorization", credential);
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        response.bytes().await.is_ok().then_some(status)
    }

    /// Pays the challenge of an unpaid request and returns the credential.
    pub(crate) async fn buy(&self, path: &str) -> String {
        let challenge = self.get(path, None).await;
        assert_eq!(challenge.status, 402, "{challenge:?}");
        self.pay(&challenge).await
    }

    /// Pays a challenge and returns the credential.
    pub(crate) async fn pay(&self, challenge: &Answer) -> String {
        let body = challenge.json();
        let preimage = self.preimage(body["invoice"].as_str().unwrap()).await;
        format!("L402 {}:{preimage}", body["macaroon"].as_str().unwrap())
    }

    /// Pays an invoice at the simulated node.
    pub(crate) async fn preimage(&self, invoice: &str) -> String {
        let answer = self.send(self.wallet().json(&json!({"invoice": invoice}))).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["preimage"].as_str().unwrap().to_owned()
    }

    /// A call to the simulated wallet, without its body.
    pub(crate) fn wallet(&self) -> RequestBuilder {
        self.client.post(format!("{}/sim/v1/pay", self.admin))
    }

    pub(crate) async fn stats(&self) -> Value {
        self.admin("stats").await
    }

    /// tollwayd's own metrics.
    pub(crate) async fn metrics(&self) -> String {
        let answer = self.send(self.client.get(format!("{}/metrics", self.admin))).await;
        String::from_utf8(answer.body).unwrap()
    }

    /// What the operator's door says of this.
    pub(crate) async fn admin(&self, what: &str) -> Value {
        let request = self.client.get(format!("{}/admin/v1/{what}", self.admin));
        let answer = self.send(request.bearer_auth(&self.admin_token)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// An operator acts on an account, for the first time under this id.
    pub(crate) async fn act(&self, id: u8, account: &str, act: &str) -> Answer {
        self.act_on(id, &format!("accounts/{account}/{act}")).await
    }

    pub(crate) async fn act_on(&self, id: u8, path: &str) -> Answer {
        let path = format!("{}/admin/v1/{path}", self.admin);
        let id = format!("01890a5d-ac96-774b-bcce-b302099a80{id:02}");
        let body = json!({"id": id, "actor": "ann", "reason": "a test"});
        self.send(self.client.post(path).bearer_auth(&self.admin_token).json(&body)).await
    }

    pub(crate) async fn rotate_key(&self) -> Value {
        let request = self.client.post(format!("{}/admin/v1/keys/rotate", self.admin));
        let answer = self.send(request.bearer_auth(&self.admin_token)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }
}

fn client() -> Client {
    Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}

/// Sends a request on to another server, and gives its answer; 502 where there is none.
pub(crate) async fn forward(target: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut sent = client().request(parts.method, format!("{target}{path}")).body(body);
    for (name, value) in parts.headers.iter().filter(|(name, _)| *name != "host") {
        sent = sent.header(name, value);
    }
    let Ok(answer) = sent.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    (status, headers, body).into_response()
}

/// Looks until there is something to see; panics when patience ends.
pub(crate) async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}
