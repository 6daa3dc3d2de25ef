//! The real server on a core of its own, and a client that costs little on the other.

use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::doors::{ADMIN_TOKEN, GATE_TOKEN, Store, settings};
use crate::load::{CREDIT_MSAT, Proof, Rate, hold, hold_path};

const LASTS: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 64;
const SERVER_CORE: &str = "0";

/// Where the load goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A hold.
    Hold,
    /// The same body, token and door, refused before the ledger is asked.
    Noop,
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    gate: String,
    admin: String,
}

impl Server {
    pub(crate) fn start(store: &Store) -> Self {
        // The no-op door is a refusal: the log must not slow it.
        let quiet = settings().replace("level = \"info\"", "level = \"error\"");
        let config = store.path().with_extension("toml");
        std::fs::write(&config, quiet).unwrap();
        let (gate, admin) = (free_address(), free_address());
        let child = Command::new("taskset")
            .args(["-c", SERVER_CORE, env!("CARGO_BIN_EXE_tollwayd"), "serve", "--config"])
            .arg(&config)
            .envs(store.env())
            .env("TOLLWAYD_LISTEN", &gate)
            .env("TOLLWAYD_ADMIN_LISTEN", &admin)
            .spawn()
            .expect("taskset runs");
        let server = Self { child, gate, admin };
        while std::net::TcpStream::connect(&server.gate).is_err() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    pub(crate) fn stop(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Processor time of all its threads so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        // Fields 14 and 15 of proc_pid_stat(5), in ticks of 10 ms; the name before them may hold
        // anything but is closed by the last parenthesis.
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, rest) = text.rsplit_once(") ").unwrap();
        let ticks = rest.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap());
        ticks.sum::<f64>() * 10_000.0
    }

    /// Resident memory.
    pub(crate) fn rss_mb(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kilobytes / 1_024.0
    }

    /// Buys accounts at the real doors.
    pub(crate) fn buy(&self, accounts: usize) -> Vec<Proof> {
        runtime().block_on(async {
            let client = reqwest::Client::new();
            let post = async |url: String, token: &str, body: Value| -> Value {
                let call = client.post(url).bearer_auth(token).json(&body);
                call.send().await.unwrap().json().await.unwrap()
            };
            let mut proofs = Vec::new();
            for _ in 0..accounts {
                let order = json!({"route": "bench", "service": "bench", "amount_msat": CREDIT_MSAT,
                    "credit_msat": CREDIT_MSAT, "memo": ""});
                let url = format!("http://{}/v1/challenges", self.gate);
                let made = post(url, GATE_TOKEN, order).await;
                let url = format!("http://{}/sim/v1/pay", self.admin);
                let paid = post(url, ADMIN_TOKEN, json!({"invoice": made["invoice"]})).await;
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                let payment_hash = text(&made["payment_hash"]);
                proofs.push(Proof { payment_hash, preimage: text(&paid["preimage"]) });
            }
            proofs
        })
    }

    /// As many calls as 64 connections can.
    pub(crate) fn load(&self, door: Door, proofs: &[Proof]) -> Rate {
        let proofs: Arc<[Proof]> = proofs.into();
        let begun = Instant::now();
        let latencies_us = runtime().block_on(async {
            let tasks: Vec<_> = (0..CONNECTIONS)
                .map(|n| {
                    let (gate, proofs) = (self.gate.clone(), Arc::clone(&proofs));
                    tokio::spawn(connection(gate, door, proofs, n, begun))
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                all.extend(task.await.unwrap());
            }
            all
        });
        Rate { took: begun.elapsed(), latencies_us, commits: 0.0 }
    }
}

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connection(
    gate: String,
    door: Door,
    proofs: Arc<[Proof]>,
    n: usize,
    begun: Instant,
) -> Vec<u32> {
    let mut stream = TcpStream::connect(&gate).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut latencies_us = Vec::new();
    let mut buffer = Vec::new();
    let mut at = n.wrapping_mul(0x9e37_79b9);
    let (ttl_h, status) = if door == Door::Hold { (1, "200") } else { (0, "422") };
    while begun.elapsed() < LASTS {
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let body = hold(&proofs[(at >> 33) % proofs.len()], ttl_h).to_string();
        let request = format!(
            "PUT {} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {GATE_TOKEN}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            hold_path(),
            body.len()
        );
        let asked = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = response(&mut stream, &mut buffer).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        latencies_us.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies_us
}

/// Reads one response whole and gives its head.
async fn response(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> String {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the server hung up");
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.trim().parse::<usize>().ok());
        if buffer.len() >= end + 4 + length.unwrap_or(0) {
            return String::from_utf8_lossy(&buffer[..end]).into_owned();
        }
    }
}
