//! Load, deaths, and the comparison afterwards.

use std::env;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tollway_testkit::postgres::Postgres;
use tollway_testkit::stack::StackOptions;

use crate::client::{Account, Crowd, spend};
use crate::harness::{Gateway, config, eventually, repository};

const CLIENTS: usize = 8;
const PRICE_MSAT: u64 = 1_000;
/// Deaths in all, unless `TOLLWAY_CRASH_KILLS` says otherwise.
const KILLS: u32 = 60;
/// The longest life of a `tollwayd`, in further answers to its clients.
const ANSWERS_PER_LIFE_MAX: u64 = 120;
/// A failpoint strikes at about every so many changes.
const FAILPOINT_ONE_IN: u32 = 60;

/// How a life of `tollwayd` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Kill9,
    BeforeCommit,
    AfterCommit,
    /// PostgreSQL dies in its place.
    Store,
}

/// A campaign under way.
pub(crate) struct Campaign {
    gateway: Gateway,
    crowd: Arc<Crowd>,
    clients: Vec<JoinHandle<Account>>,
    postgres: Option<Postgres>,
    _directory: TempDir,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    kills: u32,
    failpoints: u32,
    stores: u32,
    requests: u64,
    served: u64,
    purchases_msat: u64,
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kills, failpoints, stores, requests, served, purchases_msat, differences } =
            self;
        write!(
            f,
            "crash: {kills} kills ({failpoints} at failpoints, {stores} of PostgreSQL), {requests} requests ({served} \
             served), {purchases_msat} msat bought, {} differences",
            differences.len()
        )
    }
}

impl Campaign {
    /// A campaign on a file, or on a PostgreSQL that dies as well.
    pub(crate) async fn start(postgres: Option<Postgres>) -> Self {
        let mut config = config();
        config["services"][0]["purchase"]["default_sats"] = json!(25);
        let directory = tempfile::tempdir().unwrap();
        let options = StackOptions {
            filter: Some(config),
            tollwayd_config: Some(settings(directory.path(), postgres.is_some())),
            postgres: postgres.as_ref().map(Postgres::uri),
            ..StackOptions::default()
        };
        let gateway = Gateway::with(options).await;
        let crowd = Arc::new(Crowd::default());
        let clients = (0..CLIENTS)
            .map(|n| tokio::spawn(spend(gateway.http.clone(), Arc::clone(&crowd), n)))
            .collect();
        Self { gateway, crowd, clients, postgres, _directory: directory }
    }

    pub(crate) async fn run(mut self) -> Outcome {
        let wanted = env::var("TOLLWAY_CRASH_KILLS").ok().and_then(|text| text.parse().ok());
        let wanted = wanted.unwrap_or(KILLS);
        let mut outcome = Outcome::default();
        let deaths =
            [Death::Kill9, Death::AfterCommit, Death::Store, Death::Kill9, Death::BeforeCommit];
        let possible = deaths.iter().filter(|death| **death != Death::Store || self.has_server());
        let possible: Vec<Death> = possible.copied().collect();
        while outcome.kills < wanted {
            let death = possible[outcome.kills as usize % possible.len()];
            match death {
                Death::Store => self.store_dies().await,
                _ => self.live_and_die(death).await,
            }
            outcome.kills += 1;
            outcome.stores += u32::from(death == Death::Store);
            outcome.failpoints +=
                u32::from(matches!(death, Death::BeforeCommit | Death::AfterCommit));
        }
        self.gateway.stack.kill_tollwayd();
        self.gateway.stack.set_tollwayd_env(Vec::new());
        self.gateway.stack.start_tollwayd().await.unwrap();
        self.crowd.stop.store(true, Ordering::SeqCst);
        self.compare(&mut outcome).await;
        outcome
    }

    /// One life of `tollwayd`: it starts, serves a while, and dies.
    async fn live_and_die(&mut self, death: Death) {
        let failpoint = match death {
            Death::Kill9 | Death::Store => None,
            Death::BeforeCommit => Some("before_commit"),
            Death::AfterCommit => Some("after_commit"),
        };
        let stack = &mut self.gateway.stack;
        stack.kill_tollwayd();
        let variable = "TOLLWAYD_FAILPOINT".to_owned();
        let env = failpoint.map(|place| (variable, format!("{place}:abort:{FAILPOINT_ONE_IN}")));
        stack.set_tollwayd_env(env.into_iter().collect());
        // It may reach its failpoint before it was seen ready: that is a death as well.
        let ready = stack.start_tollwayd().await;
        assert!(ready.is_ok() || failpoint.is_some(), "tollwayd does not come back: {ready:?}");
        if ready.is_err() {
            return;
        }
        if failpoint.is_none() {
            self.serve_a_while().await;
            self.gateway.stack.kill_tollwayd();
            return;
        }
        while !self.gateway.stack.tollwayd_has_ended() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// PostgreSQL dies under a `tollwayd` that lives on, and comes back.
    async fn store_dies(&mut self) {
        self.gateway.stack.kill_tollwayd();
        self.gateway.stack.set_tollwayd_env(Vec::new());
        self.gateway.stack.start_tollwayd().await.unwrap();
        self.serve_a_while().await;
        let mut server = self.postgres.take().expect("a server to kill");
        let restarted =
            tokio::task::spawn_blocking(move || server.kill_and_restart().map(|()| server));
        self.postgres = Some(restarted.await.unwrap().unwrap());
        self.serve_a_while().await;
    }

    fn has_server(&self) -> bool {
        self.postgres.is_some()
    }

    async fn serve_a_while(&self) {
        let life = 1 + random() % ANSWERS_PER_LIFE_MAX;
        let until = self.crowd.served.load(Ordering::SeqCst) + life;
        eventually("some requests are served", async || {
            (self.crowd.served.load(Ordering::SeqCst) >= until).then_some(())
        })
        .await;
        // Not always right after an answer.
        tokio::time::sleep(Duration::from_micros(random() % 5_000)).await;
    }

    /// Every client's own count against the ledger, the ledger against its entries.
    async fn compare(self, outcome: &mut Outcome) {
        let mut accounts = Vec::new();
        for client in self.clients {
            accounts.push(client.await.unwrap());
        }
        let stats = self.gateway.ledger_at_rest().await;
        outcome.requests = self.crowd.asked.load(Ordering::SeqCst);
        for account in &accounts {
            outcome.served += account.served;
            outcome.purchases_msat += account.bought_msat;
            outcome.differences.extend(account.surprises.iter().cloned());
            let view = self.gateway.http.admin(&format!("accounts/{}", account.name)).await;
            let expected = account.bought_msat.checked_sub(account.served * PRICE_MSAT);
            if expected != view["balance_msat"].as_u64() {
                outcome.differences.push(format!(
                    "account {}: its client bought {} msat and was served {} times, but the \
                     balance is {}",
                    account.name, account.bought_msat, account.served, view["balance_msat"]
                ));
            }
        }
        for (field, counted) in [
            ("credited_msat", outcome.purchases_msat),
            ("charged_msat", outcome.served * PRICE_MSAT),
        ] {
            if stats[field] != counted {
                let found = &stats[field];
                let what = format!("{field}: clients counted {counted}, the ledger has {found}");
                outcome.differences.push(what);
            }
        }
        let hits = self.gateway.stack.upstream().hits().of("/echo");
        if hits != outcome.served {
            let what = format!("the upstream served {hits}, clients got {}", outcome.served);
            outcome.differences.push(what);
        }
        let audit = self.gateway.http.admin("audit").await;
        outcome.differences.extend(
            audit["differences"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| format!("audit: {row}")),
        );
    }
}

/// The shipped configuration for many buyers behind one address.
fn settings(directory: &Path, postgres: bool) -> PathBuf {
    let mut text = std::fs::read_to_string(repository("envoy/tollwayd.toml")).unwrap();
    for name in ["per_client_per_minute", "per_client_burst"] {
        text = text.replace(&format!("{name} = 60"), &format!("{name} = 100000"));
    }
    if postgres {
        text = text
            .replace("sqlite = \"tollwayd.db\"", "")
            .replace("# postgres = \"env:", "postgres = \"env:");
    }
    let path = directory.join("tollwayd.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn random() -> u64 {
    RandomState::new().hash_one("crash")
}
