//! One lnd node, driven over its REST interface.

use std::path::{Path, PathBuf};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};

use super::btcd::Btcd;
use super::{answer, client, subdirectory, text};
use crate::stack::{Guardian, INTERVAL, PATIENCE, Process, Program, StackError, free_port, until};

/// A node. It ends when this is dropped.
#[derive(Debug)]
pub struct Lnd {
    name: &'static str,
    process: Option<Process>,
    program: PathBuf,
    dir: PathBuf,
    args: Vec<String>,
    rest_port: u16,
    rpc_port: u16,
    peer_port: u16,
    guardian: Guardian,
    http: Client,
    /// The macaroon that may do everything, in hex.
    admin: String,
}

impl Lnd {
    pub(super) async fn start(
        name: &'static str,
        programs: &Path,
        dir: &Path,
        chain: &Btcd,
        guardian: &Guardian,
    ) -> Result<Self, StackError> {
        let dir = subdirectory(dir, name)?;
        let (rest_port, peer_port, rpc_port) = (free_port()?, free_port()?, free_port()?);
        let mut args = vec![
            format!("--lnddir={}", dir.display()),
            "--bitcoin.regtest".to_owned(),
            "--noseedbackup".to_owned(),
            "--nobootstrap".to_owned(),
            "--bitcoin.defaultchanconfs=1".to_owned(),
            "--trickledelay=50".to_owned(),
            "--gossip.sub-batch-delay=5ms".to_owned(),
            format!("--listen=127.0.0.1:{peer_port}"),
            format!("--externalip=127.0.0.1:{peer_port}"),
            format!("--rpclisten=127.0.0.1:{rpc_port}"),
            format!("--restlisten=127.0.0.1:{rest_port}"),
            "--debuglevel=info".to_owned(),
        ];
        args.extend(chain.lnd_args());
        let mut node = Self {
            name,
            process: None,
            program: programs.join("lnd"),
            dir,
            args,
            rest_port,
            rpc_port,
            peer_port,
            guardian: guardian.clone(),
            http: client()?,
            admin: String::new(),
        };
        node.start_again().await?;
        Ok(node)
    }

    /// Starts the node after [`Lnd::kill`], with the files and the ports that it had.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> Result<(), StackError> {
        let program = Program {
            name: self.name,
            path: &self.program,
            args: self.args.iter().map(Into::into).collect(),
            env: Vec::new(),
            log_dir: &self.dir,
        };
        let mut process = Process::start(program, &self.guardian)?;
        let opened = until("wait for the node", &mut process, async || {
            let macaroon = std::fs::read(self.macaroon("admin")).map_err(|e| e.to_string())?;
            let macaroon = hex::encode(macaroon);
            let request = self.http.get(format!("{}/v1/getinfo", self.url()));
            answer(request.header("grpc-metadata-macaroon", &macaroon)).await?;
            Ok(macaroon)
        })
        .await?;
        self.admin = opened;
        self.process = Some(process);
        Ok(())
    }

    /// Ends the node at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the node without ending it: its peers and clients hear nothing of it any more.
    pub fn pause(&self) {
        if let Some(process) = &self.process {
            process.pause();
        }
    }

    /// Waits until a payment of its own is on its way.
    ///
    /// # Errors
    /// None is within a minute.
    pub async fn wait_for_payment_under_way(&self) -> Result<(), StackError> {
        self.eventually("wait for a payment", async || {
            let path = "/v1/payments?include_incomplete=true&reversed=true&max_payments=1";
            let list = self.get(path).await.map_err(|error| error.to_string())?;
            match text(&list, "/payments/0/htlcs/0/status").as_str() {
                "IN_FLIGHT" => Ok(()),
                _ => Err(list.to_string()),
            }
        })
        .await
    }

    /// Where its REST interface is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.rest_port)
    }

    /// Where its gRPC interface is: an address and a port.
    #[must_use]
    pub fn rpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc_port)
    }

    /// Its TLS certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.join("tls.cert")
    }

    /// One of the macaroons that it makes when it starts: `admin`, `invoice`, `readonly`, ..
    #[must_use]
    pub fn macaroon(&self, name: &str) -> PathBuf {
        self.dir.join(format!("data/chain/bitcoin/regtest/{name}.macaroon"))
    }

    /// Pays an invoice and returns the preimage, in hex.
    ///
    /// # Errors
    /// The payment failed, or the node does not answer.
    pub async fn pay(&self, invoice: &str) -> Result<String, StackError> {
        let order = json!({
            "payment_request": invoice, "timeout_seconds": 30, "fee_limit_sat": "10",
            "no_inflight_updates": true,
        });
        // The last update of the stream, and with these words the only one.
        let update = self.post("/v2/router/send", &order).await?;
        if text(&update, "/result/status") == "SUCCEEDED" {
            return Ok(text(&update, "/result/payment_preimage"));
        }
        Err(StackError::new(format!("pay with {}", self.name), update))
    }

    /// Calls its REST interface with the right to do everything.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, StackError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Asks its REST interface with the right to do everything.
    ///
    /// # Errors
    /// It refuses, or does not answer.
    pub async fn get(&self, path: &str) -> Result<Value, StackError> {
        self.call(Method::GET, path, None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, StackError> {
        let failed = |error: String| StackError::new(format!("{} {path}", self.name), error);
        let mut request: RequestBuilder = self
            .http
            .request(method, format!("{}{path}", self.url()))
            .header("grpc-metadata-macaroon", &self.admin);
        if let Some(body) = body {
            request = request.json(body);
        }
        answer(request).await.map_err(failed)
    }

    pub(super) const fn peer_port(&self) -> u16 {
        self.peer_port
    }

    pub(super) async fn address(&mut self) -> Result<String, StackError> {
        let reply = self.get("/v1/newaddress").await?;
        Ok(text(&reply, "/address"))
    }

    pub(super) async fn connect(&self, key: &str, port: u16) -> Result<(), StackError> {
        let peer = json!({"addr": {"pubkey": key, "host": format!("127.0.0.1:{port}")}});
        self.eventually("connect the nodes", async || {
            self.post("/v1/peers", &peer).await.map_err(|error| error.to_string())
        })
        .await
        .map(drop)
    }

    /// What it says of itself, once a flag of that is set.
    pub(super) async fn info(&self, flag: &str) -> Result<Value, StackError> {
        self.eventually(flag, async || {
            let info = self.get("/v1/getinfo").await.map_err(|error| error.to_string())?;
            if info.get(flag) == Some(&Value::Bool(true)) {
                Ok(info)
            } else {
                Err(info.to_string())
            }
        })
        .await
    }

    pub(super) async fn wait_for_funds(&self) -> Result<(), StackError> {
        self.eventually("wait for coins", async || {
            let balance =
                self.get("/v1/balance/blockchain").await.map_err(|error| error.to_string())?;
            let confirmed = text(&balance, "/confirmed_balance");
            if matches!(confirmed.as_str(), "" | "0") { Err(balance.to_string()) } else { Ok(()) }
        })
        .await
    }

    /// Waits until a channel can be used.
    ///
    /// # Errors
    /// None can within a minute.
    pub async fn wait_for_channel(&self) -> Result<(), StackError> {
        self.eventually("wait for the channel", async || {
            let path = "/v1/channels?active_only=true";
            let list = self.get(path).await.map_err(|error| error.to_string())?;
            let channels = list.get("channels").and_then(Value::as_array);
            if channels.is_some_and(|channels| !channels.is_empty()) {
                Ok(())
            } else {
                Err("no active channel".to_owned())
            }
        })
        .await
    }

    /// An active channel carries no payment yet before the router has heard of it.
    pub(super) async fn wait_for_route(&self, key: &str) -> Result<(), StackError> {
        let path = format!("/v1/graph/routes/{key}/1");
        self.eventually("wait for a route", async || {
            self.get(&path).await.map(drop).map_err(|error| error.to_string())
        })
        .await
    }

    async fn eventually<T>(
        &self,
        step: &str,
        mut look: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, StackError> {
        let begun = std::time::Instant::now();
        loop {
            match look().await {
                Ok(found) => return Ok(found),
                Err(complaint) if begun.elapsed() > PATIENCE => {
                    let step = format!("{}: {step}", self.name);
                    return Err(StackError::new(step, complaint)
                        .with_log(&self.dir.join(format!("{}.out.log", self.name))));
                }
                Err(_) => tokio::time::sleep(INTERVAL).await,
            }
        }
    }
}
