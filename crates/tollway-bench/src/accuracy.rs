//! `make accuracy`: clients at full speed count their answers, the ledger its charges.
//!
//! Without kills both are equal. When Envoy dies, it takes along what was served and not yet
//! reported: the ledger then has charged less, within the documented bound, and never more.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tollway_testkit::stack::{Ports, Stack, StackOptions};

use crate::Result;
use crate::bars::Bars;
use crate::client::{Count, Crowd, ask};
use crate::filter::{self, CAMPAIGN_LEASE_MAX_SATS, PRICE_MSAT};
use crate::ledger::{Account, Doors};
use crate::machine;
use crate::settings::Settings;
use crate::workshop::Workshop;

const CLIENTS: usize = 64;
/// Eight clients share one, so that its lease is fought for.
const ACCOUNTS: usize = 8;
const WORKERS: u32 = 2;
const CREDIT_MSAT: u64 = 1_000_000_000_000;
const PATH: &str = "/api/joke";
const TICK_MS: u64 = 50;
/// What Envoy had reserved when it died comes back after this.
const HOLD_TTL_S: u64 = 10;
/// How long the books may take to come to rest.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a campaign went.
#[derive(Debug)]
struct Outcome {
    counts: Count,
    charged: u64,
    /// Accounts that were charged more than was delivered to their clients.
    overcharged: u64,
    tollwayd_deaths: u64,
    envoy_deaths: u64,
    /// The most that the deaths of Envoy may have cost the operator, in answers.
    bound: u64,
    hits: u64,
    seconds: f64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Count { delivered, refused, lost, wrong } = self.counts;
        write!(
            f,
            "{delivered} answers in {:.0} s ({} reached the upstream), {} charged; {refused} \
             refused, {lost} lost, {wrong} wrong; tollwayd died {} times, Envoy {}; bound {}",
            self.seconds,
            self.hits,
            self.charged,
            self.tollwayd_deaths,
            self.envoy_deaths,
            self.bound,
        )
    }
}

impl Outcome {
    fn json(&self) -> Value {
        let Count { delivered, refused, lost, wrong } = self.counts;
        json!({"delivered": delivered, "charged": self.charged, "upstream": self.hits,
            "refused": refused, "lost": lost, "wrong": wrong, "bound": self.bound,
            "tollwayd_deaths": self.tollwayd_deaths, "envoy_deaths": self.envoy_deaths,
            "seconds": self.seconds.round()})
    }

    /// Answers without a charge.
    fn given_away(&self) -> f64 {
        self.counts.delivered as f64 - self.charged as f64
    }
}

/// Both campaigns and their bars.
pub(crate) async fn run(settings: &Settings) -> Result<ExitCode> {
    let workshop = Workshop::open()?;
    let time = Duration::from_secs(settings.campaign_seconds);
    let calm = Campaign::start(&workshop).await?.run(time, false).await?;
    println!("without kills: {calm}");
    let wild = Campaign::start(&workshop).await?.run(time, true).await?;
    println!("with kills: {wild}");
    let mut bars = Bars::default();
    bars.at_most("calm_difference", Some(calm.given_away().abs()), 0.0);
    bars.at_most("calm_wrong_answers", Some(calm.counts.wrong as f64), 0.0);
    bars.at_least("calm_answers", Some(calm.counts.delivered as f64), 1_000.0);
    bars.at_least("kills_of_envoy", Some(wild.envoy_deaths as f64), 1.0);
    bars.at_least("kills_of_tollwayd", Some(wild.tollwayd_deaths as f64), 1.0);
    bars.at_most("kills_accounts_overcharged", Some(wild.overcharged as f64), 0.0);
    bars.at_most("kills_given_away", Some(wild.given_away()), wild.bound as f64);
    bars.at_most("kills_wrong_answers", Some(wild.counts.wrong as f64), 0.0);
    let results = json!({
        "machine": machine::describe()?,
        "clients": CLIENTS,
        "accounts": ACCOUNTS,
        "workers": WORKERS,
        "without_kills": calm.json(),
        "with_kills": wild.json(),
        "bars": bars.bars(),
    });
    let text = serde_json::to_string_pretty(&results)? + "\n";
    std::fs::write(workshop.bench("results/accuracy.json"), text)?;
    Ok(ExitCode::from(u8::from(bars.short())))
}

struct Campaign {
    stack: Stack,
    doors: Doors,
    accounts: Vec<Account>,
    crowd: Arc<Crowd>,
    clients: Vec<JoinHandle<Count>>,
}

impl Campaign {
    /// The product as shipped, but for its one route; then all clients at once.
    async fn start(workshop: &Workshop) -> Result<Self> {
        let ports = Ports::free()?;
        let options = StackOptions {
            concurrency: WORKERS,
            filter: Some(filter::campaign(PATH, HOLD_TTL_S, TICK_MS)),
            ports: Some(ports),
            ..StackOptions::default()
        };
        let stack = Stack::start(options).await?;
        let doors = Doors {
            http: workshop.http.clone(),
            gate: stack.gate_url(),
            gate_token: stack.gate_token().to_owned(),
            admin: stack.admin_url(),
            admin_token: stack.admin_token().to_owned(),
        };
        let accounts = doors.buy(ACCOUNTS, CREDIT_MSAT).await?;
        let gateway = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.gateway));
        let crowd = Arc::new(Crowd::default());
        let clients = accounts
            .iter()
            .cycle()
            .take(CLIENTS)
            .map(|account| {
                let request = format!(
                    "GET {PATH} HTTP/1.1\r\nhost: bench\r\nauthorization: {}\r\n\r\n",
                    account.credential
                );
                tokio::spawn(ask(gateway, request, Arc::clone(&crowd)))
            })
            .collect();
        Ok(Self { stack, doors, accounts, crowd, clients })
    }

    async fn run(mut self, time: Duration, kills: bool) -> Result<Outcome> {
        let begun = Instant::now();
        let (mut tollwayd_deaths, mut envoy_deaths, mut bound) = (0, 0, 0);
        while begun.elapsed() < time {
            if !kills {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
            // Long enough for what the last death left unreported to be reported.
            pause(1_000, 2_000).await;
            if random().is_multiple_of(2) {
                self.stack.kill_tollwayd();
                pause(0, 300).await;
                self.stack.start_tollwayd().await?;
                tollwayd_deaths += 1;
                pause(1_000, 2_000).await;
            }
            bound += self.kill_envoy().await?;
            envoy_deaths += 1;
        }
        self.crowd.stop.store(true, Ordering::Relaxed);
        let seconds = begun.elapsed().as_secs_f64();
        let mut delivered = vec![0; self.accounts.len()];
        let mut counts = Count::default();
        for (at, client) in std::mem::take(&mut self.clients).into_iter().enumerate() {
            let count = client.await?;
            if let Some(sum) = delivered.get_mut(at % ACCOUNTS) {
                *sum += count.delivered;
            }
            counts.delivered += count.delivered;
            counts.refused += count.refused;
            counts.lost += count.lost;
            counts.wrong += count.wrong;
        }
        let charged = self.at_rest().await?;
        let overcharged = self.overcharged(&delivered).await?;
        let hits = self.stack.upstream().hits().of(PATH);
        self.stack.stop().await?;
        Ok(Outcome {
            counts,
            charged,
            overcharged,
            tollwayd_deaths,
            envoy_deaths,
            bound,
            hits,
            seconds,
        })
    }

    /// Kills Envoy and starts it again; gives how many answers may have gone with it: for each
    /// account what its lease may have unposted, and a request of its own for each client.
    async fn kill_envoy(&mut self) -> Result<u64> {
        self.stack.kill_envoy();
        self.stack.start_envoy().await?;
        let of_leases = CAMPAIGN_LEASE_MAX_SATS * 1_000 / PRICE_MSAT * ACCOUNTS as u64;
        Ok(of_leases + CLIENTS as u64)
    }

    /// Waits until nothing is held any more; gives the charges, in answers.
    async fn at_rest(&self) -> Result<u64> {
        let begun = Instant::now();
        loop {
            let stats = self.doors.admin("stats").await?;
            if stats["holds_open"] == 0 {
                return Ok(stats["charged_msat"].as_u64().unwrap_or_default() / PRICE_MSAT);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the books do not come to rest: {stats}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// How many accounts were charged more than their clients got.
    async fn overcharged(&self, delivered: &[u64]) -> Result<u64> {
        let mut overcharged = 0;
        for (account, delivered) in self.accounts.iter().zip(delivered) {
            let view = self.doors.admin(&format!("accounts/{}", account.hash.to_hex())).await?;
            let charged = view["charged_msat"].as_u64().ok_or("expected charged_msat")?;
            if charged > delivered * PRICE_MSAT {
                println!("overcharged: {delivered} answers, {charged} msat: {view}");
                overcharged += 1;
            }
        }
        Ok(overcharged)
    }
}

async fn pause(at_least_ms: u64, at_most_ms: u64) {
    let more = random() % (at_most_ms - at_least_ms);
    tokio::time::sleep(Duration::from_millis(at_least_ms + more)).await;
}

fn random() -> u64 {
    RandomState::new().hash_one("kill")
}
