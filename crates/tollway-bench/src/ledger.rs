//! `tollwayd` on SQLite beside the load, and accounts bought at its doors.

use std::fs;
use std::path::PathBuf;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tollway_core::keyring::Keyring;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{CHALLENGES_PATH, KEYRING_PATH, KeyringReply};
use tollway_testkit::stack::{Process, free_port};

use crate::Result;
use crate::filter::{PRICE_MSAT, SERVICE};
use crate::token;
use crate::workshop::{Job, LOAD_CORE, Workshop};

/// The token of the filter's door.
pub(crate) const GATE_TOKEN: &str = "gate-token-of-the-benchmark";
const ADMIN_TOKEN: &str = "admin-token-of-the-benchmark";
/// Purchases under way at once.
const BUYERS: usize = 64;

/// The doors of a `tollwayd`.
#[derive(Clone, Debug)]
pub(crate) struct Doors {
    pub(crate) http: Client,
    pub(crate) gate: String,
    pub(crate) gate_token: String,
    pub(crate) admin: String,
    pub(crate) admin_token: String,
}

/// An account with credit.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its payment hash.
    pub(crate) hash: PaymentHash,
    /// The `Authorization` value that spends from it.
    pub(crate) credential: String,
}

/// A running `tollwayd` with synchronous = FULL, as shipped.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) process: Process,
    pub(crate) gate_port: u16,
    pub(crate) doors: Doors,
}

impl Ledger {
    pub(crate) async fn start(workshop: &Workshop) -> Result<Self> {
        let (gate_port, admin_port) = (free_port()?, free_port()?);
        let dir = workshop.place("tollwayd");
        fs::create_dir_all(&dir)?;
        let config = dir.join("tollwayd.toml");
        fs::write(&config, settings(workshop)?)?;
        let env: Vec<(&str, String)> = vec![
            ("TOLLWAYD_LISTEN", format!("127.0.0.1:{gate_port}")),
            ("TOLLWAYD_ADMIN_LISTEN", format!("127.0.0.1:{admin_port}")),
            ("TOLLWAYD_STORE", dir.join("tollway.db").display().to_string()),
            ("TOLLWAY_GATE_TOKEN", GATE_TOKEN.to_owned()),
            ("TOLLWAY_ADMIN_TOKEN", ADMIN_TOKEN.to_owned()),
        ];
        let mut process = workshop.start(Job {
            name: "tollwayd",
            place: "tollwayd",
            cores: LOAD_CORE,
            path: &workshop.parts.tollwayd,
            args: vec!["serve".into(), "--config".into(), config.into()],
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect(),
        })?;
        let gate = format!("http://127.0.0.1:{gate_port}");
        workshop.ready(&mut process, &format!("{gate}/readyz"), None, 200, 1).await?;
        let doors = Doors {
            http: workshop.http.clone(),
            gate,
            gate_token: GATE_TOKEN.to_owned(),
            admin: format!("http://127.0.0.1:{admin_port}"),
            admin_token: ADMIN_TOKEN.to_owned(),
        };
        Ok(Self { process, gate_port, doors })
    }
}

/// The shipped configuration without a bound on new invoices and with a quiet log.
fn settings(workshop: &Workshop) -> Result<String> {
    let shipped = fs::read_to_string(workshop.parts.root.join("envoy/tollwayd.toml"))?;
    let mut text = shipped;
    for (from, to) in [
        ("all_per_second = 500", "all_per_second = 1000000"),
        ("level = \"info\"", "level = \"error\""),
    ] {
        if !text.contains(from) {
            return Err(format!("expected {from:?} in envoy/tollwayd.toml").into());
        }
        text = text.replace(from, to);
    }
    Ok(text)
}

impl Doors {
    /// Buys accounts with so much credit each, all through the doors that customers use.
    pub(crate) async fn buy(&self, accounts: usize, credit_msat: u64) -> Result<Vec<Account>> {
        let keyring = self.keyring().await?;
        stream::iter(0..accounts)
            .map(|_| self.buy_one(&keyring, credit_msat, 0))
            .buffer_unordered(BUYERS)
            .try_collect()
            .await
    }

    /// Buys an account whose token has so many caveats more than the two it is minted with.
    pub(crate) async fn buy_with(&self, credit_msat: u64, more_caveats: u64) -> Result<Account> {
        self.buy_one(&self.keyring().await?, credit_msat, more_caveats).await
    }

    async fn buy_one(
        &self,
        keyring: &Keyring,
        credit_msat: u64,
        more_caveats: u64,
    ) -> Result<Account> {
        let order = json!({"route": "target", "service": SERVICE, "amount_msat": PRICE_MSAT,
            "credit_msat": credit_msat, "memo": ""});
        let url = format!("{}{CHALLENGES_PATH}", self.gate);
        let made = self.ask(self.http.post(url).bearer_auth(&self.gate_token).json(&order)).await?;
        let invoice = made["invoice"].as_str().unwrap_or_default();
        let hash: PaymentHash = serde_json::from_value(made["payment_hash"].clone())
            .map_err(|error| format!("expected an invoice, but found {made}: {error}"))?;
        let url = format!("{}/sim/v1/pay", self.admin);
        let payment = json!({"invoice": invoice});
        let post = self.http.post(url).bearer_auth(&self.admin_token).json(&payment);
        let paid = self.ask(post).await?;
        let preimage = paid["preimage"].as_str().unwrap_or_default();
        let macaroon = token::macaroon(keyring, hash, invoice, more_caveats)?;
        Ok(Account { hash, credential: format!("L402 {macaroon}:{preimage}") })
    }

    async fn keyring(&self) -> Result<Keyring> {
        let url = format!("{}{KEYRING_PATH}", self.gate);
        let reply = self.ask(self.http.get(url).bearer_auth(&self.gate_token)).await?;
        let reply: KeyringReply = serde_json::from_value(reply)?;
        Ok(Keyring::from_reply(&reply).map_err(|error| error.to_string())?)
    }

    /// What the operator's door says of this.
    pub(crate) async fn admin(&self, what: &str) -> Result<Value> {
        let url = format!("{}/admin/v1/{what}", self.admin);
        self.ask(self.http.get(url).bearer_auth(&self.admin_token)).await
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value> {
        Ok(request.send().await?.error_for_status()?.json().await?)
    }
}

/// Writes the credentials for the load to read, one a line.
pub(crate) fn list(workshop: &Workshop, name: &str, accounts: &[Account]) -> Result<PathBuf> {
    let path = workshop.place(name);
    let mut text = String::new();
    for account in accounts {
        text.push_str(&account.credential);
        text.push('\n');
    }
    fs::write(&path, text)?;
    Ok(path)
}
