//! What comes into an account, what expires in it, and from which part spending takes.

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{Buys, Proof};

use super::{About, Contradiction, Decided, Engine, Way, minus, plus};
use crate::ledger::questions::{LostInvoice, SettleOutcome, Settlement, Terms};
use crate::ledger::rows::{
    Account, Action, ActionKind, Counted, Cursor, EntryKind, Invoice, Tranche,
};

/// How soon the sweeper looks again at expired credit that open holds protect.
const PROTECTED_MS: u64 = 1_000;

/// The credit does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BalanceLimit;

impl Engine {
    /// Credits a payment, whoever reports it, once.
    pub(in crate::ledger) fn settle(&mut self, settlement: &Settlement) -> Decided<SettleOutcome> {
        let outcome = match self.set.invoices.get(&(settlement.payment_hash,)).cloned() {
            None => SettleOutcome::Unknown,
            Some(invoice) if invoice.settled_at_ms.is_some() => SettleOutcome::AlreadyCredited,
            Some(invoice) => match self.credit_invoice(invoice, settlement.received)? {
                Ok(()) => SettleOutcome::Credited,
                Err(BalanceLimit) => SettleOutcome::BalanceLimit,
            },
        };
        if let Some((name, position)) = &settlement.cursor {
            let known = self.set.cursors.get(&(name.clone(),)).map_or(0, |known| known.position);
            // A late report does not turn the follower back.
            if *position > known {
                self.set.cursors.put(Cursor { name: name.clone(), position: *position });
            }
        }
        Ok(outcome)
    }

    /// Takes a paid invoice over from the node's memory, unless the ledger knows it, and
    /// credits it. The operator finds a line about it in the audit log.
    pub(in crate::ledger) fn restore_invoice(
        &mut self,
        lost: &LostInvoice,
    ) -> Decided<SettleOutcome> {
        let was_lost = self.set.invoices.get(&(lost.payment_hash,)).is_none();
        if was_lost {
            let invoice = lost.invoice();
            if self.set.actions.get(&(lost.action(),)).is_none() {
                self.set.actions.put(lost.line(invoice.account, self.now_ms));
            }
            self.count(Counted::Challenge.word(), &invoice.route, 0);
            self.set.invoices.put(invoice);
        }
        let received = Some(lost.received);
        let outcome = self.settle(&Settlement { received, ..Settlement::of(lost.payment_hash) })?;
        if was_lost {
            self.hold_shares_back(&lost.payment_hash);
        }
        Ok(outcome)
    }

    /// Credits an invoice that is not settled: what was paid, but no less than it promised.
    pub(super) fn credit_invoice(
        &mut self,
        mut invoice: Invoice,
        received: Option<Msat>,
    ) -> Decided<Result<(), BalanceLimit>> {
        let mut account = self.account(invoice.account);
        let paid = invoice.amount_msat.max(received.unwrap_or_default());
        let bonus = invoice.buys_credit().checked_sub(paid).unwrap_or_default();
        let seed = if account.entries == 0 { invoice.seed_msat } else { Msat::ZERO };
        let fits =
            [paid, bonus, seed].into_iter().try_fold(account.balance_msat, Msat::checked_add);
        let Some(balance) = fits else { return Ok(Err(BalanceLimit)) };
        let total = minus(balance, account.balance_msat)?;
        let route = invoice.route.clone();
        let payment_hash = Some(invoice.payment_hash);
        let about = About { payment_hash, route: Some(&route), ..About::default() };
        let n = self.enter(&mut account, EntryKind::Credit, (Way::In, paid), about)?;
        if bonus > Msat::ZERO {
            self.enter(&mut account, EntryKind::Bonus, (Way::In, bonus), about)?;
        }
        if seed > Msat::ZERO {
            self.enter(&mut account, EntryKind::Seed, (Way::In, seed), about)?;
        }
        if let Some(ttl_ms) = invoice.credit_ttl_ms {
            self.add_tranche(&mut account, n, total, ttl_ms)?;
        }
        match invoice.buys {
            Buys::Credit => self.repay(&mut account, about)?,
            Buys::Session => self.earn(&mut account, EntryKind::Session, paid, about)?,
        }
        self.set.accounts.put(account);
        self.tell_of_payment(&invoice, paid, total);
        self.tally.settlements += 1;
        self.tally.credited_msat = self.tally.credited_msat.saturating_add(total.get());
        invoice.settled_at_ms = Some(self.now_ms);
        invoice.received_msat = received;
        self.set.invoices.put(invoice);
        Ok(Ok(()))
    }

    fn add_tranche(
        &mut self,
        account: &mut Account,
        n: u64,
        amount: Msat,
        ttl_ms: u64,
    ) -> Decided<()> {
        let expires_at_ms = self.now_ms.saturating_add(ttl_ms);
        account.tranched_msat = plus(account.tranched_msat, amount)?;
        self.set.tranches.put(Tranche {
            account: account.account,
            n,
            remaining_msat: amount,
            expires_at_ms,
            due_at_ms: expires_at_ms,
        });
        Ok(())
    }

    /// Pays debt from what the account can spend.
    pub(super) fn repay(&mut self, account: &mut Account, about: About<'_>) -> Decided<()> {
        let amount = account.debt_msat.min(account.available());
        if amount == Msat::ZERO {
            return Ok(());
        }
        account.debt_msat = minus(account.debt_msat, amount)?;
        self.earn(account, EntryKind::Repayment, amount, about)
    }

    /// Turns a part of the balance into revenue.
    pub(super) fn earn(
        &mut self,
        account: &mut Account,
        kind: EntryKind,
        amount: Msat,
        about: About<'_>,
    ) -> Decided<()> {
        self.count_payer(account);
        account.charged_msat = plus(account.charged_msat, amount)?;
        self.tally.charged_msat = self.tally.charged_msat.saturating_add(amount.get());
        self.spend(account, kind, amount, about)
    }

    /// Takes from the balance: first from the credit that expires first.
    pub(super) fn spend(
        &mut self,
        account: &mut Account,
        kind: EntryKind,
        amount: Msat,
        about: About<'_>,
    ) -> Decided<()> {
        let mut open = amount;
        for mut tranche in self.tranches(account) {
            let part = open.min(tranche.remaining_msat);
            if part == Msat::ZERO {
                break;
            }
            open = minus(open, part)?;
            tranche.remaining_msat = minus(tranche.remaining_msat, part)?;
            account.tranched_msat = minus(account.tranched_msat, part)?;
            self.set.tranches.put(tranche);
        }
        self.enter(account, kind, (Way::Out, amount), about).map(|_n| ())
    }

    /// Ends the expired credit of an account, except what open holds may still charge: they
    /// were granted while it was good, and take the oldest credit first.
    pub(super) fn expire_tranches(&mut self, account: &mut Account) -> Decided<()> {
        if account.tranched_msat == Msat::ZERO {
            return Ok(());
        }
        let mut protected = account.held_msat;
        for mut tranche in self.tranches(account) {
            if tranche.expires_at_ms > self.now_ms {
                break;
            }
            let kept = protected.min(tranche.remaining_msat);
            let ended = minus(tranche.remaining_msat, kept)?;
            protected = minus(protected, kept)?;
            tranche.remaining_msat = kept;
            tranche.due_at_ms = self.now_ms.saturating_add(PROTECTED_MS);
            self.set.tranches.put(tranche);
            if ended > Msat::ZERO {
                account.tranched_msat = minus(account.tranched_msat, ended)?;
                self.enter(account, EntryKind::Expiry, (Way::Out, ended), About::default())?;
            }
        }
        Ok(())
    }

    /// Ends the expired credit of an account that may stay as it is otherwise.
    pub(super) fn expire(&mut self, account: &mut Account) -> Decided<()> {
        let before = account.entries;
        self.expire_tranches(account)?;
        if account.entries != before {
            self.set.accounts.put(account.clone());
        }
        Ok(())
    }

    /// What [`Engine::expire_tranches`] would end.
    pub(super) fn ended_credit(&self, account: &Account) -> Decided<Msat> {
        let over = |tranche: &Tranche| tranche.expires_at_ms <= self.now_ms;
        let expired = self.tranches(account).into_iter().filter(over);
        let expired = expired.map(|tranche| tranche.remaining_msat).try_fold(Msat::ZERO, plus)?;
        Ok(expired.checked_sub(account.held_msat).unwrap_or_default())
    }

    /// The tranches of an account that still have something, the first to expire first.
    fn tranches(&self, account: &Account) -> Vec<Tranche> {
        if account.tranched_msat == Msat::ZERO {
            return Vec::new();
        }
        let name = account.account;
        let of_account = self.set.tranches.range((name, 0)..=(name, u64::MAX));
        let mut found: Vec<Tranche> =
            of_account.filter(|tranche| tranche.remaining_msat > Msat::ZERO).cloned().collect();
        found.sort_by_key(|tranche| (tranche.expires_at_ms, tranche.n));
        found
    }

    /// The account that a payment pays into, if anything was ever credited to it.
    pub(super) fn account_of(&self, payment: &PaymentHash) -> Decided<Option<Account>> {
        let Some(invoice) = self.set.invoices.get(&(*payment,)) else { return Ok(None) };
        let account = self.set.accounts.get(&(invoice.account,)).cloned();
        if account.is_none() && invoice.settled_at_ms.is_some() {
            return Err(Contradiction("a settled invoice without its account"));
        }
        Ok(account)
    }
}

impl LostInvoice {
    /// The invoice as it was or, without its terms, as little as it can have been.
    fn invoice(&self) -> Invoice {
        let terms = self.terms.clone().unwrap_or(Terms {
            account: None,
            buys: Buys::Credit,
            proof: Proof::Preimage,
            credit: self.amount,
            seed: Msat::ZERO,
            credit_ttl_ms: None,
            route: String::new(),
        });
        Invoice {
            payment_hash: self.payment_hash,
            account: terms.account.unwrap_or(self.payment_hash),
            amount_msat: self.amount,
            buys: terms.buys,
            credit_msat: terms.credit.max(self.amount),
            seed_msat: terms.seed,
            credit_ttl_ms: terms.credit_ttl_ms,
            proof: terms.proof,
            route: terms.route,
            bolt11: self.bolt11.clone(),
            client: None,
            offer: None,
            created_at_ms: self.created_at_ms,
            expires_at_ms: self.expires_at_ms,
            settled_at_ms: None,
            received_msat: None,
            spent_by: None,
            coupon: None,
            node: None,
            revoked_at_ms: None,
        }
    }

    /// Its line in the audit log.
    fn line(&self, account: PaymentHash, at_ms: u64) -> Action {
        let reason = match self.terms {
            Some(_) if self.imported => "the credit of another paywall's token, taken over once",
            Some(_) => "the ledger had lost this paid invoice; restored with its terms",
            None => "the ledger had lost this paid invoice; restored without bonus and top-up",
        };
        Action {
            id: self.action(),
            kind: ActionKind::Restore,
            actor: "tollwayd".to_owned(),
            reason: reason.to_owned(),
            subject: Some(self.payment_hash),
            account: Some(account),
            amount_msat: Some(self.received),
            key_id: None,
            tier: None,
            at_ms,
        }
    }
}
