//! Free tiers: what a client may use in a window without paying.

use tollway_core::wire::{AllowanceReply, Window};

use super::Engine;
use crate::ledger::KeyBytes;
use crate::ledger::questions::AllowanceOrder;
use crate::ledger::rows::{Allowance, Counted, DaySecret};

/// A day, in ms.
pub(in crate::ledger) const DAY_MS: u64 = 86_400_000;

impl Engine {
    pub(in crate::ledger) fn allowance(&mut self, order: &AllowanceOrder) -> AllowanceReply {
        let live = |client: &[u8; 32]| {
            let found = self.set.allowances.get(&(*client,));
            found.filter(|allowance| allowance.ends_at_ms > self.now_ms).cloned()
        };
        let window = std::iter::once(&order.client).chain(&order.before).find_map(live);
        let mut allowance = window.unwrap_or_else(|| Allowance {
            client: order.client,
            used: 0,
            ends_at_ms: match order.window {
                Window::Day => (self.now_ms / DAY_MS).saturating_add(1).saturating_mul(DAY_MS),
                Window::Rolling { seconds } => {
                    self.now_ms.saturating_add(seconds.saturating_mul(1_000))
                }
            },
        });
        let used = allowance.used.saturating_add(order.cost);
        // Rounded up: who comes back then finds a new window.
        let resets_at = allowance.ends_at_ms.div_ceil(1_000);
        if used > order.limit {
            self.tally.free_exhausted += 1;
            return AllowanceReply::Exhausted { resets_at };
        }
        allowance.used = used;
        self.set.allowances.put(allowance);
        self.count(Counted::Free.word(), &order.route, 0);
        self.tally.free_granted += 1;
        AllowanceReply::Granted { remaining: order.limit - used, resets_at }
    }

    /// The secrets of the days, newest first. The first proposal for a day stays, whoever
    /// proposed it.
    pub(in crate::ledger) fn day_secrets(
        &mut self,
        day: u64,
        proposed: &KeyBytes,
    ) -> Vec<(u64, KeyBytes)> {
        if self.set.days.get(&(day,)).is_none() {
            self.set.days.put(DaySecret { day, secret: proposed.clone() });
        }
        let mut days: Vec<_> =
            self.set.days.iter().map(|day| (day.day, day.secret.clone())).collect();
        days.reverse();
        days
    }
}
