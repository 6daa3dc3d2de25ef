//! Stocks: coupons that may be used so often, and routes of which so many calls are sold.
//!
//! An invoice counts from its challenge until it is deleted unpaid; a hold counts as one call
//! while it is open, and then if it charged anything. So what is refunded, expires or is never
//! paid can be sold again, and nothing is sold twice.

use tollway_core::budget::BudgetWindow;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, HoldReply, SaleRefusal};

use super::budgets::window_of;
use super::{Contradiction, Decided, Engine};
use crate::ledger::questions::HoldOrder;
use crate::ledger::rows::{Account, Hold, HoldState, Invoice, Stock};
use crate::ledger::{CouponOrder, StockOrder};

/// Nothing is left: the time, in seconds, at which there is more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SoldOut {
    /// `None` if there never is.
    resets_at: Option<u64>,
}

impl Engine {
    /// The stock in its window of now.
    fn stock_now(&self, order: &StockOrder) -> Stock {
        let mut row = self.set.stocks.get(&(order.id,)).cloned().unwrap_or_else(|| Stock {
            id: order.id,
            name: order.name.clone(),
            used: 0,
            began_at_ms: 0,
            ends_at_ms: 0,
        });
        if self.now_ms >= row.ends_at_ms {
            (row.began_at_ms, row.ends_at_ms) = window_of(order.window, self.now_ms);
            row.used = 0;
        }
        row
    }

    /// Uses a coupon once, for an invoice that pays into this account.
    pub(super) fn redeem(
        &mut self,
        order: &CouponOrder,
        account: PaymentHash,
    ) -> Result<(), SaleRefusal> {
        let of_account = |invoice: &&Invoice| {
            invoice.coupon == Some(order.stock.id) && invoice.account == account
        };
        let before = u64::try_from(self.set.invoices.iter().filter(of_account).count());
        let mut stock = self.stock_now(&order.stock);
        if stock.used >= order.stock.limit
            || order.per_account.is_some_and(|most| before.is_ok_and(|before| before >= most))
        {
            return Err(SaleRefusal::CouponUsedUp);
        }
        stock.used += 1;
        self.set.stocks.put(stock);
        Ok(())
    }

    /// The stock that a hold is to count in, where there is one.
    pub(super) fn in_stock(&self, order: &HoldOrder) -> Result<Option<Stock>, SoldOut> {
        let Some(supply) = &order.supply else { return Ok(None) };
        let stock = self.stock_now(supply);
        // A hold for many requests cannot be counted as one.
        if stock.used < supply.limit && order.min == order.amount {
            return Ok(Some(stock));
        }
        let again = supply.limit > 0 && supply.window != BudgetWindow::Total;
        Err(SoldOut { resets_at: again.then(|| stock.ends_at_ms.div_ceil(1_000)) })
    }

    /// Refuses what is sold out.
    pub(super) fn sold_out(&mut self, account: &Account, sold_out: SoldOut) -> HoldReply {
        self.tally.holds_refused += 1;
        HoldReply::Refused {
            refusal: HoldRefusal::SoldOut,
            balance_msat: account.available(),
            resets_at: sold_out.resets_at,
            tier: None,
        }
    }

    /// Moves what a hold counts for in its stock.
    pub(super) fn count_in_stock(&mut self, before: Option<&Hold>, hold: &Hold) -> Decided<()> {
        let Some(id) = hold.stock else { return Ok(()) };
        let Some(mut stock) = self.set.stocks.get(&(id,)).cloned() else { return Ok(()) };
        let counts = |hold: &Hold| u64::from(hold.counts_in_stock(&stock));
        let (was, is) = (before.map_or(0, counts), counts(hold));
        if was != is {
            let less = stock.used.checked_sub(was);
            stock.used = less.ok_or(Contradiction("a stock is less than its holds"))? + is;
            self.set.stocks.put(stock);
        }
        Ok(())
    }
}

impl Hold {
    fn counts_in_stock(&self, stock: &Stock) -> bool {
        self.opened_at_ms >= stock.began_at_ms
            && (self.state == HoldState::Open || self.posted_msat.get() > 0)
    }
}
