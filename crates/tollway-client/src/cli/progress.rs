//! What a person sees while they wait. A program that reads standard error sees none of it.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tollway_client::Invoice;
use tollway_client::inspect::sats;
use tollway_client::wallet::{Outcome, Paid, Wallet, WalletFuture};
use tollway_core::money::Msat;

const INTERVAL: Duration = Duration::from_millis(200);

/// A wallet that says when it pays.
#[derive(Debug)]
pub(super) struct Announcing {
    pub(super) inner: Arc<dyn Wallet>,
    pub(super) is_quiet: bool,
}

impl Wallet for Announcing {
    fn pay<'a>(&'a self, invoice: &'a Invoice, fee_max: Msat) -> WalletFuture<'a, Paid> {
        if !self.is_quiet && io::stderr().is_terminal() {
            eprintln!("tollway: paying {} ...", sats(invoice.amount().get()));
        }
        self.inner.pay(invoice, fee_max)
    }

    fn look_up<'a>(&'a self, invoice: &'a Invoice) -> WalletFuture<'a, Outcome> {
        if !self.is_quiet && io::stderr().is_terminal() {
            eprintln!("tollway: asking what became of a payment that was interrupted ...");
        }
        self.inner.look_up(invoice)
    }

    fn balance(&self) -> WalletFuture<'_, Option<Msat>> {
        self.inner.balance()
    }
}

/// How much of an answer is here, on one line of a terminal that shows nothing else.
#[derive(Debug)]
pub(super) struct Progress {
    total: Option<u64>,
    bytes: u64,
    shown: Option<Instant>,
    is_on: bool,
}

impl Progress {
    pub(super) fn new(total: Option<u64>, is_on: bool) -> Self {
        Self { total, bytes: 0, shown: None, is_on: is_on && io::stderr().is_terminal() }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.is_on && self.shown.is_none_or(|shown| shown.elapsed() >= INTERVAL) {
            self.shown = Some(Instant::now());
            let of = self.total.map(|total| format!(" of {total}")).unwrap_or_default();
            eprint!("\r{}{of} bytes", self.bytes);
            _ = io::stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
