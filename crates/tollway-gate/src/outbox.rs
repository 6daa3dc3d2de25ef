//! Postings on their way to `tollwayd`.
//!
//! A finished stream never sees the reply to a call, so charges and releases are queued here and
//! travel in batches from the tick, one batch at a time, until `tollwayd` says what became of
//! every row. A row may be sent twice; the ledger counts it once. If the VM dies, the rows die
//! with it and the holds expire: the customer's credit is safe, the operator loses the charge.

use std::collections::VecDeque;

use tollway_core::money::Msat;
use tollway_core::wire::{
    POSTINGS_PER_BATCH_MAX, Posting, PostingBatch, PostingOutcome, PostingReply, PostingResult,
    STORED_BYTES_PER_BATCH_MAX,
};

use crate::ledger::CallFault;

/// So many rows may wait before priced routes answer 503. A whole batch does not wait for the tick,
/// and with `tollwayd` gone no new hold is granted, so that many wait only where `tollwayd` takes
/// them more slowly than it grants holds.
const ROWS_MAX: usize = 16_384;
/// While so many rows wait, what leases earn is added up instead of queued.
const LEASE_ROWS_MAX: usize = 8 * POSTINGS_PER_BATCH_MAX;
/// So many bytes of responses may wait to be stored.
const STORED_BYTES_MAX: usize = 4 << 20;
/// What a stored response weighs beside its body.
const STORED_ROW_BYTES: usize = 320;
/// The longest pause between two tries.
const RETRY_MS_MAX: u64 = 2_000;
/// A release overtakes its hold if the client left while the hold was asked for: the ledger does
/// not know it yet. So often it is sent again; then the hold ends by itself.
const OVERTAKING_TRIES: u8 = 4;
/// So many of them wait for that. Those beyond them end by themselves.
const OVERTAKING_MAX: usize = 4_096;

/// The queue of postings.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    rows: VecDeque<Row>,
    /// Releases whose holds are not known yet, and when to send them again.
    overtaking: VecDeque<(u64, Row)>,
    /// How many rows at the front are in the batch under way; zero when none is.
    in_flight: usize,
    /// The bytes of the responses that wait to be stored.
    stored_bytes: usize,
    /// Not before this time, in milliseconds.
    retry_at_ms: u64,
    failures: u32,
}

/// A row that waits.
#[derive(Debug)]
struct Row {
    posting: Posting,
    /// How often its hold was not known.
    overtook: u8,
}

impl Outbox {
    /// Appends a row. When too many responses wait to be stored, it travels without its own: a
    /// repeat of the request then costs nothing all the same, but goes to the upstream.
    pub(crate) fn push(&mut self, mut row: Posting) {
        if self.stored_bytes.saturating_add(stored_bytes(&row)) > STORED_BYTES_MAX {
            row.store = None;
        }
        self.stored_bytes = self.stored_bytes.saturating_add(stored_bytes(&row));
        self.rows.push_back(Row { posting: row, overtook: 0 });
    }

    /// Appends the releases that are to be sent again by now.
    pub(crate) fn wake(&mut self, now_ms: u64) {
        while let Some((_, row)) = self.overtaking.pop_front_if(|(due_ms, _)| *due_ms <= now_ms) {
            self.rows.push_back(row);
        }
    }

    /// Whether new requests must wait until the queue has drained.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= ROWS_MAX
    }

    /// Whether rows that can wait elsewhere may come in.
    pub(crate) fn has_room(&self) -> bool {
        self.rows.len() < LEASE_ROWS_MAX
    }

    /// Whether a whole batch waits, which should not wait for the next tick.
    pub(crate) fn has_full_batch(&self) -> bool {
        self.rows.len() >= POSTINGS_PER_BATCH_MAX
    }

    /// The next batch, if one is due.
    pub(crate) fn next_batch(&self, now_ms: u64) -> Option<PostingBatch<&Posting>> {
        if self.in_flight > 0 || self.rows.is_empty() || now_ms < self.retry_at_ms {
            return None;
        }
        let mut bytes = 0_usize;
        let fits = |row: &&Row| {
            let first = bytes == 0;
            bytes = bytes.saturating_add(stored_bytes(&row.posting));
            first || bytes <= STORED_BYTES_PER_BATCH_MAX
        };
        let rows = self.rows.iter().take(POSTINGS_PER_BATCH_MAX).take_while(fits);
        Some(PostingBatch { postings: rows.map(|row| &row.posting).collect() })
    }

    /// A batch of so many rows is handed to the proxy.
    pub(crate) fn sent(&mut self, rows: usize) {
        self.in_flight = rows;
    }

    /// The batch was answered; returns how many charges in it were not counted, and tells `each`
    /// row's result. A release that found no hold is no loss, and is sent again at `again_ms`:
    /// the hold was never granted, or will be.
    pub(crate) fn answered(
        &mut self,
        reply: &PostingReply,
        again_ms: u64,
        each: &mut dyn FnMut(&Posting, &PostingResult),
    ) -> Result<u64, CallFault> {
        if !reply.is_of(self.in_flight) {
            return Err(CallFault::Garbage);
        }
        let mut lost = 0;
        for (at, Row { posting, overtook }) in self.take_batch().into_iter().enumerate() {
            let result = reply.result(at, posting.amount_msat);
            each(&posting, &result);
            let charges = posting.amount_msat > Msat::ZERO;
            match result.outcome {
                PostingOutcome::Posted => {}
                PostingOutcome::HoldUnknown if !charges && posting.release => {
                    if overtook < OVERTAKING_TRIES && self.overtaking.len() < OVERTAKING_MAX {
                        let row = Row { posting, overtook: overtook.saturating_add(1) };
                        self.overtaking.push_back((again_ms, row));
                    }
                }
                _ => lost += u64::from(charges),
            }
        }
        Ok(lost)
    }

    /// The batch failed; it is tried again after a pause, or dropped when `tollwayd` will never
    /// accept it. Returns how many rows were dropped.
    pub(crate) fn failed(&mut self, fault: CallFault, now_ms: u64) -> u64 {
        if fault.is_final() {
            return self.take_batch().len() as u64;
        }
        self.in_flight = 0;
        self.failures = self.failures.saturating_add(1);
        let pause_ms = (50_u64 << self.failures.min(10)).min(RETRY_MS_MAX);
        self.retry_at_ms = now_ms.saturating_add(pause_ms);
        0
    }

    fn take_batch(&mut self) -> Vec<Row> {
        let batch: Vec<Row> = self.rows.drain(..self.in_flight.min(self.rows.len())).collect();
        for Row { posting, .. } in &batch {
            self.stored_bytes = self.stored_bytes.saturating_sub(stored_bytes(posting));
        }
        self.in_flight = 0;
        self.failures = 0;
        self.retry_at_ms = 0;
        batch
    }
}

/// What a row's stored response weighs.
fn stored_bytes(row: &Posting) -> usize {
    row.store.as_ref().map_or(0, |store| store.body_base64.len().saturating_add(STORED_ROW_BYTES))
}

#[cfg(test)]
mod tests {
    use tollway_core::id::HoldId;
    use tollway_core::wire::{Overrun, STORED_BODY_BYTES_MAX, StoredResponse};

    use super::*;

    fn row(n: u64) -> Posting {
        Posting {
            requests: 1,
            hold: HoldId::mint(n, [0; 10]),
            seq: 0,
            amount_msat: Msat::ZERO,
            route: "r".into(),
            release: true,
            overrun: Overrun::Cap,
            store: None,
        }
    }

    fn result(outcome: PostingOutcome) -> PostingResult {
        PostingResult { outcome, charged_msat: Msat::ZERO, revoked: false }
    }

    /// The answer to a batch in which so many rows came to this.
    fn reply(outcomes: &[PostingOutcome]) -> PostingReply {
        let outcomes = outcomes.iter().copied().map(result).collect();
        PostingReply { outcomes, posted: 0, revision: 0 }
    }

    /// Sends the next batch; returns how many rows it has.
    fn send(outbox: &mut Outbox, now_ms: u64) -> Option<usize> {
        let rows = outbox.next_batch(now_ms)?.postings.len();
        outbox.sent(rows);
        Some(rows)
    }

    fn outbox(rows: u64) -> Outbox {
        let mut outbox = Outbox::default();
        (0..rows).for_each(|n| outbox.push(row(n)));
        outbox
    }

    #[test]
    fn a_batch_travels_alone_and_in_order() {
        let mut outbox = outbox(POSTINGS_PER_BATCH_MAX as u64 + 1);
        assert_eq!(outbox.next_batch(0).unwrap().postings[0], &row(0));
        assert_eq!(send(&mut outbox, 0), Some(POSTINGS_PER_BATCH_MAX));
        assert_eq!(outbox.next_batch(0), None, "one batch at a time");
        let reply = reply(&[PostingOutcome::Posted; POSTINGS_PER_BATCH_MAX]);
        assert_eq!(outbox.answered(&reply, 0, &mut |_, _| {}), Ok(0));
        assert_eq!(outbox.next_batch(0).unwrap().postings, [&row(POSTINGS_PER_BATCH_MAX as u64)]);
    }

    #[test]
    fn a_failed_batch_is_sent_again_after_a_growing_pause() {
        let mut outbox = outbox(1);
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(send(&mut outbox, now), Some(1));
            assert_eq!(outbox.failed(CallFault::NoReply, now), 0);
            assert_eq!(outbox.next_batch(now), None);
            let due = (now..).find(|at| outbox.next_batch(*at).is_some()).unwrap();
            pauses.push(due - now);
            now = due;
            assert_eq!(outbox.next_batch(now).unwrap().postings, [&row(0)]);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 2_000, 2_000, 2_000]);
    }

    #[test]
    fn charges_that_were_not_counted_are_reported() {
        let mut outbox = outbox(2);
        outbox.push(Posting { amount_msat: Msat::new(5).unwrap(), ..row(2) });
        send(&mut outbox, 0);
        let reply = reply(&[
            PostingOutcome::HoldUnknown,
            PostingOutcome::Posted,
            PostingOutcome::HoldExpired,
        ]);
        assert_eq!(outbox.answered(&reply, 0, &mut |_, _| {}), Ok(1));
    }

    #[test]
    fn a_brief_answer_is_the_same_as_one_that_says_posted_of_each_row() {
        let mut outbox = outbox(1);
        outbox.push(Posting { amount_msat: Msat::new(5).unwrap(), ..row(1) });
        let brief = |posted| PostingReply { posted, ..PostingReply::default() };
        for wrong in [0, 1, 3] {
            send(&mut outbox, 0);
            let answered = outbox.answered(&brief(wrong), 0, &mut |_, _| {});
            assert_eq!(answered, Err(CallFault::Garbage));
        }
        let mut results = Vec::new();
        let mut each = |row: &Posting, result: &PostingResult| results.push((row.hold, *result));
        assert_eq!(outbox.answered(&brief(2), 0, &mut each), Ok(0));
        let posted =
            |amount| PostingResult { charged_msat: amount, ..result(PostingOutcome::Posted) };
        let five = Msat::new(5).unwrap();
        assert_eq!(results, [(row(0).hold, posted(Msat::ZERO)), (row(1).hold, posted(five))]);
        assert_eq!(outbox.next_batch(0), None);
    }

    #[test]
    fn the_releases_that_wait_for_their_holds_are_bounded_in_number_and_in_tries() {
        let mut outbox = outbox(OVERTAKING_MAX as u64 + 10);
        let (mut sent, mut now_ms) = (0, 0);
        loop {
            while let Some(rows) = send(&mut outbox, now_ms) {
                sent += rows;
                let reply = reply(&vec![PostingOutcome::HoldUnknown; rows]);
                outbox.answered(&reply, now_ms + 10, &mut |_, _| {}).unwrap();
            }
            if outbox.overtaking.is_empty() {
                break;
            }
            now_ms += 10;
            outbox.wake(now_ms);
        }
        assert_eq!(now_ms, 10 * u64::from(OVERTAKING_TRIES));
        assert_eq!(sent, 10 + OVERTAKING_MAX * (1 + usize::from(OVERTAKING_TRIES)));
    }

    #[test]
    fn a_reply_of_another_length_is_garbage_and_loses_nothing() {
        let mut outbox = outbox(2);
        send(&mut outbox, 0);
        let reply = reply(&[PostingOutcome::Posted]);
        assert_eq!(outbox.answered(&reply, 0, &mut |_, _| {}), Err(CallFault::Garbage));
        assert_eq!(outbox.failed(CallFault::Garbage, 0), 0);
        assert_eq!(outbox.next_batch(5_000).unwrap().postings, [&row(0), &row(1)]);
    }

    #[test]
    fn stored_responses_travel_in_smaller_batches_and_never_fill_the_memory() {
        let stored = StoredResponse::new(200, b"text/plain", &[0; STORED_BODY_BYTES_MAX]);
        let mut outbox = Outbox::default();
        for n in 0..400 {
            outbox.push(Posting { store: stored.clone(), ..row(n) });
        }
        let kept = outbox.rows.iter().filter(|row| row.posting.store.is_some()).count();
        assert_eq!(kept, 189, "4 MiB of base64");
        let mut sent = Vec::new();
        while let Some(rows) = send(&mut outbox, 0) {
            let reply = reply(&vec![PostingOutcome::Posted; rows]);
            outbox.answered(&reply, 0, &mut |_, _| {}).unwrap();
            sent.push(rows);
        }
        assert_eq!(sent.iter().sum::<usize>(), 400);
        assert_eq!(sent[..94], [2; 94], "two of them fill a batch");
        assert_eq!(sent[94..], [212]);
        assert_eq!(outbox.stored_bytes, 0);
    }

    #[test]
    fn a_batch_that_can_never_be_accepted_does_not_block_the_next() {
        let mut outbox = outbox(1);
        send(&mut outbox, 0);
        assert_eq!(outbox.failed(CallFault::Status(400), 0), 1);
        assert_eq!(outbox.next_batch(0), None);
    }
}
