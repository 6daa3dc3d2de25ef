//! The ledger's laws on a real file.

mod faults;
mod laws;
mod model;
mod races;

use std::path::PathBuf;
use std::sync::Arc;

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, HoldReply, Overrun, Posting};

use super::{Ledger, OpenError, Opening, Writer, audit};
use crate::clock::ManualClock;
use crate::ledger::{HoldOrder, HoldOutcome, InvoiceOutcome, NewInvoice, SettleOutcome};
use crate::metrics::Metrics;

const START_MS: u64 = 1_700_000_000_000;
const TTL_MS: u64 = 30_000;

/// A ledger on a file of its own, and a clock that tests move.
struct Bench {
    directory: tempfile::TempDir,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    ledger: Ledger,
    writer: Option<Writer>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(START_MS));
        let metrics = Metrics::new();
        let Opening { ledger, writer, .. } =
            Ledger::open(&directory.path().join("l.db"), clock.clone(), metrics.ledger.clone())
                .unwrap();
        Self { directory, clock, metrics, ledger, writer: Some(writer) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("l.db")
    }

    /// Stops the writer and opens the file anew.
    fn reopen(mut self) -> Self {
        self.writer.take().unwrap().stop().unwrap();
        let metrics = Metrics::new();
        let Opening { ledger, writer, .. } =
            Ledger::open(&self.path(), self.clock.clone(), metrics.ledger.clone()).unwrap();
        Self { metrics, ledger, writer: Some(writer), ..self }
    }

    /// A second connection, which can break the file's rules.
    fn meddle(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    async fn paid(&self, tag: u8, amount: u64) -> PaymentHash {
        let invoice = invoice(tag, amount, None);
        let hash = invoice.payment_hash;
        assert_eq!(self.ledger.open_invoice(invoice).await, Ok(InvoiceOutcome::Stored));
        assert_eq!(self.ledger.settle(hash).await, Ok(SettleOutcome::Credited));
        hash
    }

    /// Balance and held of an account, in msat.
    async fn sums(&self, hash: PaymentHash) -> (u64, u64) {
        let view = self.ledger.account(hash).await.unwrap().unwrap();
        (view.balance_msat.get(), view.held_msat.get())
    }

    fn assert_audit_clean(&self) {
        assert_eq!(audit(&self.path()).unwrap().differences, []);
    }
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn hash(tag: u8) -> PaymentHash {
    PaymentHash::from_bytes([tag; 32])
}

fn invoice(tag: u8, amount: u64, top_up: Option<PaymentHash>) -> NewInvoice {
    NewInvoice {
        payment_hash: hash(tag),
        bolt11: format!("invoice {tag}"),
        amount: msat(amount),
        route: "joke".to_owned(),
        expires_at_ms: START_MS + 600_000,
        top_up,
    }
}

fn hold_id(number: u128) -> HoldId {
    HoldId::from_bytes(number.to_be_bytes())
}

fn order(id: u128, payment_hash: PaymentHash, amount: u64) -> HoldOrder {
    HoldOrder {
        id: hold_id(id),
        payment_hash,
        proven: true,
        amount: msat(amount),
        ttl_ms: TTL_MS,
        route: "joke".to_owned(),
    }
}

fn posting(id: u128, seq: u32, amount: u64, release: bool) -> Posting {
    Posting {
        hold: hold_id(id),
        seq,
        amount_msat: msat(amount),
        route: "joke".to_owned(),
        release,
        overrun: Overrun::Cap,
        store: None,
    }
}

fn granted(account: PaymentHash, amount: u64, balance: u64) -> HoldOutcome {
    HoldOutcome::Answered(HoldReply::Granted {
        account,
        granted_msat: msat(amount),
        balance_msat: msat(balance),
        already_charged: false,
        replay: None,
    })
}

fn refused(refusal: HoldRefusal, balance: u64) -> HoldOutcome {
    HoldOutcome::Answered(HoldReply::Refused { refusal, balance_msat: msat(balance) })
}
