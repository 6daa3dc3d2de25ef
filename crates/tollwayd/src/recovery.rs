//! Payments that the node knows of and the ledger does not, or not yet.
//!
//! Where the operator has it so, a token comes without the preimage. Its payment must have
//! arrived; if the ledger has not heard of that, the node is asked.
//!
//! A ledger that was restored from a backup does not know what was sold after the backup's
//! moment, but customers hold credentials for it. Such a credential comes with a hold whose
//! preimage proves its payment hash; then the node is asked, and what it says was paid is
//! credited. Nobody can make the gate send hashes of their own invention: they stand in
//! macaroons that it signed, for invoices that `tollwayd` made. Still, who asks in vain is
//! remembered for a while, and few look-ups run at a time.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Buys, HoldRefusal, HoldReply, Proof};

use crate::ledger::{
    HoldOrder, HoldOutcome, LedgerError, LostInvoice, SettleOutcome, Settlement, Terms,
};
use crate::lightning::{Answer, CheckedPayment, NodeFault, check_payment};
use crate::paywall::Paywall;

/// Look-ups that run at a time, also those that nobody waits for any more.
const LOOK_UPS_MAX: usize = 8;
/// Half of what the filter waits by default, so that it hears the reason.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a payment that the node does not know is not asked about again.
const UNKNOWN_MS: u64 = 10_000;
/// How long one is not asked about that the node waits for: its payer may be quick.
const OPEN_MS: u64 = 1_000;
/// Payments that are remembered so; beyond it the oldest is asked about again.
const UNPAID_MAX: usize = 256;
/// The longest note that is read; the longest of ours fits.
const NOTE_BYTES_MAX: usize = 1_024;

/// What bounds the look-ups.
#[derive(Debug)]
pub(crate) struct Recovery {
    running: Arc<Semaphore>,
    /// What the node did not confirm, and until when that is believed, the oldest word first.
    unpaid: Mutex<VecDeque<(PaymentHash, u64)>>,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { running: Arc::new(Semaphore::new(LOOK_UPS_MAX)), unpaid: Mutex::default() }
    }
}

impl Recovery {
    fn is_unpaid(&self, hash: &PaymentHash, now_ms: u64) -> bool {
        let mut unpaid = self.unpaid.lock().unwrap_or_else(PoisonError::into_inner);
        unpaid.retain(|(_, until_ms)| now_ms < *until_ms);
        unpaid.iter().any(|(known, _)| known == hash)
    }

    fn remember_unpaid(&self, hash: PaymentHash, until_ms: u64) {
        let mut unpaid = self.unpaid.lock().unwrap_or_else(PoisonError::into_inner);
        if unpaid.len() >= UNPAID_MAX {
            unpaid.pop_front();
        }
        unpaid.push_back((hash, until_ms));
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecoveryError {
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The ledger does not know the payment, and the node did not say in time whether it does.
    #[error(transparent)]
    Node(#[from] NodeFault),
}

impl Paywall {
    /// Sets credit aside; if the ledger has lost the payment or waits for it, looks for it at the
    /// node first.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn hold(
        &self,
        order: impl Into<Arc<HoldOrder>>,
    ) -> Result<HoldOutcome, RecoveryError> {
        let order = order.into();
        let outcome = self.ledger.hold(Arc::clone(&order)).await?;
        let looks = is_lost(&order, &outcome) || is_refused(&outcome, HoldRefusal::PaymentPending);
        if !(looks && self.recover(order.payment_hash).await?) {
            return Ok(outcome);
        }
        Ok(self.ledger.hold(order).await?)
    }

    /// Looks for a payment that the ledger does not know; whether the ledger knows it now.
    ///
    /// # Errors
    /// [`RecoveryError`] if the ledger or the node did not answer.
    pub(crate) async fn recover(&self, hash: PaymentHash) -> Result<bool, RecoveryError> {
        if self.recovery.is_unpaid(&hash, self.clock.now_ms()) {
            return Ok(false);
        }
        let look_up = async {
            let running = Arc::clone(&self.recovery.running);
            // The semaphore is never closed.
            let permit = running.acquire_owned().await.map_err(|_| NodeFault::Down)?;
            let paywall = self.clone();
            // A slow node's answer still counts when nobody waits for it: the next try finds it.
            let task = tokio::spawn(async move {
                let recovered = paywall.look_up(hash).await;
                drop(permit);
                recovered
            });
            task.await.unwrap_or(Err(RecoveryError::Node(NodeFault::Down)))
        };
        let waited = tokio::time::timeout(PATIENCE, look_up).await;
        waited.unwrap_or(Err(RecoveryError::Node(NodeFault::Down)))
    }

    /// The node that made an invoice, where there are several and the ledger knows it.
    pub(crate) async fn maker(&self, hash: PaymentHash) -> Result<Option<String>, LedgerError> {
        if !self.pool.has_several() {
            return Ok(None);
        }
        Ok(self.ledger.invoice(hash).await?.and_then(|invoice| invoice.node))
    }

    async fn look_up(&self, hash: PaymentHash) -> Result<bool, RecoveryError> {
        let node = self.maker(hash).await?;
        let payment = match self.pool.look_up(&hash, node.as_deref()).await? {
            Answer::Settled(settled) => check_payment(&hash, settled)
                .map_err(|error| tracing::error!(%hash, %error, "an unusable word of the node"))
                .ok(),
            Answer::Open => {
                let until_ms = self.clock.now_ms().saturating_add(OPEN_MS);
                self.recovery.remember_unpaid(hash, until_ms);
                return Ok(false);
            }
            answer @ (Answer::Unknown | Answer::Expired) => {
                tracing::warn!(%hash, ?answer, "the node knows no such payment");
                None
            }
        };
        let Some(payment) = payment else {
            let until_ms = self.clock.now_ms().saturating_add(UNKNOWN_MS);
            self.recovery.remember_unpaid(hash, until_ms);
            return Ok(false);
        };
        let received = Some(payment.received);
        let outcome = self.ledger.settle(Settlement { received, ..Settlement::of(hash) }).await?;
        if outcome != SettleOutcome::Unknown {
            self.pool.forget(&hash);
            tracing::info!(%hash, ?outcome, "a payment was found at the node");
            return Ok(outcome != SettleOutcome::BalanceLimit);
        }
        let lost = LostInvoice::from(payment);
        let with_terms = lost.terms.is_some();
        let outcome = self.ledger.restore_invoice(lost).await?;
        tracing::warn!(
            %hash,
            ?outcome,
            with_terms,
            "the ledger had lost a paid invoice; the node brought it back"
        );
        Ok(true)
    }
}

/// Whether the ledger may have lost the payment of somebody who has shown enough to ask the node:
/// the preimage, or a token, which is signed. Anybody can show a hash.
pub(crate) fn is_lost(order: &HoldOrder, outcome: &HoldOutcome) -> bool {
    let signed = matches!(order.shown, Some(Proof::Preimage | Proof::Lookup));
    signed && is_refused(outcome, HoldRefusal::UnknownPayment)
}

fn is_refused(outcome: &HoldOutcome, why: HoldRefusal) -> bool {
    matches!(outcome, HoldOutcome::Answered(HoldReply::Refused { refusal, .. }) if *refusal == why)
}

impl From<CheckedPayment> for LostInvoice {
    fn from(payment: CheckedPayment) -> Self {
        let CheckedPayment { amount, .. } = payment;
        let terms = payment.note.as_deref().and_then(read_note);
        Self {
            payment_hash: payment.payment_hash,
            bolt11: payment.bolt11,
            amount,
            received: payment.received,
            terms: terms.filter(|terms| match terms.buys {
                Buys::Credit => terms.credit >= amount,
                Buys::Session => terms.credit == Msat::ZERO && terms.account.is_none(),
            }),
            imported: false,
            created_at_ms: payment.created_at_s.saturating_mul(1_000),
            expires_at_ms: payment.expires_at_s.saturating_mul(1_000),
        }
    }
}

/// What the node is asked to keep with an invoice, so that its terms outlive the ledger.
pub(crate) fn note(terms: &Terms) -> String {
    // Numbers, hashes and text always serialise.
    serde_json::to_string(terms).unwrap_or_default()
}

/// The terms of a note; `None` for what is not understood.
fn read_note(note: &str) -> Option<Terms> {
    let fits = note.len() <= NOTE_BYTES_MAX;
    fits.then(|| serde_json::from_str(note).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_in_vain_is_remembered_for_a_while_and_in_bounded_memory() {
        let recovery = Recovery::default();
        let hash = |number: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            PaymentHash::from_bytes(bytes)
        };
        for number in 0..10_000 {
            recovery.remember_unpaid(hash(number), 8);
        }
        assert_eq!(recovery.unpaid.lock().unwrap().len(), UNPAID_MAX);
        assert!(recovery.is_unpaid(&hash(9_999), 7));
        assert!(!recovery.is_unpaid(&hash(0), 5));
        assert!(!recovery.is_unpaid(&hash(9_999), 8));
        assert_eq!(recovery.unpaid.lock().unwrap().len(), 0);
    }

    #[test]
    fn notes_come_back_and_other_text_is_no_terms() {
        let terms = Terms {
            account: Some(PaymentHash::from_bytes([7; 32])),
            buys: Buys::Session,
            proof: Proof::Preimage,
            credit: Msat::MAX,
            seed: Msat::ZERO,
            credit_ttl_ms: Some(u64::MAX),
            route: "\u{1}".repeat(tollway_core::wire::ROUTE_NAME_BYTES_MAX),
        };
        assert!(note(&terms).len() <= NOTE_BYTES_MAX, "the longest fits");
        assert_eq!(read_note(&note(&terms)), Some(terms));
        // As it stands with nodes today: a change here forgets what was sold before.
        let old =
            r#"{"account":null,"credit_msat":5,"seed_msat":0,"credit_ttl_ms":null,"route":"a"}"#;
        let (route, credit) = ("a".to_owned(), Msat::new(5).unwrap());
        let (buys, seed, credit_ttl_ms) = (Buys::Credit, Msat::ZERO, None);
        let proof = Proof::Preimage;
        let plain = Terms { account: None, buys, proof, credit, seed, credit_ttl_ms, route };
        assert_eq!((read_note(old), note(&plain).as_str()), (Some(plain.clone()), old));
        for other in ["", "joke", "{}", &old.replace('5', "-1"), &old.replace("}", ",\"x\":1}")] {
            assert_eq!(read_note(other), None, "{other}");
        }
    }
}
