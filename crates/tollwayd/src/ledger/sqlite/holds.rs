//! Holds: credit set aside, and its return when a hold expires.

use rusqlite::{OptionalExtension, Result};
use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, HoldReply};

use super::column;
use super::invoices::Credit;
use super::writer::Batch;
use crate::ledger::{HoldOrder, HoldOutcome};

/// Where a hold stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldState {
    Open,
    Released,
    Expired,
}

/// A hold as stored.
pub(super) struct Hold {
    pub(super) account_id: i64,
    pub(super) payment_hash: PaymentHash,
    pub(super) amount: Msat,
    pub(super) posted: Msat,
    pub(super) ttl_ms: i64,
    pub(super) route: String,
    pub(super) state: HoldState,
}

impl Batch<'_> {
    /// Answers in the order of [`HoldRefusal`]. The proof is judged before the id is looked up,
    /// so that who proves nothing learns nothing, not even that a hold exists.
    pub(super) fn hold(&mut self, order: HoldOrder) -> Result<HoldOutcome> {
        let Some(invoice) = self.invoice(&order.payment_hash)? else {
            return Ok(self.refuse(HoldRefusal::UnknownPayment, Msat::ZERO));
        };
        if !order.proven {
            return Ok(self.refuse(HoldRefusal::PaymentNotProven, Msat::ZERO));
        }
        if let Some(hold) = self.find_hold(&order.id)? {
            return self.repeat_hold(&order, &hold, invoice.account);
        }
        if !invoice.settled && self.credit(&order.payment_hash, &invoice)? == Credit::BalanceLimit {
            return Ok(HoldOutcome::BalanceLimit);
        }
        let Some(balance) = self.set_aside(invoice.account_id, order.amount)? else {
            let balance = self.available(invoice.account_id)?;
            return Ok(self.refuse(HoldRefusal::InsufficientCredit, balance));
        };
        self.insert_hold(&order, invoice.account_id)?;
        self.tally.holds_granted += 1;
        self.tally.open_holds += 1;
        Ok(HoldOutcome::Answered(HoldReply::Granted {
            account: invoice.account,
            granted_msat: order.amount,
            balance_msat: balance,
            already_charged: false,
            replay: None,
        }))
    }

    fn repeat_hold(
        &mut self,
        order: &HoldOrder,
        hold: &Hold,
        account: PaymentHash,
    ) -> Result<HoldOutcome> {
        let same = hold.payment_hash == order.payment_hash
            && hold.amount == order.amount
            && hold.ttl_ms == column::from_ms(order.ttl_ms)
            && hold.route == order.route;
        if !same {
            return Ok(HoldOutcome::Conflict);
        }
        if hold.state != HoldState::Open {
            return Ok(HoldOutcome::Ended);
        }
        Ok(HoldOutcome::Answered(HoldReply::Granted {
            account,
            granted_msat: hold.amount,
            balance_msat: self.available(hold.account_id)?,
            already_charged: false,
            replay: None,
        }))
    }

    fn refuse(&mut self, refusal: HoldRefusal, balance_msat: Msat) -> HoldOutcome {
        self.tally.holds_refused += 1;
        HoldOutcome::Answered(HoldReply::Refused { refusal, balance_msat })
    }

    /// Checks and changes in one statement; gives what is available afterwards, or `None` if
    /// the account cannot cover the amount.
    fn set_aside(&self, account_id: i64, amount: Msat) -> Result<Option<Msat>> {
        self.connection
            .prepare_cached(
                "UPDATE accounts SET held_msat = held_msat + ?1
                 WHERE id = ?2 AND balance_msat - held_msat >= ?1
                 RETURNING balance_msat - held_msat",
            )?
            .query_row((column::from_msat(amount), account_id), |row| column::msat(row, 0))
            .optional()
    }

    fn available(&self, account_id: i64) -> Result<Msat> {
        self.connection
            .prepare_cached("SELECT balance_msat - held_msat FROM accounts WHERE id = ?1")?
            .query_row((account_id,), |row| column::msat(row, 0))
    }

    fn insert_hold(&self, order: &HoldOrder, account_id: i64) -> Result<()> {
        let ttl_ms = column::from_ms(order.ttl_ms);
        self.connection
            .prepare_cached(
                "INSERT INTO holds (id, account_id, payment_hash, amount_msat, ttl_ms, route,
                                    opened_at_ms, expires_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute((
                order.id.as_bytes(),
                account_id,
                order.payment_hash.as_bytes(),
                column::from_msat(order.amount),
                ttl_ms,
                &order.route,
                self.now_ms,
                self.now_ms.saturating_add(ttl_ms),
            ))
            .map(|_rows| ())
    }

    pub(super) fn find_hold(&self, id: &HoldId) -> Result<Option<Hold>> {
        self.connection
            .prepare_cached(
                "SELECT account_id, payment_hash, amount_msat, posted_msat, ttl_ms, route, state
                 FROM holds WHERE id = ?1",
            )?
            .query_row((id.as_bytes(),), |row| {
                Ok(Hold {
                    account_id: row.get(0)?,
                    payment_hash: column::payment_hash(row, 1)?,
                    amount: column::msat(row, 2)?,
                    posted: column::msat(row, 3)?,
                    ttl_ms: row.get(4)?,
                    route: row.get(5)?,
                    state: match row.get_ref(6)?.as_str()? {
                        "open" => HoldState::Open,
                        "released" => HoldState::Released,
                        _ => HoldState::Expired,
                    },
                })
            })
            .optional()
    }

    /// Gives the rest of every expired hold back to its account. Runs before each batch, so
    /// that an expired hold never blocks credit.
    pub(super) fn expire_holds(&mut self) -> Result<()> {
        let due = self
            .connection
            .prepare_cached(
                "SELECT 1 FROM holds WHERE state = 'open' AND expires_at_ms <= ?1 LIMIT 1",
            )?
            .exists((self.now_ms,))?;
        if !due {
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "UPDATE accounts SET held_msat = held_msat - due.rest_msat
                 FROM (SELECT account_id, sum(amount_msat - posted_msat) AS rest_msat FROM holds
                       WHERE state = 'open' AND expires_at_ms <= ?1 GROUP BY account_id) AS due
                 WHERE accounts.id = due.account_id",
            )?
            .execute((self.now_ms,))?;
        let expired = self
            .connection
            .prepare_cached(
                "UPDATE holds SET state = 'expired' WHERE state = 'open' AND expires_at_ms <= ?1",
            )?
            .execute((self.now_ms,))?;
        self.tally.open_holds -= i64::try_from(expired).unwrap_or(i64::MAX);
        self.tally.holds_expired += u64::try_from(expired).unwrap_or(u64::MAX);
        Ok(())
    }
}
