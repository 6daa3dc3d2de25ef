//! Starts the whole product: `tollwayd`, the joke API and a real Envoy with the real filter.
//!
//! ```no_run
//! # async fn test() -> Result<(), tollway_testkit::stack::StackError> {
//! use tollway_testkit::stack::{Stack, StackOptions};
//!
//! let mut stack = Stack::start(StackOptions::default()).await?;
//! let url = format!("{}/api/joke", stack.gateway_url());
//! // ... a request without payment gets 402 ...
//! stack.kill_tollwayd();
//! // ... and now 503; the joke was never told:
//! assert_eq!(stack.upstream().hits().of("/api/joke"), 0);
//! stack.start_tollwayd().await?;
//! # Ok(()) }
//! ```
//!
//! Dropping a [`Stack`] ends all of it. It is ready when [`Stack::start`] returns: `tollwayd` and
//! Envoy say so, and a priced request gets an answer of the filter instead of 503.

mod envoy;
mod error;
mod parts;
mod ports;
mod process;
mod wait;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use envoy::Listeners;
use envoy::{EnvoySetup, parse_stats};
pub use error::StackError;
pub use parts::{Parts, root};
pub use ports::Ports;
use process::{Guardian, Process, Program};

use crate::upstream::Upstream;

/// How many priced requests in a row, per worker, must find the filter ready. Connections spread
/// over the workers by chance, and each worker has its own virtual machine.
const READY_IN_A_ROW: u32 = 6;
/// The longest wait for one answer while the stack starts.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// What may differ from stack to stack.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// Envoy's worker threads.
    pub concurrency: u32,
    /// How Envoy learns its listeners.
    pub listeners: Listeners,
    /// The filter's configuration; `None` is the one in `envoy/envoy.yaml`.
    pub filter: Option<Value>,
    /// The configuration of `tollwayd`; `None` is `envoy/tollwayd.toml`.
    pub tollwayd_config: Option<PathBuf>,
    /// More environment for `tollwayd`.
    pub tollwayd_env: Vec<(String, String)>,
    /// The ports; `None` takes free ones.
    pub ports: Option<Ports>,
    /// Where logs, configuration and the ledger go; `None` is a directory that goes with the
    /// stack.
    pub dir: Option<PathBuf>,
    /// The priced path that must answer before the stack counts as ready; `None` skips that.
    pub ready_path: Option<String>,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            concurrency: 2,
            listeners: Listeners::Static,
            filter: None,
            tollwayd_config: None,
            tollwayd_env: Vec::new(),
            ports: None,
            dir: None,
            ready_path: Some("/api/joke".to_owned()),
        }
    }
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the gateway goes first.
    envoy: Option<Process>,
    tollwayd: Option<Process>,
    stub: Option<Stub>,
    upstream: Upstream,
    guardian: Guardian,
    setup: EnvoySetup,
    options: StackOptions,
    admin_token: String,
    http: Client,
    // Last, so that the logs outlive those who write them.
    _temp: Option<TempDir>,
}

impl Stack {
    /// Starts everything and waits until it is ready.
    ///
    /// # Errors
    /// A part is missing, does not start, or does not become ready.
    pub async fn start(options: StackOptions) -> Result<Self, StackError> {
        let parts = Parts::locate()?;
        let ports = options.ports.map_or_else(Ports::free, Ok)?;
        let (dir, temp) = directory(options.dir.as_deref())?;
        let joke = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.joke));
        let upstream = Upstream::start(joke)
            .await
            .map_err(|error| StackError::new(format!("start the joke API on {joke}"), error))?;
        let setup = EnvoySetup {
            parts,
            ports,
            dir,
            listeners: options.listeners,
            concurrency: options.concurrency,
            gate_token: token()?,
            filter: options.filter.clone(),
        };
        let mut stack = Self {
            envoy: None,
            tollwayd: None,
            stub: None,
            upstream,
            guardian: Guardian::start()?,
            setup,
            options,
            admin_token: token()?,
            http: client()?,
            _temp: temp,
        };
        stack.start_tollwayd().await?;
        stack.start_envoy().await?;
        Ok(stack)
    }

    /// Where clients go: `http://127.0.0.1:{port}`.
    #[must_use]
    pub fn gateway_url(&self) -> String {
        local_url(self.setup.ports.gateway)
    }

    /// The gate listener of `tollwayd`.
    #[must_use]
    pub fn gate_url(&self) -> String {
        local_url(self.setup.ports.gate)
    }

    /// The admin listener of `tollwayd`, with the simulated wallet.
    #[must_use]
    pub fn admin_url(&self) -> String {
        local_url(self.setup.ports.admin)
    }

    /// Envoy's admin door.
    #[must_use]
    pub fn envoy_admin_url(&self) -> String {
        local_url(self.setup.ports.envoy_admin)
    }

    /// The token of the gate listener.
    #[must_use]
    pub fn gate_token(&self) -> &str {
        &self.setup.gate_token
    }

    /// The token of the admin listener.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// The joke API, with its counts.
    #[must_use]
    pub const fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    /// Where logs, configuration and the ledger are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.setup.dir
    }

    /// The ledger's file.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.dir().join("tollway.db")
    }

    /// The text of a log: "tollwayd", "tollwayd.out", "envoy", "envoy.out" (the access log).
    #[must_use]
    pub fn log(&self, name: &str) -> String {
        let bytes = fs::read(self.dir().join(format!("{name}.log"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The process id of Envoy, while it runs.
    #[must_use]
    pub fn envoy_pid(&self) -> Option<u32> {
        self.envoy.as_ref().map(Process::pid)
    }

    /// The process id of `tollwayd`, while it runs.
    #[must_use]
    pub fn tollwayd_pid(&self) -> Option<u32> {
        self.tollwayd.as_ref().map(Process::pid)
    }

    /// Starts `tollwayd` on the stack's ports and ledger, unless it runs, and waits until it is
    /// ready. A stub in its place goes.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_tollwayd(&mut self) -> Result<(), StackError> {
        if let Some(stub) = self.stub.take() {
            stub.stop().await;
        }
        if self.tollwayd.is_some() {
            return Ok(());
        }
        let ready_url = format!("{}/readyz", self.gate_url());
        let mut process = Process::start(self.tollwayd_program(), &self.guardian)?;
        wait::until("wait until ready:", &mut process, async || {
            self.expect_ok(&ready_url).await.map(drop)
        })
        .await?;
        self.tollwayd = Some(process);
        Ok(())
    }

    /// Ends `tollwayd` as `kill -9` does.
    pub fn kill_tollwayd(&mut self) {
        if let Some(process) = self.tollwayd.take() {
            process.kill();
        }
    }

    /// Asks `tollwayd` to end, as an operator does, and waits for it.
    ///
    /// # Errors
    /// It does not end, or not with success.
    pub async fn stop_tollwayd(&mut self) -> Result<(), StackError> {
        let Some(process) = self.tollwayd.take() else {
            return Ok(());
        };
        stop(process).await
    }

    /// Puts `stub` in the place of `tollwayd`, which is killed: a companion that is slow, or
    /// answers what it should not.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn replace_tollwayd(&mut self, stub: Router) -> Result<(), StackError> {
        let listener = self.take_gate_port().await?;
        let server = tokio::spawn(async move {
            // axum::serve retries what accept reports and never returns an error.
            let _ = axum::serve(listener, stub).await;
        });
        self.stub = Some(Stub(server));
        Ok(())
    }

    /// Kills `tollwayd` and hands out its gate port, for a peer that does not even speak HTTP.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn take_gate_port(&mut self) -> Result<TcpListener, StackError> {
        self.kill_tollwayd();
        if let Some(stub) = self.stub.take() {
            stub.stop().await;
        }
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, self.setup.ports.gate));
        TcpListener::bind(addr)
            .await
            .map_err(|error| StackError::new(format!("take the port of tollwayd, {addr}"), error))
    }

    /// Starts Envoy, unless it runs, and waits until the filter is ready on every worker.
    ///
    /// # Errors
    /// It does not become ready.
    pub async fn start_envoy(&mut self) -> Result<(), StackError> {
        if self.envoy.is_some() {
            return Ok(());
        }
        let ready_url = format!("{}/ready", self.envoy_admin_url());
        let mut process = self.setup.start(&self.guardian)?;
        wait::until("wait until ready:", &mut process, async || {
            self.expect_ok(&ready_url).await.map(drop)
        })
        .await?;
        if let Some(path) = &self.options.ready_path {
            let url = format!("{}{path}", self.gateway_url());
            let step = format!("wait until the filter answers {path}:");
            let enough = READY_IN_A_ROW * self.options.concurrency.max(1);
            let mut in_a_row = 0;
            wait::until(&step, &mut process, async || {
                while in_a_row < enough {
                    if let Err(complaint) = probe(&url).await {
                        in_a_row = 0;
                        return Err(complaint);
                    }
                    in_a_row += 1;
                }
                Ok(())
            })
            .await?;
        }
        self.envoy = Some(process);
        Ok(())
    }

    /// Ends Envoy as `kill -9` does.
    pub fn kill_envoy(&mut self) {
        if let Some(process) = self.envoy.take() {
            process.kill();
        }
    }

    /// Gives the running Envoy another filter configuration, by the file it watches
    /// ([`Listeners::Watched`]), and waits until it has taken it.
    ///
    /// # Errors
    /// Envoy refused it (the error shows why), or does not watch.
    pub async fn reload_filter(&mut self, filter: Value) -> Result<(), StackError> {
        let step = "reload the filter's configuration:";
        if self.setup.listeners != Listeners::Watched {
            return Err(StackError::new(
                step,
                "this stack was not started with Listeners::Watched",
            ));
        }
        let before = self.envoy_stats().await?;
        let count = |stats: &BTreeMap<String, u64>, name: &str| {
            stats.get(&format!("listener_manager.lds.{name}")).copied().unwrap_or(0)
        };
        let taken = count(&before, "update_success");
        let refused = count(&before, "update_rejected");
        self.setup.filter = Some(filter);
        self.setup.write_listeners()?;
        let Some(mut process) = self.envoy.take() else {
            return Err(StackError::new(step, "Envoy does not run"));
        };
        let outcome = wait::until(step, &mut process, async || {
            let stats = self.envoy_stats().await.map_err(|error| error.to_string())?;
            if count(&stats, "update_rejected") > refused {
                return Ok(false);
            }
            if count(&stats, "update_success") > taken {
                return Ok(true);
            }
            Err("Envoy has not read the file yet".to_owned())
        })
        .await;
        let log = process.log().to_owned();
        self.envoy = Some(process);
        if outcome? {
            return Ok(());
        }
        Err(StackError::new(step, "Envoy refused it and keeps what it had").with_log(&log))
    }

    /// Envoy's counters and gauges by name; the filter's begin with `wasmcustom.`.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn envoy_stats(&self) -> Result<BTreeMap<String, u64>, StackError> {
        let url = format!("{}/stats", self.envoy_admin_url());
        let text = self.expect_ok(&url).await;
        text.map(|text| parse_stats(&text)).map_err(|found| StackError::new("read stats", found))
    }

    /// One of Envoy's counters; zero while it has not been counted.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn envoy_stat(&self, name: &str) -> Result<u64, StackError> {
        Ok(self.envoy_stats().await?.get(name).copied().unwrap_or(0))
    }

    /// Ends the stack in the order an operator would: Envoy, then `tollwayd`, each asked first.
    ///
    /// # Errors
    /// One of them does not end, or not with success.
    pub async fn stop(mut self) -> Result<(), StackError> {
        if let Some(envoy) = self.envoy.take() {
            stop(envoy).await?;
        }
        self.stop_tollwayd().await
    }

    fn tollwayd_program(&self) -> Program<'_> {
        let parts = &self.setup.parts;
        let config = self.options.tollwayd_config.clone();
        let config = config.unwrap_or_else(|| parts.root.join("envoy/tollwayd.toml"));
        let ports = self.setup.ports;
        let mut env: Vec<(String, OsString)> = vec![
            ("TOLLWAYD_LISTEN".to_owned(), format!("127.0.0.1:{}", ports.gate).into()),
            ("TOLLWAYD_ADMIN_LISTEN".to_owned(), format!("127.0.0.1:{}", ports.admin).into()),
            ("TOLLWAYD_STORE".to_owned(), self.store().into()),
            ("TOLLWAY_GATE_TOKEN".to_owned(), self.setup.gate_token.clone().into()),
            ("TOLLWAY_ADMIN_TOKEN".to_owned(), self.admin_token.clone().into()),
        ];
        let more = self.options.tollwayd_env.iter();
        env.extend(more.map(|(name, value)| (name.clone(), OsString::from(value))));
        Program {
            name: "tollwayd",
            path: &parts.tollwayd,
            args: vec!["serve".into(), "--config".into(), config.into()],
            env,
            log_dir: &self.setup.dir,
        }
    }

    async fn expect_ok(&self, url: &str) -> Result<String, String> {
        let response = self.http.get(url).send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.text().await.map_err(|error| error.to_string())?;
        if status == StatusCode::OK { Ok(body) } else { Err(format!("{url} answers {status}")) }
    }
}

/// An HTTP server in the place of `tollwayd`.
#[derive(Debug)]
struct Stub(JoinHandle<()>);

impl Stub {
    async fn stop(mut self) {
        self.0.abort();
        // Only when the task is gone is its port free.
        let _ = (&mut self.0).await;
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn stop(mut process: Process) -> Result<(), StackError> {
    process.terminate();
    let begun = std::time::Instant::now();
    loop {
        match process.ended() {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(process.error("stop", format!("it ended with {status}"))),
            None if begun.elapsed() > Duration::from_secs(30) => {
                return Err(process.error("stop", "it did not end within 30 s"));
            }
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// A priced request on a connection of its own; 503 means that a worker has no keys yet.
async fn probe(url: &str) -> Result<(), String> {
    let client = client().map_err(|error| error.to_string())?;
    match client.get(url).send().await {
        Err(error) => Err(error.to_string()),
        Ok(response) if response.status().is_server_error() => {
            Err(format!("{url} answers {}", response.status()))
        }
        Ok(_) => Ok(()),
    }
}

fn client() -> Result<Client, StackError> {
    Client::builder()
        .timeout(PROBE_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| StackError::new("build an HTTP client", error))
}

fn directory(given: Option<&Path>) -> Result<(PathBuf, Option<TempDir>), StackError> {
    let failed = |error: std::io::Error| StackError::new("create the stack's directory", error);
    if let Some(dir) = given {
        fs::create_dir_all(dir).map_err(failed)?;
        return Ok((dir.to_owned(), None));
    }
    let temp = tempfile::Builder::new().prefix("tollway-stack-").tempdir().map_err(failed)?;
    Ok((temp.path().to_owned(), Some(temp)))
}

/// A fresh random token.
fn token() -> Result<String, StackError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StackError::new("draw a token", error))?;
    Ok(hex::encode(bytes))
}

fn local_url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
