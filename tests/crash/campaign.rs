//! Load, deaths, and the comparison afterwards.

use std::env;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinHandle;
use tollway_testkit::postgres::Postgres;
use tollway_testkit::stack::StackOptions;

use crate::client::{Account, Crowd, spend};
use crate::harness::{Gateway, config, eventually};

const CLIENTS: usize = 8;
const PRICE_MSAT: u64 = 1_000;
/// Deaths in all, half of them on each store, unless `TOLLWAY_CRASH_KILLS` says otherwise.
const KILLS: u32 = 60;
/// The longest life of a `tollwayd`, in further answers to its clients.
const ANSWERS_PER_LIFE_MAX: u64 = 120;
/// A failpoint strikes at about every so many changes.
const FAILPOINT_ONE_IN: u32 = 60;

/// The deaths in turn.
const DEATHS: [Death; 4] = [Death::Kill9, Death::AfterCommit, Death::Kill9, Death::BeforeCommit];
const DEATHS_ON_POSTGRES: [Death; 4] =
    [Death::Postgres, Death::AfterCommit, Death::Kill9, Death::BeforeCommit];

/// How a life of `tollwayd` ends, or of the database under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    Kill9,
    BeforeCommit,
    AfterCommit,
    Postgres,
}

/// A campaign under way.
pub(crate) struct Campaign {
    gateway: Gateway,
    /// Where the ledger is, unless in a SQLite file.
    postgres: Option<Postgres>,
    crowd: Arc<Crowd>,
    clients: Vec<JoinHandle<Account>>,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    store: &'static str,
    kills: u32,
    failpoints: u32,
    databases: u32,
    requests: u64,
    served: u64,
    purchases_msat: u64,
    pub(crate) differences: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, kills, failpoints, databases, requests, served, .. } = self;
        let (bought, differences) = (self.purchases_msat, self.differences.len());
        write!(
            f,
            "crash on {store}: {kills} kills ({failpoints} at failpoints, {databases} of the \
             database), {requests} requests ({served} served), {bought} msat bought, \
             {differences} differences"
        )
    }
}

impl Campaign {
    /// A campaign on this server, or on a SQLite file.
    pub(crate) async fn start(postgres: Option<Postgres>) -> Self {
        let mut config = config();
        config["services"][0]["purchase"]["default_sats"] = json!(25);
        let options = StackOptions {
            filter: Some(config),
            postgres: postgres.as_ref().map(|server| server.url().to_owned()),
            ..StackOptions::default()
        };
        let gateway = Gateway::with(options).await;
        let crowd = Arc::new(Crowd::default());
        let clients = (0..CLIENTS)
            .map(|at| {
                let name = format!("client-{at}");
                tokio::spawn(spend(gateway.http.clone(), Arc::clone(&crowd), name))
            })
            .collect();
        Self { gateway, postgres, crowd, clients }
    }

    pub(crate) async fn run(mut self) -> Outcome {
        let wanted = env::var("TOLLWAY_CRASH_KILLS").ok().and_then(|text| text.parse().ok());
        let wanted = wanted.unwrap_or(KILLS) / 2;
        let (store, deaths) = match self.postgres {
            None => ("SQLite", DEATHS),
            Some(_) => ("PostgreSQL", DEATHS_ON_POSTGRES),
        };
        let mut outcome = Outcome { store, ..Outcome::default() };
        while outcome.kills < wanted {
            let death = deaths[outcome.kills as usize % deaths.len()];
            self.live_and_die(death).await;
            outcome.kills += 1;
            match death {
                Death::Kill9 => {}
                Death::BeforeCommit | Death::AfterCommit => outcome.failpoints += 1,
                Death::Postgres => outcome.databases += 1,
            }
        }
        // The last one may have ended by itself.
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
            Death::Kill9 | Death::Postgres => None,
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
            if death == Death::Postgres {
                self.kill_postgres().await;
                // The same tollwayd has to find the database again.
                self.serve_a_while().await;
            }
            self.gateway.stack.kill_tollwayd();
            return;
        }
        let begun = Instant::now();
        while !self.gateway.stack.tollwayd_has_ended() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no request met the failpoint");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
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

    /// The database dies with all its processes, and comes back.
    async fn kill_postgres(&mut self) {
        let Some(mut server) = self.postgres.take() else { return };
        let back = tokio::task::spawn_blocking(move || {
            server.kill()?;
            server.start_again()?;
            Ok::<_, String>(server)
        });
        self.postgres = Some(back.await.unwrap().unwrap());
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
        let audit = self.gateway.audit();
        outcome.differences.extend(
            audit["differences"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|row| format!("audit: {row}")),
        );
    }
}

fn random() -> u64 {
    RandomState::new().hash_one("crash")
}
