//! Invoices and their one credit.

use rusqlite::{OptionalExtension, Result};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::column;
use super::writer::Batch;
use crate::ledger::{InvoiceOutcome, NewInvoice, SettleOutcome};

/// An invoice with its account, as a hold or a settlement needs it.
pub(super) struct Invoice {
    pub(super) account_id: i64,
    /// The account's public name.
    pub(super) account: PaymentHash,
    pub(super) amount: Msat,
    pub(super) settled: bool,
}

/// What crediting did.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Credit {
    Done,
    BalanceLimit,
}

impl Batch<'_> {
    pub(super) fn open_invoice(&mut self, invoice: NewInvoice) -> Result<InvoiceOutcome> {
        if self.invoice(&invoice.payment_hash)?.is_some() {
            return Ok(InvoiceOutcome::HashTaken);
        }
        let account_id = match &invoice.top_up {
            None => self.open_account(&invoice.payment_hash)?,
            Some(pays_into) => match self.invoice(pays_into)? {
                None => return Ok(InvoiceOutcome::TopUpUnknown),
                Some(known) => {
                    if self.balance(known.account_id)?.checked_add(invoice.amount).is_none() {
                        return Ok(InvoiceOutcome::BalanceLimit);
                    }
                    known.account_id
                }
            },
        };
        self.connection
            .prepare_cached(
                "INSERT INTO invoices (payment_hash, account_id, amount_msat, route, bolt11,
                                       created_at_ms, expires_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((
                invoice.payment_hash.as_bytes(),
                account_id,
                column::from_msat(invoice.amount),
                &invoice.route,
                &invoice.bolt11,
                self.now_ms,
                column::from_ms(invoice.expires_at_ms),
            ))?;
        self.tally.challenges += 1;
        Ok(InvoiceOutcome::Stored)
    }

    pub(super) fn settle(&mut self, hash: PaymentHash) -> Result<SettleOutcome> {
        match self.invoice(&hash)? {
            None => Ok(SettleOutcome::Unknown),
            Some(invoice) if invoice.settled => Ok(SettleOutcome::AlreadyCredited),
            Some(invoice) => Ok(match self.credit(&hash, &invoice)? {
                Credit::Done => SettleOutcome::Credited,
                Credit::BalanceLimit => SettleOutcome::BalanceLimit,
            }),
        }
    }

    /// Credits an invoice that is not settled yet. Its unique entry makes a second time fail.
    pub(super) fn credit(&mut self, hash: &PaymentHash, invoice: &Invoice) -> Result<Credit> {
        let amount = column::from_msat(invoice.amount);
        let credited = self
            .connection
            .prepare_cached(
                "UPDATE accounts SET balance_msat = balance_msat + ?1
                 WHERE id = ?2 AND balance_msat <= ?3 - ?1",
            )?
            .execute((amount, invoice.account_id, column::from_msat(Msat::MAX)))?;
        if credited == 0 {
            return Ok(Credit::BalanceLimit);
        }
        self.connection
            .prepare_cached("UPDATE invoices SET settled_at_ms = ?1 WHERE payment_hash = ?2")?
            .execute((self.now_ms, hash.as_bytes()))?;
        self.connection
            .prepare_cached(
                "INSERT INTO entries (account_id, kind, amount_msat, payment_hash, at_ms)
                 VALUES (?1, 'credit', ?2, ?3, ?4)",
            )?
            .execute((invoice.account_id, amount, hash.as_bytes(), self.now_ms))?;
        self.tally.settlements += 1;
        self.tally.credited_msat = self.tally.credited_msat.saturating_add(invoice.amount.get());
        Ok(Credit::Done)
    }

    pub(super) fn invoice(&self, hash: &PaymentHash) -> Result<Option<Invoice>> {
        self.connection
            .prepare_cached(
                "SELECT i.account_id, a.payment_hash, i.amount_msat, i.settled_at_ms IS NOT NULL
                 FROM invoices i JOIN accounts a ON a.id = i.account_id
                 WHERE i.payment_hash = ?1",
            )?
            .query_row((hash.as_bytes(),), |row| {
                Ok(Invoice {
                    account_id: row.get(0)?,
                    account: column::payment_hash(row, 1)?,
                    amount: column::msat(row, 2)?,
                    settled: row.get(3)?,
                })
            })
            .optional()
    }

    fn open_account(&self, hash: &PaymentHash) -> Result<i64> {
        self.connection
            .prepare_cached("INSERT INTO accounts (payment_hash, opened_at_ms) VALUES (?1, ?2)")?
            .insert((hash.as_bytes(), self.now_ms))
    }

    fn balance(&self, account_id: i64) -> Result<Msat> {
        self.connection
            .prepare_cached("SELECT balance_msat FROM accounts WHERE id = ?1")?
            .query_row((account_id,), |row| column::msat(row, 0))
    }
}
