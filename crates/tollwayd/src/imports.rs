//! Credit that another paywall sold before its operator moved here.
//!
//! Its tokens come with holds like ours, but their payments are in no ledger of ours. The gate
//! says what such a token is worth: what it was sold with, or the price of one request. It is
//! credited once, to an account that the payment opens; from then on the ledger knows it. What
//! the old system already spent of it, nobody can say here.

use std::sync::Arc;

use tollway_core::money::Msat;
use tollway_core::wire::{Buys, Proof};

use crate::ledger::{HoldOrder, HoldOutcome, LostInvoice, Terms};
use crate::paywall::Paywall;
use crate::recovery::{RecoveryError, is_lost};

impl Paywall {
    /// Sets credit aside. A payment that neither the ledger nor the node knows opens an account
    /// with the credit of `import`, if the operator takes tokens of other paywalls.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn hold_or_import(
        &self,
        mut order: HoldOrder,
        import: Option<Msat>,
    ) -> Result<HoldOutcome, RecoveryError> {
        order.supply = self.sales.supply(&order.route).cloned();
        let order = Arc::new(order);
        let outcome = self.hold(Arc::clone(&order)).await?;
        // No node can say that the payment of another system has arrived.
        let is_proven = order.shown == Some(Proof::Preimage);
        let import = import.filter(|credit| *credit > Msat::ZERO && self.imports);
        let Some(credit) = import.filter(|_| is_proven && is_lost(&order, &outcome)) else {
            return Ok(outcome);
        };
        let now_ms = self.clock.now_ms();
        let credited = self.ledger.restore_invoice(LostInvoice {
            payment_hash: order.payment_hash,
            bolt11: String::new(),
            amount: credit,
            received: credit,
            terms: Some(Terms {
                account: None,
                buys: Buys::Credit,
                proof: Proof::Preimage,
                credit,
                seed: Msat::ZERO,
                credit_ttl_ms: None,
                route: order.route.clone(),
            }),
            imported: true,
            created_at_ms: now_ms,
            expires_at_ms: now_ms,
        });
        let outcome = credited.await?;
        tracing::info!(hash = %order.payment_hash, ?outcome, %credit, "a token of another paywall");
        Ok(self.ledger.hold(order).await?)
    }
}
