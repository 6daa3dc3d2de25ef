//! Published clients of BTCPay's Greenfield API, in front of a [`StandIn`] for it.
//!
//! `make test-lightning` installs them from PyPI. They prove the stand-in by programs that we did
//! not write.

use std::path::PathBuf;

use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::stack::{Guardian, Process, Program, StackError, free_port, root, until};
use crate::standin::{STORE, StandIn};

/// The clients. They end when this is dropped.
#[derive(Debug)]
pub struct Greenfield {
    url: String,
    http: Client,
    _process: Process,
    // Last, so that the log outlives who writes it.
    _dir: TempDir,
}

impl Greenfield {
    /// Whether they are installed.
    ///
    /// # Errors
    /// They are not; the message names the remedy.
    pub fn available() -> Result<(), StackError> {
        python().map(drop)
    }

    /// Starts them.
    ///
    /// # Errors
    /// They are not installed, or do not become ready.
    pub async fn start(standin: &StandIn) -> Result<Self, StackError> {
        let python = python()?;
        let dir = tempfile::Builder::new()
            .prefix("tollway-greenfield-")
            .tempdir()
            .map_err(|error| StackError::new("create the directory of BTCPay's clients", error))?;
        let port = free_port()?;
        let program = Program {
            name: "greenfield",
            path: &python,
            args: vec![
                root()?.join("tests/lightning/btcpay/clients.py").into(),
                port.to_string().into(),
                standin.url().into(),
                STORE.into(),
            ],
            env: Vec::new(),
            log_dir: dir.path(),
        };
        let guardian = Guardian::start()?;
        let mut process = Process::start(program, &guardian)?;
        let http = Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| StackError::new("build an HTTP client", error))?;
        let url = format!("http://127.0.0.1:{port}");
        until("wait for BTCPay's clients", &mut process, async || {
            http.get(&url).send().await.map(drop).map_err(|error| error.to_string())
        })
        .await?;
        Ok(Self { url, http, _process: process, _dir: dir })
    }

    /// Has a client make a call, as `tests/lightning/btcpay/clients.py` names them. Returns the
    /// status that it got, and what it made of the answer.
    ///
    /// # Errors
    /// The client failed.
    pub async fn call(&self, order: &Value) -> Result<(u16, Value), StackError> {
        let failed = |error: reqwest::Error| StackError::new("call BTCPay's clients", error);
        let response = self.http.post(&self.url).json(order).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        Ok((status, response.json().await.map_err(failed)?))
    }
}

/// The interpreter that has them.
fn python() -> Result<PathBuf, StackError> {
    let home = root()?.join(".tools/btcpay");
    let path = home.join("bin/python");
    if path.is_file() {
        return Ok(path);
    }
    Err(StackError::new("find BTCPay's clients", "not in .tools/btcpay")
        .with_remedy("Run `make test-lightning`, which installs them from PyPI."))
}
