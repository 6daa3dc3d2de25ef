//! The rows of the ledger, declared once for all stores.
//!
//! A row knows its table, its columns and how it becomes values; the stores move rows without
//! knowing them, and the engine reads rows without knowing stores. An account is named by the
//! payment hash that opened it, in every table, so that all rows of one account can live
//! together.

pub(super) mod field;
mod rail;

use std::sync::LazyLock;

use tollway_core::budget::BudgetWindow;
use tollway_core::digest::Digest;
use tollway_core::id::{HoldId, KeyId};
use tollway_core::money::Msat;
use tollway_core::payment::PaymentHash;
use tollway_core::tier::Tier;
use tollway_core::wire::{Buys, Proof};

use super::KeyBytes;
use super::sql;
use field::{Field, Kind, Value, words};
pub(super) use rail::SpentBy;

/// A row of a table.
pub(super) trait Row: Clone + PartialEq + Send + Sync + 'static {
    type Key: Clone + Ord + Send;

    const TABLE: &'static str;
    /// The columns of the key come first.
    const COLUMNS: &'static [(&'static str, Kind)];
    const KEY_COLUMNS: usize;

    fn key(&self) -> Self::Key;

    fn put(&self) -> Vec<Value<'_>>;

    /// The columns that are not as they were.
    fn changed(&self, was: &Self) -> sql::Columns;

    /// `None` if a value is missing or is not one of its column.
    fn get<'a>(values: impl Iterator<Item = Value<'a>>) -> Option<Self>;

    /// The statement that finds the row with a key, written once.
    fn select() -> &'static str;
}

macro_rules! table {
    ($(#[$doc:meta])* $name:ident in $table:literal by ($($key:ident: $key_type:ty),+) {
        $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub(in crate::ledger) struct $name {
            $(pub(in crate::ledger) $key: $key_type,)+
            $($(#[$field_doc])* pub(in crate::ledger) $field: $type,)*
        }

        impl Row for $name {
            type Key = ($($key_type,)+);

            const TABLE: &'static str = $table;
            const COLUMNS: &'static [(&'static str, Kind)] = &[
                $((stringify!($key), <$key_type as Field>::KIND),)+
                $((stringify!($field), <$type as Field>::KIND),)*
            ];
            const KEY_COLUMNS: usize = [$(stringify!($key)),+].len();

            fn key(&self) -> Self::Key {
                ($(self.$key.clone(),)+)
            }

            fn put(&self) -> Vec<Value<'_>> {
                vec![$(self.$key.put(),)+ $(self.$field.put(),)*]
            }

            fn changed(&self, was: &Self) -> $crate::ledger::sql::Columns {
                let changed = [$(self.$key != was.$key,)+ $(self.$field != was.$field,)*];
                $crate::ledger::sql::Columns::where_so(changed.into_iter())
            }

            fn get<'a>(mut values: impl Iterator<Item = Value<'a>>) -> Option<Self> {
                Some(Self {
                    $($key: Field::get(values.next()?)?,)+
                    $($field: Field::get(values.next()?)?,)*
                })
            }

            fn select() -> &'static str {
                static SELECT: LazyLock<String> = LazyLock::new(sql::select_one::<$name>);
                &SELECT
            }
        }
    };
}

// Behind the macro, which they use.
mod actions;
mod certificates;
mod counted;
mod deposits;
mod outbox;
mod stock;
mod transfers;

pub(super) use actions::{Action, ActionKind};
pub(super) use certificates::UsedCertificate;
pub(super) use counted::Counted;
pub(super) use deposits::Deposit;
pub(crate) use outbox::DeliveryKind;
pub(super) use outbox::{Delivery, DeliveryState};
pub(super) use stock::{Allowance, Stock};
pub(super) use transfers::{Transfer, TransferState};

words! {
    /// Where a hold stands.
    pub(super) enum HoldState {
        Open = "open",
        Released = "released",
        Expired = "expired",
    }
}

words! {
    /// Why a balance changed.
    pub(super) enum EntryKind {
        /// A settled invoice: what was paid.
        Credit = "credit",
        /// What an invoice promised beyond its price.
        Bonus = "bonus",
        /// A gift to a new account.
        Seed = "seed",
        /// A session: the payment is earned as it comes.
        Session = "session",
        /// A posting.
        Charge = "charge",
        /// Debt of an over-run, paid from a later credit.
        Repayment = "repayment",
        /// Credit whose time was over.
        Expiry = "expiry",
        /// A charge that an operator gave back.
        Refund = "refund",
        /// A gift of an operator.
        Grant = "grant",
        /// Credit that went to another account, or back to who paid it.
        Moved = "moved",
    }
}

table! {
    /// A prepaid balance. The amounts repeat what other rows say; the audit recomputes them.
    Account in "accounts" by (account: PaymentHash) {
        /// The sum of the entries.
        balance_msat: Msat,
        /// The sum of what open holds still set aside.
        held_msat: Msat,
        /// The part of the balance that expires: the sum of the tranches.
        tranched_msat: Msat,
        /// What over-runs charged beyond the balance and no credit has repaid.
        debt_msat: Msat,
        /// The sum of all charges, repayments and sessions.
        charged_msat: Msat,
        /// The sum of all refunds.
        refunded_msat: Msat,
        /// How many entries there are; the newest one has this number.
        entries: u64,
        opened_at_ms: u64,
        revoked_at_ms: Option<u64>,
        /// Given by an operator.
        tier: Tier,
    }
}

table! {
    /// An invoice, and after its settlement the proof that it was credited. A settled invoice
    /// is never deleted.
    Invoice in "invoices" by (payment_hash: PaymentHash) {
        /// The account that it pays into; a row only exists once something was credited.
        account: PaymentHash,
        /// What it asks.
        amount_msat: Msat,
        buys: Buys,
        /// The credit that its payment brings: at least the amount. A session's is charged at
        /// once.
        credit_msat: Msat,
        /// What it adds if it is the first credit of its account.
        seed_msat: Msat,
        /// How long the credit lives; for ever without it.
        credit_ttl_ms: Option<u64>,
        /// What is asked of those who spend it.
        proof: Proof,
        route: String,
        bolt11: String,
        /// Who asked, as a keyed hash.
        client: Option<[u8; 32]>,
        /// Who asked for what: a repeat within a short time shares the invoice.
        offer: Option<[u8; 32]>,
        created_at_ms: u64,
        expires_at_ms: u64,
        settled_at_ms: Option<u64>,
        /// What was really paid, where the node said so.
        received_msat: Option<Msat>,
        spent_by: Option<SpentBy>,
        /// The stock of the coupon that it was sold with.
        coupon: Option<Digest>,
        /// The node that made it, where there are several.
        node: Option<String>,
        /// Since when its token is good for nothing.
        revoked_at_ms: Option<u64>,
    }
}

table! {
    /// Credit set aside.
    Hold in "holds" by (id: HoldId) {
        account: PaymentHash,
        /// The credential that asked.
        payment_hash: PaymentHash,
        min_msat: Msat,
        asked_msat: Msat,
        /// The first grant.
        granted_msat: Msat,
        /// The first grant and all extensions.
        amount_msat: Msat,
        /// What it gave up for other holds of its account.
        taken_back_msat: Msat,
        posted_msat: Msat,
        ttl_ms: u64,
        route: String,
        state: HoldState,
        opened_at_ms: u64,
        expires_at_ms: u64,
        /// The last extension: its number, what it asked, what it got.
        extension_seq: Option<u32>,
        extension_msat: Option<Msat>,
        /// The least it asked for; `None` where that was all of it.
        extension_min_msat: Option<Msat>,
        extension_ttl_ms: Option<u64>,
        extension_granted_msat: Option<Msat>,
        /// The idempotency key under which it was opened.
        once_key: Option<[u8; 32]>,
        /// The innermost budget of the token that asked.
        budget: Option<Digest>,
        /// It counts in those windows of its budgets that had begun by then.
        budget_at_ms: Option<u64>,
        /// The stock that it counts in, with one call.
        stock: Option<Digest>,
    }
}

table! {
    /// A part of a hold that became revenue.
    Charge in "postings" by (hold_id: HoldId, seq: u32) {
        account: PaymentHash,
        /// What was reported.
        amount_msat: Msat,
        /// What was taken from the balance.
        charged_msat: Msat,
        /// What became debt.
        debt_msat: Msat,
        /// How many requests it is for.
        requests: u32,
        route: String,
        release: bool,
        /// How an amount beyond the hold was to be treated.
        over_run: String,
        posted_at_ms: u64,
    }
}

table! {
    /// A line of the journal, numbered from 1 within its account. Append-only.
    Entry in "entries" by (account: PaymentHash, n: u64) {
        kind: EntryKind,
        /// Positive for what came in.
        amount_msat: i64,
        payment_hash: Option<PaymentHash>,
        hold_id: Option<HoldId>,
        seq: Option<u32>,
        route: Option<String>,
        /// The operator's action.
        action: Option<[u8; 16]>,
        at_ms: u64,
    }
}

table! {
    /// A part of a balance that expires, numbered as the entry that brought it.
    Tranche in "tranches" by (account: PaymentHash, n: u64) {
        remaining_msat: Msat,
        expires_at_ms: u64,
        /// When the sweeper looks: at the expiry, or later while holds protect it.
        due_at_ms: u64,
    }
}

table! {
    /// A request that is charged once, however often it comes.
    Once in "once" by (account: PaymentHash, key: [u8; 32]) {
        fingerprint: [u8; 32],
        hold_id: HoldId,
        response: Option<Vec<u8>>,
        expires_at_ms: u64,
    }
}

table! {
    /// What a token may spend in a window, and what its holds count for in the newest window in
    /// which one was granted.
    Budget in "budgets" by (id: Digest) {
        account: PaymentHash,
        /// The budget that the token had before this one; its holds count there too.
        parent: Option<Digest>,
        limit_msat: Msat,
        renews: BudgetWindow,
        used_msat: Msat,
        began_at_ms: u64,
        ends_at_ms: u64,
        /// When the windows are over in which its holds count, here and in the budgets that it
        /// leads to.
        needed_until_ms: u64,
    }
}

table! {
    /// The secret that hashes client addresses on one day.
    DaySecret in "day_secrets" by (day: u64) {
        secret: KeyBytes,
    }
}

table! {
    /// A key of the gate. The highest id mints; all that are not retired verify.
    MasterKey in "master_keys" by (id: KeyId) {
        secret: KeyBytes,
        created_at_ms: u64,
        retired_at_ms: Option<u64>,
    }
}

table! {
    /// How far a follower of the node's events has come.
    Cursor in "cursors" by (name: String) {
        position: u64,
    }
}

table! {
    /// How often something happened on a route, and what it moved. What is written is added to
    /// the row. Each writer has a slot, so that none waits for another's row.
    Total in "totals" by (slot: u64, route: String, kind: String) {
        times: u64,
        /// Signed as the entries are.
        amount_msat: i64,
    }
}

table! {
    /// Written by the readiness probe after a failed commit, to learn whether the store is back.
    Probe in "probe" by (id: u64) {
        at_ms: u64,
    }
}
