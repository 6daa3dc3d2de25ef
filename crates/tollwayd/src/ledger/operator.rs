//! What an operator looks up: one invoice, and the audit log.

use serde::Serialize;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{Buys, Proof};

use super::reads::Query;
use super::rows::{Account, Action, Invoice};
use super::views::ENTRIES_SHOWN_MAX;
use super::{ActionView, Ledger, LedgerError};

/// One invoice, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct InvoiceView {
    pub(crate) payment_hash: PaymentHash,
    /// The account that it pays into.
    pub(crate) account: PaymentHash,
    pub(crate) state: InvoiceState,
    /// What it asks.
    pub(crate) amount_msat: Msat,
    pub(crate) buys: Buys,
    /// The credit that it buys.
    pub(crate) credit_msat: Msat,
    pub(crate) proof: Proof,
    pub(crate) route: String,
    pub(crate) invoice: String,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) settled_at_ms: Option<u64>,
    /// What was really paid, where the node said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) received_msat: Option<Msat>,
    /// The node that made it, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Since when an operator ended its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revoked_at_ms: Option<u64>,
}

/// Where an invoice stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InvoiceState {
    Open,
    Settled,
    Expired,
}

impl Ledger {
    /// The name of the account that this payment hash pays into, or `None`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn account_name(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<PaymentHash>, LedgerError> {
        Ok(self.invoice(hash).await?.map(|invoice| invoice.account))
    }

    /// The invoice with this payment hash, or `None`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn invoice(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<InvoiceView>, LedgerError> {
        let by_hash =
            Query::by("payment_hash =", &hash, move |it: &Invoice| it.payment_hash == hash);
        let now_ms = self.clock.now_ms();
        Ok(self.reader.rows(by_hash).await?.pop().map(|row| InvoiceView::new(row, now_ms)))
    }

    /// The account that this payment hash pays into, and its tier; or `None`.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn payer(
        &self,
        hash: PaymentHash,
    ) -> Result<Option<(PaymentHash, Tier)>, LedgerError> {
        let Some(name) = self.account_name(hash).await? else { return Ok(None) };
        let by_name = Query::by("account =", &name, move |it: &Account| it.account == name);
        let account = self.reader.rows(by_name).await?.pop();
        Ok(Some((name, account.map_or(Tier::NONE, |account| account.tier))))
    }

    /// The newest lines of the audit log, oldest first, at most 1,000.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger did not answer.
    pub(crate) async fn actions(&self) -> Result<Vec<ActionView>, LedgerError> {
        let newest = Query::<Action> {
            newest_first: true,
            order: Some("at_ms"),
            limit: ENTRIES_SHOWN_MAX,
            ..Query::all()
        };
        let mut lines = self.scanner.rows(newest).await?;
        lines.sort_by_key(|line| (line.at_ms, line.id));
        Ok(lines.into_iter().map(ActionView::from).collect())
    }
}

impl InvoiceView {
    fn new(row: Invoice, now_ms: u64) -> Self {
        let state = match row.settled_at_ms {
            Some(_) => InvoiceState::Settled,
            None if row.expires_at_ms <= now_ms => InvoiceState::Expired,
            None => InvoiceState::Open,
        };
        Self {
            payment_hash: row.payment_hash,
            account: row.account,
            state,
            amount_msat: row.amount_msat,
            buys: row.buys,
            credit_msat: row.buys_credit(),
            proof: row.proof,
            route: row.route,
            invoice: row.bolt11,
            created_at_ms: row.created_at_ms,
            expires_at_ms: row.expires_at_ms,
            settled_at_ms: row.settled_at_ms,
            received_msat: row.received_msat,
            node: row.node,
            revoked_at_ms: row.revoked_at_ms,
        }
    }
}
