//! What an order for a hold asks: what it shows, and on which rail it spends.

use tollway_core::digest::Digest;
use tollway_core::money::Msat;
use tollway_core::wire::{HoldRefusal, Proof};

use super::Engine;
use crate::ledger::deposits::OnRail;
use crate::ledger::questions::HoldOrder;
use crate::ledger::rows::{Account, Invoice, SpentBy};

impl Engine {
    /// Why an order of a session is refused, if it is of none that is open in its realm.
    pub(super) fn outside_its_session(&self, order: &HoldOrder) -> Option<HoldRefusal> {
        let Some(OnRail::Session { realm }) = &order.rail else { return None };
        match self.session(&order.payment_hash, realm) {
            None => Some(HoldRefusal::UnknownPayment),
            Some(session) => session.closed_at_ms.map(|_| HoldRefusal::AccountRevoked),
        }
    }
}

impl HoldOrder {
    /// Whether what was shown opens what this invoice bought. A hash without a token names no
    /// service, so it is good on the route alone that sold it.
    pub(super) fn is_enough_for(&self, invoice: &Invoice) -> bool {
        match self.shown {
            None => false,
            Some(Proof::Hash) => invoice.proof == Proof::Hash && invoice.route == self.route,
            Some(shown) => shown <= invoice.proof,
        }
    }

    pub(super) fn once_key(&self) -> Option<[u8; 32]> {
        self.once.as_ref().map(|once| *once.key.as_bytes())
    }

    pub(super) fn spends_by(&self) -> SpentBy {
        match &self.rail {
            None => SpentBy::L402,
            Some(OnRail::Charge) => SpentBy::Payment,
            Some(OnRail::Session { .. }) => SpentBy::PaymentSession,
            Some(OnRail::X402) => SpentBy::X402,
        }
    }

    /// Whether its payment can be charged once.
    pub(super) fn is_for_one_request(&self) -> bool {
        matches!(self.rail, Some(OnRail::Charge | OnRail::X402))
    }

    /// Whether it may spend a payment that was spent in this way before. A session's payment goes
    /// back to its payer, so that nothing else spends it. A payment for one
    /// request that was never charged in the end is L402 credit like any other: it must not be
    /// lost with its challenge, which ends soon. The other way round a token could not spend any
    /// more what was added to its account.
    pub(super) fn may_spend(&self, by: SpentBy, account: &Account) -> bool {
        let untouched = account.charged_msat == Msat::ZERO && account.held_msat == Msat::ZERO;
        let left = untouched && by != SpentBy::PaymentSession;
        by == self.spends_by() || (self.rail.is_none() && left)
    }

    /// The budget that leads to all others.
    pub(super) fn innermost(&self) -> Option<Digest> {
        self.budgets.last().map(|budget| budget.id)
    }
}
