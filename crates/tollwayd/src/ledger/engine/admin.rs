//! What operators do, each with its line in the audit log.

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::Buys;

use super::{About, Contradiction, Decided, Engine, Way, plus};
use crate::ledger::acts::{AdminAct, AdminOrder, AdminOutcome};
use crate::ledger::questions::{SettleOutcome, Settlement};
use crate::ledger::rows::{Account, Action, ActionKind, EntryKind, Hold, Invoice, MasterKey};

impl Engine {
    pub(in crate::ledger) fn administer(&mut self, order: &AdminOrder) -> Decided<AdminOutcome> {
        let mut line = order.line(self.now_ms);
        if let Some(before) = self.set.actions.get(&(line.id,)) {
            line.at_ms = before.at_ms;
            line.account = before.account;
            let same = *before == line;
            return Ok(if same { AdminOutcome::Done } else { AdminOutcome::Conflict });
        }
        let outcome = match order.act {
            AdminAct::RetireKey(id) => {
                let known = self.set.keys.get(&(id,)).cloned();
                let Some(key) = known else { return Ok(AdminOutcome::Unknown) };
                if self.newest_key() == Some(id) {
                    return Ok(AdminOutcome::KeyInUse);
                }
                let retired_at_ms = key.retired_at_ms.or(Some(self.now_ms));
                self.set.keys.put(MasterKey { retired_at_ms, ..key });
                AdminOutcome::Done
            }
            AdminAct::Settle(hash, received) => {
                let invoice = self.set.invoices.get(&(hash,));
                line.account = invoice.map(|invoice| invoice.account);
                match self.settle(&Settlement { received, ..Settlement::of(hash) })? {
                    SettleOutcome::Credited => AdminOutcome::Done,
                    SettleOutcome::AlreadyCredited => AdminOutcome::AlreadyCredited,
                    SettleOutcome::BalanceLimit => AdminOutcome::BalanceLimit,
                    SettleOutcome::Unknown => AdminOutcome::Unknown,
                }
            }
            AdminAct::Refund(hash, _)
            | AdminAct::Grant(hash, _)
            | AdminAct::Revoke(hash)
            | AdminAct::Unrevoke(hash)
            | AdminAct::RevokeToken(hash)
            | AdminAct::UnrevokeToken(hash)
            | AdminAct::Tier(hash, _) => {
                let invoice = self.set.invoices.get(&(hash,));
                let session = invoice.is_some_and(|invoice| invoice.buys == Buys::Session);
                let account = match self.account_of(&hash)? {
                    Some(account) => account,
                    // The gate asks nobody, so that a session may run whose payment was never
                    // reported.
                    None if session && order.act.revokes() => self.account(hash),
                    None => return Ok(AdminOutcome::Unknown),
                };
                if session && matches!(order.act, AdminAct::Refund(..) | AdminAct::Grant(..)) {
                    return Ok(AdminOutcome::HasNoCredit);
                }
                line.account = Some(account.account);
                self.administer_account(account, order)?
            }
        };
        if outcome == AdminOutcome::Done {
            self.set.actions.put(line);
        }
        Ok(outcome)
    }

    fn administer_account(
        &mut self,
        mut account: Account,
        order: &AdminOrder,
    ) -> Decided<AdminOutcome> {
        match order.act {
            AdminAct::Refund(hash, amount) => {
                let refunded = plus(account.refunded_msat, amount)?;
                if refunded > account.charged_msat {
                    return Ok(AdminOutcome::ExceedsCharges);
                }
                account.refunded_msat = refunded;
                self.tally.refunded_msat = self.tally.refunded_msat.saturating_add(amount.get());
                let name = account.account;
                let outcome = self.give(account, EntryKind::Refund, amount, order.id)?;
                if outcome == AdminOutcome::Done {
                    self.tell_of_refund(name, (hash, amount), &order.id);
                }
                Ok(outcome)
            }
            AdminAct::Grant(_, amount) => self.give(account, EntryKind::Grant, amount, order.id),
            AdminAct::Revoke(_) => {
                account.revoked_at_ms = account.revoked_at_ms.or(Some(self.now_ms));
                self.set.accounts.put(account);
                Ok(AdminOutcome::Done)
            }
            AdminAct::Tier(_, tier) => {
                account.tier = tier;
                self.set.accounts.put(account);
                Ok(AdminOutcome::Done)
            }
            AdminAct::RevokeToken(hash) | AdminAct::UnrevokeToken(hash) => {
                let known = self.set.invoices.get(&(hash,)).cloned();
                let Some(invoice) = known else { return Ok(AdminOutcome::Unknown) };
                let since_ms = invoice.revoked_at_ms.unwrap_or(self.now_ms);
                let revoked_at_ms = order.act.revokes().then_some(since_ms);
                self.set.invoices.put(Invoice { revoked_at_ms, ..invoice });
                // Without a row of its account, nothing keeps a settlement from coming between.
                self.set.accounts.put(account);
                Ok(AdminOutcome::Done)
            }
            AdminAct::Unrevoke(_) => {
                account.revoked_at_ms = None;
                self.set.accounts.put(account);
                Ok(AdminOutcome::Done)
            }
            AdminAct::Settle(..) | AdminAct::RetireKey(_) => {
                Err(Contradiction("an act on no account came to one"))
            }
        }
    }

    /// Whether the token of this invoice is revoked, by itself or with its account.
    pub(super) fn is_revoked(&self, invoice: &Invoice) -> bool {
        invoice.revoked_at_ms.is_some() || self.account(invoice.account).revoked_at_ms.is_some()
    }

    /// Whether the token that the hold was placed with is.
    pub(super) fn is_hold_revoked(&self, hold: &Hold, account: &Account) -> bool {
        let invoice = self.set.invoices.get(&(hold.payment_hash,));
        account.revoked_at_ms.is_some()
            || invoice.is_some_and(|invoice| invoice.revoked_at_ms.is_some())
    }

    fn give(
        &mut self,
        mut account: Account,
        kind: EntryKind,
        amount: Msat,
        action: [u8; 16],
    ) -> Decided<AdminOutcome> {
        if account.balance_msat.checked_add(amount).is_none() {
            return Ok(AdminOutcome::BalanceLimit);
        }
        let about = About { action: Some(action), ..About::default() };
        if amount > Msat::ZERO {
            self.enter(&mut account, kind, (Way::In, amount), about)?;
            self.repay(&mut account, about)?;
        }
        self.set.accounts.put(account);
        Ok(AdminOutcome::Done)
    }
}

impl AdminAct {
    /// Whether it ends tokens.
    fn revokes(self) -> bool {
        matches!(self, Self::Revoke(_) | Self::RevokeToken(_))
    }
}

impl AdminOrder {
    /// Its line in the audit log.
    fn line(&self, at_ms: u64) -> Action {
        let about = |hash: PaymentHash, amount: Option<Msat>| (Some(hash), amount, None);
        let (kind, (subject, amount_msat, key_id)) = match self.act {
            AdminAct::Refund(hash, amount) => (ActionKind::Refund, about(hash, Some(amount))),
            AdminAct::Grant(hash, amount) => (ActionKind::Grant, about(hash, Some(amount))),
            AdminAct::Settle(hash, received) => (ActionKind::Settle, about(hash, received)),
            AdminAct::Revoke(hash) => (ActionKind::Revoke, about(hash, None)),
            AdminAct::Unrevoke(hash) => (ActionKind::Unrevoke, about(hash, None)),
            AdminAct::RevokeToken(hash) => (ActionKind::RevokeToken, about(hash, None)),
            AdminAct::UnrevokeToken(hash) => (ActionKind::UnrevokeToken, about(hash, None)),
            AdminAct::Tier(hash, _) => (ActionKind::Tier, about(hash, None)),
            AdminAct::RetireKey(id) => (ActionKind::RetireKey, (None, None, Some(id))),
        };
        let tier = if let AdminAct::Tier(_, tier) = self.act { Some(tier) } else { None };
        Action {
            id: self.id,
            kind,
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            subject,
            account: None,
            amount_msat,
            key_id,
            tier,
            at_ms,
        }
    }
}
