//! What stands beside what: one Envoy for each case on Envoy.

use std::env;
use std::path::PathBuf;

use serde_json::Value;
use tollway_testkit::stack::{Process, free_port};

use crate::Result;
use crate::envoy::{self, Envoy, Plan};
use crate::filter::{self, Spend, TARGET};
use crate::ledger::{self, Account, Ledger};
use crate::load::Traffic;
use crate::rounds::Case;
use crate::settings::Settings;
use crate::token;
use crate::workshop::{ALL_CORES, Job, LOAD_CORE, SERVER_CORE, Workshop};

/// Credit that no run uses up.
const RICH_MSAT: u64 = 1_000_000_000_000;
/// Credit of one account among many: no run uses it up, not even of a single one, and that of
/// 100,000 together is an amount that the ledger can say.
const CREDIT_MSAT: u64 = 50_000_000_000;
/// Caveats that a token is minted with, and those that the longer one has.
const CAVEATS: u64 = 2;
const MANY_CAVEATS: u64 = 10;
/// How often each of many accounts is used before the first slice, so that leases have grown.
const WARM_UP_TURNS: f64 = 16.0;
/// Connections spread over the workers by chance.
const PROBES: u32 = 12;

/// All Envoys and what is asked of them.
#[derive(Debug)]
pub(crate) struct Fleet {
    /// Everything but the sweep of accounts.
    pub(crate) main: Vec<Case>,
    /// The sweep of accounts, measured by itself so that their leases stay in use.
    pub(crate) accounts: Vec<Case>,
    /// The Envoy without a filter.
    pub(crate) bare: u32,
    _envoys: Vec<Envoy>,
    _authz: Process,
}

/// What tells one case from the others.
struct Spec {
    name: &'static str,
    label: &'static str,
    bare: &'static str,
    filter: Option<Value>,
    calls: Calls,
    workers: u32,
    /// Another Envoy answers, on the core of the load.
    proxied: bool,
    traffic: Traffic,
    /// The `Authorization` value of the probe.
    probe: Option<String>,
    refused: bool,
    /// What a request without a credential gets: a filter that lets it pass measures nothing.
    without: u16,
}

/// Whom the filter calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Calls {
    Nobody,
    Tollwayd,
    Authz,
}

impl Spec {
    fn new(name: &'static str, label: &'static str, authorization: &str) -> Self {
        Self {
            name,
            label,
            bare: "bare",
            filter: None,
            calls: Calls::Nobody,
            workers: 1,
            proxied: false,
            traffic: Traffic::Fixed(Some(authorization.to_owned())),
            probe: Some(authorization.to_owned()),
            refused: false,
            without: 200,
        }
    }

    fn filter(self, filter: Value, calls: Calls) -> Self {
        Self { filter: Some(filter), calls, ..self }
    }
}

struct Setup<'a> {
    workshop: &'a Workshop,
    ledger: &'a Ledger,
    authz_port: u16,
    upstream_port: u16,
    envoys: Vec<Envoy>,
}

impl Setup<'_> {
    async fn case(&mut self, spec: Spec) -> Result<Case> {
        let cores = if spec.workers > 1 { ALL_CORES } else { SERVER_CORE };
        let calls = match spec.calls {
            Calls::Nobody => vec![],
            Calls::Tollwayd => vec![("tollwayd", self.ledger.gate_port)],
            Calls::Authz => vec![("authz", self.authz_port)],
        };
        let (filter, workers) = (spec.filter, spec.workers);
        let upstream = spec.proxied.then_some(self.upstream_port);
        let plan = Plan { place: spec.name, filter, calls, upstream, workers, cores };
        let mut envoy = Envoy::start(self.workshop, plan)?;
        let url = format!("{}{TARGET}", envoy.url);
        let status = if spec.refused { 402 } else { 200 };
        let probe = spec.probe.as_deref();
        self.workshop.ready(&mut envoy.process, &url, probe, status, PROBES * workers).await?;
        self.workshop.ready(&mut envoy.process, &url, None, spec.without, 1).await?;
        let ours = spec.calls == Calls::Tollwayd;
        let case = Case {
            name: spec.name,
            label: spec.label,
            bare: spec.bare,
            url,
            traffic: spec.traffic,
            refused: spec.refused,
            server: envoy.process.pid(),
            companion: ours.then(|| self.ledger.process.pid()),
            load_cores: if workers > 1 { ALL_CORES } else { LOAD_CORE },
            warm_up_requests: 0.0,
        };
        self.envoys.push(envoy);
        Ok(case)
    }

    /// Our filter with these settings, paid by this account.
    fn ours(
        &self,
        name: &'static str,
        label: &'static str,
        account: &Account,
        spend: Spend,
        routes: usize,
    ) -> Spec {
        let config = filter::config(spend, routes);
        let filter = envoy::wasm(&self.workshop.parts.wasm, Some(&config));
        let spec = Spec::new(name, label, &account.credential).filter(filter, Calls::Tollwayd);
        Spec { without: 402, ..spec }
    }

    /// A filter that ours is compared with.
    fn yardstick(&self, name: &str) -> Result<PathBuf> {
        let file = self.workshop.target.join(format!("wasm32-wasip1/filter/{name}.wasm"));
        file.is_file().then_some(file).ok_or(format!("no {name}.wasm: run make bench").into())
    }

    /// The cases on one worker that the bars compare.
    async fn beside_each_other(&mut self) -> Result<Vec<Case>> {
        let doors = &self.ledger.doors;
        let account = doors.buy_with(RICH_MSAT, 0).await?;
        let exact = doors.buy_with(RICH_MSAT, 0).await?;
        // What is parsed anyway costs the same everywhere: all carry an equal credential.
        let header = &account.credential;
        let [noop, calls] = ["noop", "calls"].map(|name| self.yardstick(name));
        let (noop, calls) = (noop?, calls?);
        let challenge = Spec {
            traffic: Traffic::Fixed(None),
            probe: None,
            refused: true,
            ..self.ours("challenge", "Tollway, 402 challenge", &account, Spend::Leased, 1)
        };
        let jwt = Spec::new("jwt_authn", "jwt_authn HS256, no cache", &token::jwt()?)
            .filter(envoy::jwt_authn(), Calls::Nobody);
        let specs = [
            Spec::new("bare", "no filter", header),
            Spec::new("noop", "wasm filter that does nothing", header)
                .filter(envoy::wasm(&noop, None), Calls::Nobody),
            Spec::new("calls", "wasm filter with our calls alone", header)
                .filter(envoy::wasm(&calls, None), Calls::Nobody),
            self.ours("leased", "Tollway, leased", &account, Spend::Leased, 1),
            self.ours("exact", "Tollway, exact (SQLite FULL)", &exact, Spend::Exact, 1),
            challenge,
            Spec { without: 401, ..jwt },
            Spec::new("ext_authz", "ext_authz, trivial service", header)
                .filter(envoy::ext_authz(), Calls::Authz),
        ];
        self.all(specs).await
    }

    /// Our filter under more routes, more caveats and more workers.
    async fn sweeps(&mut self) -> Result<Vec<Case>> {
        let doors = &self.ledger.doors;
        let [a, b, c, d] = [
            doors.buy_with(RICH_MSAT, 0).await?,
            doors.buy_with(RICH_MSAT, 0).await?,
            doors.buy_with(RICH_MSAT, 0).await?,
            doors.buy_with(RICH_MSAT, 0).await?,
        ];
        let long = doors.buy_with(RICH_MSAT, MANY_CAVEATS - CAVEATS).await?;
        let leased = Spend::Leased;
        let two = self.ours("leased_2_workers", "Tollway, leased, 2 workers", &c, leased, 1);
        let bare = Spec::new("bare_2_workers", "no filter, 2 workers", &c.credential);
        let proxied = self.ours("proxied", "Tollway, leased, with an upstream", &d, leased, 1);
        let bare_proxied = Spec::new("bare_proxied", "no filter, with an upstream", &d.credential);
        let specs = [
            self.ours("routes_10", "Tollway, leased, 10 routes", &a, leased, 10),
            self.ours("routes_1000", "Tollway, leased, 1,000 routes", &b, leased, 1_000),
            self.ours("caveats_10", "Tollway, leased, 10 caveats", &long, leased, 1),
            Spec { workers: 2, bare: "bare_2_workers", ..bare },
            Spec { workers: 2, bare: "bare_2_workers", ..two },
            Spec { proxied: true, bare: "bare_proxied", ..bare_proxied },
            Spec { proxied: true, bare: "bare_proxied", ..proxied },
        ];
        self.all(specs).await
    }

    /// Our filter under more accounts, each drawn at random for every request.
    async fn accounts(&mut self, settings: &Settings) -> Result<Vec<Case>> {
        let sizes = [
            ("accounts_1", "Tollway, leased, 1 account", 1),
            ("accounts_1000", "Tollway, leased, 1,000 accounts", settings.accounts.min(1_000)),
            ("accounts_many", "Tollway, leased, all accounts", settings.accounts),
        ];
        let mut cases = Vec::new();
        for (name, label, size) in sizes {
            println!("buying {size} accounts for {name}");
            let accounts = self.ledger.doors.buy(size, CREDIT_MSAT).await?;
            let first = accounts.first().ok_or("expected an account")?;
            let file = ledger::list(self.workshop, &format!("{name}.txt"), &accounts)?;
            let config = filter::with_room(filter::config(Spend::Leased, 1));
            let filter = envoy::wasm(&self.workshop.parts.wasm, Some(&config));
            let ours = self.ours(name, label, first, Spend::Leased, 1);
            let ours = ours.filter(filter, Calls::Tollwayd);
            let mut case = self.case(Spec { traffic: Traffic::Random(file), ..ours }).await?;
            case.warm_up_requests = size as f64 * WARM_UP_TURNS;
            cases.push(case);
        }
        Ok(cases)
    }

    async fn all(&mut self, specs: impl IntoIterator<Item = Spec>) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for spec in specs {
            cases.push(self.case(spec).await?);
        }
        Ok(cases)
    }
}

impl Fleet {
    /// Starts everything on Envoy, and buys what it needs.
    pub(crate) async fn start(
        workshop: &Workshop,
        settings: &Settings,
        ledger: &Ledger,
    ) -> Result<Self> {
        let authz_port = free_port()?;
        let mut authz = workshop.start(Job {
            name: "authz",
            place: "authz",
            cores: LOAD_CORE,
            path: &env::current_exe()?,
            args: vec!["authz".into(), authz_port.to_string().into()],
            env: Vec::new(),
        })?;
        let url = format!("http://127.0.0.1:{authz_port}/");
        workshop.ready(&mut authz, &url, None, 200, 1).await?;
        let place = "upstream";
        let (filter, calls, cores) = (None, Vec::new(), LOAD_CORE);
        let plan = Plan { place, filter, calls, upstream: None, workers: 1, cores };
        let upstream = Envoy::start(workshop, plan)?;
        let upstream_port = upstream.port;
        let mut setup =
            Setup { workshop, ledger, authz_port, upstream_port, envoys: vec![upstream] };
        let mut main = setup.beside_each_other().await?;
        let pid = |name: &str| main.iter().find(|case| case.name == name).map(|case| case.server);
        let bare = pid("bare").ok_or("expected the bare route")?;
        for case in &mut main {
            if case.name == "ext_authz" {
                case.companion = Some(authz.pid());
            }
        }
        main.extend(setup.sweeps().await?);
        let accounts = setup.accounts(settings).await?;
        Ok(Self { main, accounts, bare, _envoys: setup.envoys, _authz: authz })
    }
}
