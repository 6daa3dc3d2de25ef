//! Postings: parts of holds that become revenue.

use rusqlite::{OptionalExtension, Result};
use tollway_core::money::Msat;
use tollway_core::wire::{Posting, PostingOutcome};

use super::column;
use super::holds::{Hold, HoldState};
use super::writer::Batch;

impl Batch<'_> {
    /// One outcome per row. The rows share a savepoint: all of them are counted, or none.
    pub(super) fn post(&mut self, postings: Vec<Posting>) -> Result<Vec<PostingOutcome>> {
        postings
            .iter()
            .map(|posting| {
                let outcome = self.post_one(posting)?;
                self.tally.count_posting(outcome);
                Ok(outcome)
            })
            .collect()
    }

    fn post_one(&mut self, posting: &Posting) -> Result<PostingOutcome> {
        if let Some(same) = self.posted_before(posting)? {
            return Ok(if same { PostingOutcome::Posted } else { PostingOutcome::Conflict });
        }
        let Some(hold) = self.find_hold(&posting.hold)? else {
            return Ok(PostingOutcome::HoldUnknown);
        };
        match hold.state {
            HoldState::Expired => return Ok(PostingOutcome::HoldExpired),
            HoldState::Released => return Ok(PostingOutcome::HoldReleased),
            HoldState::Open => {}
        }
        let rest = hold.amount.checked_sub(hold.posted).unwrap_or(Msat::ZERO);
        let Some(rest) = rest.checked_sub(posting.amount_msat) else {
            return Ok(PostingOutcome::ExceedsHold);
        };
        self.insert_posting(posting)?;
        let returned = if posting.release { rest } else { Msat::ZERO };
        self.charge(posting, &hold, returned)?;
        Ok(PostingOutcome::Posted)
    }

    /// Whether a row with this hold and sequence exists and, if so, has these fields.
    fn posted_before(&self, posting: &Posting) -> Result<Option<bool>> {
        self.connection
            .prepare_cached(
                "SELECT amount_msat, route, release FROM postings
                 WHERE hold_id = ?1 AND seq = ?2",
            )?
            .query_row((posting.hold.as_bytes(), posting.seq), |row| {
                Ok(column::msat(row, 0)? == posting.amount_msat
                    && row.get_ref(1)?.as_str()? == posting.route
                    && row.get::<_, bool>(2)? == posting.release)
            })
            .optional()
    }

    fn insert_posting(&self, posting: &Posting) -> Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO postings (hold_id, seq, amount_msat, route, release, posted_at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute((
                posting.hold.as_bytes(),
                posting.seq,
                column::from_msat(posting.amount_msat),
                &posting.route,
                posting.release,
                self.now_ms,
            ))
            .map(|_rows| ())
    }

    /// Moves the amount from the hold to revenue and `returned` from the hold to the account.
    fn charge(&mut self, posting: &Posting, hold: &Hold, returned: Msat) -> Result<()> {
        let amount = column::from_msat(posting.amount_msat);
        if posting.amount_msat > Msat::ZERO {
            self.connection
                .prepare_cached(
                    "INSERT INTO entries (account_id, kind, amount_msat, hold_id, seq, at_ms)
                     VALUES (?1, 'charge', -?2, ?3, ?4, ?5)",
                )?
                .execute((
                    hold.account_id,
                    amount,
                    posting.hold.as_bytes(),
                    posting.seq,
                    self.now_ms,
                ))?;
            self.tally.charged_msat =
                self.tally.charged_msat.saturating_add(posting.amount_msat.get());
        }
        self.connection
            .prepare_cached(
                "UPDATE accounts SET balance_msat = balance_msat - ?1,
                                     held_msat = held_msat - ?1 - ?2
                 WHERE id = ?3",
            )?
            .execute((amount, column::from_msat(returned), hold.account_id))?;
        self.connection
            .prepare_cached(
                "UPDATE holds SET posted_msat = posted_msat + ?1,
                                  state = CASE WHEN ?2 THEN 'released' ELSE state END
                 WHERE id = ?3",
            )?
            .execute((amount, posting.release, posting.hold.as_bytes()))?;
        if posting.release {
            self.tally.open_holds -= 1;
        }
        Ok(())
    }
}
