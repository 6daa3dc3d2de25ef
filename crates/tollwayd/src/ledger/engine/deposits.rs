//! Sessions of the scheme `Payment`. A session is the account that its first payment opened; what
//! it was topped up with moves there, and what is left moves out when it ends.

use tollway_core::money::{MSAT_PER_SAT, Msat};
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Buys, Proof};

use super::credits::BalanceLimit;
use super::outbox::return_id;
use super::{About, Decided, Engine, Question, Way, minus};
use crate::ledger::deposits::{
    CloseOutcome, CloseSession, DepositOutcome, OpenSession, ReturnOrder, TopUpSession,
};
use crate::ledger::rows::{Account, Deposit, EntryKind, Invoice, SpentBy};
use crate::ledger::work::Needs;

fn name(payment: PaymentHash, needs: &mut Needs) {
    needs.payments.insert(payment);
    needs.deposits.insert(payment);
}

impl Question for OpenSession {
    type Answer = DepositOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.payment_hash, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<DepositOutcome> {
        engine.open_session(self)
    }
}

impl Question for TopUpSession {
    type Answer = DepositOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.session, needs);
        name(self.payment_hash, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<DepositOutcome> {
        engine.top_up_session(self)
    }
}

impl Question for CloseSession {
    type Answer = CloseOutcome;

    fn name(&self, needs: &mut Needs) {
        name(self.session, needs);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<CloseOutcome> {
        engine.close_session(self)
    }
}

impl Engine {
    fn open_session(&mut self, order: &OpenSession) -> Decided<DepositOutcome> {
        let hash = order.payment_hash;
        if let Some(known) = self.set.deposits.get(&(hash,)) {
            let same = known.return_invoice.as_ref() == Some(&order.return_invoice)
                && known.realm == order.realm;
            return Ok(match known.closed_at_ms {
                _ if !same => DepositOutcome::Unfit,
                Some(_) => DepositOutcome::Closed,
                None => DepositOutcome::Deposited { balance: self.account(hash).available() },
            });
        }
        let (account, paid) = match self.fresh_payment(hash)? {
            Ok(fresh) => fresh,
            Err(outcome) => return Ok(outcome),
        };
        self.set.deposits.put(Deposit {
            payment_hash: hash,
            session: hash,
            amount_msat: paid,
            deposited_msat: paid,
            realm: order.realm.clone(),
            return_invoice: Some(order.return_invoice.clone()),
            closed_at_ms: None,
            returned_msat: None,
            created_at_ms: self.now_ms,
        });
        self.spent_by(hash, SpentBy::PaymentSession);
        Ok(DepositOutcome::Deposited { balance: account.available() })
    }

    fn top_up_session(&mut self, order: &TopUpSession) -> Decided<DepositOutcome> {
        let hash = order.payment_hash;
        let Some(session) = self.session(&order.session, &order.realm) else {
            return Ok(DepositOutcome::NoSession);
        };
        if session.closed_at_ms.is_some() {
            return Ok(DepositOutcome::Closed);
        }
        if let Some(known) = self.set.deposits.get(&(hash,)) {
            let again = known.session == order.session && hash != order.session;
            let balance = self.account(order.session).available();
            return Ok(if again {
                DepositOutcome::Deposited { balance }
            } else {
                DepositOutcome::Unfit
            });
        }
        let (mut from, paid) = match self.fresh_payment(hash)? {
            Ok(fresh) => fresh,
            Err(outcome) => return Ok(outcome),
        };
        let mut to = self.account(order.session);
        let fits = to.balance_msat.checked_add(paid).and(session.deposited_msat.checked_add(paid));
        let Some(deposited_msat) = fits else { return Ok(DepositOutcome::BalanceLimit) };
        let about = About { payment_hash: Some(hash), ..About::default() };
        self.enter(&mut from, EntryKind::Moved, (Way::Out, paid), about)?;
        self.enter(&mut to, EntryKind::Moved, (Way::In, paid), about)?;
        self.repay(&mut to, about)?;
        let balance = to.available();
        self.set.accounts.put(from);
        self.set.accounts.put(to);
        self.set.deposits.put(Deposit {
            payment_hash: hash,
            session: order.session,
            amount_msat: paid,
            deposited_msat: Msat::ZERO,
            realm: order.realm.clone(),
            return_invoice: None,
            closed_at_ms: None,
            returned_msat: None,
            created_at_ms: self.now_ms,
        });
        self.set.deposits.put(Deposit { deposited_msat, ..session });
        self.spent_by(hash, SpentBy::PaymentSession);
        Ok(DepositOutcome::Deposited { balance })
    }

    /// What was paid in and not charged goes back, in whole sats, and no gift with it.
    fn close_session(&mut self, order: &CloseSession) -> Decided<CloseOutcome> {
        let Some(session) = self.session(&order.session, &order.realm) else {
            return Ok(CloseOutcome::NoSession);
        };
        let delivery = return_id(&order.session);
        if let Some(returned) = session.returned_msat {
            return Ok(CloseOutcome::Closed { returned, delivery });
        }
        let mut account = self.account(order.session);
        if account.held_msat > Msat::ZERO {
            return Ok(CloseOutcome::Busy);
        }
        let charged = minus(account.charged_msat, account.refunded_msat)?;
        let rest = session.deposited_msat.checked_sub(charged).unwrap_or_default();
        let whole_sats = rest.min(account.available()).get() / MSAT_PER_SAT;
        // A part of an amount is an amount.
        let returned = Msat::from_sats(whole_sats).unwrap_or_default();
        if returned > Msat::ZERO {
            let about = About { payment_hash: Some(order.session), ..About::default() };
            self.spend(&mut account, EntryKind::Moved, returned, about)?;
            let bolt11 = session.return_invoice.clone().unwrap_or_default();
            self.order_return(order.session, &ReturnOrder { amount_msat: returned, bolt11 });
            self.set.accounts.put(account);
        }
        let (closed_at_ms, returned_msat) = (Some(self.now_ms), Some(returned));
        self.set.deposits.put(Deposit { closed_at_ms, returned_msat, ..session });
        Ok(CloseOutcome::Closed { returned, delivery })
    }

    /// The state of a session.
    pub(super) fn session(&self, name: &PaymentHash, realm: &str) -> Option<Deposit> {
        let known = self.set.deposits.get(&(*name,));
        known.filter(|it| it.session == *name && it.realm == realm).cloned()
    }

    /// The account of a payment, which is credited if it was not, and what was paid: if nobody has
    /// spent of it, and it bought just what was paid.
    fn fresh_payment(
        &mut self,
        hash: PaymentHash,
    ) -> Decided<Result<(Account, Msat), DepositOutcome>> {
        let Some(invoice) = self.set.invoices.get(&(hash,)).cloned() else {
            return Ok(Err(DepositOutcome::UnknownPayment));
        };
        if !invoice.is_plain() || invoice.spent_by.is_some() || invoice.revoked_at_ms.is_some() {
            return Ok(Err(DepositOutcome::Unfit));
        }
        if invoice.settled_at_ms.is_none()
            && self.credit_invoice(invoice.clone(), None)? == Err(BalanceLimit)
        {
            return Ok(Err(DepositOutcome::BalanceLimit));
        }
        let paid = invoice.amount_msat.max(invoice.received_msat.unwrap_or_default());
        let account = self.account(hash);
        let whole = account.held_msat == Msat::ZERO
            && account.charged_msat == Msat::ZERO
            && account.revoked_at_ms.is_none()
            && account.available() >= paid;
        Ok(if whole { Ok((account, paid)) } else { Err(DepositOutcome::Unfit) })
    }
}

impl Invoice {
    /// Whether its payment bought credit for just that, without gifts and without an end.
    fn is_plain(&self) -> bool {
        self.account == self.payment_hash
            && self.buys == Buys::Credit
            && self.proof == Proof::Preimage
            && self.credit_msat == self.amount_msat
            && self.seed_msat == Msat::ZERO
            && self.credit_ttl_ms.is_none()
            && self.coupon.is_none()
    }
}
