//! The audit of the ledger in memory, by the same rules as that of the databases.

use std::collections::BTreeMap;

use tollway_core::digest::Digest;
use tollway_core::payment::PaymentHash;

use super::{Tables, signed};
use crate::ledger::rows::{Account, Charge, Counted, Hold, HoldState, Stock};
use crate::ledger::views::{AuditReport, Difference};

impl Tables {
    /// Recomputes the sums of every account.
    pub(in crate::ledger) fn audit(&self) -> AuditReport {
        let mut recorded: BTreeMap<PaymentHash, [i64; 4]> = BTreeMap::new();
        let mut entries = 0;
        for entry in self.entries.iter() {
            let [balance, _, _, count] = recorded.entry(entry.account).or_default();
            *balance += entry.amount_msat;
            *count += 1;
            entries += 1;
        }
        for hold in self.holds.iter().filter(|hold| hold.state == HoldState::Open) {
            let [_, held, _, _] = recorded.entry(hold.account).or_default();
            *held += signed(hold.amount_msat.get());
            *held -= signed(hold.taken_back_msat.get()) + signed(hold.posted_msat.get());
        }
        for tranche in self.tranches.iter() {
            let [_, _, tranched, _] = recorded.entry(tranche.account).or_default();
            *tranched += signed(tranche.remaining_msat.get());
        }
        let claims = |account: &Account| {
            [
                ("balance_msat against the sum of entries", account.balance_msat.get()),
                ("held_msat against the open holds", account.held_msat.get()),
                ("tranched_msat against the tranches", account.tranched_msat.get()),
                ("entries of an account against their numbers", account.entries),
            ]
        };
        let mut differences = Vec::new();
        for account in self.accounts.iter() {
            let records = recorded.remove(&account.account).unwrap_or_default();
            for ((check, claimed), recorded) in claims(account).into_iter().zip(records) {
                let (account, claimed) = (account.account.to_hex(), signed(claimed));
                if claimed != recorded {
                    let about = None;
                    differences.push(Difference { account, check, about, claimed, recorded });
                }
            }
        }
        differences.extend(self.audit_budgets());
        differences.extend(self.audit_stocks());
        differences.extend(self.audit_totals());
        let accounts = self.accounts.iter().map(|_| 1).sum();
        AuditReport { accounts, entries, differences }
    }

    /// Recomputes what the budgets have counted.
    fn audit_budgets(&self) -> Vec<Difference> {
        let mut recorded: BTreeMap<Digest, i64> = BTreeMap::new();
        for hold in self.holds.iter() {
            let mut next = hold.budget;
            while let Some(budget) = next.and_then(|id| self.budgets.get(&(id,))) {
                next = budget.parent;
                if hold.budget_at_ms >= Some(budget.began_at_ms) {
                    *recorded.entry(budget.id).or_default() += match hold.state {
                        HoldState::Open => {
                            signed(hold.amount_msat.get()) - signed(hold.taken_back_msat.get())
                        }
                        HoldState::Released | HoldState::Expired => signed(hold.posted_msat.get()),
                    };
                }
            }
        }
        let mut differences = Vec::new();
        for budget in self.budgets.iter() {
            let claimed = signed(budget.used_msat.get());
            let recorded = recorded.remove(&budget.id).unwrap_or_default();
            if claimed != recorded {
                let account = budget.account.to_hex();
                let about = Some(format!("budget {:?}", budget.id));
                let check = "used_msat of a budget against its holds";
                differences.push(Difference { account, check, about, claimed, recorded });
            }
        }
        differences
    }

    /// Recomputes what is taken of the stocks.
    fn audit_stocks(&self) -> Vec<Difference> {
        let taken = |stock: &Stock| {
            let counts = |it: &&Hold| {
                let (open, posted) = (it.state == HoldState::Open, it.posted_msat.get() > 0);
                let here = it.stock == Some(stock.id) && it.opened_at_ms >= stock.began_at_ms;
                here && (open || posted)
            };
            let sold = self.invoices.iter().filter(|it| it.coupon == Some(stock.id)).count();
            i64::try_from(sold + self.holds.iter().filter(counts).count()).unwrap_or(i64::MAX)
        };
        let differ = |stock: &Stock| {
            let (claimed, recorded) = (signed(stock.used), taken(stock));
            let (account, about) = (String::new(), Some(stock.name.clone()));
            let check = "used of a stock against its invoices and holds";
            (claimed != recorded).then_some(Difference { account, check, about, claimed, recorded })
        };
        self.stocks.iter().filter_map(differ).collect()
    }

    /// Recomputes what the totals count.
    fn audit_totals(&self) -> Vec<Difference> {
        let mut sums: BTreeMap<(String, &str), [(i64, i64); 2]> = BTreeMap::new();
        let mut record_times = |route: &str, kind, more: i64, amount: i64| {
            let [_, (times, sum)] = sums.entry((route.to_owned(), kind)).or_default();
            (*times, *sum) = (*times + more, *sum + amount);
        };
        let charged = |it: &&Charge| it.charged_msat.get() + it.debt_msat.get() > 0;
        for posting in self.postings.iter().filter(charged) {
            record_times(&posting.route, Counted::Request.word(), posting.requests.into(), 0);
        }
        let mut record = |route: &str, kind, amount| record_times(route, kind, 1, amount);
        for entry in self.entries.iter() {
            let route = entry.route.as_deref().unwrap_or_default();
            record(route, entry.kind.word(), entry.amount_msat);
        }
        for account in self.accounts.iter() {
            if account.entries > 0 {
                record("", Counted::Account.word(), 0);
            }
            if account.charged_msat.get() > 0 {
                record("", Counted::Payer.word(), 0);
            }
        }
        let released = |hold: &&Hold| hold.state == HoldState::Released;
        for hold in self.holds.iter().filter(released).filter(|it| it.posted_msat.get() == 0) {
            let ends = |row: &&Charge| row.hold_id == hold.id && row.release;
            if self.postings.iter().any(|row| ends(&row) && row.route == hold.route) {
                record(&hold.route, Counted::Void.word(), 0);
            }
        }
        for posting in self.postings.iter().filter(|it| it.debt_msat.get() > 0) {
            record(&posting.route, Counted::Debt.word(), signed(posting.debt_msat.get()));
        }
        for total in self.totals.iter() {
            if ![Counted::Challenge.word(), Counted::Free.word()].contains(&total.kind.as_str()) {
                let key = (total.route.clone(), total.kind.as_str());
                let [(times, sum), _] = sums.entry(key).or_default();
                *times += signed(total.times);
                *sum += total.amount_msat;
            }
        }
        let mut differences = Vec::new();
        for ((route, kind), [claims, records]) in sums {
            for (check, claimed, recorded) in [
                ("times of a route's total against its records", claims.0, records.0),
                ("amount_msat of a route's total against its records", claims.1, records.1),
            ] {
                if claimed != recorded {
                    let about = Some(format!("{kind} of route '{route}'"));
                    let account = String::new();
                    differences.push(Difference { account, check, about, claimed, recorded });
                }
            }
        }
        differences
    }
}
