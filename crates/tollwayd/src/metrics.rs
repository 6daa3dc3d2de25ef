//! What `/metrics` tells.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tollway_core::money::Msat;
use tollway_core::wire::PostingOutcome;

/// The media type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    pub(crate) ledger: LedgerMetrics,
    pub(crate) node: NodeMetrics,
}

/// One answered request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// The route's pattern, never a path as sent: label values stay few.
    door: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What a real node says of itself; nothing while it says nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeMetrics {
    up: Family<NodeLabels, Gauge>,
    inbound_msat: Family<NodeLabels, Gauge>,
}

/// What tells a node from others.
pub(crate) type NodeLabels = Vec<(&'static str, String)>;

impl NodeMetrics {
    fn register(registry: &mut Registry) -> Self {
        let Self { up, inbound_msat } = Self::default();
        let help = "Whether the Lightning node answers and accepts the credential";
        registry.register("tollwayd_node_up", help, Family::clone(&up));
        let help = "What the Lightning node could receive, where it says so";
        let inbound = Family::clone(&inbound_msat);
        registry.register("tollwayd_node_inbound_msat", help, inbound);
        Self { up, inbound_msat }
    }

    pub(crate) fn is_up(&self, node: &NodeLabels, is_up: bool) {
        self.up.get_or_create(node).set(is_up.into());
    }

    pub(crate) fn can_receive(&self, node: &NodeLabels, inbound: Msat) {
        let msat = i64::try_from(inbound.get()).unwrap_or(i64::MAX);
        self.inbound_msat.get_or_create(node).set(msat);
    }
}

/// The part that the ledger's writer moves, after COMMIT.
#[derive(Clone, Debug)]
pub(crate) struct LedgerMetrics {
    challenges: Counter,
    holds: Family<OutcomeLabel, Counter>,
    postings: Family<OutcomeLabel, Counter>,
    settlements: Counter,
    credited_msat: Counter<u64, AtomicU64>,
    charged_msat: Counter<u64, AtomicU64>,
    refunded_msat: Counter<u64, AtomicU64>,
    free: Family<OutcomeLabel, Counter>,
    deliveries: Family<OutcomeLabel, Counter>,
    paid_out_msat: Counter<u64, AtomicU64>,
    pub(crate) retries: Counter,
    pub(crate) open_holds: Gauge,
    batch_commands: Histogram,
}

/// What one transaction did, counted while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) challenges: u64,
    pub(crate) holds_granted: u64,
    pub(crate) holds_refused: u64,
    pub(crate) holds_expired: u64,
    /// The change of the number of open holds.
    pub(crate) open_holds: i64,
    postings: [u64; POSTING_OUTCOMES.len()],
    pub(crate) settlements: u64,
    pub(crate) credited_msat: u64,
    pub(crate) charged_msat: u64,
    pub(crate) refunded_msat: u64,
    pub(crate) free_granted: u64,
    pub(crate) free_exhausted: u64,
    pub(crate) deliveries_sent: u64,
    /// Tries that failed, with another to come.
    pub(crate) deliveries_delayed: u64,
    pub(crate) deliveries_given_up: u64,
    pub(crate) paid_out_msat: u64,
}

const POSTING_OUTCOMES: [(PostingOutcome, &str); 6] = [
    (PostingOutcome::Posted, "posted"),
    (PostingOutcome::Conflict, "conflict"),
    (PostingOutcome::HoldUnknown, "hold_unknown"),
    (PostingOutcome::HoldExpired, "hold_expired"),
    (PostingOutcome::HoldReleased, "hold_released"),
    (PostingOutcome::ExceedsHold, "exceeds_hold"),
];

impl Tally {
    /// Counts one outcome.
    pub(crate) fn count_posting(&mut self, outcome: PostingOutcome) {
        for ((known, _), count) in POSTING_OUTCOMES.iter().zip(&mut self.postings) {
            *count += u64::from(*known == outcome);
        }
    }
}

impl LedgerMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            challenges: Counter::default(),
            holds: Family::default(),
            postings: Family::default(),
            settlements: Counter::default(),
            credited_msat: Counter::default(),
            charged_msat: Counter::default(),
            refunded_msat: Counter::default(),
            free: Family::default(),
            deliveries: Family::default(),
            paid_out_msat: Counter::default(),
            retries: Counter::default(),
            open_holds: Gauge::default(),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
        };
        let Self {
            challenges,
            holds,
            postings,
            settlements,
            credited_msat,
            charged_msat,
            refunded_msat,
            free,
            deliveries,
            paid_out_msat,
            retries,
            open_holds,
            batch_commands,
        } = metrics.clone();
        registry.register("tollwayd_challenges", "Invoices made for challenges", challenges);
        registry.register("tollwayd_holds", "Hold calls and expiries by outcome", holds);
        registry.register("tollwayd_postings", "Posting rows by outcome", postings);
        registry.register("tollwayd_settlements", "Invoices settled", settlements);
        registry.register("tollwayd_credited_msat", "Credit sold", credited_msat);
        registry.register("tollwayd_charged_msat", "Credit turned into revenue", charged_msat);
        registry.register("tollwayd_refunded_msat", "Charges given back", refunded_msat);
        registry.register("tollwayd_allowances", "Uses of free tiers by outcome", free);
        let help = "Webhooks and payouts by what became of a try";
        registry.register("tollwayd_deliveries", help, deliveries);
        registry.register("tollwayd_paid_out_msat", "Shares paid out", paid_out_msat);
        let help = "Transactions tried again because another writer came in between";
        registry.register("tollwayd_transaction_retries", help, retries);
        registry.register("tollwayd_open_holds", "Holds that are open now", open_holds);
        let help = "Ledger commands per transaction";
        registry.register("tollwayd_commit_batch_commands", help, batch_commands);
        // Outcomes that never happened are shown as zero, so that alerts can name them.
        for outcome in ["granted", "refused", "expired"] {
            metrics.hold(outcome, 0);
        }
        for (_, outcome) in POSTING_OUTCOMES {
            metrics.posting(outcome, 0);
        }
        metrics.free(0, 0);
        metrics.deliver(&Tally::default());
        metrics
    }

    /// Adds what a committed transaction of `commands` commands did.
    pub(crate) fn apply(&self, tally: &Tally, commands: usize) {
        self.challenges.inc_by(tally.challenges);
        self.hold("granted", tally.holds_granted);
        self.hold("refused", tally.holds_refused);
        self.hold("expired", tally.holds_expired);
        for ((_, outcome), count) in POSTING_OUTCOMES.iter().zip(tally.postings) {
            if count > 0 {
                self.posting(outcome, count);
            }
        }
        self.settlements.inc_by(tally.settlements);
        self.credited_msat.inc_by(tally.credited_msat);
        self.charged_msat.inc_by(tally.charged_msat);
        self.refunded_msat.inc_by(tally.refunded_msat);
        self.free(tally.free_granted, tally.free_exhausted);
        self.deliver(tally);
        self.open_holds.inc_by(tally.open_holds);
        if commands == 0 {
            return;
        }
        self.batch_commands.observe(f64::from(u32::try_from(commands).unwrap_or(u32::MAX)));
    }

    fn hold(&self, outcome: &'static str, count: u64) {
        self.holds.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }

    fn free(&self, granted: u64, exhausted: u64) {
        self.free.get_or_create(&OutcomeLabel { outcome: "granted" }).inc_by(granted);
        self.free.get_or_create(&OutcomeLabel { outcome: "exhausted" }).inc_by(exhausted);
    }

    fn deliver(&self, tally: &Tally) {
        self.paid_out_msat.inc_by(tally.paid_out_msat);
        for (outcome, count) in [
            ("sent", tally.deliveries_sent),
            ("delayed", tally.deliveries_delayed),
            ("given_up", tally.deliveries_given_up),
        ] {
            self.deliveries.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
        }
    }

    fn posting(&self, outcome: &'static str, count: u64) {
        self.postings.get_or_create(&OutcomeLabel { outcome }).inc_by(count);
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register("tollwayd_requests", "Answered requests", Family::clone(&requests));
        let ledger = LedgerMetrics::register(&mut registry);
        let node = NodeMetrics::register(&mut registry);
        Self { registry, requests, ledger, node }
    }

    /// Counts one answered request.
    pub(crate) fn count_request(&self, door: &str, status: u16) {
        self.requests.get_or_create(&RequestLabels { door: door.to_owned(), status }).inc();
    }

    /// Everything, in the text format of OpenMetrics.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
