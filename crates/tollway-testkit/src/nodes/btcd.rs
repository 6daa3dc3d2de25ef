//! The chain: one btcd on regtest, which mines on request.

use std::path::{Path, PathBuf};

use reqwest::Client;
use serde_json::{Value, json};

use super::{answer, client, subdirectory};
use crate::stack::{Guardian, Process, Program, StackError, free_port, until};

/// Loopback only, and gone with the test: no secret.
const USER: &str = "tollway";
const PASSWORD: &str = "regtest";

/// A running btcd.
#[derive(Debug)]
pub(super) struct Btcd {
    process: Option<Process>,
    program: PathBuf,
    dir: PathBuf,
    rpc_port: u16,
    peer_port: u16,
    guardian: Guardian,
    http: Client,
}

impl Btcd {
    pub(super) async fn start(
        programs: &Path,
        dir: &Path,
        guardian: &Guardian,
    ) -> Result<Self, StackError> {
        let mut chain = Self {
            process: None,
            program: programs.join("btcd"),
            dir: subdirectory(dir, "btcd")?,
            rpc_port: free_port()?,
            peer_port: free_port()?,
            guardian: guardian.clone(),
            http: client()?,
        };
        chain.run(None).await?;
        Ok(chain)
    }

    /// Starts it again with an address that gets what is mined: it takes none at any other time.
    pub(super) async fn mine_to(&mut self, address: &str) -> Result<(), StackError> {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            until_gone(&mut process).await?;
        }
        self.run(Some(address)).await
    }

    pub(super) async fn mine(&self, blocks: u32) -> Result<(), StackError> {
        let mined = self.call("generate", json!([blocks])).await;
        mined.map(drop).map_err(|error| StackError::new("mine blocks", error))
    }

    /// How lnd reaches it.
    pub(super) fn lnd_args(&self) -> Vec<String> {
        vec![
            "--bitcoin.node=btcd".to_owned(),
            format!("--btcd.rpchost=127.0.0.1:{}", self.rpc_port),
            format!("--btcd.rpcuser={USER}"),
            format!("--btcd.rpcpass={PASSWORD}"),
            format!("--btcd.rpccert={}", self.certificate().display()),
        ]
    }

    fn certificate(&self) -> PathBuf {
        self.dir.join("rpc.cert")
    }

    async fn run(&mut self, miner: Option<&str>) -> Result<(), StackError> {
        let dir = self.dir.display();
        let mut args = vec![
            "--configfile=/dev/null".to_owned(),
            "--regtest".to_owned(),
            "--txindex".to_owned(),
            "--nobanning".to_owned(),
            format!("--datadir={dir}"),
            format!("--logdir={dir}"),
            format!("--rpcuser={USER}"),
            format!("--rpcpass={PASSWORD}"),
            format!("--rpccert={}", self.certificate().display()),
            format!("--rpckey={dir}/rpc.key"),
            format!("--rpclisten=127.0.0.1:{}", self.rpc_port),
            format!("--listen=127.0.0.1:{}", self.peer_port),
        ];
        args.extend(miner.map(|address| format!("--miningaddr={address}")));
        let program = Program {
            name: "btcd",
            path: &self.program,
            args: args.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            log_dir: &self.dir,
        };
        let mut process = Process::start(program, &self.guardian)?;
        until("wait for the chain", &mut process, async || {
            self.call("getblockcount", json!([])).await
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    async fn call(&self, method: &str, params: Value) -> Result<Value, String> {
        let request = json!({"jsonrpc": "1.0", "id": 1, "method": method, "params": params});
        let url = format!("https://127.0.0.1:{}/", self.rpc_port);
        let reply =
            answer(self.http.post(url).basic_auth(USER, Some(PASSWORD)).json(&request)).await?;
        match (reply.get("error"), reply.get("result")) {
            (None | Some(Value::Null), Some(result)) => Ok(result.clone()),
            _ => Err(reply.to_string()),
        }
    }
}

/// Waits until a process that was asked to end has ended.
async fn until_gone(process: &mut Process) -> Result<(), StackError> {
    let begun = std::time::Instant::now();
    while process.ended().is_none() {
        if begun.elapsed() > crate::stack::PATIENCE {
            return Err(process.error("stop", "it does not end"));
        }
        tokio::time::sleep(crate::stack::INTERVAL).await;
    }
    Ok(())
}
