//! A real LNbits, with two wallets: one that sells, and one that has money.
//!
//! `make test-lightning` installs it from PyPI. Its own funding source is LNbits' FakeWallet, or
//! one of its clients of other nodes against a [`StandIn`], which proves the stand-in by a
//! program that we did not write.

use std::io;
use std::path::PathBuf;

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::stack::{Guardian, Process, Program, StackError, free_port, root, until};
use crate::standin::{Kind, StandIn};

const PASSWORD: &str = "a-test-of-an-hour";
const BUYER_SATS: u64 = 100_000;

/// A server of a test's own. It ends when this is dropped.
#[derive(Debug)]
pub struct Lnbits {
    /// Where it listens.
    pub url: String,
    /// The invoice key of the wallet that sells.
    pub invoice_key: String,
    /// The admin key of the wallet that pays.
    pub buyer_key: String,
    http: Client,
    _process: Process,
    // Last, so that the log outlives who writes it.
    dir: TempDir,
}

impl Lnbits {
    /// Whether it is installed.
    ///
    /// # Errors
    /// It is not; the message names the remedy.
    pub fn available() -> Result<(), StackError> {
        installed().map(drop)
    }

    /// Starts it; without a stand-in, on its FakeWallet.
    ///
    /// # Errors
    /// It is not installed, or does not become ready.
    pub async fn start(funding: Option<(Kind, &StandIn)>) -> Result<Self, StackError> {
        let (python_home, packages) = installed()?;
        let dir = tempfile::Builder::new()
            .prefix("tollway-lnbits-")
            .tempdir()
            .map_err(|error| StackError::new("create the directory of LNbits", error))?;
        let port = free_port()?;
        let program = Program {
            name: "lnbits",
            path: &PathBuf::from("/bin/sh"),
            // It mounts a directory beside its own code by a relative name.
            args: vec![
                "-c".into(),
                r#"cd "$1" && exec "$2" --host 127.0.0.1 --port "$3""#.into(),
                "lnbits".into(),
                packages.into(),
                python_home.join("bin/lnbits").into(),
                port.to_string().into(),
            ],
            env: environment(&dir, funding),
            log_dir: dir.path(),
        };
        let guardian = Guardian::start()?;
        let mut process = Process::start(program, &guardian)?;
        let url = format!("http://127.0.0.1:{port}");
        let http = Client::builder()
            .no_proxy()
            .build()
            .map_err(|error| StackError::new("build an HTTP client", error))?;
        until("wait for LNbits", &mut process, async || {
            call(&http, Method::GET, format!("{url}/api/v1/health"), None, &Value::Null).await
        })
        .await?;
        let mut lnbits = Self {
            url,
            invoice_key: String::new(),
            buyer_key: String::new(),
            http,
            _process: process,
            dir,
        };
        lnbits.open_wallets().await.map_err(|error| StackError::new("set LNbits up", error))?;
        Ok(lnbits)
    }

    /// A file with a secret, which lives as long as the server.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn key_file(&self, name: &str, secret: &str) -> io::Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, secret)?;
        Ok(path)
    }

    /// Pays an invoice from the wallet that has money.
    ///
    /// # Errors
    /// It does not pay.
    pub async fn pay(&self, bolt11: &str) -> Result<(), StackError> {
        let order = json!({ "out": true, "bolt11": bolt11 });
        let key = Some(("x-api-key", self.buyer_key.as_str()));
        let url = format!("{}/api/v1/payments", self.url);
        let paid = call(&self.http, Method::POST, url, key, &order).await;
        paid.map(drop).map_err(|error| StackError::new("pay with LNbits", error))
    }

    async fn open_wallets(&mut self) -> Result<(), String> {
        let url = |path: &str| format!("{}{path}", self.url);
        let http = &self.http;
        let owner = json!({
            "username": "owner", "password": PASSWORD, "password_repeat": PASSWORD,
        });
        let first = url("/api/v1/auth/first_install");
        let login = call(http, Method::PUT, first, None, &owner).await?;
        let token = format!("Bearer {}", text(&login, "access_token")?);
        let wallet = async |name: &str| {
            let body = json!({ "name": name });
            call(http, Method::POST, url("/api/v1/account"), None, &body).await
        };
        let (seller, buyer) = (wallet("seller").await?, wallet("buyer").await?);
        let money = json!({ "id": text(&buyer, "id")?, "amount": BUYER_SATS });
        let bearer = Some(("authorization", token.as_str()));
        call(http, Method::PUT, url("/users/api/v1/balance"), bearer, &money).await?;
        self.invoice_key = text(&seller, "inkey")?;
        self.buyer_key = text(&buyer, "adminkey")?;
        Ok(())
    }
}

fn environment(
    dir: &TempDir,
    funding: Option<(Kind, &StandIn)>,
) -> Vec<(String, std::ffi::OsString)> {
    let mut env = vec![
        ("LNBITS_DATA_FOLDER", dir.path().display().to_string()),
        ("LNBITS_ADMIN_UI", "true".to_owned()),
        ("AUTH_SECRET_KEY", "a-secret-of-one-test".to_owned()),
        ("LNBITS_EXTENSIONS_DEACTIVATE_ALL", "true".to_owned()),
        ("LNBITS_EXTENSIONS_MANIFESTS", "[]".to_owned()),
        ("LNBITS_WASM_EXTENSIONS_MANIFESTS", "[]".to_owned()),
        // Its webhooks may come to a test.
        ("LNBITS_CALLBACK_URL_RULES", r#"["http://127\\.0\\.0\\.1(:\\d+)?"]"#.to_owned()),
        ("LNBITS_CALLBACK_ALLOW_PRIVATE_IPS", "true".to_owned()),
    ];
    match funding {
        Some((Kind::Cln, node)) => env.extend([
            ("LNBITS_BACKEND_WALLET_CLASS", "CLNRestWallet".to_owned()),
            ("CLNREST_URL", node.url()),
            ("CLNREST_READONLY_RUNE", node.credential.to_owned()),
            ("CLNREST_INVOICE_RUNE", node.credential.to_owned()),
            ("CLNREST_PAY_RUNE", node.credential.to_owned()),
        ]),
        Some((Kind::Phoenixd, node)) => env.extend([
            ("LNBITS_BACKEND_WALLET_CLASS", "PhoenixdWallet".to_owned()),
            ("PHOENIXD_API_ENDPOINT", node.url()),
            ("PHOENIXD_API_PASSWORD", node.credential.to_owned()),
        ]),
        Some((Kind::Lnd, node)) => env.extend([
            ("LNBITS_BACKEND_WALLET_CLASS", "LndRestWallet".to_owned()),
            ("LND_REST_ENDPOINT", node.url()),
            ("LND_REST_MACAROON", node.credential.to_owned()),
        ]),
        // It has no client of BTCPay.
        Some((Kind::Btcpay, _)) | None => {
            env.push(("LNBITS_BACKEND_WALLET_CLASS", "FakeWallet".to_owned()));
        }
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// Its virtual environment, and the directory of its packages there.
fn installed() -> Result<(PathBuf, PathBuf), StackError> {
    let home = root()?.join(".tools/lnbits");
    let versions = std::fs::read_dir(home.join("lib")).ok();
    let packages = versions.and_then(|versions| {
        let paths = versions.flatten().map(|version| version.path().join("site-packages"));
        paths.into_iter().find(|path| path.join("lnbits/static").is_dir())
    });
    packages.map(|packages| (home, packages)).ok_or_else(|| {
        StackError::new("find LNbits", "not in .tools/lnbits")
            .with_remedy("Run `make test-lightning`, which installs it from PyPI.")
    })
}

async fn call(
    http: &Client,
    method: Method,
    url: String,
    header: Option<(&str, &str)>,
    body: &Value,
) -> Result<Value, String> {
    let mut request = http.request(method, url);
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    if !body.is_null() {
        request = request.json(body);
    }
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    // Before it is set up, its front page answers every question.
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn text(reply: &Value, field: &str) -> Result<String, String> {
    let found = reply.get(field).and_then(Value::as_str).map(str::to_owned);
    found.ok_or_else(|| format!("no {field}"))
}
