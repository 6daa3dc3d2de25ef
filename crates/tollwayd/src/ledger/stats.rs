//! Statistics: counts and sums over the whole ledger.
//!
//! They are read from the totals by route, from what is open at the moment and from the newest
//! payments: never from the journal, so that they cost the same however long it is. All of it is
//! in the store: every replica says the same, and a restart changes nothing.

use std::collections::BTreeMap;

use serde::Serialize;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::reads::Query;
use super::rows::{Counted, EntryKind, Invoice, Total};
use super::{Ledger, LedgerError};

/// Payments that are shown, the newest first.
const RECENT_MAX: u32 = 20;
const MSAT_PER_SAT: u64 = 1_000;

/// Counts and sums over the whole ledger.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Stats {
    #[serde(flatten)]
    pub(crate) dashboard: Dashboard,
    /// Accounts to which something was credited.
    pub(crate) accounts: u64,
    /// Waiting for their payment.
    pub(crate) invoices_open: u64,
    pub(crate) invoices_settled: u64,
    /// Never paid in time.
    pub(crate) invoices_expired: u64,
    pub(crate) holds_open: u64,
    pub(crate) credited_msat: u64,
    pub(crate) charged_msat: u64,
    pub(crate) held_msat: u64,
    pub(crate) balance_msat: u64,
    pub(crate) refunded_msat: u64,
    pub(crate) debt_msat: u64,
}

/// The fields of lightning-toll's dashboard under their names, in sat rounded down, with what it
/// does not have: exact amounts in msat, challenges, conversion, refunds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dashboard {
    pub(crate) total_revenue: u64,
    pub(crate) total_revenue_msat: u64,
    /// Requests that were charged, and free ones.
    pub(crate) total_requests: u64,
    /// Requests that were charged.
    pub(crate) total_paid: u64,
    /// Accounts that were charged at least once.
    pub(crate) unique_payers: u64,
    /// Requests of free tiers.
    pub(crate) free: u64,
    /// Invoices that were made.
    pub(crate) challenges: u64,
    /// Invoices that were paid.
    pub(crate) payments: u64,
    /// Payments by challenges, rounded down to four digits; nothing where there are none.
    pub(crate) conversion: Option<f64>,
    pub(crate) refunds: Refunds,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) recent_payments: Vec<RecentPayment>,
}

/// What customers did not have to pay in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refunds {
    /// Requests whose own hold was released without a charge.
    pub(crate) uncharged: u64,
    /// Refunds of operators.
    pub(crate) refunded: u64,
    pub(crate) refunded_msat: u64,
}

/// One route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint {
    pub(crate) revenue: u64,
    pub(crate) requests: u64,
    pub(crate) paid: u64,
    pub(crate) free: u64,
    pub(crate) revenue_msat: u64,
    pub(crate) challenges: u64,
    pub(crate) payments: u64,
    pub(crate) conversion: Option<f64>,
    pub(crate) uncharged: u64,
}

/// One paid invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecentPayment {
    pub(crate) endpoint: String,
    pub(crate) amount_sats: u64,
    pub(crate) amount_msat: Msat,
    /// The account.
    pub(crate) payer_id: PaymentHash,
    pub(crate) payment_hash: PaymentHash,
    /// When the ledger learned of it, Unix time in ms.
    pub(crate) timestamp: u64,
}

/// What statistics are made of, as the store has it at one moment.
pub(super) struct Figures {
    pub(super) totals: Vec<Total>,
    /// The newest paid invoices.
    pub(super) recent: Vec<Invoice>,
    /// Open invoices, open holds, and what these set aside.
    pub(super) open: [i64; 3],
}

impl Ledger {
    /// Counts and sums over the whole ledger.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn stats(&self) -> Result<Stats, LedgerError> {
        Ok(Stats::new(self.scanner.figures(self.clock.now_ms()).await?))
    }
}

impl Figures {
    pub(super) fn recent() -> Query<Invoice> {
        Query {
            also: "settled_at_ms IS NOT NULL",
            newest_first: true,
            order: Some("settled_at_ms"),
            limit: RECENT_MAX,
            ..Query::all()
        }
    }
}

/// Totals of one route, or of all.
#[derive(Default)]
struct Sums(BTreeMap<String, (u64, i64)>);

impl Sums {
    fn add(&mut self, total: &Total) {
        let (times, amount) = self.0.entry(total.kind.clone()).or_default();
        *times = times.saturating_add(total.times);
        *amount = amount.saturating_add(total.amount_msat);
    }

    fn times(&self, kind: &str) -> u64 {
        self.0.get(kind).map_or(0, |(times, _)| *times)
    }

    /// The size of what these kinds moved.
    fn moved<const N: usize>(&self, kinds: [EntryKind; N]) -> u64 {
        let amount = |kind: EntryKind| self.0.get(kind.word()).map_or(0, |(_, amount)| *amount);
        kinds.map(amount).into_iter().fold(0, i64::saturating_add).unsigned_abs()
    }

    /// What was charged at once, what was charged when credit came, and what sessions cost.
    fn revenue_msat(&self) -> u64 {
        self.moved([EntryKind::Charge, EntryKind::Repayment, EntryKind::Session])
    }

    fn payments(&self) -> u64 {
        self.times(EntryKind::Credit.word())
    }

    fn challenges(&self) -> u64 {
        self.times(Counted::Challenge.word())
    }

    fn conversion(&self) -> Option<f64> {
        let shares = self.payments().saturating_mul(10_000).checked_div(self.challenges())?;
        Some(f64::from(u32::try_from(shares).unwrap_or(u32::MAX)) / 10_000.0)
    }

    fn endpoint(&self) -> Endpoint {
        let revenue_msat = self.revenue_msat();
        let (paid, free) = (self.times(Counted::Request.word()), self.times(Counted::Free.word()));
        Endpoint {
            revenue: revenue_msat / MSAT_PER_SAT,
            requests: paid.saturating_add(free),
            paid,
            free,
            revenue_msat,
            challenges: self.challenges(),
            payments: self.payments(),
            conversion: self.conversion(),
            uncharged: self.times(Counted::Void.word()),
        }
    }
}

impl Stats {
    fn new(figures: Figures) -> Self {
        let Figures { totals, recent, open } = figures;
        let (mut all, mut routes) = (Sums::default(), BTreeMap::<String, Sums>::new());
        for total in &totals {
            all.add(total);
            if !total.route.is_empty() {
                routes.entry(total.route.clone()).or_default().add(total);
            }
        }
        let [invoices_open, holds_open, held_msat] = open.map(i64::unsigned_abs);
        let invoices_settled = all.payments();
        let owed = all.0.get(Counted::Debt.word()).map_or(0, |(_, amount)| amount.unsigned_abs());
        Self {
            dashboard: Dashboard::new(&all, &routes, recent),
            accounts: all.times(Counted::Account.word()),
            invoices_open,
            invoices_settled,
            invoices_expired: all.challenges().saturating_sub(invoices_settled + invoices_open),
            holds_open,
            credited_msat: all.moved([EntryKind::Credit, EntryKind::Bonus, EntryKind::Seed]),
            charged_msat: all.revenue_msat(),
            held_msat,
            balance_msat: all.moved([
                EntryKind::Credit,
                EntryKind::Bonus,
                EntryKind::Seed,
                EntryKind::Charge,
                EntryKind::Repayment,
                EntryKind::Session,
                EntryKind::Expiry,
                EntryKind::Refund,
                EntryKind::Grant,
                EntryKind::Moved,
            ]),
            refunded_msat: all.moved([EntryKind::Refund]),
            debt_msat: owed.saturating_sub(all.moved([EntryKind::Repayment])),
        }
    }
}

impl Dashboard {
    fn new(all: &Sums, routes: &BTreeMap<String, Sums>, recent: Vec<Invoice>) -> Self {
        let Endpoint { revenue, requests, paid, free, uncharged, .. } = all.endpoint();
        let endpoints = routes.iter().map(|(route, sums)| (route.clone(), sums.endpoint()));
        Self {
            total_revenue: revenue,
            total_revenue_msat: all.revenue_msat(),
            total_requests: requests,
            total_paid: paid,
            unique_payers: all.times(Counted::Payer.word()),
            free,
            challenges: all.challenges(),
            payments: all.payments(),
            conversion: all.conversion(),
            refunds: Refunds {
                uncharged,
                refunded: all.times(EntryKind::Refund.word()),
                refunded_msat: all.moved([EntryKind::Refund]),
            },
            endpoints: endpoints.collect(),
            recent_payments: recent.into_iter().map(RecentPayment::from).collect(),
        }
    }
}

impl From<Invoice> for RecentPayment {
    fn from(invoice: Invoice) -> Self {
        let amount_msat = invoice.amount_msat.max(invoice.received_msat.unwrap_or_default());
        Self {
            endpoint: invoice.route,
            amount_sats: amount_msat.get() / MSAT_PER_SAT,
            amount_msat,
            payer_id: invoice.account,
            payment_hash: invoice.payment_hash,
            timestamp: invoice.settled_at_ms.unwrap_or_default(),
        }
    }
}
