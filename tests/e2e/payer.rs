//! The `tollway` command pays through the real Envoy: killed at the worst moments, many at once
//! on one store, and topping up.

use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Notify;
use tollway_testkit::stack::Parts;

use crate::harness::{Gateway, forward};

/// A customer with a folder of their own.
pub(crate) struct Customer {
    folder: TempDir,
    wallet_url: String,
}

impl Customer {
    pub(crate) fn new(wallet_url: String) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), wallet_url }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let program = Parts::locate().unwrap().tollwayd.with_file_name("tollway");
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .env("XDG_STATE_HOME", self.folder.path())
            .env("XDG_CONFIG_HOME", self.folder.path())
            .env("TOLLWAY_WALLET_URL", &self.wallet_url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
    }

    /// Runs to a good end and returns the JSON that it printed.
    async fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Where a request is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// It does not get through.
    Before,
    /// It gets through, and its answer does not come back.
    After,
}

/// A door before a server: it lets everything through, or stops the next request of a kind for
/// ever.
#[derive(Clone)]
struct Door {
    url: String,
    target: String,
    /// Only requests with this header are stopped.
    header: &'static str,
    stop: Arc<Mutex<Option<Stop>>>,
    stopped: Arc<Notify>,
}

impl Door {
    async fn before(target: String, header: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            target,
            header,
            stop: Arc::default(),
            stopped: Arc::default(),
        };
        let router = Router::new().fallback(pass).with_state(door.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        door
    }

    fn stops(&self, stop: Stop) {
        *self.stop.lock().unwrap() = Some(stop);
    }

    /// Kills the process the moment its request is stopped here.
    async fn kills(&self, mut child: Child) {
        self.stopped.notified().await;
        child.kill().unwrap();
        tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
    }
}

async fn pass(State(door): State<Door>, request: Request) -> Response {
    let stop = match request.headers().contains_key(door.header) {
        true => door.stop.lock().unwrap().take(),
        false => None,
    };
    if stop != Some(Stop::Before) {
        let answer = forward(&door.target, request).await;
        if stop.is_none() {
            return answer;
        }
    }
    door.stopped.notify_one();
    std::future::pending().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_killed_between_payment_and_retry_pays_once() {
    let gateway = Gateway::start().await;
    let shop = Door::before(gateway.stack.gateway_url(), "authorization").await;
    let wallet = Door::before(gateway.stack.admin_url(), "content-type").await;
    let url = format!("{}/api/joke", shop.url);
    // The intent is kept and nothing is paid; it is paid and no proof came back; the proof is
    // kept and was not used.
    let moments = [(&wallet, Stop::Before), (&wallet, Stop::After), (&shop, Stop::Before)];
    for (served, (door, stop)) in (1..).zip(moments) {
        let customer = Customer::new(wallet.url.clone());
        door.stops(stop);
        door.kills(customer.command(&["get", &url]).spawn().unwrap()).await;
        let before = gateway.http.stats().await;
        let told = customer.run(&["balance"]).await;
        let told = String::from_utf8(told.stdout).unwrap();
        assert_eq!(told.contains("interrupted"), *door.url == wallet.url, "{told}");

        let answer = customer.json(&["get", &url]).await;
        assert_eq!(answer["status"], 200);
        assert_eq!(answer["balance_msat"], 15_000);
        let after = gateway.ledger_at_rest().await;
        assert_eq!(after["credited_msat"], 20_000 * served, "{stop:?} {before}");
        let history = customer.json(&["history"]).await;
        assert_eq!(history.as_array().unwrap().len(), 1, "{history}");
        assert_eq!(history[0]["state"], "paid");
        assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), served);
    }
    gateway.audit();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_at_once_on_one_store_buy_no_more_than_they_need() {
    let gateway = Gateway::start().await;
    let customer = Customer::new(gateway.stack.admin_url());
    let url = format!("{}/api/joke", gateway.stack.gateway_url());
    let running: Vec<Child> =
        (0..8).map(|_| customer.command(&["get", &url]).spawn().unwrap()).collect();
    for child in running {
        let output =
            tokio::task::spawn_blocking(move || child.wait_with_output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
    // 20 sats buy 4 jokes.
    assert_eq!(customer.json(&["history"]).await.as_array().unwrap().len(), 2);
    let stats = gateway.ledger_at_rest().await;
    assert_eq!((&stats["credited_msat"], &stats["charged_msat"]), (&40_000.into(), &40_000.into()));
    assert_eq!(gateway.stack.upstream().hits().of("/api/joke"), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verbs_work_together() {
    let gateway = Gateway::start().await;
    let customer = Customer::new(gateway.stack.admin_url());
    let url = |path: &str| format!("{}{path}", gateway.stack.gateway_url());
    let price = customer.json(&["get", &url("/api/joke"), "--dry-run"]).await;
    assert_eq!((&price["price_msat"], &price["scheme"]), (&20_000.into(), &"L402".into()));
    let joke = customer.json(&["get", &url("/api/joke")]).await;
    assert_eq!((&joke["paid_sats"], &joke["balance_msat"]), (&20.into(), &15_000.into()));
    // The account is topped up while it has credit.
    let bought = customer.json(&["topup", &url("/api/joke"), "--sats", "100"]).await;
    assert_eq!(bought["paid_msat"], 100_000);
    let data = ["post", &url("/echo"), "-d", "hello", "-H", "content-type: text/plain"];
    let echo = customer.json(&data).await;
    assert!(echo["body"].as_str().unwrap().contains("\"body_bytes\":5"), "{echo}");
    assert_eq!((&echo["paid_sats"], &echo["balance_msat"]), (&0.into(), &114_000.into()));
    let streamed = customer.run(&["get", &url("/stream")]).await;
    assert_eq!(streamed.status.code(), Some(0));
    assert!(!streamed.stdout.is_empty());
    let balance = customer.json(&["balance"]).await;
    assert_eq!(balance["credit"].as_array().unwrap().len(), 1);
    assert_eq!(balance["credit"][0]["balance_msat"], 113_000);
    // To HEAD, the gateway names the price; the command pays with what it has.
    let head = customer.run(&["head", &url("/api/joke")]).await;
    assert!(String::from_utf8_lossy(&head.stdout).starts_with("200 OK\n"), "{head:?}");
    let stranger = Customer::new(gateway.stack.admin_url());
    let head = stranger.run(&["head", &url("/api/joke")]).await;
    let told = String::from_utf8_lossy(&head.stderr).into_owned();
    assert_eq!(told, "tollway: such a request costs 5 sats; paid nothing\n");
    assert_eq!(head.status.code(), Some(5));
    gateway.ledger_at_rest().await;
    gateway.audit();
}
