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
//! Envoy say so, and every worker of Envoy names a price instead of answering 503.

mod companion;
mod envoy;
mod error;
mod gateway;
mod parts;
mod ports;
mod process;
mod wait;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

pub use companion::Replica;
use companion::Stub;
use envoy::EnvoySetup;
pub use envoy::Listeners;
pub use error::StackError;
pub use parts::{Parts, root};
pub use ports::{Ports, free_port};
pub use process::{Guardian, Process, Program};
pub use wait::until;
pub(crate) use wait::{INTERVAL, PATIENCE};

use crate::upstream::Upstream;

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
    /// How `tollwayd` reaches its PostgreSQL; `None` keeps the ledger in a SQLite file.
    pub postgres: Option<String>,
    /// Whether a second `tollwayd` serves from the same PostgreSQL.
    pub second: bool,
    /// More environment for `tollwayd`.
    pub tollwayd_env: Vec<(String, String)>,
    /// More values for the marked lines of `envoy/envoy.yaml`.
    pub envoy_env: Vec<(String, String)>,
    /// Lines of `envoy/envoy.yaml` to replace, for what no marked line lets one change.
    pub envoy_lines: Vec<(String, String)>,
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
            postgres: None,
            second: false,
            tollwayd_env: Vec::new(),
            envoy_env: Vec::new(),
            envoy_lines: Vec::new(),
            ports: None,
            dir: None,
            ready_path: Some("/api/joke".to_owned()),
        }
    }
}

/// The upstream of `envoy/envoy.yaml`, and what makes it one that speaks HTTP/2.
const UPSTREAM: &str = "    - name: upstream\n";
const HTTP2: &str = r#"      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config:
            http2_protocol_options: {}
"#;

impl StackOptions {
    /// The same before a gRPC server on this port, one of whose methods has this path and a price.
    #[must_use]
    pub fn before_grpc(mut self, port: u16, method: &str) -> Self {
        self.envoy_env.push(("TOLLWAY_JOKE_PORT".to_owned(), port.to_string()));
        self.envoy_lines.push((UPSTREAM.to_owned(), [UPSTREAM, HTTP2].concat()));
        self.ready_path = Some(method.to_owned());
        self
    }
}

/// Lets Envoy judge `envoy/envoy.yaml` with this filter configuration (`None`: its own) and the
/// real filter, without serving.
///
/// # Errors
/// A part is missing, or Envoy refuses; the error then shows what Envoy and the filter said.
pub fn validate(filter: Option<Value>) -> Result<(), StackError> {
    let (dir, _temp) = directory(None)?;
    let setup = EnvoySetup {
        parts: Parts::locate()?,
        ports: Ports::free()?,
        dir,
        listeners: Listeners::Static,
        concurrency: 1,
        second_gate: None,
        gate_token: token()?,
        filter,
        env: Vec::new(),
        lines: Vec::new(),
    };
    setup.validate()
}

/// A running stack.
#[derive(Debug)]
pub struct Stack {
    // Dropped in this order: the gateway goes first.
    envoy: Option<Process>,
    tollwayd: Option<Process>,
    second: Option<Process>,
    second_admin: u16,
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
        let upstream = ports::listen(joke)
            .await
            .and_then(Upstream::serve)
            .map_err(|error| StackError::new(format!("start the joke API on {joke}"), error))?;
        let setup = EnvoySetup {
            parts,
            ports,
            dir,
            listeners: options.listeners,
            concurrency: options.concurrency,
            second_gate: options.second.then(ports::free_port).transpose()?,
            gate_token: token()?,
            filter: options.filter.clone(),
            env: options.envoy_env.clone(),
            lines: options.envoy_lines.clone(),
        };
        let mut stack = Self {
            envoy: None,
            tollwayd: None,
            second: None,
            second_admin: ports::free_port()?,
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
        if stack.options.second {
            stack.start_replica(Replica::Second).await?;
        }
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

    /// Ends the stack in the order an operator would: Envoy, then `tollwayd`, each asked first.
    ///
    /// # Errors
    /// One of them does not end, or not with success.
    pub async fn stop(mut self) -> Result<(), StackError> {
        if let Some(envoy) = self.envoy.take() {
            stop(envoy).await?;
        }
        if let Some(second) = self.second.take() {
            stop(second).await?;
        }
        self.stop_tollwayd().await
    }

    async fn expect_ok(&self, url: &str) -> Result<String, String> {
        let response = self.http.get(url).send().await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.text().await.map_err(|error| error.to_string())?;
        if status == StatusCode::OK { Ok(body) } else { Err(format!("{url} answers {status}")) }
    }
}

/// Asks a process to end and waits until it has, with success.
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

fn client() -> Result<Client, StackError> {
    Client::builder()
        .timeout(PROBE_TIMEOUT)
        .no_proxy()
        // Plain HTTP only: no need to read the machine's certificate authorities.
        .tls_certs_only([])
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
