//! What is taken of coupons and supplies, as it is looked up.

use serde::Serialize;
use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;

use super::reads::Query;
use super::rows::Stock;
use super::{Ledger, LedgerError};

/// Something of which there is only so much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StockOrder {
    pub(crate) id: Digest,
    pub(crate) name: String,
    /// How much there is in one window.
    pub(crate) limit: u64,
    pub(crate) window: BudgetWindow,
}

/// One use of a coupon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CouponOrder {
    pub(crate) stock: StockOrder,
    /// How often one account may use it.
    pub(crate) per_account: Option<u64>,
}

/// How much of a coupon or a supply is taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StockView {
    /// `coupon` or `supply`, and the name of the configuration.
    pub(crate) name: String,
    /// What is taken in the window that began then.
    pub(crate) used: u64,
    pub(crate) began_at_ms: u64,
}

impl Ledger {
    /// Whether nothing is left of a stock now; if so, when there will be, in seconds, or never.
    /// A look for who is about to pay: only the hold itself decides.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn sold_out(
        &self,
        order: &StockOrder,
    ) -> Result<Option<Option<u64>>, LedgerError> {
        let id = order.id;
        let query = Query::by("id =", &id, move |it: &Stock| it.id == id);
        let row = self.reader.rows(query).await?.pop();
        let now_ms = self.clock.now_ms();
        let row = row.filter(|row| now_ms < row.ends_at_ms && row.used >= order.limit);
        if order.limit == 0 {
            return Ok(Some(None));
        }
        let again = order.window != BudgetWindow::Total;
        Ok(row.map(|row| again.then(|| row.ends_at_ms.div_ceil(1_000))))
    }

    /// All stocks of which anything was ever taken.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn stocks(&self) -> Result<Vec<StockView>, LedgerError> {
        let rows = self.reader.rows(Query::<Stock>::all()).await?;
        let view =
            |row: Stock| StockView { name: row.name, used: row.used, began_at_ms: row.began_at_ms };
        let mut views: Vec<_> = rows.into_iter().map(view).collect();
        views.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(views)
    }
}
