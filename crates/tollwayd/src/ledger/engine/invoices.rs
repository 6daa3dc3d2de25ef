//! Invoices: what is offered for payment.

use tollway_core::money::Msat;
use tollway_core::wire::Buys;

use super::{Decided, Engine};
use crate::ledger::questions::{Certificate, InvoiceOutcome, NewInvoice, OpenInvoice};
use crate::ledger::rows::{Counted, Invoice, UsedCertificate};

/// How long the same asker gets the same invoice. Much less than
/// the life of an invoice, so that the second one still has time to pay.
pub(in crate::ledger) const OFFER_SHARED_MS: u64 = 60_000;

impl Engine {
    pub(in crate::ledger) fn open_invoice(
        &mut self,
        order: &NewInvoice,
    ) -> Decided<InvoiceOutcome> {
        if self.set.invoices.get(&(order.payment_hash,)).is_some() {
            return Ok(InvoiceOutcome::HashTaken);
        }
        let account = match &order.top_up {
            None => order.payment_hash,
            Some(pays_into) => match self.set.invoices.get(&(*pays_into,)) {
                // Nothing could spend the credit of a session's account, and who has a revoked
                // token must not come by a good one of its account.
                Some(known) if known.buys == Buys::Credit && !self.is_revoked(known) => {
                    known.account
                }
                Some(_) | None => return Ok(InvoiceOutcome::TopUpUnknown),
            },
        };
        let balance = self.account(account).balance_msat;
        if balance.checked_add(order.credit).is_none() {
            return Ok(InvoiceOutcome::BalanceLimit);
        }
        let offer = order.offer();
        if let Some(shared) = offer.and_then(|offer| self.shared(&offer)) {
            return Ok(InvoiceOutcome::Shared(shared));
        }
        if let Some(Certificate { id, .. }) = order.certificate
            && self.set.certificates.get(&(id,)).is_some()
        {
            return Ok(InvoiceOutcome::CertificateUsed);
        }
        if let Some(coupon) = &order.coupon
            && let Err(refusal) = self.redeem(coupon, account)
        {
            return Ok(InvoiceOutcome::Refused(refusal));
        }
        if let Some(Certificate { id, expires_at_ms }) = order.certificate {
            let payment_hash = order.payment_hash;
            self.set.certificates.put(UsedCertificate { id, payment_hash, expires_at_ms });
        }
        self.set.invoices.put(Invoice {
            payment_hash: order.payment_hash,
            account,
            amount_msat: order.amount,
            buys: order.buys,
            credit_msat: order.credit.max(order.amount),
            seed_msat: order.seed,
            credit_ttl_ms: order.credit_ttl_ms,
            proof: order.proof,
            route: order.route.clone(),
            bolt11: order.bolt11.clone(),
            client: order.asker.map(|asker| asker.client),
            offer,
            created_at_ms: self.now_ms,
            expires_at_ms: order.expires_at_ms,
            settled_at_ms: None,
            received_msat: None,
            spent_by: None,
            coupon: order.coupon.as_ref().map(|coupon| coupon.stock.id),
            node: order.node.clone(),
            revoked_at_ms: None,
        });
        self.count(Counted::Challenge.word(), &order.route, 0);
        self.tally.challenges += 1;
        Ok(InvoiceOutcome::Stored)
    }

    /// The newest unpaid invoice of this offer that is young enough to be shared.
    fn shared(&self, offer: &[u8; 32]) -> Option<OpenInvoice> {
        let of_offer = |invoice: &&Invoice| invoice.offer.as_ref() == Some(offer);
        self.set
            .invoices
            .iter()
            .filter(of_offer)
            .filter(|invoice| invoice.can_be_shared(self.now_ms))
            .max_by_key(|invoice| invoice.created_at_ms)
            .map(OpenInvoice::from)
    }
}

impl Invoice {
    /// The credit that its payment leaves.
    pub(in crate::ledger) fn buys_credit(&self) -> Msat {
        match self.buys {
            Buys::Credit => self.credit_msat,
            Buys::Session => Msat::ZERO,
        }
    }

    /// Whether another challenge may show it.
    pub(in crate::ledger) fn can_be_shared(&self, now_ms: u64) -> bool {
        self.settled_at_ms.is_none()
            && self.revoked_at_ms.is_none()
            && now_ms < self.created_at_ms.saturating_add(OFFER_SHARED_MS)
            && now_ms < self.expires_at_ms
    }
}

impl From<&Invoice> for OpenInvoice {
    fn from(invoice: &Invoice) -> Self {
        Self {
            payment_hash: invoice.payment_hash,
            bolt11: invoice.bolt11.clone(),
            amount: invoice.amount_msat,
            credit: invoice.buys_credit(),
            expires_at_ms: invoice.expires_at_ms,
        }
    }
}
