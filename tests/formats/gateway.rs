//! A gate on a fake proxy with the real tollwayd behind it, without listeners.

use std::rc::Rc;
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollway_gate::config::{Config, ConfigError};
use tollway_gate::exchange::{Exchange, Step};
use tollway_gate::gate::Gate;
use tollway_gate::host::{CallReply, Host, Reply};
use tollway_testkit::fake_host::{FakeHost, SentCall};
use tollwayd::clock::ManualClock;
use tollwayd::config::RawConfig;
use tollwayd::{App, Service};
use tower::ServiceExt;

const GATE_TOKEN: &str = "gate-token-of-the-vectors";
const ADMIN_TOKEN: &str = "admin-token-of-the-vectors";
const REPLY_BYTES_MAX: usize = 1 << 20;

/// What became of a request.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    /// The gate's answer; `None` where the upstream answered.
    pub(crate) reply: Option<Reply>,
    /// The request's headers as the upstream got them, those that matter here.
    pub(crate) upstream: Vec<(&'static str, Vec<u8>)>,
    /// What toll-booth's clients read of the response.
    pub(crate) credit_balance: Option<String>,
}

impl Outcome {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = &self.reply.as_ref()?.headers;
        headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn body(&self) -> Value {
        let reply = self.reply.as_ref().expect("the gate answered");
        serde_json::from_slice(&reply.body).unwrap_or_default()
    }
}

pub(crate) struct Gateway {
    clock: Arc<ManualClock>,
    runtime: Runtime,
    service: Option<Service>,
    host: FakeHost,
    gate: Rc<Gate>,
    /// The node makes no invoices.
    pub(crate) node_is_down: bool,
    _directory: TempDir,
}

/// A gate's configuration with these services and routes.
pub(crate) fn gate_config(services: &Value, routes: &Value) -> Value {
    json!({
        "tollwayd": {"cluster": "tollwayd", "gate_token": "env:TOLLWAY_GATE_TOKEN"},
        "services": services,
        "routes": routes,
        "unmatched": "deny",
    })
}

pub(crate) fn parse(config: &Value) -> Result<Config, ConfigError> {
    let env = |name: &str| (name == "TOLLWAY_GATE_TOKEN").then(|| GATE_TOKEN.to_owned());
    Config::parse(config.to_string().as_bytes(), &env)
}

impl Gateway {
    /// One whose tollwayd takes the tokens of this secret.
    pub(crate) fn start(config: &Value, now_ms: u64, (format, secret): (&str, &str)) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(now_ms));
        let store = directory.path().join("tollway.db");
        let env = |name: &str| match name {
            "TOLLWAY_GATE_TOKEN" => Some(GATE_TOKEN.to_owned()),
            "TOLLWAY_ADMIN_TOKEN" => Some(ADMIN_TOKEN.to_owned()),
            "TOLLWAYD_STORE" => Some(store.display().to_string()),
            "OLD_SECRET" => Some(secret.to_owned()),
            _ => None,
        };
        let example = include_str!("../../envoy/tollwayd.toml");
        let text = format!(
            "{example}\n[[legacy_keys]]\nformat = \"{format}\"\nsecret = \"env:OLD_SECRET\"\n\
             services = [\"api\"]\n"
        );
        let companion = RawConfig::parse(&text).unwrap().resolve(&env).unwrap();
        let service = runtime.block_on(App::open(&companion, clock.clone())).unwrap();
        let gateway = Self {
            clock,
            runtime,
            service: Some(service),
            host: FakeHost::at(now_ms),
            gate: Rc::new(Gate::new(parse(config).unwrap(), b"seed")),
            node_is_down: false,
            _directory: directory,
        };
        gateway.tick();
        gateway
    }

    /// Sets both clocks; a proxy's clock may go back.
    pub(crate) fn set_clock(&mut self, now_ms: u64) {
        self.clock.set_ms(now_ms);
        let before = self.host.now_ms();
        if now_ms >= before {
            self.host.advance_ms(now_ms - before);
        } else {
            self.host = FakeHost::at(now_ms);
        }
    }

    /// Carries what the gate wants to say between requests.
    fn tick(&self) {
        self.gate.tick(&self.host);
        for call in self.host.take_calls() {
            let reply = self.carry(&call);
            self.gate.call_answered(&self.host, call.id, &reply);
        }
    }

    fn carry(&self, call: &SentCall) -> CallReply {
        let path = call.header(":path");
        if self.node_is_down && path == "/v1/challenges" {
            return CallReply { status: Some(503), body: Vec::new() };
        }
        let mut request = Request::builder()
            .method(call.header(":method"))
            .uri(path)
            .header("authorization", call.header("authorization"));
        if !call.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Body::from(call.body.clone())).unwrap();
        let router = self.service.as_ref().unwrap().gate.clone();
        self.runtime.block_on(async {
            let response = router.oneshot(request).await.unwrap();
            let status = Some(response.status().as_u16());
            let body = axum::body::to_bytes(response.into_body(), REPLY_BYTES_MAX).await.unwrap();
            CallReply { status, body: body.to_vec() }
        })
    }

    /// Sends a request through; an upstream behind the gate always answers 200.
    pub(crate) fn send(
        &self,
        (method, path): (&str, &str),
        headers: &[(String, String)],
        client: Option<&str>,
    ) -> Outcome {
        self.host.set_client_address(client);
        let mut all: Vec<(&str, &[u8])> = vec![
            (":method", method.as_bytes()),
            (":path", path.as_bytes()),
            (":authority", b"api.example.com"),
        ];
        all.extend(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        self.host.begin_request(&all);
        let mut exchange = Exchange::new(Rc::clone(&self.gate));
        let mut step = exchange.request_headers(&self.host, true);
        while step == Step::Wait {
            let calls = self.host.take_calls();
            let [call] = &calls[..] else { panic!("expected one call, but found {calls:?}") };
            let reply = self.carry(call);
            step = exchange.call_answered(&self.host, call.id, &reply);
        }
        let outcome = match step {
            Step::Answer(reply) => Outcome {
                status: reply.status,
                reply: Some(reply),
                upstream: Vec::new(),
                credit_balance: None,
            },
            Step::Continue | Step::Respond => {
                const SHOWN: [&str; 6] = [
                    "authorization",
                    "x-credit-balance",
                    "x-free-remaining",
                    "x-toll-caveat-role",
                    "x-toll-account",
                    "x-toll-tier",
                ];
                let shown = |name| Some((name, self.host.upstream_header(name)?));
                let upstream = SHOWN.into_iter().filter_map(shown).collect();
                self.host.begin_response(&[(":status", b"200")], false);
                exchange.response_headers(&self.host);
                exchange.response_body(&self.host, 0, true);
                let credit_balance = self.host.client_header("x-credit-balance");
                Outcome { status: 200, reply: None, upstream, credit_balance }
            }
            Step::Wait => unreachable!("the loop above ends with a decision"),
        };
        exchange.finished(&self.host);
        self.tick();
        outcome
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(service) = self.service.take() {
            service.close().unwrap();
        }
    }
}
