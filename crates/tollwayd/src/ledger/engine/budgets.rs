//! Budgets: what tokens may spend in a window, however much their account has.
//!
//! A hold counts with what it may still post; once it has ended, with what it posted. It counts
//! in the windows in which it was granted; an extension counts it anew, whole, in those of its
//! own time. So what comes back from a hold can be spent again in the same windows, and no
//! window ever sees more than its limit.

use tollway_core::budget::{BUDGETS_MAX, BudgetWindow, TokenBudget};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;

use super::allowances::DAY_MS;
use super::{Decided, Engine, minus, plus};
use crate::ledger::rows::{Budget, Hold, HoldState};

const HOUR_MS: u64 = 3_600_000;

/// Why a budget grants nothing: the time, in ms, at which it does again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// `None` for a budget that is never whole again.
    pub(super) resets_at_ms: Option<u64>,
}

impl Engine {
    /// The budgets of a token in their windows of now, the outermost first.
    pub(super) fn budgets_now(&self, account: PaymentHash, of: &[TokenBudget]) -> Vec<Budget> {
        let (mut parent, mut needed_until_ms) = (None, 0);
        let now = |budget: &TokenBudget| {
            let parent = parent.replace(budget.id);
            let stored = self.set.budgets.get(&(budget.id,)).cloned();
            let row = stored.unwrap_or(Budget {
                id: budget.id,
                account,
                parent,
                limit_msat: budget.limit_msat,
                renews: budget.window,
                used_msat: Msat::ZERO,
                began_at_ms: 0,
                ends_at_ms: 0,
                needed_until_ms: 0,
            });
            let row = row.at(self.now_ms);
            needed_until_ms = needed_until_ms.max(row.ends_at_ms);
            Budget { needed_until_ms, ..row }
        };
        of.iter().map(now).collect()
    }

    /// The budgets of a hold as they are, the innermost first.
    fn budgets_of(&self, hold: &Hold) -> Vec<Budget> {
        let mut chain = Vec::new();
        let mut next = hold.budget;
        while let Some(row) = next.and_then(|id| self.set.budgets.get(&(id,))).cloned() {
            next = row.parent;
            chain.push(row);
            if chain.len() >= BUDGETS_MAX {
                break;
            }
        }
        chain
    }

    /// How much more a hold may take beyond its capacity, in the windows in which it counts;
    /// `None` without a budget.
    pub(super) fn room_of(&self, hold: &Hold) -> Option<Msat> {
        let room = |row: Budget| if hold.counts_in(&row) { row.room() } else { Msat::ZERO };
        let least = self.budgets_of(hold).into_iter().map(room).min();
        hold.budget.map(|_| least.unwrap_or_default())
    }

    /// How much an extension may add to a hold that is to count in the windows of now; the
    /// budgets in those.
    pub(super) fn room_to_extend(&self, hold: &Hold) -> Decided<(Vec<Budget>, Vec<Msat>)> {
        let mut rows = self.budgets_of(hold);
        let mut needed_until_ms = 0;
        for row in rows.iter_mut().rev() {
            *row = row.clone().at(self.now_ms);
            needed_until_ms = needed_until_ms.max(row.ends_at_ms);
            row.needed_until_ms = needed_until_ms;
        }
        let rooms = rows.iter().map(|row| {
            let room = row.room();
            if hold.counts_in(row) {
                return Ok(room);
            }
            Ok(room.checked_sub(hold.counted()?).unwrap_or_default())
        });
        let rooms = rooms.collect::<Decided<_>>()?;
        Ok((rows, rooms))
    }

    /// Puts a hold, and moves what it counts for in its budgets.
    pub(super) fn put_hold(&mut self, hold: Hold) -> Decided<()> {
        let before = self.set.holds.get(&(hold.id,)).cloned();
        self.count_in_stock(before.as_ref(), &hold)?;
        if hold.budget.is_some() {
            for mut row in self.budgets_of(&hold) {
                let counted = |hold: &Hold| {
                    if hold.counts_in(&row) { hold.counted() } else { Ok(Msat::ZERO) }
                };
                let was = before.as_ref().map_or(Ok(Msat::ZERO), counted)?;
                let is = counted(&hold)?;
                if was != is {
                    row.used_msat = plus(minus(row.used_msat, was)?, is)?;
                    self.set.budgets.put(row);
                }
            }
        }
        self.set.holds.put(hold);
        Ok(())
    }
}

/// The least of the rooms, or why it is less than what is of use.
pub(super) fn least_room(rows: &[Budget], rooms: &[Msat], min: Msat) -> Result<Msat, Exhausted> {
    let least = rooms.iter().copied().min().unwrap_or(Msat::MAX);
    if least >= min {
        return Ok(least);
    }
    let short = rows.iter().zip(rooms).filter(|(_, room)| **room < min);
    let ends = short.map(|(row, _)| match row.renews {
        // What no window can pay is not there in the next one either.
        BudgetWindow::Total => None,
        _ => (row.limit_msat >= min).then_some(row.ends_at_ms),
    });
    let latest = ends.reduce(|one, other| one.zip(other).map(|(one, other)| one.max(other)));
    Err(Exhausted { resets_at_ms: latest.flatten() })
}

impl Budget {
    /// The row in the window of this time.
    fn at(mut self, now_ms: u64) -> Self {
        if now_ms >= self.ends_at_ms {
            (self.began_at_ms, self.ends_at_ms) = window_of(self.renews, now_ms);
            self.used_msat = Msat::ZERO;
        }
        self
    }

    /// What is left of it.
    pub(super) fn room(&self) -> Msat {
        self.limit_msat.checked_sub(self.used_msat).unwrap_or_default()
    }
}

impl Hold {
    /// Whether it counts in the window in which the budget stands.
    fn counts_in(&self, budget: &Budget) -> bool {
        self.budget_at_ms.is_some_and(|at_ms| at_ms >= budget.began_at_ms)
    }

    /// What it counts for.
    fn counted(&self) -> Decided<Msat> {
        if self.state == HoldState::Open { self.capacity() } else { Ok(self.posted_msat) }
    }
}

/// When the window of this time began, and when it ends, in ms.
pub(super) fn window_of(window: BudgetWindow, now_ms: u64) -> (u64, u64) {
    let of = |length: u64| {
        let began = now_ms - now_ms % length;
        (began, began.saturating_add(length))
    };
    match window {
        BudgetWindow::Hour => of(HOUR_MS),
        BudgetWindow::Day => of(DAY_MS),
        BudgetWindow::Month => {
            let (first, next) = month_of(now_ms / DAY_MS);
            (first.saturating_mul(DAY_MS), next.saturating_mul(DAY_MS))
        }
        BudgetWindow::Rolling(seconds) => {
            (now_ms, now_ms.saturating_add(seconds.saturating_mul(1_000)))
        }
        BudgetWindow::Total => (0, u64::MAX),
    }
}

/// The first day of the month of this day, and that of the next month, in days since 1970.
///
/// Counted in the 400 years in which the calendar repeats, from a 1st of March, so that the odd
/// day of a leap year is the last one.
fn month_of(day: u64) -> (u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 1 March 0000 to 1 January 1970.
    const TO_1970: u64 = 719_468;
    let from_march = day.saturating_add(TO_1970) % DAYS_OF_400_YEARS;
    let year = (from_march - from_march / 1_460 + from_march / 36_524 - from_march / 146_096) / 365;
    let of_year = from_march - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let first_of = |month: u64| (153 * month + 2) / 5;
    let first = day.saturating_sub(of_year - first_of(month));
    // February is the last month of such a year, and as long as the year lets it be.
    let next = year + 1;
    let leap = next.is_multiple_of(4) && (!next.is_multiple_of(100) || next.is_multiple_of(400));
    let length =
        if month == 11 { 28 + u64::from(leap) } else { first_of(month + 1) - first_of(month) };
    (first, first.saturating_add(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_the_calendar() {
        // Days since 1970 of the first of some months.
        for (first, next, what) in [
            (0, 31, "January 1970"),
            (31, 59, "February 1970"),
            (59, 90, "March 1970"),
            (334, 365, "December 1970"),
            (790, 821, "March 1972, after a leap day"),
            (761, 790, "February 1972"),
            (10_988, 11_017, "February 2000, a leap year"),
            (20_393, 20_423, "November 2025"),
            (47_513, 47_541, "February 2100, no leap year"),
        ] {
            for day in [first, first + 1, (first + next) / 2, next - 1] {
                assert_eq!(month_of(day), (first, next), "{what}, day {day}");
            }
        }
        // They lie side by side for a thousand years.
        let mut day = 0;
        while day < 365_250 {
            let (first, next) = month_of(day);
            assert_eq!(first, day);
            assert!((28..=31).contains(&(next - first)));
            day = next;
        }
    }

    #[test]
    fn windows_begin_where_they_say() {
        let now_ms = 20_393 * DAY_MS + 5 * HOUR_MS + 1;
        let day = 20_393 * DAY_MS;
        for (window, began, ends) in [
            (BudgetWindow::Hour, day + 5 * HOUR_MS, day + 6 * HOUR_MS),
            (BudgetWindow::Day, day, day + DAY_MS),
            (BudgetWindow::Month, day, day + 30 * DAY_MS),
            (BudgetWindow::Rolling(60), now_ms, now_ms + 60_000),
            (BudgetWindow::Total, 0, u64::MAX),
        ] {
            assert_eq!(window_of(window, now_ms), (began, ends), "{window}");
        }
    }
}
