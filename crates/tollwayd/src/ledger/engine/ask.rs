//! The questions as the engine sees them: which rows they name, and who decides them.

use std::sync::Arc;

use tollway_core::id::KeyId;
use tollway_core::wire::{AllowanceReply, Posting, PostingResult};

use super::{Decided, Engine};
use crate::ledger::acts::{AdminAct, AdminOrder, AdminOutcome};
use crate::ledger::questions::{
    AllowanceOrder, ExtendOrder, ExtendOutcome, HoldOrder, HoldOutcome, InvoiceOutcome,
    LostInvoice, NewInvoice, SettleOutcome, Settlement,
};
use crate::ledger::work::Needs;
use crate::ledger::{KeyBytes, OnRail};

/// A command with an answer.
pub(in crate::ledger) trait Question: Send + 'static {
    type Answer: Send;

    /// Whether it says something about load.
    const COUNTS: bool = true;

    /// Adds the rows that it names.
    fn name(&self, needs: &mut Needs);

    /// Answers, and changes the working set. May run again in another transaction.
    fn decide(&self, engine: &mut Engine) -> Decided<Self::Answer>;
}

impl Question for NewInvoice {
    type Answer = InvoiceOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.payments.insert(self.payment_hash);
        needs.payments.extend(self.top_up);
        needs.offers.extend(self.offer());
        needs.certificates.extend(self.certificate.map(|certificate| certificate.id));
        if let Some(coupon) = &self.coupon {
            needs.stocks.insert(coupon.stock.id);
            needs.coupons.extend(self.top_up.map(|top_up| (coupon.stock.id, top_up)));
        }
    }

    fn decide(&self, engine: &mut Engine) -> Decided<InvoiceOutcome> {
        engine.open_invoice(self)
    }
}

impl Question for LostInvoice {
    type Answer = SettleOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.payments.insert(self.payment_hash);
        // An account is named by a payment hash, whose invoice may be lost as well.
        needs.payments.extend(self.terms.as_ref().and_then(|terms| terms.account));
        needs.actions.insert(self.action());
    }

    fn decide(&self, engine: &mut Engine) -> Decided<SettleOutcome> {
        engine.restore_invoice(self)
    }
}

impl Question for Settlement {
    type Answer = SettleOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.payments.insert(self.payment_hash);
        needs.cursors.extend(self.cursor.iter().map(|(name, _)| name.clone()));
    }

    fn decide(&self, engine: &mut Engine) -> Decided<SettleOutcome> {
        engine.settle(self)
    }
}

/// Shared with the caller, who may need it again.
impl Question for Arc<HoldOrder> {
    type Answer = HoldOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.payments.insert(self.payment_hash);
        needs.holds.insert(self.id);
        needs.holds.extend(self.take_back.map(|take_back| take_back.hold));
        let once = self.once.as_ref();
        needs.once.extend(once.map(|once| (self.payment_hash, *once.key.as_bytes())));
        needs.budgets.extend(self.budgets.iter().map(|budget| budget.id));
        needs.stocks.extend(self.supply.as_ref().map(|supply| supply.id));
        if matches!(self.rail, Some(OnRail::Session { .. })) {
            needs.deposits.insert(self.payment_hash);
        }
    }

    fn decide(&self, engine: &mut Engine) -> Decided<HoldOutcome> {
        engine.hold(self)
    }
}

impl Question for ExtendOrder {
    type Answer = ExtendOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.holds.insert(self.id);
        needs.tokens.insert(self.id);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<ExtendOutcome> {
        engine.extend(self)
    }
}

impl Question for Vec<Posting> {
    type Answer = Vec<PostingResult>;

    fn name(&self, needs: &mut Needs) {
        for row in self {
            needs.holds.insert(row.hold);
            needs.tokens.insert(row.hold);
            needs.postings.insert((row.hold, row.seq));
            if row.store.is_some() {
                needs.responses.insert(row.hold);
            }
        }
    }

    fn decide(&self, engine: &mut Engine) -> Decided<Vec<PostingResult>> {
        engine.post(self)
    }
}

impl Question for AllowanceOrder {
    type Answer = AllowanceReply;

    fn name(&self, needs: &mut Needs) {
        needs.allowances.insert(self.client);
        needs.allowances.extend(&self.before);
    }

    fn decide(&self, engine: &mut Engine) -> Decided<AllowanceReply> {
        Ok(engine.allowance(self))
    }
}

impl Question for AdminOrder {
    type Answer = AdminOutcome;

    fn name(&self, needs: &mut Needs) {
        needs.actions.insert(self.id);
        match self.act {
            AdminAct::Refund(hash, _)
            | AdminAct::Grant(hash, _)
            | AdminAct::Settle(hash, _)
            | AdminAct::Revoke(hash)
            | AdminAct::Unrevoke(hash)
            | AdminAct::RevokeToken(hash)
            | AdminAct::UnrevokeToken(hash)
            | AdminAct::Tier(hash, _) => {
                needs.payments.insert(hash);
            }
            AdminAct::RetireKey(_) => needs.keys = true,
        }
    }

    fn decide(&self, engine: &mut Engine) -> Decided<AdminOutcome> {
        engine.administer(self)
    }
}

/// Asks for the secrets of this day and of those before, and proposes one for this day.
#[derive(Debug)]
pub(in crate::ledger) struct SecretOfDay {
    pub(in crate::ledger) day: u64,
    pub(in crate::ledger) proposed: KeyBytes,
}

impl Question for SecretOfDay {
    type Answer = Vec<(u64, KeyBytes)>;

    fn name(&self, needs: &mut Needs) {
        needs.days = true;
    }

    fn decide(&self, engine: &mut Engine) -> Decided<Vec<(u64, KeyBytes)>> {
        Ok(engine.day_secrets(self.day, &self.proposed))
    }
}

/// Adds a key that mints from now on.
#[derive(Debug)]
pub(in crate::ledger) struct RotateKey(pub(in crate::ledger) KeyBytes);

impl Question for RotateKey {
    type Answer = KeyId;

    fn name(&self, needs: &mut Needs) {
        needs.keys = true;
    }

    fn decide(&self, engine: &mut Engine) -> Decided<KeyId> {
        engine.rotate_key(&self.0)
    }
}

/// Gives back what has expired, everywhere.
#[derive(Debug)]
pub(in crate::ledger) struct Sweep;

impl Question for Sweep {
    type Answer = ();

    const COUNTS: bool = false;

    fn name(&self, needs: &mut Needs) {
        needs.sweep = true;
    }

    fn decide(&self, _engine: &mut Engine) -> Decided<()> {
        // Every batch sweeps what it loaded before it decides anything.
        Ok(())
    }
}

/// Deletes what nobody needs any more.
#[derive(Debug)]
pub(in crate::ledger) struct Prune;

impl Question for Prune {
    type Answer = ();

    const COUNTS: bool = false;

    fn name(&self, needs: &mut Needs) {
        needs.prune = true;
    }

    fn decide(&self, _engine: &mut Engine) -> Decided<()> {
        Ok(())
    }
}

/// Whether changes can be made.
#[derive(Debug)]
pub(in crate::ledger) struct Probe;

impl Question for Probe {
    type Answer = ();

    const COUNTS: bool = false;

    fn name(&self, needs: &mut Needs) {
        needs.probe = true;
    }

    fn decide(&self, _engine: &mut Engine) -> Decided<()> {
        Ok(())
    }
}
