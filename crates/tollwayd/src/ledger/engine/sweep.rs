//! What has expired goes back before anything is decided.

use tollway_core::money::Msat;

use super::{Decided, Engine, minus};
use crate::ledger::rows::{Hold, HoldState};

impl Engine {
    /// Ends every expired hold, and every expired tranche, of the working set.
    pub(super) fn sweep(&mut self) -> Decided<()> {
        let due: Vec<Hold> = self
            .set
            .holds
            .iter()
            .filter(|hold| hold.state == HoldState::Open && hold.expires_at_ms <= self.now_ms)
            .cloned()
            .collect();
        for hold in due {
            self.end_hold(hold, HoldState::Expired)?;
            self.tally.holds_expired += 1;
        }
        let tranched = self.set.accounts.iter().filter(|it| it.tranched_msat > Msat::ZERO);
        for mut account in tranched.cloned().collect::<Vec<_>>() {
            self.expire(&mut account)?;
        }
        Ok(())
    }

    /// Gives the rest of a hold back to its account.
    pub(super) fn end_hold(&mut self, mut hold: Hold, state: HoldState) -> Decided<()> {
        let mut account = self.account(hold.account);
        account.held_msat = minus(account.held_msat, hold.rest()?)?;
        self.set.accounts.put(account);
        hold.state = state;
        self.put_hold(hold)?;
        self.tally.open_holds -= 1;
        Ok(())
    }
}
