//! Postings: parts of holds that become revenue.

use tollway_core::money::Msat;
use tollway_core::wire::{Overrun, Posting, PostingOutcome, PostingResult};

use super::{About, Decided, Engine, minus, plus};
use crate::ledger::rows::{Account, Charge, Counted, EntryKind, Hold, HoldState, Once};

/// From where the amount of a posting is taken.
#[derive(Clone, Copy, Debug, Default)]
struct Split {
    /// From the hold.
    held: Msat,
    /// From the rest of the account.
    beyond: Msat,
    /// From credit to come.
    debt: Msat,
}

impl Engine {
    /// One outcome per row.
    pub(in crate::ledger) fn post(&mut self, orders: &[Posting]) -> Decided<Vec<PostingResult>> {
        orders
            .iter()
            .map(|order| {
                let result = self.post_one(order)?;
                self.tally.count_posting(result.outcome);
                Ok(result)
            })
            .collect()
    }

    fn post_one(&mut self, order: &Posting) -> Decided<PostingResult> {
        let hold = self.set.holds.get(&(order.hold,)).cloned();
        let account = hold.as_ref().map(|hold| self.account(hold.account));
        let known = hold.as_ref().zip(account.as_ref());
        let revoked = known.is_some_and(|(hold, account)| self.is_hold_revoked(hold, account));
        let refused = |outcome| Ok(PostingResult { outcome, charged_msat: Msat::ZERO, revoked });
        if let Some(before) = self.set.postings.get(&(order.hold, order.seq)) {
            if !before.repeats(order) {
                return refused(PostingOutcome::Conflict);
            }
            let charged_msat = plus(before.charged_msat, before.debt_msat)?;
            return Ok(PostingResult { outcome: PostingOutcome::Posted, charged_msat, revoked });
        }
        let (Some(hold), Some(account)) = (hold, account) else {
            return refused(PostingOutcome::HoldUnknown);
        };
        match hold.state {
            HoldState::Expired => return refused(PostingOutcome::HoldExpired),
            HoldState::Released => return refused(PostingOutcome::HoldReleased),
            HoldState::Open => {}
        }
        let split = split(order, &hold, &account, self.room_of(&hold))?;
        let charged_msat = self.charge(order, hold, account, split)?;
        Ok(PostingResult { outcome: PostingOutcome::Posted, charged_msat, revoked })
    }

    /// Moves the amounts, remembers the posting, and ends the hold if it says so.
    fn charge(
        &mut self,
        order: &Posting,
        mut hold: Hold,
        mut account: Account,
        split: Split,
    ) -> Decided<Msat> {
        let taken = plus(split.held, split.beyond)?;
        if split.debt > Msat::ZERO {
            let owed = i64::try_from(split.debt.get()).unwrap_or(i64::MAX);
            self.count(Counted::Debt.word(), &order.route, owed);
        }
        if plus(taken, split.debt)? > Msat::ZERO {
            self.count_requests(&order.route, order.requests);
        }
        account.held_msat = minus(account.held_msat, split.held)?;
        account.debt_msat = plus(account.debt_msat, split.debt)?;
        if taken > Msat::ZERO {
            let posting = Some((order.hold, order.seq));
            let about = About { posting, route: Some(&order.route), ..About::default() };
            self.earn(&mut account, EntryKind::Charge, taken, about)?;
        }
        // What was taken beyond the hold counts as granted and posted at once.
        hold.amount_msat = plus(hold.amount_msat, split.beyond)?;
        hold.posted_msat = plus(hold.posted_msat, taken)?;
        self.set.accounts.put(account);
        if taken > Msat::ZERO {
            self.store_response(order, &hold);
        }
        self.set.postings.put(Charge {
            hold_id: order.hold,
            seq: order.seq,
            account: hold.account,
            amount_msat: order.amount_msat,
            charged_msat: taken,
            debt_msat: split.debt,
            requests: order.requests,
            route: order.route.clone(),
            release: order.release,
            over_run: stored(order.overrun),
            posted_at_ms: self.now_ms,
        });
        if order.release {
            // What ends a lease names no route of a request.
            if hold.posted_msat == Msat::ZERO && order.route == hold.route {
                self.count(Counted::Void.word(), &hold.route, 0);
            }
            self.end_hold(hold, HoldState::Released)?;
        } else {
            self.put_hold(hold)?;
        }
        plus(taken, split.debt)
    }

    /// Keeps the answer for repeats of the request, if it came with an idempotency key.
    fn store_response(&mut self, order: &Posting, hold: &Hold) {
        if let (Some(response), Some(key)) = (&order.store, hold.once_key)
            && let Some(once) = self.set.once.get(&(hold.account, key)).cloned()
            && once.hold_id == hold.id
            && let Ok(bytes) = serde_json::to_vec(response)
        {
            self.set.once.put(Once { response: Some(bytes), ..once });
        }
    }
}

impl Charge {
    /// Whether the same row was reported again.
    fn repeats(&self, order: &Posting) -> bool {
        self.amount_msat == order.amount_msat
            && self.requests == order.requests
            && self.route == order.route
            && self.release == order.release
            && self.over_run == stored(order.overrun)
    }
}

/// Where the amount comes from.
fn split(order: &Posting, hold: &Hold, account: &Account, room: Option<Msat>) -> Decided<Split> {
    let held = order.amount_msat.min(hold.rest()?);
    let over = minus(order.amount_msat, held)?;
    if over == Msat::ZERO {
        return Ok(Split { held, ..Split::default() });
    }
    // What a budget does not allow is not charged, nor owed.
    let beyond = over.min(account.available()).min(room.unwrap_or(Msat::MAX));
    Ok(match order.overrun {
        Overrun::Cap => Split { held, ..Split::default() },
        Overrun::DebitRest => Split { held, beyond, debt: Msat::ZERO },
        Overrun::Debt { limit_msat } => {
            let most = limit_msat.checked_sub(account.debt_msat).unwrap_or_default();
            let most = if room.is_some() { Msat::ZERO } else { most };
            let debt = minus(over, beyond)?.min(most);
            Split { held, beyond, debt }
        }
    })
}

/// The policy as the row keeps it, for the comparison with a repeat.
fn stored(overrun: Overrun) -> String {
    match overrun {
        Overrun::Cap => "cap".to_owned(),
        Overrun::DebitRest => "debit_rest".to_owned(),
        Overrun::Debt { limit_msat } => format!("debt {limit_msat}"),
    }
}
