//! Holds: credit set aside, the only way to spend.

use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::wire::{HoldRefusal, HoldReply, IdempotencyKey, Proof, StoredResponse, TakeBack};

use super::budgets::{Exhausted, least_room};
use super::credits::BalanceLimit;
use super::{Contradiction, Decided, Engine, minus, plus};
use crate::ledger::questions::{ExtendOrder, ExtendOutcome, HoldOrder, HoldOutcome};
use crate::ledger::rows::{Account, Budget, Hold, HoldState, Invoice, Once, SpentBy};

/// How long an idempotency key is remembered.
pub(in crate::ledger) const ONCE_MS: u64 = 86_400_000;

/// What is known of an idempotency key.
enum Before {
    Nothing,
    Refused(HoldRefusal),
    Charged(Option<StoredResponse>),
}

/// Credit that returns from a hold.
struct Back {
    /// The hold, as it is after that.
    hold: Hold,
    /// What the account still holds then.
    held_msat: Msat,
    /// What new holds can take then.
    available: Msat,
}

impl Engine {
    /// Answers in the order of [`HoldRefusal`]. The proof is judged before the id is looked up,
    /// so that who proves nothing learns nothing, not even that a hold exists.
    pub(in crate::ledger) fn hold(&mut self, order: &HoldOrder) -> Decided<HoldOutcome> {
        let Some(invoice) = self.set.invoices.get(&(order.payment_hash,)) else {
            return Ok(self.refuse(HoldRefusal::UnknownPayment, Msat::ZERO));
        };
        let name = invoice.account;
        let unsettled = invoice.settled_at_ms.is_none().then(|| invoice.clone());
        let (spent_by, revoked) = (invoice.spent_by, invoice.revoked_at_ms.is_some());
        if !order.is_enough_for(invoice) {
            return Ok(self.refuse(HoldRefusal::PaymentNotProven, Msat::ZERO));
        }
        if unsettled.is_some() && order.shown != Some(Proof::Preimage) {
            return Ok(self.refuse(HoldRefusal::PaymentPending, Msat::ZERO));
        }
        if let Some(hold) = self.set.holds.get(&(order.id,)) {
            return Ok(self.repeat_hold(order, hold));
        }
        if let Some(invoice) = unsettled
            && self.credit_invoice(invoice, None)? == Err(BalanceLimit)
        {
            return Ok(HoldOutcome::BalanceLimit);
        }
        let mut account = self.account(name);
        self.expire(&mut account)?;
        if spent_by.is_some_and(|by| !order.may_spend(by, &account)) {
            return Ok(self.refuse(HoldRefusal::OtherRail, Msat::ZERO));
        }
        if revoked || account.revoked_at_ms.is_some() {
            return Ok(self.refuse(HoldRefusal::AccountRevoked, Msat::ZERO));
        }
        if let Some(refusal) = self.outside_its_session(order) {
            return Ok(self.refuse(refusal, account.available()));
        }
        if let Some(outcome) = order.once.as_ref().map(|once| self.once_before(&account, once)) {
            match outcome? {
                Before::Nothing => {}
                Before::Refused(refusal) => return Ok(self.refuse(refusal, account.available())),
                Before::Charged(replay) => {
                    return Ok(HoldOutcome::Answered(charged_before(&account, replay)));
                }
            }
        }
        if order.tier.is_some_and(|tier| tier != account.tier) {
            return Ok(HoldOutcome::Answered(self.other_tier(&account)));
        }
        let budgets = self.budgets_now(name, &order.budgets);
        let rooms: Vec<_> = budgets.iter().map(Budget::room).collect();
        let room = match least_room(&budgets, &rooms, order.min) {
            Ok(room) => room,
            Err(exhausted) => return Ok(HoldOutcome::Answered(self.over(&account, exhausted))),
        };
        if order.is_for_one_request() && !account.can_be_charged_once() {
            return Ok(self.refuse(HoldRefusal::InsufficientCredit, account.available()));
        }
        let stock = match self.in_stock(order) {
            Ok(stock) => stock,
            Err(out) => return Ok(HoldOutcome::Answered(self.sold_out(&account, out))),
        };
        let back = self.taken_back(order, &account)?;
        let free = back.as_ref().map_or(account.available(), |back| back.available);
        let grant = free.min(order.amount).min(room);
        if grant < order.min || grant == Msat::ZERO {
            return Ok(self.refuse(HoldRefusal::InsufficientCredit, account.available()));
        }
        if let Some(Back { hold, held_msat, .. }) = back {
            account.held_msat = held_msat;
            self.put_hold(hold)?;
            // What is no longer promised to a hold ends if its time is over.
            self.expire_tranches(&mut account)?;
        }
        budgets.into_iter().for_each(|budget| self.set.budgets.put(budget));
        stock.into_iter().for_each(|stock| self.set.stocks.put(stock));
        self.open_hold(order, &mut account, grant)?;
        self.spent_by(order.payment_hash, order.spends_by());
        let reply = granted(&account, grant);
        self.set.accounts.put(account);
        Ok(HoldOutcome::Answered(reply))
    }

    /// What the order takes from another hold, if that one lives and is of this account. Changes
    /// nothing yet.
    fn taken_back(&self, order: &HoldOrder, account: &Account) -> Decided<Option<Back>> {
        let Some(TakeBack { hold: id, amount_msat }) = order.take_back else { return Ok(None) };
        let of_account =
            |hold: &&Hold| hold.account == account.account && hold.state == HoldState::Open;
        let Some(mut hold) = self.set.holds.get(&(id,)).filter(of_account).cloned() else {
            return Ok(None);
        };
        let part = amount_msat.min(hold.rest()?);
        hold.taken_back_msat = plus(hold.taken_back_msat, part)?;
        let held_msat = minus(account.held_msat, part)?;
        let freed = Account { held_msat, ..account.clone() };
        let available = minus(freed.available(), self.ended_credit(&freed)?)?;
        Ok(Some(Back { hold, held_msat, available }))
    }

    fn open_hold(&mut self, order: &HoldOrder, account: &mut Account, grant: Msat) -> Decided<()> {
        account.held_msat = plus(account.held_msat, grant)?;
        if let Some(once) = &order.once {
            self.set.once.put(Once {
                account: account.account,
                key: *once.key.as_bytes(),
                fingerprint: *once.fields.as_bytes(),
                hold_id: order.id,
                response: None,
                expires_at_ms: self.now_ms.saturating_add(ONCE_MS),
            });
        }
        let budget = order.innermost();
        self.put_hold(Hold {
            id: order.id,
            account: account.account,
            payment_hash: order.payment_hash,
            min_msat: order.min,
            asked_msat: order.amount,
            granted_msat: grant,
            amount_msat: grant,
            taken_back_msat: Msat::ZERO,
            posted_msat: Msat::ZERO,
            ttl_ms: order.ttl_ms,
            route: order.route.clone(),
            state: HoldState::Open,
            opened_at_ms: self.now_ms,
            expires_at_ms: self.now_ms.saturating_add(order.ttl_ms),
            extension_seq: None,
            extension_msat: None,
            extension_min_msat: None,
            extension_ttl_ms: None,
            extension_granted_msat: None,
            once_key: order.once_key(),
            budget,
            budget_at_ms: budget.map(|_| self.now_ms),
            stock: order.supply.as_ref().map(|supply| supply.id),
        })?;
        self.tally.holds_granted += 1;
        self.tally.open_holds += 1;
        Ok(())
    }

    /// From now on the payment is spent in this way.
    pub(super) fn spent_by(&mut self, payment: PaymentHash, by: SpentBy) {
        let unclaimed = |invoice: &&Invoice| invoice.spent_by != Some(by);
        if let Some(invoice) = self.set.invoices.get(&(payment,)).filter(unclaimed).cloned() {
            self.set.invoices.put(Invoice { spent_by: Some(by), ..invoice });
        }
    }

    fn repeat_hold(&self, order: &HoldOrder, hold: &Hold) -> HoldOutcome {
        let same = hold.payment_hash == order.payment_hash
            && hold.min_msat == order.min
            && hold.asked_msat == order.amount
            && hold.ttl_ms == order.ttl_ms
            && hold.route == order.route
            && hold.once_key == order.once_key()
            && hold.budget == order.innermost();
        if !same {
            return HoldOutcome::Conflict;
        }
        if hold.state != HoldState::Open {
            return HoldOutcome::Ended;
        }
        HoldOutcome::Answered(granted(&self.account(hold.account), hold.granted_msat))
    }

    fn refuse(&mut self, refusal: HoldRefusal, balance_msat: Msat) -> HoldOutcome {
        HoldOutcome::Answered(self.refusal(refusal, balance_msat))
    }

    fn refusal(&mut self, refusal: HoldRefusal, balance_msat: Msat) -> HoldReply {
        self.tally.holds_refused += 1;
        HoldReply::Refused { refusal, balance_msat, resets_at: None, tier: None }
    }

    /// Refuses what a budget does not allow.
    fn over(&mut self, account: &Account, exhausted: Exhausted) -> HoldReply {
        self.tally.holds_refused += 1;
        HoldReply::Refused {
            refusal: HoldRefusal::BudgetExhausted,
            balance_msat: account.available(),
            // Rounded up: who comes back then finds a new window.
            resets_at: exhausted.resets_at_ms.map(|ends_at_ms| ends_at_ms.div_ceil(1_000)),
            tier: None,
        }
    }

    /// Refuses an amount that was reckoned for another tier.
    fn other_tier(&mut self, account: &Account) -> HoldReply {
        self.tally.holds_refused += 1;
        HoldReply::Refused {
            refusal: HoldRefusal::TierDiffers,
            balance_msat: account.available(),
            resets_at: None,
            tier: Some(account.tier),
        }
    }

    /// What an earlier request under the same idempotency key says. A request that was not
    /// charged in the end is forgotten: the next one may pay.
    fn once_before(&self, account: &Account, once: &IdempotencyKey) -> Decided<Before> {
        let Some(before) = self.set.once.get(&(account.account, *once.key.as_bytes())) else {
            return Ok(Before::Nothing);
        };
        let hold = self.set.holds.get(&(before.hold_id,));
        let hold = hold.ok_or(Contradiction("an idempotency key without its hold"))?;
        let open = hold.state == HoldState::Open;
        let charged = hold.posted_msat > Msat::ZERO;
        Ok(if before.expires_at_ms <= self.now_ms || !(open || charged) {
            Before::Nothing
        } else if before.fingerprint != *once.fields.as_bytes() {
            Before::Refused(HoldRefusal::IdempotencyMismatch)
        } else if open {
            Before::Refused(HoldRefusal::IdempotencyInFlight)
        } else {
            let stored = before.response.as_ref();
            Before::Charged(stored.and_then(|bytes| serde_json::from_slice(bytes).ok()))
        })
    }

    /// Adds credit and time to an open hold: as much as the account has of what is asked, but
    /// no less than the least.
    pub(in crate::ledger) fn extend(&mut self, order: &ExtendOrder) -> Decided<ExtendOutcome> {
        let Some(mut hold) = self.set.holds.get(&(order.id,)).cloned() else {
            return Ok(ExtendOutcome::Unknown);
        };
        let mut account = self.account(hold.account);
        if hold.extension_seq.is_some_and(|last| order.seq <= last) {
            let same = hold.extension_seq == Some(order.seq)
                && hold.extension_msat == Some(order.add)
                && hold.extension_min_msat == order.stored_min()
                && hold.extension_ttl_ms == Some(order.ttl_ms);
            return Ok(match hold.extension_granted_msat {
                Some(total) if same => ExtendOutcome::Answered(granted(&account, total)),
                _ => ExtendOutcome::Conflict,
            });
        }
        if hold.state != HoldState::Open {
            return Ok(ExtendOutcome::Ended);
        }
        self.expire(&mut account)?;
        if self.is_hold_revoked(&hold, &account) {
            let reply = self.refusal(HoldRefusal::AccountRevoked, Msat::ZERO);
            return Ok(ExtendOutcome::Answered(reply));
        }
        let (budgets, rooms) = self.room_to_extend(&hold)?;
        let room = match least_room(&budgets, &rooms, order.min) {
            Ok(room) => room,
            Err(exhausted) => return Ok(ExtendOutcome::Answered(self.over(&account, exhausted))),
        };
        let grant = account.available().min(order.add).min(room);
        if grant < order.min {
            let reply = self.refusal(HoldRefusal::InsufficientCredit, account.available());
            return Ok(ExtendOutcome::Answered(reply));
        }
        if grant > Msat::ZERO && hold.budget.is_some() {
            budgets.into_iter().for_each(|budget| self.set.budgets.put(budget));
            hold.budget_at_ms = Some(self.now_ms);
        }
        account.held_msat = plus(account.held_msat, grant)?;
        hold.amount_msat = plus(hold.amount_msat, grant)?;
        let total = hold.capacity()?;
        hold.expires_at_ms = hold.expires_at_ms.max(self.now_ms.saturating_add(order.ttl_ms));
        hold.extension_seq = Some(order.seq);
        hold.extension_msat = Some(order.add);
        hold.extension_min_msat = order.stored_min();
        hold.extension_ttl_ms = Some(order.ttl_ms);
        hold.extension_granted_msat = Some(total);
        let reply = granted(&account, total);
        self.put_hold(hold)?;
        self.set.accounts.put(account);
        Ok(ExtendOutcome::Answered(reply))
    }
}

impl Account {
    /// Whether what its payment bought is whole, or was given back. What other payments added
    /// does not count: on other rails a payment is for one request.
    fn can_be_charged_once(&self) -> bool {
        self.held_msat == Msat::ZERO && self.charged_msat <= self.refunded_msat
    }
}

impl ExtendOrder {
    /// The least, as the row keeps it for the comparison with a repeat.
    fn stored_min(&self) -> Option<Msat> {
        (self.min != self.add).then_some(self.min)
    }
}

impl Hold {
    /// What it may post in all.
    pub(super) fn capacity(&self) -> Decided<Msat> {
        minus(self.amount_msat, self.taken_back_msat)
    }

    /// What it has not posted.
    pub(super) fn rest(&self) -> Decided<Msat> {
        minus(self.capacity()?, self.posted_msat)
    }
}

fn charged_before(account: &Account, replay: Option<StoredResponse>) -> HoldReply {
    HoldReply::Granted {
        account: account.account,
        granted_msat: Msat::ZERO,
        balance_msat: account.available(),
        tier: account.tier,
        already_charged: true,
        replay,
    }
}

fn granted(account: &Account, granted_msat: Msat) -> HoldReply {
    HoldReply::Granted {
        account: account.account,
        granted_msat,
        balance_msat: account.available(),
        tier: account.tier,
        already_charged: false,
        replay: None,
    }
}
