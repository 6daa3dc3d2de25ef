//! Assembly: configuration in, two listeners out.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::{self, BearerToken, Doors};
use crate::clock::Clock;
use crate::config::{Config, Door, LightningConfig};
use crate::discovery::Discovery;
use crate::flood::Flood;
use crate::gauges;
use crate::ledger::{
    KeyBytes, Ledger, LedgerError, OpenError, Opening, Split, Subscription, Subscriptions, Writer,
};
use crate::lightning::{ConnectFault, Lightning, PayingWallet, Simulated, SimulatedNode};
use crate::metrics::Metrics;
use crate::outbox::{self, Carrier};
use crate::payouts::{Payout, PayoutFault, Rights};
use crate::paywall::Paywall;
use crate::pool::Pool;
use crate::prices::Prices;
use crate::rates::Rates;
use crate::returns::Return;
use crate::sales::Sales;
use crate::settlement;
use crate::webhooks::Webhook;
use crate::x402::X402;

/// How often expired holds are looked for in quiet times.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How many sweeps come before what is out of date is deleted.
const SWEEPS_PER_PRUNING: u32 = 30;

/// The service.
#[derive(Debug)]
pub struct App;

/// A service that runs. Call [`RunningServer::shutdown`]; dropping it stops without waiting.
pub struct RunningServer {
    gate_addr: SocketAddr,
    admin_addr: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    writer: Writer,
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct StartError(#[from] StartFault);

#[derive(Debug, thiserror::Error)]
enum StartFault {
    #[error("{field}: cannot listen on {address}: {source}; stop what uses it or change it")]
    Listen { field: &'static str, address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Node(#[from] ConnectFault),
    #[error("no HTTP client: {0}")]
    Outbound(#[from] reqwest::Error),
    #[error(transparent)]
    Payout(#[from] PayoutFault),
    #[error(transparent)]
    Store(#[from] OpenError),
}

impl App {
    /// Opens the store and binds nothing: who holds the [`Service`] carries the requests to its
    /// doors. Expired holds go back with the next change, since nothing sweeps in between.
    ///
    /// # Errors
    /// [`StartError`] if the store cannot be opened.
    pub async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Service, StartError> {
        Ok(open(config, clock).await?)
    }

    /// Opens the store, binds both listeners and serves.
    ///
    /// # Errors
    /// [`StartError`] if the store cannot be opened or an address cannot be bound.
    pub async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<RunningServer, StartError> {
        Ok(start(config, clock).await?)
    }
}

/// An open store and its doors, without listeners.
pub struct Service {
    /// The doors of the filter.
    pub gate: Router,
    /// The doors of the operator.
    pub admin: Router,
    ledger: Ledger,
    paywall: Paywall,
    metrics: Arc<Metrics>,
    rates: Rates,
    /// Who sends what the ledger writes down for others.
    carriers: Carriers,
    payer: Option<Payer>,
    writer: Writer,
    /// Of the simulated node, if there is no real one.
    node_id: Option<String>,
}

/// Who sends what the ledger writes down for others.
type Carriers = Vec<Arc<dyn Carrier>>;
/// The wallet that pays out, and whether it lets us.
type Payer = (PayingWallet, Arc<Rights>);

impl Service {
    /// Writes what the ledger accepted and gives the store free; blocks until that is done.
    ///
    /// # Errors
    /// If the ledger's writer had died.
    pub fn close(self) -> io::Result<()> {
        self.writer.stop()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("node_id", &self.node_id).finish_non_exhaustive()
    }
}

async fn open(config: &Config, clock: Arc<dyn Clock>) -> Result<Service, StartFault> {
    let metrics = Arc::new(Metrics::new());
    let Opening { ledger, writer, node_secret } =
        Ledger::open(&config.store, Arc::clone(&clock), metrics.ledger.clone()).await?;
    ledger.subscribe(Subscriptions {
        webhooks: config.webhooks.iter().map(Subscription::from).collect(),
        splits: config.payouts.iter().flat_map(|it| &it.splits).map(Split::from).collect(),
    });
    let (carriers, payer) = carriers(config, &ledger, &clock)?;
    let (pool, simulated) = pool(&config.lightning, node_secret, &clock)?;
    let node_id = simulated.as_deref().map(SimulatedNode::node_id);
    let rates = Rates::new(config.rates.clone(), Arc::clone(&clock));
    let prices = Prices::new(config.price_webhook.clone(), Arc::clone(&clock))?;
    let flood = Arc::new(Flood::new(config.challenges, clock.now_ms()));
    let (ledger_handle, recovery) = (ledger.clone(), Arc::default());
    let paywall = Paywall {
        ledger: ledger_handle,
        pool: Arc::new(pool),
        clock,
        flood,
        recovery,
        invoice_expiry_s: config.lightning.invoice_expiry_s,
        imports: !config.legacy_keys.is_empty(),
        authority: config.authority.clone().map(Arc::new),
        sales: Arc::new(Sales::new(&config.sales)),
        x402_over_lightning: config.x402_over_lightning.clone(),
        payment_sessions: config.payouts.as_ref().is_some_and(|it| it.payment_sessions),
    };
    let legacy_keys = config.legacy_keys.clone().into();
    let rights = payer.as_ref().map(|(_wallet, rights)| Arc::clone(rights));
    let (told, rates_told) = (paywall.clone(), rates.clone());
    let counted = Arc::clone(&metrics);
    let x402 = config.x402.clone().map(|config| {
        let (clock, sales) = (Arc::clone(&paywall.clock), Arc::clone(&paywall.sales));
        X402::new(config, ledger.clone(), clock, rates.clone(), sales)
    });
    let x402 = x402.transpose()?;
    let doors = Doors {
        paywall: told,
        metrics: counted,
        legacy_keys,
        rates: rates_told,
        prices,
        rights,
        x402,
        discovery: Discovery::new(config.discovery.clone()),
    };
    let gate = api::gate_router(doors.clone(), BearerToken::new(&config.gate.token));
    let admin = api::admin_router(doors, BearerToken::new(&config.admin.token), simulated);
    Ok(Service { gate, admin, ledger, paywall, metrics, rates, carriers, payer, writer, node_id })
}

/// The nodes, and the simulated one if it is that.
fn pool(
    config: &LightningConfig,
    secret: KeyBytes,
    clock: &Arc<dyn Clock>,
) -> Result<(Pool, Option<Arc<SimulatedNode>>), StartFault> {
    if let Some(pool) = Pool::connect(config)? {
        return Ok((pool, None));
    }
    let file = config.nodes.iter().find_map(|it| it.node.simulated_file());
    let node = Arc::new(SimulatedNode::new(secret, file.map(Path::to_owned)));
    let simulated = Simulated { node: Arc::clone(&node), clock: Arc::clone(clock) };
    let lightning = Lightning { node: Arc::new(simulated), network: config.network };
    Ok((Pool::simulated(lightning), Some(node)))
}

fn carriers(
    config: &Config,
    ledger: &Ledger,
    clock: &Arc<dyn Clock>,
) -> Result<(Carriers, Option<Payer>), StartFault> {
    let mut carriers: Carriers = Vec::new();
    for webhook in &config.webhooks {
        carriers.push(Arc::new(Webhook::new(webhook, Arc::clone(clock))?));
    }
    let Some(payouts) = &config.payouts else { return Ok((carriers, None)) };
    let wallet =
        PayingWallet::connect(&payouts.wallet, payouts.network).map_err(PayoutFault::from)?;
    for split in &payouts.splits {
        carriers.push(Arc::new(Payout::new(split, payouts, &wallet, ledger, clock)?));
    }
    if payouts.payment_sessions {
        carriers.push(Arc::new(Return::new(payouts, &wallet, ledger, clock)));
    }
    Ok((carriers, Some((wallet, Arc::default()))))
}

async fn start(config: Config, clock: Arc<dyn Clock>) -> Result<RunningServer, StartFault> {
    let service = open(&config, clock).await?;
    let (gate, gate_addr) = listen("gate.listen", &config.gate).await?;
    let (admin, admin_addr) = listen("admin.listen", &config.admin).await?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %gate_addr,
        %admin_addr,
        store = %config.store,
        "tollwayd serves"
    );
    match &service.node_id {
        Some(node_id) => tracing::warn!(
            node_id,
            "the Lightning node is SIMULATED: everybody who reaches the admin listener can pay \
         without money; use it for demos and tests only"
        ),
        None => config
            .lightning
            .nodes
            .iter()
            .for_each(|node| tracing::info!(%node, "invoices come from this node")),
    }
    let (stop, stopped) = watch::channel(false);
    let Service { gate: gate_router, admin: admin_router, ledger, paywall, rates, .. } = service;
    let (carriers, payer, writer) = (service.carriers, service.payer, service.writer);
    let metrics = service.metrics;
    let mut tasks = JoinSet::new();
    tasks.spawn(api::serve(gate, gate_router, stopped.clone()));
    tasks.spawn(api::serve(admin, admin_router, stopped.clone()));
    settlement::follow(&paywall, &stopped, &mut tasks);
    for member in paywall.pool.members().iter().filter(|member| member.watch.is_some()) {
        let (member, clock, metrics) =
            (Arc::clone(member), Arc::clone(&paywall.clock), Arc::clone(&metrics));
        tasks.spawn(gauges::keep(member, clock, metrics, stopped.clone()));
    }
    for carrier in carriers {
        let (ledger, clock) = (ledger.clone(), Arc::clone(&paywall.clock));
        tasks.spawn(outbox::send(carrier, ledger, clock, stopped.clone()));
    }
    if let Some((wallet, rights)) = payer {
        tasks.spawn(rights.follow(wallet, stopped.clone()));
    }
    tasks.spawn(rates.follow(stopped.clone()));
    tasks.spawn(sweep(ledger, stopped));
    Ok(RunningServer { gate_addr, admin_addr, stop, tasks, writer })
}

impl RunningServer {
    /// Where the filter calls.
    #[must_use]
    pub fn gate_addr(&self) -> SocketAddr {
        self.gate_addr
    }

    /// Where the operator calls.
    #[must_use]
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin_addr
    }

    /// Resolves when the service can no longer work, because the ledger's writer has died.
    pub async fn failed(&mut self) {
        self.writer.ended().await;
    }

    /// Stops accepting, lets requests in flight finish, writes what the ledger accepted, and
    /// gives the store free.
    ///
    /// # Errors
    /// If the ledger's writer had died.
    pub async fn shutdown(mut self) -> io::Result<()> {
        // Nobody listens only if all tasks have ended, which is what we want.
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        let writer = self.writer;
        tokio::task::spawn_blocking(move || writer.stop()).await.map_err(io::Error::other)?
    }
}

impl std::fmt::Debug for RunningServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningServer")
            .field("gate_addr", &self.gate_addr)
            .field("admin_addr", &self.admin_addr)
            .finish_non_exhaustive()
    }
}

async fn listen(field: &'static str, door: &Door) -> Result<(TcpListener, SocketAddr), StartFault> {
    let fault = |source| StartFault::Listen { field, address: door.listen, source };
    let listener = TcpListener::bind(door.listen).await.map_err(fault)?;
    let address = listener.local_addr().map_err(fault)?;
    Ok((listener, address))
}

/// Returns expired credit while nothing else asks the ledger.
async fn sweep(ledger: Ledger, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticked = 0;
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = ticks.tick() => {}
        }
        let swept = ledger.sweep().await;
        ticked = (ticked + 1) % SWEEPS_PER_PRUNING;
        let done = if ticked == 0 && swept.is_ok() { ledger.prune().await } else { swept };
        match done {
            // The writer logs faults of the store; a busy writer sweeps anyway.
            Ok(()) | Err(LedgerError::Busy | LedgerError::Store(_)) => {}
            Err(LedgerError::Stopped) => return,
        }
    }
}
