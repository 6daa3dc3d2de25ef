//! Load without a network: the doors of one process, called by many tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tollway_core::id::HoldId;
use tollwayd::clock::{Clock, SystemClock};
use tollwayd::{App, Service};
use tower::ServiceExt;

use crate::doors::{ADMIN_TOKEN, GATE_TOKEN, Store};

/// One measurement.
const LASTS: Duration = Duration::from_secs(2);
/// Enough for every hold of a run.
pub(crate) const CREDIT_MSAT: u64 = 1_000_000_000_000;

/// An account that can be held from.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(crate) payment_hash: String,
    pub(crate) preimage: String,
}

/// Which accounts a load touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    First,
}

/// What a load came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rate {
    pub(crate) took: Duration,
    pub(crate) latencies_us: Vec<u32>,
    pub(crate) commits: f64,
}

impl Rate {
    pub(crate) fn per_s(&self) -> f64 {
        self.latencies_us.len() as f64 / self.took.as_secs_f64()
    }

    pub(crate) fn operations_per_commit(&self) -> f64 {
        self.latencies_us.len() as f64 / self.commits
    }

    pub(crate) fn quantile_us(&self, quantile: f64) -> f64 {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        f64::from(sorted[((sorted.len() - 1) as f64 * quantile) as usize])
    }
}

/// An open service and the threads that call it.
pub(crate) struct Load {
    service: Service,
    runtime: Runtime,
}

impl Load {
    pub(crate) fn open(store: &Store) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let service = runtime.block_on(App::open(&store.config(), Arc::new(SystemClock))).unwrap();
        Self { service, runtime }
    }

    pub(crate) fn close(self) {
        self.service.close().unwrap();
    }

    /// Opens so many accounts with credit for a long life.
    pub(crate) fn buy(&self, accounts: usize) -> Vec<Proof> {
        self.runtime.block_on(async {
            let mut proofs = Vec::new();
            for _ in 0..accounts {
                let order = json!({"route": "bench", "service": "bench", "amount_msat": CREDIT_MSAT,
                    "credit_msat": CREDIT_MSAT, "memo": ""});
                let made = call(&self.service.gate, "POST", "/v1/challenges", &order).await;
                let pay = json!({"invoice": made["invoice"], "event": false});
                let paid = call(&self.service.admin, "POST", "/sim/v1/pay", &pay).await;
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let payment_hash = text(&made["payment_hash"]);
                proofs.push(Proof { payment_hash, preimage: text(&paid["preimage"]) });
            }
            proofs
        })
    }

    /// Places holds of one msat as fast as so many clients can.
    pub(crate) fn holds(&self, clients: usize, which: Which, proofs: &[Proof]) -> Rate {
        let proofs: Arc<[Proof]> = match which {
            Which::All => proofs.into(),
            Which::First => proofs[..1].into(),
        };
        let commits = self.commits();
        let begun = Instant::now();
        let latencies_us = self.runtime.block_on(async {
            let tasks: Vec<_> = (0..clients)
                .map(|n| {
                    let (gate, proofs) = (self.service.gate.clone(), Arc::clone(&proofs));
                    tokio::spawn(client(gate, proofs, n, begun))
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        });
        Rate { took: begun.elapsed(), latencies_us, commits: self.commits() - commits }
    }

    /// Transactions so far; each is one flush of the log.
    fn commits(&self) -> f64 {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let text = self.runtime.block_on(async {
            let response = self.service.admin.clone().oneshot(request).await.unwrap();
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        });
        let line = text.lines().find(|l| l.starts_with("tollwayd_commit_batch_commands_count "));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }
}

async fn client(gate: Router, proofs: Arc<[Proof]>, n: usize, begun: Instant) -> Vec<u32> {
    let mut latencies_us = Vec::new();
    // A different walk through the accounts for every client.
    let mut at = n.wrapping_mul(0x9e37_79b9);
    while begun.elapsed() < LASTS {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let proof = &proofs[(at >> 33) % proofs.len()];
        let asked = Instant::now();
        let reply = call(&gate, "PUT", &hold_path(), &hold(proof, 1)).await;
        assert_eq!(reply["outcome"], "granted", "{reply}");
        latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies_us
}

/// A new hold's path. Ids grow with time, as the filter mints them.
pub(crate) fn hold_path() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    random[2..10].copy_from_slice(&COUNTER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    format!("/v1/holds/{}", HoldId::mint(SystemClock.now_ms(), random))
}

/// A hold of one msat; with a TTL of zero it is parsed, checked and refused before the ledger.
pub(crate) fn hold(proof: &Proof, ttl_h: u64) -> Value {
    json!({"payment_hash": proof.payment_hash, "preimage": proof.preimage, "amount_msat": 1,
        "ttl_ms": ttl_h * 3_600_000, "route": "bench"})
}

async fn call(router: &Router, method: &str, path: &str, body: &Value) -> Value {
    let token = if path.starts_with("/v1") { GATE_TOKEN } else { ADMIN_TOKEN };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    serde_json::from_slice(&bytes).unwrap()
}
