//! What a follower of the node reads: how far it has come, and what may have been paid meanwhile.

use tollway_core::payment::PaymentHash;

use super::Ledger;
use super::questions::{LedgerError, NewInvoice};
use super::reads::Query;
use super::rows::{Cursor, Invoice};

/// An invoice that nobody is known to have paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsettled {
    pub(crate) payment_hash: PaymentHash,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    /// The node that made it, where there are several.
    pub(crate) node: Option<String>,
}

impl Unsettled {
    /// An invoice that was just made.
    pub(crate) fn new(made: &NewInvoice, now_ms: u64) -> Self {
        let NewInvoice { payment_hash, expires_at_ms, .. } = *made;
        Self { payment_hash, created_at_ms: now_ms, expires_at_ms, node: made.node.clone() }
    }
}

impl From<&Invoice> for Unsettled {
    fn from(invoice: &Invoice) -> Self {
        let Invoice { payment_hash, created_at_ms, expires_at_ms, .. } = *invoice;
        Self { payment_hash, created_at_ms, expires_at_ms, node: invoice.node.clone() }
    }
}

impl Ledger {
    /// How far the follower of this name has come; 0 if it never began.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn cursor(&self, name: &str) -> Result<u64, LedgerError> {
        let name = name.to_owned();
        let wanted = name.clone();
        let by_name = Query::by("name =", &name, move |it: &Cursor| it.name == wanted);
        Ok(self.reader.rows(by_name).await?.pop().map_or(0, |cursor| cursor.position))
    }

    /// The unsettled invoices that expire after this time, the last to expire first.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn unsettled(
        &self,
        expiring_after_ms: u64,
        limit: u32,
    ) -> Result<Vec<Unsettled>, LedgerError> {
        let matches =
            move |it: &Invoice| it.settled_at_ms.is_none() && it.expires_at_ms > expiring_after_ms;
        let query = Query::by("expires_at_ms >", &expiring_after_ms, matches);
        let query = Query {
            also: "settled_at_ms IS NULL",
            order: Some("expires_at_ms"),
            newest_first: true,
            limit,
            ..query
        };
        let found = self.scanner.rows(query).await?;
        Ok(found.iter().map(Unsettled::from).collect())
    }
}
