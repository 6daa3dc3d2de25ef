//! `tollwayd`, the companion of the Tollway filter.
//!
//! What it is: the filter asks it for invoices, for holds on prepaid credit and for keys, and
//! reports charges to it. It keeps the ledger and talks to a Lightning node.
//!
//! What it does not do: it never sees a customer's request, has no prices of its own and mints no
//! tokens; the filter does that.

#![forbid(unsafe_code)]

mod api;
mod app;
mod authority;
mod backup;
pub mod cli;
mod clients;
pub mod clock;
pub mod config;
mod discovery;
mod entropy;
mod flood;
mod gauges;
mod imports;
mod ledger;
mod lightning;
mod lnurl;
mod metrics;
mod outbound;
mod outbox;
mod payment_scheme;
mod payment_sessions;
mod payouts;
mod paywall;
mod pool;
mod prices;
mod rails;
mod rates;
mod recovery;
mod returns;
mod sales;
mod settlement;
mod signature;
pub mod telemetry;
mod watch;
mod webhooks;
mod x402;

pub use app::{App, RunningServer, Service, StartError};
