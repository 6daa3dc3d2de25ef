//! The laws of the ledger, on every store.

mod budgets;
mod deposits;
mod export;
mod faults;
mod gifts;
mod grants;
mod laws;
mod leases;
mod model;
mod outbox;
mod postgres;
mod proofs;
mod races;
mod rails;
mod revocations;
mod sessions;
mod stats;
mod stocks;
mod tiers;
mod transfers;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tollway_core::id::HoldId;
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{Buys, HoldRefusal, HoldReply, Overrun, Posting, PostingOutcome, Proof};

use super::memory::Tables;
use super::*;
use crate::clock::ManualClock;
use crate::metrics::Metrics;

const START_MS: u64 = 1_700_000_000_000;
const TTL_MS: u64 = 30_000;

/// Where the ledger of a test lives.
enum Place {
    Memory(Arc<Mutex<Tables>>),
    Sqlite(tempfile::TempDir),
    /// The URL of a schema.
    Postgres(String),
}

/// A ledger of its own, and a clock that tests move.
struct Bench {
    place: Place,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    ledger: Ledger,
    writer: Option<Writer>,
}

impl Bench {
    async fn open(place: Place, clock: Arc<ManualClock>) -> Self {
        let metrics = Metrics::new();
        let counters = metrics.ledger.clone();
        let Opening { ledger, writer, .. } = match &place {
            Place::Memory(tables) => {
                Ledger::open_memory(Arc::clone(tables), clock.clone(), counters).unwrap()
            }
            Place::Sqlite(directory) => {
                let path = directory.path().join("l.db");
                Ledger::open_sqlite(&path, clock.clone(), counters).unwrap()
            }
            Place::Postgres(url) => {
                let url = postgres::at(url);
                Ledger::open_postgres(&url, clock.clone(), counters).await.unwrap()
            }
        };
        Self { place, clock, metrics, ledger, writer: Some(writer) }
    }

    async fn at(place: Place) -> Self {
        Self::open(place, Arc::new(ManualClock::new(START_MS))).await
    }

    async fn memory() -> Self {
        Self::at(Place::Memory(Arc::default())).await
    }

    async fn sqlite() -> Self {
        Self::at(Place::Sqlite(tempfile::tempdir().unwrap())).await
    }

    fn path(&self) -> PathBuf {
        match &self.place {
            Place::Sqlite(directory) => directory.path().join("l.db"),
            Place::Memory(_) | Place::Postgres(_) => panic!("a ledger without a file"),
        }
    }

    /// Stops the writer and opens the ledger anew.
    async fn reopen(mut self) -> Self {
        let writer = self.writer.take().unwrap();
        tokio::task::spawn_blocking(move || writer.stop()).await.unwrap().unwrap();
        drop(self.ledger);
        Self::open(self.place, self.clock).await
    }

    /// A second connection, which can break the file's rules.
    fn meddle(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Breaks the rows of any store: with SQL, or by hand in memory.
    async fn damage(&self, sql: &str, by_hand: impl FnOnce(&mut Tables)) {
        match &self.place {
            Place::Memory(tables) => by_hand(&mut memory::lock(tables)),
            Place::Sqlite(_) => self.meddle(sql),
            Place::Postgres(url) => postgres::client(url).await.batch_execute(sql).await.unwrap(),
        }
    }

    async fn paid(&self, tag: u8, amount: u64) -> PaymentHash {
        let invoice = invoice(tag, amount, None);
        let hash = invoice.payment_hash;
        assert_eq!(self.ledger.open_invoice(invoice).await, Ok(InvoiceOutcome::Stored));
        assert_eq!(self.ledger.settle(Settlement::of(hash)).await, Ok(SettleOutcome::Credited));
        hash
    }

    /// The outcomes without what was charged.
    async fn post(&self, postings: Vec<Posting>) -> Result<Vec<PostingOutcome>, LedgerError> {
        let results = self.ledger.post(postings).await?;
        Ok(results.into_iter().map(|result| result.outcome).collect())
    }

    /// Balance and held of an account, in msat.
    async fn sums(&self, hash: PaymentHash) -> (u64, u64) {
        let view = self.ledger.account(hash).await.unwrap().unwrap();
        (view.balance_msat.get(), view.held_msat.get())
    }

    async fn assert_audit_clean(&self) {
        assert_eq!(self.ledger.audit().await.unwrap().differences, []);
    }
}

/// Stamps every law on every store.
macro_rules! ledger_contract {
    ($($group:ident: { $($law:ident),+ $(,)? })+) => {
        ledger_contract!(@store memory_store, Some(Bench::memory().await),
            $($group: { $($law),+ })+);
        ledger_contract!(@store sqlite_store, Some(Bench::sqlite().await),
            $($group: { $($law),+ })+);
        ledger_contract!(@store postgres_store, postgres::bench().await,
            $($group: { $($law),+ })+);
    };
    (@store $store:ident, $bench:expr, $($group:ident: { $($law:ident),+ })+) => {
        mod $store {
            use super::*;

            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $law() {
                    if let Some(bench) = $bench {
                        super::$group::$law(bench).await;
                    }
                }
            )+)+
        }
    };
}

ledger_contract! {
    grants: {
        a_grant_lies_between_the_least_and_the_asked,
        an_extension_adds_credit_and_time_once,
        an_overrun_is_capped_debited_or_owed,
        a_debt_is_repaid_by_the_next_credit_first,
        a_request_with_a_key_is_charged_once,
        a_key_belongs_to_its_account_and_to_its_fields,
        a_key_of_an_uncharged_request_is_free_again,
        sixty_four_requests_with_one_key_are_charged_once,
    }
    budgets: {
        a_budget_counts_what_is_held_and_what_was_posted,
        a_released_or_expired_hold_gives_its_budget_back,
        all_budgets_of_a_token_apply,
        a_budget_is_whole_in_its_next_window,
        a_grant_lies_within_the_budget,
        an_extension_stays_within_the_budget_of_its_time,
        an_overrun_stays_within_the_budget,
        credit_taken_back_comes_back_to_the_budget_too,
        a_repeat_counts_once_and_other_budgets_are_a_conflict,
        a_budget_survives_a_restart_and_the_janitor,
        a_planted_budget_is_named,
        sixty_four_holds_share_a_budget_and_never_pass_it,
    }
    gifts: {
        a_purchase_brings_its_bonus_and_a_new_account_its_seed,
        more_than_asked_is_credited_in_full,
        credit_that_expires_is_spent_first_and_the_rest_of_it_ends,
        credit_in_a_hold_outlives_its_end_until_the_hold_ends,
        a_free_tier_counts_until_its_window_ends,
        a_window_goes_on_under_yesterdays_secret,
        sixty_four_uses_of_a_free_tier_grant_its_limit,
        the_same_asker_shares_an_invoice_until_it_is_paid,
        a_client_can_have_so_many_open_invoices,
        a_pruned_invoice_that_was_paid_comes_back_once,
        a_settled_invoice_survives_the_janitor,
        lost_invoices_come_back_with_their_terms_in_any_order,
        a_cursor_is_saved_with_its_credit_and_never_turns_back,
        a_refund_gives_back_what_was_charged_and_no_more,
        an_operator_credits_what_was_paid_once,
        a_revoked_account_spends_nothing_until_it_may_again,
        a_retired_key_is_gone_and_the_current_one_stays,
        every_operation_leaves_one_line_with_its_fields,
    }
    leases: {
        an_extension_lies_between_its_least_and_the_asked,
        credit_taken_back_goes_to_the_new_hold,
        a_hold_that_gave_credit_back_ends_with_its_rest,
        a_refused_or_repeated_hold_takes_nothing_back,
        nothing_is_taken_from_strangers_or_from_what_is_not_there,
        credit_whose_time_is_over_does_not_move_to_another_hold,
        sixty_four_holds_take_from_one_and_no_credit_is_made,
        postings_of_a_revoked_account_say_so,
    }
    laws: {
        a_payment_credits_once_whoever_reports_it,
        the_first_proof_settles_the_invoice_even_if_the_hold_is_refused,
        refusals_come_in_the_order_of_precedence_and_are_not_remembered,
        a_top_up_pays_into_the_same_account_under_either_hash,
        a_repeated_hold_gets_the_first_answer_and_other_fields_a_conflict,
        postings_charge_in_parts_and_the_release_returns_the_rest,
        a_refund_is_a_release_without_a_charge,
        posting_outcomes_come_in_their_order,
        an_expired_hold_returns_its_rest_before_it_could_block_credit,
        the_sweeper_returns_credit_in_quiet_times,
        what_is_due_is_found_in_any_order,
        holds_are_found_in_any_order_of_their_ids,
        amounts_at_the_edge_are_refused_and_never_wrapped,
        a_hold_of_the_longest_life_ends_even_at_the_end_of_time,
        rotation_adds_a_current_key_and_keeps_the_others,
        a_restart_keeps_everything,
        sums_and_metrics_tell_the_same_story,
    }
    proofs: {
        an_invoice_opens_to_what_it_was_sold_under_and_to_more,
        what_is_not_proven_by_its_preimage_waits_for_the_payment,
        a_token_that_is_its_own_proof_has_an_invoice_of_its_own,
        a_lost_invoice_comes_back_with_its_proof,
    }
    revocations: {
        the_keyring_names_all_tokens_of_revoked_accounts,
        the_keyring_names_no_more_revocations_than_it_may,
        the_revision_is_another_after_every_change_at_once,
        a_token_is_revoked_without_its_account,
        a_token_and_its_account_are_revoked_apart,
        a_revoked_token_stays_revoked_while_it_is_not_paid,
    }
    sessions: {
        a_session_s_payment_is_revenue_at_once,
        a_session_s_payment_is_counted,
        a_session_s_proof_earns_its_payment_and_spends_nothing,
        nothing_puts_credit_where_only_a_session_is,
        a_session_can_be_revoked_before_its_payment_is_known,
        a_lost_session_comes_back_as_one,
    }
    export: {
        an_export_has_every_row_once_in_the_order_of_its_key,
        an_export_misses_and_repeats_nothing_while_others_write,
        an_export_can_be_of_one_account_and_of_some_time,
    }
    outbox: {
        what_happens_is_written_down_once_for_those_who_asked,
        what_is_taken_is_taken_by_nobody_else_before_its_time,
        what_is_given_up_leaves_a_line_and_is_never_taken_again,
        what_is_given_up_is_tried_again_if_an_operator_says_so,
        sixty_four_couriers_take_each_once,
        sent_news_are_deleted_after_a_week_and_open_ones_stay,
        shares_are_of_what_was_paid_rounded_down_to_whole_sats,
        a_chosen_invoice_is_kept_and_only_by_who_has_the_share,
        no_share_of_a_payment_that_was_lost_goes_out,
    }
    tiers: {
        an_operator_gives_a_tier_and_it_travels_with_every_grant,
        an_amount_for_another_tier_is_refused_and_told_which,
        a_tier_survives_a_restart_and_leaves_a_line,
    }
    stocks: {
        a_coupon_is_used_as_often_as_there_is_of_it,
        a_coupon_comes_back_with_an_unpaid_invoice_and_never_with_a_paid_one,
        an_account_uses_a_coupon_as_often_as_it_may,
        a_shared_invoice_uses_a_coupon_once,
        a_supply_sells_what_there_is_and_no_more,
        what_is_refunded_or_expires_can_be_sold_again,
        a_supply_is_whole_in_its_next_window,
        a_hold_for_many_requests_takes_nothing_of_a_supply,
        a_stock_survives_a_restart_and_a_planted_one_is_named,
        sixty_four_never_buy_more_than_there_is,
    }
    stats: {
        statistics_come_from_what_happened_and_survive_a_restart,
        recent_payments_are_the_newest_twenty,
        a_debt_is_revenue_when_it_is_repaid,
        a_planted_total_is_named,
    }
    deposits: {
        a_session_spends_its_deposits_and_returns_the_rest,
        what_one_rail_has_spent_opens_no_session_and_the_other_way_round,
        no_gift_is_returned_as_money,
        whoever_closes_and_spends_at_once_loses_and_gains_nothing,
    }
    rails: {
        the_first_grant_says_how_a_payment_is_spent,
        a_charge_is_made_once_whatever_else_the_account_has,
        a_charge_that_was_not_made_leaves_credit,
        a_claim_survives_a_restart,
        a_thousand_payments_shown_on_two_rails_at_once_are_spent_once,
    }
    transfers: {
        a_transfer_is_reserved_for_one_request,
        a_settled_transfer_is_credit_once,
        a_refused_transfer_may_be_tried_anew,
        after_a_silence_only_a_yes_counts,
        the_janitor_keeps_what_may_have_been_settled,
        of_sixty_four_requests_one_has_the_transfer,
    }
    races: {
        sixty_four_first_uses_credit_once,
        a_balance_for_k_admits_exactly_k_of_200,
        one_hold_id_asked_for_by_many_is_one_hold,
        one_posting_reported_by_many_counts_once,
        sixty_four_purchases_with_one_certificate_sell_one_invoice,
    }
}

fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

fn hash(tag: u8) -> PaymentHash {
    PaymentHash::from_bytes([tag; 32])
}

fn invoice(tag: u8, amount: u64, top_up: Option<PaymentHash>) -> NewInvoice {
    NewInvoice {
        payment_hash: hash(tag),
        bolt11: format!("invoice {tag}"),
        amount: msat(amount),
        buys: Buys::Credit,
        credit: msat(amount),
        seed: Msat::ZERO,
        credit_ttl_ms: None,
        route: "joke".to_owned(),
        expires_at_ms: START_MS + 600_000,
        top_up,
        proof: Proof::Preimage,
        asker: None,
        certificate: None,
        coupon: None,
        node: None,
    }
}

fn hold_id(number: u128) -> HoldId {
    HoldId::from_bytes(number.to_be_bytes())
}

fn order(id: u128, payment_hash: PaymentHash, amount: u64) -> HoldOrder {
    HoldOrder {
        id: hold_id(id),
        payment_hash,
        shown: Some(Proof::Preimage),
        min: msat(amount),
        amount: msat(amount),
        ttl_ms: TTL_MS,
        route: "joke".to_owned(),
        once: None,
        take_back: None,
        budgets: Vec::new(),
        rail: None,
        tier: None,
        supply: None,
    }
}

fn posting(id: u128, seq: u32, amount: u64, release: bool) -> Posting {
    Posting {
        requests: 1,
        hold: hold_id(id),
        seq,
        amount_msat: msat(amount),
        route: "joke".to_owned(),
        release,
        overrun: Overrun::Cap,
        store: None,
    }
}

fn granted(account: PaymentHash, amount: u64, balance: u64) -> HoldOutcome {
    HoldOutcome::Answered(HoldReply::Granted {
        account,
        granted_msat: msat(amount),
        balance_msat: msat(balance),
        tier: Tier::NONE,
        already_charged: false,
        replay: None,
    })
}

fn refused(refusal: HoldRefusal, balance: u64) -> HoldOutcome {
    let balance_msat = msat(balance);
    HoldOutcome::Answered(HoldReply::Refused { refusal, balance_msat, resets_at: None, tier: None })
}
